"""Plays of commands on cards, for the coverage-guided fuzzer and for its seeds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from typing import Final

from applet.file_system.applet import FileSystemApplet
from applet.permit.applet import PermitApplet
from applet.sam.applet import SamApplet
from card_os.applet_api import derive
from card_os.card import Card
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.status import SW, StatusWord
from card_os.port import PortMute
from personalization.errors import PersonalizationError
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from personalization.terminal.authentication import MutualAuthentication, get_challenge, mutual_authenticate
from personalization.terminal.channel import PlainChannel, ProtectedChannel
from personalization.terminal.session import select
from reader_bridge.connection import Interface
from tests.doubles.file_system_card import KEY, new_file_system_card
from tests.fuzz.apdu_grammar import Kind, Step, read_play, write_play
from tests.unit.applet.workbench import (
    FACTORY_KEYS,
    MASTERS,
    PERMIT,
    PortConnection,
    blank,
    new_permit,
    new_sam,
    permit_groupings,
    personalize,
)

APPLETS: Final = (PermitApplet, SamApplet, FileSystemApplet)
ROLES: Final = {0x81: "inspection", 0x82: "service_desk", 0x83: "bank_branch", 0x84: "issuer", 0x85: "terminal"}
STATION: Final = 0
"""Number of AUTHENTICATE that opens SCP03 instead of a terminal's session."""
_NAMED: Final = {int(value) for value in vars(SW).values() if isinstance(value, StatusWord)} - {0x6F00}
_EVERY_WORD: Final = frozenset(StatusWord(value) for value in range(0x10000))
_OK: Final = b"\x90\x00"

Session = Callable[[CommandApdu], bytes]


def _file_system() -> NvmImage:
    with new_file_system_card() as card:
        return card.image.fork()


def _half_made() -> NvmImage:
    bench = blank(PERMIT)
    return personalize(bench, permit_groupings(bench.card_number)[:5]).image


_MAKERS: Final[dict[str, Callable[[], NvmImage]]] = {
    "permit": lambda: new_permit().image,
    "sam": lambda: new_sam().image,
    "file system": _file_system,
    "blank": lambda: blank(PERMIT).image,
    "half-made permit": _half_made,
}


@cache
def image_of(card: str) -> NvmImage:
    return _MAKERS[card]()


