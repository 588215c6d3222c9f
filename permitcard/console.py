"""What a command prints: text for people, one JSON document with ``--json``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from permitcard.terminal_text import printable
from permitcard.translation import Translator


class Progress(Protocol):
    """A bar that is told how far the work is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` items of ``stage`` are finished."""
        ...


@dataclass(frozen=True, slots=True)
class Console:
    """Where a command's words go.

    Attributes:
        translate: catalogue in the chosen language.
        as_json: print one JSON document on standard output and nothing else there.
    """

    translate: Translator
    as_json: bool = False

    def say(self, code: str, **parameters: object) -> None:
        """Print one sentence for people; silent with ``--json``."""
        if not self.as_json:
            _put(self.translate(code, **parameters) + "\n")

    def write(self, text: str) -> None:
        """Print ready text for people; silent with ``--json``."""
        if not self.as_json:
            _put(text if text.endswith("\n") else text + "\n")

    def result(self, document: Mapping[str, object]) -> None:
        """Print the JSON document; silent without ``--json``."""
        if self.as_json:
            _put(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")

    def warn(self, code: str, **parameters: object) -> None:
        """Print a sentence on standard error that is no error."""
        _put_error(f"permitcard: {self.translate(code, **parameters)}\n")

    def complain(self, code: str, **parameters: object) -> None:
        """Print an error on standard error: what, where and what to do."""
        if self.as_json:
            document = {"error": {"code": code, "parameters": parameters, "text": self.translate(code, **parameters)}}
            _put_error(json.dumps(document, ensure_ascii=False, default=str) + "\n")
        else:
            _put_error(f"permitcard: {self.translate(code, **parameters)}\n")

    def teach(self, page: str) -> None:
        """Print a help page on standard error, where a command is missing."""
        if self.as_json:
            self.complain("command-missing")
        else:
            _put_error(page + "\n")

    @contextmanager
    def progress(self) -> Generator[Progress]:
        """A live bar for each stage on a terminal; silent elsewhere and with ``--json``."""
        if self.as_json or not sys.stderr.isatty():
            yield _silent
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=RichConsole(stderr=True),
        )
        tasks: dict[str, int] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                # What was done before this run says nothing of its speed, and so of the time left.
                tasks[stage] = bars.add_task(self._stage(stage), total=total, completed=done)
            bars.update(next(task.id for task in bars.tasks if task.id == tasks[stage]), completed=done, total=total)

        with bars:
            yield advance

    def _stage(self, stage: str) -> str:
        """Words for a stage; a station has its name."""
        kind, _, name = stage.partition(".")
        return f"  {printable(name)}" if kind == "station" else self.translate(f"stage.{stage}")


def _put(text: str) -> None:
    """Write at once: a program that reads from a pipe waits for what a serving command says."""
    try:
        sys.stdout.write(printable(text))
        sys.stdout.flush()
    except BrokenPipeError:
        _say_no_more(sys.stdout)


def _put_error(text: str) -> None:
    try:
        sys.stderr.write(printable(text))
        sys.stderr.flush()
    except OSError:
        _say_no_more(sys.stderr)


def _say_no_more(stream: TextIO) -> None:
    """Nobody reads any more (head, a pager that was left, a full log): the work goes on as if somebody did."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
    del stage, done, total
