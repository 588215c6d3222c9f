"""The audit trail as an auditor sees it: entries, signed checkpoints kept outside the database, and what they prove.

A checkpoint is a signed document with number and link of the last entry. What lies before the last checkpoint cannot be
changed, cut, reordered or added to without being found, for another trail with the same link would have to be found;
what lies after it is linked, but not signed yet, and is reported as not covered.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from personalization.keys.authorities import authorities_of
from personalization.keys.keystore import KeyName, KeyStore
from personalization.keys.signed_document import open_document, read_json, read_signed, sign_document, written
from personalization.production.journal.chain import CHAINED_FIELDS, FIRST_LINK, HEAD_ROW, link_of
from personalization.production.journal.database import Journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import AuditHead, Event

CHECKPOINT_KIND: Final = "permitcard audit checkpoint"
EXPORT_KIND: Final = "permitcard audit export"
VERSION: Final = 1

_NAME: Final = re.compile(r"checkpoint-(\d{12})\.json")
_LINK_LENGTH: Final = 32

AuditEntry = Mapping[str, object]
"""One entry: values of `CHAINED_FIELDS`, and ``link``, 32 bytes or None."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a signed checkpoint says.

    Attributes:
        number: of the last entry that it covers.
        link: of that entry.
        at: when it was made, ISO 8601.
    """

    number: int
    link: bytes
    at: str


class Fault(StrEnum):
    """What can be wrong with a trail."""

    CHANGED = "changed"
    """The link of an entry is not that of its content and of what is before it."""
    OUT_OF_ORDER = "out-of-order"
    """Numbers do not count up by one: entries were cut, doubled, moved or put in between."""
    NOT_AS_SIGNED = "not-as-signed"
    """The entry that a checkpoint covers has another link."""
    CUT = "cut"
    """The trail ends before an entry that a checkpoint covers."""
    HEAD = "head"
    """The head of the trail is not its last entry: entries at the end were taken away, or written past the journal."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        fault: what.
        number: number of the entry where it was seen.
    """

    fault: Fault
    number: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trail proves.

    Attributes:
        entries: entries that were looked at.
        covered: number of the last entry that a checkpoint covers.
        checkpoints: genuine checkpoints.
        findings: what is wrong, first in order; empty when all is as it was signed.
        missing: entries that tell of a checkpoint which is not there: it was taken away, or its making was interrupted.
    """

    entries: int
    covered: int
    checkpoints: int
    findings: tuple[Finding, ...]
    missing: tuple[int, ...] = ()

    @property
    def newest_missing(self) -> bool:
        """Whether the trail tells of a checkpoint after the last one that is there."""
        return bool(self.missing) and self.missing[-1] > self.covered

    @property
    def uncovered(self) -> int:
        """Entries after the last checkpoint: linked, and not signed yet."""
        return max(0, self.entries - self.covered)


def verify_trail(
    entries: Iterable[AuditEntry], checkpoints: Sequence[Checkpoint], head: tuple[int, bytes] | None = None
) -> Verdict:
    """Compare a trail with its links and its checkpoints.

    Args:
        entries: all of them, in the order in which they are kept.
        checkpoints: those whose signatures hold.
        head: number and link of the last entry as the journal keeps it apart; None when it is not known.
    """
    findings: list[Finding] = []
    signed = {checkpoint.number: checkpoint.link for checkpoint in checkpoints}
    told: list[int] = []
    link, number, ordered = FIRST_LINK, 0, True
    for number, entry in enumerate(entries, start=1):
        if entry["id"] != number and ordered:
            findings.append(Finding(Fault.OUT_OF_ORDER, number))
            ordered = False  # everything behind is shifted, which is no news
        link = link_of(link, entry)
        if entry["link"] != link:
            findings.append(Finding(Fault.CHANGED, number))
            kept = entry["link"]
            link = kept if isinstance(kept, bytes) else link  # one change is one finding, not one for each that follows
        if entry["what"] == What.CHECKPOINT.value:
            told.append(number)
        if number in signed and signed[number] != link:
            findings.append(Finding(Fault.NOT_AS_SIGNED, number))
    covered = max(signed, default=0)
    if covered > number:
        findings.append(Finding(Fault.CUT, number))
    if head is not None and head != (number, link):
        findings.append(Finding(Fault.HEAD, number))
    return Verdict(number, covered, len(checkpoints), tuple(findings), _missing(told, sorted(signed)))


def _missing(told: Sequence[int], signed: Sequence[int]) -> tuple[int, ...]:
    """Entries that tell of a checkpoint, without one: it covers its own entry, and may cover some that came after."""
    spans = pairwise((*told, sys.maxsize))
    return tuple(number for number, end in spans if bisect_left(signed, number) == bisect_left(signed, end))


def read_trail(journal: Journal) -> tuple[list[dict[str, object]], tuple[int, bytes]]:
    """All entries of a journal and its head, in one consistent view."""
    table = Event.__table__
    columns = [table.c[name] for name in (*CHAINED_FIELDS, "link")]
    with journal.reading() as connection:
        entries = [dict(row) for row in connection.execute(select(*columns).order_by(table.c.id)).mappings()]
        head = connection.execute(select(AuditHead.number, AuditHead.link).where(AuditHead.id == HEAD_ROW)).one()
    return entries, (head.number, head.link)


