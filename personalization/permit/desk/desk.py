"""What a desk does to a permit: each operation is decided in the dossier, then brought to the card.

| operation | decides | writes on the card |
|---|---|---|
| inspect | nothing | what waits for it |
| endorse | the next due day; late ones restore, another area takes over | status, record |
| cancel, lose, replace, revoke | the withdrawal | status "cancelled", when it is presented |
| move, correct | the address | current residence |
| entitle | nothing | points and entitlements |
| link | the numbers | numbers of other cards |
| unlock | nothing | a new PIN, with the holder's unblocking PIN |
| activate | that a branch set out to | bank account active, in the branch's role |

Bank and partner applications are their owners': cancelling a permit leaves them as they are.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from personalization.errors import PersonalizationError
from personalization.permit.desk.bank_section import BankSection
from personalization.permit.desk.card_state import MAX_CHANGES, CardStatus, Change, EndorsementRecord, template
from personalization.permit.desk.dossier import Account, Dossier, Dossiers, Endorsed, OnCard, Waiting, Withdrawal
from personalization.permit.desk.tap import Tap
from personalization.permit.endorsement import PermitStatus, PermitTerm
from personalization.permit.linked import LinkedNumbers, faults_of
from personalization.permit.policy.model import DeadlineRule, EndorsementRule
from personalization.permit.recognition import deadline
from personalization.profile import CardProfile
from personalization.terminal.holder import HolderSession, pin_block
from personalization.terminal.session import TerminalSession

_RESIDENCE: Final = 0x7F02
_ENTITLEMENTS: Final = 0x7F03
_LINKED: Final = 0x7F04
_INSPECT: Final = "inspect"


@dataclass(frozen=True, slots=True)
class Office:
    """Who is at work.

    Attributes:
        area: area code of the office.
        desk: name of the desk, at most eight characters on the card.
        rule: the endorsement rule of the office's policy.
        changes: how long holders may take to report a new residence; None where no policy says.
    """

    area: str
    desk: str
    rule: EndorsementRule
    changes: DeadlineRule | None = None


@dataclass(frozen=True, slots=True)
class NewResidence:
    """A residence that was registered anew."""

    address: str = field(repr=False)
    number: str = field(repr=False)
    registered: dt.date
    station: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a permit is after an operation.

    Attributes:
        status: what it is worth today, on the card and in the dossier.
        due: next endorsement.
        residence_years: full years that count.
        mended: something that was under way, or waited, was brought to the card at this tap.
        waiting: what was decided and waits for the card, which was not presented or may not be written here.
        report_by: the day by which a new residence had to be reported, when it was reported later; it is taken all the
            same.
    """

    status: PermitStatus
    due: dt.date
    residence_years: int
    mended: bool
    waiting: tuple[Waiting, ...] = ()
    report_by: dt.date | None = None

    @property
    def waits(self) -> bool:
        """Whether something waits for the card."""
        return bool(self.waiting)


