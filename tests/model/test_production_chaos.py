"""Everything dies at random: stations, the coordinator, the database, cards in the middle of a write.

Keys in SoftHSM2, journal in PostgreSQL, four stations, simulated cards with real cryptography. Afterwards each row has
exactly one good card or a reason, the stock adds up, the audit trail holds, and no permit is on two live cards, which
the cards are asked themselves. ``PERMITCARD_CHAOS=rows,moments`` chooses another size for the long test.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from permitcard.centre import JOURNAL_PASSWORD_VARIABLE, MODULE_VARIABLE, PIN_VARIABLE, TOKEN_VARIABLE, Centre
from permitcard.commands.keys import make_hsm_keys
from permitcard.job import Job
from permitcard.products import open_simulated, permit_profile
from permitcard.recipes import permit_recipe
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.card_view import view_card
from personalization.keys.keystore import KeyName
from personalization.production.account import take_account
from personalization.production.audit import read_checkpoints, read_trail, verify_trail
from personalization.production.journal.batches import batch_status
from personalization.production.journal.claims import in_doubt
from personalization.production.journal.tables import Blank
from personalization.production.maker import GlobalPlatformMaker
from personalization.production.states import BatchState, BlankState, RowState, RunState
from personalization.production.stock import count_stock
from personalization.production.work import Condition
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from tests.doubles import softhsm
from tests.doubles.postgres import PASSWORD, Postgres
from tests.model.chaos_line import EVERYTHING, LEASE_S, MOMENTS

ROOT = Path(__file__).parents[2]
UNITS_OF_A_CARD = 1200
"""Programming units that making a card takes, about."""

PATIENCE_S = 900
SIZE_VARIABLE = "PERMITCARD_CHAOS"
SPARE = 1.3
KINDS = (
    "station", "tear", "stop", "database", "tear", "stop", "coordinator", "tear", "stop", "station",
    "stop", "database", "stop", "tear", "database", "stop", "station", "tear", "database", "stop",
)  # fmt: skip
"""What happens, in turn: the moments are random, not what dies."""


@pytest.fixture
def database() -> Iterator[Postgres]:
    server = Postgres.make()
    yield server
    server.stop()


@pytest.fixture
def centre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Postgres) -> Centre:
    """A rehearsal centre with keys in a token and an empty journal on the server."""
    hsm, label = softhsm.fresh_token()
    monkeypatch.setenv(MODULE_VARIABLE, hsm.module)
    monkeypatch.setenv(TOKEN_VARIABLE, label)
    monkeypatch.setenv(PIN_VARIABLE, softhsm.USER_PIN)
    monkeypatch.setenv("PERMITCARD_PKCS11_SO_PIN", softhsm.OFFICER_PIN)
    monkeypatch.setenv(JOURNAL_PASSWORD_VARIABLE, PASSWORD)
    root = tmp_path / "centre"
    make_hsm_keys(root, production=False)
    place = Centre(root)
    place.name_journal(database.new_database().url)
    return place


class Chaos:
    """One batch, and everything that happens to it."""

    def __init__(self, job: Job, database: Postgres, folder: Path, batch: str, dice: random.Random) -> None:
        self.job = job
        self.batch = batch
        self.happened: Counter[str] = Counter()
        self._database = database
        self._dice = dice
        self._folder = folder
        self._orders = folder / "orders"
        self._stopped: list[tuple[float, psutil.Process]] = []
        self._groups: list[int] = []
        self._strikes: dict[str, Callable[[], None]] = {
            "station": self._kill_station,
            "tear": self._tear,
            "stop": self._stop,
            "database": self._kill_database,
            "coordinator": self._kill_coordinator,
        }
        for name in ("orders", "taken", "tickets"):
            (folder / name).mkdir()
        self._coordinator = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "tests.model.chaos_line",
            str(self.job.centre.root),
            self.batch,
            str(self._orders),
        ]
        with (self._folder / "errors.txt").open("ab") as errors:
            process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=errors)
        self._groups.append(process.pid)
        return process

    def stations(self) -> list[psutil.Process]:
        """Station processes of the coordinator that lives."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._coordinator.pid).children()
            return [child for child in children if "spawn_main" in " ".join(_command(child))]
        return []

    def moment(self, kind: str, cards: int) -> None:
        """Allow so many more cards, wait until some of them were begun, a moment longer, and let it happen."""
        number = sum(self.happened.values())
        for card in range(cards):
            (self._folder / "tickets" / f"{number:04d}-{card:04d}").touch()
        self._until_begun(self._dice.randrange(cards))
        time.sleep(self._dice.random() * 0.05)
        self._strikes[kind]()
        self.happened[kind] += 1

    def _until_begun(self, left: int) -> None:
        """Until at most ``left`` of the cards that are allowed have not been begun."""
        deadline = time.monotonic() + PATIENCE_S
        while len(list((self._folder / "tickets").iterdir())) > left:
            self._go_on_after_a_while()
            assert time.monotonic() < deadline, f"nothing goes on: {self.errors()}"
            if self._coordinator.poll() is not None:
                self._coordinator = self._start()
            time.sleep(0.02)

    def _kill_station(self) -> None:
        if stations := self.stations():
            with suppress(psutil.NoSuchProcess):
                self._dice.choice(stations).kill()

    def _tear(self) -> None:
        """The next card that a station makes dies with it, at a random unit of a random write."""
        unit, moment = self._dice.randint(1, UNITS_OF_A_CARD), self._dice.randrange(len(MOMENTS))
        (self._orders / f"{self.happened['tear']:04d}-{unit}-{moment}").touch()

    def _stop(self) -> None:
        if stations := self.stations():
            process = self._dice.choice(stations)
            with suppress(psutil.NoSuchProcess):
                process.suspend()
                self._stopped.append((time.monotonic() + LEASE_S * self._dice.uniform(0.5, 2.0), process))

    def _kill_database(self) -> None:
        self._database.kill()
        self._database.start()

    def _kill_coordinator(self) -> None:
        self._coordinator.kill()
        self._coordinator.wait(PATIENCE_S)

    def _go_on_after_a_while(self) -> None:
        for until, process in list(self._stopped):
            if time.monotonic() >= until:
                self._stopped.remove((until, process))
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def finish(self) -> None:
        """Let everybody go on until the batch is complete."""
        (self._folder / "tickets" / EVERYTHING).touch()
        deadline = time.monotonic() + PATIENCE_S
        while batch_status(self.job.journal, self.batch).batch.state is not BatchState.COMPLETE:
            self._go_on_after_a_while()
            assert time.monotonic() < deadline, f"it does not end: {self.errors()}"
            if self._coordinator.poll() is not None:
                self._coordinator = self._start()
            time.sleep(0.05)
        self._coordinator.wait(PATIENCE_S)

    def errors(self) -> str:
        return (self._folder / "errors.txt").read_text()[-2000:]

    def close(self) -> None:
        """End whatever is left of all coordinators and their stations."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._coordinator.wait(PATIENCE_S)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@contextmanager
def loaded(centre: Centre, rows: int, folder: Path) -> Iterator[tuple[Job, str]]:
    """A batch in the journal, and enough blanks in stock."""
    from personalization.intake.sample import write_sample

    with Job.open(centre) as job:
        try:
            receipt = job.check(write_sample(folder / "delivered", rows))
            batch = job.load(receipt).identifier
            job.receive_simulated(int(rows * SPARE) + 20)
            yield job, batch
        finally:
            job.keys.close()


def live_through(centre: Centre, database: Postgres, folder: Path, rows: int, moments: int, seed: int) -> None:
    with loaded(centre, rows, folder) as (job, batch):
        chaos = Chaos(job, database, folder, batch, random.Random(seed))
        try:
            for number in range(moments):
                chaos.moment(KINDS[number % len(KINDS)], rows // (moments + 1))
            chaos.finish()
        finally:
            chaos.close()
        status = batch_status(job.journal, batch)
        sys.stdout.write(
            f"\n{rows} rows, {sum(chaos.happened.values())} moments {dict(chaos.happened)}: cards found "
            f"{status.recovered}, of them half-made {status.half_made}, spoiled {status.runs[RunState.SPOILED]}\n"
        )
        account(job, batch, rows)
        assert status.half_made > 0


def account(job: Job, batch: str, rows: int) -> None:
    """Rows, stock, audit trail and the cards themselves agree."""
    status = batch_status(job.journal, batch)
    assert (status.good, status.left, status.rows[RowState.GOOD]) == (rows, 0, rows)
    assert take_account(job.journal).adds_up
    stock = count_stock(job.journal)
    images = list(job.centre.cards.glob("*.card"))
    assert stock.received == sum(stock.by_state.values()) == len(images)
    assert (stock.by_state[BlankState.GOOD], stock.by_state[BlankState.IN_USE]) == (rows, 0)
    job.checkpoint()
    trail, head = read_trail(job.journal)
    signed = read_checkpoints(job.centre.checkpoints, job.keys.certificate(KeyName.AUTHORITY))
    verdict = verify_trail(trail, signed, head)
    assert (verdict.findings, verdict.uncovered) == ((), 0)
    with job.journal.reading() as connection:
        assert in_doubt(connection, status.batch.id) == []
        blanks = {row.location: row.state for row in connection.execute(select(Blank.location, Blank.state))}
    permits: Counter[str] = Counter()
    for image in images:
        condition, permit = read(job, image)
        state = blanks[f"sim:cards/{image.name}"]
        permits.update([permit] if permit else [])
        if state == BlankState.IN_STOCK.value:
            assert condition is Condition.UNTOUCHED
        assert (condition is Condition.FINISHED) is (state == BlankState.GOOD.value)
    assert len(permits) == rows
    assert set(permits.values()) == {1}


def read(job: Job, image: Path) -> tuple[Condition, str]:
    """What a card says of itself, and the permit number on a finished one."""
    with open_simulated(image) as card:
        with card.connect(Interface.CONTACT) as contact:
            condition = GlobalPlatformMaker(permit_recipe(job.keys)).look(contact).condition
        if condition is not Condition.FINISHED:
            return condition, ""
        with card.connect(Interface.CONTACT) as contact:
            session = TerminalSession.open(contact, LaboratorySam(job.keys), permit_profile(), "inspection")
            (values,) = view_card(permit_profile(), session, "inspection").file("EF.IDENTITY").records
            return condition, next(str(value.value) for value in values if value.name == "permit_number")


def test_twenty_moments_lose_nothing_and_make_nothing_twice(
    centre: Centre, database: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        live_through(centre, database, tmp_path, rows=64, moments=20, seed=6)


@pytest.mark.long
def test_two_hundred_moments_in_ten_thousand_rows(
    centre: Centre, database: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, moments = (int(number) for number in os.environ.get(SIZE_VARIABLE, "10000,200").split(","))
    with capsys.disabled():
        live_through(centre, database, tmp_path, rows, moments, seed=7)
