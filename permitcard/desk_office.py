"""A desk of an issuing centre at work: its SAM, its dossiers, its bound of the date, and the card at hand.

centre/clock.bound   the newest bound of the date: YYYYMMDD (8), and r ‖ s (64) by each key of the clock authority
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from permitcard.centre import Centre
from permitcard.dossiers import SealedDossiers, delivered_term
from permitcard.job import Job
from permitcard.pass_office import IssuedList, applicant_on_card, latest_list, publish
from permitcard.products import permit_profile
from permitcard.reaching import card_factory
from permitcard.sams import a_sam
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.inspection.signature_check import SignatureVerifier
from personalization.keys.authorities import authorities_of
from personalization.keys.keystore import KeyName
from personalization.permit.desk.bank_section import BRANCH_ROLE
from personalization.permit.desk.desk import Desk, Office, Outcome
from personalization.permit.desk.dossier import Withdrawal
from personalization.permit.desk.proof import DateBound, open_session
from personalization.permit.desk.tap import DESK_ROLE, Tap, open_tap
from personalization.permit.electronic.status_list import Kind, Standing
from personalization.permit.policy.library import PolicyLibrary, policies
from personalization.production.acts import Role
from personalization.terminal.sam import CardAuthenticator
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import CardConnection

_BOUND_FILE: Final = "clock.bound"
_SIGNED: Final = b"permitcard date bound"
_DATE: Final = 8
_SIGNATURE: Final = 64
READING_ROLE: Final = "inspection"
"""Role of a terminal that reads a permit and writes nothing on it, such as a police officer's."""

STANDINGS: Final = {
    Withdrawal.CANCELLED: Standing.CANCELLED,
    Withdrawal.LOST: Standing.LOST,
    Withdrawal.REPLACED: Standing.REPLACED,
    Withdrawal.REVOKED: Standing.REVOKED,
}
"""What the status list says of a permit that was withdrawn."""


@dataclass(frozen=True, slots=True)
class DeskAtWork:
    """A desk with what it needs.

    Attributes:
        desk: its operations.
        job: the centre's keys and journal.
        sam: the SAMs in its terminal.
        today: its date.
    """

    desk: Desk
    job: Job
    sam: CardAuthenticator
    today: dt.date

    @contextmanager
    def tap(self, address: str, role: str = DESK_ROLE) -> Generator[Tap]:
        """The card at an address, authenticated, proved genuine and told the date."""
        with _connected(address) as connection:
            yield open_tap(
                connection,
                self.sam,
                permit_profile(),
                SignatureVerifier(authorities_of(self.job.keys)),
                self.today,
                read_bound(self.job.centre),
                role=role,
            )

    @contextmanager
    def branch(self, address: str) -> Generator[tuple[Tap, TerminalSession]]:
        """The card at a bank branch: proved genuine by a terminal that reads it, then in the branch's role."""
        profile = permit_profile()
        with _connected(address) as connection:
            verifier = SignatureVerifier(authorities_of(self.job.keys))
            bound = read_bound(self.job.centre)
            tap = open_tap(connection, self.sam, profile, verifier, self.today, bound, role=READING_ROLE)
            yield tap, open_session(connection, self.sam, profile, BRANCH_ROLE)

    def adopt(self, number: str) -> None:
        """Begin the dossier of a card of this centre that no desk has seen yet; nothing for any other permit."""
        try:
            made = applicant_on_card(self.job, number)
        except PersonalizationError as error:
            if error.code != "permit-unknown":
                raise
            return
        self.desk.adopt(number, delivered_term(made))

    def withdraw(self, card: str | None, number: str, why: Withdrawal) -> tuple[Outcome, IssuedList]:
        """Withdraw a permit, and publish the status list that says so.

        A withdrawal that was decided but not published, because the desk was interrupted, is published now.

        Args:
            card: address of the card, None when it is not here.
            number: its permit number when it is not here.
            why: the reason.

        Raises:
            PersonalizationError: "permit-cancelled" (exit 1), it was withdrawn before; "dossier-none".
        """
        if card is None:
            self.adopt(number)
            return self._withdraw(number, why, lambda: self.desk.withdraw_remotely(number, self.today, why))
        with self.tap(card) as tap:
            return self._withdraw(tap.permit_number, why, lambda: self.desk.withdraw(tap, self.today, why))

    def _withdraw(self, number: str, why: Withdrawal, act: Callable[[], Outcome]) -> tuple[Outcome, IssuedList]:
        try:
            outcome = act()
        except PersonalizationError as error:
            if error.code == "permit-cancelled":
                self._publish_unpublished(number)
            raise
        return outcome, self.withdrawn(number, why)

    def _publish_unpublished(self, number: str) -> None:
        listed = latest_list(self.job, dt.datetime.now(dt.UTC))
        why = self.desk.record(number).withdrawal
        if why is not None and (listed is None or listed.standing(Kind.PERMIT, number.encode("ascii")) is None):
            self.withdrawn(number, why)

    def withdrawn(self, number: str, why: Withdrawal) -> IssuedList:
        """Publish the status list with a permit that is not good any more."""
        return publish(self.job, dt.datetime.now(dt.UTC), {(Kind.PERMIT, number.encode("ascii")): STANDINGS[why]})

    @contextmanager
    def session(self, address: str, role: str) -> Generator[TerminalSession]:
        """The card at an address in another role, such as a bank branch."""
        with _connected(address) as connection:
            yield TerminalSession.open(connection, self.sam, permit_profile(), role)


