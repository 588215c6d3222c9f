"""What a card has to prove at a desk, and why a card or a terminal is turned away.

| what is wrong | who notices | code |
|---|---|---|
| the SAM cannot open the card's number: another centre, another generation | SAM, 6300 | card-of-another-generation |
| the card refuses the SAM's keys: they were replaced, or are of another centre | card, 63Cx | terminal-keys-refused |
| the card takes no more keys of this role | card, 6983 | terminal-keys-blocked |
| the card does not hold the role's key | SAM, 6300, or the terminal | card-not-genuine |
| the signer is not of this authority, or not valid today | terminal | card-signer-unknown |
| data and signature do not fit | terminal | card-data-forged |
| the chip does not hold the key that was signed | terminal | card-copied |
| the bound of the date is not the clock authority's | card, 6982 | date-bound-forged |
| the date lies before the one that the card knows, or past its bound | card, 6985 | terminal-date |

Whatever it is, nothing of the permit was written. A card that refuses keys has spent a try of that role, which the next
terminal with the right keys gives back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.inspection.checks import CheckList
from personalization.inspection.signature_check import SignatureVerifier, is_signed
from personalization.profile import CardProfile
from personalization.terminal.channel import CardRefused
from personalization.terminal.sam import CardAuthenticator
from personalization.terminal.session import CHIP_CHALLENGE_LENGTH, TerminalSession
from reader_bridge.connection import CardConnection

_CHIP_PREFIX: Final = b"permitcard chip"
_SIGNATURE_FILE: Final = "EF.SIGNATURE"
_CHIP_KEY_FILE: Final = "EF.CHIPKEY"
_SIGNER_CHECK: Final = "signature.certificate"


class DateBound(NamedTuple):
    """How far terminals may tell the date.

    Attributes:
        day: the last one.
        signatures: r ‖ s (64 bytes) by each key of the clock authority that is in cards, the newest first.
    """

    day: dt.date
    signatures: tuple[bytes, ...]


_NOT_SELECTED: Final = MappingProxyType(
    {SW.CONDITIONS_NOT_SATISFIED: "card-out-of-service", SW.FILE_NOT_FOUND: "card-without-permit"}
)
"""Why a card that lies at a desk does not select the permit: it was terminated, or is none of ours."""


def open_session(
    connection: CardConnection, sam: CardAuthenticator, profile: CardProfile, role: str
) -> TerminalSession:
    """Authenticate both ways, and say in the desk's words what went wrong.

    Raises:
        PersonalizationError: "card-of-another-generation", "terminal-keys-refused", "terminal-keys-blocked",
            "card-not-genuine", "card-out-of-service", "card-without-permit" (exit 1).
        CardRefused: any other refusal of the card or the SAM.
    """
    try:
        return TerminalSession.open(connection, sam, profile, role)
    except CardRefused as refusal:
        reason = _reason(refusal, role)
        if reason is None:
            raise
        raise reason from refusal


def _reason(refusal: CardRefused, role: str) -> PersonalizationError | None:
    command, status = refusal.parameters["command"], refusal.status
    if status == SW.AUTHENTICATION_FAILED:  # only the SAM answers without a counter
        first = command == "PREPARE AUTHENTICATION"
        return PersonalizationError("card-of-another-generation" if first else "card-not-genuine")
    if command == "SELECT":
        code = _NOT_SELECTED.get(status)
        return None if code is None else PersonalizationError(code, sw=str(status))
    if command != "MUTUAL AUTHENTICATE":
        return None
    if status.tries_left is not None:
        return PersonalizationError("terminal-keys-refused", role=role, tries=status.tries_left)
    return PersonalizationError("terminal-keys-blocked", role=role) if status == SW.METHOD_BLOCKED else None


def signed_contents(session: TerminalSession, profile: CardProfile) -> dict[str, bytes]:
    """The signature and the files under it, by name.

    Raises:
        PersonalizationError: "profile-unsigned" (exit 2).
        CardRefused: a file that this role may not read.
    """
    signature = profile.signature
    if signature is None:
        raise PersonalizationError("profile-unsigned", exit_code=2)
    return {name: session.read(name) for name in (signature.file, *signature.hashed)}


def prove_genuine(
    session: TerminalSession,
    profile: CardProfile,
    verifier: SignatureVerifier,
    contents: Mapping[str, bytes],
    today: dt.date,
    randomness: Callable[[int], bytes],
) -> None:
    """See the signer's signature over the data, and the chip's over a fresh challenge.

    Raises:
        PersonalizationError: "card-signer-unknown", "card-data-forged", "card-copied" (exit 1).
    """
    checks = CheckList()
    signed = {profile.file_named(name).fid: content for name, content in contents.items() if name != _SIGNATURE_FILE}
    verifier.verify(checks, contents[_SIGNATURE_FILE], signed, today)
    failed = {check.name for check in checks.result(0).failures}
    if failed:
        raise PersonalizationError("card-signer-unknown" if _SIGNER_CHECK in failed else "card-data-forged")
    challenge = randomness(CHIP_CHALLENGE_LENGTH)
    _, signature = session.internal_authenticate(challenge)
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), contents[_CHIP_KEY_FILE])
    except ValueError as error:
        raise PersonalizationError("card-data-forged") from error
    if not is_signed(key, signature, _CHIP_PREFIX + challenge):
        raise PersonalizationError("card-copied")


def tell_date(session: TerminalSession, today: dt.date, bound: DateBound | None) -> None:
    """Bring the newest bound, then the date.

    Raises:
        PersonalizationError: "date-bound-forged", "terminal-date" (exit 1).
    """
    if bound is not None:
        _tell_bound(session, bound)
    try:
        session.tell_date(today)
    except CardRefused as refusal:
        if refusal.status != SW.CONDITIONS_NOT_SATISFIED:
            raise
        told, limit = session.clock()
        raise PersonalizationError("terminal-date", today=today, told=told or "-", bound=limit or "-") from refusal


def _tell_bound(session: TerminalSession, bound: DateBound) -> None:
    """A card knows one key of the clock authority, and does not say which; a wrong signature costs it nothing."""
    for signature in bound.signatures:
        try:
            session.tell_bound(bound.day, signature)
        except CardRefused as refusal:
            if refusal.status != SW.SECURITY_STATUS_NOT_SATISFIED:
                raise
        else:
            return
    raise PersonalizationError("date-bound-forged", bound=bound.day)
