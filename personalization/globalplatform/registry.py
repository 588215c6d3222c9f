"""What a card tells of its registry, read from GET STATUS answers.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.4.3, table 11-36.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from card_os.iso7816 import tlv
from personalization.errors import PersonalizationError


class _Tag(IntEnum):
    """Tags of a GET STATUS answer."""

    ENTRY = 0xE3
    AID = 0x4F
    LIFE_CYCLE = 0x9F70
    PRIVILEGES = 0xC5
    PACKAGE = 0xC4
    DOMAIN = 0xCC
    MODULE = 0x84


class RegistryEntry(NamedTuple):
    """One application, domain or package.

    Attributes:
        aid: its AID.
        life_cycle: life-cycle byte.
        privileges: 3 bytes, empty for a package.
        package_aid: executable load file it came from, empty when the card does not tell.
        domain_aid: associated security domain, empty when the card does not tell.
        modules: executable modules of a package.
    """

    aid: bytes
    life_cycle: int
    privileges: bytes = b""
    package_aid: bytes = b""
    domain_aid: bytes = b""
    modules: tuple[bytes, ...] = ()


def parse_entries(data: bytes) -> list[RegistryEntry]:
    """The entries of one or several concatenated answers.

    Raises:
        PersonalizationError: "registry-malformed".
    """
    try:
        return [_entry(item) for item in tlv.iterate(data)]
    except tlv.TlvError as error:
        raise PersonalizationError("registry-malformed", reason=str(error)) from error


def _entry(item: tlv.Tlv) -> RegistryEntry:
    if item.tag != _Tag.ENTRY:
        raise tlv.TlvError(f"tag {item.tag:02X} where an entry is expected")
    children = item.children()
    values = {child.tag: child.value for child in children}
    aid, state = values.get(_Tag.AID), values.get(_Tag.LIFE_CYCLE)
    if aid is None or not state:
        raise tlv.TlvError("an entry without AID or life cycle")
    return RegistryEntry(
        aid,
        state[0],
        values.get(_Tag.PRIVILEGES, b""),
        values.get(_Tag.PACKAGE, b""),
        values.get(_Tag.DOMAIN, b""),
        tuple(child.value for child in children if child.tag == _Tag.MODULE),
    )
