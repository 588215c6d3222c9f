"""Power cut inside the commands that manage content: domains, load files, extradition, registry, data, big deletions.

After every cut and a boot the registry, every object and all free memory are as before the command or as after it. A
loading that was cut is as if it had never begun: the boot takes its memory back.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Final

import pytest

from card_os.card import Card
from card_os.globalplatform.registry import CARD_OWNER, CardObject
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.port import PortMute
from card_os.storage.store import ObjectKind
from personalization.globalplatform import commands
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from tests.doubles.domain_card import (
    BANK,
    BANK_KEYS,
    DOMAIN_MODULE,
    DOMAIN_PACKAGE,
    LOADED_MODULE,
    LOADED_PACKAGE,
    MANAGER,
    PARTNER,
    PARTNER_KEYS,
    PLAIN_DOMAIN,
    boot,
    delete_command,
    extradite_command,
    install_command,
    load_commands,
    load_request,
    make_domain,
    status_command,
    update_command,
)
from tests.doubles.issuer_card import (
    DOMAIN,
    FACTORY,
    INSTANCE,
    MODULE,
    PACKAGE,
    PortConnection,
    ShortConnection,
    issuer_image,
)
from tests.doubles.load_files import cap_components

BLOCK: Final = cap_components(LOADED_PACKAGE, [LOADED_MODULE], code=40)
LOADING: Final = load_commands(tlv.encode(0xC4, BLOCK), 60)

_UNITS: Final = 10
Commands = tuple[CommandApdu, ...]
Step = tuple[bytes, StaticKeys, Commands, CommandApdu]

INSTALL_DOMAIN: Final = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN)
INSTALL: Final = install_command(PACKAGE, MODULE, INSTANCE, b"\x04", bytes.fromhex("C90112EF0BC8020400D8020100CF0142"))
LOAD: Final = (load_request(LOADED_PACKAGE), *LOADING)
INSTALL_LOADED: Final = install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE)

COMBINED: Final = (LOAD[0]._replace(p1=0x0E, p2=0x01), *LOADING)
COMBINED_END: Final = INSTALL_LOADED._replace(p1=0x0E, p2=0x03)
LONG: Final = install_command(PACKAGE, MODULE, INSTANCE, b"\x00", tlv.encode(0xC9, bytes(range(200)) * 3))

STEPS: Final = {
    "INSTALL domain": (DOMAIN, FACTORY, (), INSTALL_DOMAIN),
    "INSTALL with memory and default selection": (DOMAIN, FACTORY, (), INSTALL),
    "INSTALL for load": (DOMAIN, FACTORY, (), LOAD[0]),
    "LOAD first block": (DOMAIN, FACTORY, LOAD[:1], LOAD[1]),
    "LOAD last block": (DOMAIN, FACTORY, LOAD[:-1], LOAD[-1]),
    "combined INSTALL, beginning": (DOMAIN, FACTORY, (), COMBINED[0]),
    "combined INSTALL, last block": (DOMAIN, FACTORY, COMBINED[:-1], COMBINED[-1]),
    "combined INSTALL, end": (DOMAIN, FACTORY, COMBINED, COMBINED_END),
    "INSTALL in pieces": (DOMAIN, FACTORY, (), LONG),
    "extradition": (DOMAIN, FACTORY, (INSTALL,), extradite_command(BANK, INSTANCE)),
    "extradition of a resident load file": (DOMAIN, FACTORY, (), extradite_command(BANK, PACKAGE)),
    "registry update": (
        DOMAIN,
        FACTORY,
        (INSTALL,),
        update_command(INSTANCE, b"\x02", bytes.fromhex("EF07CF0141CB028101"), BANK),
    ),
    "restriction of the card": (DOMAIN, FACTORY, (), update_command(b"", b"", bytes.fromhex("EF03D90101"))),
    "DELETE default application": (DOMAIN, FACTORY, (INSTALL,), delete_command(INSTANCE)),
    "DELETE load file": (DOMAIN, FACTORY, LOAD, delete_command(LOADED_PACKAGE)),
    "DELETE with related": (DOMAIN, FACTORY, (*LOAD, INSTALL_LOADED), delete_command(LOADED_PACKAGE, related=True)),
    "STORE DATA of a domain": (
        BANK,
        BANK_KEYS,
        (),
        CommandApdu(0x80, 0xE2, 0x90, 0, bytes.fromhex("4204112233444503AABBCC")),
    ),
    "STORE DATA with a new AID": (
        DOMAIN,
        FACTORY,
        (),
        CommandApdu(0x80, 0xE2, 0x90, 0, bytes.fromhex("420111" + "4F08A000000003000000")),
    ),
    "STORE DATA completes the production data": (
        DOMAIN,
        FACTORY,
        (),
        CommandApdu(0x80, 0xE2, 0x90, 0, bytes.fromhex("9F6608" + "1122334455667788" + "420111")),
    ),
    "SET STATUS of a hierarchy": (DOMAIN, FACTORY, (), status_command(0x60, 0x80, BANK)),
    "SET STATUS contactless": (DOMAIN, FACTORY, (INSTALL,), status_command(0x01, 0x00, b"\x4f\x08" + INSTANCE)),
}

Survey = tuple[dict[tuple[int, int, int], bytes], int]


def survey(card: Card) -> Survey:
    """Every object but the counters of sessions, and the bytes that nobody uses."""
    store = card.platform.store
    objects = {
        (item.owner, int(item.kind), item.identifier): store.read(item)
        for item in store.objects()
        if item.kind is not ObjectKind.COUNTER
    }
    return objects, store.free_in_all


def base_image(chip: str) -> NvmImage:
    """A card with the bank's domain and one below it."""
    image = issuer_image(chip=chip)
    card = boot(image)
    connection = PortConnection(card.contact)
    connection.power_on()
    make_domain(connection, BANK, BANK_KEYS, MANAGER)
    make_domain(connection, PARTNER + b"\x01", PARTNER_KEYS, PLAIN_DOMAIN, (BANK, BANK_KEYS))
    connection.power_off()
    return image


