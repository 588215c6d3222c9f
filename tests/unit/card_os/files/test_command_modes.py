"""Which access mode each command on data asks (ISO/IEC 7816-4:2020, 9.3.2, tables 26 and 27)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from card_os.applet_api import ALWAYS
from card_os.card import Card
from card_os.files.spec import RECORD_STRUCTURES, AccessMode
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from tests.doubles.file_card import FILE_CARD, install_files, make_file_card
from tests.doubles.recording_applet import blank_memory
from tests.unit.card_os.files.test_file_life_cycle import KINDS, USES

READING: Final = frozenset({0xA0, 0xA1, 0xA2, 0xB0, 0xB1, 0xB2, 0xB3, 0xCA, 0xCB})
UPDATING: Final = frozenset({0x0C, 0x0E, 0x0F, 0xD6, 0xD7, 0xDA, 0xDB, 0xDC, 0xDD})
WRITING: Final = frozenset({0xD0, 0xD1, 0xD2, 0xE2})
ASKED: Final = {
    **dict.fromkeys(READING, AccessMode.READ),
    **dict.fromkeys(UPDATING, AccessMode.UPDATE),
    **dict.fromkeys(WRITING, AccessMode.APPEND),
}
MANAGING: Final = {
    "E4": AccessMode.DELETE,
    "44": AccessMode.ACTIVATE,
    "04": AccessMode.DEACTIVATE,
    "E8": AccessMode.TERMINATE,
    "E6": AccessMode.TERMINATE,
}
REFUSED: Final = "6982"


@pytest.fixture(scope="module")
def master() -> NvmImage:
    image = blank_memory()
    install_files(make_file_card(image.nvm()), Privilege.NONE)
    return image


def card_with(master: NvmImage, kind: str, granted: AccessMode | None) -> Card:
    """A card with a file of a kind, with something in it, in which one mode is free and every other one never."""
    card = make_file_card(master.fork().nvm())
    application = card.platform.registry.by_aid(FILE_CARD)
    assert application is not None
    files = card.platform.context_of(application).files
    spec = replace(KINDS[kind], rules={} if granted is None else {granted: ALWAYS})
    file = files.create(spec)
    if spec.structure in RECORD_STRUCTURES:
        files.append_record(file, bytes(4))
    card.contact.power_on()
    return card


def ask(card: Card, command: str) -> str:
    """The status word of a command on the file, which is selected before."""
    for select in ("00A4040C07" + FILE_CARD.hex(), "00A4000C020700"):
        assert card.contact.process(bytes.fromhex(select)) == b"\x90\x00"
    return card.contact.process(bytes.fromhex(command))[-2:].hex()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("granted", [None, *AccessMode])
def test_a_command_is_granted_by_its_own_mode_and_by_no_other(
    master: NvmImage, kind: str, granted: AccessMode | None
) -> None:
    card = card_with(master, kind, granted)
    for use in USES[kind]:
        answer = ask(card, use)
        asked = ASKED[int(use[2:4], 16)]
        assert (answer == REFUSED) is (asked is not granted), f"{use}: {answer}"
    assert card.faults == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("granted", [None, *AccessMode])
def test_managing_a_file_is_granted_by_its_own_mode_and_by_no_other(
    master: NvmImage, kind: str, granted: AccessMode | None
) -> None:
    """ISO/IEC 7816-9:2017, 9: each of them ends as it does where it is granted, or leaves the file as it was."""
    for ins, asked in MANAGING.items():
        card = card_with(master, kind, granted)
        answer = ask(card, f"00{ins}0000")
        assert (answer == REFUSED) is (asked is not granted), f"{ins}: {answer}"
        if asked is granted:
            assert answer == "9000" or (answer == "6981" and (ins == "E6") is not (kind == "DF"))
        assert card.faults == 0
