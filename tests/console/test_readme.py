"""What the README tells a newcomer to type works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
STAYS = {"serve"}
"""Commands that run until they are stopped; other tests run them."""


def section(title: str) -> str:
    return README.split(f"## {title}")[1].split("\n## ")[0]


def commands(title: str) -> list[list[str]]:
    """The permitcard commands of a section, split as a shell would."""
    lines = re.findall(r"^permitcard .*$", section(title), re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


def type_in(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    expanded = [str(path) for word in words for path in (sorted(folder.glob(word)) if "*" in word else [word])]
    return subprocess.run(
        [sys.executable, "-m", "permitcard", *expanded],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=1_800,
    )


def test_the_first_hour_of_an_issuing_centre(tmp_path: Path) -> None:
    for words in commands("The first hour of an issuing centre"):
        done = type_in(tmp_path, words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_the_first_hour_of_an_integrator(tmp_path: Path) -> None:
    for words in commands("The first hour of an integrator"):
        if not STAYS & set(words):
            done = type_in(tmp_path, words)
            assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_the_suite_on_the_reference(tmp_path: Path) -> None:
    words = commands("The first hour of a card vendor")[0]
    done = type_in(tmp_path, words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"sim.xml", "sim.html"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_examples_run(tmp_path: Path, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("9000")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
