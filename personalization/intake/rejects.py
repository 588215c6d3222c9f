"""Rejected rows kept under lock: written sealed, opened again as a delivery that can be corrected and sent in.

File: magic `PCREJ1` and a line feed, the batch identifier and a line feed, then the sealed delivery zip; the first two
lines are its associated data, so that a file cannot pass for that of another batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError, unread
from personalization.folder_rights import make_folder
from personalization.intake.applicant import SHEET_COLUMNS
from personalization.intake.cells import shown
from personalization.intake.delivery import DeliveryName
from personalization.intake.delivery_writer import pack_delivery
from personalization.intake.receipt import Receipt, RejectedRow
from personalization.keys.keystore import KeyName, KeyStore

_MAGIC: Final = b"PCREJ1\n"
_LONGEST_IDENTIFIER: Final = 64


def write_rejects(receipt: Receipt, path: Path, keys: KeyStore) -> int:
    """Write what cannot be made to an encrypted file.

    Args:
        receipt: of the batch.
        path: of the file, replaced when it exists.
        keys: hold the key `rejects`.

    Returns:
        How many rows of the first sheet were written; no file is written when nothing was rejected.
    """
    if not receipt.rejected:
        return 0
    return seal_rejects(receipt.identifier, receipt.name, receipt.rejected, path, keys)


def seal_rejects(
    identifier: str, delivered: DeliveryName, rejected: Sequence[RejectedRow], path: Path, keys: KeyStore
) -> int:
    """Write rejected rows of a batch to an encrypted file; returns how many of the first sheet there are."""
    rows = [row for row in rejected if row.source is not None]
    name = DeliveryName(delivered.area_code, delivered.first, delivered.last, len(rows))
    header = _MAGIC + identifier.encode("ascii") + b"\n"
    write_atomically(path, header + keys.seal(KeyName.REJECTS, _delivery(name, rejected), header))
    return len(rows)


def open_rejects(
    path: Path,
    directory: Path,
    keys: KeyStore,
    *,
    seal: Callable[[bytes], bytes] | None = None,
    ending: str = "",
) -> Path:
    """Write the rejected rows of a file as a readable delivery, to be corrected by hand.

    What was a formula or a number is written as text as a spreadsheet program shows it. The delivery holds personal
    data in clear: that is what it is for, and why nothing else writes it.

    Args:
        path: written by `write_rejects`.
        directory: for the delivery zip.
        keys: hold the key `rejects`.
        seal: puts the delivery into an envelope for somebody else; None leaves it in clear.
        ending: of the envelope's name.

    Raises:
        PersonalizationError: `rejects-file-unreadable` when the file is none of ours, `sealed-data-refused` when it was
            changed or is under another key, `rejects-exists` (exit 2) when there is a file of its name in the folder.
    """
    content, end = _read(path)
    packed = keys.unseal(KeyName.REJECTS, content[end:], content[:end])
    name, _, delivery = packed.partition(b"\n")
    target = directory / f"{name.decode('ascii')}.zip{ending}"
    make_folder(directory)
    try:  # it may be under correction
        write_atomically(target, delivery if seal is None else seal(delivery), replace=False)
    except FileExistsError:
        raise PersonalizationError("rejects-exists", exit_code=2, file=str(target)) from None
    return target


def rejects_batch(path: Path) -> str:
    """Identifier of the batch whose rejected rows are in a file; it is not proved before the file is opened.

    Raises:
        PersonalizationError: "rejects-file-missing" (exit 2), "rejects-file-unreadable".
    """
    content, end = _read(path)
    return content[len(_MAGIC) : end - 1].decode("ascii", errors="replace")


def _read(path: Path) -> tuple[bytes, int]:
    """The file, and where its header ends."""
    try:
        content = path.read_bytes()
    except OSError as error:
        missing = PersonalizationError("rejects-file-missing", exit_code=2, file=path.name)
        raise unread(error, path, missing) from error
    end = content.find(b"\n", len(_MAGIC), len(_MAGIC) + _LONGEST_IDENTIFIER) + 1
    if not content.startswith(_MAGIC) or end == 0:
        raise PersonalizationError("rejects-file-unreadable", file=path.name)
    return content, end


def _delivery(name: DeliveryName, rejected: Sequence[RejectedRow]) -> bytes:
    """The delivery's name and a line feed, then its zip."""
    applicants = [
        [shown(cell) for cell in row.source.cells[: len(SHEET_COLUMNS)]] for row in rejected if row.source is not None
    ]
    residences = [[shown(cell) for cell in residence.cells] for row in rejected for residence in row.residences]
    zipped = pack_delivery(name, applicants, residences, _flat(rejected))
    return str(name).encode("ascii") + b"\n" + zipped


def _flat(rejected: Sequence[RejectedRow]) -> Iterator[tuple[str, bytes]]:
    """Pictures by file name without folder, each name once."""
    names: set[str] = set()
    for row in rejected:
        for path, content in row.pictures:
            name = PurePosixPath(path).name
            if name not in names:
                names.add(name)
                yield name, content
