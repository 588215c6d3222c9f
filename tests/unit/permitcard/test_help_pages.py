"""Help pages in Chinese: every command and option has its words, and no words are left over."""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperCommand

from permitcard.commands.application import application, run
from permitcard.commands.table import TABLE, load
from permitcard.help_pages import ALWAYS, HelpWords, wrapped
from permitcard.translation import Language

FOLDER = Path(__file__).parents[3] / "permitcard" / "messages" / "help"
OF_THE_PAGES = frozenset(
    {"Usage: ", "Options", "Arguments", "Commands", "required", "default: ", "env var: ", ":", "; "}
)
BY_THE_LIBRARY = "Show this message and exit."
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NAMES_ALONE = re.compile(r"[A-Z][A-Za-z0-9-]*(?: [A-Z]+)*。|(?:[A-Za-z:/0-9*]+[、 ]?(?:或 )?)+")
"""Words that are names and nothing else, such as "Key-MAC。"."""


def texts(command: Any) -> Iterator[str]:
    """What a command, its options and its own commands are for."""
    if command.help:
        yield command.help
    yield from (parameter.help for parameter in command.params if getattr(parameter, "help", None))
    for inner in getattr(command, "commands", {}).values():
        yield from texts(inner)


@functools.cache
def of_commands() -> dict[str, frozenset[str]]:
    """Texts by the name of their command."""
    return {name: frozenset(texts(load(entry.modules))) for name, entry in TABLE.items()}


@functools.cache
def of_the_frame() -> frozenset[str]:
    """Texts that every page may have."""
    group = typer.main.get_command(application)
    own = {text for parameter in group.params if (text := getattr(parameter, "help", None))}
    return frozenset({group.help or "", *own, *(entry.words for entry in TABLE.values()), BY_THE_LIBRARY})


def words_in(part: str) -> dict[str, str]:
    file = FOLDER / f"zh-{part}.toml"
    return dict(tomllib.loads(file.read_text("utf-8"))) if file.is_file() else {}


@pytest.mark.parametrize("name", TABLE)
def test_every_command_and_option_has_words(name: str) -> None:
    words = HelpWords(Language.CHINESE, (*ALWAYS, name))
    assert [text for text in sorted(of_commands()[name] | of_the_frame()) if words(text) == text and " " in text] == []
    shown = {text: words(text) for text in of_commands()[name]}
    strange = {text for text, said in shown.items() if not CHINESE.search(said) and not NAMES_ALONE.fullmatch(said)}
    assert strange == set()


def test_no_words_are_left_over() -> None:
    assert {file.stem.removeprefix("zh-") for file in FOLDER.iterdir()} <= {*ALWAYS, *TABLE}
    by_command = of_commands()
    for name, own in by_command.items():
        assert words_in(name).keys() <= own - of_the_frame(), name
    shared = {text for text in words_in("shared") if sum(text in own for own in by_command.values()) > 1}
    assert words_in("shared").keys() == shared
    assert words_in("frame").keys() == of_the_frame() | OF_THE_PAGES


def test_a_text_has_its_words_once() -> None:
    places = [text for part in (*ALWAYS, *TABLE) for text in words_in(part)]
    assert len(places) == len(set(places)) > 400


@pytest.mark.parametrize("line", [["--help"], *([name, "--help"] for name in TABLE)], ids=lambda line: line[0])
def test_a_page_is_chinese_and_fits(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--lang", "zh", *line]) == 0
    page = capsys.readouterr().out
    assert page.startswith("用法：permitcard ")
    assert "\n选项：\n" in page
    assert BY_THE_LIBRARY not in page
    long = [text for text in page.splitlines() if CHINESE.search(text) and columns_of(text) > 82]
    assert long == [], "two columns a Chinese character; a mark may stand out"
    assert not re.search(r"\b(?:the|of|and|default|required|is)\b", page)


def test_an_option_keeps_its_default_and_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["batch", "run", "--help", "--lang", "zh"]) == 0
    page = re.sub(r"\s+", "", capsys.readouterr().out)
    assert "[环境变量：PERMITCARD_CENTRE；缺省：centre]" in page
    assert "[缺省：2；0<=x<=64]" in page
    assert "送达的压缩包。[必填]" in page


def test_english_pages_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    before = TyperCommand.context_class.formatter_class
    assert run(["--lang", "zh", "batch", "none"]) == 2
    assert TyperCommand.context_class.formatter_class is before
    capsys.readouterr()
    assert run(["--lang", "en", "batch", "--help"]) == 0
    page = capsys.readouterr().out
    assert BY_THE_LIBRARY in page
    assert "..." not in page.replace("[ARGS]...", ""), "sentences of commands are whole"
    assert max(map(len, page.splitlines())) <= 80


def test_lines_break_between_chinese_characters_and_not_in_words() -> None:
    assert list(wrapped("制证中心的目录。", 8)) == ["制证中心", "的目录。"]
    assert list(wrapped("制证中心。的目录", 8)) == ["制证中心。", "的目录"]
    assert list(wrapped("见 PERMITCARD_CENTRE 中", 6)) == ["见", "PERMITCARD_CENTRE", "中"]
    assert list(wrapped("", 6)) == []


def columns_of(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WFA" else 1 for one in text)
