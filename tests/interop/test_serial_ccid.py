"""pyscard → pcscd → Debian's serial CCID driver → a virtual reader on a pseudo terminal → the card, by T=0 and T=1."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from permitcard.specimen import make_specimen
from reader_bridge.connection import Protocol7816, ReaderError
from reader_bridge.pcscd import PcscService, SerialReader
from reader_bridge.serving import CardServer
from reader_bridge.virtual_ccid import VirtualCcidReader
from tests.doubles.echo_card import EchoCard
from tests.doubles.process_state import process_state
from tests.interop.test_pcsc_stack import PROGRAMS, environment, line, start, wait_for
from tests.interop.test_suite_over_pcsc import run_suite

NAME: Final = "Virtual CCID 00 00"
LEAST_UNSKIPPED: Final = 80


class Served:
    """An echo card in a reader that a service of its own has opened."""

    def __init__(self, reader: VirtualCcidReader, service: PcscService) -> None:
        self.reader = reader
        self.service = service

    def run(self, protocol: Protocol7816, count: int, longest: int, timeout: float = 1_800) -> int:
        """Right answers of so many commands."""
        arguments = (NAME, protocol.value, str(count), str(longest), "7")
        with subprocess.Popen(
            [sys.executable, str(PROGRAMS / "echo_client.py"), *arguments],
            env=environment(self.service),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as client:
            try:
                words, _ = client.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                words = "\n".join((f"nothing for {timeout} s", *process_state(client.pid)))
            report = "" if client.poll() == 0 else self.report(words)
            client.kill()
        assert not report, report
        return int(words)

    def report(self, words: str) -> str:
        """What is needed to find the cause of a failure."""
        parts = {
            "client": words.splitlines(),
            "last messages of the reader": self.reader.history.lines(),
            "end of the service's log": self.service.log(),
            "service": process_state(self.service.process_id or 0),
            "reader": [f"ended by {self.reader.failure!r}", *process_state(os.getpid())],
        }
        return "\n".join(line for title, lines in parts.items() for line in (f"--- {title}", *lines))


class SlowCard(EchoCard):
    """Takes as many tenths of a second as P1 says for INS 12."""

    def transmit(self, command: bytes) -> bytes:
        if command[1] == 0x12:
            time.sleep(command[2] / 10)
            return b"\x90\x00"
        return super().transmit(command)


@pytest.fixture
def served() -> Iterator[Served]:
    with VirtualCcidReader(SlowCard()) as reader:
        with PcscService(slots=0, serial=[SerialReader("Virtual CCID", reader.device_name)]) as service:
            assert reader.wait_until_known(60)
            yield Served(reader, service)
        assert reader.failure is None


@pytest.mark.clause("ISO/IEC 7816-3, 11: 40,000 APDUs by T=1 through a driver of other people, none wrong")
def test_t1_carries_commands_of_all_cases(served: Served) -> None:
    assert served.run(Protocol7816.T1, 40_000, 255) == 40_000


@pytest.mark.clause("ISO/IEC 7816-3, 12.2: 10,000 APDUs by T=0 through a driver of other people, none wrong")
def test_t0_carries_commands_of_all_cases(served: Served) -> None:
    assert served.run(Protocol7816.T0, 10_000, 255) == 10_000


@pytest.mark.clause("ISO/IEC 7816-4, 5.2: extended length fields, up to 65,535 bytes and back")
def test_t1_carries_extended_commands(served: Served) -> None:
    assert served.run(Protocol7816.T1, 30, 65_535) == 30


@pytest.mark.clause("ISO/IEC 7816-3, 12.2.6 and 12.2.7: extended length fields by T=0 go in ENVELOPE commands")
def test_t0_carries_extended_commands_in_envelopes(served: Served) -> None:
    assert served.run(Protocol7816.T0, 40, 2_000) == 40


@pytest.mark.long
def test_a_million_commands(served: Served) -> None:
    assert served.run(Protocol7816.T1, 800_000, 255, 14_400) == 800_000
    assert served.run(Protocol7816.T0, 200_000, 255, 14_400) == 200_000


def test_a_failure_comes_with_what_tells_its_cause(served: Served) -> None:
    """A client that fails, here by its arguments, brings the reader's messages, the service's log and its state."""
    assert served.run(Protocol7816.T1, 3, 255) == 3
    with pytest.raises(AssertionError) as failure:
        served.run(Protocol7816.T1, 3, -1)
    words = str(failure.value)
    for expected in ("ValueError", "host: 6F seq", "reader: 80 seq", "kept waiting", "pcscd"):
        assert expected in words
    with pytest.raises(AssertionError, match=r"nothing for 0\.5 s"):
        served.run(Protocol7816.T1, 1_000_000_000, 255, 0.5)


@pytest.mark.clause("USB CCID 1.1, 6.2.6: time extension")
@pytest.mark.parametrize("protocol", ["t0", "t1"])
def test_a_command_may_take_longer_than_the_driver_waits(served: Served, protocol: str) -> None:
    """The driver gives a card about three seconds."""
    with start(
        served.service, "address_client.py", f"pcsc,{protocol}:{NAME}", "00120000", "00123C00", "00120000"
    ) as client:
        assert [line(client) for _ in range(3)] == ["9000"] * 3


def test_a_card_that_is_taken_out_is_gone_and_comes_again(served: Served) -> None:
    with start(served.service, "address_client.py", f"pcsc:{NAME}", "00120000", "WAIT", "00120000") as client:
        assert line(client) == "9000"
        assert line(client) == "waiting"
        served.reader.remove_card()
        assert client.stdin
        client.stdin.write("\n")
        client.stdin.flush()
        assert line(client) in ("card-removed", "transmission-failed", "mute", "no-card", "card-reset")
    assert served.reader.wait_until_missed(60)
    served.reader.insert_card()
    assert served.reader.wait_until_known(60)
    assert served.run(Protocol7816.T1, 10, 255) == 10


@pytest.mark.parametrize(
    ("protocol", "address"),
    [
        ("T=1", ("--card", f"pcsc,t1:{NAME}", "--contactless", "pcsc:Virtual CCID contactless 01 00")),
        ("T=0", ("--card", f"pcsc,t0:{NAME}")),
    ],
)
@pytest.mark.clause("Same tests, same results, on a simulated card and through a serial CCID reader")
def test_the_suite_passes_through_the_reader(tmp_path: Path, protocol: str, address: tuple[str, ...]) -> None:
    card, target = make_specimen(tmp_path / "specimen.card")
    with card, CardServer(card) as server:
        server.offer_ccid_serial(own_service=True)
        outcomes = run_suite(
            tmp_path / "suite.xml",
            *address,
            *("--destructive", "--card-id", target.card_number.hex().upper()),
            environment=server.client_variables,
        )
    assert len([outcome for outcome in outcomes.values() if outcome == "passed"]) >= LEAST_UNSKIPPED


def test_device_files_have_the_names_that_are_asked_for(tmp_path: Path) -> None:
    link = tmp_path / "reader"
    with VirtualCcidReader(EchoCard(), link) as reader:
        assert reader.device_name == f"{link}:GemPCTwin"
        assert link.exists()
        with pytest.raises(ReaderError, match="link-exists"):
            VirtualCcidReader(EchoCard(), link)
    assert not link.is_symlink()
    with pytest.raises(ReaderError, match="link-unwritable"):
        VirtualCcidReader(EchoCard(), tmp_path / "no folder" / "reader")
    link.symlink_to("/dev/pts/gone")
    with VirtualCcidReader(EchoCard(), link):
        assert wait_for(link.exists)
