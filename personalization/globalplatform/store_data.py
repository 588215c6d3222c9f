"""STORE DATA: data groupings, data objects or free data cut into commands.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.11; Amendment D v1.1.1, clause 7.3; EMV Card Personalization
Specification 1.1, clause 2 (data groupings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, IntFlag
from typing import Final, NamedTuple

from card_os.iso7816.apdu import MAX_SHORT_NE, CommandApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform.data_key import DataKey, as_data_key

_CLA: Final = 0x80
_INS: Final = 0xE2
_SHORT_DGI_LENGTH: Final = 0xFE
_LONG_DGI_MARK: Final = b"\xff"
_MAX_DGI_LENGTH: Final = 0xFFFF
_MAX_BLOCKS: Final = 256


class StoreDataFlag(IntFlag):
    """P1 of STORE DATA (table 11-89)."""

    LAST_BLOCK = 0x80
    ALL_ENCRYPTED = 0x60
    APPLICATION_DEPENDENT = 0x20
    BER_TLV = 0x10
    DGI_FORMAT = 0x08
    RESPONSE_EXPECTED = 0x01


class Padding(Enum):
    """What fills an encrypted grouping up to whole blocks; the application says which it wants."""

    ALWAYS = "always"
    """80 and zeroes, at least one byte."""
    NEEDED = "needed"
    """80 and zeroes, where the content is no whole number of blocks."""
    NONE = "none"
    """Nothing: the content is a whole number of blocks."""


class DataGrouping(NamedTuple):
    """A data grouping for STORE DATA.

    Attributes:
        identifier: DGI, 0..65,535.
        value: its content in plain, up to 65,535 bytes (65,519 when encrypted).
        encrypted: True when the content travels under Key-DEK.
    """

    identifier: int
    value: bytes
    encrypted: bool = False

    def __repr__(self) -> str:
        """Identifier and length only: the content may be secret or personal."""
        return f"DataGrouping({self.identifier:04X}, {len(self.value)} bytes)"


def encode_dgi(identifier: int, value: bytes) -> bytes:
    """DGI (2) ‖ length (1, or FF and 2) ‖ value as it is.

    Raises:
        PersonalizationError: "grouping-too-long".
    """
    length = len(value)
    if length > _MAX_DGI_LENGTH:
        raise PersonalizationError("grouping-too-long", identifier=f"{identifier:04X}", length=length)
    field = bytes((length,)) if length <= _SHORT_DGI_LENGTH else _LONG_DGI_MARK + length.to_bytes(2, "big")
    return identifier.to_bytes(2, "big") + field + value


def encode_grouping(grouping: DataGrouping, dek: DataKey | bytes, padding: Padding = Padding.ALWAYS) -> bytes:
    """DGI (2) ‖ length (1, or FF and 2) ‖ content, encrypted and padded where the grouping says so.

    Raises:
        PersonalizationError: "grouping-too-long", "grouping-not-whole-blocks".
    """
    value = grouping.value
    if grouping.encrypted:
        key = as_data_key(dek)
        value = key.encrypt(_padded(grouping, key.block, padding))
    return encode_dgi(grouping.identifier, value)


def _padded(grouping: DataGrouping, block: int, padding: Padding) -> bytes:
    value = grouping.value
    whole = len(value) % block == 0
    if padding is Padding.NONE and not whole:
        raise PersonalizationError(
            "grouping-not-whole-blocks", identifier=f"{grouping.identifier:04X}", length=len(value), block=block
        )
    if padding is Padding.NONE or (padding is Padding.NEEDED and whole):
        return value
    return value + b"\x80" + bytes(-(len(value) + 1) % block)


def store_data(
    groupings: Iterable[DataGrouping], *, dek: DataKey | bytes, max_data: int, padding: Padding = Padding.ALWAYS
) -> list[CommandApdu]:
    """STORE DATA commands for all groupings, in their order, as few as they fit in.

    Neighbours of one kind share a command; plain and encrypted ones never do, for P1 speaks for the whole command. A
    grouping that is longer than a command goes on in the next one.

    Args:
        groupings: what to store, in the order in which the application wants it.
        dek: what encrypts secret data in the session; bytes are the static Key-DEK of SCP03.
        max_data: most data bytes of one command, see `SecureSession.max_data`.
        padding: what the application wants of encrypted groupings.

    Raises:
        PersonalizationError: "too-many-blocks" (P2 counts 256 at most), "grouping-too-long",
            "grouping-not-whole-blocks".
    """
    key = as_data_key(dek)
    encoded = [(grouping.encrypted, encode_grouping(grouping, key, padding)) for grouping in groupings]
    return grouped_blocks([[item] for item in encoded], max_data=max_data)


def grouped_blocks(groups: Iterable[Sequence[tuple[bool, bytes]]], *, max_data: int) -> list[CommandApdu]:
    """STORE DATA commands for encoded groupings that are (encrypted, DGI ‖ length ‖ value).

    Args:
        groups: groupings of one inner sequence are never parted by a command border that is not needed; those of
            different ones share a command where they fit and are of one kind.
        max_data: most data bytes of one command.

    Raises:
        PersonalizationError: "too-many-blocks".
    """
    blocks = list(_blocks(groups, max_data))
    return numbered([(StoreDataFlag.DGI_FORMAT | _encryption(kind), data) for kind, data in blocks])


def _encryption(encrypted: bool) -> int:
    return StoreDataFlag.ALL_ENCRYPTED if encrypted else 0


def _blocks(groups: Iterable[Sequence[tuple[bool, bytes]]], max_data: int) -> Iterator[tuple[bool, bytes]]:
    """(encrypted, data field) of each command."""
    waiting, kind = b"", False
    for group in groups:
        together = sum(len(encoded) for _, encoded in group)
        if waiting and len(waiting) + together > max_data:
            yield kind, waiting
            waiting = b""
        for encrypted, encoded in group:
            if waiting and (encrypted is not kind or len(waiting) + len(encoded) > max_data):
                yield kind, waiting
                waiting = b""
            kind = encrypted
            waiting += encoded
            while len(waiting) > max_data:
                yield kind, waiting[:max_data]
                waiting = waiting[max_data:]
    if waiting:
        yield kind, waiting


def numbered(blocks: Sequence[tuple[int, bytes]], *, case_4: bool = False) -> list[CommandApdu]:
    """STORE DATA commands of (P1 without the last-block bit, data field), numbered, the last one marked.

    Args:
        blocks: P1 and data field of each.
        case_4: the application may answer with data.

    Raises:
        PersonalizationError: "too-many-blocks".
    """
    if len(blocks) > _MAX_BLOCKS:
        raise PersonalizationError("too-many-blocks", blocks=len(blocks), limit=_MAX_BLOCKS)
    commands: list[CommandApdu] = []
    for number, (flags, data) in enumerate(blocks):
        p1 = int(flags) | (StoreDataFlag.LAST_BLOCK if number == len(blocks) - 1 else 0)
        p1 |= StoreDataFlag.RESPONSE_EXPECTED if case_4 else 0
        commands.append(CommandApdu(_CLA, _INS, int(p1), number, data, MAX_SHORT_NE if case_4 else 0))
    return commands


def store_objects(encoded: bytes, *, max_data: int, flags: int = StoreDataFlag.BER_TLV) -> list[CommandApdu]:
    """STORE DATA of BER-TLV data objects (or, with ``flags`` 0, of data that only the application understands)."""
    parts = [encoded[start : start + max_data] for start in range(0, len(encoded), max_data)] or [b""]
    return numbered([(int(flags), part) for part in parts])
