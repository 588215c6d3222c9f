"""Command and response APDUs: the seven cases, short and extended, and the class byte.

Source: ISO/IEC 7816-4:2020, clauses 5.2 to 5.4; ISO/IEC 7816-3:2006, clause 12.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from card_os.iso7816.errors import WrongLength
from card_os.iso7816.status import StatusWord

MAX_SHORT_NC: Final = 255
MAX_SHORT_NE: Final = 256
MAX_EXTENDED_NC: Final = 65_535
MAX_EXTENDED_NE: Final = 65_536

_HEADER: Final = 4
_EXTENDED_LC_END: Final = 7
_unpack_short: Final = struct.Struct("5B").unpack_from
_made: Final = tuple.__new__
"""Makes a named tuple in half the time of calling it, and all its fields have to be given."""


class CommandApdu(NamedTuple):
    """A decoded command.

    A named tuple and not a dataclass: it is built once for every command on the hot path, at a third of the cost.

    Attributes:
        cla: class byte, 0..255.
        ins: instruction byte, 0..255.
        p1: first parameter, 0..255.
        p2: second parameter, 0..255.
        data: command data field, 0..65,535 bytes.
        ne: expected response bytes, 0 (absent) to 65,536; 256 and 65,536 are the coded zero.
        extended: True when Lc or Le stood in extended form.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    ne: int = 0
    extended: bool = False

    @classmethod
    def parse(cls, raw: bytes) -> CommandApdu:
        """Decode any of the cases 1, 2S, 3S, 4S, 2E, 3E, 4E.

        Raises:
            WrongLength: 6700, the bytes fit none of the seven cases.
        """
        length = len(raw)
        if length <= _HEADER:
            if length < _HEADER:
                raise WrongLength("shorter than a command header")
            return cls(raw[0], raw[1], raw[2], raw[3])
        cla, ins, p1, p2, p3 = _unpack_short(raw)
        if length == _HEADER + 1:  # case 2S
            return _made(cls, (cla, ins, p1, p2, b"", p3 or MAX_SHORT_NE, False))
        if p3:
            end = 5 + p3
            if length == end:  # case 3S
                return _made(cls, (cla, ins, p1, p2, raw[5:], 0, False))
            if length == end + 1:  # case 4S
                return _made(cls, (cla, ins, p1, p2, raw[5:end], raw[end] or MAX_SHORT_NE, False))
            raise WrongLength("Lc does not fit the length of the command")
        return cls._parse_extended(raw, length)

    @classmethod
    def _parse_extended(cls, raw: bytes, length: int) -> CommandApdu:
        if length < _EXTENDED_LC_END:
            raise WrongLength("extended length field is cut short")
        number = raw[5] << 8 | raw[6]
        if length == _EXTENDED_LC_END:  # case 2E
            return cls(raw[0], raw[1], raw[2], raw[3], b"", number or MAX_EXTENDED_NE, True)
        end = _EXTENDED_LC_END + number
        if number and length == end:  # case 3E
            return cls(raw[0], raw[1], raw[2], raw[3], raw[7:], 0, True)
        if number and length == end + 2:  # case 4E
            ne = raw[end] << 8 | raw[end + 1]
            return cls(raw[0], raw[1], raw[2], raw[3], raw[7:end], ne or MAX_EXTENDED_NE, True)
        raise WrongLength("extended Lc does not fit the length of the command")

    def encode(self) -> bytes:
        """Encode; short form unless the data or ``ne`` need extended form or ``extended`` asks for it.

        Raises:
            ValueError: data longer than 65,535 bytes or ``ne`` above 65,536.
        """
        nc, ne = len(self.data), self.ne
        if nc > MAX_EXTENDED_NC or not 0 <= ne <= MAX_EXTENDED_NE:
            raise ValueError(f"not encodable: {nc} data bytes, Ne {ne}")
        header = bytes((self.cla, self.ins, self.p1, self.p2))
        if nc <= MAX_SHORT_NC and ne <= MAX_SHORT_NE and not (self.extended and (nc or ne)):
            lc = bytes((nc,)) + self.data if nc else b""
            return header + lc + (bytes((ne & 0xFF,)) if ne else b"")
        le = (ne & 0xFFFF).to_bytes(2, "big") if ne else b""
        if nc:
            return header + b"\x00" + nc.to_bytes(2, "big") + self.data + le
        return header + b"\x00" + le

    @property
    def case(self) -> str:
        """One of "1", "2S", "3S", "4S", "2E", "3E", "4E"."""
        if not self.data and not self.ne:
            return "1"
        number = (2 if not self.data else 3) if not (self.data and self.ne) else 4
        wide = self.extended or len(self.data) > MAX_SHORT_NC or self.ne > MAX_SHORT_NE
        return f"{number}{'E' if wide else 'S'}"

    def __repr__(self) -> str:
        """Header and lengths only: data may hold secrets."""
        return (
            f"CommandApdu({self.cla:02X} {self.ins:02X} {self.p1:02X} {self.p2:02X}, Nc={len(self.data)}, Ne={self.ne})"
        )


