"""What PC/SC offers besides exchanges, on the real service with a virtual CCID reader that has a keypad."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from reader_bridge.connection import ReaderError
from reader_bridge.pcscd import PcscService, SerialReader
from reader_bridge.pin_entry import Prompt
from reader_bridge.virtual_ccid import VirtualCcidReader
from reader_bridge.vpcd import VirtualReader
from tests.doubles.echo_card import EchoCard
from tests.interop.test_pcsc_stack import PROGRAMS, environment

CCID: Final = "Virtual CCID 00 00"
FIELD: Final = bytes.fromhex("241234FFFFFFFFFF")


class PinCard(EchoCard):
    """Keeps the PIN fields that VERIFY brings; answers 63C2 to a wrong one."""

    def __init__(self, atr: bytes | None = None) -> None:
        super().__init__(*(() if atr is None else (atr,)))
        self.fields: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        if command[1] != 0x20:
            return super().transmit(command)
        self.fields.append(command[5:13])
        return b"\x90\x00" if command[5:13] == FIELD else b"\x63\xc2"


class Typist:
    """Types one PIN after the other."""

    def __init__(self) -> None:
        self.typed = ["1234", "9999", None]

    def digits(self, prompt: Prompt, minimum: int, maximum: int, seconds: int) -> str | None:
        return self.typed.pop(0)


@pytest.fixture
def cards() -> tuple[PinCard, PinCard]:
    return PinCard(), PinCard(bytes.fromhex("3B80800101"))


@pytest.fixture
def slots(service: PcscService, made: dict[str, VirtualReader]) -> VirtualReader:
    return made["slots"]


@pytest.fixture
def made() -> dict[str, VirtualReader]:
    return {}


@pytest.fixture
def service(cards: tuple[PinCard, PinCard], made: dict[str, VirtualReader]) -> Iterator[PcscService]:
    """A CCID reader with a keypad, and a virtual reader of two slots with a card in the first."""
    with VirtualCcidReader(cards[0], keypad=Typist()) as reader:
        with PcscService(serial=[SerialReader("Virtual CCID", reader.device_name)]) as service:
            assert reader.wait_until_known(60)
            with VirtualReader([cards[1]], service.port) as slots:
                slots.wait_until_inserted(60)
                made["slots"] = slots
                yield service
        assert reader.failure is None


def run(service: PcscService, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "pcsc_program.py"), *arguments],
        env=environment(service),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.clause("PC/SC part 10, 2.5.2: FEATURE_VERIFY_PIN_DIRECT; USB CCID 1.1, 6.1.11")
@pytest.mark.parametrize("protocol", ["t0", "t1"])
def test_a_pin_is_typed_at_the_reader_and_only_the_card_sees_it(
    service: PcscService, cards: tuple[PinCard, PinCard], protocol: str
) -> None:
    assert run(service, "pin", CCID, protocol) == ["9000", "63c2", "6401"]
    assert cards[0].fields == [FIELD, bytes.fromhex("249999FFFFFFFFFF")]


@pytest.mark.clause("PC/SC part 10, 2.2, 2.3 and 2.6.14")
def test_features_and_properties_are_told(service: PcscService) -> None:
    lines = run(service, "features", CCID)
    assert "VERIFY_PIN_DIRECT" in lines
    assert "MODIFY_PIN_DIRECT" in lines
    assert "MAX_APDU_DATA_SIZE 65536" in lines
    assert run(service, "features", "Virtual PCD") == []


def test_control_codes_that_nobody_knows_and_missing_features_are_clear_errors(service: PcscService) -> None:
    assert run(service, "control", CCID) == ["not-supported", "not-supported"]


def test_resets_are_warm_and_cold_and_others_notice(service: PcscService) -> None:
    assert run(service, "resets", CCID) == ["ok", "ok", "card-reset", "ok", "ok"]


def test_a_transaction_keeps_others_away(service: PcscService) -> None:
    assert run(service, "transaction", CCID) == ["waited", "after the transaction"]


def test_the_monitor_tells_of_cards_that_come_and_go(service: PcscService, slots: VirtualReader) -> None:
    with subprocess.Popen(
        [sys.executable, str(PROGRAMS / "pcsc_program.py"), "monitor"],
        env=environment(service),
        stdout=subprocess.PIPE,
        text=True,
    ) as watcher:
        assert watcher.stdout
        told = [watcher.stdout.readline().strip() for _ in range(5)]
        added = {line.partition(" ")[2] for line in told if line.startswith("reader-added")}
        assert {name for name in added if name.startswith("Virtual PCD")} == {"Virtual PCD 00 00", "Virtual PCD 00 01"}
        assert len(added) == 3
        assert len([line for line in told if line.startswith("card-inserted")]) == 2
        slots.slots[0].remove_card()
        assert watcher.stdout.readline().strip() == "card-removed Virtual PCD 00 00"
        slots.slots[0].insert_card(PinCard(bytes.fromhex("3B021450")))
        assert watcher.stdout.readline().strip() == "card-inserted Virtual PCD 00 00"
        service.close()
        told = [line.strip() for line in watcher.stdout]
        assert told[-1] in {"no-service", "pcsc-not-allowed", "reader-removed", "transmission-failed"}
        gone = {"card-removed", "reader-removed"}  # a service that ends in order may still tell of its readers
        assert {line.partition(" ")[0] for line in told[:-1]} <= gone


@pytest.mark.parametrize("reader", ["Nobody's", ""])
def test_a_reader_that_is_not_there_cannot_be_asked(service: PcscService, reader: str) -> None:
    with pytest.raises(AssertionError, match=r"no-reader|reader-ambiguous"):
        run(service, "control", reader)


def test_a_wrong_structure_of_slots_is_refused() -> None:
    for slots in (1, 18, -2):
        with pytest.raises(ValueError, match="pairs"):
            PcscService(slots=slots)
    with pytest.raises(ReaderError, match="no-virtual-reader"), VirtualReader([EchoCard()], 1) as reader:
        reader.wait_until_inserted(0.2)
