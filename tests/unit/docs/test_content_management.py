"""The published page on content management is the one that the table makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_content_management", DOCS / "build_content_management.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(builder: ModuleType) -> None:
    assert builder.main(["--check"]) == 0, "run python docs/build_content_management.py"


def test_every_operation_and_actor_is_on_the_page(builder: ModuleType) -> None:
    page = (DOCS / "content-management.md").read_text(encoding="utf-8")
    table = builder.read_table("content_management")
    for row in table["operation"]:
        assert f"### {row['name']}\n" in page
        assert f"| {row['name']} | {row['card']['OP_READY']} |" in page
    for name, actor in table["actors"].items():
        assert f"| {name.replace('_', ' ')} | `{actor['privileges']}`" in page
