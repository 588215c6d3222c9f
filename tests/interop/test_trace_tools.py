"""Other people's programs: Wireshark dissects what is exported, and what they print themselves is imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from card_os.transport.wire import Direction
from permitcard.specimen import HOLDER_PIN, make_specimen
from permitcard.trace_names import card_names
from personalization.terminal.holder import pin_block
from reader_bridge.connection import Interface, Protocol7816
from reader_bridge.serving import CardServer
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import standard_stack
from reader_bridge.trace.decode import decode
from reader_bridge.trace.listings import from_listing
from reader_bridge.trace.pcapng import to_pcapng
from reader_bridge.trace.pcsc_spy import from_spy
from reader_bridge.trace.record import Hidden, Kind, Trace
from reader_bridge.trace.recorder import TraceRecorder
from reader_bridge.wired import WiredConnection

SELECT = "00A4040007F05A4A4A5A010100"
COMMANDS = [SELECT, "0084000010", "00CADF2000", "0070000001"]
LONG = "00D60000" + "00012C" + "AB" * 300
SPY_LIBRARIES = [Path("/usr/lib") / name / "libpcscspy.so.0" for name in ("x86_64-linux-gnu", "aarch64-linux-gnu")]


@pytest.fixture(scope="module")
def card() -> Iterator[SimulatedCard]:
    made, _ = make_specimen()
    with made:
        yield made


def record(
    card: SimulatedCard, interface: Interface, commands: list[str], *, line: bool, frame_loss: int = -1
) -> Trace:
    recorder = TraceRecorder(Hidden.NOTHING)
    inner = card.connect(interface)
    if line:
        seen: list[bytes] = []

        def lose(_direction: Direction, data: bytes) -> bytes:
            seen.append(data)
            return b"" if len(seen) == frame_loss else data

        port = card.card.contact if interface is Interface.CONTACT else card.card.contactless
        wired = WiredConnection(
            port,
            interface,
            protocol=Protocol7816.T1,
            disturbance=recorder.disturbance(lose),
            watch=recorder.line_seen,
        )
        connection = recorder.watch(standard_stack(wired))
    else:
        connection = recorder.watch(inner)
    with connection:
        for command in commands:
            connection.transmit(bytes.fromhex(command))
    return recorder.trace()


def dissect(trace: Trace, path: Path) -> list[dict[str, object]]:
    """What tshark makes of the exported file: the layers of each packet."""
    titles = {id(item.entry): item.title for item in decode(trace, card_names())}
    path.write_bytes(to_pcapng(trace, lambda entry: titles.get(id(entry), "")))
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    command = ["tshark", "-r", str(path), "-T", "json", "--no-duplicate-keys", "-d", "iso14443.subdissector,iso7816"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    packets: list[dict[str, dict[str, dict[str, object]]]] = json.loads(done.stdout)
    return [packet["_source"]["layers"] for packet in packets]


def found(layers: list[dict[str, object]], field: str) -> list[str]:
    """All values of a field, in the order of the packets."""
    values: list[str] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == field:
                    values.extend(map(str, value if isinstance(value, list) else [value]))
                else:
                    walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(layers)
    return values


def test_the_line_of_a_contactless_card_is_dissected_as_iso_14443_and_iso_7816(
    card: SimulatedCard, tmp_path: Path
) -> None:
    layers = dissect(record(card, Interface.CONTACTLESS, COMMANDS, line=True), tmp_path / "a.pcapng")
    events = found(layers, "iso14443.event")
    assert (events[0], events[-1]) == ("0xfc", "0xfd")  # field on, field off
    assert set(events[1:-1]) == {"0xfe", "0xff"}
    assert found(layers, "iso14443.rats_start") == ["0xe0"]
    assert [int(value, 0) for value in found(layers, "iso14443.tl")] == [12]
    assert len(found(layers, "iso14443.sel")) == 2  # anticollision, select
    assert set(found(layers, "iso14443.block_type")) == {"0x00"}  # I-blocks
    assert found(layers, "iso7816.apdu.ins") == ["0xa4", "0x84", "0xca", "0x70"]
    assert found(layers, "iso7816.apdu.sw1") == ["0x90"] * 4
    assert not found(layers, "_ws.malformed")


def test_chains_retries_and_acknowledgements_have_their_names(card: SimulatedCard, tmp_path: Path) -> None:
    layers = dissect(
        record(card, Interface.CONTACTLESS, [SELECT, LONG], line=True, frame_loss=2), tmp_path / "b.pcapng"
    )
    assert {"0x00", "0x02"} <= set(found(layers, "iso14443.block_type"))  # I- and R-blocks
    assert {"True", "1"} & set(found(layers, "iso14443.i_block_chaining"))
    assert {"True", "1"} & set(found(layers, "iso14443.nak"))


def test_apdus_of_a_contactless_card_are_framed_for_the_display(card: SimulatedCard, tmp_path: Path) -> None:
    layers = dissect(record(card, Interface.CONTACTLESS, COMMANDS, line=False), tmp_path / "c.pcapng")
    assert set(found(layers, "iso14443.event")) == {"0xfc", "0xfa", "0xfb", "0xfd"}
    assert found(layers, "iso7816.apdu.ins") == ["0xa4", "0x84", "0xca", "0x70"]
    assert not found(layers, "_ws.malformed")


def test_apdus_of_contacts_are_dissected_as_sim_commands(card: SimulatedCard, tmp_path: Path) -> None:
    layers = dissect(record(card, Interface.CONTACT, COMMANDS, line=False), tmp_path / "d.pcapng")
    assert found(layers, "gsm_sim.apdu.ins") == ["0xa4", "0x84", "0xca", "0x70"]
    assert found(layers, "gsm_sim.apdu.sw") == ["0x9000"] * 4
    assert "SELECT Zhejiang residence permit" in found(layers, "frame.comment")
    assert {stack.removeprefix("raw:") for stack in found(layers, "frame.protocols")} == {"ip:udp:gsmtap:gsm_sim"}
    assert not found(layers, "_ws.malformed")


def test_hidden_bytes_go_out_as_zeroes_and_are_said(card: SimulatedCard, tmp_path: Path) -> None:
    recorder = TraceRecorder()
    with recorder.watch(card.connect()) as connection:
        connection.transmit(bytes.fromhex(SELECT))
        connection.transmit(bytes.fromhex("0020008108") + pin_block(HOLDER_PIN))
    layers = dissect(recorder.trace(), tmp_path / "e.pcapng")
    assert found(layers, "frame.comment")[-1] == "VERIFY Holder PIN; hidden bytes are 00"
    assert pin_block(HOLDER_PIN) not in (tmp_path / "e.pcapng").read_bytes()


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, str]]:
    """A card of its own: one whose power another test takes away is out of its reader for a second."""
    made, _ = make_specimen()
    with made, CardServer(made) as server:
        server.offer_own_pcsc()
        yield {**os.environ, **server.client_variables}


def sent(trace: Trace) -> list[str]:
    return [entry.sent.data.hex().upper() for entry in trace.entries if entry.kind is Kind.APDU]


def run(program: list[str], variables: dict[str, str]) -> str:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    return subprocess.run(program, env=variables, capture_output=True, text=True, timeout=60, check=True).stdout


def test_what_opensc_tool_prints_is_imported(served: dict[str, str]) -> None:
    arguments = [part for command in COMMANDS for part in ("-s", command)]
    trace = from_listing(run(["opensc-tool", "-r", "0", *arguments], served), Hidden.NOTHING)
    assert sent(trace) == COMMANDS
    assert all(entry.received.data[-2:] == b"\x90\x00" for entry in trace.entries)
    assert len(trace.entries[2].received.data) == 42


def test_what_scriptor_prints_is_imported(served: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "commands.scr"
    script.write_text("\n".join(["reset", *COMMANDS[:3]]) + "\n", encoding="ascii")
    trace = from_listing(run(["scriptor", "-r", "Virtual PCD 00 00", str(script)], served), Hidden.NOTHING)
    assert sent(trace) == COMMANDS[:3]
    assert len(trace.entries[-1].received.data) == 42
    assert trace.header.answer.hex().startswith("3b")


def spied(library: Path, folder: Path) -> dict[str, str]:
    """Variables that put the spy between a program and the PC/SC library."""
    if library.with_name("libpcsclite_real.so.1").exists():  # pcsc-lite 2.1 and later: a library that delegates
        return {"LIBPCSCLITE_DELEGATE": str(library)}
    (folder / "libpcsclite.so.1").symlink_to(library)
    (folder / "libpcsclite_nospy.so.1").symlink_to(library.with_name("libpcsclite.so.1"))
    return {"LD_LIBRARY_PATH": str(folder)}


def test_what_the_pcsc_spy_library_writes_is_imported(served: dict[str, str], tmp_path: Path) -> None:
    library = next((path for path in SPY_LIBRARIES if path.exists()), None)
    if library is None:
        pytest.skip("libpcscspy is not installed")
    log = tmp_path / "pcsc-spy"
    log.touch()  # the library writes to what is there, a pipe or a file
    script = tmp_path / "commands.scr"
    script.write_text("\n".join(COMMANDS[:3]) + "\n", encoding="ascii")
    run(
        ["scriptor", "-r", "Virtual PCD 00 00", str(script)],
        {**served, "HOME": str(tmp_path), **spied(library, tmp_path)},
    )
    trace = from_spy(log.read_text(encoding="utf-8"), Hidden.NOTHING)
    assert sent(trace) == COMMANDS[:3]
    assert trace.header.reader == "Virtual PCD 00 00"
    assert trace.header.begun
    assert all(entry.moment is not None and entry.moment.wall_length > 0 for entry in trace.entries[1:])
