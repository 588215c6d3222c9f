"""Titles of commands: what is selected on each channel, and what a command does to it, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from card_os.iso7816.apdu import CLASS_BYTES, CommandApdu, ResponseApdu
from card_os.iso7816.tlv import TlvError, iterate
from reader_bridge.trace.commands import PROPRIETARY, command_row
from reader_bridge.trace.fields import INSTALL_PURPOSES
from reader_bridge.trace.names import ApplicationName, CardNames, FileName
from reader_bridge.trace.tags import TagContext, tag_name

_SELECT: Final = 0xA4
_BY_NAME: Final = 0x04
_PARENT: Final = 0x03
_MASTER_FILE: Final = 0x3F00
_VERIFY: Final = 0x20
_AUTHENTICATE: Final = 0x82
_ONE_BLOCK: Final = 16
_SHORT_EF: Final = 0x80
_SFI_BITS: Final = 0x1F
_RECORD_SFI: Final = 3
_FID_LENGTH: Final = 2
_OPEN, _CLOSE = 0x00, 0x80
_LAST: Final = 0x80
_TEMPLATES: Final = frozenset({0x6F, 0x62})
_DF_NAME: Final = 0x84
_BINARY: Final = frozenset({0xB0, 0xD0, 0xD6, 0x0E})
_RECORDS: Final = frozenset({0xB2, 0xDC, 0xD2, 0xE2, 0x0C})
_PINS: Final = frozenset({0x20, 0x24, 0x26, 0x28, 0x2C})
_KEYS: Final = frozenset({0x82, 0x88})
_STATUS_ASPECTS: Final = {
    0x80: "issuer security domain",
    0x60: "security domains",
    0x40: "applications",
    0x20: "load files",
    0x10: "load files and modules",
}
_CRYPTOGRAMS: Final = {0x00: "AAC", 0x40: "TC", 0x80: "ARQC"}
_OPERATIONS: Final = {
    0x9E9A: "compute digital signature",
    0x00A8: "verify digital signature",
    0x8680: "encipher",
    0x8086: "decipher",
    0x00BE: "verify certificate",
    0x00AE: "verify certificate",
    0x8E80: "compute checksum",
    0x00A2: "verify checksum",
}
_ENVIRONMENT: Final = {0xF3: "restore", 0xF2: "store", 0xF4: "erase"}


@dataclass(slots=True)
class Place:
    """What is selected on a logical channel.

    Attributes:
        application: the application, None when it has no name here.
        file: the current file.
    """

    application: ApplicationName | None = None
    file: FileName | None = None


@dataclass(slots=True)
class Places:
    """What is selected on all channels of a card.

    Args:
        names: what the card calls its applications and files.
    """

    names: CardNames
    _places: dict[int, Place] = field(default_factory=dict[int, Place])

    def reset(self) -> None:
        """Power or reset."""
        self._places.clear()

    def of(self, command: CommandApdu) -> Place:
        """The place on the channel of a command."""
        decoded = CLASS_BYTES[command.cla]
        return self._places.setdefault(0 if decoded is None else decoded.channel, Place())

    def follow(self, command: CommandApdu, response: ResponseApdu) -> None:
        """What a command that worked selects."""
        place = self.of(command)
        if command.cla >= PROPRIETARY:
            return
        if command.ins == _SELECT:
            place.file = None
            if command.p1 == _BY_NAME:
                place.application = self.names.application(_selected_name(response.data) or command.data)
            elif place.application is not None and len(command.data) >= _FID_LENGTH:
                place.file = place.application.file(int.from_bytes(command.data[-_FID_LENGTH:], "big"))
        elif (short := short_identifier(command)) and place.application is not None:
            place.file = place.application.short(short)

    def file(self, command: CommandApdu) -> FileName | None:
        """The file that a command touches: the one of its short identifier, else the current one."""
        place = self.of(command)
        short = short_identifier(command)
        if short and place.application is not None:
            return place.application.short(short)
        return place.file

    def title(self, command: CommandApdu) -> str:
        """Name of the command, what it is about, and its channel."""
        place = self.of(command)
        key = (command.cla >= PROPRIETARY, command.ins)
        own = {} if place.application is None else place.application.commands
        name = command_row(command.cla, command.ins).name or own.get(key) or f"INS {command.ins:02X}"
        if key == (False, _AUTHENTICATE):  # the two have one instruction byte
            name = "MUTUAL AUTHENTICATE" if len(command.data) > _ONE_BLOCK else "EXTERNAL AUTHENTICATE"
        detail = _DETAILS.get(key)
        decoded = CLASS_BYTES[command.cla]
        channel = "" if decoded is None or not decoded.channel else f" [channel {decoded.channel}]"
        return f"{name} {detail(self, command) if detail else ''}".rstrip() + channel


def _selection(places: Places, command: CommandApdu) -> str:
    if command.p1 == _BY_NAME:
        application = places.names.application(command.data)
        return application.name if application is not None else command.data.hex().upper()
    application = places.of(command).application
    fid = int.from_bytes(command.data[-_FID_LENGTH:], "big") if command.data else None
    file = None if application is None or fid is None else application.file(fid)
    if file is not None:
        return file.name
    if fid == _MASTER_FILE or (fid is None and not command.p1):
        return "MF"
    return "parent DF" if command.p1 == _PARENT else command.data.hex().upper()


def _binary(places: Places, command: CommandApdu) -> str:
    file = places.file(command)
    short = f"SFI {command.p1 & _SFI_BITS:02X}" if command.p1 & _SHORT_EF else "current EF"
    return f"{file.name if file else short}, offset {binary_offset(command)}"


def _record(places: Places, command: CommandApdu) -> str:
    file = places.file(command)
    short = command.p2 >> _RECORD_SFI
    name = file.name if file else f"SFI {short:02X}" if short else "current EF"
    return f"{name}, record {command.p1}"


def _pin(places: Places, command: CommandApdu) -> str:
    application = places.of(command).application
    name = None if application is None else application.pins.get(command.p2)
    asked = "" if command.data or command.ins != _VERIFY else ", tries left"
    return f"{name or f'{command.p2:02X}'}{asked}"


def _key(places: Places, command: CommandApdu) -> str:
    application = places.of(command).application
    name = None if application is None else application.keys.get(command.p2)
    return name or f"{command.p2:02X}"


def _tag(places: Places, command: CommandApdu) -> str:
    number = command.p1 << 8 | command.p2
    application = places.of(command).application
    own = None if application is None else application.objects.get(number)
    return f"{number:04X} {own or tag_name(TagContext.EMV, number)}".rstrip()


def _channel(_places: Places, command: CommandApdu) -> str:
    if command.p1 == _OPEN:
        return "open" if not command.p2 else f"open {command.p2}"
    return f"close {command.p2}" if command.p1 == _CLOSE else ""


def _block(_places: Places, command: CommandApdu) -> str:
    return f"block {command.p2}{', last' if command.p1 & _LAST else ''}"


def _purpose(_places: Places, command: CommandApdu) -> str:
    return f"[{INSTALL_PURPOSES.get(command.p1 & 0x7E, f'{command.p1:02X}')}]"


_Detail = Callable[[Places, CommandApdu], str]


def _details() -> Iterator[tuple[tuple[bool, int], _Detail]]:
    """What is said behind the name of a command, by (proprietary class, INS)."""
    yield from (((False, ins), _binary) for ins in _BINARY)
    yield from (((False, ins), _record) for ins in _RECORDS)
    yield from (((False, ins), _pin) for ins in _PINS)
    yield from (((False, ins), _key) for ins in _KEYS)
    yield (False, _SELECT), _selection
    yield (False, 0x70), _channel
    yield (False, 0x2A), lambda _, command: _OPERATIONS.get(command.p1 << 8 | command.p2, "")
    yield (False, 0x22), lambda _, command: _ENVIRONMENT.get(command.p1, f"set {command.p2:02X}")
    yield from (((proprietary, ins), _tag) for proprietary in (False, True) for ins in (0xCA, 0xDA))
    yield (True, 0x50), lambda _, command: f"key version {command.p1:02X}"
    yield (True, 0x82), lambda _, command: f"level {command.p1:02X}"
    yield (True, 0xD8), lambda _, command: f"version {command.p1:02X}, key {command.p2 & 0x7F:02X}"
    yield (True, 0xE2), _block
    yield (True, 0xE6), _purpose
    yield (True, 0xE8), _block
    yield (True, 0xF2), lambda _, command: _STATUS_ASPECTS.get(command.p1, f"{command.p1:02X}")
    yield (True, 0xF0), lambda _, command: f"to {command.p2:02X}"
    yield (True, 0xAE), lambda _, command: _CRYPTOGRAMS.get(command.p1 & 0xC0, "")


_DETAILS: Final[Mapping[tuple[bool, int], _Detail]] = dict(_details())


def _selected_name(data: bytes) -> bytes:
    """The DF name in the file control information of a SELECT, empty when there is none."""
    try:
        for template in iterate(data):
            if template.tag in _TEMPLATES:
                return next((item.value for item in iterate(template.value) if item.tag == _DF_NAME), b"")
    except TlvError:
        return b""
    return b""


def short_identifier(command: CommandApdu) -> int:
    """SFI in P1 of the binary commands or in P2 of the record commands; 0 for none."""
    if command.cla >= PROPRIETARY:
        return 0
    if command.ins in _BINARY:
        return command.p1 & _SFI_BITS if command.p1 & _SHORT_EF else 0
    return command.p2 >> _RECORD_SFI if command.ins in _RECORDS else 0


def binary_offset(command: CommandApdu) -> int:
    """Offset in P1-P2 of the binary commands, 0 for any other."""
    if command.cla >= PROPRIETARY or command.ins not in _BINARY:
        return 0
    return command.p2 if command.p1 & _SHORT_EF else command.p1 << 8 | command.p2
