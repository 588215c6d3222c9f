"""Options and fixtures of the shared suite, for every test, and what the whole run has proved in numbers."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from reader_bridge.pcscd import CLIENT_VARIABLE

pytest_plugins = ["permitcard.pytest_plugin"]

# What a run says of a commit depends neither on luck nor on how busy the machine is; `make long` draws anew each time.
DRAWS_ANEW: Final = "PERMITCARD_DRAW_ANEW" in os.environ
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=not DRAWS_ANEW,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")
if not DRAWS_ANEW:
    # Else one value in twenty is a constant of ours, of the modules that the tests before happen to have imported.
    vars(providers)["_get_local_constants"] = Constants

PCSC_FOLDER: Final = Path(tempfile.mkdtemp(prefix="tests-pcscd-"))
"""Where this process starts a PC/SC service of its own, if it does."""
# The PC/SC library keeps the place that it reads at its first call, and any test may be the one that calls it first.
os.environ[CLIENT_VARIABLE] = str(PCSC_FOLDER / "pcscd.comm")

COUNTED: Final = {
    "cuts": "cuts of power, each with a reboot and a check",
    "steps": "steps of the file system beside its model",
    "executions": "commands of the fuzzer that is guided by coverage",
}
"""Properties that tests record, and what their sum is called at the end of the run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lasts longest begins first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("lasting") is None)


def pytest_collection_finish() -> None:
    """What was collected stays until the end: it need not be looked through again and again for garbage."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Remove what this process has used."""
    shutil.rmtree(PCSC_FOLDER, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the sums; the properties of tests on other processes come with their reports."""
    sums: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        sums.update({name: int(str(value)) for name, value in report.user_properties if name in COUNTED})
    for name, count in sums.items():
        terminalreporter.write_line(f"{count:,} {COUNTED[name]}")