def make_checkpoint(journal: Journal, folder: Path, keys: KeyStore, who: str) -> Path:
    """Sign the end of the trail and keep it in a file outside the database; returns the file.

    That a checkpoint was made is itself an entry, the last one that it covers.

    Raises:
        PersonalizationError: journal or key store fail; "checkpoint-not-of-trail", the trail was changed: a new
            checkpoint would whitewash it.
    """
    authority = authorities_of(keys)
    with journal.transaction() as connection:
        facts = {"key": keys.check_value(KeyName.AUDIT).hex()}
        record(connection, who, [Entry(What.CHECKPOINT, facts=facts)])
    entries, head = read_trail(journal)
    verdict = verify_trail(entries, read_checkpoints(folder, authority), head)
    if verdict.findings:
        first = verdict.findings[0]
        raise PersonalizationError("checkpoint-not-of-trail", fault=first.fault.value, number=first.number)
    number, link = head
    document = {
        "kind": CHECKPOINT_KIND,
        "version": VERSION,
        "number": number,
        "link": link.hex(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    make_folder(folder)
    path = folder / f"checkpoint-{number:012d}.json"
    write_atomically(path, written(sign_document(document, keys)))
    return path


def require_journal_of(journal: Journal, folder: Path) -> None:
    """Refuse a journal that ends before what was signed: an older copy, another one, or a new one in its place.

    With it, files and permits that were made would be taken in again. Only the names of the checkpoints are looked at;
    what they prove is `verify_trail`'s to say.

    Raises:
        PersonalizationError: "journal-behind", exit 3.
    """
    numbers = [int(found[1]) for path in _checkpoint_files(folder) if (found := _NAME.fullmatch(path.name))]
    signed = max(numbers, default=0)
    head = select(AuditHead.number).where(AuditHead.id == HEAD_ROW)
    ends = journal.read(lambda connection: connection.execute(head).scalar()) or 0
    if ends < signed:
        raise PersonalizationError(
            "journal-behind", exit_code=3, path=journal.place.shown, ends=ends, signed=signed, folder=str(folder)
        )


def read_checkpoints(folder: Path, authority: bytes) -> list[Checkpoint]:
    """The checkpoints in a folder, oldest first.

    Raises:
        PersonalizationError: "document-malformed", "document-not-genuine": a file is no checkpoint of this centre.
    """
    return [_checkpoint(read_signed(path, authority), str(path)) for path in _checkpoint_files(folder)]


def _checkpoint_files(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if _NAME.fullmatch(path.name))


def _checkpoint(document: Mapping[str, Any], place: str) -> Checkpoint:
    try:
        if (document["kind"], document["version"]) != (CHECKPOINT_KIND, VERSION):
            raise PersonalizationError("document-malformed", place=place)
        link = bytes.fromhex(document["link"])
        if len(link) != _LINK_LENGTH:
            raise PersonalizationError("document-malformed", place=place)
        return Checkpoint(int(document["number"]), link, str(document["at"]))
    except (KeyError, TypeError, ValueError):
        raise PersonalizationError("document-malformed", place=place) from None


def export_trail(journal: Journal, folder: Path, keys: KeyStore) -> dict[str, object]:
    """Everything that an auditor needs to check the trail elsewhere, as one JSON document.

    Raises:
        PersonalizationError: "document-malformed": a file is no checkpoint.
    """
    entries, (number, link) = read_trail(journal)
    checkpoints = [read_json(path) for path in _checkpoint_files(folder)]
    return {
        "kind": EXPORT_KIND,
        "version": VERSION,
        "authority": authorities_of(keys).hex(),
        "head": {"number": number, "link": link.hex()},
        "checkpoints": checkpoints,
        "entries": [{**entry, "link": _hex(entry["link"])} for entry in entries],
    }


def verify_export(path: Path, authority: bytes | None = None) -> Verdict:
    """Check an exported trail.

    Args:
        path: the file.
        authority: certificate (DER) that the auditor trusts; None takes the one in the file.

    Raises:
        PersonalizationError: "document-missing" (exit 2), "document-malformed", "document-not-genuine".
    """
    export: Any = read_json(path)
    try:
        root = authority or bytes.fromhex(export["authority"])
        checkpoints = [_checkpoint(open_document(one, str(path), root), str(path)) for one in export["checkpoints"]]
        entries = [
            {**{name: entry[name] for name in CHAINED_FIELDS}, "link": _unhex(entry["link"])}
            for entry in export["entries"]
        ]
        head = (int(export["head"]["number"]), bytes.fromhex(export["head"]["link"]))
        return verify_trail(entries, checkpoints, head)  # a text that is no Unicode cannot be hashed
    except (KeyError, TypeError, ValueError):
        raise PersonalizationError("document-malformed", place=str(path)) from None


def _hex(link: object) -> str | None:
    return link.hex() if isinstance(link, bytes) else None


def _unhex(link: str | None) -> bytes | None:
    return None if link is None else bytes.fromhex(link)
