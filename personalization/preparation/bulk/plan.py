"""How a delivery was dealt out into chunks: what every worker reads first."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.intake.zip_directory import DirectoryPiece
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.bulk.parts import PartPlace
from personalization.preparation.bulk.sheets import Sheet

_MOST_ROWS: Final = 4096
"""Rows of a chunk: some megabytes for each of its files, and some seconds of work."""

_LEAST_ROWS: Final = 1024
"""Fewer, and a worker waits for the disk at the end of a chunk for longer than can be overlooked."""

_CHUNKS: Final = 64
"""So many at least, where there are rows enough: nobody waits long for who has the last one."""

_KEY_CONTEXT: Final = b"marks\x00"


def rows_of_a_chunk(rows: int) -> int:
    """How many rows a chunk of a delivery of ``rows`` has."""
    return min(_MOST_ROWS, max(_LEAST_ROWS, -(-rows // _CHUNKS)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What was dealt out.

    Attributes:
        identifier: the batch.
        area_code: six digits, from the file's name.
        declared: rows that the file's name declares.
        chunk_rows: rows of a chunk, the last one may have fewer.
        table: the first sheet.
        second: the second sheet, of residences.
        pictures: the zip of pictures.
        directory: pieces of its directory.
        marks: key of the marks, sealed, hexadecimal.
    """

    identifier: str
    area_code: str
    declared: int
    chunk_rows: int
    table: Sheet
    second: Sheet
    pictures: PartPlace
    directory: tuple[DirectoryPiece, ...]
    marks: str

    @property
    def rows(self) -> int:
        """Rows of the first sheet."""
        return self.table.rows

    @property
    def chunks(self) -> range:
        """Numbers of the chunks, from 1."""
        return range(1, 1 + -(-self.rows // self.chunk_rows))

    @property
    def sizes(self) -> dict[int, int]:
        """Rows by chunk."""
        return _dealt(self.rows, self.chunk_rows)

    @property
    def residence_sizes(self) -> dict[int, int]:
        """Rows of the second sheet by chunk."""
        return _dealt(self.second.rows, self.chunk_rows)

    @property
    def piece_sizes(self) -> dict[int, int]:
        """What is marked piece by piece: entries of each piece of the directory, then the rows of the second sheet."""
        sizes = [piece.entries for piece in self.directory] + list(self.residence_sizes.values())
        return dict(enumerate(sizes, 1))

    def mark_key(self, keys: KeyStore) -> bytes:
        """The key of the marks; ``keys`` is the batch's store."""
        return keys.unseal(KeyName.TRANSPORT, bytes.fromhex(self.marks), _key_context(self.identifier))

    def write(self, path: Path) -> None:
        """Write the plan; it holds nothing personal and no key in clear."""
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a plan.

        Raises:
            PersonalizationError: "work-file-damaged", exit 3.
        """
        document = read_json(path)
        try:
            document["pictures"] = PartPlace(**document["pictures"])
            document["directory"] = tuple(DirectoryPiece(*piece) for piece in document["directory"])
            for sheet in ("table", "second"):
                document[sheet] = Sheet.of_document(document[sheet])
            return cls(**document)
        except (TypeError, KeyError):
            raise _damaged(path) from None


@dataclass(frozen=True, slots=True)
class Arrival:
    """Which delivery a work folder is about.

    Attributes:
        sha256: of the delivery, hexadecimal.
        files: SHA-256 of each of its files, hexadecimal.
        received: when it came.
    """

    sha256: str
    files: tuple[str, ...]
    received: str

    @classmethod
    def now(cls, sha256: bytes, files: tuple[bytes, ...]) -> Self:
        """A delivery that comes in at this moment."""
        received = dt.datetime.now(dt.UTC).isoformat()
        return cls(sha256.hex(), tuple(each.hex() for each in files), received)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_atomically(path, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Undo `write`.

        Raises:
            PersonalizationError: "work-file-damaged", exit 3.
        """
        document = read_json(path)
        try:
            document["files"] = tuple(document["files"])
            return cls(**document)
        except (TypeError, KeyError):
            raise _damaged(path) from None


def _dealt(rows: int, size: int) -> dict[int, int]:
    return {1 + at // size: min(size, rows - at) for at in range(0, rows, size)}


def seal_mark_key(key: bytes, identifier: str, keys: KeyStore) -> str:
    """What `Plan.marks` holds."""
    return keys.seal(KeyName.TRANSPORT, key, _key_context(identifier)).hex()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that we wrote.

    Raises:
        PersonalizationError: "work-file-damaged", exit 3.
    """
    try:
        document: object = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise _damaged(path) from None
    if not isinstance(document, dict):
        raise _damaged(path)
    return document


def _damaged(path: Path) -> PersonalizationError:
    return PersonalizationError("work-file-damaged", exit_code=3, file=path.name, reason="")


def _key_context(identifier: str) -> bytes:
    return _KEY_CONTEXT + identifier.encode("ascii")
