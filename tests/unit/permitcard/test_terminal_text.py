"""What a command prints is shown by a terminal and never obeyed, and JSON stays JSON."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest

from permitcard.console import Console
from permitcard.terminal_text import at_left, at_right, columns_of, printable
from permitcard.translation import Language, Translator

ATTACKS = (
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[1;1H",
    "\x9b31m",
    "one\rtwo",
    "\x7f\b",
    "txt.\u202eexe",
    "\u2066\u2069",
    "line\u2028line",
    "half \udce9.zip",
)
ENGLISH = Translator(Language.ENGLISH, {"told": "File {file} is not there."})


class Terminal:
    """Standard output and error as bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
        for name, stream in zip(("stdout", "stderr"), self._streams, strict=True):
            monkeypatch.setattr(sys, name, stream)

    def shown(self) -> list[str]:
        texts: list[str] = []
        for stream in self._streams:
            stream.seek(0)
            texts.append(stream.read())
        return texts


def is_obeyed(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in "\n\t"


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_that_a_terminal_obeys_is_printed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    terminal = Terminal(monkeypatch)
    console = Console(ENGLISH)
    console.say("told", file=text)
    console.write(text)
    console.warn("told", file=text)
    console.complain("told", file=text)
    out, error = terminal.shown()
    assert not [one for one in out + error if is_obeyed(one)]
    assert out == f"File {printable(text)} is not there.\n{printable(text)}\n"
    assert error.count(printable(text)) == 2


@pytest.mark.parametrize("text", ATTACKS)
def test_a_json_document_says_the_same_and_is_no_more_obeyed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    terminal = Terminal(monkeypatch)
    console = Console(ENGLISH, as_json=True)
    console.result({"file": text})
    console.complain("told", file=text)
    out, error = terminal.shown()
    assert not [one for one in out + error if is_obeyed(one)]
    assert json.loads(out) == {"file": text}
    assert json.loads(error)["error"]["parameters"] == {"file": text}


@pytest.mark.parametrize("text", ["张三 𠮷田", "naïve — “quoted”", "a\tb\nc", "\N{ZERO WIDTH JOINER}", "\\u001b"])
def test_everything_that_is_text_is_printed_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_chinese_stands_in_its_column() -> None:
    """Unicode Standard Annex #11: wide characters take two columns."""
    assert [columns_of(text) for text in ("stock", "库存", "PIN（4 位）")] == [5, 4, 11]
    assert [at_left(text, 6) + "|" for text in ("库存", "stock", "禁用待查")] == ["库存  |", "stock |", "禁用待查|"]
    assert at_right("期初", 6) == "  期初"
    row = Translator(Language.CHINESE, {"row": "{state:<8}|{order:<8}|"})
    assert row("row", state="已结束", order="") == "已结束  |        |"
