"""Load files in the layout of Java Card CAP components (JCVM 3.0.5, clause 6), with filler where code would be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_HEADER: Final = 1
_DIRECTORY: Final = 2
_APPLET: Final = 3
_IMPORT: Final = 4
_CONSTANT_POOL: Final = 5
_METHOD: Final = 7


def component(tag: int, info: bytes) -> bytes:
    """Tag (1) ‖ size (2) ‖ info."""
    return bytes((tag,)) + len(info).to_bytes(2, "big") + info


def cap_components(
    package: bytes, modules: Iterable[bytes] = (), *, version: tuple[int, int] = (1, 0), code: int = 64
) -> bytes:
    """The load file data block of a CAP file: components in the order in which tools send them.

    Args:
        package: package AID.
        modules: applet AIDs.
        version: major, minor.
        code: bytes of the method component.
    """
    major, minor = version
    applets = list(modules)
    header = bytes.fromhex("DECAFFED") + bytes((2, 2, 4, minor, major, len(package))) + package
    return b"".join(
        (
            component(_HEADER, header),
            component(_DIRECTORY, bytes(31)),
            component(_IMPORT, b"\x01\x06\x01\x07" + bytes.fromhex("A0000000620101")),
            component(
                _APPLET,
                bytes((len(applets),)) + b"".join(bytes((len(aid),)) + aid + b"\x00\x10" for aid in applets),
            )
            if applets
            else b"",
            component(_METHOD, bytes(index & 0xFF for index in range(code))),
            component(_CONSTANT_POOL, b"\x00\x01" + bytes(4)),
        )
    )
