"""Forms in which a secret could lie in a file."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SHORTEST = 6
"""Shorter byte strings turn up by chance in megabytes of ciphertext and prove nothing."""

SHORTEST_IN_TEXT = 4
"""In a text file a name of two characters in GB 18030 is no accident, unless its four bytes are letters of base64."""

ENCODINGS = ("utf-8", "utf-16-le", "gb18030")
PIN = "PIN"
"""Labels of secrets that are a few digits drawn at random begin with this: what may equal one, see `search`."""

_ZLIB_HEADERS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_MOST_UNPACKED = 1 << 22
_START = 4
_SQLITE = b"SQLite format 3\x00"
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_JSON_NUMBERS = re.compile(rb'(?<=":)\s*\d+(?=\s*[,}])|\[[\d.,\s]+\]')
_HEX_OF_DER_TIME = re.compile(rb"(?:3\d){12,14}5a", re.IGNORECASE)
_SHORT_WORD = re.compile(rb"[0-9A-Fa-f]{1,10}")


def forms(secret: str | bytes) -> dict[str, bytes]:
    """All byte strings under which ``secret`` would be found, by the name of the form."""
    raw = {"raw": secret} if isinstance(secret, bytes) else {name: secret.encode(name) for name in ENCODINGS}
    found: dict[str, bytes] = {}
    for name, value in raw.items():
        if len(value) >= SHORTEST_IN_TEXT:
            found[name] = value
        found[f"{name} hex"] = value.hex().encode()
        found[f"{name} HEX"] = value.hex().upper().encode()
        for shift in range(3):
            core = _base64_core(value, shift)
            if len(core) >= SHORTEST:
                found[f"{name} base64+{shift}"] = core
    return found


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
    if data.startswith(_SQLITE):
        yield from _cells(path)


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
            inner = _inflate(memoryview(data)[start:])
            if inner:
                yield f"{name}@{start}", inner
            start = data.find(header, start + 1)


def _inflate(data: memoryview) -> bytes:
    """What a zlib stream gives, up to its end or to where it stops being one."""
    unpacker, inner = zlib.decompressobj(), bytearray()
    with contextlib.suppress(zlib.error):
        for at in range(0, min(len(data), _MOST_UNPACKED), 64):
            inner += unpacker.decompress(data[at : at + 64], _MOST_UNPACKED)
            if unpacker.eof:
                break
    return bytes(inner)


def _cells(path: Path) -> Iterator[tuple[str, bytes]]:
    """Values of a database, whole: in the file a long one is scattered over pages; with what only its WAL holds."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            texts: list[str] = []
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - names of the database itself
                texts += (value for value in row if isinstance(value, str))
                for value in row:
                    if isinstance(value, bytes):
                        yield f"{path}#{table}", value
                        yield from _unpacked(f"{path}#{table}", value)
            yield f"{path}#{table}", "\n".join(texts).encode()


class Needles:
    """Forms of secrets, by their first four bytes: few of thousands begin with bytes that a file has at all."""

    def __init__(self) -> None:
        self._by_start: dict[int, list[tuple[str, bytes]]] = {}

    def add(self, words: str, value: bytes) -> None:
        """One form; ``words`` tell of it in a finding."""
        (start,) = _starts(value[:_START])
        self._by_start.setdefault(start, []).append((words, value))

    def within(self, data: bytes, shortest: int) -> list[str]:
        """The words for every form of so many bytes or more that lies in ``data``."""
        return [
            words
            for start in self._by_start.keys() & _starts(data)
            for words, value in self._by_start[start]
            if len(value) >= (SHORTEST if value.isascii() else shortest) and _lies_in(data, value)
        ]


def _lies_in(data: bytes, value: bytes) -> bool:
    """Whether ``data`` has ``value``; few digits as a word alone: numbers of cards and hashes have such digits too."""
    if value not in data:
        return False
    if not _SHORT_WORD.fullmatch(value):
        return True
    return re.search(rb"(?<![0-9A-Fa-f])(?<![0-9][.,])" + value + rb"(?![0-9A-Fa-f])", data) is not None


def _starts(data: bytes) -> set[int]:
    """Every four bytes in a row, as numbers."""
    view, found = memoryview(data), set[int]()
    for shift in range(min(_START, len(data))):
        found.update(view[shift : shift + (len(data) - shift) // _START * _START].cast("I"))
    return found


def search(roots: Iterable[Path], secrets: Mapping[str, str | bytes], public: Iterable[str] = ()) -> list[str]:
    """Where any form of any secret lies below ``roots``; the findings name the secret, never show it.

    A PIN may equal by chance what is no PIN: a time in microseconds, which is a bare JSON number (a PIN is text
    wherever it occurs), a part of a certificate's time in hexadecimal, or one of the ``public`` words, which many know.
    """
    known = frozenset(public)
    anywhere, of_pins = Needles(), Needles()
    for label, secret in secrets.items():
        for form, value in forms(secret).items():
            if not label.startswith(PIN):
                anywhere.add(f"{label} as {form}", value)
            elif secret not in known:
                of_pins.add(f"{label} as {form}", value)
    findings: list[str] = []
    for root in roots:
        for path in [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file()):
            for name, data in contents(path):
                shortest = SHORTEST if _CONTROLS.search(data) else SHORTEST_IN_TEXT
                without_numbers = _HEX_OF_DER_TIME.sub(b"", _JSON_NUMBERS.sub(b"", data))
                for needles, text in ((anywhere, data), (of_pins, without_numbers)):
                    findings += [f"{words} in {name}" for words in needles.within(text, shortest)]
    return findings
