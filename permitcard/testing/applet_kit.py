"""Tests that every application passes: tear safety, any bytes, its instruction table, channels, life after a reboot.

A test file says what the application is and which commands succeed, and gets the tests:

```python
class TestLoyalty(AppletSuite):
    applet = Loyalty
    parameters = bytes.fromhex("241234FFFFFFFFFF")
    examples = {"ADD POINTS": "80 10 0000 02 0064 02", "VERIFY": "00 20 0081 08 241234FFFFFFFFFF"}
```

Every check is a function too, for test tools other than pytest.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import pytest

from card_os.hardware.chip import DEFAULT_CHIP
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW, StatusWord
from card_os.security.access import Proof
from permitcard.products import boot
from permitcard.specimen import make_blank_specimen, specimen_keys, specimen_target
from permitcard.tearing.sweeping import CardToTear, assert_tear_safe
from personalization.globalplatform.commands import DataGrouping
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import issuer_domain_keys
from reader_bridge.connection import Interface
from reader_bridge.simulated import SimulatedCard, SimulatedConnection

if TYPE_CHECKING:
    from card_os.applet_api import Applet, Instruction
    from card_os.card import Card
    from card_os.hardware.nvm import Nvm
    from card_os.port import Port
    from reader_bridge.tear_report import TearReport

CHIPS: Final = (DEFAULT_CHIP, "mapped-flash-144k")
"""Chips of both kinds: words erased as they are programmed, pages erased as a whole."""

_NO_PRIVILEGES: Final = b"\x00"
_NAMED: Final = {int(value) for value in vars(SW).values() if isinstance(value, StatusWord)}
_FAULT: Final = 0x6F00
_OK: Final = b"\x90\x00"
_NOT_THERE: Final = (b"\x6d\x00", b"\x6e\x00")
_OF_THE_CARD: Final = frozenset({0xA4, 0x70, 0xC0, 0xC2, 0xC3})
"""Interindustry instructions that the card answers itself, at least in one form."""
_INTERFACES: Final = {Interface.CONTACT: Proof.CONTACT, Interface.CONTACTLESS: Proof.CONTACTLESS}


@dataclass(frozen=True, slots=True)
class AppletOnCard:
    """A card in memory with one application of an applet installed and selectable; `boot` gives a fresh copy each time.

    Attributes:
        applet: its code.
        image: the card.
        number: card number, 10 bytes.
    """

    applet: type[Applet]
    image: NvmImage
    number: bytes

    @classmethod
    def make(
        cls,
        applet: type[Applet],
        parameters: bytes = b"",
        groupings: Sequence[tuple[int, bytes]] = (),
        *,
        chip: str = DEFAULT_CHIP,
    ) -> AppletOnCard:
        """Install an application on a blank card through its issuer domain, and personalize it.

        Args:
            applet: its code.
            parameters: install parameters.
            groupings: DGI and value of what STORE DATA brings; none leaves it as INSTALL made it.
            chip: name of the chip geometry.

        Raises:
            PersonalizationError: the card refuses it.
        """
        card, number = make_blank_specimen(chip=chip)
        made = cls(applet, card.image, number)
        with SimulatedCard(card.image, made.boot_on).connect() as connection:
            session = SecureSession.open(connection, issuer_domain_keys(specimen_keys(), KeyName.FACTORY, number))
            session.install(
                package_aid=applet.package_aid,
                module_aid=applet.module_aid,
                instance_aid=applet.module_aid,
                privileges=_NO_PRIVILEGES,
                parameters=parameters,
            )
            if groupings:
                data = [DataGrouping(identifier, value, encrypted=False) for identifier, value in groupings]
                session.personalize(applet.module_aid, data)
        return made

    def boot_on(self, nvm: Nvm) -> Card:
        """Boot a card that carries the code, on a memory."""
        return boot(nvm, SeededRandomness(1), foreign=(self.applet,))

    def boot(self, image: NvmImage | None = None) -> Card:
        """Boot a copy of the card, or a card on an image."""
        return self.boot_on((image or self.image.fork()).nvm())

    @property
    def selection(self) -> bytes:
        """SELECT by name."""
        return CommandApdu(0x00, 0xA4, 0x04, 0x0C, bytes(self.applet.module_aid)).encode()

    def port(self, interface: Interface = Interface.CONTACT) -> Port:
        """A port of a copy of the card, with the application selected.

        Raises:
            AssertionError: it cannot be selected.
        """
        card = self.boot()
        port = card.contact if interface is Interface.CONTACT else card.contactless
        port.power_on()
        _demand(port.process(self.selection) == _OK, f"SELECT over {interface.value} does not end with 9000")
        return port


def check_examples(on_card: AppletOnCard, examples: Mapping[str, bytes]) -> None:
    """Every example ends with 9000, one after the other, over contact.

    Raises:
        AssertionError: one does not, or names no instruction of the applet.
    """
    names = {row.name for row in on_card.applet.instructions.values()}
    port = on_card.port()
    for name, command in examples.items():
        _demand(name in names, f"{name} is no instruction of the applet: {', '.join(sorted(names))}")
        answer = port.process(command)
        _demand(answer[-2:] == _OK, f"{name} answers {answer[-2:].hex().upper()} ({port.last_error})")


def check_tear_safety(on_card: AppletOnCard, examples: Mapping[str, bytes]) -> TearReport:
    """Run the examples while power is cut at every programming unit, at four moments each.

    Raises:
        AssertionError: the card is neither old nor new after a cut, a counter goes back, something is left behind.
    """
    select = on_card.selection.hex()
    lines = (f"{command.hex()} # {name}" for name, command in examples.items())
    script = "\n".join(("run:", select, *lines, "then:", select, ""))
    target = specimen_target(on_card.number)
    return assert_tear_safe(script, CardToTear(on_card.image, target, (on_card.applet,)))


def writes_anything(on_card: AppletOnCard, examples: Mapping[str, bytes]) -> bool:
    """True when the examples change the card."""
    image = on_card.image.fork()
    before = image.snapshot()
    with SimulatedConnection(on_card.boot(image).contact, Interface.CONTACT) as connection:
        for command in (on_card.selection, *examples.values()):
            connection.transmit(command)
    return image.snapshot() != before


def check_any_bytes(
    on_card: AppletOnCard, examples: Mapping[str, bytes], *, commands: int = 3_000, seed: int = 1
) -> None:
    """Send examples with bytes changed, cut and drawn at random, over both interfaces; each gets a defined answer.

    Raises:
        AssertionError: a status word that nobody defined, or an exception of the applet that is no `CardError`.
    """
    card, draw = on_card.boot(), random.Random(seed)
    for port in (card.contact, card.contactless):
        port.power_on()
    for count in range(commands):
        port = draw.choice((card.contact, card.contactless))
        command = on_card.selection if count % 50 < len(_INTERFACES) else _drawn(on_card.applet, examples, draw)
        answer = port.process(command)
        word = int.from_bytes(answer[-2:], "big")
        _demand(card.faults == 0, f"{command.hex()}: {card.last_fault!r}")
        defined = word in _NAMED or word >> 8 in (0x61, 0x6C) or StatusWord(word).tries_left is not None
        _demand(defined and word != _FAULT, f"{command.hex()}: {word:04X} is no defined status word")


def _drawn(applet: type[Applet], examples: Mapping[str, bytes], draw: random.Random) -> bytes:
    way = draw.choice(("drawn", "changed", "cut", "as it is"))
    if way == "drawn" or not examples:
        proprietary, ins = draw.choice(list(applet.instructions))
        data = draw.randbytes(draw.choice((0, 1, 2, 8, 16, 60)))
        p1, p2 = draw.choice((0, draw.randrange(256))), draw.choice((0, 0x81, draw.randrange(256)))
        return CommandApdu(0x80 * proprietary, ins, p1, p2, data, draw.choice((0, 1, 256))).encode()
    command = bytearray(draw.choice(list(examples.values())))
    if way == "changed":
        command[draw.randrange(len(command))] = draw.randrange(256)
    elif way == "cut":
        del command[draw.randrange(len(command)) :]
    return bytes(command)


def check_instruction_table(on_card: AppletOnCard, interface: Interface) -> None:
    """All 256 instructions in both classes, before any authentication: what is in the table is there, the rest is not.

    Raises:
        AssertionError: an instruction that is not in the table is answered, a rule is not asked, or a command that
            cannot be chained is.
    """
    for proprietary in (False, True):
        for ins in range(256):
            row = on_card.applet.instructions.get((proprietary, ins))
            header = bytes((0x80 * proprietary, ins, 0, 0))
            answer = on_card.port(interface).process(header)[-2:] if row else b""
            if row is not None:
                _check_row(row, answer, interface)
                chained = on_card.port(interface).process(bytes((header[0] | 0x10,)) + header[1:] + b"\x01\x00")[-2:]
                if not row.chaining and not row.stepwise:
                    _demand(chained == b"\x68\x84", f"{row.name} cannot be chained and answers {chained.hex().upper()}")
    port = on_card.port(interface)
    for proprietary in (False, True):
        for ins in range(256):
            if (proprietary, ins) not in on_card.applet.instructions and (proprietary or ins not in _OF_THE_CARD):
                answer = port.process(bytes((0x80 * proprietary, ins, 0, 0)))
                _demand(answer in _NOT_THERE, f"INS {ins:02X} is not in the table and answers {answer.hex().upper()}")


def _check_row(row: Instruction, answer: bytes, interface: Interface) -> None:
    allowed = row.access.allows(int(_INTERFACES[interface]))
    if row.states is not None and answer == b"\x69\x85":
        return
    expected = "to be there" if allowed else "6982"
    good = answer not in (*_NOT_THERE, b"\x6f\x00") if allowed else answer == b"\x69\x82"
    _demand(good, f"{row.name} over {interface.value}: {answer.hex().upper()}, and it has {expected}")


def check_channels(on_card: AppletOnCard, examples: Mapping[str, bytes]) -> None:
    """The examples work on a further logical channel too, and leave the basic one as it was: not authenticated.

    Raises:
        AssertionError: they do not.
    """
    port = on_card.port()
    _demand(port.process(bytes.fromhex("0070000001")) == b"\x01\x90\x00", "no further channel")
    further = bytes((on_card.selection[0] | 1,)) + on_card.selection[1:]
    _demand(port.process(further) == _OK, "SELECT on channel 1 does not end with 9000")
    for name, command in examples.items():
        answer = port.process(bytes((command[0] | 1,)) + command[1:])
        _demand(answer[-2:] == _OK, f"{name} on channel 1 answers {answer[-2:].hex().upper()}")
    for (proprietary, ins), row in on_card.applet.instructions.items():
        if not row.access.allows(int(Proof.CONTACT)):
            answer = port.process(bytes((0x80 * proprietary, ins, 0, 0)))
            _demand(answer in (b"\x69\x82", b"\x69\x85"), f"{row.name} on the basic channel: {answer.hex().upper()}")


def check_reboot(on_card: AppletOnCard, examples: Mapping[str, bytes]) -> None:
    """All that lasts is in the image: the card answers the same whether it goes on or boots from a copy of its memory.

    Raises:
        AssertionError: it does not.
    """
    image = on_card.image.fork()
    card = on_card.boot(image)
    card.contact.power_on()
    for command in _with_selection(on_card, examples):
        card.contact.process(command)
    card.contact.power_off()
    again = on_card.boot(image.fork())
    answers: list[list[bytes]] = []
    for port in (card.contact, again.contact):
        port.power_on()
        answers.append([port.process(command)[-2:] for command in _with_selection(on_card, examples)])
    _demand(answers[0] == answers[1], f"it goes on with {answers[0]} and boots with {answers[1]}")


def _with_selection(on_card: AppletOnCard, examples: Mapping[str, bytes]) -> Iterator[bytes]:
    yield on_card.selection
    yield from examples.values()


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


class AppletSuite:
    """Tests for pytest; a subclass names the applet.

    Attributes:
        applet: its code.
        parameters: install parameters.
        groupings: DGI and value of what personalizes it.
        examples: a command that ends with 9000 by the name of its instruction, in an order that works, over contact.
    """

    applet: ClassVar[type[Applet]]
    parameters: ClassVar[bytes] = b""
    groupings: ClassVar[Sequence[tuple[int, bytes]]] = ()
    examples: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture(params=CHIPS)
    def on_card(self, request: pytest.FixtureRequest) -> AppletOnCard:
        """The application on a card, on each kind of chip."""
        return AppletOnCard.make(self.applet, self.parameters, self.groupings, chip=request.param)

    @pytest.fixture
    def commands(self) -> dict[str, bytes]:
        """The examples as bytes."""
        return {name: bytes.fromhex(command) for name, command in self.examples.items()}

    def test_every_example_succeeds(self, on_card: AppletOnCard, commands: dict[str, bytes]) -> None:
        """See `check_examples`."""
        check_examples(on_card, commands)

    def test_it_is_tear_safe(self, on_card: AppletOnCard, commands: dict[str, bytes]) -> None:
        """See `check_tear_safety`."""
        if not writes_anything(on_card, commands):
            pytest.skip("no example writes")
        report = check_tear_safety(on_card, commands)
        _demand(report.cuts > 0, "nothing was cut")

    def test_any_bytes_get_a_defined_answer(self, on_card: AppletOnCard, commands: dict[str, bytes]) -> None:
        """See `check_any_bytes`."""
        check_any_bytes(on_card, commands)

    @pytest.mark.parametrize("interface", list(Interface))
    def test_its_instruction_table_is_what_the_card_answers(self, on_card: AppletOnCard, interface: Interface) -> None:
        """See `check_instruction_table`."""
        check_instruction_table(on_card, interface)

    def test_channels_are_apart(self, on_card: AppletOnCard, commands: dict[str, bytes]) -> None:
        """See `check_channels`."""
        check_channels(on_card, commands)

    def test_all_that_lasts_is_in_the_image(self, on_card: AppletOnCard, commands: dict[str, bytes]) -> None:
        """See `check_reboot`."""
        check_reboot(on_card, commands)


__all__ = [
    "CHIPS",
    "AppletOnCard",
    "AppletSuite",
    "check_any_bytes",
    "check_channels",
    "check_examples",
    "check_instruction_table",
    "check_reboot",
    "check_tear_safety",
    "writes_anything",
]
