"""The coverage-guided fuzzer, in a process of its own: atheris takes hold of imports and ends the process itself.

Usage: python -m tests.fuzz.atheris_target CORPUS [libFuzzer options]

Every input is a play of commands (`apdu_grammar`); anything but a defined status word, and every exception of the card
that is no `CardError`, is a finding, and the process ends with another code than 0.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["card_os", "applet"]):
    from tests.fuzz.apdu_play import play


def target(raw: bytes) -> None:
    """One input."""
    play(raw)


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
