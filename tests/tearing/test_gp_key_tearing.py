"""Power cut inside commands that change keys, what is attached to them, and their counters: old or new."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from card_os.card import Card
from card_os.globalplatform import keys as card_keys
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import KeyType
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment
from card_os.manufacture import manufacture
from card_os.port import PortMute
from card_os.security.cryptography import check_value
from tests.doubles.channel_hosts import AES_KEYS, DES_KEYS, Scp02Host, Scp03Host
from tests.doubles.issuer_card import PRODUCTION, boot

POLICY: Final = ChannelPolicy(((Protocol.SCP03, 0x70), (Protocol.SCP02, 0x55)))
POINT: Final = bytes.fromhex(
    "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
    "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
)

Step = Callable[[Scp03Host], None]
Contents = dict[tuple[int, int], bytes]


def image_with(keys: KeySet) -> NvmImage:
    image = NvmImage.create()
    manufacture(image.nvm(), PRODUCTION, keys, channel_policy=POLICY)
    return image


def aes_fields(host: Scp03Host, *numbers: int) -> bytes:
    keys = [bytes((number,)) * 16 for number in numbers]
    return b"".join(b"\x88\x10" + host.encrypt(key) + b"\x03" + check_value(key) for key in keys)


def command(host: Scp03Host, header: str, data: bytes) -> None:
    assert host.transmit(f"{header}{len(data):02X}{data.hex()}00")[-4:] == "9000"


def nothing(_host: Scp03Host) -> None:
    pass


def add_set(host: Scp03Host) -> None:
    command(host, "80D80081", b"\x40" + aes_fields(host, 1, 2, 3))


def replace_set(host: Scp03Host) -> None:
    command(host, "80D83081", b"\x31" + aes_fields(host, 4, 5, 6))


def replace_one(host: Scp03Host) -> None:
    command(host, "80D83003", b"\x30" + aes_fields(host, 7))


def begin_chain(host: Scp03Host) -> None:
    command(host, "80D88001", b"\x40" + aes_fields(host, 1))
    command(host, "80D88002", b"\x40" + aes_fields(host, 2))


def end_chain(host: Scp03Host) -> None:
    command(host, "80D80003", b"\x40" + aes_fields(host, 3))


def add_authority(host: Scp03Host) -> None:
    command(host, "80D80010", b"\x03\xb0\x41" + POINT + b"\xf0\x01\x00\x00")


def attach(host: Scp03Host) -> None:
    command(host, "80E29000", bytes.fromhex("A604830210037006930101930102"))


def attached(host: Scp03Host) -> None:
    add_authority(host)
    attach(host)


def attach_other(host: Scp03Host) -> None:
    command(host, "80E29000", bytes.fromhex("A604830210037003930107"))


def delete_authority(host: Scp03Host) -> None:
    command(host, "80E40000", bytes.fromhex("D20103"))


def delete_set(host: Scp03Host) -> None:
    command(host, "80E40000", bytes.fromhex("D20140"))


def delete_one(host: Scp03Host) -> None:
    command(host, "80E40000", bytes.fromhex("D00102D20140"))


STEPS: Final = [
    pytest.param(nothing, add_set, id="PUT KEY adds a set"),
    pytest.param(nothing, replace_set, id="PUT KEY replaces a set"),
    pytest.param(nothing, replace_one, id="PUT KEY replaces a key"),
    pytest.param(begin_chain, end_chain, id="PUT KEY ends a chain"),
    pytest.param(nothing, add_authority, id="PUT KEY of a point"),
    pytest.param(add_authority, attach, id="STORE DATA attaches"),
    pytest.param(attached, attach_other, id="STORE DATA replaces"),
    pytest.param(attached, delete_authority, id="DELETE key with what is attached"),
    pytest.param(add_set, delete_set, id="DELETE key set"),
    pytest.param(add_set, delete_one, id="DELETE one key"),
]


def contents(card: Card) -> Contents:
    store = card.platform.store
    return {(int(item.kind), item.identifier): store.read(item) for item in store.owned(ISSUER_DOMAIN)}


def cuts(units: int) -> Iterator[tuple[int, CutMoment]]:
    return itertools.product(range(1, units + 1), CutMoment)


def opened(image: NvmImage, prepare: Step) -> tuple[Card, Scp03Host]:
    card = boot(image)
    card.contact.power_on()
    host = Scp03Host(card.contact.process)
    host.open(0x03)
    prepare(host)
    return card, host


@pytest.mark.parametrize(("prepare", "change"), STEPS)
def test_old_or_new(prepare: Step, change: Step) -> None:
    image = image_with(KeySet(0x30, *AES_KEYS))
    with contextlib.closing(image.fork()) as fork:
        card, host = opened(fork, prepare)
        old, before = contents(card), card.nvm.power.count
        change(host)
        new, units = contents(card), card.nvm.power.count - before
    assert old != new
    seen: set[bool] = set()
    for unit, moment in cuts(units):
        with contextlib.closing(image.fork()) as fork:
            card, host = opened(fork, prepare)
            card.nvm.power.arm(unit, moment)
            with contextlib.suppress(PortMute):
                change(host)
            card.contact.power_on()
            found = contents(card)
            assert found in (old, new), f"between old and new after a cut {moment.value} unit {unit} of {units}"
            seen.add(found == new)
            assert card.faults == 0
    assert seen == {False, True}


def units_of_authentication(image: NvmImage, cryptogram: bytes | None = None) -> int:
    """Programming units of EXTERNAL AUTHENTICATE."""
    with contextlib.closing(image.fork()) as fork:
        card = boot(fork)
        card.contact.power_on()
        host = Scp02Host(card.contact.process)
        before = card.nvm.power.count
        host.open(0x01, cryptogram=cryptogram)
        return card.nvm.power.count - before


def test_the_scp02_counter_moves_once_or_not_at_all() -> None:
    """E.1.2: whatever is cut, it never goes back; who has the answer 9000 has moved it."""
    image = image_with(KeySet(0x20, *DES_KEYS, KeyType.DES))
    moved: set[int | None] = set()
    for unit, moment in cuts(units_of_authentication(image)):
        with contextlib.closing(image.fork()) as fork:
            card = boot(fork)
            card.contact.power_on()
            host = Scp02Host(card.contact.process)
            card.nvm.power.arm(unit, moment)
            answer = b""
            with contextlib.suppress(PortMute):
                answer = host.open(0x01)
            card.contact.power_on()
            counter = card_keys.sequence_counter(card.platform.store, ISSUER_DOMAIN, 0x20)
            assert counter in (0, 1)
            assert counter == 1 or not answer
            moved.add(counter)
            assert card_keys.tries_left(card.platform.store, ISSUER_DOMAIN, 0x20) in (9, 10)
            assert Scp02Host(card.contact.process).open(0x01).hex() == "9000"
    assert moved == {0, 1}


def test_an_answer_that_a_try_paid_for_stays_paid() -> None:
    """A false host cryptogram under a right MAC costs a try and a count, with and without a cut."""
    image = image_with(KeySet(0x20, *DES_KEYS, KeyType.DES))
    for unit, moment in cuts(units_of_authentication(image, bytes(8)) + 1):
        with contextlib.closing(image.fork()) as fork:
            card = boot(fork)
            card.contact.power_on()
            host = Scp02Host(card.contact.process)
            card.nvm.power.arm(unit, moment)
            answer = b""
            with contextlib.suppress(PortMute):
                answer = host.open(0x01, cryptogram=bytes(8))
            card.contact.power_on()
            store = card.platform.store
            if answer:
                assert answer.hex() == "6300"
                assert card_keys.tries_left(store, ISSUER_DOMAIN, 0x20) == 9
                assert card_keys.sequence_counter(store, ISSUER_DOMAIN, 0x20) == 1
