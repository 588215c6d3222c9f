"""Run every benchmark of this folder and print one table: ours, the floor of the same run, their ratio, the target.

Every module here with a function ``run() -> list[tuple[str, float, float]]`` (name, ours in µs, floor in µs) takes
part; names on the command line pick some of them: ``python benchmarks/run.py card_commands``. Where a row has a target
(`targets`), the greatest ratio that meets it stands beside the ratio, and whether it is met on this machine.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.targets import TARGETS  # noqa: E402 - the path is set above


def main(names: list[str]) -> int:
    """Print the table; returns the exit code, 2 for a name that is not here."""
    here = Path(__file__)
    modules = sorted(path.stem for path in here.parent.glob("*.py") if path != here)
    unknown = [name for name in names if name not in modules]
    if unknown:
        print(f"no benchmark called {', '.join(unknown)}; there are {', '.join(modules)}", file=sys.stderr)
        return 2
    print(f"{'':<58} {'ours':>11} {'floor':>11} {'ratio':>8} {'target':>8}")
    for name in names or modules:
        run = vars(importlib.import_module(f"benchmarks.{name}")).get("run")
        if run is None:
            continue
        print(name)
        for label, ours, floor in run():
            print(_line(label, ours, floor))
    return 0


def _line(label: str, ours: float, floor: float) -> str:
    """One row of the table."""
    line = f"  {label:<56} {ours:>8.2f} µs {floor:>8.2f} µs {ours / floor:>6.1f} ×"
    target = TARGETS.get(label)
    if target is None:
        return line
    return f"{line} {target.ratio:>6.1f} × {'met' if ours <= target.ratio * floor else 'not met'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
