"""The dossiers of a centre's permits, in its journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from personalization.intake.applicant import Applicant
from personalization.keys.keystore import KeyName, KeyStore
from personalization.permit.desk.dossier import Dossier
from personalization.permit.endorsement import PermitTerm
from personalization.production.journal.database import Journal
from personalization.production.journal.dossiers import SealedEntry, find_dossier, list_dossiers, save_dossier

_DOSSIER: Final = b"dossier\x00"


def delivered_term(applicant: Applicant) -> PermitTerm:
    """The term that a permit begins with, before any desk has seen it."""
    return PermitTerm(applicant.issue_date, applicant.endorsement_due, applicant.area_code, applicant.issue_date)


class SealedDossiers:
    """Dossiers in the journal, sealed under the transport key; each save is in the audit trail.

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

    def find(self, permit: bytes) -> tuple[Dossier, int] | None:
        """See `Dossiers`."""
        found = find_dossier(self._journal, permit)
        if found is None:
            return None
        raw = self._keys.unseal(KeyName.TRANSPORT, found.sealed, _DOSSIER + permit)
        return Dossier.decode(raw), found.version

    def all(self) -> Iterator[tuple[bytes, Dossier]]:
        """Every dossier with its recognition value."""
        for permit, sealed in list_dossiers(self._journal):
            yield permit, Dossier.decode(self._keys.unseal(KeyName.TRANSPORT, sealed, _DOSSIER + permit))

    def save(self, permit: bytes, dossier: Dossier, version: int, what: str) -> int:
        """See `Dossiers`."""
        sealed = self._keys.seal(KeyName.TRANSPORT, dossier.encode(), _DOSSIER + permit)
        return save_dossier(self._journal, permit, SealedEntry(sealed, version), self._who, what)
