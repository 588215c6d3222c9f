"""What desks and branches do beside endorsing: a new residence in time or late, corrections, PINs, bank accounts."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import cache

import pytest

from permitcard.products import permit_profile
from permitcard.specimen import HOLDER_PIN, UNBLOCKING_PIN, specimen_applicant, specimen_keys
from personalization.errors import PersonalizationError
from personalization.permit.desk.bank_section import BankSection
from personalization.permit.desk.card_state import objects_in
from personalization.permit.desk.desk import NewResidence
from personalization.permit.desk.dossier import Account, Dossier, MemoryDossiers, Withdrawal
from personalization.permit.endorsement import PermitStatus, PermitTerm
from personalization.preparation.prepare import Preparer
from personalization.terminal.holder import HolderSession
from reader_bridge.card_comparison import compare_cards
from reader_bridge.connection import Interface
from tests.unit.personalization.desk.bench import AREA, DUE, ISSUED, NUMBER, BenchCard, card_made_with, desk, recognise

TODAY = dt.date(2026, 5, 25)
HOME = NewResidence("浙江省瑞安市仙降街道新路1号", "330381202700009", dt.date(2026, 5, 20), "仙降派出所")
NEW_PIN = "271828"


class Audited(MemoryDossiers):
    """Keeps what was said of each save, as the audit trail does."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def save(self, permit: bytes, dossier: Dossier, version: int, what: str) -> int:
        self.said.append(what)
        return super().save(permit, dossier, version, what)

    @property
    def dossier(self) -> Dossier:
        found = self.find(recognise(NUMBER))
        assert found is not None
        return found[0]


@pytest.fixture
def dossiers() -> Audited:
    return Audited()


@pytest.fixture
def card() -> BenchCard:
    return BenchCard()


# ---------------------------------------------------------------- residence


@pytest.mark.parametrize(
    ("day", "late"),
    [(dt.date(2026, 5, 30), None), (dt.date(2026, 5, 31), dt.date(2026, 5, 30))],
    ids=["tenth-day", "eleventh-day"],
)
@pytest.mark.clause("拱墅（2022）二（一）1: 10 days for a change of residence")
def test_a_new_residence_is_reported_in_ten_days(
    card: BenchCard, dossiers: Audited, day: dt.date, late: dt.date | None
) -> None:
    with card.tap(day) as tap:
        assert desk(dossiers).move(tap, day, HOME).report_by == late
        assert objects_in(tap.session.read("EF.RESIDENCE"), 0x7F02)[0xDF11] == HOME.address.encode()


def test_a_correction_is_no_change_of_residence(card: BenchCard, dossiers: Audited) -> None:
    day = dt.date(2026, 9, 1)
    with card.tap(day) as tap:
        assert desk(dossiers).correct(tap, day, replace(HOME, station="莘塍派出所")).report_by is None
        assert objects_in(tap.session.read("EF.RESIDENCE"), 0x7F02)[0xDF14] == "莘塍派出所".encode()
    assert dossiers.said[-1] == "correct"


# ---------------------------------------------------------------- PIN


def blocked(card: BenchCard) -> BenchCard:
    with card.simulated.connect(Interface.CONTACT) as connection:
        holder = HolderSession.open(connection, permit_profile())
        for _ in range(3):
            with pytest.raises(PersonalizationError, match=r"pin-wrong|pin-blocked"):
                holder.verify("999999")
        assert holder.tries_left() == 0
    return card


@pytest.mark.parametrize("interface", Interface)
def test_a_blocked_pin_is_unlocked(card: BenchCard, dossiers: Audited, interface: Interface) -> None:
    with blocked(card).tap(TODAY, interface) as tap:
        assert desk(dossiers).unlock(tap, TODAY, UNBLOCKING_PIN, NEW_PIN).status is PermitStatus.VALID
    assert dossiers.said == ["unlock", "unlock", "unlocked"]
    with card.simulated.connect(Interface.CONTACT) as connection:
        HolderSession.open(connection, permit_profile()).verify(NEW_PIN)
    assert NEW_PIN not in dossiers.dossier.encode().decode()