class ResponseApdu(NamedTuple):
    """A response: data field and status word."""

    data: bytes
    sw: StatusWord

    @classmethod
    def parse(cls, raw: bytes) -> ResponseApdu:
        """Split a response of at least two bytes.

        Raises:
            ValueError: fewer than two bytes.
        """
        if len(raw) < 2:
            raise ValueError("a response has at least the two status bytes")
        return cls(raw[:-2], StatusWord.parse(raw))

    def encode(self) -> bytes:
        """Data ‖ SW1 ‖ SW2."""
        return self.data + self.sw.encode()

    def __repr__(self) -> str:
        """Length and status word only: data may hold secrets."""
        return f"ResponseApdu(Nr={len(self.data)}, {self.sw})"


class SecureMessagingIndication(Enum):
    """What the class byte says about secure messaging (5.4.1, tables 2 and 3)."""

    NONE = "none"
    PROPRIETARY = "proprietary"
    HEADER_NOT_AUTHENTICATED = "header not authenticated"
    HEADER_AUTHENTICATED = "header authenticated"
    INTERINDUSTRY = "further interindustry"


@dataclass(frozen=True, slots=True)
class ClassByte:
    """A decoded class byte.

    Attributes:
        interindustry: True for 00..7F, False for the proprietary class 80..FE.
        channel: logical channel, 0..19.
        chained: the command is not the last of a chain.
        secure_messaging: as indicated by bits 4-3 (first) or bit 6 (further).
    """

    interindustry: bool
    channel: int
    chained: bool
    secure_messaging: SecureMessagingIndication


_FIRST_INDICATIONS: Final = (
    SecureMessagingIndication.NONE,
    SecureMessagingIndication.PROPRIETARY,
    SecureMessagingIndication.HEADER_NOT_AUTHENTICATED,
    SecureMessagingIndication.HEADER_AUTHENTICATED,
)


def _decode_class(cla: int) -> ClassByte | None:
    """Decode one class byte; None for the values that ISO reserves (20..3F) and forbids (FF)."""
    interindustry = cla < 0x80
    low = cla & 0x7F
    chained = bool(cla & 0x10)
    if low & 0x40:
        if cla == 0xFF:
            return None
        indication = SecureMessagingIndication.INTERINDUSTRY if cla & 0x20 else SecureMessagingIndication.NONE
        return ClassByte(interindustry, 4 + (cla & 0x0F), chained, indication)
    if low & 0x20:
        return None
    return ClassByte(interindustry, cla & 0x03, chained, _FIRST_INDICATIONS[cla >> 2 & 3])


CLASS_BYTES: Final[tuple[ClassByte | None, ...]] = tuple(_decode_class(cla) for cla in range(256))
"""All 256 class bytes decoded; the proprietary half follows GlobalPlatform 2.3.1, clause 11.1.4."""
