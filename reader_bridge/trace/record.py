"""What a trace is: a header and entries in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Flag, StrEnum, auto
from typing import Self

from reader_bridge.connection import Interface, Protocol7816


class Kind(StrEnum):
    """What an entry is; the word is the first column of the text."""

    POWER_ON = "on"
    RESET = "reset"
    POWER_OFF = "off"
    APDU = "apdu"
    """What a host asked and got."""
    TPDU = "tpdu"
    """What a reader carried for it: one short command, a GET RESPONSE, the same again with another Le."""
    TO_CARD = "to-card"
    """Bytes that the reader sent: characters, a block, a frame."""
    TO_READER = "to-reader"
    """Bytes that the card sent."""


EXCHANGES = frozenset({Kind.APDU, Kind.TPDU})
STARTS = frozenset({Kind.POWER_ON, Kind.RESET})
LINE = frozenset({Kind.TO_CARD, Kind.TO_READER})


class Hidden(Flag):
    """What a recorder leaves out of a trace; nothing brings it back."""

    NOTHING = 0
    SECRETS = auto()
    """PINs and keys that go to the card in plain."""
    CONTENT = auto()
    """What a card stores and tells in plain: names, numbers, accounts."""


@dataclass(frozen=True, slots=True)
class Octets:
    """Bytes, of which some may be hidden; a hidden byte is 00 here, so that nothing of it stays.

    Attributes:
        data: the bytes.
        hidden: ranges of hidden bytes, first and one past the last, in order.
    """

    data: bytes = field(default=b"", repr=False)
    hidden: tuple[tuple[int, int], ...] = ()

    @classmethod
    def hiding(cls, data: bytes, start: int, end: int) -> Self:
        """``data`` without what stands from ``start`` up to ``end``."""
        start, end = min(start, len(data)), min(end, len(data))
        if start >= end:
            return cls(data)
        return cls(data[:start] + bytes(end - start) + data[end:], ((start, end),))

    def is_hidden(self, position: int) -> bool:
        """True when the byte at ``position`` is hidden."""
        return any(start <= position < end for start, end in self.hidden)

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Moment:
    """When an entry began and how long it took, in microseconds from the beginning of the trace.

    Attributes:
        wall_start: by the clock on the wall.
        wall_length: same.
        virtual_start: by the virtual clock of a simulated line; None when there is none.
        virtual_length: same.
    """

    wall_start: int = 0
    wall_length: int = 0
    virtual_start: int | None = None
    virtual_length: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a trace.

    Attributes:
        kind: what it is.
        sent: the command, or what one side sent on the line; empty for power.
        received: the response, the ATR or ATS, or what arrived of bytes on the line.
        failure: code of the error when there was no response; for bytes on the line "lost" or "damaged".
        moment: None when times were not kept.
    """

    kind: Kind
    sent: Octets = Octets()
    received: Octets = Octets()
    failure: str = ""
    moment: Moment | None = None

    @property
    def has_hidden(self) -> bool:
        """True when something was left out."""
        return bool(self.sent.hidden or self.received.hidden)

    def without_time(self) -> Entry:
        """The same at no time, for comparisons."""
        return replace(self, moment=None)


@dataclass(frozen=True, slots=True)
class Header:
    """What the trace was taken from.

    Attributes:
        reader: name or address of the reader.
        interface: contact or contactless.
        protocol: transmission protocol.
        answer: first ATR or ATS.
        profile: name and version of the card profile, empty when none is known.
        hidden: what was left out.
        begun: date and time in ISO 8601, UTC; empty when times were not kept.
    """

    reader: str = ""
    interface: Interface = Interface.CONTACT
    protocol: Protocol7816 = Protocol7816.T1
    answer: bytes = b""
    profile: str = ""
    hidden: Hidden = Hidden.NOTHING
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A header and its entries."""

    header: Header
    entries: tuple[Entry, ...] = ()

    def exchanges(self) -> tuple[Entry, ...]:
        """Commands with their answers at the highest level that was recorded, with power-on and reset between them."""
        level = Kind.APDU if any(entry.kind is Kind.APDU for entry in self.entries) else Kind.TPDU
        wanted = STARTS | {level, Kind.POWER_OFF}
        return tuple(entry for entry in self.entries if entry.kind in wanted)
