"""What a card tells of its registry, read from GET STATUS answers of either form.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.4.3, tables 11-36 and 11-37; Card Specification 2.1.1, tables
9-22 and 9-23 (the form without tags).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from card_os.iso7816 import tlv
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import CardState, StatusScope

_AID_LENGTHS: Final = range(5, 17)
_LOCKED: Final = 0x80
_DOMAIN_BIT: Final = 0x80


class _Tag(IntEnum):
    """Tags of a GET STATUS answer."""

    ENTRY = 0xE3
    AID = 0x4F
    LIFE_CYCLE = 0x9F70
    PRIVILEGES = 0xC5
    IMPLICIT_SELECTION = 0xCF
    PACKAGE = 0xC4
    DOMAIN = 0xCC
    VERSION = 0xCE
    MODULE = 0x84


class RegistryEntry(NamedTuple):
    """One application, domain or package.

    Attributes:
        aid: its AID.
        life_cycle: life-cycle byte.
        privileges: 3 bytes (1 in the old form), empty for a package.
        package_aid: executable load file it came from, empty when the card does not tell.
        domain_aid: associated security domain, empty when the card does not tell.
        modules: executable modules of a package.
        version: version of a package, for Java Card major and minor; empty when the card does not tell.
        implicit_selection: implicit selection parameters.
    """

    aid: bytes
    life_cycle: int
    privileges: bytes = b""
    package_aid: bytes = b""
    domain_aid: bytes = b""
    modules: tuple[bytes, ...] = ()
    version: bytes = b""
    implicit_selection: bytes = b""

    @property
    def is_domain(self) -> bool:
        """True for a security domain."""
        return bool(self.privileges and self.privileges[0] & _DOMAIN_BIT)


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
        values.get(_Tag.VERSION, b""),
        b"".join(child.value for child in children if child.tag == _Tag.IMPLICIT_SELECTION),
    )


def parse_old_entries(data: bytes, scope: StatusScope) -> list[RegistryEntry]:
    """The entries of answers in the form without tags.

    Each is AID length (1), AID, life cycle (1), privileges (1), and of a package with modules their number (1), then
    AID length and AID of each.

    Raises:
        PersonalizationError: "registry-malformed".
    """
    entries: list[RegistryEntry] = []
    reader = _Reader(data)
    while reader.left:
        aid = reader.aid()
        life_cycle, privileges = reader.byte(), reader.byte()
        if scope is StatusScope.PACKAGES_AND_MODULES:
            modules = tuple(reader.aid() for _ in range(reader.byte()))
            entries.append(RegistryEntry(aid, life_cycle, modules=modules))
        elif scope is StatusScope.PACKAGES:
            entries.append(RegistryEntry(aid, life_cycle))
        else:
            entries.append(RegistryEntry(aid, life_cycle, bytes((privileges,))))
    return entries


class _Reader:
    """Reads fields one after another."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._offset

    def byte(self) -> int:
        if not self.left:
            raise PersonalizationError("registry-malformed", reason="an entry is cut short")
        self._offset += 1
        return self._data[self._offset - 1]

    def aid(self) -> bytes:
        length = self.byte()
        if length not in _AID_LENGTHS or length > self.left:
            raise PersonalizationError("registry-malformed", reason="an AID is malformed")
        self._offset += length
        return self._data[self._offset - length : self._offset]


_PACKAGE_STATES: Final = {0x01: "loaded"}
_DOMAIN_STATES: Final = {0x03: "installed", 0x07: "selectable", 0x0F: "personalized"}
_APPLICATION_STATES: Final = {0x03: "installed", 0x07: "selectable"}
_CARD_STATES: Final = {state.value: state.name.lower().replace("_", "-") for state in CardState}
_SELECTABLE: Final = 0x07


def life_cycle_name(scope: StatusScope, entry: RegistryEntry) -> str:
    """A life cycle in the standard's word (tables 11-3 to 11-6); ``xx`` hexadecimal where there is none."""
    state = entry.life_cycle
    if scope is StatusScope.ISSUER_DOMAIN:
        return _CARD_STATES.get(state, f"{state:02X}")
    if scope in (StatusScope.PACKAGES, StatusScope.PACKAGES_AND_MODULES):
        return _PACKAGE_STATES.get(state, f"{state:02X}")
    if state & _LOCKED:
        return "locked"
    names = _DOMAIN_STATES if entry.is_domain else _APPLICATION_STATES
    own = "application-specific" if state & _SELECTABLE == _SELECTABLE else f"{state:02X}"
    return names.get(state, own)
