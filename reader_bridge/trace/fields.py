"""Data fields in words: data objects as a tree, and the fixed forms of GlobalPlatform.

Source: ISO/IEC 7816-4:2020, clause 6; GlobalPlatform Card Specification 2.3.1, clauses 11.1.1 (life cycles), 11.5
(INSTALL), 11.11 (STORE DATA); EMV Card Personalization Specification 1.1, clause 3 (data groupings).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from card_os.iso7816.tlv import TlvError, iterate, parse_all
from reader_bridge.trace.tags import TagContext, inside, tag_name

_LONG: Final = 64
_INDENT: Final = "  "
_LAST_GROUPING_SHORT: Final = 0xFE
_DIVERSIFICATION: Final = 10
_LONG_TEXT: Final = 400
_MAX_DEPTH: Final = 12
_STORE_FORM: Final = 0x18
_STORE_GROUPINGS: Final = 0x08
_STORE_OBJECTS: Final = 0x10

INSTALL_PURPOSES: Final = {
    0x02: "for load",
    0x04: "for install",
    0x08: "for make selectable",
    0x0C: "for install and make selectable",
    0x10: "for extradition",
    0x20: "for personalization",
    0x40: "for registry update",
}
_INSTALL_FIELDS: Final = {
    0x02: ("load file", "security domain", "load file hash", "load parameters", "load token"),
    0x10: ("security domain", "", "application", "", "extradition parameters", "extradition token"),
    0x20: ("", "", "application", "", "", ""),
    0x40: ("security domain", "", "application", "privileges", "registry parameters", "registry token"),
}
_INSTALL_DEFAULT: Final = ("load file", "module", "application", "privileges", "install parameters", "install token")


def value_text(value: bytes) -> str:
    """Hexadecimal digits, and the text behind them when they are one."""
    shown = value.hex().upper() if len(value) <= _LONG else f"{value[:_LONG].hex().upper()}… ({len(value)} bytes)"
    text = _text(value)
    return f'{shown} "{text}"' if text else shown


def _text(value: bytes) -> str:
    """What the bytes say in UTF-8; empty when they say nothing, or nothing that is made for people."""
    if not 1 < len(value) <= _LONG_TEXT:
        return ""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


def is_tlv(data: bytes) -> bool:
    """True when the bytes are whole data objects."""
    try:
        return bool(parse_all(data))
    except TlvError:
        return False


def tree(
    data: bytes, context: TagContext, names: Mapping[int, str] | None = None, depth: int = 0, *, padding: bool = False
) -> Iterator[str]:
    """Data objects, one a line, indented by template; ``names`` come before those of the standards.

    Raises:
        TlvError: no data objects.
    """
    for item in iterate(data, padding=padding):
        name = (names or {}).get(item.tag) or tag_name(context, item.tag)
        head = f"{_INDENT * depth}{item.tag:02X} {name}".rstrip()
        if item.constructed and depth < _MAX_DEPTH and (not item.value or is_tlv(item.value)):
            yield head
            yield from tree(item.value, inside(context, item.tag), names, depth + 1)
        else:
            yield f"{head}: {value_text(item.value)}" if item.value else f"{head}: empty"


def objects(
    data: bytes, context: TagContext, names: Mapping[int, str] | None = None, *, padding: bool = False
) -> list[str]:
    """The tree, or the bytes when they are no data objects; ``padding`` skips 00 and FF between objects of a file."""
    if not data.strip(b"\x00") and len(data) > 1:
        return [f"{len(data)} bytes 00"]
    if not data:
        return []
    try:
        return list(tree(data, context, names, padding=padding))
    except TlvError:
        return [value_text(data)]


def install(p1: int, data: bytes) -> list[str]:
    """Length-value fields of INSTALL by its purpose."""
    titles = _INSTALL_FIELDS.get(p1 & 0x7E, _INSTALL_DEFAULT)
    lines: list[str] = []
    at = 0
    for title in titles:
        if at >= len(data):
            break
        length, at = data[at], at + 1
        if length == 0x81 and at < len(data):  # noqa: PLR2004 - BER length of one more byte
            length, at = data[at], at + 1
        value = data[at : at + length]
        at += length
        if value and title:
            lines.append(f"{title}: {value_text(value)}")
            if title.endswith("parameters"):
                lines += [_INDENT + line for line in objects(value, TagContext.REGISTRY) if is_tlv(value)]
    return lines


def store_data(p1: int, data: bytes, names: Mapping[int, str] | None = None) -> list[str]:
    """Data groupings or data objects of STORE DATA."""
    form = p1 & _STORE_FORM
    if form == _STORE_OBJECTS:
        return objects(data, TagContext.TOP, names)
    if form != _STORE_GROUPINGS and not is_groupings(data):
        return [value_text(data)]
    return [
        f"DGI {identifier:04X} {(names or {}).get(identifier, '')}".rstrip() + f": {value_text(value)}"
        for identifier, value in groupings(data)
    ]


def groupings(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Identifier and value of each data grouping; the last may be cut short by its block."""
    at = 0
    while at + 2 < len(data):
        identifier, length, at = int.from_bytes(data[at : at + 2], "big"), data[at + 2], at + 3
        if length > _LAST_GROUPING_SHORT:
            length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        yield identifier, data[at : at + length]
        at += length


def is_groupings(data: bytes) -> bool:
    """True when the bytes are whole data groupings."""
    at = 0
    while at + 2 < len(data):
        length, at = data[at + 2], at + 3
        if length > _LAST_GROUPING_SHORT:
            length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        at += length
    return bool(data) and at == len(data)


def initialize_update(data: bytes) -> list[str]:
    """The answer to INITIALIZE UPDATE of SCP02 or SCP03."""
    if len(data) <= _DIVERSIFICATION + 2:
        return [value_text(data)]
    protocol = data[_DIVERSIFICATION + 1]
    lines = [
        f"key diversification data: {value_text(data[:_DIVERSIFICATION])}",
        f"key version: {data[_DIVERSIFICATION]:02X}",
        f"secure channel protocol: {protocol:02X}",
    ]
    rest = data[_DIVERSIFICATION + 2 :]
    if protocol == 0x03:  # noqa: PLR2004 - the protocol's own number
        size = 16 if rest[0] & 0x01 else 8
        lines.append(f"i: {rest[0]:02X}")
        lines.append(f"card challenge: {value_text(rest[1 : 1 + size])}")
        lines.append(f"card cryptogram: {value_text(rest[1 + size : 1 + 2 * size])}")
        if rest[1 + 2 * size :]:
            lines.append(f"sequence counter: {value_text(rest[1 + 2 * size :])}")
    else:
        lines.append(f"sequence counter: {value_text(rest[:2])}")
        lines.append(f"card challenge: {value_text(rest[2:8])}")
        lines.append(f"card cryptogram: {value_text(rest[8:16])}")
    return lines
