"""One tap: a card at a terminal of a desk, from its proof to what it has to take.

The card proves three things before anything of it counts: that it holds the desk's key (mutual authentication), that
the document signer signed its data, and that its chip key is the one that was signed (a copy has none). Then it is told
the bound and the date, and shows its counter of changes.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from personalization.errors import PersonalizationError
from personalization.inspection.signature_check import SignatureVerifier
from personalization.permit.desk.card_state import CardStatus, Change, EndorsementRecord, encode_changes, objects_in
from personalization.permit.desk.proof import DateBound, open_session, prove_genuine, signed_contents, tell_date
from personalization.permit.electronic.claims import CHINA
from personalization.profile import CardProfile
from personalization.terminal.sam import CardAuthenticator
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import CardConnection

DESK_ROLE: Final = "service_desk"
_IDENTITY: Final = 0x7F01
_PERMIT_NUMBER: Final = 0xDF03
_ISSUE_DATE: Final = 0x5F26


@dataclass(slots=True)
class Tap:
    """An authenticated card at a desk.

    Attributes:
        session: secure messaging in the desk's role.
        permit_number: 18 digits.
        issued: day of issue, as signed.
        status: EF.STATUS as read last.
        endorsements: records in use.
    """

    session: TerminalSession
    profile: CardProfile
    permit_number: str = field(repr=False)
    issued: dt.date
    status: CardStatus
    endorsements: list[EndorsementRecord]

    @property
    def may_write(self) -> bool:
        """Whether the session's role is the desk's, which changes the service section."""
        return self.session.role == DESK_ROLE

    def write(self, changes: Iterable[Change]) -> None:
        """Write in one command and see that the card has what was written.

        Raises:
            CardRefused: the card refuses; nothing was written.
            PersonalizationError: "card-not-as-written" (exit 1), it reads back otherwise.
        """
        listed = list(changes)
        self.session.change_files(encode_changes(listed))
        for change in listed:
            row = self.profile.file(change.fid)
            found = b"".join(self.session.read_records(row.name)) if row.records else self.session.read(row.name)
            if found[change.offset : change.offset + len(change.content)] != change.content:
                raise PersonalizationError("card-not-as-written", file=row.name)
        self.read_again()

    def read_again(self) -> None:
        """Read status and endorsements anew."""
        self.status = CardStatus.decode(self.session.read("EF.STATUS"))
        self.endorsements = [EndorsementRecord.decode(raw) for raw in self.session.read_records("EF.ENDORSEMENTS")]


def open_tap(
    connection: CardConnection,
    sam: CardAuthenticator,
    profile: CardProfile,
    verifier: SignatureVerifier,
    today: dt.date,
    bound: DateBound | None,
    *,
    role: str = DESK_ROLE,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
) -> Tap:
    """Authenticate a card, prove it genuine, tell it the date, and read its service section.

    Args:
        connection: the card, powered, on either interface.
        sam: who holds the role's key.
        profile: the permit's profile.
        verifier: knows the authority over document signers.
        today: the desk's date.
        bound: the newest bound that the desk has; None when it has none.
        role: the role of the session.
        randomness: source of challenges.

    Raises:
        PersonalizationError: a card or terminal that is turned away, see `proof`; "card-content-malformed".
        CardRefused: any other refusal of the card or the SAM.
    """
    session = open_session(connection, sam, profile, role)
    contents = signed_contents(session, profile)
    prove_genuine(session, profile, verifier, contents, today, randomness)
    tell_date(session, today, bound)
    identity = objects_in(contents["EF.IDENTITY"], _IDENTITY)
    tap = Tap(
        session,
        profile,
        identity.get(_PERMIT_NUMBER, b"").decode("ascii", "replace"),
        _date(identity.get(_ISSUE_DATE, b"")),
        CardStatus.decode(session.read("EF.STATUS")),
        [],
    )
    tap.read_again()
    return tap


def _date(raw: bytes) -> dt.date:
    try:
        return dt.datetime.strptime(raw.decode("ascii"), "%Y%m%d").replace(tzinfo=CHINA).date()
    except ValueError as error:
        raise PersonalizationError("card-content-malformed", file="EF.IDENTITY") from error
