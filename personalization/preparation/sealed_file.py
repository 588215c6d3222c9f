"""A file of sealed records: written as a stream, read at random, readable by nobody without its key.

```
offset 0   8   magic "PCSEALED"
       8   2   version of this form, 2
       10  16  purpose, ASCII, padded with 00: "prepared", "faces", "mailer", "source"
       26  32  batch identifier, ASCII, padded with 00
       58  3   check value of the key
       61  4   number of records
       65  8   offset of the index
       73  60  the file's own key, drawn at random, sealed under the key store's
       133     sealed records, one behind the other
index      16 for each record: row number (4) ‖ offset (8) ‖ length (4)
seal       16  AES-256-GCM of nothing, which authenticates SHA-256(header ‖ sealed key ‖ index)
```

Numbers are big-endian. A record is AES-256-GCM under the file's key (ciphertext ‖ tag 16; the nonce is its row number)
with associated data purpose ‖ 00 ‖ batch identifier ‖ 00 ‖ row number (4), so that no record can stand for another one;
the seal at the end, whose nonce is no row's, shows a record that is missing, doubled or moved. The file appears under
its name when it is complete. Destroying the key store's key closes the file's key, and with it the file.

The file's key saves a token one operation for each record. Files of version 1, which had none, are still read: there a
record is sealed by the key store itself, nonce in front, and so is the seal.

Source: NIST SP 800-38D, clauses 5.2.1 and 8.2.1 (a nonce that is a counter).
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Final, NamedTuple, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from personalization.atomic_file import open_atomically
from personalization.errors import PersonalizationError, unread
from personalization.keys.keystore import KeyName, KeyStore

_MAGIC: Final = b"PCSEALED"
_VERSION: Final = 2
_WITHOUT_OWN_KEY: Final = 1
_HEADER: Final = struct.Struct(">8sH16s32s3sIQ")
_ENTRY: Final = struct.Struct(">IQI")
_ROW: Final = struct.Struct(">I")
_OWN_KEY: Final = 32
_NONCE: Final = 12
_TAG: Final = 16
_SEALED_KEY: Final = _NONCE + _OWN_KEY + _TAG
_SEAL_NONCE: Final = b"\xff" * _NONCE
_INDEX_CONTEXT: Final = b"index\x00"
_KEY_CONTEXT: Final = b"key\x00"
_CHUNK: Final = 1 << 16


class Purpose(Enum):
    """What a sealed file holds, and the key that opens it."""

    PREPARED = ("prepared", KeyName.TRANSPORT)
    FACES = ("faces", KeyName.TRANSPORT)
    SOURCE = ("source", KeyName.TRANSPORT)
    MAILER = ("mailer", KeyName.MAILER)

    @property
    def label(self) -> str:
        """Name in the header."""
        return self.value[0]

    @property
    def key(self) -> KeyName:
        """The sealing key."""
        return self.value[1]


class _Header(NamedTuple):
    purpose: bytes
    batch: bytes
    check_value: bytes
    records: int
    index_offset: int

    def encode(self, version: int = _VERSION) -> bytes:
        return _HEADER.pack(_MAGIC, version, *self)


class SealedWriter:
    """Appends records to a file that is being written; made by `create_sealed`.

    Rows ascend. The index waits in a second file, so that a long batch needs no more memory than a short one.
    """

    __slots__ = (
        "_aead",
        "_batch",
        "_check_value",
        "_context",
        "_count",
        "_index",
        "_last_row",
        "_offset",
        "_purpose",
        "_sealed_key",
        "_stream",
    )

    def __init__(self, stream: BinaryIO, index: IO[bytes], purpose: Purpose, batch: str, keystore: KeyStore) -> None:
        self._stream = stream
        self._index = index
        self._purpose = purpose
        self._batch = batch
        self._check_value = keystore.check_value(purpose.key)
        self._context = _context(purpose, batch)
        own_key = os.urandom(_OWN_KEY)
        self._aead = AESGCM(own_key)
        self._sealed_key = keystore.seal(purpose.key, own_key, _KEY_CONTEXT + self._context)
        self._count = 0
        self._last_row = -1
        self._offset = _HEADER.size + len(self._sealed_key)
        stream.write(self._header(0, 0).encode() + self._sealed_key)

    def append(self, row_number: int, plaintext: bytes) -> None:
        """Seal one record and write it.

        Raises:
            ValueError: the row is not behind the last one.
        """
        if row_number <= self._last_row:
            raise ValueError(f"row {row_number} comes after row {self._last_row}")
        self._last_row = row_number
        associated = self._context + _ROW.pack(row_number)
        sealed = self._aead.encrypt(row_number.to_bytes(_NONCE, "big"), plaintext, associated)
        self._index.write(_ENTRY.pack(row_number, self._offset, len(sealed)))
        self._stream.write(sealed)
        self._offset += len(sealed)
        self._count += 1

    def finish(self) -> None:
        """Write index and seal, and complete the header."""
        header = self._header(self._count, self._offset).encode()
        digest = hashlib.sha256(header + self._sealed_key)
        self._index.seek(0)
        while part := self._index.read(_CHUNK):
            digest.update(part)
            self._stream.write(part)
        seal = self._aead.encrypt(_SEAL_NONCE, b"", _INDEX_CONTEXT + self._context + digest.digest())
        self._stream.write(seal)
        self._stream.seek(0)
        self._stream.write(header)

    def _header(self, count: int, index_offset: int) -> _Header:
        return _Header(
            self._purpose.label.encode("ascii"), self._batch.encode("ascii"), self._check_value, count, index_offset
        )


@contextmanager
def create_sealed(
    path: Path, purpose: Purpose, batch: str, keystore: KeyStore, *, flush: bool = True
) -> Generator[SealedWriter]:
    """Write a sealed file; it appears at ``path`` when the block ends well, and not at all otherwise.

    Args:
        path: of the file.
        purpose: what it holds.
        batch: identifier of the batch.
        keystore: has the key of that purpose.
        flush: see `open_atomically`.
    """
    with open_atomically(path, flush=flush) as stream, tempfile.TemporaryFile() as index:
        writer = SealedWriter(stream, index, purpose, batch, keystore)
        yield writer
        writer.finish()


class SealedReader:
    """Reads records by index or by row; the index stays in the file, so a million rows need no memory.

    Args:
        path: the file.
        purpose: what it has to hold.
        keystore: has the key of that purpose.
        batch: identifier of the batch that it has to be of, for a sound file may stand in the place of another one;
            None takes any.

    Raises:
        PersonalizationError: "sealed-file-missing" (exit 3), "sealed-file-malformed", "sealed-file-other-key" (the
            file is for another key), "sealed-file-other-batch", "sealed-data-refused" (header or index were changed).
    """

    __slots__ = (
        "_aead",
        "_context",
        "_header",
        "_keystore",
        "_path",
        "_purpose",
        "_sealed_key",
        "_stream",
        "_version",
        "batch",
    )

    def __init__(self, path: Path, purpose: Purpose, keystore: KeyStore, *, batch: str | None = None) -> None:
        self._path = path
        self._purpose = purpose
        self._keystore = keystore
        try:
            self._stream = path.open("rb")
        except OSError as error:
            missing = PersonalizationError("sealed-file-missing", exit_code=3, file=str(path))
            raise unread(error, path, missing) from error
        try:
            self._header = self._read_header()
            self.batch = self._header.batch.decode("ascii", errors="replace")
            self._context = _context(purpose, self.batch)
            self._aead = self._own_key()
            self._check_index()
            self._check_batch(batch)
        except PersonalizationError:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        self._stream.close()

    def __len__(self) -> int:
        return self._header.records

    def row_number(self, index: int) -> int:
        """Row number of the record at ``index``, 0 is the first.

        Raises:
            IndexError: there is no such record.
        """
        return self._entry(index)[0]

    def row_numbers(self) -> Iterator[int]:
        """All row numbers in the order of the file."""
        return (self._entry(index)[0] for index in range(self._header.records))

    def record(self, index: int) -> bytes:
        """Open the record at ``index``, 0 is the first.

        Raises:
            IndexError: there is no such record.
            PersonalizationError: "sealed-data-refused".
        """
        row_number, offset, length = self._entry(index)
        self._stream.seek(offset)
        return self._opened(row_number, self._stream.read(length))

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Row number and content of every record, in order: the way through a whole file.

        Raises:
            PersonalizationError: "sealed-data-refused".
        """
        self._stream.seek(self._header.index_offset)
        index = self._stream.read(self._header.records * _ENTRY.size)
        position = -1
        for row_number, offset, length in _ENTRY.iter_unpack(index):
            if offset != position:
                self._stream.seek(offset)
            position = offset + length
            yield row_number, self._opened(row_number, self._stream.read(length))

    def record_of_row(self, row_number: int) -> bytes:
        """Open the record of a row.

        Raises:
            PersonalizationError: "row-unknown" or "sealed-data-refused".
        """
        low, high = 0, self._header.records
        while low < high:
            middle = (low + high) // 2
            if self._entry(middle)[0] < row_number:
                low = middle + 1
            else:
                high = middle
        if low < self._header.records and self._entry(low)[0] == row_number:
            return self.record(low)
        raise PersonalizationError("row-unknown", row=row_number, file=str(self._path))

    def _opened(self, row_number: int, sealed: bytes) -> bytes:
        associated = self._context + _ROW.pack(row_number)
        if self._aead is None:
            return self._keystore.unseal(self._purpose.key, sealed, associated)
        return self._unsealed(self._aead, row_number.to_bytes(_NONCE, "big"), sealed, associated)

    def _unsealed(self, aead: AESGCM, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        try:
            return aead.decrypt(nonce, sealed, associated)
        except (InvalidTag, ValueError):
            raise PersonalizationError("sealed-data-refused", key=self._purpose.key.value) from None

    def _own_key(self) -> AESGCM | None:
        """The file's key; None in a file of version 1."""
        if self._version == _WITHOUT_OWN_KEY:
            return None
        return AESGCM(self._keystore.unseal(self._purpose.key, self._sealed_key, _KEY_CONTEXT + self._context))

    def _entry(self, index: int) -> tuple[int, int, int]:
        if not 0 <= index < self._header.records:
            raise IndexError(f"record {index} of {self._header.records}")
        self._stream.seek(self._header.index_offset + index * _ENTRY.size)
        row_number, offset, length = _ENTRY.unpack(self._stream.read(_ENTRY.size))
        return row_number, offset, length

    def _read_header(self) -> _Header:
        raw = self._stream.read(_HEADER.size)
        size = self._path.stat().st_size
        if len(raw) != _HEADER.size or not raw.startswith(_MAGIC):
            raise self._malformed("header")
        _, self._version, purpose, batch, check_value, count, index_offset = _HEADER.unpack(raw)
        if self._version not in {_WITHOUT_OWN_KEY, _VERSION}:
            raise self._malformed("header")
        self._sealed_key = b"" if self._version == _WITHOUT_OWN_KEY else self._stream.read(_SEALED_KEY)
        header = _Header(purpose.rstrip(b"\x00"), batch.rstrip(b"\x00"), check_value, count, index_offset)
        if header.purpose != self._purpose.label.encode("ascii"):
            raise self._malformed("purpose")
        if index_offset + count * _ENTRY.size + self._seal_length != size:
            raise self._malformed("length")
        if check_value != self._keystore.check_value(self._purpose.key):
            raise PersonalizationError(
                "sealed-file-other-key", exit_code=3, file=str(self._path), key=self._purpose.key.value
            )
        return header

    def _check_index(self) -> None:
        digest = hashlib.sha256(self._header.encode(self._version) + self._sealed_key)
        self._stream.seek(self._header.index_offset)
        left = self._header.records * _ENTRY.size
        while left:
            part = self._stream.read(min(left, _CHUNK))
            digest.update(part)
            left -= len(part)
        seal = self._stream.read(self._seal_length)
        associated = _INDEX_CONTEXT + self._context + digest.digest()
        if self._aead is None:
            self._keystore.unseal(self._purpose.key, seal, associated)
        else:
            self._unsealed(self._aead, _SEAL_NONCE, seal, associated)

    @property
    def _seal_length(self) -> int:
        return _TAG if self._version == _VERSION else _NONCE + _TAG

    def _check_batch(self, batch: str | None) -> None:
        if batch is not None and batch != self.batch:
            raise PersonalizationError("sealed-file-other-batch", file=str(self._path), batch=batch, found=self.batch)

    def _malformed(self, part: str) -> PersonalizationError:
        return PersonalizationError("sealed-file-malformed", file=str(self._path), part=part)

    def __repr__(self) -> str:
        return f"SealedReader({self._purpose.label}, {self._header.records} records)"


def _context(purpose: Purpose, batch: str) -> bytes:
    return purpose.label.encode("ascii") + b"\x00" + batch.encode("ascii", errors="replace") + b"\x00"
