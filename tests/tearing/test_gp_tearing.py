"""Power cut inside the commands of the issuer domain: keys, content and life cycles are old or new, never between."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from card_os.card import Card
from card_os.globalplatform import keys as card_keys
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment
from card_os.port import PortMute
from personalization.globalplatform import commands
from personalization.globalplatform.commands import CardState, DataGrouping
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from tests.doubles.issuer_card import (
    CARD_NUMBER,
    FACTORY,
    INSTANCE,
    OURS,
    PortConnection,
    boot,
    install_notebook,
    issuer_image,
)

OWNERS: Final = 4

Step = Callable[[SecureSession], None]
Contents = dict[tuple[int, int, int], bytes]


def nothing(_session: SecureSession) -> None:
    pass


def replace_factory_keys(session: SecureSession) -> None:
    session.put_keys(OURS, replace=0xFF)


def replace_by_longer_keys(session: SecureSession) -> None:
    session.put_keys(StaticKeys(0x02, bytes(32), b"\x01" * 32, b"\x02" * 32), replace=0xFF)


def start_personalization(session: SecureSession) -> None:
    install_notebook(session)
    session.transmit(commands.install_for_personalization(INSTANCE))


def store_last_block(session: SecureSession) -> None:
    groupings = [DataGrouping(number, bytes((number,)) * 30, encrypted=True) for number in range(1, 4)]
    for block in commands.store_data(groupings, dek=FACTORY.dek, max_data=session.max_data):
        session.transmit(block)


def personalized(session: SecureSession) -> None:
    start_personalization(session)
    store_last_block(session)


def delete(session: SecureSession) -> None:
    session.delete(INSTANCE)


def secure(session: SecureSession) -> None:
    session.set_card_state(CardState.SECURED)


def lock(session: SecureSession) -> None:
    session.set_application_state(INSTANCE, 0x80)


STEPS: Final = [
    pytest.param(nothing, replace_factory_keys, id="PUT KEY"),
    pytest.param(nothing, replace_by_longer_keys, id="PUT KEY longer"),
    pytest.param(nothing, install_notebook, id="INSTALL"),
    pytest.param(start_personalization, store_last_block, id="STORE DATA"),
    pytest.param(personalized, delete, id="DELETE"),
    pytest.param(personalized, lock, id="SET STATUS application"),
    pytest.param(personalized, secure, id="SET STATUS card"),
]


def contents(card: Card) -> Contents:
    store = card.platform.store
    return {
        (item.owner, int(item.kind), item.identifier): store.read(item)
        for owner in range(OWNERS)
        for item in store.owned(owner)
    }


def opened(image: NvmImage, prepare: Step) -> tuple[Card, SecureSession]:
    card = boot(image)
    card.contact.power_on()
    session = SecureSession.open(PortConnection(card.contact), FACTORY, randomness=bytes)
    prepare(session)
    return card, session


def cuts(units: int) -> Iterator[tuple[int, CutMoment]]:
    """Every programming unit of the command, at every moment of it."""
    return itertools.product(range(1, units + 1), CutMoment)


@pytest.mark.parametrize(("prepare", "change"), STEPS)
def test_old_or_new(prepare: Step, change: Step) -> None:
    image = issuer_image()
    with contextlib.closing(image.fork()) as fork:
        card, session = opened(fork, prepare)
        old = contents(card)
        before = card.nvm.power.count
        change(session)
        new = contents(card)
        units = card.nvm.power.count - before
    assert old != new
    seen: set[bool] = set()
    for unit, moment in cuts(units):
        with contextlib.closing(image.fork()) as fork:
            card, session = opened(fork, prepare)
            card.nvm.power.arm(unit, moment)
            with contextlib.suppress(PortMute):
                change(session)
            card.contact.power_on()
            found = contents(card)
            assert found in (old, new), f"between old and new after a cut {moment.value} unit {unit} of {units}"
            seen.add(found == new)
            assert card.faults == 0
            card.contact.process(commands.select(INSTANCE).encode())
            keys = OURS if (ISSUER_DOMAIN, 3, 0x0101) in found else FACTORY
            if (ISSUER_DOMAIN, 3, 0x0201) not in found:
                assert SecureSession.open(PortConnection(card.contact), keys).card == CARD_NUMBER
    assert seen == {False, True}


def test_no_cut_gives_a_try_back() -> None:
    """The try is spent before the compare: whatever is cut, a false attempt leaves at most one more than it found."""
    image = issuer_image()
    false = bytes.fromhex("8482330010" + "00" * 16)
    start = commands.initialize_update(0xFF, bytes(8)).encode()
    for unit in range(1, 12):
        for moment in CutMoment:
            with contextlib.closing(image.fork()) as fork:
                card = boot(fork)
                card.contact.power_on()
                card.contact.process(start)
                card.nvm.power.arm(unit, moment)
                answer = b""
                with contextlib.suppress(PortMute):
                    answer = card.contact.process(false)
                card.contact.power_on()
                left = card_keys.tries_left(card.platform.store, ISSUER_DOMAIN, 0xFF)
                assert left in (9, 10)
                if answer:
                    assert answer == b"\x63\x00"
                    assert left == 9


def test_no_challenge_comes_twice_whatever_is_cut() -> None:
    """The sequence counter never goes back: an answer that was given is never given again (6.2.2.1)."""
    image = issuer_image()
    card = boot(image)
    card.contact.power_on()
    start = commands.initialize_update(0xFF, bytes(8)).encode()
    given: list[bytes] = []
    for unit in range(1, 12):
        for moment in CutMoment:
            card.nvm.power.arm(unit, moment)
            with contextlib.suppress(PortMute):
                given.append(card.contact.process(start))
            card.nvm.power.restore()
            card.contact.power_on()
            given.append(card.contact.process(start))
    assert all(answer[-2:] == b"\x90\x00" for answer in given)
    assert len({answer[13:21] for answer in given}) == len(given)
