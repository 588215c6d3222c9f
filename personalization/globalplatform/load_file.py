"""Load files: Java Card CAP and IJC files read, and LOAD commands made of them.

A CAP file is a zip of components; an IJC file is the components one after another, ready to load. Each component is
tag (1) ‖ size (2) ‖ content.

Source: Java Card Platform 2.2.2 Virtual Machine Specification, clauses 4.1.1 (CAP file), 6.3 (header), 6.5 (applet),
6.6 (import) and 4.4 (order of installation); GlobalPlatform Card Specification 2.3.1, clauses 11.6 (LOAD), C.2 (hash),
C.3 (DAP) and C.6 (ciphered load file).
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_SHORT_NE, CommandApdu
from personalization.errors import PersonalizationError

_CLA: Final = 0x80
_INS_LOAD: Final = 0xE8
_LAST_BLOCK: Final = 0x80
_MAX_BLOCKS: Final = 256
_DAP_BLOCK: Final = 0xE2
_DAP_DOMAIN: Final = 0x4F
_DAP_SIGNATURE: Final = 0xC3
_DATA_BLOCK: Final = 0xC4
_ICV: Final = 0xD3
_CIPHERED_BLOCK: Final = 0xD4
_AES_BLOCK: Final = 16
_MAGIC: Final = 0xDECAFFED.to_bytes(4, "big")
_COMPONENT_HEADER: Final = 3
_MAX_COMPONENT: Final = 0x10000 + _COMPONENT_HEADER
_AID_LENGTHS: Final = range(5, 17)


class Component(IntEnum):
    """Components that are loaded, in the order in which they are (4.4); debug information stays at home."""

    HEADER = 1
    DIRECTORY = 2
    IMPORT = 4
    APPLET = 3
    CLASS = 6
    METHOD = 7
    STATIC_FIELD = 8
    EXPORT = 10
    CONSTANT_POOL = 5
    REFERENCE_LOCATION = 9
    DESCRIPTOR = 11


_FILE_NAMES: Final[Mapping[str, Component]] = MappingProxyType(
    {
        "header.cap": Component.HEADER,
        "directory.cap": Component.DIRECTORY,
        "import.cap": Component.IMPORT,
        "applet.cap": Component.APPLET,
        "class.cap": Component.CLASS,
        "method.cap": Component.METHOD,
        "staticfield.cap": Component.STATIC_FIELD,
        "export.cap": Component.EXPORT,
        "constantpool.cap": Component.CONSTANT_POOL,
        "reflocation.cap": Component.REFERENCE_LOCATION,
        "descriptor.cap": Component.DESCRIPTOR,
    }
)
_KNOWN: Final = frozenset(Component)


class ImportedPackage(NamedTuple):
    """A package that the load file needs: its AID and its version."""

    aid: bytes
    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class LoadFile:
    """A package to load.

    Attributes:
        aid: AID of the package.
        version: major and minor version of the package.
        applets: AIDs of its applets, the executable modules.
        imports: packages that it needs.
        data_block: load file data block, the components one after another.
    """

    aid: bytes
    version: tuple[int, int]
    applets: tuple[bytes, ...]
    imports: tuple[ImportedPackage, ...]
    data_block: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a .cap or .ijc file.

        Raises:
            PersonalizationError: "load-file-malformed", exit 2.
            OSError: it cannot be read.
        """
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, content: bytes, name: str = "") -> Self:
        """Read the content of a CAP file (a zip) or of an IJC file.

        Raises:
            PersonalizationError: "load-file-malformed", exit 2.
        """
        try:
            parts = _of_zip(content) if content.startswith(b"PK") else _of_stream(content)
            ordered = {component: parts[component] for component in Component if component in parts}
            aid, version = _header(ordered)
            applets = tuple(_applets(ordered.get(Component.APPLET)))
            imports = tuple(_imports(ordered.get(Component.IMPORT)))
        except (_Malformed, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            # The zip module raises RuntimeError for an encrypted member, NotImplementedError for an unknown method.
            reason = str(error) if isinstance(error, _Malformed) else "the archive is damaged or encrypted"
            raise PersonalizationError("load-file-malformed", exit_code=2, file=name, reason=reason) from error
        return cls(aid, version, applets, imports, b"".join(ordered.values()))

    def digest(self, algorithm: str = "sha256") -> bytes:
        """Load file data block hash; ``algorithm`` is sha1, sha256, sha384 or sha512 (C.2)."""
        return hashlib.new(algorithm, self.data_block, usedforsecurity=False).digest()


class DapBlock(NamedTuple):
    """A signature over the load file data block, and the domain that verifies it."""

    domain_aid: bytes
    signature: bytes


def encode_load_file(
    data_block: bytes, daps: Iterable[DapBlock] = (), *, cipher_key: bytes = b"", icv: bytes | None = None
) -> bytes:
    """The load file that LOAD brings (table 11-58).

    Args:
        data_block: load file data block.
        daps: signatures, which go first.
        cipher_key: AES key of a domain with the privilege for ciphered load files; empty for a plain one.
        icv: 16 bytes, random when absent.
    """
    blocks = b"".join(
        tlv.encode(_DAP_BLOCK, tlv.encode(_DAP_DOMAIN, domain), tlv.encode(_DAP_SIGNATURE, signature))
        for domain, signature in daps
    )
    if not cipher_key:
        return blocks + tlv.encode(_DATA_BLOCK, data_block)
    vector = os.urandom(_AES_BLOCK) if icv is None else icv
    padded = data_block + b"\x80" + bytes(-(len(data_block) + 1) % _AES_BLOCK)
    ciphered = Cipher(AES(cipher_key), CBC(vector)).encryptor().update(padded)
    return blocks + tlv.encode(_ICV, vector) + tlv.encode(_CIPHERED_BLOCK, ciphered)


def load_commands(load_file: bytes, max_data: int) -> list[CommandApdu]:
    """LOAD commands for an encoded load file.

    Raises:
        PersonalizationError: "too-many-blocks": P2 counts 256 at most.
    """
    parts = [load_file[start : start + max_data] for start in range(0, len(load_file), max_data)]
    if len(parts) > _MAX_BLOCKS:
        raise PersonalizationError("too-many-blocks", blocks=len(parts), limit=_MAX_BLOCKS)
    last = len(parts) - 1
    return [
        CommandApdu(_CLA, _INS_LOAD, _LAST_BLOCK if number == last else 0, number, part, MAX_SHORT_NE)
        for number, part in enumerate(parts)
    ]


class _Malformed(ValueError):
    """Not a load file; the text says where."""


def _of_zip(content: bytes) -> dict[Component, bytes]:
    parts: dict[Component, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for item in archive.infolist():
            component = _FILE_NAMES.get(item.filename.rpartition("/")[2].lower())
            if component is None:
                continue
            if component in parts:
                raise _Malformed(f"two components {component.name}")
            if item.file_size > _MAX_COMPONENT:
                raise _Malformed(f"component {component.name} is longer than a component can be")
            parts[component] = archive.read(item)
    for component, part in parts.items():
        if len(part) < _COMPONENT_HEADER or part[0] != component or len(part) != _COMPONENT_HEADER + _number(part, 1):
            raise _Malformed(f"component {component.name} does not have the length that it tells")
    return parts


def _of_stream(content: bytes) -> dict[Component, bytes]:
    parts: dict[Component, bytes] = {}
    offset = 0
    while offset < len(content):
        end = offset + _COMPONENT_HEADER + _number(content, offset + 1)
        if end > len(content) or content[offset] == 0:
            raise _Malformed(f"no component at offset {offset}")
        if content[offset] in _KNOWN:
            component = Component(content[offset])
            if component in parts:
                raise _Malformed(f"two components {component.name}")
            parts[component] = content[offset:end]
        offset = end
    return parts


def _number(raw: bytes, offset: int) -> int:
    """Two bytes, big-endian."""
    field = raw[offset : offset + 2]
    if len(field) != 2:  # noqa: PLR2004 - two bytes
        raise _Malformed(f"cut short at offset {offset}")
    return int.from_bytes(field, "big")


def _header(parts: Mapping[Component, bytes]) -> tuple[bytes, tuple[int, int]]:
    """Package AID and version: magic (4), CAP version (2), flags (1), minor, major, AID length, AID (6.3)."""
    content = parts.get(Component.HEADER, b"")[_COMPONENT_HEADER:]
    if content[:4] != _MAGIC:
        raise _Malformed("no header component")
    aid, _ = _aid(content, 9)
    return aid, (content[8], content[7])


def _aid(raw: bytes, offset: int) -> tuple[bytes, int]:
    """The AID behind its length at ``offset``, and where it ends."""
    length = raw[offset] if offset < len(raw) else 0
    end = offset + 1 + length
    if length not in _AID_LENGTHS or end > len(raw):
        raise _Malformed("an AID is malformed")
    return raw[offset + 1 : end], end


def _applets(part: bytes | None) -> Iterator[bytes]:
    """Applet component: count (1), then AID length, AID, offset of the install method (2) each (6.5)."""
    if part is None:
        return
    content = part[_COMPONENT_HEADER:]
    offset = 1
    for _ in range(content[0] if content else 0):
        aid, end = _aid(content, offset)
        yield aid
        offset = end + 2


def _imports(part: bytes | None) -> Iterator[ImportedPackage]:
    """Import component: count (1), then minor, major, AID length, AID each (6.6)."""
    if part is None:
        return
    content = part[_COMPONENT_HEADER:]
    offset = 1
    for _ in range(content[0] if content else 0):
        aid, end = _aid(content, offset + 2)
        yield ImportedPackage(aid, content[offset + 1], content[offset])
        offset = end
