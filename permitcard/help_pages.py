"""Help pages in the console's language, with whole sentences: the library cuts those of commands in lists.

What a command or an option is for stands in English where it is defined. There it is the identifier of its words in
other languages, as in gettext: ``messages/help/LANGUAGE-COMMAND.toml``, and ``frame`` and ``shared`` for what the
pages themselves say and for what several commands have. Only the files of the command on the line are read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from typer.core import TyperCommand

from permitcard.terminal_text import columns_of
from permitcard.translation import Language

if TYPE_CHECKING:
    from typer._click import HelpFormatter as Page
else:
    Page = TyperCommand.context_class.formatter_class

ALWAYS: Final = ("frame", "shared")
"""Files that every page may need."""

_REMARK: Final = re.compile(r"(?P<text>.*?)(?:(?:  |^)\[(?P<remarks>[^\[\]]*)\])?", re.DOTALL)
"""What an option is for, and behind it what the library says of its default."""

_TOKENS: Final = re.compile(r"[!-~]+|\s+|.")
_HELD_BACK: Final = frozenset("，。；：、）”！？…")
"""Characters that begin no line."""

_NO_SENTENCE_IS_LONGER: Final = 10_000


class HelpWords:
    """Words of help pages by what they are in English.

    Args:
        language: of the words.
        parts: names of files; one that has none of its own is empty.
    """

    def __init__(self, language: Language, parts: Sequence[str]) -> None:
        folder = files("permitcard").joinpath("messages", "help")
        found = (folder.joinpath(f"{language.value}-{part}.toml") for part in parts)
        self._words: dict[str, str] = {}
        for file in found:
            if file.is_file():
                self._words |= tomllib.loads(file.read_text("utf-8"))

    def __call__(self, text: str) -> str:
        """The words for a text, or for one of which it is the first sentence; a text without words stays as it is."""
        if (words := self._words.get(text)) is not None:
            return words
        beginning = text.rstrip(".")
        longer = [whole for whole in self._words if beginning and whole.startswith((f"{beginning}.", f"{beginning}\n"))]
        return self._words[longer[0]].partition("\n")[0].partition("。")[0] + "。" if longer else text


@contextmanager
def help_pages(language: Language, line: Sequence[str]) -> Generator[None]:
    """Write the help pages of one command line in a language.

    Args:
        language: English has no other words for the texts.
        line: the words of the command line; the first that is no option names the command.
    """
    known = (word for word in line if not word.startswith("-") and word not in set(Language))
    parts = (*ALWAYS, next(known, ""))

    class Translated(TranslatedPage):
        def __init__(self, width: int | None = None, max_width: int | None = None) -> None:
            super().__init__(HelpWords(language, parts), width, max_width)

    context = TyperCommand.context_class
    before, context.formatter_class = context.formatter_class, Translated
    try:
        yield
    finally:
        context.formatter_class = before


class TranslatedPage(Page):
    """The parser's help page with other words, in which a Chinese character takes two columns.

    Args:
        words: the words.
        width: columns of the page; those of the terminal when absent.
        max_width: the most.
    """

    def __init__(self, words: HelpWords, width: int | None = None, max_width: int | None = None) -> None:
        super().__init__(width=width, max_width=max_width)
        self._words = words
        self._columns = self.width
        # The library cuts sentences to this width before they come here, where they would not be known again.
        self.width = _NO_SENTENCE_IS_LONGER

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how a command is called."""
        super().write_usage(prog, args, self._words("Usage: ") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        self.write(f"{self._words(heading)}{self._words(':')}\n")

    def write_text(self, text: str) -> None:
        """Write what a command is for."""
        paragraphs = self._words(text).split("\n\n")
        indent = " " * self.current_indent
        told = ("\n".join(indent + line for line in wrapped(one, self._columns)) for one in paragraphs)
        self.write("\n\n".join(told) + "\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write options or commands, each with what it is for."""
        column = min(max(len(name) for name, _ in rows), col_max) + col_spacing
        indent = " " * self.current_indent
        for name, text in rows:
            lines = list(wrapped(self._told(text), max(self._columns - column - len(indent), 10)))
            beside = lines.pop(0) if lines and len(name) <= column - col_spacing else ""
            self.write(f"{indent}{name:<{column}}{beside}".rstrip() + "\n")
            self.write("".join(f"{indent}{'':<{column}}{line}\n" for line in lines))

    def _told(self, text: str) -> str:
        found = _REMARK.fullmatch(text)
        if found is None or found["remarks"] is None:
            return self._words(text)
        remarks = self._words("; ").join(self._remark(one) for one in found["remarks"].split("; "))
        return f"{self._words(found['text'])}  [{remarks}]".strip()

    def _remark(self, remark: str) -> str:
        """Such as "required", or "default: 2"."""
        name, mark, value = remark.partition(": ")
        return self._words(f"{name}: ") + value if mark else self._words(remark)


def wrapped(text: str, columns: int) -> Iterator[str]:
    """Lines of at most so many columns: Chinese breaks at any character, Latin words and numbers stay whole."""
    line, used = "", 0
    for token in _TOKENS.findall(" ".join(text.split("\n"))):
        wide = columns_of(token)
        if line and used + wide > columns and token not in _HELD_BACK:
            yield line.rstrip()
            line, used = "", 0
        if line or not token.isspace():
            line, used = line + token, used + wide
    if line:
        yield line.rstrip()
