"""Points: base, plus, minus and veto items, with an explanation of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.errors import PersonalizationError
from personalization.permit.points import ItemKind, points_tables, read_points_table, score

TABLES = points_tables()
ZHOUSHAN = TABLES["zhoushan-example"]


@pytest.mark.parametrize(
    ("facts", "total"),
    [
        ({}, 0),
        ({"age": 17}, 0),
        ({"age": 18}, 10),
        ({"age": 35}, 10),
        ({"age": 36}, 8),
        ({"age": 61}, 0),
        ({"residence_years": 3}, 9),
        ({"residence_years": 10}, 30),
        ({"residence_years": 11}, 30),
        ({"residence_years": -1}, 0),
        ({"insurance_years": 4, "service_days": 25}, 40),
        ({"insurance_years": 4, "penalties": 1}, 0),
        ({"insurance_years": 5, "penalties": 1}, 5),
        ({"penalties": 3}, 0),
        ({"insurance_years": 10, "awards": 2, "convictions": 0}, 70),
        ({"insurance_years": 10, "awards": 2, "convictions": 1}, 0),
    ],
)
def test_points_of_a_person(facts: dict[str, int], total: int) -> None:
    assert score(ZHOUSHAN, facts).total == total


def test_every_item_is_explained() -> None:
    answer = score(ZHOUSHAN, {"age": 30, "penalties": 2, "convictions": 1})
    shown = {entry.item.id: (entry.value, entry.points) for entry in answer.scores}
    assert set(shown) == {item.id for item in ZHOUSHAN.items}
    assert (shown["age"], shown["offences"], shown["awards"]) == ((30, 10), (2, -40), (None, 0))
    assert answer.vetoed_by == ("crime",)


@given(st.dictionaries(st.sampled_from([item.measure for item in ZHOUSHAN.items]), st.integers(-5, 200)))
def test_the_sum_is_that_of_the_explanation(facts: dict[str, int]) -> None:
    answer = score(ZHOUSHAN, facts)
    assert answer.total == (0 if answer.vetoed_by else max(0, sum(entry.points for entry in answer.scores)))
    assert bool(answer.vetoed_by) == bool(facts.get("convictions"))


def test_each_item_of_every_table_matters() -> None:
    for table in TABLES.values():
        for item in table.items:
            base = {other.measure: 3 for other in table.items if other.kind is ItemKind.BASE}
            with_it = score(table, base | {item.measure: 1})
            without = score(table, {name: value for name, value in base.items() if name != item.measure})
            assert with_it.total != without.total or item.measure == "age", item.id


def test_facts_that_no_item_looks_at_are_refused() -> None:
    with pytest.raises(PersonalizationError) as raised:
        score(ZHOUSHAN, {"shoe_size": 42})
    assert (raised.value.code, raised.value.exit_code) == ("points-facts-unknown", 2)


def test_the_tables_say_that_their_figures_are_examples() -> None:
    assert all(table.example for table in TABLES.values())


GOOD = """
name = "x"
title = { zh = "x", en = "x" }
areas = ["330381"]
example = false
[[items]]
id = "residence"
kind = "base"
title = { zh = "x", en = "x" }
measure = "years"
each = 2
source = { clause = "1", quote = "居住年限" }
"""


def test_a_county_brings_its_own_table(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD, "utf-8")
    assert score(read_points_table(path), {"years": 4}).total == 8


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("each = 2", ""),
        ("each = 2", "each = 2\nbands = [{ least = 1, points = 1 }]"),
        ("each = 2", "bands = [{ least = 2, points = 1 }, { least = 1, points = 2 }]"),
        ('kind = "base"', 'kind = "veto"'),
        ("each = 2", "each = 0"),
        (GOOD[GOOD.index("[[items]]") :], GOOD[GOOD.index("[[items]]") :] * 2),
        ('id = "residence"', "id ="),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    with pytest.raises(PersonalizationError, match="points-table-invalid"):
        read_points_table(path)
