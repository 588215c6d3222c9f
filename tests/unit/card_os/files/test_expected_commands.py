"""The file commands against tables of what the standard has them answer."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from card_os.hardware.image import NvmImage
from test_vectors.expected import INTERFACES, read_table
from tests.doubles.file_card import FILE_CARD, install_files, make_file_card
from tests.doubles.recording_applet import blank_memory


class Run(NamedTuple):
    """Commands and answers on one card."""

    name: str
    clause: str
    rows: list[tuple[str, str]]


def expected(name: str) -> list[Run]:
    return [Run(run["name"], run["clause"], run["rows"]) for run in read_table(name)["run"]]


TABLES = ("file_commands", "file_management", "transport")


@pytest.fixture(scope="module")
def master() -> NvmImage:
    image = blank_memory()
    install_files(make_file_card(image.nvm()))
    return image


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("run", [run for name in TABLES for run in expected(name)], ids=lambda run: run.name)
def test_the_card_answers_as_expected(master: NvmImage, run: Run, interface: str) -> None:
    card = make_file_card(master.fork().nvm())
    port = card.contact if interface == "contact" else card.contactless
    port.power_on()
    assert port.process(b"\x00\xa4\x04\x0c\x07" + FILE_CARD) == b"\x90\x00"
    for command, answer in run.rows:
        given = port.process(bytes.fromhex(command)).hex().upper()
        assert (command, given) == (command, answer.replace(" ", "")), run.clause
    assert card.faults == 0


def test_an_erasure_without_room_changes_nothing(master: NvmImage) -> None:
    """5.6, 6A84: a long file is erased in a second body, for which a full card has no room."""
    card = make_file_card(master.fork().nvm())
    port = card.contact
    port.power_on()
    commands = [f"00A4040C07{FILE_CARD.hex()}", "00D68E0004AABBCCDD"]
    answers = [port.process(bytes.fromhex(command)) for command in commands]
    assert answers == [b"\x90\x00"] * 2
    for number in range(60):
        for size in (0xF000, 0x4000, 0x1000, 0x0400):
            template = f"620D8002{size:04X}8201018302{0x0900 + number:04X}8800"
            port.process(bytes.fromhex("00A4000C023F00"))
            if port.process(bytes.fromhex(f"00E000000F{template}")) == b"\x90\x00":
                break
    assert port.process(bytes.fromhex("00A4000C020207")) == b"\x90\x00"
    assert port.process(bytes.fromhex("000E0000")) == b"\x6a\x84"
    assert port.process(bytes.fromhex("00B0000004")) == bytes.fromhex("AABBCCDD9000")
    assert port.process(bytes.fromhex("00D6000001EE")) == b"\x90\x00"
    port.reset()
    assert port.process(bytes.fromhex(commands[0])) == b"\x90\x00"
    assert port.process(bytes.fromhex("00B08E0004")) == bytes.fromhex("EEBBCCDD9000")
    assert card.faults == 0
