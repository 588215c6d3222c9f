"""The desk's play on cards in process, by contact, over the field, and by both in turn."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reader_bridge.connection import Interface
from tests.unit.personalization.desk.bench import BenchCard
from tests.unit.personalization.desk.desk_play import EXPECTED, play


@pytest.mark.parametrize(
    "interfaces",
    [[Interface.CONTACT], [Interface.CONTACTLESS], list(Interface)],
    ids=["contact", "contactless", "dual"],
)
def test_the_play_in_process(interfaces: Sequence[Interface]) -> None:
    assert tuple(play(BenchCard().simulated.connect, interfaces)) == EXPECTED
