"""Where a journal is: a SQLite file, or a database of a PostgreSQL server that several machines share.

A place travels to station processes; it holds no password, only where one is to be had.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from personalization.errors import PersonalizationError
from personalization.keys.passphrase import PassphraseSource

_USAGE: Final = 2
_SCHEMES: Final = frozenset({"postgresql", "postgres"})
_DRIVER: Final = "postgresql+psycopg"
_SECRET_OPTIONS: Final = frozenset({"password", "sslpassword"})


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A journal of one machine.

    Attributes:
        path: the database file.
    """

    path: Path

    @property
    def shown(self) -> str:
        """For messages."""
        return str(self.path)

    @property
    def locks(self) -> Path:
        """Folder of lock files."""
        return self.path.with_name(self.path.name + ".locks")


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A journal that several machines share.

    Attributes:
        url: ``postgresql://user@host:port/database``, with libpq's options behind ``?``, and without a password.
        locks: folder of lock files, on this machine.
        password: where the password is; None leaves it to libpq (``~/.pgpass``, client certificate, peer).
    """

    url: str
    locks: Path
    password: PassphraseSource | None = None

    @property
    def shown(self) -> str:
        """For messages."""
        return self.url

    @property
    def driver_url(self) -> URL:
        """The URL that names the driver."""
        return parse_url(self.url).set(drivername=_DRIVER)


JournalPlace = SqliteFile | PostgresServer


def parse_url(url: str) -> URL:
    """Read the URL of a journal on a server.

    Raises:
        PersonalizationError: exit 2: "journal-url-malformed"; "journal-url-password", it holds a password, which would
            stand in the centre's configuration.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise PersonalizationError("journal-url-malformed", exit_code=_USAGE) from None  # it may hold a password
    if parsed.password is not None or _SECRET_OPTIONS & set(parsed.query):
        raise PersonalizationError("journal-url-password", exit_code=_USAGE)
    if parsed.drivername not in _SCHEMES or not parsed.database:
        raise PersonalizationError("journal-url-malformed", exit_code=_USAGE)
    return parsed
