"""The office side of electronic permits: issue them from what the centre made, and keep the status list.

centre/status/NNNNNN.list    each issue of the status list, signed
centre/status/NNNNNN.delta   what it changed since the one before
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from permitcard.dossiers import SealedDossiers, delivered_term
from permitcard.job import Job
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from personalization.intake.applicant import Applicant
from personalization.keys.authorities import authorities_of, is_authority
from personalization.keys.keystore import KeyName
from personalization.permit.desk.dossier import Dossier
from personalization.permit.electronic.claims import CHINA, IDENTIFIER_LENGTH, ElectronicPermit
from personalization.permit.electronic.passes import electronic_permit, issue_pass
from personalization.permit.electronic.signed_message import TrustedSigners
from personalization.permit.electronic.status_list import (
    SALT_LENGTH,
    Kind,
    Standing,
    StatusList,
    read_status_list,
)
from personalization.permit.endorsement import PermitStatus, PermitTerm
from personalization.preparation.portrait import make_portrait
from personalization.preparation.source_file import SourceFile
from personalization.production.acts import Role
from personalization.production.journal.batches import find_batch
from personalization.production.journal.cards import find_permit
from personalization.production.journal.events import Entry, What, record

_FOLDER: Final = "status"
_LIST: Final = ".list"
_DELTA: Final = ".delta"
_MENDED: Final = 3
"""Issues that are looked at when a delta is written: the newest, its base, and the one before."""


@dataclass(frozen=True, slots=True)
class IssuedPass:
    """A pass with what the confirmation sheet shows beside it."""

    permit: ElectronicPermit
    text: str = field(repr=False)
    portrait: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IssuedList:
    """One issue of the status list and where its files are; there is no delta of the first one."""

    status: StatusList
    whole: Path
    delta: Path | None


def issue(job: Job, permit_number: str, now: dt.datetime, due: dt.date | None = None) -> IssuedPass:
    """Issue the electronic permit of a card that the centre made.

    Args:
        job: the centre at work.
        permit_number: 18 digits.
        now: time of issue, aware.
        due: until when it is good; by default, and at most, until the next endorsement that the record says.

    Raises:
        PersonalizationError: exit 2: "role-missing", "permit-unknown", "pass-due-beyond"; exit 1: "permit-cancelled",
            "pass-permit-listed", it is not good any more; "permit-not-valid", its endorsement is overdue; or the
            batch's file cannot be opened.
    """
    job.operator.require(Role.DESK)
    applicant = applicant_on_card(job, permit_number)
    dossier = _dossier(job, applicant)
    _require_good(job, applicant.permit_number, dossier.term, now)
    if due is not None and due > dossier.term.due:
        raise PersonalizationError("pass-due-beyond", exit_code=2, due=due, latest=dossier.term.due)
    issued = issue_for(job, applicant, due or dossier.term.due, now, dossier.address)
    until = issued.permit.endorsement_due.isoformat()
    _record(job, What.ELECTRONIC_PERMIT_ISSUED, {"identifier": issued.permit.identifier.hex(), "until": until})
    return issued


def _dossier(job: Job, applicant: Applicant) -> Dossier:
    """What the record says of a permit; before a desk has seen it, what was delivered."""
    kept = SealedDossiers(job.journal, job.keys, job.operator.name)
    found = kept.find(job.keys.recognise(applicant.permit_number.encode()))
    return found[0] if found else Dossier.of_card(delivered_term(applicant), 0, applicant.permit_number)


def _require_good(job: Job, permit_number: str, term: PermitTerm, now: dt.datetime) -> None:
    if term.cancelled is not None:
        raise PersonalizationError("permit-cancelled", day=term.cancelled)
    if (status := term.status(now.astimezone(CHINA).date())) is not PermitStatus.VALID:
        raise PersonalizationError("permit-not-valid", status=status.value)
    listed = latest_list(job, now)
    if listed is not None and (standing := listed.standing(Kind.PERMIT, permit_number.encode("ascii"))) is not None:
        raise PersonalizationError("pass-permit-listed", standing=standing.name.lower())


def applicant_on_card(job: Job, permit_number: str) -> Applicant:
    """The data of a card that the centre made, as they were delivered.

    Raises:
        PersonalizationError: "permit-unknown" (exit 2), or the batch's file cannot be opened.
    """
    place = find_permit(job.journal, job.keys.recognise(permit_number.encode()))
    path = job.centre.root / find_batch(job.journal, place.batch).source
    with SourceFile(path, job.keys.of_batch(place.batch), batch=place.batch) as source:
        return source.applicant(place.row)


def issue_for(job: Job, applicant: Applicant, due: dt.date, now: dt.datetime, address: str = "") -> IssuedPass:
    """Issue the electronic permit of a person; with the address of a residence that was registered since.

    Raises:
        PersonalizationError: "portrait-unreadable", "pass-too-long" (exit 1).
    """
    portrait = make_portrait(applicant.portrait, row=applicant.row_number)
    identifier = secrets.token_bytes(IDENTIFIER_LENGTH)
    permit = electronic_permit(applicant, due, portrait, now, identifier, address)
    return IssuedPass(permit, issue_pass(job.keys, permit), portrait)


def trust_bundle(job: Job) -> bytes:
    """What a verifier needs: the authority's certificates, then those of its signers, former ones of both too, PEM."""
    certificates = (
        *job.keys.certificates(KeyName.AUTHORITY),
        *job.keys.certificates(KeyName.DOCUMENT_SIGNER),
    )
    return b"".join(x509.load_der_x509_certificate(raw).public_bytes(Encoding.PEM) for raw in certificates)


