"""Tables of what a card has to answer, as data: `tables/` holds them, this module reads them.

They are written from the standards and the card specification and never from what the firmware answers; tests judge the
firmware by them and `docs/build_behaviour.py` prints them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from test_vectors import root

ANY: Final = "any"
CARD: Final = "card"
APPLICATIONS: Final = ("permit", "sam", "file_system", "issuer_domain")
INTERFACES: Final = ("contact", "contactless")
UNKNOWN: Final = "6D00"
"""What no table names."""
OTHER_CLASS: Final = "6E00"
"""An instruction that the application has in the other class only."""

_BYTES: Final = frozenset(range(256))
_BITS: Final = 8


def read_table(path: str) -> dict[str, Any]:
    """A table below ``tables/``, such as ``class_bytes``."""
    return tomllib.loads(root().joinpath(f"tables/{path}.toml").read_text(encoding="utf-8"))


def byte_set(text: str) -> frozenset[int]:
    """The bytes that a cell of P1 or P2 names: "any", bytes and ranges in hexadecimal, or bits where x may be either.

    Raises:
        ValueError: no such cell.
    """
    if text == ANY:
        return _BYTES
    named: set[int] = set()
    for part in text.split(","):
        if len(part) == _BITS:
            fixed, wanted = (int("".join(map(rule.get, part, part)), 2) for rule in (_FIXED, _WANTED))
            named.update(value for value in range(256) if value & fixed == wanted)
        else:
            first, _, last = part.partition("-")
            named.update(range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(named)


_FIXED: Final = {"0": "1", "1": "1", "x": "0"}
_WANTED: Final = {"x": "0"}


@dataclass(frozen=True, slots=True)
class ExpectedRow:
    """One row of a command: which P1-P2, with what data, and the answer.

    Attributes:
        p1: cell of P1.
        p2: cell of P2.
        data: data field in hexadecimal; "{aid}" is the name of the application.
        answers: status words over contact and over the field.
        why: in words.
        firsts: bytes of P1.
        seconds: bytes of P2.
    """

    p1: str
    p2: str
    data: str
    answers: tuple[str, str]
    why: str
    firsts: frozenset[int]
    seconds: frozenset[int]

    @classmethod
    def read(cls, cells: Sequence[str]) -> ExpectedRow:
        """From the cells of a table."""
        p1, p2, data, answer, why = cells
        contact, _, field = answer.partition(" / ")
        return cls(p1, p2, data, (contact, field or contact), why, byte_set(p1), byte_set(p2))


@dataclass(frozen=True, slots=True)
class ExpectedCommand:
    """One instruction in one class, with every P1-P2.

    Attributes:
        ins: instruction byte.
        proprietary: class 80 and not 00.
        name: name in the standard.
        clause: where it is told.
        le: Le field in hexadecimal, empty for none.
        rows: the first that fits decides.
    """

    ins: int
    proprietary: bool
    name: str
    clause: str
    le: str
    rows: tuple[ExpectedRow, ...]

    @classmethod
    def read(cls, row: dict[str, Any]) -> ExpectedCommand:
        """From a command of a table."""
        return cls(
            int(row["ins"], 16),
            row.get("class") == "proprietary",
            row["name"],
            row["clause"],
            row.get("le", ""),
            tuple(map(ExpectedRow.read, row["rows"])),
        )

    def row(self, p1: int, p2: int) -> ExpectedRow | None:
        """The row that decides; None when no row does."""
        return next((row for row in self.rows if p1 in row.firsts and p2 in row.seconds), None)

    def undecided(self) -> int:
        """How many of the 65,536 P1-P2 no row decides."""
        return sum(len(_BYTES.difference(*(row.seconds for row in self.rows if p1 in row.firsts))) for p1 in range(256))

    def samples(self) -> Iterator[tuple[int, int, ExpectedRow]]:
        """P1-P2 at the ends and in the middle of every row, those that an earlier row decides left out."""
        for row in self.rows:
            for p1 in _ends(row.firsts):
                for p2 in _ends(row.seconds):
                    if self.row(p1, p2) is row:
                        yield p1, p2, row


def _ends(values: frozenset[int]) -> list[int]:
    ordered = sorted(values)
    return sorted({ordered[0], ordered[len(ordered) // 2], ordered[-1]})


@dataclass(frozen=True, slots=True)
class ExpectedCommands:
    """The commands of an application, those that the card has for every one among them.

    Attributes:
        name: of the application.
        aid: its name on a card.
        states: life-cycle states in which its own commands work.
        own: its own commands.
        common: what the card does.
    """

    name: str
    aid: bytes
    states: tuple[int, ...]
    own: tuple[ExpectedCommand, ...]
    common: tuple[ExpectedCommand, ...]

    @classmethod
    def load(cls, application: str) -> ExpectedCommands:
        """The table of one of `APPLICATIONS`."""
        table, card = read_table(f"commands/{application}"), read_table(f"commands/{CARD}")
        return cls(
            table["name"],
            bytes.fromhex(table["aid"]),
            tuple(int(state, 16) for state in table["states"]),
            tuple(map(ExpectedCommand.read, table["command"])),
            tuple(map(ExpectedCommand.read, card["command"])),
        )

    def command(self, ins: int, *, proprietary: bool) -> ExpectedCommand | None:
        """All rows of an instruction in a class, the card's first; None when there are none."""
        found = [item for item in (*self.common, *self.own) if (item.ins, item.proprietary) == (ins, proprietary)]
        if not found:
            return None
        rows = tuple(row for item in found for row in item.rows)
        return ExpectedCommand(ins, proprietary, found[-1].name, found[-1].clause, found[-1].le, rows)

    def missing(self, ins: int, *, proprietary: bool) -> str:
        """What an instruction answers that is not there in a class."""
        other = any((item.ins, item.proprietary) == (ins, not proprietary) for item in self.own)
        return OTHER_CLASS if other else UNKNOWN
