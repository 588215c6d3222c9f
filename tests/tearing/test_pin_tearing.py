"""Power cut at every programming unit of PIN and key commands: no guess is free, and nothing is between old and new.

A guess is a compare that the card made. An attacker who cuts the power at will must not get more of them than the try
limit, whatever the card still managed to write.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Final

import pytest

from card_os.applet_api import (
    Context,
    Instruction,
    KeyUsage,
    authentication_instructions,
    cmac,
    create_key,
    create_pin,
    instruction_table,
    pin_block,
    pin_instructions,
)
from card_os.card import Card
from card_os.globalplatform.registry import Privilege
from card_os.hardware.chip import load_chips
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import VerificationFailed
from card_os.port import Port, PortMute
from card_os.security import authentication, pin
from card_os.security.cryptography import equal
from card_os.security.tries import spend_try
from card_os.storage.store import ObjectKind, ObjectStore, StoredObject

AID: Final = bytes.fromhex("F0544553540102")
PIN, PUK, WRONG, NEW = (pin_block(digits) for digits in ("1234", "87654321", "1111", "998877"))
KEY: Final = bytes(range(32))
LIMIT: Final = 3
LOG_HEADER_UNITS: Final = 4
CHIPS: Final = [dataclasses.replace(chip, size=16_384) for chip in load_chips().values()]
VERIFY_WRONG: Final = CommandApdu(0, 0x20, 0, 0x81, WRONG)
VERIFY_RIGHT: Final = CommandApdu(0, 0x20, 0, 0x81, PIN)
CHANGE: Final = CommandApdu(0, 0x24, 0, 0x81, PIN + NEW)
CHANGE_WRONG: Final = CommandApdu(0, 0x24, 0, 0x81, WRONG + NEW)
UNBLOCK: Final = CommandApdu(0, 0x2C, 0, 0x81, PUK + NEW)
UNBLOCK_WRONG: Final = CommandApdu(0, 0x2C, 0, 0x81, WRONG + NEW)


class Vault:
    """An application with a PIN, its unblocking PIN and a terminal's key."""

    package_aid: ClassVar[bytes] = AID[:-1]
    module_aid: ClassVar[bytes] = AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *pin_instructions(), *authentication_instructions()
    )

    def install(self, context: Context, parameters: bytes) -> None:
        create_pin(context, 0x81, PIN, number=1, try_limit=LIMIT, unblocking=0x82)
        create_pin(context, 0x82, PUK, number=2, try_limit=LIMIT)
        create_key(context, 0x82, KEY, usage=KeyUsage.TERMINAL, role=1, try_limit=LIMIT)

    def select(self, context: Context) -> bytes:
        return b""

    def deselect(self, context: Context) -> None:
        return

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        return


