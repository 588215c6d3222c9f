"""Every error of a reader has words in every language."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from reader_bridge.pcsc import binding

ROOT: Final = Path(__file__).parents[3]
SOURCES: Final = [*(ROOT / "reader_bridge").rglob("*.py"), ROOT / "card_os" / "hardware" / "image.py"]


def codes() -> set[str]:
    found = {*binding.CODES.values(), "pcsc-failed", "reader-ambiguous", "no-pcscd", "no-vpcd-driver", "bad-address"}
    for source in SOURCES:
        found.update(re.findall(r'(?:Reader|Image)Error\(\s*"([a-z-]+)"', source.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_code_is_without_words(language: str) -> None:
    text = (ROOT / "permitcard" / "messages" / f"{language}.toml").read_text(encoding="utf-8")
    assert codes() - set(tomllib.loads(text)) == set()