def read_trust(path: Path, now: dt.datetime) -> TrustedSigners:
    """The signers of a bundle.

    Raises:
        PersonalizationError: "trust-unreadable" (exit 2).
    """
    authorities, signers = _certificates(path)
    return TrustedSigners(b"".join(authorities), signers, now)


def read_authority(path: Path) -> bytes:
    """The authorities of a bundle, DER, one behind the other.

    Raises:
        PersonalizationError: "trust-unreadable" (exit 2).
    """
    return b"".join(_certificates(path)[0])


def _certificates(path: Path) -> tuple[list[bytes], list[bytes]]:
    """Authorities and signers of a bundle; the file is trusted as a whole."""
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PersonalizationError("trust-unreadable", exit_code=2, path=path) from error
    found: tuple[list[bytes], list[bytes]] = [], []
    for certificate in certificates:
        found[not is_authority(certificate)].append(certificate.public_bytes(Encoding.DER))
    if not found[0]:
        raise PersonalizationError("trust-unreadable", exit_code=2, path=path)
    return found


def latest_list(job: Job, now: dt.datetime) -> StatusList | None:
    """The newest issue of the centre's status list, None before the first.

    Raises:
        PersonalizationError: "status-list-refused", somebody else wrote it.
    """
    issues = sorted((job.centre.root / _FOLDER).glob(f"*{_LIST}"))
    if not issues:
        return None
    return _read_list(job, issues[-1], now)


def _read_list(job: Job, path: Path, now: dt.datetime) -> StatusList:
    signers = TrustedSigners(authorities_of(job.keys), job.keys.certificates(KeyName.DOCUMENT_SIGNER), now)
    return read_status_list(path.read_bytes(), signers)


def publish(job: Job, now: dt.datetime, added: dict[tuple[Kind, bytes], Standing]) -> IssuedList:
    """Write the next issue of the status list, with a delta to the one before.

    An issue is written once: a desk that finds its number taken by another one begins again from that.

    Raises:
        PersonalizationError: "role-missing" (exit 2); "status-list-refused", somebody else wrote the one before.
    """
    job.operator.require(Role.DESK)
    now = now.replace(microsecond=0)
    folder = job.centre.root / _FOLDER
    make_folder(folder)
    while True:
        before = latest_list(job, now)
        status = (before or StatusList.empty(secrets.token_bytes(SALT_LENGTH), now)).changed(now, added)
        whole = folder / f"{status.sequence:06}{_LIST}"
        with contextlib.suppress(FileExistsError):
            write_atomically(whole, status.sign(job.keys), replace=False)
            break
    standings = sorted({standing.name.lower() for standing in added.values()})
    _record(job, What.STATUS_PUBLISHED, {"sequence": status.sequence, "added": len(added), "standings": standings})
    if before is None:
        return IssuedList(status, whole, None)
    _write_deltas(job, folder, now)
    return IssuedList(status, whole, whole.with_suffix(_DELTA))


def _record(job: Job, what: What, facts: Mapping[str, object]) -> None:
    with job.journal.transaction() as connection:
        record(connection, job.operator.name, [Entry(what, facts=facts)])


def _write_deltas(job: Job, folder: Path, now: dt.datetime) -> None:
    """The delta to the newest issue, and to one before it whose desk was interrupted between issue and delta."""
    issues = sorted(folder.glob(f"*{_LIST}"))[-_MENDED:]
    for base, path in pairwise(issues):
        delta = path.with_suffix(_DELTA)
        if not delta.exists():
            earlier, later = (_read_list(job, one, now) for one in (base, path))
            write_atomically(delta, later.sign_delta(job.keys, earlier))
