"""Live progress in a terminal: stages, stations, and a time left that counts from this run."""

from __future__ import annotations

import io
import sys

import pytest

from permitcard.console import Console
from permitcard.terminal_text import printable
from permitcard.translation import Language, Translator

ENGLISH = Translator.load(Language.ENGLISH)


class Terminal(io.StringIO):
    """Something that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_stages_and_stations_are_shown_while_they_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Console(ENGLISH).progress() as advance:
        advance("make", 500, 1000)
        advance("make", 501, 1000)
        advance("station.station-1", 1, 1000)
    shown = terminal.getvalue()
    assert ENGLISH("stage.make") in shown
    assert "station-1" in shown
    assert "501/1000" in shown
    assert "station.station" not in shown


@pytest.mark.parametrize("name", ["[/]", "[bold]one", "one\x1b]0;title\x07"])
def test_a_station_may_be_called_anything(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A name is no markup, and nothing that a terminal obeys."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Console(ENGLISH).progress() as advance:
        advance(f"station.{name}", 1, 1000)
    shown = terminal.getvalue()
    assert printable(name) in shown
    assert "\x1b]" not in shown


@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    stream = Terminal() if as_json else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with Console(ENGLISH, as_json).progress() as advance:
        advance("make", 1, 2)
        advance("station.station-1", 1, 2)
    assert stream.getvalue() == ""
