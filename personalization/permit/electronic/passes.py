"""Issue an electronic permit as a text for a QR code, and verify one without a network.

The text is ``ZJP1:`` and the signed message in base64 for URLs. A verifier needs the authority's certificate with those
of its signers, and a status list that is not too old.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.keys.keystore import KeyStore
from personalization.permit.electronic.claims import IDENTIFIER_LENGTH, ClaimsError, ElectronicPermit
from personalization.permit.electronic.signed_message import SignatureRefused, TrustedSigners, sign_message
from personalization.permit.electronic.status_list import Kind, Standing, StatusList

PREFIX: Final = "ZJP1:"
LONGEST: Final = 2953
"""Bytes that the largest QR code holds at its lowest error correction (ISO/IEC 18004:2015, table 7)."""
DEFAULT_AGE: Final = dt.timedelta(hours=24)
"""How old a status list may be unless somebody says otherwise."""

_USE: Final = b"permitcard electronic permit 1"
_CLOCK_TOLERANCE: Final = dt.timedelta(minutes=5)


class PassFault(StrEnum):
    """What is wrong with a pass."""

    FORM = "form"
    SIGNER_UNKNOWN = "signer-unknown"
    SIGNATURE = "signature"
    NOT_YET = "not-yet"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    LOST = "lost"
    REPLACED = "replaced"
    REVOKED = "revoked"
    STATUS_STALE = "status-stale"
    PORTRAIT = "portrait"


_STANDINGS: Final = {
    Standing.CANCELLED: PassFault.CANCELLED,
    Standing.LOST: PassFault.LOST,
    Standing.REPLACED: PassFault.REPLACED,
    Standing.REVOKED: PassFault.REVOKED,
}


@dataclass(frozen=True, slots=True)
class VerifiedPass:
    """What a verifier found.

    Attributes:
        permit: the content, None when its signature could not be verified: nothing of it is to be believed then.
        faults: everything that is wrong; the pass is good when there is nothing.
    """

    permit: ElectronicPermit | None
    faults: tuple[PassFault, ...]

    @property
    def good(self) -> bool:
        """Whether the pass can be accepted."""
        return self.permit is not None and not self.faults


def electronic_permit(
    applicant: Applicant, due: dt.date, portrait: bytes, issued_at: dt.datetime, identifier: bytes, address: str = ""
) -> ElectronicPermit:
    """The electronic permit with the data of a card.

    Args:
        applicant: the data of the card.
        due: when the next endorsement is due; the pass is good until the end of that day.
        portrait: JPEG as it stands on the card; only its hash is in the pass.
        issued_at: now, aware.
        identifier: 16 random bytes.
        address: of a residence that was registered since; empty where the one that was delivered holds.
    """
    delivered = applicant.residence.current_address if applicant.residence else ""
    if len(identifier) != IDENTIFIER_LENGTH:
        raise ValueError("an identifier has 16 bytes")
    return ElectronicPermit(
        identifier=identifier,
        issued_at=issued_at.replace(microsecond=0),
        area=applicant.area_code,
        permit_number=applicant.permit_number,
        name=applicant.name,
        sex=applicant.sex,
        ethnic_group=applicant.ethnic_group,
        birth_date=applicant.birth_date,
        citizen_number=applicant.citizen_number,
        registered_address=applicant.registered_address,
        current_address=address or delivered,
        issuing_authority=applicant.issuing_authority,
        issue_date=applicant.issue_date,
        endorsement_due=due,
        portrait_hash=hashlib.sha256(portrait).digest(),
    )


def issue_pass(store: KeyStore, permit: ElectronicPermit) -> str:
    """The text of a signed pass.

    Raises:
        PersonalizationError: "pass-too-long" (exit 1), it does not fit into a QR code.
    """
    message = sign_message(store, permit.encode(), _USE)
    text = PREFIX + base64.urlsafe_b64encode(message).rstrip(b"=").decode("ascii")
    if len(text) > LONGEST:
        raise PersonalizationError("pass-too-long", length=len(text), limit=LONGEST)
    return text


def verify_pass(
    text: str,
    signers: TrustedSigners,
    now: dt.datetime,
    status: StatusList | None = None,
    *,
    age: dt.timedelta = DEFAULT_AGE,
    portrait: bytes | None = None,
) -> VerifiedPass:
    """Verify a pass offline.

    Args:
        text: what the QR code says.
        signers: who may have signed it.
        now: the verifier's time, aware.
        status: the newest status list that the verifier has; None is an old one.
        age: how old the list may be.
        portrait: the portrait that is shown with it, None when none is.
    """
    try:
        permit = ElectronicPermit.decode(signers.verify(_message(text), _USE))
    except SignatureRefused as error:
        return VerifiedPass(None, (PassFault(error.code),))
    except ClaimsError:
        return VerifiedPass(None, (PassFault.FORM,))
    faults: list[PassFault] = []
    if now + _CLOCK_TOLERANCE < permit.issued_at:
        faults.append(PassFault.NOT_YET)
    if now >= permit.expires_at:
        faults.append(PassFault.EXPIRED)
    if status is None or status.age(now) > age:
        faults.append(PassFault.STATUS_STALE)
    if status is not None:
        standings = (
            status.standing(Kind.PERMIT, permit.permit_number.encode("ascii", "replace")),
            status.standing(Kind.PASS, permit.identifier),
        )
        faults += [_STANDINGS[standing] for standing in standings if standing is not None]
    if portrait is not None and hashlib.sha256(portrait).digest() != permit.portrait_hash:
        faults.append(PassFault.PORTRAIT)
    return VerifiedPass(permit, tuple(faults))


def _message(text: str) -> bytes:
    """The signed message in a text of the one form that we make.

    Raises:
        SignatureRefused: "form".
    """
    body = text.strip().removeprefix(PREFIX)
    if not text.strip().startswith(PREFIX) or len(body) > LONGEST:
        raise SignatureRefused("form")
    try:
        message = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureRefused("form") from error
    if base64.urlsafe_b64encode(message).rstrip(b"=").decode("ascii") != body:
        raise SignatureRefused("form")
    return message
