"""What a load file data block says of itself: the header and applet components of a Java Card CAP file.

A load file is the components of a CAP file one after the other, as host programs send them: tag (1) ‖ size (2) ‖ info.
Only names and version are read; the code inside is not run.

Source: Java Card Virtual Machine Specification 3.0.5, clauses 6.3 (header component) and 6.5 (applet component).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from card_os.iso7816.aid import Aid

_HEADER: Final = 1
_APPLET: Final = 3
_MAGIC: Final = bytes.fromhex("DECAFFED")
_COMPONENT_HEAD: Final = 3
_PACKAGE_AT: Final = 7
"""Offset of package information in the header: magic 4 ‖ CAP minor 1 ‖ CAP major 1 ‖ flags 1."""


class LoadFileContent(NamedTuple):
    """Names in a load file.

    Attributes:
        aid: package AID.
        version: major, minor.
        modules: AIDs of its applets, in their order.
    """

    aid: Aid
    version: bytes
    modules: tuple[Aid, ...]


def read_load_file(block: bytes) -> LoadFileContent:
    """Read a load file data block.

    Raises:
        ValueError: no CAP file, or its header or applet component is damaged.
    """
    components = dict(_components(block))
    header = components.get(_HEADER)
    if header is None or not header.startswith(_MAGIC):
        raise ValueError("no header component")
    try:
        minor, major, length = header[_PACKAGE_AT : _PACKAGE_AT + 3]
    except ValueError as error:
        raise ValueError("the header component is cut short") from error
    start = _PACKAGE_AT + 3
    return LoadFileContent(
        _aid(header, start, length), bytes((major, minor)), tuple(_applets(components.get(_APPLET, b"\x00")))
    )


def _components(block: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(block):
        start = offset + _COMPONENT_HEAD
        size = int.from_bytes(block[offset + 1 : start], "big")
        if start + size > len(block) or len(block) < start:
            raise ValueError("a component is cut short")
        yield block[offset], block[start : start + size]
        offset = start + size


def _applets(component: bytes) -> Iterator[Aid]:
    """Count (1), then for each applet: AID with length (1), offset of its install method (2)."""
    if not component:
        raise ValueError("the applet component is empty")
    offset = 1
    for _ in range(component[0]):
        if offset >= len(component):
            raise ValueError("the applet component is cut short")
        length = component[offset]
        yield _aid(component, offset + 1, length)
        offset += 1 + length + 2


def _aid(raw: bytes, start: int, length: int) -> Aid:
    value = raw[start : start + length]
    if len(value) != length:
        raise ValueError("an AID is cut short")
    return Aid(value)
