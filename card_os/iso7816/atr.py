"""Answer to reset, answer to select, and the historical bytes in both.

Source: ISO/IEC 7816-3:2006, clause 8 (ATR); ISO/IEC 14443-4:2018, clause 5.2 (ATS); ISO/IEC 7816-4:2020, clause 12.1.1
(historical bytes, card capabilities).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import reduce
from operator import xor
from typing import Final, NamedTuple, Self

MAX_ATR_LENGTH: Final = 33
MAX_HISTORICAL_BYTES: Final = 15
FRAME_SIZES: Final = (16, 24, 32, 40, 48, 64, 96, 128, 256)
"""Frame sizes by FSCI or FSDI, 0 to 8."""
CATEGORY_COMPACT: Final = 0x80
"""Category indicator: compact-TLV objects follow, a status indicator may be the last of them."""
CATEGORY_STATUS_LAST: Final = 0x00
"""Category indicator: compact-TLV objects follow, then three bytes of status indicator."""


class AnswerError(ValueError):
    """The bytes are no ATR, ATS or historical bytes."""


class Convention(IntEnum):
    """TS: how bits stand on the line (8.1)."""

    DIRECT = 0x3B
    INVERSE = 0x3F


class CompactTag(IntEnum):
    """Tags of compact-TLV objects (12.1.1.3 and following)."""

    COUNTRY = 0x1
    ISSUER = 0x2
    SERVICE_DATA = 0x3
    INITIAL_ACCESS = 0x4
    ISSUER_DATA = 0x5
    PRE_ISSUING = 0x6
    CAPABILITIES = 0x7
    STATUS = 0x8
    APPLICATION = 0xF


class CompactObject(NamedTuple):
    """A compact-TLV object.

    Attributes:
        tag: 0..15.
        value: 0 to 15 bytes.
    """

    tag: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Card capabilities, three software function bytes (12.1.1.9, tables 117 to 119).

    Attributes:
        selection: first byte: methods of selection, b8 full DF name, b7 partial, b6 path, b5 FID, b4 implicit, b3 SFI,
            b2 record number, b1 record identifier.
        data_coding: second byte, low nibble: data unit size as a power of two in quartets.
        chaining: command chaining.
        extended: extended Lc and Le.
        assigned_by_card: the card chooses the number of a logical channel.
        assigned_by_interface: the interface device chooses it.
        channels: number of logical channels, 1..8; 8 stands for 8 or more.
    """

    selection: int
    data_coding: int
    chaining: bool
    extended: bool
    assigned_by_card: bool
    assigned_by_interface: bool
    channels: int

    def encode(self) -> bytes:
        """The three bytes.

        Raises:
            ValueError: not 1 to 8 channels.
        """
        if not 1 <= self.channels <= 8:
            raise ValueError("1 to 8 logical channels")
        third = (
            self.chaining << 7
            | self.extended << 6
            | self.assigned_by_card << 4
            | self.assigned_by_interface << 3
            | self.channels - 1
        )
        return bytes((self.selection, self.data_coding, third))

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read one to three bytes; what is not there is False, with one channel.

        Raises:
            AnswerError: not one to three bytes.
        """
        if not 1 <= len(value) <= 3:
            raise AnswerError("card capabilities have one to three bytes")
        selection, coding, third = value.ljust(3, b"\x00")
        return cls(
            selection=selection,
            data_coding=coding,
            chaining=bool(third & 0x80),
            extended=bool(third & 0x40),
            assigned_by_card=bool(third & 0x10),
            assigned_by_interface=bool(third & 0x08),
            channels=(third & 0x07) + 1,
        )


@dataclass(frozen=True, slots=True)
class HistoricalBytes:
    """Historical bytes in compact-TLV.

    Attributes:
        objects: the objects in their order.
        status: the three last bytes of category 00 (life cycle, SW1, SW2), empty for category 80.
    """

    objects: tuple[CompactObject, ...] = ()
    status: bytes = b""

    def encode(self) -> bytes:
        """Category indicator ‖ objects ‖ status.

        Raises:
            ValueError: more than 15 bytes, a tag or a value that has no compact form.
        """
        parts = [bytes((CATEGORY_STATUS_LAST if self.status else CATEGORY_COMPACT,))]
        for item in self.objects:
            if not 0 <= item.tag <= 15 or len(item.value) > 15:
                raise ValueError("a compact object has a tag and a length below 16")
            parts.append(bytes((item.tag << 4 | len(item.value),)) + item.value)
        raw = b"".join(parts) + self.status
        if len(self.status) not in (0, 3) or len(raw) > MAX_HISTORICAL_BYTES:
            raise ValueError("at most 15 historical bytes, with no or three status bytes")
        return raw

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read historical bytes of category 00 or 80.

        Raises:
            AnswerError: empty, another category, or cut short.
        """
        if not raw or raw[0] not in (CATEGORY_STATUS_LAST, CATEGORY_COMPACT):
            raise AnswerError("no compact-TLV historical bytes")
        body, status = raw[1:], b""
        if raw[0] == CATEGORY_STATUS_LAST:
            if len(body) < 3:
                raise AnswerError("three status bytes are missing")
            body, status = body[:-3], body[-3:]
        objects: list[CompactObject] = []
        offset = 0
        while offset < len(body):
            tag, end = body[offset] >> 4, offset + 1 + (body[offset] & 0x0F)
            if end > len(body):
                raise AnswerError("compact object is cut short")
            objects.append(CompactObject(tag, body[offset + 1 : end]))
            offset = end
        return cls(tuple(objects), status)

    def find(self, tag: int) -> bytes | None:
        """The value of the first object with a tag, or None."""
        return next((item.value for item in self.objects if item.tag == tag), None)

    @property
    def capabilities(self) -> Capabilities | None:
        """The card capabilities, when they are announced."""
        value = self.find(CompactTag.CAPABILITIES)
        return None if value is None else Capabilities.parse(value)


