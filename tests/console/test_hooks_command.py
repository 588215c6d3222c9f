"""Machines around the stations of a centre: its hooks.toml, from the command line."""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from tests.console.conftest import SmallCentre

PRINTER = """
import json, pathlib, sys
told = json.load(sys.stdin)
pathlib.Path(sys.argv[1], f"{told['row']}.json").write_text(json.dumps(told), "utf-8")
"""
FEEDER = """
import pathlib, sys
broken = pathlib.Path(sys.argv[1])
raise SystemExit(1 if broken.exists() else 0)
"""


def test_a_batch_is_printed_and_a_broken_feeder_stops_it_in_order(small_centre: SmallCentre, tmp_path: Path) -> None:
    printed, broken = tmp_path / "printed", tmp_path / "broken"
    printed.mkdir()
    broken.touch()
    for name, body in (("printer.py", PRINTER), ("feeder.py", FEEDER)):
        (tmp_path / name).write_text(body, "utf-8")
    python = json.dumps(sys.executable)
    hooks = small_centre.centre.hooks
    hooks.write_text('[print]\nbefore = ["no-such-printer"]\n', "utf-8")
    run = ("batch", "run", small_centre.delivered, "--simulate", "--stations", "1")
    assert small_centre(*run, code=2).error["code"] == "hook-unusable"
    hooks.write_text(
        f'[position]\nbefore = [{python}, "{tmp_path}/feeder.py", "{broken}"]\n'
        f'[print]\nbefore = [{python}, "{tmp_path}/printer.py", "{printed}"]\n',
        "utf-8",
    )
    stopped = small_centre("batch", "resume", code=3)
    assert (stopped.error["code"], stopped.error["parameters"]["hook"]) == ("hook-failed", "before-position")  # type: ignore[index]  # a JSON object
    status: Any = small_centre("batch", "status").document
    assert (status["state"], status["good"], status["left"]) == ("stopped", 0, 4)
    assert list(printed.iterdir()) == []
    broken.unlink()
    assert small_centre("batch", "resume").document["good"] == 4
    applicants = receive_batch(small_centre.delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    for applicant in applicants:
        told = json.loads((printed / f"{applicant.row_number}.json").read_text("utf-8"))
        assert told["front"]["name"] == applicant.name
        assert told["barcode"]["content"] == applicant.permit_number
        assert base64.b64decode(told["portrait_jpeg"]).startswith(b"\xff\xd8")
    assert small_centre("stock", "account").document["adds_up"] is True
