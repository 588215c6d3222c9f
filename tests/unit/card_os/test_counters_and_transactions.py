"""Try counters never join a transaction, whoever opened it: spent is spent, also when all else is rolled back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from card_os.applet_api import Context, Instruction, instruction_table, pin_block, verify_pin
from card_os.card import Card
from card_os.globalplatform.registry import Privilege
from card_os.hardware.chip import load_chips
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import CardError, ConditionsNotSatisfied
from card_os.port import Port, PortMute
from tests.doubles.secured_card import AID, SecuredApplet, send

CHIPS = load_chips()
WRONG = pin_block("9999")
RIGHT = pin_block("1234")


def _within(context: Context, command: CommandApdu) -> bytes:
    """Change a file, compare the PIN and, where P1 says so, fail afterwards: all in one transaction."""
    files = context.files
    with context.store.transaction():
        files.write(files.get(0x0101), 0, b"\xee\xee")
        verify_pin(context, 0x81, command.data)
        if command.p1:
            raise ConditionsNotSatisfied("after the compare")
    return b""


def _caught(context: Context, command: CommandApdu) -> bytes:
    """The same, going on after a wrong PIN: the file changes."""
    files = context.files
    with context.store.transaction():
        files.write(files.get(0x0101), 0, b"\xdd\xdd")
        try:
            verify_pin(context, 0x81, command.data)
        except CardError:
            return b""
    return b""


class Mixing(SecuredApplet):
    """Compares inside transactions."""

    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *SecuredApplet.instructions.values(),
        Instruction(0x10, "COMPARE WITHIN", _within, proprietary=True),
        Instruction(0x12, "COMPARE AND GO ON", _caught, proprietary=True),
    )


@pytest.fixture(params=CHIPS)
def image(request: pytest.FixtureRequest) -> NvmImage:
    image = NvmImage.create(chip=str(request.param))
    card = Card(image.nvm(), [Mixing])
    card.platform.install(
        package_aid=AID[:-1], module_aid=AID, aid=AID, privileges=Privilege.CARD_RESET, domain=1, life_cycle=0x07
    )
    return image


def started(image: NvmImage, power: PowerSupply | None = None) -> Port:
    port = Card(image.nvm(power=power), [Mixing]).contact
    port.power_on()
    return port


def tries(port: Port) -> int:
    return send(port, 0x20, 0x81)[1]


def first_bytes(image: NvmImage) -> bytes:
    card = Card(image.fork().nvm(), [Mixing])
    context = card.platform.context_of(next(item for item in card.platform.registry if item.aid == AID))
    return context.files.read(context.files.get(0x0101), 0, 2)


def test_a_try_stays_spent_when_the_transaction_is_rolled_back(image: NvmImage) -> None:
    port, before = started(image), first_bytes(image)
    assert send(port, 0x10, 0, WRONG, cla=0x80)[1] == 0x63C2
    assert first_bytes(image) == before
    assert tries(started(image)) == 0x63C2
    assert send(port, 0x10, 0, WRONG, cla=0x80)[1] == 0x63C1
    assert tries(started(image)) == 0x63C1


def test_tries_come_back_after_a_success_that_is_rolled_back(image: NvmImage) -> None:
    port, before = started(image), first_bytes(image)
    assert send(port, 0x10, 0, WRONG, cla=0x80)[1] == 0x63C2
    assert send(port, 0x10, 0x0100, RIGHT, cla=0x80)[1] == 0x6985
    assert first_bytes(image) == before
    assert tries(started(image)) == 0x63C3


def test_a_commit_does_not_bring_a_try_back(image: NvmImage) -> None:
    port = started(image)
    assert send(port, 0x12, 0, WRONG, cla=0x80)[1] == 0x9000
    assert first_bytes(image) == b"\xdd\xdd"
    assert tries(started(image)) == 0x63C2


@pytest.mark.parametrize("moment", CutMoment)
def test_after_every_cut_the_try_is_spent_before_the_answer(image: NvmImage, moment: CutMoment) -> None:
    unit, torn, found = 0, True, set()
    while torn:
        unit += 1
        with image.fork() as copy:
            power = PowerSupply()
            port = started(copy, power)
            power.arm(unit, moment)
            try:
                send(port, 0x12, 0, WRONG, cla=0x80)
            except PortMute:
                left = tries(started(copy))
                found.add((first_bytes(copy) == b"\xdd\xdd", left))
                assert left == 0x63C2 or first_bytes(copy) != b"\xdd\xdd"
            else:
                torn = False
                assert tries(started(copy)) == 0x63C2
    assert (False, 0x63C2) in found, "the counter does not wait for the commit"
