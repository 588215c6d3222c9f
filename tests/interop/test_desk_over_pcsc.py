"""The same desk operations through the real PC/SC stack: contact slot, contactless slot, and both in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from permitcard.specimen import make_specimen
from reader_bridge.serving import CardServer
from tests.unit.personalization.desk.desk_play import EXPECTED, Shown

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "programs" / "desk_program.py"
SLOTS = ("pcsc:Virtual PCD 00 00", "pcsc:Virtual PCD 00 01")


@pytest.mark.parametrize("mode", ["contact", "contactless", "dual"])
def test_the_play_through_pcsc(mode: str) -> None:
    card, _ = make_specimen()
    with card, CardServer(card) as server:
        server.offer_own_pcsc()
        done = subprocess.run(
            [sys.executable, "-W", "error", str(PROGRAM), *SLOTS, mode],
            env={**os.environ, **server.client_variables, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert tuple(Shown(*json.loads(line)) for line in done.stdout.splitlines()) == EXPECTED