class Play:
    """One card while it is played with.

    Args:
        name: which card.

    Attributes:
        answers: all answers so far.
    """

    def __init__(self, name: str) -> None:
        self.answers: list[bytes] = []
        self._name = name
        self._power = PowerSupply()
        self._image = image_of(name).fork()
        self._card = Card(self._image.nvm(power=self._power), APPLETS, randomness=SeededRandomness(9))
        self._sessions: dict[bool, Session] = {}

    def run(self, steps: list[Step]) -> None:
        """Take all steps.

        Raises:
            AssertionError: a status word that is not defined, or a fault of the card.
        """
        for step in steps:
            try:
                self._take(step)
            except PortMute:  # a cut: power comes back, and the card has to start
                self._power.restore()
                self._sessions.clear()
                self._connection(step.contactless).power_on()
            if self._card.faults:
                raise AssertionError(f"{step!r}: {self._card.last_fault!r}")

    def _take(self, step: Step) -> None:
        connection = self._connection(step.contactless)
        connection.power_on()
        match step.kind:
            case Kind.COMMAND:
                self._note(connection.transmit(step.command.encode()))
            case Kind.PROTECTED:
                session = self._sessions.get(step.contactless)
                if session is not None:
                    self._protected(session, step)
            case Kind.RAW:
                self._note(connection.transmit(step.raw))
            case Kind.SELECT:
                self._note(connection.transmit(CommandApdu(0, 0xA4, 4, 0, step.raw, 256).encode()))
            case Kind.AUTHENTICATE:
                self._sessions.pop(step.contactless, None)
                with contextlib.suppress(PersonalizationError):  # the card has no such key, or blocked it
                    self._sessions[step.contactless] = self._opened(connection, step.number)
            case Kind.CUT:
                moments = tuple(CutMoment)
                self._power.arm(1 + step.number // len(moments), moments[step.number % len(moments)])
            case Kind.RESET:
                self._sessions.pop(step.contactless, None)
                connection.reset()

    def _protected(self, session: Session, step: Step) -> None:
        try:
            self._note(session(step.command))
        except PersonalizationError:
            self._sessions.pop(step.contactless, None)  # the card ended the session, as after a selection

    def _connection(self, contactless: bool) -> PortConnection:
        port = self._card.contactless if contactless else self._card.contact
        return PortConnection(port, Interface.CONTACTLESS if contactless else Interface.CONTACT)

    def _note(self, answer: bytes) -> None:
        word = int.from_bytes(answer[-2:], "big")
        if word not in _NAMED and word >> 8 not in (0x61, 0x6C) and word & 0xFFF0 != 0x63C0:
            raise AssertionError(f"{word:04X} is no defined status word")
        self.answers.append(answer)

    def _opened(self, connection: PortConnection, number: int) -> Session:
        """A session of the issuing centre's station (0), or of a terminal with the key reference 80 + number."""
        if number == STATION:
            factory = StaticKeys(0xFF, KEY, KEY, KEY)
            if self._name != "file system":
                factory = StaticKeys(FACTORY_KEYS.version, FACTORY_KEYS.enc, FACTORY_KEYS.mac, FACTORY_KEYS.dek)
            station = SecureSession.open(connection, factory, randomness=SeededRandomness(3).bytes)
            return lambda command: _whole(station.transmit(_fitting(command), accept=_EVERY_WORD))
        reference = 0x81 + number % len(ROLES)
        plain = PlainChannel(connection)
        aid = bytes.fromhex("F05A4A4A5A0201") if self._name == "sam" else bytes(PERMIT.application.instance)
        select(plain, aid)
        number_of_card = self._card.platform.registry.by_aid(aid)
        if number_of_card is None:
            raise PersonalizationError("card-refused")
        key = derive(MASTERS[ROLES[reference]], "ROLE", self._card.platform.context_of(number_of_card).card_number, 32)
        run = MutualAuthentication(key, reference, get_challenge(plain), SeededRandomness(3).bytes)
        channel = ProtectedChannel(connection, run.complete(mutual_authenticate(plain, reference, run.command())))
        return lambda command: _whole(channel.exchange(_fitting(command)))


def _fitting(command: CommandApdu) -> CommandApdu:
    """What a short command has room for once it is protected."""
    return command._replace(cla=command.cla & 0x80, data=command.data[:200], ne=min(command.ne, 256))


def _whole(response: ResponseApdu) -> bytes:
    return response.encode()


def play(raw: bytes) -> list[bytes]:
    """Play what bytes say; returns all answers."""
    card, steps = read_play(raw)
    run = Play(card)
    run.run(steps)
    return run.answers


# ---------------------------------------------------------------------- seeds

_PERMIT, _SAM, _FILES, _DOMAIN = (
    Step(Kind.SELECT, raw=name)
    for name in map(bytes.fromhex, ("F05A4A4A5A0101", "F05A4A4A5A0201", "F05A4A4A5A0301", "A000000151000000"))
)


def _say(text: str, ne: int = 0, *, protected: bool = False, contactless: bool = False) -> Step:
    raw = bytes.fromhex(text)
    command = CommandApdu(raw[0], raw[1], raw[2], raw[3], raw[4:], ne)
    return Step(Kind.PROTECTED if protected else Kind.COMMAND, contactless, command)


_ANSWERS: Final = {0xB0: 16, 0xB2: 16, 0x88: 256, 0xCA: 256, 0xF2: 256}
"""Ne of instructions that answer with data."""


def _within(number: int, *texts: str, contactless: bool = False) -> list[Step]:
    """An authentication, and commands under its session."""
    steps = [Step(Kind.AUTHENTICATE, contactless, number=number)]
    for text in texts:
        ne = _ANSWERS.get(bytes.fromhex(text)[1], 0)
        steps.append(_say(text, ne, protected=True, contactless=contactless))
    return steps


SEEDS: Final[dict[str, bytes]] = {
    name: write_play(card, steps)
    for name, card, steps in (
        ("permit in plain", "permit", [_PERMIT, _say("00840000", 16), _say("00CADF20", 256)]),
        ("holder", "permit", [_PERMIT, _say("00200081" + "26246810FFFFFFFF"), _say("00B08B00", 16)]),
        ("unblocking", "permit", [_PERMIT, _say("002C0081" + "2813579135FFFFFF" + "26246810FFFFFFFF")]),
        ("inspection", "permit", _within(5, "00B08100", contactless=True)),
        ("desk", "permit", _within(1, "00B08D00", "00D68D0002", "00DADF22" + "3230323630363031")),
        ("record", "permit", _within(1, "00E20060" + "41424344" * 8, "00DC0164" + "41424344" * 8)),
        ("bank", "permit", _within(2, "00D695007F05")),
        ("issuer", "permit", _within(3, "00D681007F01")),
        ("chip", "permit", _within(5, "008800A0" + "00" * 16)),
        ("station", "blank", _within(0, "80F24002" + "4F00", "00CA9F7F", "80F0800F", "80E29000" + "42021122")),
        ("install", "blank", _within(0, "80E40000" + "4F07F05A4A4A5A0101")),
        ("personalization", "half-made permit", _within(0, "80E62000" + "000007F05A4A4A5A0101000000")),
        ("sam", "sam", [_SAM, _say("00CADF23", 256), _say("00CADF24", 256)]),
        ("sam session", "sam", _within(4, "00CADF21")),
        ("files", "file system", [
            _FILES, _say("00E00000" + "621580020008820101830203018800" + "86067F0100000000"),
            _say("00D60000" + "0102030405"), _say("00B00000", 256), _say("000E0000"),
            _say("00040000"), _say("00440000"), _say("00E40000"),
        ]),
        ("records", "file system", [
            _FILES, _say("00A40800" + "50005001", 256), _say("00E20000" + "41424344" * 4), _say("00B20105", 256),
            _say("00A2010441", 256), _say("000C0104"),
        ]),
        ("objects", "file system", [_FILES, _say("00DA005A0102"), _say("00CA005A", 256), _say("00CB3FFF5C00", 256)]),
        ("channels", "permit", [_say("00700000", 1), _say("01A4040C" + "F05A4A4A5A0101"), _say("01840000", 16)]),
        ("envelope", "permit", [_PERMIT, _say("00C20000" + "0070000001", 256)]),
        ("torn", "permit", [
            *_within(1, "00D68D0002"), Step(Kind.CUT, number=17), _say("00D68D0001", protected=True), _PERMIT,
        ]),
        ("reset", "permit", [_PERMIT, Step(Kind.RESET), _PERMIT, Step(Kind.RAW, raw=bytes.fromhex("00CADF2100"))]),
    )
}  # fmt: skip
"""Plays by name; each reaches 9000 with its last command, in plain or under its session."""


def reaches_success(raw: bytes) -> bool:
    """True when the last command of a play ends with 9000."""
    return play(raw)[-1][-2:] == _OK
