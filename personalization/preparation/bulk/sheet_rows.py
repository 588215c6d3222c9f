"""Rows of a table as they travel from the reader to a worker: sealed on disk, one file a chunk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.intake.cells import Cell, CellFlaw, FlawedCell, SheetRow
from personalization.keys.keystore import KeyName, KeyStore

_CONTEXT: Final = b"rows\x00"


def write_rows(path: Path, rows: Sequence[SheetRow], keys: KeyStore) -> None:
    """Write rows under the batch's transport key; the file's folder and name are authenticated."""
    # A half of a character that a table brought has to get as far as the rule that refuses it.
    content = _encode(list(rows)).encode("utf-8", "surrogatepass")
    write_atomically(path, keys.seal(KeyName.TRANSPORT, content, _context(path)))


def read_rows(path: Path, keys: KeyStore) -> list[SheetRow]:
    """Undo `write_rows`.

    Raises:
        PersonalizationError: "work-file-damaged" (exit 3), "sealed-data-refused".
    """
    try:
        sealed = path.read_bytes()
    except OSError:
        raise PersonalizationError("work-file-damaged", exit_code=3, file=path.name, reason="") from None
    content = keys.unseal(KeyName.TRANSPORT, sealed, _context(path)).decode("utf-8", "surrogatepass")
    return [SheetRow(number, _cells(values)) for number, values in json.loads(content)]


def _flawed(cell: object) -> list[str]:
    if not isinstance(cell, FlawedCell):
        raise TypeError(type(cell).__name__)
    return [cell.flaw.name, cell.shown]


def _cells(values: list[str | list[str]]) -> tuple[Cell, ...]:
    if _TEXT_ONLY.issuperset(map(type, values)):
        return tuple(values)  # type: ignore[arg-type]  # text only
    return tuple([value if isinstance(value, str) else FlawedCell(CellFlaw[value[0]], value[1]) for value in values])


_TEXT_ONLY: Final = frozenset({str})
_encode: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False, default=_flawed
).encode


def _context(path: Path) -> bytes:
    return _CONTEXT + f"{path.parent.name}/{path.name}".encode()
