"""A journal on a server that goes away, comes back, forgets, or was named wrongly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, PoolProxiedConnection, func, select, text

from personalization.errors import PersonalizationError
from personalization.keys.passphrase import PassphraseSource
from personalization.production.audit import read_trail, verify_trail
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.articles import hold_for_article, room_to_make
from personalization.production.journal.batches import (
    BatchEntry,
    RowEntry,
    batch_status,
    change_batch,
    list_batches,
    register_batch,
    release_batch,
)
from personalization.production.journal.chain import ChainEnd, append_entries
from personalization.production.journal.claims import claim_to_make
from personalization.production.journal.database import PATIENCE_S, JournalUnavailable
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.place import JournalPlace, PostgresServer, parse_url
from personalization.production.journal.prints import PrintLedger
from personalization.production.journal.tables import Event
from personalization.production.policy import Policy
from personalization.production.run import resume_batch, run_batch
from personalization.production.states import BatchState, RunState
from personalization.production.stock import NewBlank, receive_blanks
from tests.doubles import postgres
from tests.doubles.postgres import PASSWORD, Postgres
from tests.unit.personalization.scripted_line import HONEST, Outfit, card_state, digest, load_batch, receive

CHIP = bytes.fromhex("4A5A01440A0000000001")
WRONG = "not-the-password-577215"


@pytest.fixture
def place() -> PostgresServer:
    return postgres.empty_journal()


@pytest.fixture
def journal(place: PostgresServer) -> Iterator[Journal]:
    with open_journal(place) as opened:
        yield opened


def receive_one(connection: Connection) -> None:
    record(connection, "li", [Entry(What.BLANKS_RECEIVED, facts={"count": 1})])


def entries(journal: Journal) -> int:
    return journal.read(lambda connection: connection.execute(select(func.count(Event.id))).scalar_one())


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (f"postgresql://li:{PASSWORD}@host/journal", "journal-url-password"),
        (f"postgresql://li@host/journal?password={PASSWORD}", "journal-url-password"),
        (f"postgresql://li@host/journal?sslpassword={PASSWORD}", "journal-url-password"),
        ("mysql://li@host/journal", "journal-url-malformed"),
        ("postgresql://li@host", "journal-url-malformed"),
        ("no address at all", "journal-url-malformed"),
    ],
)
def test_an_address_holds_no_password(url: str, code: str) -> None:
    with pytest.raises(PersonalizationError, match=code) as refused:
        parse_url(url)
    assert PASSWORD not in f"{refused.value!r} {refused.value}"


def test_a_password_is_in_no_text(place: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_journal(place) as journal:
        shown = [repr(place), place.shown, repr(journal), repr(journal.engine), str(journal.engine.url)]
        with journal.reading() as connection:
            shown.append(repr(connection.connection.dbapi_connection))
    assert not [line for line in shown if PASSWORD in line]
    monkeypatch.setenv("WRONG_PASSWORD", WRONG)
    wrong = replace(place, password=PassphraseSource.environment("WRONG_PASSWORD"))
    with pytest.raises(JournalUnavailable) as refused:
        open_journal(wrong)
    told = f"{refused.value} {refused.value!r} {refused.value.__cause__} {refused.value.__cause__!r}"
    assert "password authentication failed" in told
    assert WRONG not in told


def test_a_server_that_is_down_is_told_at_once_when_a_journal_is_opened(place: PostgresServer) -> None:
    nowhere = replace(place, url="postgresql://li@/journal?host=/nowhere")
    begun = time.monotonic()
    with pytest.raises(JournalUnavailable) as refused:
        open_journal(nowhere)
    assert time.monotonic() - begun < 30
    assert refused.value.exit_code == 3
    assert refused.value.parameters["path"] == nowhere.url


def test_a_server_that_may_forget_commits_is_refused(place: PostgresServer) -> None:
    server = postgres.server()
    try:
        set_fsync(server, place, "off")
        with pytest.raises(PersonalizationError, match="journal-not-durable"):
            open_journal(place)
    finally:
        set_fsync(server, place, "on")
    open_journal(place).close()


def somebody_waits(connection: Connection) -> bool:
    """Whether another session of this database waits for a lock."""
    connection.execute(text("SELECT pg_stat_clear_snapshot()"))
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(connection.execute(text(sessions)).scalar())


def set_fsync(server: Postgres, place: PostgresServer, value: str) -> None:
    server.ask(f"ALTER SYSTEM SET fsync = {value}")
    server.ask("SELECT pg_reload_conf()")
    until(lambda: shown(place, "fsync") == value)


def shown(place: PostgresServer, setting: str) -> str:
    with psycopg.connect(str(place.url), password=PASSWORD) as connection:
        (value,) = connection.execute(f"SHOW {setting}".encode()).fetchone() or ("",)
    return str(value)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_commits_are_made_to_wait_for_the_disk(place: PostgresServer) -> None:
    name = place.driver_url.database
    postgres.server().ask(f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        with open_journal(place) as journal, journal.transaction() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
    finally:
        postgres.server().ask(f"ALTER DATABASE {name} RESET synchronous_commit")


def test_a_session_that_ends_while_rows_come_in_leaves_none(journal: Journal) -> None:
    """Rows go past SQLAlchemy; what happens to them is told as of any other statement."""

    def rows() -> Iterator[RowEntry]:
        for number in range(1, 20_000):
            if number == 10_000:
                end_sessions(journal.place)
            yield RowEntry(number, number - 1, digest(f"permit {number}"), digest(f"citizen {number}"))

    with pytest.raises(JournalUnavailable):
        register_batch(journal, BatchEntry("batch", digest("x"), "330381", 20_000, "", "", rows()), "operator")
    assert list_batches(journal) == []
    load_batch(journal, 3)
    assert batch_status(journal, "batch").left == 3


def end_sessions(place: JournalPlace) -> None:
    """As an administrator would, or a failing network."""
    assert isinstance(place, PostgresServer)
    here = f"datname = '{place.driver_url.database}' AND state = 'active'"
    postgres.server().ask(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {here}")  # noqa: S608


def test_a_server_that_dies_and_comes_back_loses_nothing(journal: Journal) -> None:
    """Many writers, the server killed between and under them: each entry is there once, in an unbroken chain."""
    server = postgres.server()
    stop, written, failures = threading.Event(), [0, 0, 0], list[BaseException]()

    def write_on(number: int) -> None:
        try:
            with open_journal(journal.place, migrate=False) as own:
                while not stop.is_set():
                    own.write(receive_one)
                    written[number] += 1
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    writers = [threading.Thread(target=write_on, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(2):
        before = sum(written)
        until(lambda before=before: sum(written) >= before + 20 or bool(failures))  # type: ignore[misc]
        server.kill()
        server.start()
    stop.set()
    for writer in writers:
        writer.join(120)
    assert not failures
    assert entries(journal) == sum(written)
    trail, head = read_trail(journal)
    assert verify_trail(trail, [], head).findings == ()


def test_a_server_that_stays_away_stops_the_work_in_bounded_time(place: PostgresServer) -> None:
    with open_journal(replace(place, url=place.url), patience_s=0.5) as journal:
        assert entries(journal) == 0
        postgres.server().kill()
        begun = time.monotonic()
        try:
            with pytest.raises(JournalUnavailable):
                journal.write(receive_one)
            assert time.monotonic() - begun < 60
        finally:
            postgres.server().start()
        replace(journal, patience_s=PATIENCE_S).write(receive_one)  # over the sessions that it had
        assert entries(journal) == 1


@pytest.mark.parametrize("committed", [True, False])
def test_a_connection_that_breaks_while_it_commits_is_asked_afterwards(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    dialect = journal.engine.dialect
    commit, broken = dialect.do_commit, list[bool]()

    def break_once(connection: PoolProxiedConnection) -> None:
        if broken:
            commit(connection)
            return
        broken.append(True)
        driver = connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        if committed:
            driver.commit()
        driver.close()
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(dialect, "do_commit", break_once)
    attempts: list[int] = []

    def work(connection: Connection) -> None:
        attempts.append(1)
        receive_one(connection)

    journal.write(work)
    assert (len(attempts), entries(journal)) == (1 if committed else 2, 1)


def test_a_process_that_stands_still_in_a_transaction_holds_nobody_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "personalization.production.journal.engines._OPEN_SESSION", ("SET idle_in_transaction_session_timeout = '1s'",)
    )
    with open_journal(journal.place, migrate=False) as stopped, stopped.engine.connect() as connection:
        connection.execute(text("SELECT number FROM audit_head FOR UPDATE"))
        journal.write(receive_one)
        connection.invalidate()
    assert entries(journal) == 1


def test_a_run_whose_database_stays_away_stops_in_order_and_goes_on_later(
    place: PostgresServer, tmp_path: Path
) -> None:
    server, rows = postgres.server(), 12
    with open_journal(place) as journal:
        load_batch(journal, rows)
        receive(journal, tmp_path, [HONEST] * (rows + 2))
    policy = Policy(stations=1, tray=2, patience_s=1)
    gone: list[bool] = []

    def take_away(stage: str, done: int, total: int) -> None:
        if stage == "make" and done > 1 and not gone:
            gone.append(True)
            server.kill()

    with open_journal(place, patience_s=1) as journal:
        try:
            with pytest.raises(JournalUnavailable):
                run_batch(journal, "batch", Outfit(0.01), policy, who="li", progress=take_away)
        finally:
            server.start()
    with open_journal(place) as journal:
        assert batch_status(journal, "batch").batch.state is BatchState.RUNNING
        result = resume_batch(journal, "batch", Outfit(), Policy(stations=1, tray=2), who="li")
        trail, head = read_trail(journal)
    assert (result.status.good, result.status.runs[RunState.SPOILED]) == (rows, 0)
    assert verify_trail(trail, [], head).findings == ()
    made = sorted(row for path in tmp_path.glob("*.card") for row in [card_state(path)[1]] if row)
    assert made == list(range(1, rows + 1))


def approve_erasure(journal: Journal) -> None:
    facts = {"act": "erase", "subject": "batch"}
    journal.write(lambda connection: record(connection, "wang", [Entry(What.APPROVED, facts=facts)]))


def use_approval(journal: Journal) -> None:
    act = [Entry(What.BATCH_ERASED, facts={"approval": 1})]
    journal.write(lambda connection: record(connection, "li", act))


def complete_batch(journal: Journal) -> None:
    load_batch(journal, 0)
    with journal.transaction() as connection:
        for state in (BatchState.RUNNING, BatchState.COMPLETE):
            change_batch(connection, 1, state)


def release(journal: Journal) -> None:
    release_batch(journal, "batch", "li", {})


def claim_chip(journal: Journal) -> None:
    load_batch(journal, 1)
    receive_blanks(journal, [NewBlank(CHIP, "pcsc:ACME#1")], lot="L", who="li")
    journal.write(lambda connection: claim_to_make(connection, 1, "one", 1))


def begin_print(journal: Journal) -> None:
    if not PrintLedger(journal).begin(CHIP):
        raise PersonalizationError("printed-before")


def hold_batch(journal: Journal) -> None:
    load_batch(journal, 2)
    chips = [NewBlank(bytes((number,)) * 10, f"pcsc:ACME#{number}") for number in (1, 2)]
    receive_blanks(journal, chips, lot="L", who="li")
    journal.write(lambda connection: hold_for_article(connection, "li", 1))


def claim_article(journal: Journal) -> None:
    def work(connection: Connection) -> None:
        if not room_to_make(connection, 1, 1):
            raise PersonalizationError("first-article")
        claim_to_make(connection, 1, "one", 1)

    journal.write(work)


@pytest.mark.parametrize(
    ("prepare", "act", "what", "refusal"),
    [
        (approve_erasure, use_approval, What.BATCH_ERASED, "approval-used"),
        (complete_batch, release, What.BATCH_RELEASED, "batch-released"),
        (claim_chip, begin_print, What.PRINT_BEGUN, "printed-before"),
        (hold_batch, claim_article, What.CLAIMED, "first-article"),
    ],
)
def test_of_two_machines_at_the_same_moment_one_acts(
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Journal], None],
    act: Callable[[Journal], None],
    what: What,
    refusal: str,
) -> None:
    """The second one waits until the first one has committed, and sees what it did."""
    prepare(journal)
    refused = list[str]()

    def try_too() -> None:
        try:
            act(journal)
        except PersonalizationError as error:
            refused.append(error.code)

    second = threading.Thread(target=try_too)

    def append_later(connection: Connection, entries: Sequence[dict[str, object]]) -> ChainEnd | None:
        if threading.current_thread() is not second:
            second.start()
            until(lambda: somebody_waits(connection) or not second.is_alive())
        return append_entries(connection, entries)

    monkeypatch.setattr("personalization.production.journal.database.append_entries", append_later)
    act(journal)
    second.join()
    told = journal.read(lambda connection: connection.execute(select(Event.what)).scalars().all())
    assert (refused, told.count(what.value)) == ([refusal], 1)