def withdraw_everywhere(desk: DeskAtWork, number: str, why: Withdrawal) -> IssuedList:
    """Withdraw a permit that is not here: in its dossier, where there is one, and on the status list at once.

    A permit that was withdrawn before stays as it is; one of another centre is known to the list alone.
    """
    desk.adopt(number)
    try:
        desk.desk.withdraw_remotely(number, desk.today, why)
    except PersonalizationError as error:
        if error.code not in {"dossier-none", "permit-cancelled"}:
            raise
    return desk.withdrawn(number, why)


@contextmanager
def desk_at_work(
    root: Path, today: dt.date, area: str, name: str, library: PolicyLibrary | None = None
) -> Generator[DeskAtWork]:
    """Open a desk of the centre in ``root``.

    Args:
        root: the centre's folder.
        today: the desk's date.
        area: area code of the office, six digits.
        name: name of the desk.
        library: policies; by default those of the product.

    Raises:
        PersonalizationError: no such centre, no policy, keys or journal that cannot be opened, "role-missing".
    """
    known = library or policies()
    policy = known.complete(known.for_area(area, today), today)
    rule = policy.endorsement
    if rule is None:
        raise PersonalizationError("policy-none", area=area, day=today)
    with ExitStack() as held:
        job = held.enter_context(Job.open(Centre(root)))
        job.operator.require(Role.DESK)
        sams = a_sam(root / "sams", job.sams, job.journal, job.keys, (DESK_ROLE,), every_generation=True)
        sam = held.enter_context(sams)

        def recognise(number: str) -> bytes:
            return job.keys.recognise(number.encode())

        dossiers = SealedDossiers(job.journal, job.keys, job.operator.name)
        office = Office(area, name, rule, policy.changes)
        yield DeskAtWork(Desk(permit_profile(), dossiers, recognise, office), job, sam, today)


def write_bound(job: Job, until: dt.date) -> Path:
    """Sign how far terminals may tell the date; returns the file.

    Raises:
        PersonalizationError: "role-missing" (exit 2), the operator does not work with keys.
    """
    job.operator.require(Role.KEYS)
    day = f"{until:%Y%m%d}".encode("ascii")
    path = job.centre.root / _BOUND_FILE
    digest = hashlib.sha256(_SIGNED + day).digest()
    write_atomically(path, day + b"".join(job.keys.sign_with_all(KeyName.CLOCK, digest)))
    return path


def sign_bound_again(job: Job) -> None:
    """Sign the newest bound, where there is one, with the keys that the clock authority has now."""
    bound = read_bound(job.centre)
    if bound is not None:
        write_bound(job, bound.day)


def read_bound(centre: Centre) -> DateBound | None:
    """The newest bound of a centre, None when none was signed.

    Raises:
        PersonalizationError: "bound-unreadable" (exit 3).
    """
    path = centre.root / _BOUND_FILE
    if not path.exists():
        return None
    raw = path.read_bytes()
    try:
        day = dt.date(int(raw[:4]), int(raw[4:6]), int(raw[6:_DATE]))
    except ValueError as error:
        raise PersonalizationError("bound-unreadable", exit_code=3, path=path) from error
    signed = raw[_DATE:]
    if not signed or len(signed) % _SIGNATURE:
        raise PersonalizationError("bound-unreadable", exit_code=3, path=path)
    return DateBound(day, tuple(signed[at : at + _SIGNATURE] for at in range(0, len(signed), _SIGNATURE)))


def _connected(address: str) -> CardConnection:
    return card_factory().connect(address)
