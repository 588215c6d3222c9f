"""Zip archives of any size, read where they lie: the directory as a stream, an entry when it is asked for.

`archive.BoundedArchive` holds an archive and its whole directory in memory, which is right for a delivery of some
thousand pictures. Here a million entries need the memory of one.

Source: PKWARE APPNOTE 6.3.10, clauses 4.3.7 (local header), 4.3.12 (central directory header), 4.3.14 (zip64 end
record), 4.3.15 (zip64 locator), 4.3.16 (end record) and 4.5.3 (zip64 extra field).
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from personalization.errors import PersonalizationError
from personalization.intake.archive import is_litter, judge_form, judge_path
from personalization.intake.limits import ArchiveLimits

_LOCAL: Final = struct.Struct("<4s2xHHxxxxxxxxxxxxxxxxHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LENGTHS: Final = struct.Struct("<24xIHHH")
"""In a central directory header: unpacked size, and the lengths of name, extra field and comment."""

_END: Final = struct.Struct("<4sHHHHIIH")
_ZIP64_END: Final = struct.Struct("<4sQHHIIQQQQ")
_ZIP64_LOCATOR: Final = struct.Struct("<4sIQI")
_LOCAL_MAGIC: Final = b"PK\x03\x04"
_CENTRAL_MAGIC: Final = b"PK\x01\x02"
_END_MAGIC: Final = b"PK\x05\x06"
_ZIP64_END_MAGIC: Final = b"PK\x06\x06"
_ZIP64_LOCATOR_MAGIC: Final = b"PK\x06\x07"
_ZIP64_EXTRA: Final = 0x0001
_FULL_32: Final = 0xFFFFFFFF
_FULL_16: Final = 0xFFFF
_LONGEST_COMMENT: Final = 0xFFFF
_UTF8_FLAG: Final = 0x0800
_DIRECTORY_PIECE: Final = 1 << 20
_HEADER_GUESS: Final = 160
"""Bytes of a local header with name and extra field that are read together with the content."""
_LOCATOR: Final = struct.Struct(">QIIIB")
LOCATOR_LENGTH: Final = _LOCATOR.size
"""Bytes of `ZipEntry.locator`."""


class Readable(Protocol):
    """Bytes at rest that are read in pieces."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``; fewer at the end only."""
        ...


class ZipEntry(NamedTuple):
    """Where the content of one entry is, and what the directory declares of it.

    Attributes:
        name: as the directory has it; file names of pictures are personal data.
        header: offset of its local header.
        packed: bytes in the archive.
        unpacked: bytes of the content.
        crc: CRC-32 of the content.
        method: 0 stored, 8 deflated.
    """

    name: str
    header: int
    packed: int
    unpacked: int
    crc: int
    method: int

    def __repr__(self) -> str:
        return f"ZipEntry({self.unpacked} bytes)"

    def locator(self) -> bytes:
        """All but the name, for an index."""
        return _LOCATOR.pack(*self[1:])

    @classmethod
    def of_locator(cls, raw: bytes) -> ZipEntry:
        """Undo `locator`; the name stays unknown."""
        return cls("", *_LOCATOR.unpack(raw))


class DirectoryPiece(NamedTuple):
    """Entries of a directory that stand one behind the other.

    Attributes:
        offset: first byte, in the archive.
        size: bytes.
        entries: how many, folders included.
    """

    offset: int
    size: int
    entries: int


