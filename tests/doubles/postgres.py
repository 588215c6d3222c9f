"""A PostgreSQL server of the tests' own: private folder, a socket and no port, one password that is no secret."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from personalization.keys.passphrase import PassphraseSource
from personalization.production.journal.chain import FIRST_LINK
from personalization.production.journal.place import PostgresServer
from personalization.production.journal.tables import AuditHead, Base

USER = "permitcard"
PASSWORD = "database-password-161803"
PASSWORD_VARIABLE = "PERMITCARD_TEST_JOURNAL_PASSWORD"
_PATIENCE_S = 120
_UNPRIVILEGED = ("postgres", "nobody")
_SETTINGS = """
listen_addresses = ''
shared_buffers = 16MB
max_connections = 60
log_min_messages = fatal
autovacuum_naptime = 10min
"""


def programs() -> Path:
    """Folder of the server's programs; the test is skipped where it is not installed, which CI's packages rule out."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("postgresql is not installed")
    return found[-1].parent


def _somebody() -> dict[str, object]:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.skip("there is no unprivileged user to run PostgreSQL as")


def _dies_with_us() -> tuple[str, ...]:
    """A test run that is killed leaves no server behind, where the system can see to it."""
    return ("setpriv", "--pdeathsig", "QUIT") if shutil.which("setpriv") else ()


@dataclass(slots=True)
class Postgres:
    """One server.

    Attributes:
        folder: data, socket and lock files.
    """

    folder: Path
    _process: subprocess.Popen[bytes] | None = None
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def make(cls) -> Postgres:
        """A server that runs."""
        somebody = _somebody()
        folder = Path(tempfile.mkdtemp(prefix="permitcard-pg-"))
        server = cls(folder)
        password = folder / "password"
        password.write_text(PASSWORD)
        (folder / "locks").mkdir()
        if somebody:
            os.chown(folder, int(str(somebody["user"])), int(str(somebody["group"])))
            os.chown(password, int(str(somebody["user"])), int(str(somebody["group"])))
        subprocess.run(
            [programs() / "initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256", "--pwfile", password,
             "--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8"],
            check=True, capture_output=True, cwd=folder, **somebody,
        )  # type: ignore[call-overload]  # fmt: skip
        with (folder / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(_SETTINGS)
        os.environ[PASSWORD_VARIABLE] = PASSWORD
        server.start()
        return server

    def start(self) -> None:
        """Start it and wait until it answers; one that was killed leaves memory behind that takes a moment to go."""
        deadline = time.monotonic() + _PATIENCE_S
        self._process = self._begin()
        while True:
            try:
                self.ask("SELECT 1")
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the server does not answer"
                if self._process.poll() is not None:
                    self._process = self._begin()
                time.sleep(0.02)
            else:
                return

    def _begin(self) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [*_dies_with_us(), programs() / "postgres", "-D", self.folder / "data", "-k", self.folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder, start_new_session=True,
            **_somebody(),
        )  # type: ignore[call-overload]  # fmt: skip
        return process

    def kill(self) -> None:
        """SIGKILL to the server and its sessions, as a loss of power would end them."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_PATIENCE_S)
        self._process = None

    def stop(self) -> None:
        """Shut down in order and remove everything."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_PATIENCE_S)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, statement: str, database: str = "postgres") -> None:
        """One statement of the administrator."""
        with psycopg.connect(
            host=str(self.folder), user=USER, password=PASSWORD, dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement.encode())

    def place(self, database: str) -> PostgresServer:
        """Where a journal in that database is."""
        url = f"postgresql://{USER}@/{database}?host={self.folder}"
        return PostgresServer(url, self.folder / "locks" / database, PassphraseSource.environment(PASSWORD_VARIABLE))

    def new_database(self, template: str = "template0") -> PostgresServer:
        """A database that no test has used."""
        name = f"journal_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.place(name)


@functools.cache
def server() -> Postgres:
    """The server of this process, for tests that leave it running."""
    started = Postgres.make()
    atexit.register(started.stop)
    return started


@functools.cache
def _emptied() -> PostgresServer:
    from personalization.production.journal import open_journal

    place = server().new_database()
    open_journal(place).close()
    return place


def empty_journal() -> PostgresServer:
    """A journal of the newest form with nothing in it; the one before it is gone."""
    place = _emptied()
    tables = [table.name for table in reversed(Base.metadata.sorted_tables) if table.name != AuditHead.__tablename__]
    statements = [f"DELETE FROM {name}" for name in tables]  # noqa: S608 - our own tables
    statements.append(f"UPDATE audit_head SET number = 0, link = '\\x{FIRST_LINK.hex()}'")  # noqa: S608 - same
    statements.append("SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'")
    server().ask("; ".join(statements), place.driver_url.database or "")
    return place
