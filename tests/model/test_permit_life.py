"""Years of permits with random events, day by day: after each tap the card, the record and a plain dict agree.

Between taps a card is what the record was at the card's last told date; what waits for it is listed. Both are looked at
before each event, by a terminal that tells no date.

PERMITCARD_LIFE_SEED, PERMITCARD_LIFE_PERMITS (10,000 in the long run), PERMITCARD_LIFE_FIRST and PERMITCARD_LIFE_YEARS
choose other lives; a life that fails names its seed.
"""

from __future__ import annotations

import calendar
import datetime as dt
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from permitcard.dossiers import SealedDossiers
from permitcard.products import permit_profile
from permitcard.specimen import specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.errors import PersonalizationError
from personalization.keys.file_store import FileKeyStore
from personalization.permit.desk.card_state import CardStatus
from personalization.permit.desk.desk import Desk, NewResidence
from personalization.permit.desk.dossier import Dossiers, MemoryDossiers, Withdrawal
from personalization.production.journal.database import open_journal
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from tests.unit.personalization.desk.bench import AREA, DUE, ELSEWHERE, ISSUED, NUMBER, BenchCard, desk, recognise

Opened = Callable[[], AbstractContextManager[Dossiers]]
"""Opens an empty store of records."""

SEED = int(os.environ.get("PERMITCARD_LIFE_SEED", "20161222"))
PERMITS = int(os.environ.get("PERMITCARD_LIFE_PERMITS", "10000"))
FIRST = int(os.environ.get("PERMITCARD_LIFE_FIRST", "0"))
YEARS = int(os.environ.get("PERMITCARD_LIFE_YEARS", "10"))
EVENTS = ("inspect", "endorse", "endorse", "endorse-elsewhere", "endorse-online", "move", "entitle", "withdraw", "lose")
WEIGHTS = (8, 12, 6, 3, 5, 2, 2, 1, 1)
HOME = NewResidence("瑞安市新路1号", "1", ISSUED, "仙降派出所")


def same_day(year: int, day: dt.date) -> dt.date:
    """The anniversary in a year; the permits of this bench are issued on 1 January, which every year has."""
    return dt.date(year, day.month, day.day)


class Model:
    """What a permit is, as plain values: written from the documents and not from the code."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {"due": DUE, "cancelled": False, "since": ISSUED, "area": AREA, "count": 0}
        self.card = dict(self.now)
        self.told: dt.date | None = None
        self.waiting: list[tuple[str, dt.date]] = []

    def status(self, day: dt.date, side: dict[str, Any] | None = None) -> str:
        side = side or self.now
        return "cancelled" if side["cancelled"] else "suspended" if day > side["due"] else "valid"

    def may_endorse(self, day: dt.date) -> bool:
        return not self.now["cancelled"] and day >= dt.date(self.now["due"].year - 1, 12, 1)

    def endorse(self, day: dt.date, area: str) -> None:
        if day > self.now["due"]:
            self.now["since"] = day
        due = same_day(self.now["due"].year + 1, ISSUED)
        while dt.date(due.year - 1, 12, 1) <= day:  # its window has begun: this endorsement covers it
            due = same_day(due.year + 1, ISSUED)
        self.now.update(due=due, area=area, count=self.now["count"] + 1)

    def years(self, day: dt.date) -> int:
        """Full years; one that began on 29 February is full on 28 February where there is no 29th (Civil Code, 202)."""
        since = self.now["since"]
        began = (since.month, since.day)
        if began == (2, 29) and not calendar.isleap(day.year):
            began = (2, 28)
        return int(day.year - since.year - ((day.month, day.day) < began))


def live(seed: str, years: int, dossiers: Dossiers) -> int:
    """One permit's life, its record in ``dossiers``; returns how many taps it had."""
    chance = random.Random(seed)
    card, model = BenchCard(seed=chance.randrange(1 << 30)), Model()
    offices = {AREA: desk(dossiers), ELSEWHERE: desk(dossiers, ELSEWHERE)}
    taps, known = 0, False
    day, end = ISSUED, same_day(ISSUED.year + years, ISSUED)
    while day < end:
        between(card, dossiers, model)
        day += dt.timedelta(days=chance.randint(1, 120))
        event = chance.choices(EVENTS, WEIGHTS)[0]
        if event in {"endorse-online", "lose"}:
            if known:
                apart(offices[AREA], model, event, day)
            continue
        taps += 1
        known = True
        tapped(card, offices, model, event, day, chance.choice(tuple(Interface)))
        agree(card, dossiers, model, day)
        if model.now["cancelled"] and chance.random() < 0.7:
            break
    return taps


def between(card: BenchCard, dossiers: Dossiers, model: Model) -> None:
    """The card is what the record was at its last told date, seen without telling it another; what waits is listed."""
    with card.simulated.connect(Interface.CONTACTLESS) as connection:
        session = TerminalSession.open(connection, LaboratorySam(specimen_keys()), permit_profile(), "inspection")
        shown = CardStatus.decode(session.read("EF.STATUS"))
        records = len(session.read_records("EF.ENDORSEMENTS"))
        told, _ = session.clock()
    assert told == model.told
    expected = model.status(told, model.card) if told is not None else "valid"
    assert (shown.status.value, shown.due, shown.area) == (expected, model.card["due"], model.card["area"])
    assert records == min(model.card["count"], 12)
    found = dossiers.find(recognise(NUMBER))
    if found is not None:
        dossier = found[0]
        assert [tuple(item) for item in dossier.waiting] == model.waiting
        assert dossier.waits == bool(model.waiting)
        assert dossier.on_card.changes == shown.changes
        assert told is not None
        assert dossier.on_card.term.status(told) is shown.status