class Desk:
    """Operations on permits.

    Args:
        profile: the permit's profile.
        dossiers: where dossiers are kept.
        recognise: recognition value of a permit number.
        office: who is at work.
    """

    __slots__ = ("_dossiers", "_office", "_profile", "_recognise")

    def __init__(
        self, profile: CardProfile, dossiers: Dossiers, recognise: Callable[[str], bytes], office: Office
    ) -> None:
        self._profile = profile
        self._dossiers = dossiers
        self._recognise = recognise
        self._office = office

    # ------------------------------------------------------------ with the card at hand

    def inspect(self, tap: Tap, today: dt.date) -> Outcome:
        """Bring card and dossier together and say what the permit is worth.

        A terminal that may not write, such as a police officer's, sees what waits and changes neither side.

        Raises:
            PersonalizationError: "card-out-of-step", "card-record-disagree" (exit 1).
        """
        met = self._met(tap, today, _INSPECT)
        return self._finish(tap, today, met) if tap.may_write else _outcome(met.dossier, today, mended=met.mended)

    def endorse(self, tap: Tap, today: dt.date) -> Outcome:
        """Endorse: in the window, or late, which restores; by another area too, where the rule lets it.

        Raises:
            PersonalizationError: "endorsement-too-early", "endorsement-other-area", "permit-cancelled".
        """
        met = self._met(tap, today, "endorse")
        return self._finish(tap, today, replace(met, dossier=self._endorsed(met.dossier, today)), "endorse")

    def hand_over(self, tap: Tap, today: dt.date, number: str, succeeds: str = "") -> Outcome:
        """Give out a new card; in place of an older permit it takes over the years of residence.

        Args:
            tap: the new card.
            today: the desk's date.
            number: the permit number that was ordered.
            succeeds: number of the permit whose place it takes, which was withdrawn; empty for a first permit.

        Raises:
            PersonalizationError: "card-other-permit" (exit 1), another card; "permit-not-withdrawn" (exit 1), the older
                permit is still good; "dossier-none".
        """
        if tap.permit_number != number:
            raise PersonalizationError("card-other-permit")
        permit = self._recognise(number)
        if succeeds and self._dossiers.find(permit) is None:
            found = self._dossiers.find(self._recognise(succeeds))
            if found is None:
                raise PersonalizationError("dossier-none")
            if found[0].withdrawal is None:
                raise PersonalizationError("permit-not-withdrawn")
            before, own = found[0].term, _term_of(tap)
            term = replace(own, counted_from=before.counted_from, resident_since=before.resident_since)
            dossier = Dossier.of_card(term, tap.status.changes, number)
            self._dossiers.save(permit, dossier, 0, "hand-over")
        return self._finish(tap, today, self._met(tap, today, "hand-over"), "hand-over")

    def withdraw(self, tap: Tap, today: dt.date, why: Withdrawal) -> Outcome:
        """Cancel a permit whose card is at hand; bank and partners keep their applications."""
        met = self._met(tap, today, why.value)
        return self._finish(tap, today, replace(met, dossier=_withdrawn(met.dossier, today, why)), why.value)

    def move(self, tap: Tap, today: dt.date, residence: NewResidence) -> Outcome:
        """Write a residence that was registered anew, and say whether it was reported in time.

        Raises:
            PersonalizationError: "permit-not-valid" (exit 1) unless the permit is valid, "desk-text-too-long" (exit 2).
        """
        outcome = self._reside(tap, today, residence, "move")
        rule = self._office.changes
        last = deadline(rule, residence.registered).day if rule is not None else today
        return outcome if today <= last else replace(outcome, report_by=last)

    def correct(self, tap: Tap, today: dt.date, residence: NewResidence) -> Outcome:
        """Write a residence that stood wrongly on the card; nothing had to be reported.

        Raises:
            PersonalizationError: as `move`.
        """
        return self._reside(tap, today, residence, "correct")

    def _reside(self, tap: Tap, today: dt.date, residence: NewResidence, what: str) -> Outcome:
        met = self._met(tap, today, what)
        self._require_valid(met.dossier, today)
        row = self._profile.file_named("EF.RESIDENCE")
        objects = (
            (0xDF11, residence.address.encode()),
            (0xDF12, residence.number.encode()),
            (0xDF13, f"{residence.registered:%Y%m%d}".encode()),
            (0xDF14, residence.station.encode()),
        )
        change = Change(row.fid, 0, template(_RESIDENCE, objects, row.size or 0))
        decided = replace(met, dossier=replace(met.dossier, address=residence.address))
        return self._finish(tap, today, decided, what, (change,))

    def entitle(self, tap: Tap, today: dt.date, points: int, counted: dt.date, services: str) -> Outcome:
        """Write the summary of a resident's points and the services that they give.

        Raises:
            PersonalizationError: "permit-not-valid" (exit 1), "desk-text-too-long" (exit 2).
        """
        met = self._met(tap, today, "entitle")
        self._require_valid(met.dossier, today)
        row = self._profile.file_named("EF.ENTITLEMENTS")
        objects = (
            (0xDF51, str(points).encode("ascii")),
            (0xDF52, f"{counted:%Y%m%d}".encode("ascii")),
            (0xDF53, services.encode()),
        )
        change = Change(row.fid, 0, template(_ENTITLEMENTS, objects, row.size or 0))
        return self._finish(tap, today, met, "entitle", (change,))

    def link(self, tap: Tap, today: dt.date, linked: LinkedNumbers) -> Outcome:
        """Write the numbers of other cards that the holder has: citizen card, its account, social-security card.

        Raises:
            PersonalizationError: "permit-not-valid" (exit 1), "linked-number-wrong" (exit 2) with everything that is.
        """
        faults = faults_of(linked)
        if faults:
            listed = ", ".join(fault.value for fault in faults)
            raise PersonalizationError("linked-number-wrong", exit_code=2, faults=listed)
        met = self._met(tap, today, "link")
        self._require_valid(met.dossier, today)
        row = self._profile.file_named("EF.LINKED")
        objects = (
            (0xDF31, linked.citizen_card.encode("ascii")),
            (0xDF32, linked.account.encode("ascii")),
            (0xDF33, linked.social_card.encode("ascii")),
        )
        change = Change(row.fid, 0, template(_LINKED, objects, row.size or 0))
        decided = replace(met, dossier=replace(met.dossier, linked=linked))
        return self._finish(tap, today, decided, "link", (change,))

    def unlock(self, tap: Tap, today: dt.date, unblocking: str, new: str) -> Outcome:
        """Give the holder a new PIN against the unblocking PIN, under the desk's secure messaging.

        The card takes it in one command. A card that is pulled away has the old PIN or the new one; the holder's
        unblocking PIN is good for another time.

        Raises:
            PersonalizationError: "permit-cancelled", "pin-format" (exit 2), "unblocking-pin-wrong" with its tries left,
                "unblocking-pin-blocked" when it has none.
        """
        met = self._met(tap, today, "unlock")
        if met.dossier.withdrawal is not None:
            raise PersonalizationError("permit-cancelled", day=met.dossier.term.cancelled)
        for digits in (unblocking, new):
            pin_block(digits)  # a PIN of another form is refused before anything is recorded
        self._dossiers.save(met.permit, met.dossier, met.version, "unlock")
        holder = HolderSession(tap.session.channel, self._profile)
        holder.unblock(unblocking, new)
        limit = next(row.try_limit for row in self._profile.pins if row.name == "holder")
        if holder.tries_left() != limit:
            raise PersonalizationError("card-not-as-written", file="PIN")
        self._dossiers.save(met.permit, met.dossier, met.version + 1, "unlocked")
        return _outcome(met.dossier, today, mended=met.mended)

    def activate(self, tap: Tap, today: dt.date, branch: TerminalSession) -> Outcome:
        """Activate the bank account, at a branch.

        Args:
            tap: the card, proved genuine in a role that reads the permit; it has ended with ``branch``.
            today: the branch's date.
            branch: the same card in the branch's role, which alone reads and writes the account.

        Raises:
            PersonalizationError: "permit-not-valid", "account-none", "account-active" (exit 1), "card-changed" (exit 1)
                when the two are not one card.
        """
        met = self._met(tap, today, "activate", writes=False)
        self._require_valid(met.dossier, today)
        if not hmac.compare_digest(branch.card_number, tap.session.card_number):
            raise PersonalizationError("card-changed")
        known = met.dossier.account
        section = BankSection(branch, self._profile)
        if section.active and known is not None and known.active is not None:
            raise PersonalizationError("account-active", day=known.active)
        found = section.active
        if not found:
            asked = replace(met.dossier, account=Account(today))
            met = replace(met, dossier=asked, version=self._dossiers.save(met.permit, asked, met.version, "activate"))
            section.activate()
        done = replace(met.dossier, account=Account(known.asked if found and known else today, today))
        self._dossiers.save(met.permit, done, met.version, "activated")
        return _outcome(done, today, mended=found)

    # ------------------------------------------------------------ without the card

    def adopt(self, permit_number: str, term: PermitTerm) -> None:
        """Begin the dossier of a card that no desk has seen, from what it was made with; one that is there stays."""
        permit = self._recognise(permit_number)
        if self._dossiers.find(permit) is None:
            self._dossiers.save(permit, Dossier.of_card(term, 0, permit_number), 0, "adopt")

    def record(self, permit_number: str) -> Dossier:
        """What the record says.

        Raises:
            PersonalizationError: "dossier-none" (exit 1).
        """
        found = self._dossiers.find(self._recognise(permit_number))
        if found is None:
            raise PersonalizationError("dossier-none")
        return found[0]

    def endorse_online(self, permit_number: str, today: dt.date) -> Outcome:
        """Endorse a permit whose card is not here; the card takes it at its next tap.

        Raises:
            PersonalizationError: "dossier-none" (exit 1), or as `endorse`.
        """
        return self._without_card(permit_number, today, "endorse", lambda dossier: self._endorsed(dossier, today))

    def withdraw_remotely(self, permit_number: str, today: dt.date, why: Withdrawal) -> Outcome:
        """Cancel, or take a report of loss, without the card: good at once in the record and its status list."""
        return self._without_card(permit_number, today, why.value, lambda dossier: _withdrawn(dossier, today, why))

    def _without_card(
        self, permit_number: str, today: dt.date, what: str, decide: Callable[[Dossier], Dossier]
    ) -> Outcome:
        permit = self._recognise(permit_number)
        found = self._dossiers.find(permit)
        if found is None:
            raise PersonalizationError("dossier-none")
        dossier, version = found
        decided = decide(dossier)
        self._dossiers.save(permit, decided, version, what)
        return _outcome(decided, today, mended=False)

    # ------------------------------------------------------------ deciding

    def _endorsed(self, dossier: Dossier, today: dt.date) -> Dossier:
        office = self._office
        if dossier.withdrawal is not None:
            raise PersonalizationError("permit-cancelled", day=dossier.term.cancelled)
        term = dossier.term.endorsed(today, office.area, office.rule)
        made = Endorsed(today, term.due, office.area, office.desk)
        return replace(dossier, term=term, endorsements=(*dossier.endorsements, made))

    def _require_valid(self, dossier: Dossier, today: dt.date) -> None:
        status = dossier.status(today)
        if status is not PermitStatus.VALID:
            raise PersonalizationError("permit-not-valid", status=status.value)

    # ------------------------------------------------------------ bringing card and dossier together

    def _met(self, tap: Tap, today: dt.date, what: str, *, writes: bool = True) -> _Met:
        """The dossier of a card, after the card has shown how far it is; the first tap makes one from the card."""
        if writes and what != _INSPECT and not tap.may_write:
            raise PersonalizationError("desk-role-wrong", role=tap.session.role)
        permit = self._recognise(tap.permit_number)
        found = self._dossiers.find(permit)
        only_looks = what == _INSPECT and not tap.may_write
        if found is None:
            dossier = Dossier.of_card(_term_of(tap), tap.status.changes, tap.permit_number)
            if only_looks:
                return _Met(permit, dossier, 0, mended=False)
            return _Met(permit, dossier, self._dossiers.save(permit, dossier, 0, what), mended=False)
        before, version = found
        dossier = replace(before.seen(tap.status.changes), number=tap.permit_number)
        _require_agreement(dossier, tap, today)
        if dossier != before and not only_looks:
            version = self._dossiers.save(permit, dossier, version, what)
        return _Met(permit, dossier, version, mended=dossier.on_card != before.on_card)

    def _finish(
        self, tap: Tap, today: dt.date, met: _Met, what: str = _INSPECT, extra: tuple[Change, ...] = ()
    ) -> Outcome:
        """Bring to the card what it lacks, in one command: announced before, noted after."""
        dossier, version = met.dossier, met.version
        waits = dossier.waits
        if not waits and not extra:
            return _outcome(dossier, today, mended=met.mended)
        if dossier.on_card.changes >= MAX_CHANGES:
            raise PersonalizationError("card-used-up")
        goal = OnCard(dossier.on_card.changes + 1, dossier.term, len(dossier.endorsements))
        writing = replace(dossier, writing=goal)
        version = self._dossiers.save(met.permit, writing, version, what)
        tap.write([*self._changes(tap, dossier, goal, today), *extra])
        done = writing.seen(tap.status.changes)
        self._dossiers.save(met.permit, done, version, what)
        return _outcome(done, today, mended=met.mended or (waits and what == _INSPECT))

    def _changes(self, tap: Tap, dossier: Dossier, goal: OnCard, today: dt.date) -> Iterator[Change]:
        records = self._profile.file_named("EF.ENDORSEMENTS")
        room, length = records.records or 0, records.record_size or 0
        for number in range(dossier.on_card.endorsements, goal.endorsements):
            made = dossier.endorsements[number]
            place = number % room * length
            yield Change(records.fid, place, EndorsementRecord(made.day, made.due, made.area, made.desk).encode())
        status = goal.term.status(today)
        since = tap.status.since if status is tap.status.status else today
        shown = CardStatus(status, goal.term.due, since, goal.term.area, goal.changes)
        yield Change(self._profile.file_named("EF.STATUS").fid, 0, shown.encode())


