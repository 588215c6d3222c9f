"""The centre's casework: cases in its journal, sealed; clerks from its roster; deliveries in its folder.

centre/delivered/NAME.zip    deliveries that were made from cases, as `batch check` and `batch run` take them
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from permitcard.centre import Centre
from permitcard.desk_office import DeskAtWork, withdraw_everywhere
from permitcard.job import Job
from permitcard.pass_office import IssuedList, IssuedPass, applicant_on_card, issue_for
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from personalization.intake.applicant import Applicant
from personalization.keys.keystore import KeyName, KeyStore
from personalization.permit.calendars import Deadline
from personalization.permit.casework.case import Case, Numbered
from personalization.permit.casework.case_file import CaseFile, Home, Person
from personalization.permit.casework.delivery import Delivered, IssuingOffice, applicant, due_of, sheet_row
from personalization.permit.casework.judging import endorsement_rule
from personalization.permit.casework.office import CaseOffice, Clerk, Delivery
from personalization.permit.casework.states import CaseState, Replaced, Step, Worker, transition
from personalization.permit.desk.desk import Outcome
from personalization.permit.desk.dossier import Withdrawal
from personalization.permit.desk.tap import Tap
from personalization.permit.endorsement import PermitStatus
from personalization.permit.evidence import Application
from personalization.permit.policy.library import PolicyLibrary, policies
from personalization.production.acts import Role
from personalization.production.journal.cards import find_permit, knows_permit
from personalization.production.journal.cases import CaseEntry, cases_in, find_case, open_case, save_cases
from personalization.production.journal.database import Journal

_CASE: Final = b"case\x00"
_FOLDER: Final = "delivered"
_ZIP: Final = ".zip"

_NOT_GIVEN_UP: Final = frozenset(CaseState) - {CaseState.REFUSED, CaseState.WITHDRAWN}

ROLES: Final[Mapping[Worker, Role]] = MappingProxyType(
    {
        Worker.DESK: Role.DESK,
        Worker.REVIEWER: Role.REVIEW,
        Worker.APPROVER: Role.APPROVE,
        Worker.PRODUCTION: Role.PREPARE,
    }
)
"""Roles of the roster that the work on cases needs."""


class SealedCases:
    """Cases in the journal, sealed under the transport key; each save is in the audit trail by its number.

    Args:
        journal: the open journal.
        keys: seals and opens.
        who: operator, for the audit trail.
    """

    __slots__ = ("_journal", "_keys", "_who")

    def __init__(self, journal: Journal, keys: KeyStore, who: str) -> None:
        self._journal = journal
        self._keys = keys
        self._who = who

    def open(self, case: Case) -> int:
        """See `Cases`."""
        return open_case(self._journal, case.state.value, lambda number: self._sealed(number, case), self._who)

    def find(self, number: int) -> Numbered:
        """See `Cases`."""
        return self._opened(find_case(self._journal, number))

    def in_states(self, states: frozenset[CaseState]) -> list[Numbered]:
        """See `Cases`."""
        return [self._opened(entry) for entry in cases_in(self._journal, [state.value for state in states])]

    def save(self, changed: list[Numbered], step: Step) -> None:
        """See `Cases`."""
        entries = [
            CaseEntry(one.number, one.case.state.value, self._sealed(one.number, one.case), one.version)
            for one in changed
        ]
        save_cases(self._journal, entries, self._who, step.value)

    def _sealed(self, number: int, case: Case) -> bytes:
        return self._keys.seal(KeyName.TRANSPORT, case.encode(), _CASE + str(number).encode("ascii"))

    def _opened(self, entry: CaseEntry) -> Numbered:
        raw = self._keys.unseal(KeyName.TRANSPORT, entry.sealed, _CASE + str(entry.number).encode("ascii"))
        return Numbered(entry.number, Case.decode(raw), entry.version)


@dataclass(frozen=True, slots=True)
class CasesAtWork:
    """The centre's casework with what it needs.

    Attributes:
        office: the work on cases.
        job: the centre's keys and journal.
        library: policies.
    """

    office: CaseOffice
    job: Job
    library: PolicyLibrary

    def deliver(self, area: str, today: dt.date, issuer: IssuingOffice) -> tuple[Delivery, Path | None]:
        """Put approved cases into a delivery and write it; a file that was not written is written by `again`."""
        found = self.office.deliver(area, today, issuer)
        return found, self._written(found.delivered) if found.delivered is not None else None

    def again(self, name: str) -> tuple[Delivered, Path]:
        """Write a delivery once more."""
        delivered = self.office.again(name)
        return delivered, self._written(delivered)

    def _written(self, delivered: Delivered) -> Path:
        folder = self.job.centre.root / _FOLDER
        make_folder(folder)
        path = folder / (delivered.name + _ZIP)
        write_atomically(path, delivered.content)
        return path

    def follow(self, today: dt.date) -> tuple[int, ...]:
        """Note which permits production has made."""
        return self.office.follow(self.is_made, today)

    def take_back(self, number: int, today: dt.date) -> Case:
        """Take a case out of a delivery that was never taken in.

        Raises:
            PersonalizationError: "case-in-production" (exit 1), the journal has a row of its permit.
        """
        case = self.office.find(number)
        if case.permit_number and knows_permit(self.job.journal, self.job.keys.recognise(case.permit_number.encode())):
            raise PersonalizationError("case-in-production", number=number)
        return self.office.step(number, Step.RETURN, today)

    def is_made(self, permit_number: str) -> bool:
        """Whether a permit has a card that passed inspection."""
        try:
            find_permit(self.job.journal, self.job.keys.recognise(permit_number.encode("ascii")))
        except PersonalizationError as error:
            if error.code != "permit-unknown":
                raise
            return False
        return True

    def issue(self, number: int, today: dt.date, issuer: IssuingOffice, desk: DeskAtWork) -> IssuedPass:
        """Issue the electronic permit of a case of mutual recognition; the permits that it replaces end at once.

        Raises:
            PersonalizationError: "case-state" (exit 2) and what `CaseOffice.step` raises.
        """
        case = self.office.find(number)
        transition(Step.ISSUE, case.state, case.kind)
        rule = endorsement_rule(self.library, case)
        row = sheet_row(case, number, today, issuer, rule)
        issued = issue_for(self.job, applicant(case, number, row), due_of(case, today, rule), dt.datetime.now(dt.UTC))
        for held in case.file.held:
            withdraw_everywhere(desk, held, Withdrawal.REPLACED)
        self.office.step(number, Step.ISSUE, today, issued.permit.identifier.hex())
        return issued

    def hand_over(self, number: int, today: dt.date, desk: DeskAtWork, card: str, given_in: str) -> Outcome:
        """Give out the card of a case.

        Raises:
            PersonalizationError: "case-state" (exit 2); "talent-permit-kept" (exit 1), the permit of introduced talent
                was not given in; what `Desk.hand_over` raises.
        """
        case = self.office.find(number)
        transition(Step.HAND_OVER, case.state, case.kind)
        if case.file.talent_permit_number != given_in:
            raise PersonalizationError("talent-permit-kept")
        with desk.tap(card) as tap:
            outcome = desk.desk.hand_over(tap, today, case.permit_number, case.succeeds)
        self.office.step(number, Step.HAND_OVER, today)
        return outcome


@contextmanager
def cases_at_work(root: Path, library: PolicyLibrary | None = None) -> Generator[CasesAtWork]:
    """Open the casework of the centre in ``root``.

    Raises:
        PersonalizationError: no such centre, keys or journal that cannot be opened.
    """
    with Job.open(Centre(root)) as job:
        yield casework_of(job, library)


def casework_of(job: Job, library: PolicyLibrary | None = None) -> CasesAtWork:
    """The casework of a centre that is open already."""
    operator = job.operator
    clerk = Clerk(operator.name, lambda worker: operator.require(ROLES[worker]), job.roster.alone)
    known = library or policies()
    return CasesAtWork(CaseOffice(SealedCases(job.journal, job.keys, operator.name), clerk, known), job, known)


@dataclass(frozen=True, slots=True)
class Ordered:
    """A new card that was ordered, and the status list that bars the old one."""

    number: int
    due: Deadline
    listed: IssuedList


def replace_permit(desk: DeskAtWork, why: Replaced, card: str | None, number: str) -> Ordered:
    """Bar a card and order a new one with a permit number of its own; the years of residence go on.

    What was begun and not finished is taken up: a permit that was reported lost before is ordered now.

    Args:
        desk: the desk.
        why: lost, damaged or wrong.
        card: address of the card, None when it is not here.
        number: its permit number when it is not here.

    Raises:
        PersonalizationError: "permit-unknown" (exit 2), the centre did not make it; "permit-not-valid",
            "permit-cancelled", "replacement-ordered" (exit 1).
    """
    if card is None:
        return _order(desk, why, number, None)
    with desk.tap(card) as tap:
        return _order(desk, why, tap.permit_number, tap)


def _order(desk: DeskAtWork, why: Replaced, number: str, tap: Tap | None) -> Ordered:
    person = applicant_on_card(desk.job, number)
    desk.adopt(number)
    _require_replaceable(desk, number)
    work = casework_of(desk.job)
    earlier = [one.number for one in work.office.listed(_NOT_GIVEN_UP) if one.case.succeeds == number]
    if earlier:
        raise PersonalizationError("replacement-ordered", number=earlier[0])
    withdrawal = Withdrawal.LOST if why is Replaced.LOST else Withdrawal.REPLACED
    record = desk.desk.record(number)
    if record.withdrawal is None and tap is not None:
        desk.desk.withdraw(tap, desk.today, withdrawal)
    elif record.withdrawal is None:
        desk.desk.withdraw_remotely(number, desk.today, withdrawal)
    listed = desk.withdrawn(number, record.withdrawal or withdrawal)
    ordered = work.office.order(
        replacement_file(person, desk.today), person.portrait, number, record.term.due, desk.today, why.value
    )
    if ordered.case.due is None:
        raise TypeError("an order has a last day")
    return Ordered(ordered.number, ordered.case.due, listed)


def _require_replaceable(desk: DeskAtWork, number: str) -> None:
    """A valid permit is replaced, also after it was reported lost or damaged; one that ended otherwise is not."""
    record = desk.desk.record(number)
    if record.withdrawal in {Withdrawal.CANCELLED, Withdrawal.REVOKED}:
        raise PersonalizationError("permit-cancelled", day=record.term.cancelled)
    if desk.today >= record.term.due:
        raise PersonalizationError("permit-not-valid", status=PermitStatus.SUSPENDED.value)


def replacement_file(person: Applicant, today: dt.date) -> CaseFile:
    """What a new card in place of an older one says: the same person, as production knows them."""
    home = person.residence
    return CaseFile(
        application=Application(area=person.area_code, applied=today, birth_date=person.birth_date),
        person=Person(
            name=person.name,
            sex=person.sex,
            ethnic_group=person.ethnic_group,
            citizen_number=person.citizen_number,
            registered_address=person.registered_address,
            bank_account=person.bank_account or "",
            citizen_card_number=person.citizen_card_number or "",
            citizen_card_account=person.citizen_card_account or "",
            permit_type=person.permit_type,
        ),
        home=Home(
            address=home.current_address,
            number=home.registration_number,
            registered=home.registration_date,
            station=home.registering_station,
        )
        if home
        else None,
    )
