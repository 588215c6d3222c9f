"""examples/applets/mac_purse.py: what every application has to keep, and its own rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import ClassVar

import pytest

from card_os.applet_api import check_value, cmac
from card_os.port import Port
from permitcard.testing.applet_kit import AppletOnCard, AppletSuite

FILE = Path(__file__).parents[3] / "examples" / "applets" / "mac_purse.py"
_SPEC = util.spec_from_file_location("mac_purse", FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
mac_purse = util.module_from_spec(_SPEC)
sys.modules["mac_purse"] = mac_purse
_SPEC.loader.exec_module(mac_purse)

KEY = bytes(range(16))
BALANCE = bytes.fromhex("000003E8")
GROUPINGS = ((0x8000, bytes.fromhex("01000010") + KEY + check_value(KEY)),)


def debit(number: int, amount: int) -> str:
    data = amount.to_bytes(4, "big")
    return "80540000 08" + (data + cmac(KEY, number.to_bytes(2, "big") + data)[:4]).hex() + "06"


class TestMacPurse(AppletSuite):
    applet = mac_purse.MacPurse
    parameters = BALANCE
    groupings: ClassVar[Sequence[tuple[int, bytes]]] = GROUPINGS
    examples: ClassVar[Mapping[str, str]] = {"GET BALANCE": "80 5C 0000 06", "DEBIT": debit(0, 100)}


@pytest.fixture
def purse() -> Iterator[Port]:
    port = AppletOnCard.make(mac_purse.MacPurse, BALANCE, GROUPINGS).port()
    yield port
    port.power_off()


def sent(port: Port, command: str) -> str:
    return port.process(bytes.fromhex(command)).hex().upper()


def test_a_debit_cannot_be_replayed_and_wrong_macs_block(purse: Port) -> None:
    assert sent(purse, debit(0, 100)) == "0001000003849000"
    assert sent(purse, debit(0, 100)) == "63C4"
    assert sent(purse, debit(1, 901)) == "6985"
    assert [sent(purse, debit(7, 1)) for _ in range(6)] == ["63C4", "63C3", "63C2", "63C1", "63C0", "6983"]
    assert sent(purse, debit(1, 1)) == "6983"
    assert sent(purse, "805C000006") == "0001000003849000"
