"""What desks do to permits: decided in the dossier, written on the card in one command, the same in both."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from permitcard.products import permit_profile
from permitcard.specimen import specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.errors import PersonalizationError
from personalization.permit.desk.card_state import CardStatus, EndorsementRecord, objects_in
from personalization.permit.desk.desk import Desk, NewResidence, Outcome
from personalization.permit.desk.dossier import Dossier, MemoryDossiers, Waiting, Withdrawal
from personalization.permit.desk.tap import Tap
from personalization.permit.endorsement import PermitStatus
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from tests.unit.personalization.desk.bench import AREA, DUE, ELSEWHERE, ISSUED, NUMBER, BenchCard, desk, recognise

VALID, SUSPENDED, CANCELLED = PermitStatus.VALID, PermitStatus.SUSPENDED, PermitStatus.CANCELLED
IN_WINDOW = dt.date(2026, 12, 10)
LATE = dt.date(2027, 3, 1)
NEXT = dt.date(2028, 1, 1)
HOME = NewResidence("浙江省瑞安市仙降街道新路1号", "330381202700009", dt.date(2026, 5, 20), "仙降派出所")


def dossier_in(dossiers: MemoryDossiers) -> Dossier:
    found = dossiers.find(recognise(NUMBER))
    assert found is not None
    return found[0]


@pytest.fixture
def dossiers() -> MemoryDossiers:
    return MemoryDossiers()


@pytest.fixture
def card() -> BenchCard:
    return BenchCard()


def agree(card: BenchCard, dossiers: MemoryDossiers, today: dt.date) -> None:
    """Card and dossier say the same of the permit."""
    dossier = dossier_in(dossiers)
    with card.tap(today) as tap:
        assert tap.status.status is dossier.status(today)
        assert (tap.status.due, tap.status.area) == (dossier.term.due, dossier.term.area)
        assert tap.status.changes == dossier.on_card.changes
        assert len(tap.endorsements) == min(len(dossier.endorsements), 12)
    assert not dossier.waits
    assert dossier.writing is None


@pytest.mark.parametrize("interface", Interface)
def test_the_first_tap_makes_a_dossier_from_the_card(
    card: BenchCard, dossiers: MemoryDossiers, interface: Interface
) -> None:
    with card.tap(ISSUED, interface) as tap:
        outcome = desk(dossiers).inspect(tap, ISSUED)
    assert outcome == Outcome(VALID, DUE, 0, mended=False)
    assert dossier_in(dossiers).term.area == AREA
    agree(card, dossiers, ISSUED)


@pytest.mark.parametrize("interface", Interface)
def test_endorsed_in_the_window(card: BenchCard, dossiers: MemoryDossiers, interface: Interface) -> None:
    with card.tap(IN_WINDOW, interface) as tap:
        outcome = desk(dossiers).endorse(tap, IN_WINDOW)
        assert tap.endorsements == [EndorsementRecord(IN_WINDOW, NEXT, AREA, "DESK 001")]
        assert tap.status == CardStatus(VALID, NEXT, ISSUED, AREA, 1)
    assert outcome == Outcome(VALID, NEXT, 0, mended=False)
    agree(card, dossiers, dt.date(2028, 1, 2))


def test_a_card_past_its_due_day_suspends_itself_and_is_restored(card: BenchCard, dossiers: MemoryDossiers) -> None:
    with card.tap(LATE) as tap:
        assert tap.status.status is SUSPENDED
        assert desk(dossiers).inspect(tap, LATE).status is SUSPENDED
        outcome = desk(dossiers).endorse(tap, LATE)
        assert (tap.status.status, tap.status.since) == (VALID, LATE)
    assert outcome == Outcome(VALID, NEXT, 0, mended=False)
    assert dossier_in(dossiers).term.resident_since == LATE
    agree(card, dossiers, LATE)


def test_too_early_changes_nothing(card: BenchCard, dossiers: MemoryDossiers) -> None:
    today = dt.date(2026, 11, 30)
    with card.tap(today) as tap:
        office = desk(dossiers)
        with pytest.raises(PersonalizationError, match="endorsement-too-early"):
            office.endorse(tap, today)
        assert tap.status.changes == 0
    agree(card, dossiers, today)


def test_another_area_endorses_and_takes_over(card: BenchCard, dossiers: MemoryDossiers) -> None:
    with card.tap(IN_WINDOW) as tap:
        desk(dossiers, ELSEWHERE).endorse(tap, IN_WINDOW)
        assert (tap.status.area, tap.endorsements[0].area) == (ELSEWHERE, ELSEWHERE)
    agree(card, dossiers, IN_WINDOW)


def test_another_area_that_may_not(card: BenchCard, dossiers: MemoryDossiers) -> None:
    office = desk(dossiers, ELSEWHERE, other_area=False)
    with card.tap(IN_WINDOW) as tap, pytest.raises(PersonalizationError, match="endorsement-other-area"):
        office.endorse(tap, IN_WINDOW)
    agree(card, dossiers, IN_WINDOW)


@pytest.mark.parametrize("why", Withdrawal)
def test_a_withdrawn_permit_stays_withdrawn(card: BenchCard, dossiers: MemoryDossiers, why: Withdrawal) -> None:
    today = dt.date(2026, 5, 1)
    office = desk(dossiers)
    with card.tap(today) as tap:
        assert office.withdraw(tap, today, why).status is CANCELLED
        assert tap.status.status is CANCELLED
    assert dossier_in(dossiers).withdrawal is why
    acts: tuple[Callable[[Tap, dt.date], Outcome], ...] = (
        office.endorse,
        partial(office.withdraw, why=why),
        partial(office.move, residence=HOME),
    )
    for act in acts:
        with (
            card.tap(IN_WINDOW) as tap,
            pytest.raises(PersonalizationError, match=r"permit-cancelled|permit-not-valid"),
        ):
            act(tap, IN_WINDOW)
    agree(card, dossiers, LATE)


def test_cancelling_leaves_the_bank_its_application(card: BenchCard, dossiers: MemoryDossiers) -> None:
    with card.tap(ISSUED) as tap:
        desk(dossiers).withdraw(tap, ISSUED, Withdrawal.CANCELLED)
    with card.simulated.connect(Interface.CONTACT) as connection:
        branch = TerminalSession.open(connection, LaboratorySam(specimen_keys()), permit_profile(), "bank_branch")
        assert objects_in(branch.read("EF.BANK"), 0x7F05)[0x5A] == b"9999900000000000017"


def test_a_new_residence_stands_on_the_card(card: BenchCard, dossiers: MemoryDossiers) -> None:
    today = dt.date(2026, 5, 25)
    with card.tap(today) as tap:
        desk(dossiers).move(tap, today, HOME)
        found = objects_in(tap.session.read("EF.RESIDENCE"), 0x7F02)
    assert found == {
        0xDF11: HOME.address.encode(),
        0xDF12: HOME.number.encode(),
        0xDF13: b"20260520",
        0xDF14: HOME.station.encode(),
    }
    agree(card, dossiers, today)


def test_points_stand_on_the_card(card: BenchCard, dossiers: MemoryDossiers) -> None:
    today = dt.date(2026, 5, 25)
    with card.tap(today) as tap:
        desk(dossiers).entitle(tap, today, 85, today, "入学 体检")
        found = objects_in(tap.session.read("EF.ENTITLEMENTS"), 0x7F03)
    assert found == {0xDF51: b"85", 0xDF52: b"20260525", 0xDF53: "入学 体检".encode()}
    agree(card, dossiers, today)


def test_a_text_that_does_not_fit_changes_nothing(card: BenchCard, dossiers: MemoryDossiers) -> None:
    today = dt.date(2026, 5, 25)
    office = desk(dossiers)
    with card.tap(today) as tap:
        with pytest.raises(PersonalizationError, match="desk-text-too-long"):
            office.move(tap, today, replace(HOME, address="路" * 300))
        assert tap.status.changes == 0
    agree(card, dossiers, today)


def test_what_was_decided_online_waits_for_the_card(card: BenchCard, dossiers: MemoryDossiers) -> None:
    office = desk(dossiers)
    with card.tap(ISSUED) as tap:
        office.inspect(tap, ISSUED)
    waiting = (Waiting("endorsement", IN_WINDOW),)
    assert office.endorse_online(NUMBER, IN_WINDOW) == Outcome(VALID, NEXT, 0, mended=False, waiting=waiting)
    with card.tap(IN_WINDOW) as tap:
        assert tap.status.due == DUE
        assert office.inspect(tap, IN_WINDOW) == Outcome(VALID, NEXT, 0, mended=True)
        assert tap.status.due == NEXT
        assert len(tap.endorsements) == 1
    agree(card, dossiers, IN_WINDOW)


def test_a_card_that_waited_past_its_due_day_is_mended(card: BenchCard, dossiers: MemoryDossiers) -> None:
    """Between taps the card is what the record was at its last told date: it suspended itself, and the record knows."""
    office = desk(dossiers)
    with card.tap(ISSUED) as tap:
        office.inspect(tap, ISSUED)
    office.endorse_online(NUMBER, IN_WINDOW)
    with card.tap(LATE) as tap:
        assert tap.status.status is SUSPENDED
        assert office.inspect(tap, LATE).mended
        assert tap.status.status is VALID
    agree(card, dossiers, LATE)


def test_a_lost_card_that_turns_up_is_cancelled(card: BenchCard, dossiers: MemoryDossiers) -> None:
    office = desk(dossiers)
    with card.tap(ISSUED) as tap:
        office.inspect(tap, ISSUED)
    assert office.withdraw_remotely(NUMBER, dt.date(2026, 4, 1), Withdrawal.LOST).status is CANCELLED
    with card.tap(dt.date(2026, 6, 1), Interface.CONTACTLESS) as tap:
        assert office.inspect(tap, dt.date(2026, 6, 1)).status is CANCELLED
        assert tap.status.status is CANCELLED
    agree(card, dossiers, dt.date(2026, 6, 1))


def test_without_a_dossier_nothing_is_decided(dossiers: MemoryDossiers) -> None:
    with pytest.raises(PersonalizationError, match="dossier-none"):
        desk(dossiers).withdraw_remotely(NUMBER, ISSUED, Withdrawal.LOST)


def test_fourteen_years_take_the_place_of_the_oldest_records(card: BenchCard, dossiers: MemoryDossiers) -> None:
    office = desk(dossiers)
    for year in range(2026, 2040):
        day = dt.date(year, 12, 15)
        with card.tap(day) as tap:
            office.endorse(tap, day)
    with card.tap(day) as tap:
        years = [record.day.year for record in tap.endorsements]
    assert years == [2038, 2039, *range(2028, 2038)]
    assert dossier_in(dossiers).term.residence_years(dt.date(2040, 1, 1)) == 14
    agree(card, dossiers, day)


def test_an_older_copy_of_the_card_is_out_of_step(card: BenchCard, dossiers: MemoryDossiers) -> None:
    copy = BenchCard(card.snapshot())
    office = desk(dossiers)
    with card.tap(IN_WINDOW) as tap:
        office.endorse(tap, IN_WINDOW)
    with copy.tap(IN_WINDOW) as tap, pytest.raises(PersonalizationError, match="card-out-of-step"):
        office.inspect(tap, IN_WINDOW)


def test_a_card_that_was_written_past_the_record_is_found(card: BenchCard, dossiers: MemoryDossiers) -> None:
    office = desk(dossiers)
    with card.tap(ISSUED) as tap:
        office.inspect(tap, ISSUED)
        forged = replace(tap.status, due=dt.date(2099, 1, 1))
        tap.session.files.update(tap.profile.file_named("EF.STATUS"), forged.encode())
    with card.tap(ISSUED) as tap, pytest.raises(PersonalizationError, match="card-record-disagree"):
        office.inspect(tap, ISSUED)


def test_two_desks_at_once_lose_nothing(card: BenchCard, dossiers: MemoryDossiers) -> None:
    """The second one, which found an older dossier, is told so."""

    class Racing(MemoryDossiers):
        def save(self, permit: bytes, dossier: Dossier, version: int, what: str) -> int:
            if what == "endorse" and dossier.writing is not None and not raced:
                raced.append(desk(self).withdraw_remotely(NUMBER, IN_WINDOW, Withdrawal.LOST))
            return super().save(permit, dossier, version, what)

    raced: list[Outcome] = []
    racing = Racing()
    with card.tap(ISSUED) as tap:
        desk(racing).inspect(tap, ISSUED)
    with card.tap(IN_WINDOW) as tap:
        office = desk(racing)
        with pytest.raises(PersonalizationError, match="dossier-changed"):
            office.endorse(tap, IN_WINDOW)
        assert tap.status.changes == 0
    with card.tap(IN_WINDOW) as tap:
        assert desk(racing).inspect(tap, IN_WINDOW).status is CANCELLED
    agree(card, racing, IN_WINDOW)


def test_a_dossier_comes_back_as_it_was(card: BenchCard, dossiers: MemoryDossiers) -> None:
    office: Desk = desk(dossiers)
    with card.tap(IN_WINDOW) as tap:
        office.endorse(tap, IN_WINDOW)
    office.withdraw_remotely(NUMBER, IN_WINDOW, Withdrawal.REVOKED)
    kept = dossier_in(dossiers)
    writing = replace(kept, writing=kept.on_card)
    assert Dossier.decode(kept.encode()) == kept
    assert Dossier.decode(writing.encode()) == writing
    for raw in (b"", b"{}", b"[]", kept.encode()[:-1], kept.encode().replace(b"2026", b"20x6")):
        with pytest.raises(PersonalizationError, match="dossier-malformed"):
            Dossier.decode(raw)


def test_each_operation_is_one_change_of_the_card(card: BenchCard, dossiers: MemoryDossiers) -> None:
    office = desk(dossiers)
    acts: list[Callable[[Tap], Outcome]] = [
        lambda tap: office.move(tap, IN_WINDOW, HOME),
        lambda tap: office.entitle(tap, IN_WINDOW, 1, IN_WINDOW, "x"),
        lambda tap: office.endorse(tap, IN_WINDOW),
        lambda tap: office.withdraw(tap, IN_WINDOW, Withdrawal.CANCELLED),
    ]
    for number, act in enumerate(acts, 1):
        with card.tap(IN_WINDOW) as tap:
            act(tap)
            assert tap.status.changes == number
