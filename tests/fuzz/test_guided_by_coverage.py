"""A fuzzer guided by coverage plays with cards: no exception but `CardError`, no status word that nobody defined."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.apdu_grammar import CARDS, read_play, write_play
from tests.fuzz.apdu_play import SEEDS, play, reaches_success

ROOT = Path(__file__).parents[2]
PLAYS = 4_000
"""So many and no more on any machine, the same ones in each run: half a minute's work where nothing else is done."""
LONG_SECONDS = 600
PATIENCE_S = 1_200
"""For a machine that is busy."""
Record = Callable[[str, object], None]

needs_atheris = pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel here")


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_reaches_9000(name: str) -> None:
    assert reaches_success(SEEDS[name])


@pytest.mark.parametrize("name", SEEDS)
def test_a_play_is_its_bytes(name: str) -> None:
    card, steps = read_play(SEEDS[name])
    assert write_play(card, steps) == SEEDS[name]
    assert steps


def test_the_seeds_play_with_every_card() -> None:
    assert {read_play(seed)[0] for seed in SEEDS.values()} == set(CARDS)


@pytest.mark.parametrize("raw", [b"", b"\x00", bytes(range(256)), b"\xff" * 300])
def test_any_bytes_are_a_play(raw: bytes) -> None:
    play(raw)


def fuzz(folder: Path, bound: str, record: Record) -> int:
    """Run the fuzzer from the seeds; an input that it finds something with is left in the folder and named."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for name, seed in SEEDS.items():
        (corpus / name.replace(" ", "-")).write_bytes(seed)
    slow = ("-report_slow_units=120", "-timeout=120")  # a machine that stands still for a while is no finding
    options = (bound, "-seed=20160701", "-max_len=400", "-print_final_stats=1", *slow)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.atheris_target", str(corpus), f"-artifact_prefix={folder}/found-", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    found = {path.name: path.read_bytes().hex() for path in folder.glob("found-*")}
    assert ran.returncode == 0, f"{found}\n{ran.stderr[-4000:]}"
    assert not found
    executed = re.search(r"stat::number_of_executed_units: +(\d+)", ran.stderr)
    assert executed is not None, ran.stderr[-2000:]
    record("executions", int(executed[1]))
    assert int(executed[1]) > len(SEEDS)
    assert re.search(r"INITED.* cov: [1-9]", ran.stderr), "nothing was instrumented"
    return int(executed[1])


@needs_atheris
@pytest.mark.lasting
def test_thousands_of_plays_find_nothing(tmp_path: Path, record_property: Record) -> None:
    assert fuzz(tmp_path, f"-runs={PLAYS}", record_property) == PLAYS


@needs_atheris
@pytest.mark.long
def test_ten_minutes_of_plays_find_nothing(tmp_path: Path, record_property: Record) -> None:
    fuzz(tmp_path, f"-max_total_time={LONG_SECONDS}", record_property)
