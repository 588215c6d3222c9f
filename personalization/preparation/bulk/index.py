"""Where the picture and the residence of a citizen are, on disk: built once a batch, then only read.

Numbers stand in it as *marks*: 16 bytes of keyed BLAKE2b under a key that the batch's own key seals, so that the file
says nothing of anybody.

Source: RFC 7693 (BLAKE2), clause 2.9 (keyed hashing).
"""

from __future__ import annotations

import functools
import hashlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from personalization.atomic_file import flush_file
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_file

MARK_LENGTH: Final = 16
MARK_KEY_LENGTH: Final = 32
QUESTIONS_AT_ONCE: Final = 500
"""Numbers that are asked for in one statement."""

_CACHE_KIB: Final = 8192
_TABLES: Final = ("pictures", "residences")

Mark = Callable[[str], bytes]


def marker(key: bytes) -> Mark:
    """The function from a number to its mark."""
    blake = functools.partial(hashlib.blake2b, key=key, digest_size=MARK_LENGTH)
    return lambda number: blake(number.encode("utf-8", "surrogatepass")).digest()


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A database of ours that needs no durability: what it was made from is still there.

    Raises:
        PersonalizationError: "work-file-damaged" (exit 3).
    """
    place = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'ro'}"
    try:
        # A worker's threads work one after the other, see `workers.carry_out`.
        connection = sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=create)
        with _closed_on_failure(connection):
            if not create:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return connection
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except sqlite3.Error as error:
        raise PersonalizationError("work-file-damaged", exit_code=3, file=path.name, reason=str(error)) from None
    return connection


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection) -> Generator[None]:
    """Let go of the file when the block does not come to its end."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


Places = Iterable[tuple[bytes, bytes]]
"""Marks, and where what they are of is."""


class IndexWriter:
    """Builds the index under another name; it appears when it is finished.

    Args:
        path: final name.
    """

    __slots__ = ("_connection", "_part", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._part.unlink(missing_ok=True)
        make_file(self._part)
        self._connection = connect(self._part, create=True)
        with _closed_on_failure(self._connection):
            for table in _TABLES:
                self._connection.execute(f"CREATE TABLE {table} (mark BLOB NOT NULL, place BLOB NOT NULL)")

    def add_pictures(self, places: Places) -> None:
        """Pictures by citizen number: `ZipEntry.locator`."""
        self._add("pictures", places)

    def add_residences(self, places: Places) -> None:
        """Residences by citizen number: see `marking`."""
        self._add("residences", places)

    def finish(self) -> None:
        """Sort, and give the file its name."""
        for table in _TABLES:
            self._connection.execute(f"CREATE INDEX {table}_mark ON {table} (mark, place)")
        self.close()
        flush_file(self._part)
        self._part.replace(self._path)

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        self._connection.close()

    def _add(self, table: str, places: Places) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", places)  # noqa: S608 - our own name
        self._connection.execute("COMMIT")


class DeliveryIndex:
    """Reads an index that `IndexWriter` made.

    Args:
        path: the file.
    """

    __slots__ = ("_connection",)

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def pictures(self, marks: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """Places of pictures by mark; a number without a picture is missing."""
        return self._places("pictures", marks)

    def residences(self, marks: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """Places of residences by mark."""
        return self._places("residences", marks)

    def _places(self, table: str, marks: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = defaultdict(list)
        different = list(dict.fromkeys(marks))  # one that is asked twice would have its places twice
        for at in range(0, len(different), QUESTIONS_AT_ONCE):
            asked = different[at : at + QUESTIONS_AT_ONCE]
            places = ", ".join("?" * len(asked))
            statement = f"SELECT mark, place FROM {table} WHERE mark IN ({places}) ORDER BY mark, place"  # noqa: S608
            for mark, place in self._connection.execute(statement, asked):
                found[mark].append(place)
        return found


def random_mark_key() -> bytes:
    """A key for the marks of one batch."""
    return os.urandom(MARK_KEY_LENGTH)
