"""Engines of the two databases: durable at every commit, and no wait without an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError

from personalization.errors import PersonalizationError
from personalization.production.journal.clock import now_us
from personalization.production.journal.place import JournalPlace, PostgresServer, SqliteFile

READ_ONLY: Final = "journal_read_only"
"""Execution option of a connection that only reads."""

_ENVIRONMENT: Final = 3
_BUSY_TIMEOUT_S: Final = 60
_CONNECT_TIMEOUT_S: Final = 10
_CACHE_KIB: Final = 16_384
"""Indexes are over HMACs, so that each row that is entered touches other pages."""

_IDLE_TRANSACTION_S: Final = 10
"""A process that stands still inside a transaction holds everybody up; the server ends its session after this."""

_CONNECTIONS: Final = 2
_KEEPALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_OPEN_SESSION: Final = (
    f"SET idle_in_transaction_session_timeout = '{_IDLE_TRANSACTION_S}s'",
    f"SET lock_timeout = '{_BUSY_TIMEOUT_S}s'",
)
_FORCED_COMMITS: Final = frozenset({"on", "remote_apply", "remote_write"})
_DAMAGED_SQLITE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
"""Source: sqlite.org/rescode.html, 11 and 26, and the extended codes of 11."""

_DAMAGED_POSTGRESQL: Final = frozenset({"XX001", "XX002"})
"""Source: PostgreSQL 15, appendix A: data_corrupted, index_corrupted."""

_PASSING: Final = frozenset({"25P03", "40001", "40P01", "55P03", "53100", "53200", "53300", "57P01", "57P02", "57P03"})
"""SQLSTATEs that pass: session ended while idle in its transaction, serialization, deadlock, lock timeout, disk full,
memory, too many connections, shutdown, crash of another session, starting up."""


class _Cursor(Protocol):
    def execute(self, statement: str, /) -> object: ...

    def fetchone(self) -> Any: ...

    def close(self) -> None: ...


class _RawConnection(Protocol):
    """What we need of a `sqlite3.Connection` and of a psycopg one."""

    isolation_level: Any
    autocommit: bool

    def cursor(self) -> _Cursor: ...

    def create_function(
        self, name: str, narg: int, func: Callable[[], int], /, *, deterministic: bool = False
    ) -> None: ...


def make_engine(place: JournalPlace) -> Engine:
    """An engine over the journal at ``place``; connects to nothing yet.

    Raises:
        PersonalizationError: exit 2 for a bad URL; "journal-library-missing", exit 3.
    """
    return _sqlite(place) if isinstance(place, SqliteFile) else _postgresql(place)


def _sqlite(place: SqliteFile) -> Engine:
    engine = create_engine(f"sqlite:///{place.path}", connect_args={"timeout": _BUSY_TIMEOUT_S}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: _RawConnection, _record: object) -> None:
    """Write-ahead log, synchronised at each commit: what is committed survives a loss of power."""
    connection.isolation_level = None  # we say BEGIN ourselves, see `_begin_sqlite`
    connection.create_function("journal_clock", 0, now_us)
    cursor = connection.cursor()
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA secure_delete = ON",
        f"PRAGMA cache_size = -{_CACHE_KIB}",
        f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000}",
    ):
        cursor.execute(statement)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the beginning, so that a read never has to be upgraded to a write and fail."""
    reading = connection.get_execution_options().get(READ_ONLY)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _postgresql(place: PostgresServer) -> Engine:
    def add_password(_dialect: object, _record: object, _positional: object, parameters: dict[str, object]) -> None:
        if place.password is not None:
            parameters["password"] = place.password.read().decode()

    arguments: dict[str, object] = {"connect_timeout": _CONNECT_TIMEOUT_S, **_KEEPALIVE}
    try:
        engine = create_engine(
            place.driver_url,
            connect_args={**arguments, "application_name": "permitcard"},
            pool_size=_CONNECTIONS,
            pool_pre_ping=True,  # a server that was restarted has forgotten the connections that wait here
            hide_parameters=True,
        )
    except (ImportError, NoSuchModuleError):
        raise PersonalizationError("journal-library-missing", exit_code=_ENVIRONMENT) from None
    event.listen(engine, "do_connect", add_password)
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: _RawConnection, _record: object) -> None:
    """Refuse a server that forgets commits, and bound what one session can hold up.

    Raises:
        PersonalizationError: "journal-not-durable", exit 3.
    """
    before, connection.autocommit = connection.autocommit, True
    cursor = connection.cursor()
    try:
        if _setting(cursor, "fsync") != "on":
            raise PersonalizationError("journal-not-durable", exit_code=_ENVIRONMENT, setting="fsync")
        if _setting(cursor, "synchronous_commit") not in _FORCED_COMMITS:
            cursor.execute("SET synchronous_commit = on")
        for statement in _OPEN_SESSION:
            cursor.execute(statement)
    finally:
        cursor.close()
        connection.autocommit = before


def _setting(cursor: _Cursor, name: str) -> str:
    cursor.execute(f"SHOW {name}")
    return str(cursor.fetchone()[0])


def passes(error: DBAPIError) -> bool:
    """Whether an error is the database's trouble, which may be over soon, and not a mistake in what was asked."""
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or isinstance(error, OperationalError) or state in _PASSING


def is_damage(error: BaseException) -> bool:
    """Whether the database found its own content damaged, which no waiting mends."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(cause, "sqlite_errorname", None) or ""
    return name.startswith(_DAMAGED_SQLITE) or getattr(cause, "sqlstate", None) in _DAMAGED_POSTGRESQL
