"""``batch rehearse`` touches nothing: no key store, no journal, no stock, no file but the page that was asked for."""

from __future__ import annotations

from typing import Any

from tests.console.command_line import Prompt
from tests.console.conftest import SmallCentre


def test_a_batch_is_rehearsed_without_a_centre(prompt: Prompt) -> None:
    prompt("sample", "2", "d", "--seed", "3")
    delivered = next((prompt.folder / "d").glob("*.zip"))
    said: Any = prompt("batch", "rehearse", delivered, "--html", "page.html", "--json").document
    assert (said["rehearsed"], said["good"], said["yield_percent"]) == (2, 2, 100.0)
    assert sorted(path.name for path in prompt.folder.iterdir()) == ["d", "page.html"]
    page = (prompt.folder / "page.html").read_text("utf-8")
    assert "report." not in page, "a text without words"
    words = prompt("batch", "rehearse", delivered, "--rows", "1", "--lang", "zh").out
    assert "合格 1 张" in words
    unknown = prompt("batch", "rehearse", delivered, "--chip", "nothing", "--json", code=2)
    assert unknown.error["code"] == "chip-unknown"
    assert prompt("batch", "rehearse", delivered, "--protocol", "T=2", "--json", code=2).error["code"] == (
        "rehearsal-protocol"
    )
    assert prompt("batch", "rehearse", "nowhere.zip", "--json", code=2).error["code"] == "batch-file-missing"


def test_a_rehearsal_leaves_the_real_batch_and_stock_as_they_are(small_centre: SmallCentre) -> None:
    small_centre("stock", "receive", "2")
    before = {path: path.read_bytes() for path in small_centre.centre.root.rglob("*") if path.is_file()}
    small_centre.prompt("batch", "rehearse", small_centre.delivered, "--rows", "1", "--json")
    after = {path: path.read_bytes() for path in small_centre.centre.root.rglob("*") if path.is_file()}
    assert after == before
    assert small_centre.make()["good"] == 4, "the same file can still be made"
