"""Every operation of a desk, cut at every write of the card and at every lost response: the next tap mends it."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from card_os.hardware.power import CutMoment
from personalization.errors import PersonalizationError
from personalization.permit.desk.desk import Desk, NewResidence
from personalization.permit.desk.dossier import MemoryDossiers, Withdrawal
from personalization.permit.desk.tap import Tap
from reader_bridge.connection import CardConnection, ReaderError
from tests.unit.personalization.desk.bench import ISSUED, NUMBER, BenchCard, desk, recognise
from tests.unit.personalization.desk.lines import Losing

MOMENTS = (CutMoment.BEFORE, CutMoment.ERASING, CutMoment.PROGRAMMING, CutMoment.AFTER)
TODAY = dt.date(2026, 12, 10)
LATE = dt.date(2027, 3, 1)
HOME = NewResidence("浙江省瑞安市仙降街道新路1号", "330381202700009", dt.date(2026, 5, 20), "仙降派出所")
Operation = Callable[[Desk, Tap, dt.date], object]


def endorse(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.endorse(tap, today)


def cancel(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.withdraw(tap, today, Withdrawal.CANCELLED)


def move(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.move(tap, today, HOME)


def entitle(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.entitle(tap, today, 85, today, "入学")


def take_what_waits(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.inspect(tap, today)


@dataclass(frozen=True)
class Scene:
    name: str
    operation: Operation
    today: dt.date
    online: bool = False


SCENES = [
    Scene("endorse", endorse, TODAY),
    Scene("restore", endorse, LATE),
    Scene("cancel", cancel, TODAY),
    Scene("move", move, TODAY),
    Scene("entitle", entitle, TODAY),
    Scene("endorsed-online", take_what_waits, TODAY, online=True),
]


def prepared(scene: Scene) -> tuple[BenchCard, MemoryDossiers]:
    """A card that its record knows, with what waits for it."""
    card, dossiers = BenchCard(), MemoryDossiers()
    with card.tap(ISSUED) as tap:
        desk(dossiers).inspect(tap, ISSUED)
    if scene.online:
        desk(dossiers).endorse_online(NUMBER, scene.today)
    return card, dossiers


def mended(card: BenchCard, dossiers: MemoryDossiers, today: dt.date) -> None:
    """The next tap: card and record agree, nothing is on its way and nothing waits."""
    with card.tap(today) as tap:
        desk(dossiers).inspect(tap, today)
    found = dossiers.find(recognise(NUMBER))
    assert found is not None
    dossier = found[0]
    assert dossier.writing is None
    assert not dossier.waits
    with card.tap(today) as tap:
        assert tap.status.status is dossier.status(today)
        assert (tap.status.due, tap.status.area) == (dossier.term.due, dossier.term.area)
        assert tap.status.changes == dossier.on_card.changes
        assert len(tap.endorsements) == len(dossier.endorsements)


QUICK = frozenset({"endorse", "move"})


@pytest.mark.parametrize(
    "scene",
    [pytest.param(scene, marks=() if scene.name in QUICK else pytest.mark.long, id=scene.name) for scene in SCENES],
)
def test_cut_at_every_write(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    base, dossiers = prepared(scene)
    image, record = base.snapshot(), dossiers.find(recognise(NUMBER))
    assert record is not None
    whole = BenchCard(image)
    kept = MemoryDossiers()
    kept.save(recognise(NUMBER), record[0], 0, "copy")
    first = whole.units
    with whole.tap(scene.today) as tap:
        scene.operation(desk(kept), tap, scene.today)
    units = whole.units - first
    cuts = 0
    assert units > 10
    for unit in range(1, units + 1):
        for moment in MOMENTS:
            torn = BenchCard(image)
            kept = MemoryDossiers()
            kept.save(recognise(NUMBER), record[0], 0, "copy")
            torn.arm(unit, moment)
            with contextlib.suppress(ReaderError), torn.tap(scene.today) as tap:
                scene.operation(desk(kept), tap, scene.today)
            cuts += 1
            mended(torn.again(), kept, scene.today)
    record_property("cuts", cuts)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_every_response_lost(scene: Scene) -> None:
    base, dossiers = prepared(scene)
    image, record = base.snapshot(), dossiers.find(recognise(NUMBER))
    assert record is not None
    lost = 0
    while True:
        lost += 1
        card = BenchCard(image)
        kept = MemoryDossiers()
        kept.save(recognise(NUMBER), record[0], 0, "copy")
        lines: list[Losing] = []

        def losing(inner: CardConnection, at: int = lost, seen: list[Losing] = lines) -> Losing:
            seen.append(Losing(inner, at))
            return seen[-1]

        with contextlib.suppress(ReaderError), card.tap(scene.today, wrap=losing) as tap:
            scene.operation(desk(kept), tap, scene.today)
        mended(card.again(), kept, scene.today)
        if lines[0].commands < lost:
            break
    assert lost > 15


def test_the_next_tap_may_be_cut_too() -> None:
    """A tap that mends is itself cut, again and again, and still comes to its end."""
    card, dossiers = prepared(SCENES[5])
    for unit in range(3, 40, 4):
        torn = BenchCard(card.snapshot())
        torn.arm(unit, CutMoment.PROGRAMMING)
        with contextlib.suppress(ReaderError), torn.tap(TODAY) as tap:
            desk(dossiers).inspect(tap, TODAY)
        card = torn.again()
    mended(card, dossiers, TODAY)


def test_a_card_pulled_before_the_decision_was_noted_is_undecided() -> None:
    card, dossiers = prepared(SCENES[0])

    class Refusing(MemoryDossiers):
        def save(self, permit: bytes, dossier: object, version: int, what: str) -> int:
            raise PersonalizationError("journal-unavailable", exit_code=3)

    refusing = Refusing()
    refusing._kept = dossiers._kept
    with card.tap(TODAY) as tap:
        office = desk(refusing)
        with pytest.raises(PersonalizationError, match="journal-unavailable"):
            office.endorse(tap, TODAY)
        assert tap.status.changes == 0
    mended(card, dossiers, TODAY)
