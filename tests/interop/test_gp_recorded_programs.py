"""GlobalPlatform programs of others that managed a served card, byte for byte: what they sent, what they were answered.

No registry has them for tests to install; `recorded/programs.toml` says what was recorded. A card that is made again
answers them the same bytes, and whoever opens the recordings finds the MACs of the programs right.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from card_os.card import Card
from card_os.globalplatform.card_profile import load_profile
from card_os.hardware.image import NvmImage
from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.status import SW
from card_os.manufacture import manufacture_profile
from reader_bridge.simulated import create_card
from reader_bridge.trace.decode import Decoded, decode
from reader_bridge.trace.keys import ChannelKeys, FileKeys
from reader_bridge.trace.record import Kind, Octets, Trace
from reader_bridge.trace.text import load
from tests.doubles.gp_programs import RECORDED_CARDS, SERIAL, ProgramCard

FOLDER: Final = Path(__file__).parent / "recorded"
LISTING: Final[dict[str, Any]] = tomllib.loads((FOLDER / "programs.toml").read_text(encoding="utf-8"))
RECORDINGS: Final[dict[str, dict[str, Any]]] = {row["trace"]: row for row in LISTING["recording"]}

LOCKED, SECURED, CARD_LOCKED = 0x80, 0x0F, 0x7F
DEEDS: Final[dict[str, Callable[[CommandApdu], bool]]] = {
    "lists": lambda command: command.ins == 0xF2,
    "loads": lambda command: command.ins == 0xE8 and command.p1 == 0x80,
    "installs": lambda command: command.ins == 0xE6 and command.p1 == 0x0C,
    "deletes": lambda command: command.ins == 0xE4,
    "puts keys": lambda command: command.ins == 0xD8,
    "stores data": lambda command: command.ins == 0xE2,
    "locks application": lambda command: command[1:3] == (0xF0, 0x40) and command.p2 & LOCKED != 0,
    "unlocks application": lambda command: command[1:3] == (0xF0, 0x40) and not command.p2 & LOCKED,
}
"""What is asked of every program, by its command without protection (GPC 2.3.1, clause 11)."""

MORE: Final[dict[str, Callable[[CommandApdu], bool]]] = {
    "locks card": lambda command: command[1:4] == (0xF0, 0x80, CARD_LOCKED),
    "unlocks card": lambda command: command[1:4] == (0xF0, 0x80, SECURED),
    "extradites": lambda command: command[1:3] == (0xE6, 0x10),
    "makes domain": lambda command: command.ins == 0xE6 and b"\x07\xa0\x00\x00\x01\x51\x53\x50" in command.data,
}


@cache
def recording(name: str) -> Trace:
    return load(FOLDER / f"{name}.trace")


def card_of(name: str) -> ProgramCard:
    return ProgramCard(RECORDED_CARDS[RECORDINGS[name]["card"]])


def keys_of(name: str) -> FileKeys:
    """The keys of the card, and those that the program put in."""
    card, kind = card_of(name), RECORDED_CARDS[RECORDINGS[name]["card"]]
    number = manufacture_profile(NvmImage.create().nvm(), load_profile(kind.profile), SERIAL).card_number
    made = card.keys(number)
    rows = LISTING["program"][name.partition("-")[0]]["keys"]
    put = (ChannelKeys(bytes.fromhex(row["enc"]), bytes.fromhex(row["mac"])) for row in rows)
    return FileKeys((ChannelKeys(made.enc, made.mac), *put))


@cache
def opened(name: str) -> list[Decoded]:
    """The recording in words."""
    return decode(recording(name), None, keys_of(name))


def protected_commands(name: str) -> list[int]:
    """Numbers of the entries with a protected command."""
    entries = recording(name).entries
    return [number for number, entry in enumerate(entries) if entry.kind is Kind.APDU and entry.sent.data[0] == 0x84]


def first_certificate(name: str) -> int:
    """Number of the entry where sessions of SCP11 begin, that nobody opens afterwards; past the end without any."""
    entries = recording(name).entries
    found = (number for number, entry in enumerate(entries) if entry.kind is Kind.APDU and entry.sent.data[1] == 0x2A)
    return next(found, len(entries))


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_card_answers_a_program_the_same_bytes(name: str) -> None:
    kind = card_of(name)
    with create_card(None, kind.boot, manufacture=kind.manufacture) as card, card.connect() as connection:
        for number, entry in enumerate(recording(name).entries):
            match entry.kind:
                case Kind.POWER_ON:
                    connection.power_on()
                case Kind.RESET:
                    connection.reset()
                case Kind.POWER_OFF:
                    connection.power_off()
                case _:
                    answer = connection.transmit(entry.sent.data)
                    assert answer.hex() == entry.received.data.hex(), f"entry {number}: {entry.sent.data.hex()}"
        assert isinstance(card.card, Card)
        assert card.card.faults == 0


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_program_did_what_is_asked_of_it(name: str) -> None:
    """Each deed was asked for, inside a session whose MACs are right, and done."""
    done: set[str] = set()
    for entry in opened(name):
        if entry.plain_command is None or entry.plain_response is None:
            continue
        if ResponseApdu.parse(entry.plain_response).sw == SW.OK:
            command = CommandApdu.parse(entry.plain_command)
            done |= {deed for deed, is_it in (DEEDS | MORE).items() if is_it(command)}
    wanted = set(RECORDINGS[name]["does"])
    assert (wanted - {"all"}) | (set(DEEDS) if "all" in wanted else set()) <= done


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_macs_of_a_program_are_right(name: str) -> None:
    """Sessions that another implementation opened: each of its proofs holds, and none is left unopened but by SCP11."""
    decoded = opened(name)
    protected = [decoded[number] for number in protected_commands(name) if number < first_certificate(name)]
    assert len(protected) > 10 or "SCP11" in RECORDINGS[name]["card"]
    assert protected
    for entry in protected:
        assert "MAC right" in entry.protection or entry.title.endswith("more follows"), entry.title
        assert "wrong" not in entry.protection, entry.title


@pytest.mark.parametrize("name", ["gpshell-scp03", "gpshell-scp02"])
def test_a_spoilt_piece_shows(name: str) -> None:
    """A PUT KEY that was protected whole and cut: one bit of its first piece, and the MAC at its end is wrong."""
    entries = list(recording(name).entries)
    at = next(number for number, entry in enumerate(opened(name)) if entry.title.endswith("more follows"))
    spoilt = bytearray(entries[at].sent.data)
    spoilt[20] ^= 1
    entries[at] = replace(entries[at], sent=Octets(bytes(spoilt)))
    decoded = decode(replace(recording(name), entries=tuple(entries)), None, keys_of(name))
    assert decoded[at].title.endswith("more follows")
    assert "MAC right" in opened(name)[at + 1].protection
    assert "MAC right" not in decoded[at + 1].protection


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("session", range(7))
def test_sessions_of_scp11_are_of_the_right_host(session: int, *, spoilt: bool) -> None:
    """The card finds the first MAC of each right, and not with one bit of it changed."""
    name = "gpshell-scp11"
    entries, numbers = recording(name).entries, protected_commands(name)
    begins = [
        number
        for number, entry in enumerate(entries)
        if entry.kind is Kind.APDU and entry.sent.data[1] == 0x82 and number > first_certificate(name)
    ]
    assert len(begins) == 7
    at = next(number for number in numbers if number > begins[session])
    kind = card_of(name)
    with create_card(None, kind.boot, manufacture=kind.manufacture) as card, card.connect() as connection:
        for entry in entries[:at]:
            if entry.kind is Kind.APDU:
                connection.transmit(entry.sent.data)
            elif entry.kind is Kind.POWER_ON:
                connection.power_on()
            elif entry.kind is Kind.RESET:
                connection.reset()
        sent = bytearray(entries[at].sent.data)
        if spoilt:
            sent[5 + sent[4] - 1] ^= 1
        answer = connection.transmit(bytes(sent))
    assert (answer == entries[at].received.data) is not spoilt
    assert answer[-2:].hex() == ("6982" if spoilt else "9000")


def test_every_recording_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.trace")} == set(RECORDINGS)
    for name, row in RECORDINGS.items():
        assert recording(name).header.profile == row["card"]
        assert name.partition("-")[0] in LISTING["program"]
        assert set(row["does"]) <= {"all", *DEEDS, *MORE}
    assert {deed for row in RECORDINGS.values() for deed in row["does"]} >= {"all", *MORE}
