"""ENABLE and DISABLE VERIFICATION REQUIREMENT (ISO/IEC 7816-4, 11.6.8 and 11.6.9), also under a cut."""

from __future__ import annotations

import pytest

from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.port import Port, PortMute
from tests.doubles.secured_card import AID, PIN, secured_card, secured_image, send

VERIFY, CHANGE, DISABLE, ENABLE, READ, SELECT = 0x20, 0x24, 0x26, 0x28, 0xB0, 0xA4
REFERENCE = 0x81
WRONG = bytes.fromhex("249999FFFFFFFFFF")


@pytest.fixture(scope="module")
def master() -> NvmImage:
    return secured_image()


@pytest.fixture
def image(master: NvmImage) -> NvmImage:
    return master.fork()


def started(image: NvmImage, power: PowerSupply | None = None) -> Port:
    card = secured_card(image.nvm(power=power))
    card.contact.power_on()
    return card.contact


def reading(port: Port) -> int:
    return send(port, READ, 0x8200, ne=1)[1]


def test_a_pin_that_is_not_required_is_as_verified_from_selection_on(image: NvmImage) -> None:
    port = started(image)
    assert reading(port) == 0x6982
    assert send(port, DISABLE, REFERENCE, PIN) == (b"", 0x9000)
    assert reading(port) == 0x9000
    again = started(image)
    assert reading(again) == 0x9000
    assert send(again, VERIFY, REFERENCE) == (b"", 0x9000)
    assert send(again, ENABLE, REFERENCE, PIN) == (b"", 0x9000)
    assert reading(again) == 0x6982
    assert send(again, SELECT, 0x040C, AID)[1] == 0x9000
    assert reading(again) == 0x6982
    assert reading(started(image)) == 0x6982


def test_other_commands_leave_the_requirement_alone(image: NvmImage) -> None:
    port = started(image)
    assert send(port, DISABLE, REFERENCE, PIN)[1] == 0x9000
    assert send(port, CHANGE, REFERENCE, PIN + PIN)[1] == 0x9000
    assert send(port, VERIFY, REFERENCE, PIN)[1] == 0x9000
    assert reading(started(image)) == 0x9000


def test_a_wrong_pin_costs_a_try_and_changes_nothing(image: NvmImage) -> None:
    port = started(image)
    for left in (2, 1, 0):
        assert send(port, DISABLE, REFERENCE, WRONG)[1] == 0x63C0 | left
    assert send(port, DISABLE, REFERENCE, PIN)[1] == 0x6983
    assert reading(started(image)) == 0x6982


@pytest.mark.parametrize(
    ("p1p2", "data", "sw"),
    [(0x0181, b"", 0x6A86), (0x0081, b"", 0x6700), (0x0081, b"\x00" * 8, 0x6A80), (0x0082, PIN, 0x6A88)],
)
@pytest.mark.parametrize("ins", [ENABLE, DISABLE])
def test_malformed_commands(image: NvmImage, ins: int, p1p2: int, data: bytes, sw: int) -> None:
    port = started(image)
    assert send(port, ins, p1p2, data)[1] == sw
    assert send(port, VERIFY, REFERENCE)[1] == 0x63C3, "no try is spent"


@pytest.mark.parametrize("moment", CutMoment)
def test_the_requirement_is_old_or_new_after_every_cut(master: NvmImage, moment: CutMoment) -> None:
    seen: set[tuple[int, int]] = set()
    unit, torn = 0, True
    while torn:
        unit += 1
        with master.fork() as image:
            power = PowerSupply()
            port = started(image, power)
            power.arm(unit, moment)
            try:
                send(port, DISABLE, REFERENCE, PIN)
            except PortMute:
                port = started(image)
            else:
                torn = False
            tries = send(port, VERIFY, REFERENCE)[1]
            seen.add((reading(port), tries))
    assert ((0x6982, 0x63C3) in seen) == (moment is not CutMoment.AFTER), "one unit spends the try"
    assert (0x9000, 0x9000) in seen
    assert {tries for required, tries in seen if required == 0x6982} <= {0x63C3, 0x63C2}, "never more than was left"
