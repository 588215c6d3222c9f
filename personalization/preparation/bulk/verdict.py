"""What no chunk can see alone: numbers that occur twice, permits of earlier batches, pictures and residences of nobody.

All of it is found by sorting marks on disk; memory is needed for findings of one chunk only.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from personalization.atomic_file import open_atomically, write_atomically
from personalization.errors import PersonalizationError
from personalization.intake.applicant import Column, Finding, Severity
from personalization.intake.cells import SheetRow
from personalization.intake.code_tables import code_tables
from personalization.intake.limits import PIECEWISE_LIMITS, FieldLimits
from personalization.intake.masking import mask
from personalization.intake.receipt import UNIQUE, name_rows
from personalization.intake.row_check import CheckedRow, RowChecker
from personalization.intake.zip_directory import ZipDirectory, ZipEntry
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.checking import FINDINGS, MARKS, mark_doubles
from personalization.preparation.bulk.dealing import DealtRows
from personalization.preparation.bulk.findings import finding_document, finding_of, read_findings
from personalization.preparation.bulk.index import connect
from personalization.preparation.bulk.layout import BatchFolder
from personalization.preparation.bulk.marking import RESIDENCE_PLACE, picture_stem
from personalization.preparation.bulk.marks import Sound, read_asked, read_compared
from personalization.preparation.bulk.plan import Plan, read_json

KnownPermits = Callable[[list[bytes]], AbstractSet[bytes]]
"""Those of the recognition values that an accepted batch held before."""

FindingSink = Callable[[Finding], None]

_SHOWN: Final = 50
_RULES: Final = dict(UNIQUE)
_UNIQUE_MARKS: Final = (
    (Column.PERMIT_NUMBER, Sound.PERMIT, "permit"),
    (Column.CITIZEN_NUMBER, Sound.CITIZEN, "citizen"),
    (Column.BANK_ACCOUNT, Sound.ACCOUNT, "account"),
)
"""Columns that no two rows share: what says that the number is sound, and the name of its mark."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What intake says of a delivery as a whole.

    Attributes:
        rows: rows of the first sheet.
        good: rows that can go on.
        errors: findings that keep a row from going on.
        rules: findings by rule.
        shown: the first findings.
    """

    rows: int
    good: int
    errors: int
    rules: Mapping[str, int]
    shown: tuple[Finding, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Verdict:
        """What an earlier attempt has found.

        Raises:
            PersonalizationError: "work-file-damaged", exit 3.
        """
        document = read_json(path)
        shown = tuple(finding_of(found) for found in document["shown"])
        return cls(document["rows"], document["good"], document["errors"], document["rules"], shown)


@dataclass(slots=True)
class _Tally:
    """Findings as they come, told to whoever wants all of them."""

    sink: FindingSink
    errors: int = 0
    rules: Counter[str] = field(default_factory=Counter[str])
    shown: list[Finding] = field(default_factory=list[Finding])

    def add(self, found: Finding) -> None:
        self.errors += found.severity is Severity.ERROR
        self.rules[found.rule] += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(found)
        self.sink(found)


class Judge:
    """Compares the chunks of one delivery.

    Args:
        folder: of the batch; all its chunks are checked.
        plan: how it was dealt out.
        keys: the batch's store.
        known: permits of earlier batches.
    """

    def __init__(self, folder: BatchFolder, plan: Plan, keys: KeyStore, known: KnownPermits) -> None:
        self._folder = folder
        self._plan = plan
        self._keys = keys
        self._rows = DealtRows(folder, plan, keys)
        self._sizes = plan.sizes
        self._known = known

    def judge(self, sink: FindingSink) -> Verdict:
        """Find what is left to find, tell all findings, and write down which rows go on."""
        path = self._folder.work / "uniques.sqlite"
        path.unlink(missing_ok=True)
        database = connect(path, create=True)
        try:
            self._load(database)
            return self._told(database, _Tally(sink))
        finally:
            database.close()

    def _load(self, database: sqlite3.Connection) -> None:
        """All marks in one table; what belongs together is found by sorting."""
        database.execute(
            "CREATE TABLE rows (row INTEGER, bits INTEGER, permit BLOB, citizen BLOB, account BLOB, chunk INTEGER)"
        )
        for chunk in self._plan.chunks:
            rows = read_compared(self._folder.checked(chunk) / MARKS)
            database.execute("BEGIN")
            database.executemany(f"INSERT INTO rows VALUES (?, ?, ?, ?, ?, {chunk:d})", rows)  # noqa: S608 - a number
            database.execute("COMMIT")
        database.execute("CREATE INDEX rows_citizen ON rows (citizen, bits)")

    def _told(self, database: sqlite3.Connection, tally: _Tally) -> Verdict:
        doubles = self._doubles(database)
        good = 0
        refused: dict[int, list[int]] = {}
        if self._plan.rows != self._plan.declared:
            facts = {"declared": self._plan.declared, "found": self._plan.rows}
            tally.add(Finding("row-count", 0, Column.ROW, parameters=facts))
        for found in self._unclaimed_pictures(database):
            tally.add(found)
        with open_atomically(self._folder.rejected) as rejected:
            for chunk in self._plan.chunks:
                own, reasons = read_findings(self._folder.checked(chunk) / FINDINGS)
                rows = self._asked(chunk)
                across = self._across(chunk, rows, doubles.get(chunk, {}))
                twice = {found.row for found in across if found.rule == _RULES[Column.CITIZEN_NUMBER]}
                for found in own:
                    # Which of two rows a picture belongs to is not known, so none is missing.
                    if not (found.rule == "portrait-missing" and found.row in twice):
                        tally.add(found)
                for found in across:
                    tally.add(found)
                    reasons.setdefault(found.row, found.rule)
                faulty = {row for row, bits, _ in rows if bits & Sound.FAULTY}
                bad = sorted({found.row for found in across} - faulty)
                if bad:
                    refused[chunk] = bad
                good += len(rows) - len(faulty) - len(bad)
                for row, rule in sorted(reasons.items()):
                    rejected.write(json.dumps([row, rule]).encode() + b"\n")
        for found in self._unclaimed_residences(database):
            tally.add(found)
        return self._write(Verdict(self._plan.rows, good, tally.errors, dict(tally.rules), tuple(tally.shown)), refused)

    def _write(self, verdict: Verdict, refused: Mapping[int, list[int]]) -> Verdict:
        document = {
            "rows": verdict.rows,
            "good": verdict.good,
            "errors": verdict.errors,
            "rules": verdict.rules,
            "shown": [finding_document(found) for found in verdict.shown],
            "refused": {str(chunk): rows for chunk, rows in refused.items()},
        }
        content = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
        write_atomically(self._folder.verdict, content)
        return verdict

    def _doubles(self, database: sqlite3.Connection) -> dict[int, dict[tuple[int, int], str]]:
        """By chunk: row and column of each number that occurs twice, with the rows in which it does."""
        found: dict[int, dict[tuple[int, int], str]] = defaultdict(dict)
        for column, bit, mark in _UNIQUE_MARKS:
            twice = f"SELECT {mark} FROM rows WHERE bits & {bit:d} GROUP BY {mark} HAVING count(*) > 1"  # noqa: S608
            question = (
                f"SELECT {mark}, row, chunk FROM rows "  # noqa: S608 - our own names
                f"WHERE bits & {bit:d} AND {mark} IN ({twice}) ORDER BY {mark}, row"
            )
            for _, rows in itertools.groupby(database.execute(question), lambda row: row[0]):
                places = [(row, chunk) for _, row, chunk in rows]
                named = name_rows([row for row, _ in places])
                for row, chunk in places:
                    found[chunk][row, int(column)] = named
        return found

    def _asked(self, chunk: int) -> list[tuple[int, int, bytes]]:
        path = self._folder.checked(chunk) / MARKS
        rows = list(read_asked(path))
        if len(rows) != self._sizes[chunk]:  # every row is asked for, whatever has become of a disk
            raise PersonalizationError("work-file-damaged", exit_code=3, file=path.name, reason="")
        return rows

    def _across(
        self, chunk: int, rows: Iterable[tuple[int, int, bytes]], doubles: Mapping[tuple[int, int], str]
    ) -> list[Finding]:
        """Findings of a chunk's rows that other rows and other batches give."""
        twice = {row for row, column in doubles if column == Column.PERMIT_NUMBER}
        asked = {permit: row for row, bits, permit in rows if bits & Sound.PERMIT and row not in twice}
        seen = {asked[value] for value in self._known(list(asked))}
        if not doubles and not seen:
            return []
        texts = self._texts(chunk)
        found = [
            Finding(_RULES[column], row, column, _masked(texts, row, column), parameters={"rows": rows})
            for row, column, rows in sorted((row, Column(kind), rows) for (row, kind), rows in doubles.items())
        ]
        return found + [
            Finding("permit-number-seen", row, Column.PERMIT_NUMBER, _masked(texts, row, Column.PERMIT_NUMBER))
            for row in sorted(seen)
        ]

    def _texts(self, chunk: int) -> dict[int, list[str]]:
        checker = RowChecker(self._plan.area_code, code_tables(), FieldLimits())
        return {row.number: checker.check(row).view.text for row in self._rows.applicants(chunk)}

    def _unclaimed_pictures(self, database: sqlite3.Connection) -> Iterator[Finding]:
        content = self._plan.pictures.open(self._keys)
        try:
            directory = ZipDirectory(content, PIECEWISE_LIMITS, "pictures")
            for _, place in self._unclaimed(database, "pictures"):
                stem = picture_stem(directory.name(ZipEntry.of_locator(place)))
                yield Finding("portrait-without-row", 0, Column.PORTRAIT, mask(Column.PORTRAIT, stem))
        finally:
            content.close()

    def _unclaimed_residences(self, database: sqlite3.Connection) -> Iterator[Finding]:
        checker = RowChecker.for_residences(self._plan.area_code, code_tables(), FieldLimits())
        held: tuple[int, list[SheetRow]] = (0, [])
        for _, places in itertools.groupby(self._unclaimed(database, "residences"), lambda found: found[0]):
            rows: list[CheckedRow] = []
            for _, place in places:
                chunk, at = RESIDENCE_PLACE.unpack(place)
                if chunk != held[0]:
                    held = chunk, self._rows.residences(chunk)
                rows.append(checker.check(held[1][at]))
            mark_doubles(rows)
            for row in rows:
                if row.sound(Column.RESIDENCE_CITIZEN_NUMBER):
                    row.add("residence-without-row", Column.RESIDENCE_CITIZEN_NUMBER)
                yield from row.findings

    def _unclaimed(self, database: sqlite3.Connection, table: str) -> list[tuple[bytes, bytes]]:
        """Mark and place of what belongs to no row, by mark."""
        database.execute("ATTACH DATABASE ? AS dealt", (f"{self._folder.index.absolute().as_uri()}?mode=ro",))
        try:
            question = (
                f"SELECT mark, place FROM dealt.{table} AS held "  # noqa: S608 - our own names
                "WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.citizen = held.mark) "
                "ORDER BY mark, place"
            )
            return database.execute(question).fetchall()
        finally:
            database.execute("DETACH DATABASE dealt")


def _masked(texts: Mapping[int, list[str]], row: int, column: Column) -> str:
    return mask(column, texts[row][column])
