"""The open journal: transactions, retries, migrations and the locks that tell the living from the dead."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from filelock import FileLock
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError

from personalization.errors import PersonalizationError, unread
from personalization.folder_rights import file_lock, make_file, make_folder
from personalization.production.journal.chain import ChainEnd, append_entries, is_in_chain
from personalization.production.journal.clock import elapsed_s, now_us
from personalization.production.journal.engines import READ_ONLY, is_damage, make_engine, passes
from personalization.production.journal.place import JournalPlace, SqliteFile

__all__ = [
    "AUDIT_ENTRIES",
    "HEAD_REVISION",
    "Journal",
    "JournalDamaged",
    "JournalUnavailable",
    "now_us",
    "open_journal",
]

HEAD_REVISION: Final = "0008"
"""Newest migration in `personalization.production.journal.migrations`; a test holds it there."""

AUDIT_ENTRIES: Final = "audit_entries"
"""Where a transaction's connection keeps what it will write to the audit trail."""

PATIENCE_S: Final = 60.0
"""How long a run waits for a database that is gone."""

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0
_MIGRATION_TIMEOUT_S: Final = 60
_MIGRATION_LOCK: Final = 0x7065726D69746361
_SNAPSHOT: Final = {READ_ONLY: True, "isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

_T = TypeVar("_T")


class JournalUnavailable(PersonalizationError):
    """The database cannot be reached, or cannot write now; what the transaction did is undone.

    Args:
        place: where the journal is.
        cause: the database's words.
    """

    def __init__(self, place: str, cause: str) -> None:
        super().__init__("journal-unavailable", exit_code=3, path=place, cause=cause)


class JournalDamaged(PersonalizationError):
    """The database found its own content damaged: a backup has to take its place.

    Args:
        place: where the journal is.
        cause: the database's words.
    """

    def __init__(self, place: str, cause: str) -> None:
        super().__init__("journal-damaged", exit_code=3, path=place, cause=cause)


@dataclass(frozen=True, slots=True)
class Journal:
    """The open journal; give it up with `close`.

    Attributes:
        place: where it is.
        engine: SQLAlchemy engine over it.
        patience_s: how long `write` and `read` wait for a database that is gone.
    """

    place: JournalPlace
    engine: Engine
    patience_s: float = PATIENCE_S

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """A transaction that writes; durable when the context has been left.

        The audit entries that it recorded are chained and written just before it commits. When the connection breaks
        while it commits, the database is asked afterwards whether it did.

        Raises:
            JournalUnavailable: the database is locked for too long, full or gone; nothing was written.
            JournalDamaged: its content is damaged; nothing was written.
        """
        last: ChainEnd | None = None
        try:
            with self.engine.begin() as connection:
                entries: list[dict[str, object]] = []
                connection.info[AUDIT_ENTRIES] = entries
                yield connection
                last = append_entries(connection, entries)
        except DBAPIError as error:
            if is_damage(error):
                raise _trouble(self.place, error) from error
            if not passes(error):
                raise
            if last is None or not self._committed(last):
                raise _trouble(self.place, error) from error

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A consistent view that never waits for a writer.

        Raises:
            JournalUnavailable: the database is gone.
            JournalDamaged: its content is damaged.
        """
        options = {READ_ONLY: True} if self._sqlite else _SNAPSHOT
        try:
            with self.engine.connect().execution_options(**options) as connection:
                yield connection
        except DBAPIError as error:
            if not passes(error) and not is_damage(error):
                raise
            raise _trouble(self.place, error) from error

    def write(self, work: Callable[[Connection], _T]) -> _T:
        """Do ``work`` in a transaction, again and again while the database is gone, for `patience_s` at most.

        Args:
            work: changes nothing but the database, for an attempt that failed is undone and made again.

        Raises:
            JournalUnavailable: it did not come back.
        """

        def attempt() -> _T:
            with self.transaction() as connection:
                return work(connection)

        return self._patiently(attempt)

    def read(self, work: Callable[[Connection], _T]) -> _T:
        """Do ``work`` in a consistent view, patiently as `write`."""

        def attempt() -> _T:
            with self.reading() as connection:
                return work(connection)

        return self._patiently(attempt)

    def _patiently(self, attempt: Callable[[], _T]) -> _T:
        pause, begun = _FIRST_PAUSE_S, elapsed_s()
        while True:
            try:
                return attempt()
            except JournalUnavailable:
                if elapsed_s() - begun + pause > self.patience_s:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    @property
    def _sqlite(self) -> bool:
        return isinstance(self.place, SqliteFile)

    def _committed(self, last: ChainEnd) -> bool:
        """Whether the transaction whose last audit entry this is was committed: nothing else has that link.

        Raises:
            JournalUnavailable: the database does not come back, so that nobody knows.
        """
        return self.read(lambda connection: is_in_chain(connection, last))

    def lock(self, name: str) -> FileLock:
        """The lock file of a coordinator or station; the operating system frees a dead owner's lock."""
        folder = self.place.locks
        make_folder(folder)
        return file_lock(folder / f"{name}.lock")

    def compact(self) -> None:
        """Write the database anew without what was deleted from it, and empty its write-ahead log.

        Raises:
            JournalUnavailable: the database is in use or full.
        """
        if not self._sqlite:
            return  # VACUUM of a server is its administrator's; see docs/keys.md
        try:
            connection = self.engine.raw_connection()  # past the transactions that the engine begins
            try:
                cursor = connection.cursor()
                cursor.execute("VACUUM")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                cursor.close()
            finally:
                connection.close()
        except (DBAPIError, sqlite3.DatabaseError) as error:
            if not is_damage(error) and not isinstance(error, OperationalError | sqlite3.OperationalError):
                raise
            raise _trouble(self.place, error) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_journal(place: JournalPlace | Path, *, migrate: bool = True, patience_s: float = PATIENCE_S) -> Journal:
    """Open a journal; makes it and brings it to the newest form unless told not to.

    Args:
        place: where it is; a path is that of a SQLite file.
        migrate: False in station processes, which find it ready.
        patience_s: how long a run waits for a database that is gone; opening waits for nothing.

    Raises:
        PersonalizationError: "journal-newer"; exit 2 for a bad URL; "journal-library-missing", "journal-not-durable".
        JournalUnavailable: it cannot be opened.
    """
    place = SqliteFile(place) if isinstance(place, Path) else place
    journal = Journal(place, make_engine(place), patience_s)
    if not migrate:
        return journal
    try:
        if isinstance(place, SqliteFile):
            make_folder(place.path.parent)
            make_file(place.path)  # before SQLite makes it for everybody; its log takes the same rights
        with journal.lock("migration").acquire(timeout=_MIGRATION_TIMEOUT_S):
            _upgrade(journal)
    except (OSError, DBAPIError) as error:
        journal.close()
        if isinstance(error, OSError) and error.filename is not None:  # a file beside the database, which is not asked
            raise unread(error, Path(error.filename), _trouble(place, error)) from error
        raise _trouble(place, error) from error
    except BaseException:
        journal.close()
        raise
    return journal


def _upgrade(journal: Journal) -> None:
    with journal.reading() as connection:
        found = _revision(connection)
    if found == HEAD_REVISION:
        return
    if found is not None and found > HEAD_REVISION:
        raise PersonalizationError(
            "journal-newer", exit_code=3, path=journal.place.shown, found=found, known=HEAD_REVISION
        )
    from alembic import command
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", "personalization.production.journal:migrations")
    with journal.transaction() as connection:
        if connection.dialect.name == "postgresql":  # lock files are of one machine
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, HEAD_REVISION)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _trouble(place: JournalPlace, error: BaseException) -> JournalUnavailable | JournalDamaged:
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return (JournalDamaged if is_damage(error) else JournalUnavailable)(place.shown, cause.strip())
