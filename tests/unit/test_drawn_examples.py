"""What the property tests of a run try is the same in each run, whatever ran before."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

CONSTANTS = range(1_000, 1_400, 7)


@pytest.mark.skipif("PERMITCARD_DRAW_ANEW" in os.environ, reason="they are drawn anew")
def test_examples_are_the_same_whatever_was_imported_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    @given(st.integers(0, 1_000_000))
    def draw(number: int) -> None:
        drawn.append(number)

    draw()
    before = tuple(drawn)
    path = tmp_path / "imported_meanwhile.py"
    path.write_text("".join(f"X{number} = {number}\n" for number in CONSTANTS), encoding="utf-8")
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    monkeypatch.setitem(sys.modules, path.stem, importlib.util.module_from_spec(found))
    drawn.clear()
    draw()
    assert tuple(drawn) == before
