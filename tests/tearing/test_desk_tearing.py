"""Every operation of a desk, cut at every write of the card and at every lost response: the next tap mends it."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from card_os.hardware.power import CutMoment
from permitcard.products import permit_profile
from permitcard.specimen import HOLDER_PIN, UNBLOCKING_PIN
from personalization.errors import PersonalizationError
from personalization.permit.desk.bank_section import BankSection
from personalization.permit.desk.desk import Desk, NewResidence
from personalization.permit.desk.dossier import Account, Dossier, MemoryDossiers, Withdrawal
from personalization.permit.desk.tap import Tap
from personalization.permit.linked import LinkedNumbers
from personalization.terminal.holder import HolderSession
from reader_bridge.connection import CardConnection, Interface, ReaderError
from tests.unit.personalization.desk.bench import ISSUED, NUMBER, BenchCard, desk, recognise
from tests.unit.personalization.desk.lines import Losing

MOMENTS = (CutMoment.BEFORE, CutMoment.ERASING, CutMoment.PROGRAMMING, CutMoment.AFTER)
TODAY = dt.date(2026, 12, 10)
LATE = dt.date(2027, 3, 1)
EDGE = 4
NEW_PIN = "271828"
HOME = NewResidence("浙江省瑞安市仙降街道新路1号", "330381202700009", dt.date(2026, 5, 20), "仙降派出所")
Operation = Callable[[Desk, Tap, dt.date], object]


def endorse(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.endorse(tap, today)


def cancel(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.withdraw(tap, today, Withdrawal.CANCELLED)


def move(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.move(tap, today, HOME)


def correct(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.correct(tap, today, HOME)


def entitle(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.entitle(tap, today, 85, today, "入学")


def link(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.link(tap, today, LinkedNumbers("Z00000001", "9999900000000000025", "A12345678"))


def revoke(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.withdraw(tap, today, Withdrawal.REVOKED)


def unlock(office: Desk, tap: Tap, today: dt.date) -> object:
    return office.unlock(tap, today, UNBLOCKING_PIN, NEW_PIN)


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
    Scene("correct", correct, TODAY),
    Scene("entitle", entitle, TODAY),
    Scene("link", link, TODAY),
    Scene("revoke", revoke, TODAY),
    Scene("unlock", unlock, TODAY),
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
        tap.read_again()
        assert tap.status.status is dossier.status(today)
        assert (tap.status.due, tap.status.area) == (dossier.term.due, dossier.term.area)
        assert tap.status.changes == dossier.on_card.changes
        assert len(tap.endorsements) == len(dossier.endorsements)


@dataclass(frozen=True)
class Prepared:
    """A scene just before its operation, to be copied: the card, the record, and the writes that come."""

    image: bytes
    record: Dossier
    opening: int
    """Writes of a tap before the operation begins: authentication, bound and date."""
    writes: int

    def dossiers(self) -> MemoryDossiers:
        kept = MemoryDossiers()
        kept.save(recognise(NUMBER), self.record, 0, "copy")
        return kept


@functools.cache
def before(scene: Scene) -> Prepared:
    base, dossiers = prepared(scene)
    image, record = base.snapshot(), dossiers.find(recognise(NUMBER))
    assert record is not None
    whole = BenchCard(image)
    first = whole.units
    with whole.tap(scene.today) as tap:
        opened = whole.units - first
        scene.operation(desk(dossiers), tap, scene.today)
    return Prepared(image, record[0], opened, whole.units - first)


def cut(scene: Scene, unit: int, moment: CutMoment) -> None:
    """Cut at one write in one way; the next tap mends it."""
    known = before(scene)
    torn, kept = BenchCard(known.image), known.dossiers()
    torn.arm(unit, moment)
    with contextlib.suppress(ReaderError), torn.tap(scene.today) as tap:
        scene.operation(desk(kept), tap, scene.today)
    mended(torn.again(), kept, scene.today)


def some_cuts(scene: Scene) -> Iterator[tuple[int, CutMoment]]:
    """In all ways where an operation begins and where it commits; in between every third write, in one way in turn."""
    known = before(scene)
    first, last = known.opening + 1, known.writes
    edges = {*range(first, first + EDGE), *range(last - 2 * EDGE, last + 1)}
    for unit in range(first, last + 1):
        if unit in edges:
            yield from ((unit, moment) for moment in MOMENTS)
        elif unit % 3 == 0:
            yield unit, MOMENTS[unit // 3 % len(MOMENTS)]


def test_cut_while_a_tap_opens(record_property: Callable[[str, object], None]) -> None:
    """What every tap writes before its operation is the same for all of them: one stands for all."""
    scene = SCENES[0]
    known = before(scene)
    assert 0 < known.opening < known.writes
    for unit in range(1, known.opening + 1):
        for moment in MOMENTS:
            cut(scene, unit, moment)
    record_property("cuts", known.opening * len(MOMENTS))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_cut_at_many_writes(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    cuts = list(some_cuts(scene))
    assert len(cuts) >= 12 * EDGE - len(MOMENTS)
    for unit, moment in cuts:
        cut(scene, unit, moment)
    record_property("cuts", len(cuts))


@pytest.mark.long
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_cut_at_every_write(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    units = range(1, before(scene).writes + 1)
    for unit in units:
        for moment in MOMENTS:
            cut(scene, unit, moment)
    record_property("cuts", len(units) * len(MOMENTS))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_every_response_lost(scene: Scene) -> None:
    known, lost = before(scene), 0
    while True:
        lost += 1
        card, kept = BenchCard(known.image), known.dossiers()
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


def test_a_pin_is_the_old_one_or_the_new_one() -> None:
    scene = next(scene for scene in SCENES if scene.operation is unlock)
    found: set[str] = set()
    for unit in range(before(scene).opening + 1, before(scene).writes + 1):
        torn = BenchCard(before(scene).image)
        torn.arm(unit, CutMoment.PROGRAMMING)
        with contextlib.suppress(ReaderError), torn.tap(TODAY) as tap:
            unlock(desk(before(scene).dossiers()), tap, TODAY)
        with torn.again().simulated.connect(Interface.CONTACT) as connection:
            holder = HolderSession.open(connection, permit_profile())
            for pin in (HOLDER_PIN, NEW_PIN):
                with contextlib.suppress(PersonalizationError):
                    holder.verify(pin)
                    found.add(pin)
                    break
            else:
                raise AssertionError(f"neither PIN after a cut at {unit}")
    assert found == {HOLDER_PIN, NEW_PIN}


def activated(card: BenchCard, dossiers: MemoryDossiers, lose: int = 0) -> int:
    """A visit to a branch; returns how many commands it took."""
    lines: list[Losing] = []

    def losing(inner: CardConnection) -> Losing:
        lines.append(Losing(inner, lose))
        return lines[-1]

    with contextlib.suppress(ReaderError), card.branch(TODAY, wrap=losing) as (tap, branch):
        desk(dossiers).activate(tap, TODAY, branch)
    return lines[0].commands


def active_in_the_end(card: BenchCard, dossiers: MemoryDossiers) -> None:
    """Whatever happened: the next visit finds the account active, or makes it so, and the record says it."""
    with card.branch(TODAY) as (tap, branch):
        ended = ""
        try:
            desk(dossiers).activate(tap, TODAY, branch)
        except PersonalizationError as error:
            ended = error.code
        assert ended in {"", "account-active"}
        assert BankSection(branch, permit_profile()).active
    found = dossiers.find(recognise(NUMBER))
    assert found is not None
    assert found[0].account == Account(TODAY, TODAY)
    assert found[0].writing is None


def test_an_activation_cut_at_every_write_and_lost_response() -> None:
    known = before(SCENES[0])
    whole = BenchCard(known.image)
    first = whole.units
    commands = activated(whole, known.dossiers())
    for unit in range(1, whole.units - first + 1):
        card, kept = BenchCard(known.image), known.dossiers()
        card.arm(unit, MOMENTS[unit % len(MOMENTS)])
        activated(card, kept)
        active_in_the_end(card.again(), kept)
    for lost in range(1, commands + 1):
        card, kept = BenchCard(known.image), known.dossiers()
        activated(card, kept, lost)
        active_in_the_end(card.again(), kept)


def test_the_next_tap_may_be_cut_too() -> None:
    """A tap that mends is itself cut, again and again, and still comes to its end."""
    card, dossiers = prepared(SCENES[-1])
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
