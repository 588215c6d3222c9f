"""Opening the journal: engine, durability, migrations and the locks that tell the living from the dead."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError

from personalization.errors import PersonalizationError
from personalization.production.journal.chain import append_entries

HEAD_REVISION: Final = "0003"
"""Newest migration in `personalization.production.journal.migrations`; a test holds it there."""

AUDIT_ENTRIES: Final = "audit_entries"
"""Where a transaction's connection keeps what it will write to the audit trail."""

_BUSY_TIMEOUT_S: Final = 60
_MIGRATION_TIMEOUT_S: Final = 60
_OWNER_ONLY: Final = 0o600
_READ_ONLY: Final = "journal_read_only"


class _Cursor(Protocol):
    def execute(self, statement: str, /) -> object: ...

    def close(self) -> None: ...


class _SqliteConnection(Protocol):
    """What we need of a `sqlite3.Connection`."""

    isolation_level: str | None

    def cursor(self) -> _Cursor: ...


def now_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Journal:
    """The open journal; give it up with `close`.

    Attributes:
        path: the database file.
        engine: SQLAlchemy engine over it.
    """

    path: Path
    engine: Engine

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """A transaction that writes; durable when the context has been left.

        The audit entries that it recorded are chained and written just before it commits.

        Raises:
            PersonalizationError: "journal-unavailable", the database is locked for too long, full or gone.
        """
        try:
            with self.engine.begin() as connection:
                entries: list[dict[str, object]] = []
                connection.info[AUDIT_ENTRIES] = entries
                yield connection
                append_entries(connection, entries)
        except OperationalError as error:
            raise _unavailable(self.path, error) from error

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A consistent view that never waits for a writer."""
        try:
            with self.engine.connect().execution_options(**{_READ_ONLY: True}) as connection:
                yield connection
        except OperationalError as error:
            raise _unavailable(self.path, error) from error

    def lock(self, name: str) -> FileLock:
        """The lock file of a coordinator or station; the operating system frees a dead owner's lock."""
        folder = self.path.with_name(self.path.name + ".locks")
        folder.mkdir(exist_ok=True)
        return FileLock(folder / f"{name}.lock")

    def compact(self) -> None:
        """Write the database anew without what was deleted from it, and empty its write-ahead log.

        Raises:
            PersonalizationError: "journal-unavailable".
        """
        if self.engine.dialect.name != "sqlite":
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
        except (OperationalError, sqlite3.OperationalError) as error:
            raise _unavailable(self.path, error) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_journal(path: Path, *, migrate: bool = True) -> Journal:
    """Open the journal at ``path``; makes it and brings it to the newest form unless told not to.

    Args:
        path: SQLite file.
        migrate: False in station processes, which find it ready.

    Raises:
        PersonalizationError: "journal-unavailable" or "journal-newer".
    """
    journal = Journal(path, _engine(path))
    if not migrate:
        return journal
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(_OWNER_ONLY)  # before SQLite makes it for everybody; its log takes the same rights
        with journal.lock("migration").acquire(timeout=_MIGRATION_TIMEOUT_S):
            _upgrade(journal)
    except (OSError, DBAPIError, Timeout) as error:
        journal.close()
        raise _unavailable(path, error) from error
    except BaseException:
        journal.close()
        raise
    return journal


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: _SqliteConnection, _record: object) -> None:
    """Write-ahead log, synchronised at each commit: what is committed survives a loss of power."""
    connection.isolation_level = None  # we say BEGIN ourselves, see `_begin`
    cursor = connection.cursor()
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA secure_delete = ON",
        f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000}",
    ):
        cursor.execute(statement)
    cursor.close()


def _begin(connection: Connection) -> None:
    """Take the write lock at the beginning, so that a read never has to be upgraded to a write and fail."""
    reading = connection.get_execution_options().get(_READ_ONLY)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _upgrade(journal: Journal) -> None:
    with journal.reading() as connection:
        found = None
        if inspect(connection).has_table("alembic_version"):
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found == HEAD_REVISION:
        return
    if found is not None and found > HEAD_REVISION:
        raise PersonalizationError("journal-newer", exit_code=3, path=journal.path, found=found, known=HEAD_REVISION)
    from alembic import command
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", "personalization.production.journal:migrations")
    with journal.transaction() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, HEAD_REVISION)


def _unavailable(path: Path, error: BaseException) -> PersonalizationError:
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return PersonalizationError("journal-unavailable", exit_code=3, path=path, cause=cause)
