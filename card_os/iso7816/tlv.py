"""BER-TLV, SIMPLE-TLV and COMPACT-TLV data objects.

Source: ISO/IEC 7816-4:2020, clause 6; ISO/IEC 8825-1 for the BER rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_MAX_TAG_BYTES: Final = 3
_MAX_LENGTH_BYTES: Final = 4
_MIN_SIMPLE: Final = 2
_LONG_SIMPLE: Final = 0xFF


class TlvError(ValueError):
    """The bytes are no well-formed sequence of data objects."""


class Tlv(NamedTuple):
    """A BER-TLV data object.

    Attributes:
        tag: the tag field as a big-endian number of its 1..3 bytes, such as 0x5A or 0x7F49.
        value: the value field.
    """

    tag: int
    value: bytes

    @property
    def constructed(self) -> bool:
        """True when bit 6 of the first tag byte is set."""
        first = self.tag
        while first > 0xFF:
            first >>= 8
        return bool(first & 0x20)

    def encode(self) -> bytes:
        """Tag ‖ length ‖ value, with the shortest length form."""
        return encode_tag(self.tag) + encode_length(len(self.value)) + self.value

    def children(self) -> list[Tlv]:
        """The data objects inside the value field."""
        return parse_all(self.value)

    def __repr__(self) -> str:
        """Tag and length only: values may be personal."""
        return f"Tlv({self.tag:02X}, {len(self.value)} bytes)"


def encode_tag(tag: int) -> bytes:
    """The tag field of a tag number such as 0x7F49, big-endian."""
    return tag.to_bytes((tag.bit_length() + 7) // 8 or 1, "big")


def encode_length(length: int) -> bytes:
    """The shortest BER length field for 0..2^32-1."""
    if length < 0x80:
        return bytes((length,))
    size = (length.bit_length() + 7) // 8
    return bytes((0x80 | size,)) + length.to_bytes(size, "big")


def encode(tag: int, *values: bytes) -> bytes:
    """A data object with the concatenated values."""
    value = values[0] if len(values) == 1 else b"".join(values)
    if tag <= 0xFF and len(value) < 0x80:
        return bytes((tag, len(value))) + value
    return encode_tag(tag) + encode_length(len(value)) + value


def encode_all(objects: Iterable[Tlv]) -> bytes:
    """Concatenate data objects."""
    return b"".join(item.encode() for item in objects)


def parse_tag(raw: bytes, offset: int) -> tuple[int, int]:
    """Read a tag field at ``offset``; returns the tag and the offset after it."""
    if offset >= len(raw):
        raise TlvError("no tag where one is expected")
    tag = raw[offset]
    offset += 1
    if tag & 0x1F != 0x1F:
        return tag, offset
    for _ in range(_MAX_TAG_BYTES - 1):
        if offset >= len(raw):
            raise TlvError("tag field is cut short")
        byte = raw[offset]
        tag = tag << 8 | byte
        offset += 1
        if not byte & 0x80:
            return tag, offset
    raise TlvError("tag field longer than 3 bytes")


def parse_length(raw: bytes, offset: int) -> tuple[int, int]:
    """Read a definite length field at ``offset``; returns the length and the offset after it."""
    if offset >= len(raw):
        raise TlvError("length field is missing")
    first = raw[offset]
    offset += 1
    if first < 0x80:
        return first, offset
    size = first & 0x7F
    if not 1 <= size <= _MAX_LENGTH_BYTES:
        raise TlvError("indefinite or over-long length field")
    if offset + size > len(raw):
        raise TlvError("length field is cut short")
    return int.from_bytes(raw[offset : offset + size], "big"), offset + size


def iterate(raw: bytes, *, padding: bool = False) -> Iterator[Tlv]:
    """Walk over the data objects in ``raw``.

    Args:
        raw: concatenated data objects.
        padding: skip 00 and FF bytes before and between objects, as 6.3 allows in files.

    Raises:
        TlvError: a field is cut short or not well formed.
    """
    offset, end = 0, len(raw)
    while offset < end:
        if padding and raw[offset] in (0x00, 0xFF):
            offset += 1
            continue
        tag, at = parse_tag(raw, offset)
        length, at = parse_length(raw, at)
        if at + length > end:
            raise TlvError(f"value of {tag:02X} is cut short")
        yield Tlv(tag, raw[at : at + length])
        offset = at + length


def parse_all(raw: bytes, *, padding: bool = False) -> list[Tlv]:
    """All data objects in ``raw``; see `iterate`."""
    return list(iterate(raw, padding=padding))


def parse_one(raw: bytes) -> Tlv:
    """Exactly one data object that fills ``raw``.

    Raises:
        TlvError: none, more than one, or a malformed one.
    """
    objects = parse_all(raw)
    if len(objects) != 1:
        raise TlvError(f"{len(objects)} data objects where one is expected")
    return objects[0]


def find(raw: bytes, tag: int) -> bytes | None:
    """The value of the first object with ``tag`` at this level, or None."""
    return next((item.value for item in iterate(raw) if item.tag == tag), None)


def is_simple(raw: bytes) -> bool:
    """True for exactly one SIMPLE-TLV data object: tag 01..FE, length in 1 byte, or FF and 2 bytes (6.2)."""
    if len(raw) < _MIN_SIMPLE or not 0 < raw[0] < _LONG_SIMPLE:
        return False
    if raw[1] != _LONG_SIMPLE:
        return len(raw) == _MIN_SIMPLE + raw[1]
    start = _MIN_SIMPLE + 2
    return len(raw) >= start and len(raw) == start + int.from_bytes(raw[_MIN_SIMPLE:start], "big")
