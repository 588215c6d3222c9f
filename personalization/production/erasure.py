"""Erasing a batch: its keys first, so that every copy is closed, then all that can be removed, then a certificate.

| what | how |
|---|---|
| sealed files, in the folder and in any backup | the batch's keys are destroyed |
| the batch's folder, rejected rows included | removed |
| report | removed; what is left of it can be written again, without masked values |
| images of simulated cards | overwritten and removed |
| the delivered file | overwritten and removed wherever it is below the given places, known by its SHA-256 |
| the journal | masked values are taken out, pages and write-ahead log rewritten |

A step that finds its work done goes on, so that an erasure that was interrupted is done again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import Timeout

from personalization.errors import PersonalizationError
from personalization.keys.batch_keys import BATCH_KEYS
from personalization.keys.keystore import KeyName, KeyStore
from personalization.keys.signed_document import sign_document
from personalization.overwritten_file import overwrite_and_remove
from personalization.production.journal.batches import find_batch
from personalization.production.journal.database import Journal
from personalization.production.journal.erasure import card_locations, forget, require_erasable, source_hash
from personalization.production.journal.shifts import batch_lock
from personalization.production.operators import Approval, approved

CERTIFICATE_KIND: Final = "permitcard erasure certificate"
VERSION: Final = 1
_SIMULATED: Final = "sim:"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Premises:
    """Where traces of a batch are.

    Attributes:
        root: the centre's folder; addresses of simulated cards are relative to it.
        folders: of the batch alone: sealed files, report.
        inputs: files and folders in which the delivered file may lie.
        delivered: SHA-256 of each file of a delivery that came as several, which the journal knows as a whole only.
    """

    root: Path
    folders: Sequence[Path]
    inputs: Sequence[Path]
    delivered: frozenset[bytes] = frozenset()


def erase_batch(
    journal: Journal, keys: KeyStore, identifier: str, premises: Premises, who: str, approval: Approval | None
) -> dict[str, object]:
    """Erase a batch; returns the signed certificate.

    Args:
        journal: the open journal.
        keys: the centre's store.
        identifier: the batch.
        premises: where to look.
        who: operator.
        approval: of the second operator; None in a rehearsal of one person.

    Raises:
        PersonalizationError: "batch-unknown", "batch-at-work", "batch-erased" (exit 2); what the store says (exit 3).
        OSError: a file cannot be removed; the keys are destroyed by then, and erasing may be begun again. A place that
            cannot be looked into is told before anything is destroyed: what lies there would not be erased.
    """
    with _nobody_resumes(journal, identifier):
        batch_id = require_erasable(journal, identifier)
        places = _readable(premises.inputs)
        values = _check_values(keys, identifier)
        keys.destroy_batch_keys(identifier)
        cards = sum(_remove(path) for path in _images(premises.root, card_locations(journal, batch_id)))
        delivered = premises.delivered | {source_hash(journal, batch_id)}
        inputs = sum(_remove_delivered(path, delivered) for path in places)
        files = sum(_remove_folder(folder) for folder in premises.folders)
        erased = {"cards": cards, "inputs": inputs, "files": files}
        forget(journal, batch_id, who, {**erased, "keys": values, **approved(approval)})
    document = {
        "kind": CERTIFICATE_KIND,
        "version": VERSION,
        "batch": identifier,
        "rehearsal": not keys.production,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": who,
        "approved_by": approved(approval)["approved_by"],
        "destroyed_keys": values,
        "removed": erased,
    }
    return sign_document(document, keys)


@contextmanager
def _nobody_resumes(journal: Journal, identifier: str) -> Generator[None]:
    """Hold the batch as its coordinator does: nobody here goes on with it between the look at it and its end.

    Raises:
        PersonalizationError: "batch-unknown", "batch-at-work" (exit 2).
    """
    lock = journal.lock(batch_lock(find_batch(journal, identifier).id))
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        raise PersonalizationError("batch-at-work", exit_code=2, batch=identifier) from None
    with held:
        yield


def _check_values(keys: KeyStore, identifier: str) -> dict[str, str]:
    """Check values of the batch's keys; empty when an earlier attempt has destroyed them."""
    try:
        batch_keys = keys.of_batch(identifier)
    except PersonalizationError as error:
        if error.code != "batch-keys-missing":
            raise
        return {}
    return {KeyName(name).value: batch_keys.check_value(name).hex() for name in BATCH_KEYS}


def _images(root: Path, locations: Iterable[str]) -> Iterator[Path]:
    for location in locations:
        if location.startswith(_SIMULATED):
            yield root / location.removeprefix(_SIMULATED)


def _files(places: Iterable[Path]) -> Iterator[Path]:
    """Every file at or below ``places``, whatever it is called; of a link, the file that it leads to.

    Raises:
        OSError: a folder cannot be looked into, so that nobody knows what is in it.
    """
    for place in places:
        if not _is_there(place):
            continue
        if not place.is_dir():
            yield place.resolve()
            continue
        for folder, _, names in os.walk(place, onerror=_raise):
            yield from (path.resolve() for path in (Path(folder, name) for name in sorted(names)) if path.is_file())


def _is_there(path: Path) -> bool:
    """Whether there is such a file or folder.

    Raises:
        OSError: this account may not know.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _raise(error: OSError) -> None:
    raise error


def _readable(places: Iterable[Path]) -> list[Path]:
    """Every file at or below ``places``, once.

    Raises:
        OSError: one cannot be read, so that nobody knows whether it was delivered.
    """
    found = list(dict.fromkeys(_files(places)))
    for path in found:
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return found


def _remove_delivered(path: Path, wanted: Collection[bytes]) -> int:
    """Overwrite and remove a file that was delivered; the very file that was looked at."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        seen = os.fstat(stream.fileno())
        while part := stream.read(_CHUNK):
            digest.update(part)
    if digest.digest() not in wanted:
        return 0
    overwrite_and_remove(path, seen=seen)
    return 1


def _remove(path: Path) -> int:
    if not _is_there(path):
        return 0
    overwrite_and_remove(path)
    return 1


def _remove_folder(folder: Path) -> int:
    if not _is_there(folder):
        return 0
    count = sum(path.is_file() for path in folder.rglob("*"))
    shutil.rmtree(folder)
    return count