@pytest.mark.parametrize(
    ("unblocking", "new", "code", "exit_code"),
    [
        ("11111111", NEW_PIN, "unblocking-pin-wrong", 1),
        (UNBLOCKING_PIN, "12", "pin-format", 2),
        ("1x", NEW_PIN, "pin-format", 2),
    ],
    ids=["wrong-unblocking-pin", "new-pin-too-short", "no-digits"],
)
def test_a_pin_that_is_not_unlocked(
    card: BenchCard, dossiers: Audited, unblocking: str, new: str, code: str, exit_code: int
) -> None:
    with card.tap(TODAY) as tap:
        office = desk(dossiers)
        with pytest.raises(PersonalizationError) as caught:
            office.unlock(tap, TODAY, unblocking, new)
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert "unlocked" not in dossiers.said
    with card.simulated.connect(Interface.CONTACT) as connection:
        HolderSession.open(connection, permit_profile()).verify(HOLDER_PIN)


def test_the_pin_of_a_withdrawn_permit_stays_locked(card: BenchCard, dossiers: Audited) -> None:
    office = desk(dossiers)
    with card.tap(TODAY) as tap:
        office.withdraw(tap, TODAY, Withdrawal.REVOKED)
        with pytest.raises(PersonalizationError, match="permit-cancelled"):
            office.unlock(tap, TODAY, UNBLOCKING_PIN, NEW_PIN)


# ---------------------------------------------------------------- bank


@pytest.mark.parametrize("interface", Interface)
def test_a_branch_activates_the_account(card: BenchCard, dossiers: Audited, interface: Interface) -> None:
    with card.branch(TODAY, interface) as (tap, branch):
        assert not BankSection(branch, permit_profile()).active
        outcome = desk(dossiers).activate(tap, TODAY, branch)
        assert BankSection(branch, permit_profile()).active
        assert objects_in(branch.read("EF.BANK"), 0x7F05)[0x5A] == b"9999900000000000017"
    assert (outcome.status, outcome.due, outcome.mended) == (PermitStatus.VALID, DUE, False)
    assert dossiers.dossier.account == Account(TODAY, TODAY)
    assert dossiers.said == ["activate", "activate", "activated"]


def test_an_account_is_activated_once(card: BenchCard, dossiers: Audited) -> None:
    later = TODAY + dt.timedelta(days=1)
    with card.branch(TODAY) as (tap, branch):
        desk(dossiers).activate(tap, TODAY, branch)
    with card.branch(later) as (tap, branch):
        office = desk(dossiers)
        with pytest.raises(PersonalizationError) as caught:
            office.activate(tap, later, branch)
    assert (caught.value.code, caught.value.parameters) == ("account-active", {"day": TODAY})


@pytest.mark.parametrize("day", [DUE + dt.timedelta(days=1), TODAY], ids=["suspended", "cancelled"])
def test_no_account_is_activated_on_a_permit_that_is_not_valid(
    card: BenchCard, dossiers: Audited, day: dt.date
) -> None:
    if day == TODAY:
        with card.tap(ISSUED) as tap:
            desk(dossiers).withdraw(tap, ISSUED, Withdrawal.CANCELLED)
    with card.branch(day) as (tap, branch):
        before = card.fork()
        office = desk(dossiers)
        with pytest.raises(PersonalizationError, match="permit-not-valid"):
            office.activate(tap, day, branch)
        assert compare_cards(before, card.fork()) == []


def test_a_branch_and_a_permit_that_are_not_one_card(card: BenchCard, dossiers: Audited) -> None:
    other = BenchCard()
    with card.branch(TODAY) as (tap, _), other.branch(TODAY) as (_, branch):
        branch.card_number = bytes(10)
        office = desk(dossiers)
        with pytest.raises(PersonalizationError, match="card-changed"):
            office.activate(tap, TODAY, branch)
        assert not BankSection(branch, permit_profile()).active


def test_cancelling_leaves_an_active_account_active(card: BenchCard, dossiers: Audited) -> None:
    """What the bank owns is the bank's to close."""
    with card.branch(TODAY) as (tap, branch):
        desk(dossiers).activate(tap, TODAY, branch)
    image = card.fork()
    with card.tap(TODAY) as tap:
        desk(dossiers).withdraw(tap, TODAY, Withdrawal.REVOKED)
    assert {(item.item, item.identifier) for item in compare_cards(image, card.fork())} == {("file", 0x0203)}
    with card.branch(TODAY) as (_, branch):
        assert BankSection(branch, permit_profile()).active
    kept = dossiers.dossier
    assert Dossier.decode(kept.encode()) == kept


