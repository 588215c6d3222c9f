"""The shared suite gives the same results in process and through pyscard, pcscd and vpcd."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from defusedxml import ElementTree

from permitcard.specimen import make_specimen
from reader_bridge.serving import CardServer

LEAST_UNSKIPPED = 80


def run_suite(junit: Path, *arguments: str, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Run ``permitcard test`` in its own process; outcome by test."""
    command = [sys.executable, "-m", "permitcard", "test", "--junit", str(junit), *arguments]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, env={**os.environ, **(environment or {})}
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return {
        f"{case.get('classname')}::{case.get('name')}": "skipped" if case.find("skipped") is not None else "passed"
        for case in ElementTree.parse(junit).iterfind(".//testcase")
    }


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[CardServer, str]]:
    card, target = make_specimen(tmp_path / "specimen.card")
    with card, CardServer(card) as server:
        server.offer_own_pcsc()
        yield server, target.card_number.hex().upper()


@pytest.mark.lasting
@pytest.mark.clause("Same tests, same results, on a simulated card and through the PC/SC stack")
def test_same_results_in_process_and_through_pcsc(tmp_path: Path, served: tuple[CardServer, str]) -> None:
    server, card_id = served
    direct = run_suite(tmp_path / "direct.xml", "--card", "sim")
    through = run_suite(
        tmp_path / "pcsc.xml",
        *("--card", "pcsc:Virtual PCD 00 00", "--contactless", "pcsc:Virtual PCD 00 01"),
        *("--destructive", "--card-id", card_id),
        environment=server.client_variables,
    )
    assert through == direct
    assert Counter(through.values())["passed"] >= LEAST_UNSKIPPED


def test_destructive_tests_need_the_card_s_own_id(tmp_path: Path, served: tuple[CardServer, str]) -> None:
    server, _ = served
    address = ("--card", "pcsc:Virtual PCD 00 00", "--contactless", "pcsc:Virtual PCD 00 01")
    outcomes = run_suite(tmp_path / "safe.xml", *address, environment=server.client_variables)
    assert Counter(outcomes.values())["skipped"] > 0
    assert Counter(outcomes.values())["passed"] >= LEAST_UNSKIPPED
