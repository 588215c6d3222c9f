"""Runs the tests of the shared suite that have to notice a fault, on a card with that fault, each fault in turn.

A pytest plugin, loaded after that of the suite. At the end it writes one JSON object to the file that
``FAULTY_RESULTS`` names: by fault, how many of its tests ran and how many failed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from card_os.hardware.image import NvmImage
from permitcard.products import boot
from permitcard.specimen import make_specimen
from permitcard.testing.access import CardAccess
from permitcard.testing.target import Target
from reader_bridge.connection import Interface
from reader_bridge.simulated import SimulatedCard
from tests.doubles.faulty_cards import FAULTS, Fault

for name in ("faulty_sessions", "faulty_permits", "faulty_platforms"):
    import_module(f"tests.doubles.{name}")  # each enters its faults into the table
RESULTS: Final = "FAULTY_RESULTS"
_RAN: Final = {fault.name: 0 for fault in FAULTS}
_FAILED: Final = {fault.name: 0 for fault in FAULTS}
_PARAMETER: Final = "card_access"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test once for each fault that it has to notice."""
    if _PARAMETER in metafunc.fixturenames:
        faults = [fault for fault in FAULTS if metafunc.function.__name__ in fault.found_by]
        metafunc.parametrize(_PARAMETER, faults, ids=[fault.name for fault in faults], indirect=True, scope="function")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests that no fault names."""
    items[:] = [item for item in items if _fault_of(item) is not None]


def _fault_of(item: pytest.Item) -> str | None:
    fault = (
        item.callspec.params.get(_PARAMETER)
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else None
    )
    return fault.name if isinstance(fault, Fault) else None


@pytest.fixture(scope="session")
def sound_specimens() -> dict[bool, tuple[bytes, Target]]:
    """Images of specimens, and what is known of them: with a PIN of the holder's own, and with that of a letter."""
    made: dict[bool, tuple[bytes, Target]] = {}
    for letter_pin in (False, True):
        card, target = make_specimen(letter_pin=letter_pin)
        with card:
            made[letter_pin] = card.image.snapshot(), target
    return made


@pytest.fixture
def card_access(
    request: pytest.FixtureRequest, sound_specimens: dict[bool, tuple[bytes, Target]]
) -> Generator[CardAccess, None, None]:
    """A fresh specimen in a firmware with the fault."""
    image, target = sound_specimens[request.node.get_closest_marker("letter_pin") is not None]
    with pytest.MonkeyPatch.context() as patch:
        request.param.put(patch)
        with (
            SimulatedCard(NvmImage.from_snapshot(image), boot) as card,
            card.connect(Interface.CONTACT) as contact,
            card.connect(Interface.CONTACTLESS) as contactless,
        ):
            yield CardAccess(contact, contactless, target, throw_away=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count what a fault's tests came to; a fault that shows before the test itself is noticed as well."""
    report = yield
    name = _fault_of(item)
    if name is not None and call.when != "teardown":
        _RAN[name] += call.when == "call"
        _FAILED[name] += report.failed
    return report


def pytest_sessionfinish() -> None:
    """Write the counts."""
    counts = {name: [_RAN[name], _FAILED[name]] for name in _RAN}
    Path(os.environ[RESULTS]).write_text(json.dumps(counts), encoding="utf-8")
