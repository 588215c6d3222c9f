"""The shared suite passes when every byte goes through T=1 and T=CL of both sides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from defusedxml import ElementTree

LEAST_PASSED = 80


@pytest.mark.clause("Same tests, same results, on a simulated card and through its protocols")
def test_the_suite_passes_over_t1_and_tcl(tmp_path: Path) -> None:
    junit = tmp_path / "wire.xml"
    command = [sys.executable, "-m", "permitcard", "test", "--card", "wire", "--junit", str(junit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    cases = list(ElementTree.parse(junit).iterfind(".//testcase"))
    assert len([case for case in cases if case.find("skipped") is None]) >= LEAST_PASSED