@dataclass(frozen=True, slots=True)
class InterfaceGroup:
    """Interface bytes TA, TB and TC of one index; None = absent.

    Attributes:
        protocol: low nibble of the TD before; None for the first group.
    """

    protocol: int | None = None
    ta: int | None = None
    tb: int | None = None
    tc: int | None = None

    def presence(self) -> int:
        """Bits b7 to b5 of the indicator Y, without TD."""
        return (self.ta is not None) << 4 | (self.tb is not None) << 5 | (self.tc is not None) << 6

    def bytes(self) -> list[int]:
        """The bytes that are there."""
        return [byte for byte in (self.ta, self.tb, self.tc) if byte is not None]


@dataclass(frozen=True, slots=True)
class Atr:
    """An answer to reset.

    Attributes:
        groups: interface bytes; the first group is the global one without a protocol, each further one follows a TD.
        historical: historical bytes, 0 to 15.
        convention: TS.
    """

    groups: tuple[InterfaceGroup, ...] = (InterfaceGroup(),)
    historical: bytes = b""
    convention: Convention = Convention.DIRECT

    @property
    def protocols(self) -> tuple[int, ...]:
        """Protocols offered, in order and once each; T=0 when none is named (8.2.3). 15 is no protocol."""
        named = [group.protocol for group in self.groups if group.protocol is not None and group.protocol != 15]
        return tuple(dict.fromkeys(named)) or (0,)

    @property
    def has_check_byte(self) -> bool:
        """TCK is there unless T=0 is the only indication (8.2.5)."""
        return any(group.protocol for group in self.groups)

    def encode(self) -> bytes:
        """TS ‖ T0 ‖ interface bytes ‖ historical bytes ‖ TCK.

        Raises:
            ValueError: more than 15 historical bytes, more than 32 bytes after TS, or no first group.
        """
        if not self.groups or len(self.historical) > MAX_HISTORICAL_BYTES:
            raise ValueError("an ATR has a first group and at most 15 historical bytes")
        low, body = len(self.historical), bytearray()
        for index, group in enumerate(self.groups):
            following = self.groups[index + 1] if index + 1 < len(self.groups) else None
            body.append(group.presence() | (0x80 if following else 0) | low)
            body += bytes(group.bytes())
            if following is not None:
                low = following.protocol or 0
        body += self.historical
        if self.has_check_byte:
            body.append(reduce(xor, body))
        if len(body) >= MAX_ATR_LENGTH:
            raise ValueError("an ATR has at most 33 bytes")
        return bytes((self.convention,)) + bytes(body)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read an ATR.

        Raises:
            AnswerError: unknown TS, cut short, bytes left over, or a wrong TCK.
        """
        if len(raw) < 2 or raw[0] not in tuple(Convention):
            raise AnswerError("an ATR begins with 3B or 3F and has at least two bytes")
        groups: list[InterfaceGroup] = []
        historical_length = raw[1] & 0x0F
        protocol: int | None = None
        indicator, at = raw[1], 2
        try:
            while True:
                fields: list[int | None] = []
                for bit in (0x10, 0x20, 0x40):
                    fields.append(raw[at] if indicator & bit else None)
                    at += bool(indicator & bit)
                groups.append(InterfaceGroup(protocol, *fields))
                if not indicator & 0x80:
                    break
                indicator = raw[at]
                protocol = indicator & 0x0F
                at += 1
        except IndexError as error:
            raise AnswerError("interface bytes are cut short") from error
        atr = cls(tuple(groups), raw[at : at + historical_length], Convention(raw[0]))
        if len(raw) != at + historical_length + atr.has_check_byte:
            raise AnswerError("length does not fit what T0 and TD announce")
        if atr.has_check_byte and reduce(xor, raw[1:]):
            raise AnswerError("check byte TCK is wrong")
        return atr


@dataclass(frozen=True, slots=True)
class Ats:
    """An answer to select of a type A card.

    Attributes:
        fsci: frame size the card accepts, index into `FRAME_SIZES`, 0..8.
        rates: TA1, bit rates (00 = 106 kbit/s only, 80 = the same in both directions); None = absent.
        fwi: frame waiting time integer, 0..14.
        sfgi: start-up frame guard time integer, 0..14.
        cid: CID is supported.
        nad: NAD is supported.
        historical: historical bytes, 0 to 15.
    """

    fsci: int = 8
    rates: int | None = 0x00
    fwi: int = 8
    sfgi: int = 0
    cid: bool = True
    nad: bool = False
    historical: bytes = b""

    @property
    def frame_size(self) -> int:
        """Greatest frame the card accepts, in bytes."""
        return FRAME_SIZES[min(self.fsci, len(FRAME_SIZES) - 1)]

    def encode(self) -> bytes:
        """TL ‖ T0 ‖ TA1 ‖ TB1 ‖ TC1 ‖ historical bytes.

        Raises:
            ValueError: a value out of range.
        """
        if not 0 <= self.fsci <= 8 or not 0 <= self.fwi <= 14 or not 0 <= self.sfgi <= 14:
            raise ValueError("FSCI is 0 to 8, FWI and SFGI 0 to 14")
        if len(self.historical) > MAX_HISTORICAL_BYTES:
            raise ValueError("at most 15 historical bytes")
        body = bytearray((0x60 | (self.rates is not None) << 4 | self.fsci,))
        if self.rates is not None:
            body.append(self.rates)
        body += bytes((self.fwi << 4 | self.sfgi, self.cid << 1 | self.nad))
        body += self.historical
        return bytes((len(body) + 1,)) + bytes(body)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read an ATS (without CRC); absent bytes have the defaults of 5.2.

        Raises:
            AnswerError: TL does not fit, or cut short.
        """
        if not raw or raw[0] != len(raw):
            raise AnswerError("TL is not the length of the ATS")
        if len(raw) == 1:
            return cls(fsci=2, rates=None, fwi=4, sfgi=0, cid=True, nad=False)
        t0, at = raw[1], 2
        fields: list[int | None] = []
        for bit in (0x10, 0x20, 0x40):
            if t0 & bit and at >= len(raw):
                raise AnswerError("interface bytes are cut short")
            fields.append(raw[at] if t0 & bit else None)
            at += bool(t0 & bit)
        rates, tb, tc = fields
        waiting = 0x40 if tb is None else tb
        options = 0x02 if tc is None else tc
        return cls(
            fsci=t0 & 0x0F,
            rates=rates,
            fwi=waiting >> 4,
            sfgi=waiting & 0x0F,
            cid=bool(options & 0x02),
            nad=bool(options & 0x01),
            historical=raw[at:],
        )


def missing_bytes(raw: bytes) -> int:
    """How many bytes an ATR that begins with ``raw`` lacks, as far as it tells; 0 or less = it is whole."""
    if len(raw) < 2:
        return 2 - len(raw)
    indicator, at, checked = raw[1], 2, 0
    while True:
        at += (indicator & 0x70).bit_count()
        if not indicator & 0x80:
            return at + (raw[1] & 0x0F) + checked - len(raw)
        if len(raw) <= at:
            return at + 1 - len(raw)
        indicator = raw[at]
        checked |= bool(indicator & 0x0F)
        at += 1
