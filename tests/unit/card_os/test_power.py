"""Power: classes of voltage, cold and warm reset, loss of the field, and every order of both interfaces."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from card_os.answers import DEFAULT_ATR
from card_os.arbitration import Arbitration
from card_os.card import Card
from card_os.hardware.power import CutMoment
from card_os.hardware.voltage import VoltageClass, class_of
from card_os.iso7816.atr import Atr
from card_os.port import Port, PortMute
from tests.doubles.recording_applet import FIRST, blank_memory, install, make_card

SELECT = bytes.fromhex("00A4040C07") + FIRST
UPDATE = bytes.fromhex("00D6810002AABB")
READ = bytes.fromhex("00B0810002")
OK = b"\x90\x00"
EVENTS = ("contact on", "contact off", "contact reset", "field on", "field off", "brown-out")


def new_card(arbitration: Arbitration = Arbitration.CONCURRENT) -> Card:
    image = blank_memory(arbitration=arbitration)
    card = make_card(image.nvm())
    install(card, FIRST)
    return make_card(image.nvm())


@pytest.mark.parametrize(
    ("millivolts", "expected"),
    [
        (0, None), (1_619, None), (1_620, VoltageClass.C), (1_980, VoltageClass.C), (1_981, None), (2_699, None),
        (2_700, VoltageClass.B), (3_300, VoltageClass.B), (3_301, None), (4_499, None), (4_500, VoltageClass.A),
        (5_500, VoltageClass.A), (5_501, None),
    ],
)  # fmt: skip
def test_a_supply_is_of_a_class_or_of_none(millivolts: int, expected: VoltageClass | None) -> None:
    """ISO/IEC 7816-3, 5.2.1: the limits of classes A, B and C."""
    assert class_of(millivolts) is expected
    port = new_card().contact
    if expected is None:
        with pytest.raises(PortMute):
            port.power_on(millivolts)
        assert not port.powered
    else:
        assert port.power_on(millivolts) == DEFAULT_ATR


def test_the_answer_to_reset_tells_the_classes() -> None:
    """8.3: TA of T=15, all three classes and no clock stop; T=15 is no protocol."""
    atr = Atr.parse(DEFAULT_ATR)
    assert [group.ta for group in atr.groups if group.protocol == 15] == [0x07]
    assert atr.protocols == (0, 1)


def test_a_brown_out_ends_what_is_volatile_and_keeps_what_was_committed() -> None:
    card = new_card()
    port = card.contact
    port.power_on(3_000)
    assert port.process(SELECT) == port.process(UPDATE) == OK
    port.supply(2_800)
    assert port.process(READ) == b"\xaa\xbb" + OK
    port.supply(2_000)
    with pytest.raises(PortMute):
        port.process(READ)
    port.power_on(3_000)
    assert port.process(READ)[-2:] != OK, "nothing is selected"
    assert port.process(SELECT) == OK
    assert port.process(READ) == b"\xaa\xbb" + OK


def test_a_cut_takes_both_interfaces_and_a_lost_field_only_its_own() -> None:
    card = new_card()
    card.contact.power_on()
    card.contactless.power_on()
    assert card.contact.process(SELECT) == card.contactless.process(SELECT) == OK
    card.contactless.power_off()
    assert card.contact.process(READ)[-2:] == OK
    card.contactless.power_on()
    assert card.contactless.process(SELECT) == OK
    card.nvm.power.arm(1, CutMoment.BEFORE)
    with pytest.raises(PortMute):
        card.contact.process(UPDATE)
    assert not card.contact.powered
    assert not card.contactless.powered
    with pytest.raises(PortMute):
        card.contactless.process(READ)


def test_a_warm_reset_boots_the_chip_only_when_it_is_alone() -> None:
    card = new_card()
    card.contact.power_on()
    first = card.platform
    card.contactless.power_on()
    card.contact.reset()
    assert card.platform is first, "the field keeps it running"
    card.contactless.power_off()
    card.contact.reset()
    assert card.platform is not first


class Expected:
    """What is known of power and arbitration, by the events alone."""

    def __init__(self, arbitration: Arbitration) -> None:
        self.arbitration = arbitration
        self.contact = self.field = False

    def answers(self, event: str) -> bool:
        """Apply an event; True when the card answers it (ATR or ATS), or nothing is asked for."""
        match event:
            case "contact off" | "brown-out":
                self.contact = False
            case "field off":
                self.field = False
            case "contact reset" if not self.contact:
                return False
            case "contact on" | "contact reset":
                self.contact = self.arbitration is Arbitration.CONCURRENT or not self.field
                return self.contact
            case _:
                self.field = self.arbitration is Arbitration.CONCURRENT or not self.contact
                return self.field
        return True


def act(card: Card, event: str) -> bool:
    actions: dict[str, Callable[[], object]] = {
        "contact on": card.contact.power_on,
        "contact off": card.contact.power_off,
        "contact reset": card.contact.reset,
        "field on": card.contactless.power_on,
        "field off": card.contactless.power_off,
        "brown-out": lambda: card.contact.supply(4_000),
    }
    try:
        actions[event]()
    except PortMute:
        return False
    return True


def works(port: Port) -> bool:
    try:
        return port.process(SELECT) == OK
    except PortMute:
        return False


@pytest.mark.parametrize("arbitration", Arbitration)
def test_every_order_of_both_interfaces_is_decided(arbitration: Arbitration) -> None:
    """All 1,296 orders of four events: who answers, who has power, who executes commands."""
    image = blank_memory(arbitration=arbitration)
    install(make_card(image.nvm()), FIRST)
    for order in itertools.product(EVENTS, repeat=4):
        card, expected = make_card(image.nvm()), Expected(arbitration)
        for event in order:
            assert act(card, event) is expected.answers(event), order
            assert (card.contact.powered, card.contactless.powered) == (expected.contact, expected.field), order
        assert (works(card.contact), works(card.contactless)) == (expected.contact, expected.field), order
        assert card.faults == 0
