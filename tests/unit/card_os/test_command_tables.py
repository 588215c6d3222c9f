"""Every instruction with every class of P1-P2, in every life cycle, over both interfaces, against the tables.

The tables in `test_vectors/tables` are written from the standards and the card specification; docs/card-behaviour.md
prints them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

import pytest

from applet.file_system.applet import FileSystemApplet
from applet.permit.applet import PermitApplet
from applet.sam.applet import SamApplet
from card_os.card import Card
from card_os.globalplatform.registry import ISSUER_DOMAIN, CardLifeCycle
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.port import Port
from test_vectors.expected import APPLICATIONS, INTERFACES, ExpectedCommands, read_table
from tests.doubles.file_system_card import new_file_system_card
from tests.unit.applet.workbench import PERMIT, blank, new_permit, new_sam

APPLETS: Final = (PermitApplet, SamApplet, FileSystemApplet)
CLASSES: Final = {False: "00", True: "80"}
LIFE_CYCLE: Final = read_table("card_life_cycle")
CARD_STATES: Final = {f"{state:02X}": state for state in CardLifeCycle}
GET_DATA: Final = 0xCA
MAY_HAVE_CHANGED: Final = ("9", "61", "62", "63")
"""Beginnings of answers after which a card may not be what it was."""
RANDOM_PARAMETERS: Final = 24


def _file_system_image() -> NvmImage:
    with new_file_system_card() as card:
        return card.image.fork()


MAKERS: Final[dict[str, Callable[[], NvmImage]]] = {
    "permit": lambda: new_permit().image,
    "sam": lambda: new_sam().image,
    "file_system": _file_system_image,
    "issuer_domain": lambda: blank(PERMIT).image,
}
table = cache(ExpectedCommands.load)


@cache
def image(application: str) -> NvmImage:
    return MAKERS[application]()


class Probe:
    """Asks a card one command at a time, each right after the selection of the application.

    Args:
        application: name of its table.
        interface: "contact" or "contactless".
    """

    def __init__(self, application: str, interface: str) -> None:
        self.table = table(application)
        self.faults = 0
        self._image = image(application)
        self._interface = interface
        self._select = "00A4040C" + f"{len(self.table.aid):02X}" + self.table.aid.hex()
        self._port: Port | None = None
        self._card: Card | None = None

    def ask(self, header: str, data: str = "", le: str = "") -> str:
        """The status word of a command, and what the card answers to it is never 6F00."""
        body = bytes.fromhex(data.replace("{aid}", self.table.aid.hex()))
        length = f"{len(body):02X}" + body.hex() if body else ""
        port = self._port or self._new()
        assert port.process(bytes.fromhex(self._select))[-2:] == b"\x90\x00"
        answer = port.process(bytes.fromhex(header + length + le))[-2:].hex().upper()
        assert self._card is not None
        assert self._card.faults == 0, (header, self._card.last_fault)
        if answer.startswith(MAY_HAVE_CHANGED):
            self._port = None
        return answer

    def _new(self) -> Port:
        self._card = Card(self._image.fork().nvm(), APPLETS, randomness=SeededRandomness(5))
        self._port = self._card.contact if self._interface == "contact" else self._card.contactless
        self._port.power_on()
        return self._port


def wrong(probe: Probe, parameters: Callable[[int, bool], Iterable[tuple[int, int]]], interface: str) -> list[str]:
    """Where the card does not answer as its table says."""
    found: list[str] = []
    side = INTERFACES.index(interface)
    for proprietary, ins in itertools.product(CLASSES, range(256)):
        command = probe.table.command(ins, proprietary=proprietary)
        for p1, p2 in parameters(ins, proprietary):
            row = command.row(p1, p2) if command else None
            header = f"{CLASSES[proprietary]}{ins:02X}{p1:02X}{p2:02X}"
            expected = row.answers[side] if row else probe.table.missing(ins, proprietary=proprietary)
            answer = probe.ask(header, row.data if row else "", command.le if command and row else "")
            if answer != expected:
                found.append(f"{header}: {answer}, not {expected}{f' ({row.why})' if row else ''}")
    return found


@pytest.mark.parametrize("application", APPLICATIONS)
def test_no_parameter_is_left_undecided(application: str) -> None:
    commands = table(application)
    assert len({(item.ins, item.proprietary) for item in commands.own}) == len(commands.own)
    for item in commands.own:
        whole = commands.command(item.ins, proprietary=item.proprietary)
        assert whole is not None
        assert whole.undecided() == 0, item.name
    for item in commands.common:
        whole = commands.command(item.ins, proprietary=item.proprietary)
        assert whole is not None
        assert whole.undecided() in (0, 65_536 - 256), f"{item.name}: SELECT may be by name only"


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("application", APPLICATIONS)
def test_every_instruction_answers_every_class_of_parameters_as_its_table_says(
    application: str, interface: str
) -> None:
    """512 instructions and classes; P1-P2 at the ends and in the middle of every row, and some at random."""
    commands = table(application)
    chosen = random.Random(f"{application} {interface}")

    def parameters(ins: int, proprietary: bool) -> Iterable[tuple[int, int]]:
        command = commands.command(ins, proprietary=proprietary)
        if command is None:
            return ((0x00, 0x00), (0x04, 0x00), (0xFF, 0xFF))
        drawn = ((chosen.randrange(256), chosen.randrange(256)) for _ in range(RANDOM_PARAMETERS))
        return (*((p1, p2) for p1, p2, _ in command.samples()), *drawn)

    assert wrong(Probe(application, interface), parameters, interface) == []


@pytest.mark.long
@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("application", APPLICATIONS)
def test_every_instruction_answers_all_parameters_as_its_table_says(application: str, interface: str) -> None:
    """All 65,536 P1-P2 of every instruction that is there."""
    commands = table(application)

    def parameters(ins: int, proprietary: bool) -> Iterable[tuple[int, int]]:
        if commands.command(ins, proprietary=proprietary) is None:
            return ((value, value) for value in range(256))
        return itertools.product(range(256), range(256))

    assert wrong(Probe(application, interface), parameters, interface) == []


# ---------------------------------------------------------------------- life cycles


def expected_selection(application: str, interface: str, card_state: str, state: str) -> str:
    rows = LIFE_CYCLE["select"]
    answer: str = (
        rows["issuer_domain"][interface][card_state]
        if application == "issuer_domain"
        else rows["application"][state][card_state]
    )
    return answer


def expected_when_selected(application: str, interface: str, card_state: str, ins: int) -> str:
    rows = LIFE_CYCLE["stays_selected"]
    if application != "issuer_domain":
        answer: str = rows["application"][card_state]
        return answer
    general: str = rows["issuer_domain"][interface][card_state]
    from_terminated: str = rows["issuer_domain"]["get_data"]
    return from_terminated if card_state == "FF" and ins == GET_DATA and interface == "contact" else general


def states_of(application: str) -> tuple[str, ...]:
    return ("0F",) if application == "issuer_domain" else tuple(LIFE_CYCLE["select"]["application"])[1:]


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("application", APPLICATIONS)
def test_selection_in_every_life_cycle(application: str, interface: str) -> None:
    for card_state, state in itertools.product(CARD_STATES, states_of(application)):
        card = Card(image(application).fork().nvm(), APPLETS, randomness=SeededRandomness(5))
        registry = card.platform.registry
        entry = registry.by_aid(table(application).aid)
        assert entry is not None
        registry.set_card_life_cycle(CARD_STATES[card_state])
        if entry.owner != ISSUER_DOMAIN:
            registry.set_life_cycle(entry, int(state, 16))
        port = card.contact if interface == "contact" else card.contactless
        port.power_on()
        answer = port.process(b"\x00\xa4\x04\x0c" + bytes((len(entry.aid),)) + entry.aid)
        expected = expected_selection(application, interface, card_state, state)
        assert answer.hex().upper() == expected, (card_state, state)


def card_that_changed(application: str, interface: str, card_state: str, state: str) -> Port:
    """A port on which the application was selected before the card and the application changed their states."""
    card = Card(image(application).fork().nvm(), APPLETS, randomness=SeededRandomness(5))
    port = card.contact if interface == "contact" else card.contactless
    port.power_on()
    name = table(application).aid
    assert port.process(b"\x00\xa4\x04\x0c" + bytes((len(name),)) + name) == b"\x90\x00"
    registry = card.platform.registry
    entry = registry.by_aid(name)
    assert entry is not None
    if entry.owner != ISSUER_DOMAIN:
        registry.set_life_cycle(entry, int(state, 16))
    registry.set_card_life_cycle(CARD_STATES[card_state])
    return port


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("application", APPLICATIONS)
def test_every_instruction_in_every_life_cycle(application: str, interface: str) -> None:
    """The first P1-P2 of each command that is there, and every instruction that is not."""
    commands, side = table(application), INTERFACES.index(interface)
    states = ("0F",) if application == "issuer_domain" else ("07", "0F")
    for card_state, state in itertools.product(CARD_STATES, states):
        for command in commands.own:
            row = command.rows[0]
            expected = expected_when_selected(application, interface, card_state, command.ins)
            if expected == "table":
                expected = row.answers[side] if int(state, 16) in commands.states else "6985"
            port = card_that_changed(application, interface, card_state, state)
            data = bytes.fromhex(row.data)
            header = bytes((0x80 * command.proprietary, command.ins, min(row.firsts), min(row.seconds)))
            body = bytes((len(data),)) + data if data else b""
            answer = port.process(header + body + bytes.fromhex(command.le))[-2:].hex().upper()
            assert answer == expected, (card_state, state, command.name)
        port = card_that_changed(application, interface, card_state, state)
        for proprietary, ins in itertools.product(CLASSES, range(256)):
            if commands.command(ins, proprietary=proprietary) is None:
                answer = port.process(bytes((0x80 * proprietary, ins, 0, 0))).hex().upper()
                assert answer == commands.missing(ins, proprietary=proprietary), (card_state, state, ins)
