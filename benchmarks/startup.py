"""Starting the command line, beside the interpreter that has to start anyway."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

_ROOT = Path(__file__).resolve().parents[1]
_ROUNDS = 15
_TARGET_US = 250_000.0

Row = tuple[str, float, float]


def _least(arguments: Sequence[str], rounds: int = _ROUNDS) -> float:
    """The least time of several starts, µs: what is above it is other programs' work."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}

    def once() -> float:
        start = perf_counter()
        subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=True)  # noqa: S603 - our own interpreter
        return (perf_counter() - start) * 1_000_000

    return min(once() for _ in range(rounds))


def run() -> list[Row]:
    """Rows of (name, ours in µs, floor in µs); the floor of the last row is the target of 0.25 s."""
    bare = _least(("-c", "pass"))
    parser = _least(("-c", "import typer"))
    shown = _least(("-m", "permitcard", "--help"))
    with tempfile.TemporaryDirectory() as folder:
        card = str(Path(folder) / "a.card")
        _least(("-m", "permitcard", "card", "new", card), rounds=1)
        view = _least(("-m", "permitcard", "card", "show", card))
    return [
        ("permitcard --help, beside a bare interpreter", shown, bare),
        ("permitcard --help, beside the parser's import", shown, parser),
        ("permitcard card show, beside a bare interpreter", view, bare),
        ("permitcard --help, beside the target of 0.25 s", shown, _TARGET_US),
    ]


if __name__ == "__main__":
    for name, ours_us, floor_us in run():
        print(f"{name:<52} {ours_us:8.2f} µs {floor_us:8.2f} µs {ours_us / floor_us:6.2f} ×")
