"""Zip archives from outside: read within bounds, or refused with the reason."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.limits import ArchiveLimits

_ENCRYPTED_FLAG: Final = 0x01
_UNIX_MODE_SHIFT: Final = 16
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_LITTER: Final = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"})


class BoundedArchive:
    """A zip archive whose entries were all judged before the first is unpacked.

    Refused are: more entries or bytes than the limits, an expansion that no picture or table has, paths that leave the
    folder, links, encrypted entries, packing methods other than stored and deflated, and two entries of one name.
    Folders and the litter that desktop systems add are passed over.

    Args:
        content: the archive.
        limits: the bounds.
        label: name for messages, free of personal data.
    """

    def __init__(self, content: bytes, limits: ArchiveLimits, label: str) -> None:
        self._label = label
        self._limits = limits
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError) as error:
            raise PersonalizationError("batch-archive-unreadable", archive=label) from error
        self._entries = self._judge(self._zip.infolist())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files inside, without folders and litter, in archive order."""
        return tuple(self._entries)

    def size(self, name: str) -> int:
        """Unpacked size of an entry in bytes, as the directory declares it."""
        return self._entries[name].file_size

    def read(self, name: str) -> bytes:
        """The unpacked content of an entry; never more bytes than its directory entry declares."""
        try:
            return self._zip.read(self._entries[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise PersonalizationError("batch-archive-unreadable", archive=self._label) from error

    def _judge(self, found: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        if len(found) > self._limits.entries:
            raise PersonalizationError(
                "batch-archive-entries", archive=self._label, entries=len(found), limit=self._limits.entries
            )
        entries: dict[str, zipfile.ZipInfo] = {}
        total = 0
        for entry in found:
            # orig_filename is what the archive says; ZipInfo cuts the other at a zero byte and turns separators.
            judge_path(entry.orig_filename, entry.external_attr, self._label)
            judge_form(
                entry.flag_bits, entry.compress_type, entry.compress_size, entry.file_size, self._limits, self._label
            )
            total += entry.file_size
            if entry.is_dir() or is_litter(entry.filename):
                continue
            if entry.filename in entries:
                raise PersonalizationError("batch-archive-duplicate", archive=self._label)
            entries[entry.filename] = entry
        if total > self._limits.unpacked_bytes:
            raise PersonalizationError(
                "batch-archive-too-large", archive=self._label, bytes=total, limit=self._limits.unpacked_bytes
            )
        return entries


def is_litter(name: str) -> bool:
    """Whether a desktop system has added this entry."""
    return not _LITTER.isdisjoint(name.split("/"))


def judge_path(name: str, attributes: int, label: str) -> None:
    """Refuse a name that leads out of its folder, and links.

    Args:
        name: as the archive says it.
        attributes: external attributes, the Unix mode in the upper half.
        label: name of the archive, for the message.

    Raises:
        PersonalizationError: "batch-archive-path".
    """
    leaves = name.startswith("/") or ".." in name.split("/") or "\\" in name or ":" in name or "\0" in name
    if leaves or stat.S_ISLNK(attributes >> _UNIX_MODE_SHIFT):
        raise PersonalizationError("batch-archive-path", archive=label)


def judge_form(flags: int, method: int, packed: int, unpacked: int, limits: ArchiveLimits, label: str) -> None:
    """Refuse what is encrypted, packed in another way, or expands as no picture or table does.

    Args:
        flags: general purpose bits.
        method: of packing.
        packed: bytes in the archive.
        unpacked: bytes of the content.
        limits: the bounds.
        label: name of the archive, for the message.

    Raises:
        PersonalizationError: "batch-archive-encrypted", "-method", "-bomb", "-too-large".
    """
    if flags & _ENCRYPTED_FLAG:
        raise PersonalizationError("batch-archive-encrypted", archive=label)
    if method not in _METHODS:
        raise PersonalizationError("batch-archive-method", archive=label, method=method)
    if unpacked > limits.expansion_floor and unpacked > limits.expansion * max(1, packed):
        raise PersonalizationError("batch-archive-bomb", archive=label, bytes=unpacked)
    if unpacked > limits.archive_bytes:
        raise PersonalizationError("batch-archive-too-large", archive=label, bytes=unpacked, limit=limits.archive_bytes)
