"""What the card offers applications by privilege: global PIN and contactless self-activation (GPC 2.3.1, 8.2)."""

from __future__ import annotations

import pytest

from card_os.applet_api import CardControl
from card_os.card import Card
from card_os.globalplatform.cardholder_verification import CvmState
from card_os.globalplatform.registry import Application, ContactlessState
from card_os.hardware.power import CutMoment
from card_os.iso7816.errors import (
    CardTorn,
    ConditionsNotSatisfied,
    ReferenceDataNotFound,
    SecurityStatusNotSatisfied,
    WrongData,
)
from tests.doubles.domain_card import boot, entry, install_command, issuer_session, powered
from tests.doubles.issuer_card import INSTANCE, MODULE, PACKAGE

MANAGER = MODULE + b"\x0a"


@pytest.fixture
def card() -> Card:
    """An application without privileges, and one that manages the global PIN and activates itself."""
    card = boot()
    session = issuer_session(powered(card))
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    session.transmit(install_command(PACKAGE, MODULE, MANAGER, bytes.fromhex("020010")))
    return card


def services(card: Card, aid: bytes) -> tuple[CardControl, Application]:
    application = entry(card, aid)
    return card.platform.context_of(application).card, application


def test_the_manager_sets_it_and_all_use_it(card: Card) -> None:
    control, manager = services(card, MANAGER)
    pin = control.global_pin
    assert not pin.is_set
    with pytest.raises(ReferenceDataNotFound):
        pin.verify(b"1234")
    pin.change(manager, b"1234")
    other, _ = services(card, INSTANCE)
    assert other.global_pin.state is CvmState.ACTIVE
    assert other.global_pin.verify(b"1234")
    assert control.global_pin.state is CvmState.VALIDATED
    assert not other.global_pin.verify(b"12345")
    assert (pin.state, pin.tries_left) == (CvmState.INVALID_SUBMISSION, 2)
    pin.reset_state()
    assert pin.state is CvmState.ACTIVE


def test_a_new_value_or_limit_has_not_been_validated(card: Card) -> None:
    """8.2.2.2.1: who presented the former value has not presented this one."""
    control, manager = services(card, MANAGER)
    pin = control.global_pin
    pin.change(manager, b"1234")
    assert pin.verify(b"1234")
    pin.set_try_limit(manager, 5)
    assert pin.state is CvmState.ACTIVE
    assert pin.verify(b"1234")
    pin.change(manager, b"4321")
    assert (pin.state, pin.tries_left) == (CvmState.ACTIVE, 5)


def test_it_blocks_for_good_and_the_manager_unblocks_it(card: Card) -> None:
    """8.2.2.2.4: verification always fails while it is blocked, with the right value and after power too."""
    control, manager = services(card, MANAGER)
    pin = control.global_pin
    pin.change(manager, b"1234")
    pin.set_try_limit(manager, 2)
    assert [pin.verify(b"0000") for _ in range(3)] == [False] * 3
    assert pin.state is CvmState.BLOCKED
    card.contact.power_off()
    card.contact.power_on()
    control, manager = services(card, MANAGER)
    pin = control.global_pin
    assert not pin.verify(b"1234")
    pin.unblock(manager)
    assert pin.verify(b"1234")
    pin.block(manager)
    assert pin.state is CvmState.BLOCKED
    pin.change(manager, b"9" * 16)
    assert (pin.tries_left, pin.verify(b"9" * 16)) == (2, True)


def test_without_the_privilege_nothing_changes(card: Card) -> None:
    control, manager = services(card, MANAGER)
    control.global_pin.change(manager, b"1234")
    _, other = services(card, INSTANCE)
    pin = control.global_pin
    with pytest.raises(SecurityStatusNotSatisfied):
        pin.change(other, b"0000")
    with pytest.raises(SecurityStatusNotSatisfied):
        pin.set_try_limit(other, 15)
    with pytest.raises(SecurityStatusNotSatisfied):
        pin.block(other)
    with pytest.raises(SecurityStatusNotSatisfied):
        pin.unblock(other)
    assert pin.verify(b"1234")


@pytest.mark.parametrize("value", [b"", bytes(17)])
def test_values_out_of_range(card: Card, value: bytes) -> None:
    control, manager = services(card, MANAGER)
    with pytest.raises(WrongData):
        control.global_pin.change(manager, value)
    control.global_pin.change(manager, b"1")
    for limit in (0, 16):
        with pytest.raises(WrongData):
            control.global_pin.set_try_limit(manager, limit)


def test_a_cut_gives_no_try_back(card: Card) -> None:
    """The try is spent before the compare, whatever is cut."""
    control, manager = services(card, MANAGER)
    control.global_pin.change(manager, b"1234")
    for moment in CutMoment:
        control, manager = services(card, MANAGER)
        control.global_pin.unblock(manager)
        card.nvm.power.arm(1, moment)
        torn = False
        try:
            control.global_pin.verify(b"0000")
        except CardTorn:
            torn = True
        card.tear()
        card.contact.power_on()
        left = services(card, MANAGER)[0].global_pin.tries_left
        assert left in ((2, 3) if torn else (2,))


def test_an_application_activates_itself(card: Card) -> None:
    """Amendment C, 7.2: with the privilege, for itself."""
    control, manager = services(card, MANAGER)
    control.activate_contactless(manager, active=False)
    assert entry(card, MANAGER).data.contactless is ContactlessState.DEACTIVATED
    with pytest.raises(ConditionsNotSatisfied):
        control.activate_contactless(manager, active=False)
    control.activate_contactless(manager, active=True)
    _, other = services(card, INSTANCE)
    with pytest.raises(SecurityStatusNotSatisfied):
        control.activate_contactless(other, active=False)
