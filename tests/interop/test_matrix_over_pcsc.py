"""``permitcard matrix`` with cards in readers of the real PC/SC stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from permitcard.specimen import make_specimen
from reader_bridge.serving import CardServer


def test_a_specimen_in_both_slots_of_a_reader_passes_what_can_be_asked() -> None:
    card, _ = make_specimen()
    with card, CardServer(card) as server:
        server.offer_own_pcsc()
        done = subprocess.run(
            [sys.executable, "-m", "permitcard", "--json", "matrix", "--card", "pcsc:Virtual PCD 00 00"],
            env={**os.environ, **server.client_variables},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    found = json.loads(done.stdout)
    assert found["failed"] == 0
    assert [row["reader"] for row in found["rows"]] == ["pcsc"] * 2  # one was named, both are connected
    first = {cell["check"]: cell["outcome"] for cell in found["rows"][0]["cells"]}
    assert {check for check, outcome in first.items() if outcome != "passed"} <= {"whole-answer", "extended-answer"}