@dataclass(frozen=True, slots=True)
class _Met:
    """A dossier that has met its card."""

    permit: bytes
    dossier: Dossier
    version: int
    mended: bool


def _term_of(tap: Tap) -> PermitTerm:
    """What a card that no dossier knows yet says of its term."""
    status = tap.status
    cancelled = status.since if status.status is PermitStatus.CANCELLED else None
    return PermitTerm(tap.issued, status.due, status.area, tap.issued, cancelled)


def _require_agreement(dossier: Dossier, tap: Tap, today: dt.date) -> None:
    """What the card shows is what the record knows that it has; the card suspends itself from its date alone."""
    term = dossier.on_card.term
    if tap.status.due != term.due or tap.status.status is not term.status(today):
        raise PersonalizationError(
            "card-record-disagree", card=tap.status.status.value, record=term.status(today).value
        )


def _withdrawn(dossier: Dossier, today: dt.date, why: Withdrawal) -> Dossier:
    if dossier.withdrawal is not None:
        raise PersonalizationError("permit-cancelled", day=dossier.term.cancelled)
    return replace(dossier, term=dossier.term.cancelled_on(today), withdrawal=why)


def _outcome(dossier: Dossier, today: dt.date, *, mended: bool) -> Outcome:
    term = dossier.term
    return Outcome(term.status(today), term.due, term.residence_years(today), mended, dossier.waiting)
