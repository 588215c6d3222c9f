"""All 256 class bytes: how they are decoded, and what a card answers to them over both interfaces."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from card_os.globalplatform.registry import Privilege
from card_os.iso7816.apdu import CLASS_BYTES, ClassByte, SecureMessagingIndication
from test_vectors.expected import INTERFACES, read_table
from tests.doubles.recording_applet import FIRST, blank_memory, install, make_card

TABLE = read_table("class_bytes")
CELLS = [cell for line in TABLE["cells"].values() for cell in line.split()]
INDICATIONS = {
    "n": SecureMessagingIndication.NONE,
    "p": SecureMessagingIndication.PROPRIETARY,
    "h": SecureMessagingIndication.HEADER_NOT_AUTHENTICATED,
    "a": SecureMessagingIndication.HEADER_AUTHENTICATED,
    "i": SecureMessagingIndication.INTERINDUSTRY,
}
BASIC_ONLY = frozenset({0})
EVERY_CHANNEL = frozenset(range(20))


def test_the_table_has_every_class_byte() -> None:
    assert [int(row, 16) for row in TABLE["cells"]] == list(range(0, 256, 16))
    assert len(CELLS) == 256
    assert CELLS.count("----") == 65


@pytest.mark.parametrize("cla", range(256))
def test_class_byte(cla: int) -> None:
    cell = CELLS[cla]
    if cell == "----":
        assert CLASS_BYTES[cla] is None
        return
    kind, channel, chained, indication = tuple(cell)
    assert CLASS_BYTES[cla] == ClassByte(kind == "I", int(channel, 36), chained == "+", INDICATIONS[indication])


def words(cell: str, channels: frozenset[int]) -> set[str]:
    """What a cell says, in the words of the table of answers."""
    if cell == "----":
        return {"reserved"}
    kind, channel, chained, indication = tuple(cell)
    said = {"interindustry" if kind == "I" else "proprietary"}
    if int(channel, 36) not in channels:
        said.add("closed")
    if chained == "+":
        said.add("chained")
    if indication != "n":
        said.add("protected")
    return said


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("channels", [BASIC_ONLY, EVERY_CHANNEL], ids=["basic channel", "every channel"])
@pytest.mark.parametrize("row", TABLE["command"], ids=lambda row: row["name"])
def test_what_a_card_answers_to_every_class_byte(row: dict[str, Any], channels: frozenset[int], interface: str) -> None:
    image = blank_memory()
    install(make_card(image.nvm()), FIRST, privileges=Privilege.CARD_RESET)  # selected on every channel that opens
    answers: dict[str, set[str]] = {}
    for cla in range(256):
        card = make_card(image.fork().nvm())
        port = card.contact if interface == "contact" else card.contactless
        port.power_on()
        assert port.process(b"\x00\xa4\x04\x0c\x07" + FIRST) == b"\x90\x00"
        for _ in range(len(channels) - 1):
            assert port.process(b"\x00\x70\x00\x00\x01")[-2:] == b"\x90\x00"
        said = words(CELLS[cla], channels)
        expected = next(answer for when, answer, _ in row["answers"] if said.issuperset(when.split()))
        given = port.process(bytes((cla,)) + bytes.fromhex(row["command"]))[-2:].hex().upper()
        assert given == expected, f"{cla:02X}"
        answers.setdefault(given, set()).update(said)
    reachable = {answer for when, answer, _ in row["answers"] if channels is BASIC_ONLY or when != "closed"}
    assert set(answers) == reachable


def test_the_words_of_the_answers_are_known() -> None:
    known = set(itertools.chain.from_iterable(words(cell, BASIC_ONLY) for cell in CELLS))
    for row in TABLE["command"]:
        assert known.issuperset(" ".join(when for when, _, _ in row["answers"]).split())
