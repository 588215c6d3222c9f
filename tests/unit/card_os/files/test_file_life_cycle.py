"""The life cycle of files against its table, for every kind of file and every command that uses one."""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

import pytest

from card_os.card import Card
from card_os.files.spec import FileSpec, FileStructure
from card_os.globalplatform.registry import CardLifeCycle, Privilege
from card_os.hardware.image import NvmImage
from card_os.port import Port
from test_vectors.expected import INTERFACES, read_table
from tests.doubles.file_card import FILE_CARD, install_files, make_file_card
from tests.doubles.recording_applet import RULES, blank_memory

TABLE: Final = read_table("file_life_cycle")
TRANSITIONS: Final = [
    (event, state, *row) for event, states in TABLE["transitions"].items() for state, row in states.items()
]
KINDS: Final = {
    "transparent": FileSpec(0x0700, FileStructure.TRANSPARENT, 8, rules=RULES, data_coding=0x41),
    "linear fixed": FileSpec(0x0700, FileStructure.LINEAR_FIXED, 8, 0, 4, 2, RULES, data_coding=0x41),
    "linear variable": FileSpec(0x0700, FileStructure.LINEAR_VARIABLE, 8, 0, 4, 2, RULES, data_coding=0x41),
    "cyclic": FileSpec(0x0700, FileStructure.CYCLIC, 8, 0, 4, 2, RULES, data_coding=0x41),
    "TLV": FileSpec(0x0700, FileStructure.TLV, 8, rules=RULES),
    "DF": FileSpec(0x0700, FileStructure.DF, 8, rules=RULES),
}
BINARY: Final = (
    "00B0000001", "00B1000003 540100 00", "00D6000001 AA", "00D7000006 540100 5301AA", "00D0000001 AA",
    "00D1000006 540100 5301AA", "000E0000", "000F0000", "00A0000001 00", "00A1000006 540100 530100",
)  # fmt: skip
RECORDS: Final = (
    "00A2010401 01", "00B2010401", "00B3010403 540100 00", "00DC010404 AAAAAAAA", "00DD010406 540100 5301AA",
    "00D2010404 0F0F0F0F", "00E2000004 BBBBBBBB", "000C0104",
)  # fmt: skip
OBJECTS: Final = ("00CA005A00", "00DA005A01 02", "00CB070002 5C00 00", "00DB070003 5A0103")
USES: Final = {
    "transparent": BINARY,
    "linear fixed": RECORDS,
    "linear variable": RECORDS,
    "cyclic": RECORDS,
    "TLV": OBJECTS,
    "DF": ("00CA005A00", "00DA005A01 02", "00CB3FFF02 5C00 00", "00DB3FFF03 5A0103"),
}
FILL: Final = {
    "transparent": "00D6000001 00",
    "linear fixed": "00E2000004 01010101",
    "linear variable": "00E2000004 01010101",
    "cyclic": "00E2000004 01010101",
    "TLV": "00DA005A01 01",
    "DF": "00DA005A01 01",
}


@pytest.fixture(scope="module")
def master() -> NvmImage:
    image = blank_memory()
    install_files(make_file_card(image.nvm()), Privilege.CARD_TERMINATE)
    return image


class CardWithFile(NamedTuple):
    """A card, and the port over which it is used."""

    card: Card
    port: Port


def send(used: CardWithFile, text: str) -> str:
    return used.port.process(bytes.fromhex(text)).hex().upper()


def card_with(master: NvmImage, kind: str, state: str, interface: str = "contact") -> CardWithFile:
    """A card with a file of a kind, with something in it, that is selected over an interface and in a state."""
    card = make_file_card(master.fork().nvm())
    used = CardWithFile(card, card.contact if interface == "contact" else card.contactless)
    used.port.power_on()
    platform = card.platform
    application = platform.registry.by_aid(FILE_CARD)
    assert application is not None
    files = platform.context_of(application).files
    file = files.create(KINDS[kind])
    assert send(used, "00A4040C07" + FILE_CARD.hex()) == "9000"
    assert send(used, "00A4000C020700") == "9000"
    assert send(used, FILL[kind]) == "9000"
    files.set_life_cycle(file, int(state, 16))
    return used


def state_of(used: CardWithFile) -> str:
    answer = send(used, "00A4080402070000")
    if answer == "6A82":
        return ""
    at = answer.index("8A01")
    return answer[at + 4 : at + 6]


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("event", "state", "sw", "after"), TRANSITIONS)
def test_a_command_moves_a_file_as_the_table_says(
    master: NvmImage, kind: str, event: str, state: str, sw: str, after: str, interface: str
) -> None:
    used = card_with(master, kind, state, interface)
    ins = "E6" if event == "E8" and kind == "DF" else event
    assert send(used, f"00{ins}0000") == sw
    assert state_of(used) == after
    used.port.reset()
    assert send(used, "00A4040C07" + FILE_CARD.hex()) == "9000"
    assert state_of(used) == after


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize(("state", "kind"), [*itertools.product(TABLE["use"], KINDS)])
def test_only_a_file_in_use_is_used(master: NvmImage, state: str, kind: str, interface: str) -> None:
    row = TABLE["use"][state]
    used = card_with(master, kind, state, interface)
    assert send(used, "00A4080C020700") == row["select"]
    answers = {use: send(used, use)[-4:] for use in USES[kind]}
    wanted = {"9000"} if row["use"] else {"6985"}
    assert set(answers.values()) == wanted, answers
    assert used.card.faults == 0


def test_card_usage_is_terminated_by_whom_the_registry_lets(master: NvmImage) -> None:
    """ISO/IEC 7816-9:2017, 9.9; GlobalPlatform 2.3.1, 5.1.1.5 and 6.6.2."""
    used = card_with(master, "transparent", "05")
    assert send(used, "00FE0000") == "9000"
    assert send(used, "00B0000001") == "6985"
    assert send(used, "00A4040C07" + FILE_CARD.hex()) == "6985"
    used.port.reset()
    assert send(used, "00A4040C07" + FILE_CARD.hex()) == "6985"
    assert used.card.platform.registry.card_life_cycle == CardLifeCycle.TERMINATED
