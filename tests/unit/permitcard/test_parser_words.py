"""Whatever the option parser's library can say to a user of ours is said in Chinese too.

The installed library is read: a sentence that a newer one adds fails here until the catalogues have it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from permitcard.commands.application import run
from permitcard.commands.table import TABLE, load
from permitcard.foreign_words import PARSER, in_own_words
from permitcard.translation import Language, Translator

CHINESE = Translator.load(Language.CHINESE)
LIBRARY = Path(typer.__file__).parent
RAISED = frozenset({"BadParameter", "UsageError", "BadOptionUsage", "BadArgumentUsage", "fail"})
SAYING = frozenset({"format_message", "get_missing_message"})
"""Methods of the library's errors and parameters that make a sentence of parts."""

COERCING = frozenset({"_adapters.py", "_param_types.py"})
"""Modules of the library whose ValueError becomes words about a value."""

UNMET = frozenset(
    {
        "",
        "Could not open file X: X",
        "'X': X",
        "Expected one list item type, got: X",
        "None is not a valid string",
        "Value X is not a valid X.",
        "Value must be an iterable.",
        "X values are required, but X given.",
        "value is not a valid tuple",
    }
)
"""Sentences about annotations that no parameter of ours has: files that the library opens, tuples, bytes."""

FORMS = {
    "Choose from:\n\tX": ("Missing argument 'X'. Choose from:\n\tX,\n\tY",),
    "Missing XX.": ("Missing argument 'X'.", "Missing option '--x'."),
    "Missing XX. X": ("Missing argument 'X'. Choose from:\n\tX", "Missing option '--x'. Choose from:\n\tX"),
    "Option X requires X": ("Option '--x' requires an argument.", "Option '--x' requires 2 arguments."),
    "X X": ("No such option: --x", "No such option: --x (Possible options: --y, --z)"),
    "X X does not exist.": ("file 'X' does not exist.", "dir 'X' does not exist.", "path 'X' does not exist."),
    "X X is a directory.": ("file 'X' is a directory.",),
    "X X is a file.": ("dir 'X' is a file.",),
    "X X is not readable.": ("file 'X' is not readable.", "dir 'X' is not readable.", "path 'X' is not readable."),
    "X X is not writable.": ("file 'X' is not writable.", "dir 'X' is not writable.", "path 'X' is not writable."),
}
"""What sentences that the library puts together look like; the others stand in its source as they are said."""

LINES = (
    ("batch", "reports"),
    ("batch", "status", "--centrum", "x"),
    ("batch", "status", "--centre"),
    ("batch", "status", "one", "two", "three"),
    ("batch", "remake", "B", "--reason", "printing"),
    ("batch", "remake", "B", "--row", "1", "--reason", "ugly: '--row'"),
    ("keys", "rotate"),
    ("keys", "init", "--try-out=yes"),
    ("permit", "policies", "--policies", __file__),
    ("permit", "term", "--area", "330381", "--issued", "2016-02-30", "--on", "2017-01-01"),
    ("--lang", "xx", "batch"),
)
"""Mistakes that a user makes."""

ODD_VALUES = ("", "x", "-1", "0", "1.5", "9" * 30, "9" * 6000, "2026-02-30", "/nowhere/at/all")
ENGLISH = re.compile(r"\b(?:a|an|is|to|the|not|for|value|option|argument|such|should|input)\b", re.IGNORECASE)


def text_of(expression: ast.expr) -> str:
    """A sentence of the library's source with X for what it is about."""
    match expression:
        case ast.Constant(value=str(text)):
            return re.sub(r"\{\w*(!r)?\}", "X", text)
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts)
        case ast.Call(func=ast.Attribute(value=inner, attr="format")) | ast.Call(func=ast.Name(id="_"), args=[inner]):
            return text_of(inner)
        case _:
            return ""


def sentences() -> Iterator[str]:
    """What the library raises about a command line, and what its errors make of their parts."""
    for path in sorted(LIBRARY.rglob("*.py")):
        kinds = RAISED | {"ValueError"} if path.name in COERCING else RAISED
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=arguments) if name in kinds:
                    yield from map(text_of, arguments)
                case ast.FunctionDef(name=name) if name in SAYING:
                    returns = (inside for inside in ast.walk(node) if isinstance(inside, ast.Return))
                    yield from (text_of(found.value) for found in returns if found.value is not None)
                case _:
                    pass


def test_every_sentence_of_the_installed_library_is_known() -> None:
    found = set(sentences()) - UNMET
    assert FORMS.keys() <= found
    assert {"Got unexpected extra argument(s) (X)", "No such command X.", "X is not one of X."} <= found
    said = [form for sentence in sorted(found) for form in FORMS.get(sentence, (sentence,))]
    assert [form for form in said if ENGLISH.search(in_own_words(form, CHINESE))] == []


def parameters() -> Iterator[tuple[typer.Context, Any]]:
    """One parameter of each type and of each pair of bounds that any command has, with its command's context."""
    seen: set[object] = set()
    for entry in TABLE.values():
        command = load(entry.modules)
        for one in getattr(command, "commands", {"": command}).values():
            for parameter in one.params:
                form = parameter.type_descriptor
                given = form.parameter_info
                kind = (str(form.annotation), given.min, given.max, given.exists, given.file_okay, given.dir_okay)
                if kind not in seen:
                    seen.add(kind)
                    yield typer.Context(one), parameter


def test_every_value_that_a_parameter_refuses_is_refused_in_chinese() -> None:
    refused: set[str] = set()
    for context, parameter in parameters():
        several = parameter.multiple or parameter.nargs == -1
        for value in ODD_VALUES:
            try:
                parameter.get_runtime_param().coerce([value] if several else value, parameter, context)
            except typer.BadParameter as error:
                refused.add(error.format_message())
    assert len(refused) > 50
    assert [text for text in sorted(refused) if ENGLISH.search(in_own_words(text, CHINESE))] == []


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line[:3]))
def test_a_mistake_is_told_in_the_language_that_was_asked_for(
    line: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert run([*line, "--json"]) == 2
    text = json.loads(capsys.readouterr().err)["error"]["text"]
    assert not ENGLISH.search(text)
    assert not text.startswith(PARSER)


def test_the_facts_of_a_mistake_stay_as_they_are() -> None:
    said = in_own_words("Invalid value for '--reason': Value error, 'a: b' is not one of 'c', 'd'.", CHINESE)
    assert said == "'--reason' 的值有误：'a: b' 不在可选值之中：'c', 'd'。"
    assert in_own_words("Something new.", CHINESE) == "Something new."
