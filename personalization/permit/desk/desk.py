"""What a desk does to a permit: each operation is decided in the dossier, then brought to the card.

| operation | decides | writes on the card |
|---|---|---|
| inspect | nothing | what waits for it |
| endorse | the next due day; late ones restore, another area takes over | status, record |
| cancel, lose, replace, revoke | the withdrawal | status "cancelled", when it is presented |
| move | nothing | current residence |
| entitle | nothing | points and entitlements |

Bank and partner applications are their owners': cancelling a permit leaves them as they are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from personalization.errors import PersonalizationError
from personalization.permit.desk.card_state import MAX_CHANGES, CardStatus, Change, EndorsementRecord, template
from personalization.permit.desk.dossier import Dossier, Dossiers, Endorsed, OnCard, Waiting, Withdrawal
from personalization.permit.desk.tap import Tap
from personalization.permit.endorsement import PermitStatus, PermitTerm
from personalization.permit.policy.model import EndorsementRule
from personalization.profile import CardProfile

_RESIDENCE: Final = 0x7F02
_ENTITLEMENTS: Final = 0x7F03
_INSPECT: Final = "inspect"


@dataclass(frozen=True, slots=True)
class Office:
    """Who is at work.

    Attributes:
        area: area code of the office.
        desk: name of the desk, at most eight characters on the card.
        rule: the endorsement rule of the office's policy.
    """

    area: str
    desk: str
    rule: EndorsementRule


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
    """

    status: PermitStatus
    due: dt.date
    residence_years: int
    mended: bool
    waiting: tuple[Waiting, ...] = ()

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

        A terminal that may not write, such as a police officer's, sees what waits and leaves it waiting.

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

    def withdraw(self, tap: Tap, today: dt.date, why: Withdrawal) -> Outcome:
        """Cancel a permit whose card is at hand; bank and partners keep their applications."""
        met = self._met(tap, today, why.value)
        return self._finish(tap, today, replace(met, dossier=_withdrawn(met.dossier, today, why)), why.value)

    def move(self, tap: Tap, today: dt.date, residence: NewResidence) -> Outcome:
        """Write a residence that was registered anew.

        Raises:
            PersonalizationError: "permit-not-valid" (exit 1) unless the permit is valid, "desk-text-too-long" (exit 2).
        """
        met = self._met(tap, today, "move")
        self._require_valid(met.dossier, today)
        row = self._profile.file_named("EF.RESIDENCE")
        objects = (
            (0xDF11, residence.address.encode()),
            (0xDF12, residence.number.encode()),
            (0xDF13, f"{residence.registered:%Y%m%d}".encode()),
            (0xDF14, residence.station.encode()),
        )
        change = Change(row.fid, 0, template(_RESIDENCE, objects, row.size or 0))
        return self._finish(tap, today, met, "move", (change,))

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

    # ------------------------------------------------------------ without the card

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

    def _met(self, tap: Tap, today: dt.date, what: str) -> _Met:
        """The dossier of a card, after the card has shown how far it is; the first tap makes one from the card."""
        if what != _INSPECT and not tap.may_write:
            raise PersonalizationError("desk-role-wrong", role=tap.session.role)
        permit = self._recognise(tap.permit_number)
        found = self._dossiers.find(permit)
        if found is None:
            dossier = Dossier.of_card(_term_of(tap), tap.status.changes)
            return _Met(permit, dossier, self._dossiers.save(permit, dossier, 0, what), mended=False)
        before, version = found
        dossier = before.seen(tap.status.changes)
        _require_agreement(dossier, tap, today)
        if dossier != before:
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
