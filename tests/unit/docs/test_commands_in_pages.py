"""Commands and options that the pages name are there, by those names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from permitcard.commands.table import TABLE, load

ROOT = Path(__file__).parents[3]
BYTES_NOT_WORDS = {"card-specification.md", "card-specification.template.md"}
"""There "permitcard …" is what a signature covers."""
PAGES = [
    ROOT / "README.md",
    ROOT / "examples" / "README.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name not in BYTES_NOT_WORDS),
]
FRAME = {"--json", "--lang", "--help", "--version"}
"""Options of every command."""


def spoken(text: str) -> Iterator[str]:
    """What stands as code in a page, a line each; a line that ends in a backslash goes on."""
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    for block in fenced:
        yield from re.sub(r"\\\n", " ", block).splitlines()
    yield from re.findall(r"`([^`]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE))


def command_words(line: str) -> list[str] | None:
    """The words behind ``permitcard``, or None for what is no command; in a sentence that word may be left out."""
    words = line.strip().removeprefix("$ ").split("#")[0].split()
    if words[:1] == ["permitcard"]:
        return words[1:]
    if len(words) > 1 and words[0] in TABLE and re.fullmatch(r"[a-z-]+", words[1]):
        return words
    return None


@cache
def table_entry(name: str) -> Any:
    return load(TABLE[name].modules)


def unknown(words: list[str]) -> str | None:
    """The first word that no command has."""
    while words and words[0] in FRAME:
        words = words[2:] if words[0] == "--lang" else words[1:]
    if not words:
        return None
    name, *rest = words[0], *words[1:]
    if "|" in name or name.startswith(("…", "FILE")):
        return None
    if name not in TABLE:
        return name
    here = table_entry(name)
    while hasattr(here, "commands") and rest and re.fullmatch(r"[a-z-]+", rest[0]):
        if rest[0] not in here.commands:
            return f"{name} {rest[0]}"
        name, here, rest = f"{name} {rest[0]}", here.commands[rest[0]], rest[1:]
    known = {option for parameter in here.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        option = word.strip("[]().,;").partition("=")[0]
        if re.fullmatch(r"--[a-z][a-z0-9-]*", option) and option not in known | FRAME:
            return f"{name} {option}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_page_is_there(page: Path) -> None:
    found = [words for line in spoken(page.read_text("utf-8")) if (words := command_words(line)) is not None]
    assert [wrong for words in found if (wrong := unknown(words)) is not None] == []
