"""Files of rows in TOML, such as fault plans and relay rules: read, checked row by row, errors told with their row."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar, cast

from reader_bridge.connection import Interface, ReaderError

Row = Mapping[str, object]
Made = TypeVar("Made")
Choice = TypeVar("Choice", bound=Enum)
_KINDS: Final[Mapping[type, str]] = {str: "a text in quotes", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class RowFile:
    """A kind of file.

    Attributes:
        table: name of its array of tables.
        unreadable: code of the error when there is no such text.
        invalid: code of the error when the text makes no sense.
        settings: what else may stand in it: whole numbers by name, with their defaults.
    """

    table: str
    unreadable: str
    invalid: str
    settings: Mapping[str, int] = field(default_factory=dict[str, int])

    def text(self, path: Path) -> str:
        """The text of a file.

        Raises:
            ReaderError: it cannot be read.
        """
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ReaderError(self.unreadable, path=str(path)) from error

    def parse(self, text: str, name: str, make: Callable[[Row], Made]) -> tuple[tuple[Made, ...], dict[str, int]]:
        """Rows and settings.

        Args:
            text: the file's text.
            name: of the file, for messages.
            make: makes one row, or raises ValueError with the reason.

        Raises:
            ReaderError: with the number of the row, 0 for the file as a whole, and the reason.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._bad(name, 0, str(error)) from error
        rows = document.pop(self.table, [])
        settings = {key: document.pop(key, default) for key, default in self.settings.items()}
        if document or not isinstance(rows, list) or not all(type(value) is int for value in settings.values()):
            there = [*self.settings, f"[[{self.table}]]"]
            raise self._bad(name, 0, f"there is {' and '.join(there)}, nothing else")
        made: list[Made] = []
        for number, row in enumerate(cast("list[object]", rows), start=1):
            try:
                made.append(make(cast("Row", row) if isinstance(row, dict) else {}))
            except ValueError as error:
                raise self._bad(name, number, str(error)) from error
        return tuple(made), settings

    def _bad(self, name: str, row: int, reason: str) -> ReaderError:
        return ReaderError(self.invalid, path=name, row=row, reason=reason)


def check_keys(
    row: Row, kind: str, allowed: Mapping[str, type], needed: AbstractSet[str], most: Callable[[str], int | None]
) -> None:
    """Every key says something for this kind of row, and has the right type and range; none is missing.

    Args:
        row: the row.
        kind: its kind, for messages.
        allowed: type by key.
        needed: keys that have to be there.
        most: greatest number of a key; None for no limit.

    Raises:
        ValueError: the reason.
    """
    for key, value in row.items():
        if key not in allowed:
            raise ValueError(f"{key} says nothing for {kind}")
        if type(value) is not allowed[key]:
            raise ValueError(f"{key} has to be {_KINDS[allowed[key]]}")
        limit = most(key)
        if isinstance(value, int) and (value < 0 or (limit is not None and value > limit)):
            raise ValueError(f"{key} is out of range")
    if missing := needed - row.keys():
        raise ValueError(f"{', '.join(sorted(missing))} is missing")


def choice(row: Row, key: str, choices: type[Choice]) -> Choice:
    """What a row chooses of several things, by their values.

    Raises:
        ValueError: the key is missing, or has another value.
    """
    try:
        return choices(str(row.get(key)))
    except ValueError as error:
        raise ValueError(f"{key} is one of {', '.join(str(item.value) for item in choices)}") from error


def interface(row: Row) -> Interface | None:
    """The interface that a row is for; None = both.

    Raises:
        ValueError: there is no such interface.
    """
    return choice(row, "interface", Interface) if "interface" in row else None


def number(row: Row, key: str, default: int) -> int:
    """A whole number of a row that was checked."""
    value = row.get(key, default)
    return value if isinstance(value, int) else default