@pytest.fixture(scope="module", params=CHIPS, ids=lambda chip: chip.name)
def master(request: pytest.FixtureRequest) -> NvmImage:
    image = NvmImage.create(chip=request.param)
    Card(image.nvm(), [Vault]).platform.install(
        package_aid=AID[:-1], module_aid=AID, aid=AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    return image


def start(image: NvmImage) -> tuple[Card, Port]:
    card = Card(image.nvm(), [Vault], randomness=SeededRandomness(1))
    card.contact.power_on()
    card.contact.process(CommandApdu(0, 0xA4, 4, 0, AID, 256).encode())
    return card, card.contact


def run(port: Port, command: CommandApdu) -> int | None:
    """Status word, None when the power went."""
    try:
        return int.from_bytes(port.process(command.encode())[-2:], "big")
    except PortMute:
        return None


def pin_object(image: NvmImage, kind: ObjectKind = ObjectKind.PIN, reference: int = 0x81) -> bytes:
    store = ObjectStore(image.fork().nvm())
    return next(
        store.read(item) for owner in range(8) for item in store.owned(owner, kind) if item.identifier == reference
    )


def units(image: NvmImage, *commands: CommandApdu) -> int:
    """Programming units that the commands take."""
    card, port = start(image.fork())
    before = card.nvm.power.count
    for command in commands:
        run(port, command)
    return card.nvm.power.count - before


def cuts(count: int) -> Iterator[tuple[int, CutMoment]]:
    """Every place of a command that takes ``count`` units, also when it has to open a log block, and one after it."""
    return itertools.product(range(1, count + LOG_HEADER_UNITS + 2), CutMoment)


class Guesses:
    """Counts the compares that fail, in place of the constant-time compare of a module."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, left: bytes, right: bytes) -> bool:
        same = equal(left, right)
        self.count += not same
        return same


def most_guesses(master: NvmImage, guesses: Guesses, attack: Callable[[Port], object], count: int) -> int:
    """The most compares that an attacker gets who cuts each attempt at the same place, over all places."""
    most = 0
    for unit, moment in cuts(count):
        image = master.fork()
        guesses.count = 0
        for _ in range(LIMIT + 2):
            card, port = start(image)
            card.nvm.power.arm(unit, moment)
            attack(port)
            card.nvm.power.restore()
        most = max(most, guesses.count)
    return most


@pytest.fixture
def guesses(monkeypatch: pytest.MonkeyPatch) -> Guesses:
    counter = Guesses()
    monkeypatch.setattr(pin, "equal", counter)
    monkeypatch.setattr(authentication, "equal", counter)
    return counter


@pytest.mark.parametrize("command", [VERIFY_WRONG, CHANGE_WRONG, UNBLOCK_WRONG], ids=["VERIFY", "CHANGE", "UNBLOCK"])
def test_no_cut_gives_a_guess_back(master: NvmImage, guesses: Guesses, command: CommandApdu) -> None:
    """ISO/IEC 7816-4:2020, 11.6.6: the number of further allowed retries."""
    assert most_guesses(master, guesses, lambda port: run(port, command), units(master, command)) == LIMIT


def authenticate_wrongly(port: Port) -> None:
    port.process(CommandApdu(0, 0x84, 0, 0, b"", 16).encode())
    run(port, CommandApdu(0, 0x82, 0, 0x82, bytes(16)))


def test_no_cut_gives_a_guess_of_a_key_back(master: NvmImage, guesses: Guesses) -> None:
    assert most_guesses(master, guesses, authenticate_wrongly, units(master, VERIFY_WRONG)) == LIMIT


@pytest.mark.parametrize("seed", range(8))
def test_no_series_of_cuts_gives_a_guess_back(master: NvmImage, guesses: Guesses, seed: int) -> None:
    chance, image = random.Random(seed), master.fork()
    places = list(cuts(units(master, VERIFY_WRONG)))
    guesses.count = 0
    for _ in range(60):
        card, port = start(image)
        card.nvm.power.arm(*chance.choice(places))
        run(port, VERIFY_WRONG)
        card.nvm.power.restore()
    assert guesses.count <= LIMIT
    assert pin_object(image)[0] <= LIMIT - guesses.count


def compare(left: bytes, right: bytes) -> bool:
    """Whatever stands in for the compare of the module now."""
    counted: Callable[[bytes, bytes], bool] = vars(pin)["equal"]
    return counted(left, right)


def compare_then_spend(context: Context, item: StoredObject, body: bytes, block: bytes) -> None:
    """The planted bug: the counter after the compare."""
    same = compare(body[4:], block)
    left = spend_try(context.store, item, body[0])
    if not same:
        raise VerificationFailed(left)


def spend_only_when_wrong(context: Context, item: StoredObject, body: bytes, block: bytes) -> None:
    """The planted bug in its usual form."""
    if not compare(body[4:], block):
        raise VerificationFailed(spend_try(context.store, item, body[0]))


@pytest.mark.parametrize("bug", [compare_then_spend, spend_only_when_wrong])
def test_a_counter_after_the_compare_is_caught(
    master: NvmImage, guesses: Guesses, monkeypatch: pytest.MonkeyPatch, bug: Callable[..., None]
) -> None:
    monkeypatch.setattr(pin, "_compare", bug)
    attack = VERIFY_WRONG
    assert most_guesses(master, guesses, lambda port: run(port, attack), units(master, attack)) > LIMIT


@pytest.mark.parametrize("block", [PIN, WRONG], ids=["right", "wrong"])
def test_the_try_is_in_the_memory_when_the_compare_begins(
    master: NvmImage, monkeypatch: pytest.MonkeyPatch, block: bytes
) -> None:
    image = master.fork()
    seen: list[int] = []

    def observe(left: bytes, right: bytes) -> bool:
        seen.append(pin_object(image)[0])
        return equal(left, right)

    monkeypatch.setattr(pin, "equal", observe)
    _, port = start(image)
    run(port, CommandApdu(0, 0x20, 0, 0x81, block))
    assert seen == [LIMIT - 1]


def sweep(master: NvmImage, command: CommandApdu) -> Iterator[tuple[int | None, NvmImage]]:
    """The command cut at every place, after one wrong PIN: its status and the memory after a reboot."""
    worn = master.fork()
    _, port = start(worn)
    assert run(port, VERIFY_WRONG) == 0x63C2
    for unit, moment in cuts(units(worn, command)):
        image = worn.fork()
        card, port = start(image)
        card.nvm.power.arm(unit, moment)
        status = run(port, command)
        card.nvm.power.restore()
        start(image)
        yield status, image


def test_a_cut_verify_leaves_spent_or_restored_tries(master: NvmImage) -> None:
    seen = set()
    for status, image in sweep(master, VERIFY_RIGHT):
        body = pin_object(image)
        assert body[1:] == pin_object(master)[1:]
        assert body[0] == LIMIT if status == 0x9000 else body[0] in {LIMIT - 2, LIMIT - 1, LIMIT}
        seen.add(body[0])
    assert seen == {LIMIT - 2, LIMIT - 1, LIMIT}


def test_a_cut_change_leaves_the_old_or_the_new_pin(master: NvmImage) -> None:
    seen = set()
    for status, image in sweep(master, CHANGE):
        body = pin_object(image)
        assert (body[0], body[4:]) in {(LIMIT - 1, PIN), (LIMIT - 2, PIN), (LIMIT, NEW)}
        assert status is None or body[4:] == NEW
        seen.add(body[4:])
    assert seen == {PIN, NEW}


def test_a_cut_unblocking_leaves_all_or_nothing(master: NvmImage) -> None:
    seen = set()
    for status, image in sweep(master, UNBLOCK):
        holder, unblocking = pin_object(image), pin_object(image, reference=0x82)
        state = (holder[0], holder[4:], unblocking[0])
        assert state in {(LIMIT - 1, PIN, LIMIT), (LIMIT - 1, PIN, LIMIT - 1), (LIMIT, NEW, LIMIT)}
        assert status is None or state[1] == NEW
        seen.add(state)
    assert len(seen) == 3


def test_a_cut_authentication_leaves_spent_or_restored_tries(master: NvmImage) -> None:
    def attempt(image: NvmImage) -> tuple[Card, Port, CommandApdu]:
        card, port = start(image)
        value = port.process(CommandApdu(0, 0x84, 0, 0, b"", 16).encode())[:16]
        return card, port, CommandApdu(0, 0x82, 0, 0x82, cmac(KEY[16:], bytes((3, 0x82)) + value))

    card, port, command = attempt(master.fork())
    before = card.nvm.power.count
    assert run(port, command) == 0x9000
    seen = set()
    for unit, moment in cuts(card.nvm.power.count - before):
        image = master.fork()
        card, port, command = attempt(image)
        card.nvm.power.arm(unit, moment)
        status = run(port, command)
        card.nvm.power.restore()
        start(image)
        body = pin_object(image, ObjectKind.KEY, 0x82)
        assert body[0] == LIMIT if status == 0x9000 else body[0] in {LIMIT - 1, LIMIT}
        seen.add(body[0])
    assert seen == {LIMIT - 1, LIMIT}
