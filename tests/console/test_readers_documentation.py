"""Examples of docs/readers.md run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from permitcard.specimen import make_specimen
from reader_bridge.reader_models import reader_models
from reader_bridge.relay_rules import RelayRules
from tests.console.command_line import ROOT

PAGE = (ROOT / "docs" / "readers.md").read_text("utf-8")


def test_the_python_example_offers_a_card(tmp_path: Path) -> None:
    card, _ = make_specimen(tmp_path / "specimen.card")
    card.close()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "PCSCLITE_CSOCK_NAME" in done.stdout


def test_the_rules_of_the_relay_are_rules() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (rule,) = RelayRules.parse(text, "docs/readers.md").rules
    assert (rule.after, rule.count) == (2, 1)


def test_every_reader_model_stands_in_the_table() -> None:
    section = PAGE.split("## Reader models")[1].split("\n## ")[0]
    named = [cell for line in section.splitlines() if line.startswith("| `") for cell in re.findall(r"`(.*?)`", line)]
    assert sorted(named) == sorted(reader_models())
