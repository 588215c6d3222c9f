"""The published tables of behaviour are the ones that the tests judge by."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from test_vectors.expected import APPLICATIONS, ExpectedCommands, byte_set, read_table

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_behaviour", DOCS / "build_behaviour.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "card-behaviour.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date(builder: ModuleType) -> None:
    assert builder.main(["--check"]) == 0, "run python docs/build_behaviour.py"


@pytest.mark.parametrize("application", APPLICATIONS)
def test_every_command_and_row_is_on_the_page(page: str, application: str) -> None:
    commands = ExpectedCommands.load(application)
    for command in (*commands.own, *commands.common):
        assert f"**{command.name}** `{'80' if command.proprietary else '00'} {command.ins:02X}`" in page
        for row in command.rows:
            assert f"| {row.p1} | {row.p2} | " in page


def test_every_run_is_on_the_page(page: str) -> None:
    for name in ("file_commands", "file_management", "transport"):
        for run in read_table(name)["run"]:
            assert f"**{run['name']}** ({run['clause']})" in page


def test_no_table_is_broken(page: str) -> None:
    """Every row of a table has as many cells as its head."""
    width = 0
    for line in page.splitlines():
        cells = line.count("|") - 1 if line.startswith("|") else 0
        if cells and width:
            assert cells == width, line
        width = cells
    assert "{{" not in page


@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("any", set(range(256))),
        ("00", {0}),
        ("01-03,FF", {1, 2, 3, 255}),
        ("0xxxxxxx", set(range(128))),
        ("1111x10x,00", {0xF4, 0xF5, 0xFC, 0xFD, 0}),
    ],
)
def test_what_a_cell_of_p1_or_p2_names(cell: str, values: set[int]) -> None:
    assert byte_set(cell) == values


@pytest.mark.parametrize("cell", ["", "xy", "0xxxxxx2", "1-2-3"])
def test_what_names_no_bytes(cell: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        byte_set(cell)
