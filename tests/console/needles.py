"""Forms in which a secret could lie in a file."""

from __future__ import annotations

import base64
import contextlib
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SHORTEST = 6
"""Shorter byte strings turn up by chance in megabytes of ciphertext and prove nothing."""

ENCODINGS = ("utf-8", "utf-16-le", "gb18030")
_ZLIB_HEADERS = (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_MOST_UNPACKED = 1 << 22


def forms(secret: str | bytes) -> dict[str, bytes]:
    """All byte strings under which ``secret`` would be found, by the name of the form."""
    raw = {"raw": secret} if isinstance(secret, bytes) else {name: secret.encode(name) for name in ENCODINGS}
    found: dict[str, bytes] = {}
    for name, value in raw.items():
        found[name] = value
        found[f"{name} hex"] = value.hex().encode()
        found[f"{name} HEX"] = value.hex().upper().encode()
        for shift in range(3):
            found[f"{name} base64+{shift}"] = _base64_core(value, shift)
    return {name: value for name, value in found.items() if len(value) >= SHORTEST}


def _base64_core(value: bytes, shift: int) -> bytes:
    """The base64 characters that ``value`` gives at an offset of ``shift`` bytes, whatever surrounds it."""
    encoded = base64.b64encode(bytes(shift) + value)
    start = (shift * 8 + 5) // 6
    end = (shift + len(value)) * 8 // 6
    return encoded[start:end]


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """A file's bytes, and those of what is packed inside it."""
    data = path.read_bytes()
    yield str(path), data
    yield from _unpacked(str(path), data)


def _unpacked(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.namelist():
                inner = archive.read(entry)
                yield f"{name}!{entry}", inner
                yield from _unpacked(f"{name}!{entry}", inner)
    for header in _ZLIB_HEADERS:
        start = data.find(header)
        while start >= 0:
            with contextlib.suppress(zlib.error):
                yield f"{name}@{start}", zlib.decompressobj().decompress(data[start:], _MOST_UNPACKED)
            start = data.find(header, start + 1)


def search(roots: Iterable[Path], secrets: Mapping[str, str | bytes]) -> list[str]:
    """Where any form of any secret lies below ``roots``; the findings name the secret, never show it."""
    wanted = [(label, form, value) for label, secret in secrets.items() for form, value in forms(secret).items()]
    findings: list[str] = []
    for root in roots:
        for path in [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file()):
            for name, data in contents(path):
                findings += [f"{label} as {form} in {name}" for label, form, value in wanted if value in data]
    return findings
