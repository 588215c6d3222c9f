"""Keypads as the command line names them, and readers that have none."""

from __future__ import annotations

import os

import pytest

from permitcard.keypads import open_keypad, require_keys
from permitcard.translation import Language, Translator
from personalization.errors import PersonalizationError
from reader_bridge.connection import ReaderError
from reader_bridge.pin_entry import Prompt

SAY = Translator.load(Language.ENGLISH)


def test_an_open_descriptor_is_a_keypad() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as typist:
        typist.write(b"1234\n")
    with open_keypad(f"fd:{reader}", SAY) as keypad:
        assert keypad.digits(Prompt.PIN, 4, 12, 60) == "1234"
    os.close(reader)


@pytest.mark.parametrize("text", ["fd:987654", "fd:-1", "fd:", "fd:x", f"fd:{10**40}", "1234", ""])
def test_what_is_no_keypad_is_said(text: str) -> None:
    with pytest.raises(PersonalizationError, match="keypad-unknown") as error, open_keypad(text, SAY):
        pass
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("way", "model"), [("ccid-serial", None), ("vpcd", "gemalto-pc-pinpad"), ("tcp", "scm-spr532")]
)
def test_these_readers_have_keys(way: str, model: str | None) -> None:
    require_keys(way, model)


@pytest.mark.parametrize(
    ("way", "model"), [("vpcd", None), ("vpcd", "scm-scr3310"), ("tcp", None), ("phoenix", "gemalto-pc-pinpad")]
)
def test_these_readers_have_none(way: str, model: str | None) -> None:
    with pytest.raises(PersonalizationError, match="keypad-useless") as error:
        require_keys(way, model)
    assert error.value.exit_code == 2


def test_a_reader_model_that_is_none_is_said() -> None:
    with pytest.raises(ReaderError, match="reader-model-unknown"):
        require_keys("vpcd", "nobody's")