# ---------------------------------------------------------------- handing over, and cards that no desk has seen

NEW_NUMBER = "330381261500000002"
HANDED = dt.date(2026, 6, 10)


def successor(due: dt.date = DUE) -> BenchCard:
    """The card that was ordered in place of the specimen: another number, the old due day."""
    return BenchCard(_successor_image(due))


@cache
def _successor_image(due: dt.date) -> bytes:
    person = specimen_applicant()._replace(
        permit_number=NEW_NUMBER, issue_date=TODAY, production_date=TODAY, endorsement_due=due
    )
    record = Preparer(permit_profile(), specimen_keys(), first_bound=dt.timedelta(days=9999)).prepare(person).record
    return card_made_with(specimen_keys(), record).snapshot()


@pytest.mark.parametrize("interface", Interface)
def test_a_replacement_takes_over_the_years_of_residence(dossiers: Audited, interface: Interface) -> None:
    office = desk(dossiers)
    with BenchCard().tap(ISSUED) as tap:
        office.inspect(tap, ISSUED)
    office.withdraw_remotely(NUMBER, TODAY, Withdrawal.LOST)
    card = successor()
    with card.tap(HANDED, interface) as tap:
        outcome = office.hand_over(tap, HANDED, NEW_NUMBER, NUMBER)
    assert (outcome.status, outcome.due, outcome.waits) == (PermitStatus.VALID, DUE, False)
    found = dossiers.find(recognise(NEW_NUMBER))
    assert found is not None
    assert (found[0].term.counted_from, found[0].term.resident_since) == (ISSUED, ISSUED)
    with card.tap(HANDED, interface) as tap:
        again = office.hand_over(tap, HANDED, NEW_NUMBER, NUMBER)
    assert again == outcome, "who was interrupted hands over again"
    assert dossiers.dossier.withdrawal is Withdrawal.LOST
    day = dt.date(2026, 12, 10)
    with card.tap(day) as tap:
        assert office.endorse(tap, day).due == dt.date(2028, 1, 1), "the anniversaries of the first issue go on"
        assert office.inspect(tap, day).residence_years == 0
    with card.tap(dt.date(2027, 1, 1)) as tap:
        assert office.inspect(tap, dt.date(2027, 1, 1)).residence_years == 1


@pytest.mark.parametrize(
    ("number", "succeeds", "code"),
    [
        (NUMBER, "", "card-other-permit"),
        (NEW_NUMBER, NUMBER, "permit-not-withdrawn"),
        (NEW_NUMBER, "330381260000000009", "dossier-none"),
    ],
)
def test_a_card_that_is_not_handed_over(dossiers: Audited, number: str, succeeds: str, code: str) -> None:
    office = desk(dossiers)
    with BenchCard().tap(ISSUED) as tap:
        office.inspect(tap, ISSUED)
    with successor().tap(HANDED) as tap, pytest.raises(PersonalizationError, match=code):
        office.hand_over(tap, HANDED, number, succeeds)
    assert dossiers.find(recognise(NEW_NUMBER)) is None


def test_a_lost_card_that_no_desk_ever_saw_is_barred(card: BenchCard, dossiers: Audited) -> None:
    """Its dossier begins with what production made; the card agrees when it turns up."""
    office = desk(dossiers)
    term = PermitTerm(ISSUED, DUE, AREA, ISSUED)
    office.adopt(NUMBER, term)
    office.adopt(NUMBER, replace(term, area="330302"))
    assert office.record(NUMBER).term == term, "a dossier that is there stays"
    assert office.withdraw_remotely(NUMBER, TODAY, Withdrawal.LOST).waits
    with card.tap(TODAY, Interface.CONTACTLESS) as tap:
        assert office.inspect(tap, TODAY).mended
        assert tap.status.status is PermitStatus.CANCELLED
    with pytest.raises(PersonalizationError, match="dossier-none"):
        office.record("330381260000000009")