class ZipDirectory:
    """One archive at rest.

    Args:
        content: the archive.
        limits: bounds; `entries` and `unpacked_bytes` are those of what is read in pieces.
        label: name for messages, free of personal data.

    Raises:
        PersonalizationError: "batch-archive-unreadable": it has no directory where one has to be.
    """

    __slots__ = ("_content", "_directory", "_label", "_limits", "count")

    def __init__(self, content: Readable, limits: ArchiveLimits, label: str) -> None:
        self._content = content
        self._limits = limits
        self._label = label
        self.count, self._directory = self._find_directory()
        """Entries that the archive declares, folders included."""
        if self.count > limits.entries:
            raise PersonalizationError("batch-archive-entries", archive=label, entries=self.count, limit=limits.entries)

    def pieces(self, most: int) -> Iterator[DirectoryPiece]:
        """The directory in pieces of at most ``most`` entries, for several who read it; `entries` judges what is there.

        Raises:
            PersonalizationError: the archive expands beyond reason, or its directory is not what the end record tells.
        """
        begin, end = self._directory
        window, start, at = b"", begin, 0
        first, found, total = begin, 0, 0
        while (position := start + at) < end:
            if len(window) - at < _CENTRAL.size:
                start, at = position, 0
                window = self._content.read(start, min(_DIRECTORY_PIECE, end - start))
                if len(window) < _CENTRAL.size:
                    raise self._unreadable()
            unpacked, name, extra, comment = _LENGTHS.unpack_from(window, at)
            at += _CENTRAL.size + name + extra + comment
            total += unpacked
            found += 1
            if found % most == 0:
                yield DirectoryPiece(first, start + at - first, most)
                first = start + at
        self._judge_size(total)
        if position != end or found != self.count:
            raise self._unreadable()
        if found % most:
            yield DirectoryPiece(first, end - first, found % most)

    def entries(self, within: DirectoryPiece | None = None) -> Iterator[ZipEntry]:
        """The files inside, without folders and litter, each judged as `BoundedArchive` judges it.

        Two entries of one name are not noticed here: whoever needs unique names looks for them in an index.

        Args:
            within: a piece of the directory; None reads all of it.

        Raises:
            PersonalizationError: an entry that leads out of its folder, is encrypted, packed in another way, expands
                beyond reason, or a directory that is not what the end record tells.
        """
        start, end = self._directory if within is None else (within.offset, within.offset + within.size)
        found, total, window, at = 0, 0, b"", 0
        position = start
        while True:
            if len(window) - at < _CENTRAL.size + 3 * _FULL_16 and position < end:
                piece = self._content.read(position, min(_DIRECTORY_PIECE, end - position))
                position += len(piece)
                window, at = window[at:] + piece, 0
                if not piece:
                    raise self._unreadable()
            if at == len(window):
                break
            entry, attributes, flags, at = self._header(window, at)
            found += 1
            total += entry.unpacked
            self._judge_size(total)
            judge_path(entry.name, attributes, self._label)
            judge_form(flags, entry.method, entry.packed, entry.unpacked, self._limits, self._label)
            if not entry.name.endswith("/") and not is_litter(entry.name):
                yield entry
        if found != (self.count if within is None else within.entries):
            raise self._unreadable()

    def read(self, entry: ZipEntry) -> bytes:
        """The content of an entry: as many bytes as the directory declares, with the CRC that it declares.

        Raises:
            PersonalizationError: "batch-archive-unreadable".
        """
        start, raw = self._data(entry)
        packed = raw[start : start + entry.packed]
        if entry.method == zipfile.ZIP_STORED:
            content = packed
        else:
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                content = unpacker.decompress(packed, entry.unpacked + 1)
            except zlib.error:
                raise self._unreadable() from None
        if len(content) != entry.unpacked or zlib.crc32(content) != entry.crc:
            raise self._unreadable()
        return content

    def data_offset(self, entry: ZipEntry) -> int:
        """Where the packed bytes of an entry begin."""
        name, extra = self._local(self._content.read(entry.header, _LOCAL.size))
        return entry.header + _LOCAL.size + name + extra

    def name(self, entry: ZipEntry) -> str:
        """The name in the local header, for an entry that came out of an index."""
        raw = self._content.read(entry.header, _LOCAL.size + _FULL_16)
        name, _ = self._local(raw)
        return raw[_LOCAL.size : _LOCAL.size + name].decode("utf-8", errors="replace")

    def _judge_size(self, total: int) -> None:
        if total > self._limits.unpacked_bytes:
            raise PersonalizationError(
                "batch-archive-too-large", archive=self._label, bytes=total, limit=self._limits.unpacked_bytes
            )

    def _data(self, entry: ZipEntry) -> tuple[int, bytes]:
        """Where the packed bytes begin in what was read, and what was read."""
        raw = self._content.read(entry.header, _HEADER_GUESS + entry.packed)
        name, extra = self._local(raw)
        start = _LOCAL.size + name + extra
        if start + entry.packed > len(raw):
            raw = self._content.read(entry.header, start + entry.packed)
        return start, raw

    def _local(self, raw: bytes) -> tuple[int, int]:
        """Lengths of name and extra field."""
        if len(raw) < _LOCAL.size or not raw.startswith(_LOCAL_MAGIC):
            raise self._unreadable()
        _, _, _, name, extra = _LOCAL.unpack_from(raw)
        return name, extra

    def _header(self, window: bytes, at: int) -> tuple[ZipEntry, int, int, int]:
        """An entry, its external attributes, its flags, and where the next one begins."""
        if len(window) - at < _CENTRAL.size or window[at : at + 4] != _CENTRAL_MAGIC:
            raise self._unreadable()
        (_, _, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length, comment_length, _, _,
         attributes, header) = _CENTRAL.unpack_from(window, at)  # fmt: skip
        name_at = at + _CENTRAL.size
        extra_at = name_at + name_length
        following = extra_at + extra_length + comment_length
        if following > len(window):
            raise self._unreadable()
        if _FULL_32 in (packed, unpacked, header):
            extra = window[extra_at : extra_at + extra_length]
            unpacked, packed, header = self._zip64(extra, unpacked, packed, header)
        encoding = "utf-8" if flags & _UTF8_FLAG else "cp437"
        name = window[name_at:extra_at].decode(encoding, errors="replace")
        return ZipEntry(name, header, packed, unpacked, crc, method), attributes, flags, following

    def _zip64(self, extra: bytes, *declared: int) -> list[int]:
        """The values that did not fit, each replaced by the next of the zip64 field."""
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, at)
            if kind == _ZIP64_EXTRA:
                field = extra[at + 4 : at + 4 + length]
                wide = iter([int.from_bytes(field[place : place + 8], "little") for place in range(0, length - 7, 8)])
                values = [next(wide, -1) if value == _FULL_32 else value for value in declared]
                if min(values) >= 0:
                    return values
            at += 4 + length
        raise self._unreadable()

    def _find_directory(self) -> tuple[int, tuple[int, int]]:
        """Number of entries, and where the directory begins and ends."""
        size = self._content.size
        tail_at = max(0, size - _END.size - _LONGEST_COMMENT)
        tail = self._content.read(tail_at, size - tail_at)
        at = tail.rfind(_END_MAGIC)
        if at < 0 or len(tail) - at < _END.size:
            raise self._unreadable()
        _, disk, _, _, count, length, offset, _ = _END.unpack_from(tail, at)
        end = tail_at + at
        if _FULL_32 in (length, offset) or count == _FULL_16:
            count, length, offset, end = self._zip64_end(end)
        if disk or offset + length != end:
            raise self._unreadable()
        return count, (offset, end)

    def _zip64_end(self, end: int) -> tuple[int, int, int, int]:
        """Number of entries, length and offset of the directory, and where it has to end."""
        locator = self._content.read(max(0, end - _ZIP64_LOCATOR.size), _ZIP64_LOCATOR.size)
        if len(locator) != _ZIP64_LOCATOR.size or not locator.startswith(_ZIP64_LOCATOR_MAGIC):
            raise self._unreadable()
        place = _ZIP64_LOCATOR.unpack(locator)[2]
        record = self._content.read(place, _ZIP64_END.size)
        if len(record) != _ZIP64_END.size or not record.startswith(_ZIP64_END_MAGIC):
            raise self._unreadable()
        _, _, _, _, _, _, _, count, length, offset = _ZIP64_END.unpack(record)
        return count, length, offset, place

    def _unreadable(self) -> PersonalizationError:
        return PersonalizationError("batch-archive-unreadable", archive=self._label)
