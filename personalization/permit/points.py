"""Points of a resident: base, plus, minus and veto items of a county's table, with an explanation.

A table is data (`points/*.toml`). The documents name the kinds of items and leave figures to the counties, so the
tables that come with the product are examples and say so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator

from personalization.errors import PersonalizationError
from personalization.permit.evidence import Area, Record
from personalization.permit.policy.model import Source, Title

_FOLDER: Final = "points"
_SUFFIX: Final = ".toml"


class ItemKind(StrEnum):
    """What an item does to the points."""

    BASE = "base"
    PLUS = "plus"
    MINUS = "minus"
    VETO = "veto"


class Band(Record):
    """Points for a measure from ``least`` on, up to the next band."""

    least: int
    points: int = Field(ge=0)


class Item(Record):
    """One item: by bands of a measure, by so many points for each unit of it, or at once.

    Attributes:
        measure: name of the fact that it looks at: a whole number, for a veto how often it happened.
        bands: in rising order.
        each: points for each unit, at most ``most`` in all.
    """

    id: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    kind: ItemKind
    title: Title
    measure: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    bands: tuple[Band, ...] = ()
    each: int | None = Field(default=None, ge=1)
    most: int | None = Field(default=None, ge=1)
    source: Source

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = bool(self.bands) + (self.each is not None)
        if self.kind is ItemKind.VETO and forms:
            raise ValueError("a veto has no points")
        if self.kind is not ItemKind.VETO and forms != 1:
            raise ValueError("either bands or each")
        if list(self.bands) != sorted(self.bands, key=lambda band: band.least):
            raise ValueError("bands do not rise")
        return self

    def points(self, value: int) -> int:
        """Points for ``value``, without a sign."""
        if self.each is not None:
            points = max(value, 0) * self.each
            return points if self.most is None else min(points, self.most)
        return next((band.points for band in reversed(self.bands) if value >= band.least), 0)


class PointsTable(Record):
    """The items of a county; ``example`` marks figures that no document states."""

    name: str
    title: Title
    areas: tuple[Area, ...]
    example: bool
    items: tuple[Item, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [item.id for item in self.items]
        if len(set(names)) != len(names):
            raise ValueError("an item stands twice")
        return self


@dataclass(frozen=True, slots=True)
class ItemScore:
    """What one item came to; ``value`` is None when the fact was not given, which gives no points."""

    item: Item
    value: int | None
    points: int


@dataclass(frozen=True, slots=True)
class Score:
    """The points of a person with every item that led to them.

    Attributes:
        total: never below 0; 0 when an item vetoed.
        vetoed_by: the items that say no whatever the sum is.
    """

    table: PointsTable
    total: int
    scores: tuple[ItemScore, ...]
    vetoed_by: tuple[str, ...]


def score(table: PointsTable, facts: Mapping[str, int]) -> Score:
    """Add up the points for ``facts``, measures by name.

    Raises:
        PersonalizationError: "points-facts-unknown" (exit 2), facts that no item of the table looks at.
    """
    unknown = sorted(set(facts) - {item.measure for item in table.items})
    if unknown:
        raise PersonalizationError("points-facts-unknown", exit_code=2, names=", ".join(unknown), table=table.name)
    scores: list[ItemScore] = []
    vetoed: list[str] = []
    for item in table.items:
        value = facts.get(item.measure)
        if item.kind is ItemKind.VETO:
            scores.append(ItemScore(item, value, 0))
            vetoed += [item.id] if value else []
            continue
        points = 0 if value is None else item.points(value)
        scores.append(ItemScore(item, value, -points if item.kind is ItemKind.MINUS else points))
    total = 0 if vetoed else max(0, sum(entry.points for entry in scores))
    return Score(table, total, tuple(scores), tuple(vetoed))


def points_tables() -> dict[str, PointsTable]:
    """The tables that come with the product, by name."""
    folder = resources.files("personalization.permit").joinpath(_FOLDER)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(_SUFFIX))
    tables = [_parse(folder.joinpath(name).read_text("utf-8"), name) for name in names]
    return {table.name: table for table in tables}


def read_points_table(path: Path) -> PointsTable:
    """Read a county's table.

    Raises:
        PersonalizationError: "points-table-unreadable" (exit 2), "points-table-invalid" (exit 1) with the places.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PersonalizationError("points-table-unreadable", exit_code=2, path=path) from error
    return _parse(text, path.name)


def _parse(text: str, name: str) -> PointsTable:
    try:
        return PointsTable.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PersonalizationError("points-table-invalid", path=name, places=str(error)) from error
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise PersonalizationError("points-table-invalid", path=name, places=places) from error