def opened(image: NvmImage, aid: bytes, keys: StaticKeys, prepare: Commands) -> tuple[Card, SecureSession]:
    card = boot(image)
    connection = ShortConnection(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, keys, aid=aid, randomness=bytes)
    for command in prepare:
        session.transmit(command)
    return card, session


def cuts(units: int, *, every: bool) -> Iterator[tuple[int, CutMoment]]:
    """Programming units of the command at every moment of them; about `_UNITS` of them when not every one."""
    stride = 1 if every else 1 + units // _UNITS
    return itertools.product({*range(1, units + 1, stride), units - 1, units}, CutMoment)


def sweep(image: NvmImage, step: Step, *, every: bool = False) -> None:
    aid, keys, prepare, change = step
    with contextlib.closing(image.fork()) as fork:
        card, session = opened(fork, aid, keys, prepare)
        before = card.nvm.power.count
        session.transmit_chained(change)
        units = card.nvm.power.count - before
        card.contact.power_off()
        card.contact.power_on()
        new = survey(card)
    with contextlib.closing(image.fork()) as fork:
        card, session = opened(fork, aid, keys, prepare)
        card.contact.power_off()
        card.contact.power_on()
        old = survey(card)
    seen: set[bool] = set()
    for unit, moment in cuts(units, every=every):
        with contextlib.closing(image.fork()) as fork:
            card, session = opened(fork, aid, keys, prepare)
            card.nvm.power.arm(unit, moment)
            with contextlib.suppress(PortMute):
                session.transmit_chained(change)
            card.contact.power_on()
            found = survey(card)
            assert found in (old, new), f"between old and new after a cut {moment.value} unit {unit} of {units}"
            seen.add(found == new)
            assert card.faults == 0
    assert seen == ({False, True} if old != new else {True})


@pytest.fixture(scope="module")
def words() -> Iterator[NvmImage]:
    with contextlib.closing(base_image("flash-144k")) as image:
        yield image


@pytest.fixture(scope="module")
def mapped() -> Iterator[NvmImage]:
    with contextlib.closing(base_image("mapped-flash-144k")) as image:
        yield image


@pytest.mark.parametrize("name", STEPS)
def test_old_or_new(words: NvmImage, name: str) -> None:
    sweep(words, STEPS[name])


@pytest.mark.parametrize("name", ["LOAD last block", "combined INSTALL, end", "DELETE with related", "registry update"])
def test_old_or_new_on_a_mapped_memory(mapped: NvmImage, name: str) -> None:
    sweep(mapped, STEPS[name])


@pytest.mark.long
@pytest.mark.parametrize("name", STEPS)
def test_old_or_new_at_every_unit(words: NvmImage, name: str) -> None:
    sweep(words, STEPS[name], every=True)


@pytest.mark.long
@pytest.mark.parametrize("name", STEPS)
def test_old_or_new_at_every_unit_of_a_mapped_memory(mapped: NvmImage, name: str) -> None:
    sweep(mapped, STEPS[name], every=True)


def test_a_deletion_of_many_objects_goes_on_after_a_cut(words: NvmImage) -> None:
    """More objects than one transaction takes: the entry goes first, the boot finishes the rest, cut as it may be."""
    with contextlib.closing(words.fork()) as image:
        card, session = opened(image, DOMAIN, FACTORY, (install_command(PACKAGE, MODULE, INSTANCE),))
        for number in range(4):
            session.transmit(commands.install_for_personalization(INSTANCE))
            block = b"".join(bytes((number + 1, one, 1, one)) for one in range(30))
            session.transmit(CommandApdu(0x80, 0xE2, 0x08, 0, block))
        card.contact.power_off()
        card, session = opened(image, DOMAIN, FACTORY, ())
        units = _units_of(image)
        outcomes: set[bool] = set()
        for unit in range(1, units + 1, units // 12):
            with contextlib.closing(image.fork()) as fork:
                card, session = opened(fork, DOMAIN, FACTORY, ())
                card.nvm.power.arm(unit, CutMoment.PROGRAMMING)
                with contextlib.suppress(PortMute):
                    session.transmit(delete_command(INSTANCE))
                card.nvm.power.restore()
                card.nvm.power.arm(5, CutMoment.ERASING)
                with contextlib.suppress(PortMute):
                    card.contact.power_on()
                card.contact.power_on()
                store = card.platform.store
                gone = card.platform.registry.by_aid(INSTANCE) is None
                outcomes.add(gone)
                assert store.find(CARD_OWNER, ObjectKind.CARD, CardObject.RECLAIM) is None
                number = max(item.owner for item in store.objects())
                assert gone or len(store.owned(number)) >= 120
        assert outcomes == {False, True}


def _units_of(image: NvmImage) -> int:
    with contextlib.closing(image.fork()) as fork:
        card, session = opened(fork, DOMAIN, FACTORY, ())
        before = card.nvm.power.count
        session.transmit(delete_command(INSTANCE))
        return card.nvm.power.count - before
