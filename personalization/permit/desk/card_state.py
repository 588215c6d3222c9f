"""The service section of a card as a desk reads and writes it.

Layouts are those of the profile: EF.STATUS (status 1 ‖ next endorsement due 8 ‖ date of the status 8 ‖ area 6 ‖ changes
by desks 2) and the records of EF.ENDORSEMENTS (date 8 ‖ due 8 ‖ area 6 ‖ desk 8 ‖ 00 00).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum
from typing import Final, NamedTuple

from card_os.iso7816.tlv import TlvError, encode, iterate, parse_all
from personalization.errors import PersonalizationError
from personalization.permit.electronic.claims import CHINA
from personalization.permit.endorsement import PermitStatus

_STATUS: Final = struct.Struct(">B8s8s6sH")
_RECORD: Final = struct.Struct(">8s8s6s8s2x")
MAX_CHANGES: Final = 0xFFFF


class StatusByte(IntEnum):
    """First byte of EF.STATUS."""

    VALID = 0x01
    SUSPENDED = 0x02
    CANCELLED = 0x03


_NAMES: Final = {
    StatusByte.VALID: PermitStatus.VALID,
    StatusByte.SUSPENDED: PermitStatus.SUSPENDED,
    StatusByte.CANCELLED: PermitStatus.CANCELLED,
}
STATUS_BYTES: Final = {name: byte for byte, name in _NAMES.items()}


class EndorsementRecord(NamedTuple):
    """One record of EF.ENDORSEMENTS."""

    day: date
    due: date
    area: str
    desk: str

    def encode(self) -> bytes:
        """The record, 32 bytes."""
        return _RECORD.pack(digits(self.day), digits(self.due), self.area.encode(), self.desk.encode()[:8].ljust(8))

    @classmethod
    def decode(cls, raw: bytes) -> EndorsementRecord:
        """Read a record.

        Raises:
            PersonalizationError: "card-content-malformed".
        """
        try:
            day, due, area, desk = _RECORD.unpack(raw)
            return cls(_date(day), _date(due), area.decode("ascii"), desk.decode("utf-8", "replace").rstrip())
        except (struct.error, ValueError) as error:
            raise PersonalizationError("card-content-malformed", file="EF.ENDORSEMENTS") from error


@dataclass(frozen=True, slots=True)
class CardStatus:
    """Content of EF.STATUS.

    Attributes:
        changes: how often a desk changed the card; the dossier knows the same number.
    """

    status: PermitStatus
    due: date
    since: date
    area: str
    changes: int

    def encode(self) -> bytes:
        """25 bytes from offset 0."""
        return _STATUS.pack(
            STATUS_BYTES[self.status], digits(self.due), digits(self.since), self.area.encode("ascii"), self.changes
        )

    @classmethod
    def decode(cls, raw: bytes) -> CardStatus:
        """Read EF.STATUS.

        Raises:
            PersonalizationError: "card-content-malformed".
        """
        try:
            status, due, since, area, changes = _STATUS.unpack_from(raw)
            return cls(_NAMES[StatusByte(status)], _date(due), _date(since), area.decode("ascii"), changes)
        except (struct.error, ValueError) as error:
            raise PersonalizationError("card-content-malformed", file="EF.STATUS") from error


@dataclass(frozen=True, slots=True)
class Change:
    """What is written into one file: of a record file ``offset`` counts from the beginning of the first record."""

    fid: int
    offset: int
    content: bytes = field(repr=False)


def encode_changes(changes: Iterable[Change]) -> bytes:
    """Data of PUT DATA DF25: FID (2) ‖ offset (2) ‖ length (1) ‖ bytes, longer contents in pieces."""
    parts: list[bytes] = []
    for change in changes:
        for at in range(0, len(change.content), 255):
            piece = change.content[at : at + 255]
            place = change.offset + at
            parts.append(change.fid.to_bytes(2, "big") + place.to_bytes(2, "big") + bytes((len(piece),)) + piece)
    return b"".join(parts)


def template(tag: int, objects: Iterable[tuple[int, bytes]], size: int) -> bytes:
    """A file of data objects in their template, filled with 00.

    Raises:
        PersonalizationError: "desk-text-too-long" (exit 2).
    """
    content = encode(tag, b"".join(encode(name, value) for name, value in objects if value))
    if len(content) > size:
        raise PersonalizationError("desk-text-too-long", exit_code=2, length=len(content), limit=size)
    return content.ljust(size, b"\x00")


def objects_in(content: bytes, tag: int) -> dict[int, bytes]:
    """The data objects of a template; empty where the file holds none.

    Raises:
        PersonalizationError: "card-content-malformed".
    """
    try:
        found = [outer for outer in parse_all(content, padding=True) if outer.tag == tag]
        return {item.tag: item.value for outer in found for item in iterate(outer.value)}
    except TlvError as error:
        raise PersonalizationError("card-content-malformed", file=f"{tag:04X}") from error


def digits(day: date) -> bytes:
    """YYYYMMDD in ASCII."""
    return f"{day:%Y%m%d}".encode("ascii")


def _date(raw: bytes) -> date:
    return datetime.strptime(raw.decode("ascii"), "%Y%m%d").replace(tzinfo=CHINA).date()
