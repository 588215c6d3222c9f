"""Pieces of a delivery at rest: a part of the delivered file itself, or a sealed copy of what had to be unpacked.

A sealed copy is blocks of `BLOCK` bytes, each AES-256-GCM under the batch's transport key with its number as associated
data, so that nothing personal lies on the disk in clear and any place can be read without what is before it.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from personalization.atomic_file import open_atomically
from personalization.errors import PersonalizationError, unread
from personalization.intake.zip_directory import Readable
from personalization.keys.keystore import KeyName, KeyStore

BLOCK: Final = 1 << 18
_OVERHEAD: Final = 28
_NUMBER: Final = 8
_CONTEXT: Final = b"delivery part\x00"


@dataclass(frozen=True, slots=True)
class PartPlace:
    """Where a part is; picklable, no content.

    Attributes:
        path: the file.
        offset: first byte of the part; 0 in a sealed copy.
        size: bytes of the part in clear.
        sealed: whether it is a sealed copy.
    """

    path: str
    offset: int
    size: int
    sealed: bool = False

    def open(self, keys: KeyStore) -> OpenPart:
        """Open it for reading.

        Args:
            keys: the batch's store, for a sealed copy.

        Raises:
            PersonalizationError: "batch-file-missing", exit 3.
        """
        try:
            stream = Path(self.path).open("rb", buffering=0)  # noqa: SIM115 - the part that is returned closes it
        except OSError as error:
            missing = PersonalizationError("batch-file-missing", exit_code=3, file=Path(self.path).name)
            raise unread(error, Path(self.path), missing) from None
        return _SealedPart(stream, self.size, keys) if self.sealed else _FilePart(stream, self.offset, self.size)


class OpenPart(Readable, Protocol):
    """A part that is open for reading."""

    def close(self) -> None:
        """Let go of the file."""
        ...


class _FilePart:
    """A window in a file."""

    __slots__ = ("_offset", "_stream", "size")

    def __init__(self, stream: io.FileIO, offset: int, size: int) -> None:
        self._stream = stream
        self._offset = offset
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """See `Readable.read`."""
        self._stream.seek(self._offset + offset)
        wanted = min(length, self.size - offset)
        content = self._stream.read(wanted) if wanted > 0 else b""
        return content or b""

    def close(self) -> None:
        """See `OpenPart.close`."""
        self._stream.close()


class _SealedPart:
    """A sealed copy; the block that was opened last is kept."""

    __slots__ = ("_block", "_keys", "_number", "_stream", "size")

    def __init__(self, stream: io.FileIO, size: int, keys: KeyStore) -> None:
        self._stream = stream
        self._keys = keys
        self._number = -1
        self._block = b""
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """See `Readable.read`."""
        end = min(offset + length, self.size)
        pieces: list[bytes] = []
        while offset < end:
            number, start = divmod(offset, BLOCK)
            piece = self._opened(number)[start : start + end - offset]
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """See `OpenPart.close`."""
        self._stream.close()

    def _opened(self, number: int) -> bytes:
        if number != self._number:
            self._stream.seek(number * (BLOCK + _OVERHEAD))
            sealed = self._stream.read(BLOCK + _OVERHEAD) or b""
            self._block = self._keys.unseal(KeyName.TRANSPORT, sealed, _context(number))
            self._number = number
        return self._block


def seal_part(source: IO[bytes], path: Path, keys: KeyStore, limit: int, label: str) -> PartPlace:
    """Copy a stream sealed, block by block.

    Args:
        source: in clear.
        path: of the copy.
        keys: the batch's store.
        limit: bytes that it may have.
        label: name of the part, for the message.

    Raises:
        PersonalizationError: "batch-archive-too-large".
    """
    size = number = 0
    with open_atomically(path) as stream:
        while block := source.read(BLOCK):
            size += len(block)
            if size > limit:
                raise PersonalizationError("batch-archive-too-large", archive=label, bytes=size, limit=limit)
            stream.write(keys.seal(KeyName.TRANSPORT, block, _context(number)))
            number += 1
    return PartPlace(os.fspath(path), 0, size, sealed=True)


class PartStream(io.RawIOBase):
    """A part to its end, for readers of streams.

    Args:
        part: what is read.
        at: first byte.
    """

    def __init__(self, part: Readable, at: int = 0) -> None:
        super().__init__()
        self._part = part
        self._at = at

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what io calls it with
        """Fill ``buffer`` as far as there is content."""
        content = self._part.read(self._at, len(buffer))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def _context(number: int) -> bytes:
    return _CONTEXT + number.to_bytes(_NUMBER, "big")
