"""What an operator of keys does with SAMs: make, look at, list and retire them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from permitcard.sams import connect_sam, deliver_chip, sam_office
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from personalization.keys.signed_document import sign_document, written
from personalization.production.acts import Role
from personalization.production.card_kind import refuse_other_kind
from personalization.production.journal.sams import SamEntry, find_sam, list_sams
from personalization.sams.maker import SamLook
from personalization.sams.office import ChangedKeys, SamFacts, read_facts
from reader_bridge.addresses import AddressKind, CardAddress

if TYPE_CHECKING:
    from permitcard.job import Job

_RECORD_KIND = "permitcard sam record"


class MadeSam(NamedTuple):
    """A SAM that was made.

    Attributes:
        reader: its address.
        before: what the chip was.
        facts: what it tells now.
    """

    reader: str
    before: SamLook
    facts: SamFacts


class ShownSam(NamedTuple):
    """A SAM in a reader, and what the journal knows of it.

    Attributes:
        look: how far the chip is; None of a finished one, which needs no session to tell of itself.
        facts: what a finished one tells; None of any other.
        entry: of the journal; None where it is not known.
        changed: what became of the keys that it was made with.
    """

    look: SamLook | None
    facts: SamFacts | None
    entry: SamEntry | None
    changed: ChangedKeys

    @property
    def card_number(self) -> str:
        """Hex; empty of a chip that tells none."""
        if self.facts is not None:
            return self.facts.card_number
        return "" if self.look is None else self.look.card_number.hex()


def make(job: Job, reader: str | None) -> MadeSam:
    """Make the chip in a reader a SAM of the centre; see `SamOffice.make`.

    Args:
        job: the centre.
        reader: address; in a rehearsal the file of a simulated chip that need not be there yet, or None for the next
            of the centre's own.

    Raises:
        PersonalizationError: "role-missing", exit 2; "sam-reader-missing", exit 2, a production store makes none in a
            file; as `SamOffice.make`.
        ReaderError: the reader cannot be used.
    """
    job.operator.require(Role.KEYS)
    if reader is None and job.keys.production:
        raise PersonalizationError("sam-reader-missing", exit_code=2)
    place = CardAddress.parse(reader) if reader is not None else CardAddress(AddressKind.SIMULATED, _next(job))
    if place.kind is AddressKind.SIMULATED:
        refuse_other_kind(production=job.keys.production, simulated=True, card=str(place))
        path = Path(place.place)
        if not path.exists():
            make_folder(path.parent)
            deliver_chip(path, job.keys)
    before, facts = sam_office(job.journal, job.keys).make(connect_sam(str(place)), job.operator.name)
    job.checkpoint_if_possible()
    return MadeSam(str(place), before, facts)


def _next(job: Job) -> str:
    """The first free name of a card file of the centre's own."""
    folder = job.centre.root / "sams"
    number = 1
    while (path := folder / f"sam-{number:02d}.card").exists():
        number += 1
    return str(path)


def show(job: Job, reader: str) -> ShownSam:
    """Look at the SAM in a reader; changes nothing and spends nothing.

    Raises:
        PersonalizationError: "sam-absent", "sam-foreign" and the like; a card of the other kind.
        ReaderError: the reader cannot be used.
    """
    office = sam_office(job.journal, job.keys)
    look, facts = None, None
    with office.guarded(connect_sam(reader)) as card:
        try:
            facts = read_facts(card, office.sam)
        except PersonalizationError as error:
            if error.code not in {"sam-absent", "sam-not-made"}:
                raise
    if facts is None:
        look = office.look(connect_sam(reader))
    shown = ShownSam(look, facts, None, ChangedKeys([], []))
    try:
        entry = find_sam(job.journal, shown.card_number)
    except PersonalizationError:
        return shown
    return shown._replace(entry=entry, changed=office.changed_keys(entry))


def all_sams(job: Job) -> list[tuple[SamEntry, ChangedKeys]]:
    """Every SAM of the centre, and what became of the keys that it was made with."""
    office = sam_office(job.journal, job.keys)
    return [(entry, office.changed_keys(entry)) for entry in list_sams(job.journal)]


def retire(job: Job, card_number: str, reason: str, reader: str | None) -> tuple[bool, Path]:
    """Use a SAM never again; returns whether its chip was put out of service, and the signed record.

    Raises:
        PersonalizationError: "role-missing", exit 2; as `SamOffice.retire`.
        ReaderError: the reader cannot be used.
    """
    job.operator.require(Role.KEYS)
    office = sam_office(job.journal, job.keys)
    connection = None if reader is None else connect_sam(reader)
    terminated = office.retire(card_number, job.operator.name, reason, connection)
    entry = find_sam(job.journal, card_number)
    now = dt.datetime.now(dt.UTC)
    document = {
        "kind": _RECORD_KIND,
        "version": 1,
        "at": now.isoformat(timespec="seconds"),
        "card_id": entry.card_number.upper(),
        "profile": entry.profile,
        "generation": entry.generation,
        "keys": dict(entry.keys),
        "made_by": entry.made_by,
        "by": job.operator.name,
        "reason": entry.reason,
        "disposal": entry.disposal,
    }
    folder = job.centre.certificates
    make_folder(folder)
    path = folder / f"{now:%Y%m%dT%H%M%S%f}-sam-{entry.card_number.upper()}-retired.json"
    write_atomically(path, written(sign_document(document, job.keys)))
    job.checkpoint_if_possible()
    return terminated, path
