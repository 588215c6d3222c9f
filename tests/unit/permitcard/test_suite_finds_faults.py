"""The shared suite notices every fault of a table of faulty cards, by the tests that the table names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.doubles import faulty_cards_plugin
from tests.doubles.faulty_cards import FAULTS

ROOT = Path(__file__).parents[3]


def test_every_fault_is_noticed(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:randomly"),
            *("-p", "permitcard.pytest_plugin", "-p", faulty_cards_plugin.__name__, "--import-mode=importlib"),
            *("-c", "tests/conformance/suite.ini", "tests/conformance"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), faulty_cards_plugin.RESULTS: str(results)},
        timeout=600,
    )
    assert results.is_file(), done.stdout + done.stderr
    counts: dict[str, list[int]] = json.loads(results.read_text("utf-8"))
    assert set(counts) == {fault.name for fault in FAULTS}
    assert [name for name, (ran, failed) in counts.items() if not failed] == [], done.stdout[-4000:]