def apart(office: Desk, model: Model, event: str, day: dt.date) -> None:
    """Something is decided while the card is away."""
    if event == "endorse-online":
        if model.may_endorse(day):
            model.waiting.append(("endorsement", day))
            listed = office.endorse_online(NUMBER, day).waiting
            assert [tuple(item) for item in listed] == model.waiting
            model.endorse(day, AREA)
        else:
            with pytest.raises(PersonalizationError):
                office.endorse_online(NUMBER, day)
    elif not model.now["cancelled"]:
        model.waiting.append(("lost", day))
        listed = office.withdraw_remotely(NUMBER, day, Withdrawal.LOST).waiting
        assert [tuple(item) for item in listed] == model.waiting
        model.now["cancelled"] = True


def tapped(
    card: BenchCard, offices: dict[str, Desk], model: Model, event: str, day: dt.date, interface: Interface
) -> None:
    office = offices[ELSEWHERE if event == "endorse-elsewhere" else AREA]
    with card.tap(day, interface) as tap:
        assert tap.status.status == model.status(day, model.card), "the card is what it was told last"
        assert tap.status.due == model.card["due"]
        possible = {
            "inspect": True,
            "endorse": model.may_endorse(day),
            "endorse-elsewhere": model.may_endorse(day),
            "move": model.status(day) == "valid",
            "entitle": model.status(day) == "valid",
            "withdraw": not model.now["cancelled"],
        }[event]
        try:
            act(office, tap, event, day)
        except PersonalizationError:
            assert not possible
            office.inspect(tap, day)
        else:
            assert possible
            if event.startswith("endorse"):
                model.endorse(day, ELSEWHERE if event == "endorse-elsewhere" else AREA)
            elif event == "withdraw":
                model.now["cancelled"] = True
    model.card, model.told, model.waiting = dict(model.now), day, []


def act(office: Desk, tap: Any, event: str, day: dt.date) -> None:
    match event:
        case "inspect":
            office.inspect(tap, day)
        case "endorse" | "endorse-elsewhere":
            office.endorse(tap, day)
        case "move":
            office.move(tap, day, HOME)
        case "entitle":
            office.entitle(tap, day, 10, day, "入学")
        case _:
            office.withdraw(tap, day, Withdrawal.CANCELLED)


def agree(card: BenchCard, dossiers: Dossiers, model: Model, day: dt.date) -> None:
    found = dossiers.find(recognise(NUMBER))
    assert found is not None
    dossier = found[0]
    with card.tap(day) as tap:
        shown = (tap.status.status.value, tap.status.due, tap.status.area, len(tap.endorsements))
    expected = (model.status(day), model.now["due"], model.now["area"], min(model.now["count"], 12))
    assert shown == expected
    assert (dossier.status(day).value, dossier.term.due, dossier.term.area) == expected[:3]
    assert dossier.term.residence_years(day) == model.years(day)
    assert not dossier.waits


def in_memory() -> AbstractContextManager[Dossiers]:
    return nullcontext(MemoryDossiers())


@pytest.fixture
def in_database(tmp_path: Path) -> Opened:
    """Sealed records in a journal of its own for each permit."""
    passphrase = b"the lives of permits"
    FileKeyStore.create(tmp_path / "keys.json", passphrase)
    keys = FileKeyStore.open(tmp_path / "keys.json", passphrase)
    empty = tmp_path / "empty.sqlite"
    open_journal(empty).close()

    @contextmanager
    def opened() -> Iterator[Dossiers]:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            path = Path(folder) / "journal.sqlite"
            shutil.copyfile(empty, path)
            with open_journal(path) as journal:
                yield SealedDossiers(journal, keys, "desk")

    return opened


def lives(first: int, permits: int, years: int, opened: Opened = in_memory) -> int:
    """Many permits' lives, each with a record store of its own; returns their taps."""
    taps = 0
    for number in range(first, first + permits):
        seed = f"{SEED}-{number}"
        try:
            with opened() as dossiers:
                taps += live(seed, years, dossiers)
        except BaseException as error:
            error.add_note(
                f"the life of permit {seed}; alone: PERMITCARD_LIFE_FIRST={number} PERMITCARD_LIFE_PERMITS=1"
            )
            raise
    return taps


def test_lives_of_permits() -> None:
    assert lives(0, 8, 10) > 60


def test_lives_of_permits_in_the_database(in_database: Opened) -> None:
    assert lives(0, 3, 10, in_database) > 20


@pytest.mark.long
def test_ten_years_of_ten_thousand_permits(in_database: Opened, record_property: Callable[[str, object], None]) -> None:
    record_property("taps", lives(FIRST, PERMITS, YEARS, in_database))
