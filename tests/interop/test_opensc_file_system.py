"""OpenSC's explorer on the default file system card, through pcscd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from applet.file_system.sample import SAMPLE
from card_os.files.spec import FileStructure
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.tlv import encode
from reader_bridge.serving import CardServer
from tests.doubles.file_system_card import new_file_system_card
from tests.doubles.ruled_card import control_parameters

pytestmark = pytest.mark.skipif(shutil.which("opensc-explorer") is None, reason="opensc is not installed")
Explore = Callable[..., dict[str, str]]
ERRORS = "errors"
OBJECTS = (FileStructure.DF, FileStructure.TLV)
"""What the explorer has no content to print of."""
VARIABLE = FileStructure.LINEAR_VARIABLE


def served() -> Iterator[dict[str, str]]:
    """Environment of programs that see a new card in the first reader of a PC/SC service of its own."""
    with new_file_system_card() as card, CardServer(card) as server:
        server.offer_own_pcsc()
        environment = {**os.environ, **server.client_variables, "LC_ALL": "C"}
        deadline = time.monotonic() + 10
        while "Yes" not in run(["opensc-tool", "-l"], environment)[1] and time.monotonic() < deadline:
            time.sleep(0.1)
        yield environment


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """A card for all tests of this file."""
    yield from served()


@pytest.fixture
def untouched() -> Iterator[dict[str, str]]:
    """A card that no other test has."""
    yield from served()


def run(command: list[str], environment: dict[str, str], stdin: str = "") -> tuple[int, str]:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    return done.returncode, done.stdout + done.stderr


def explorer(environment: dict[str, str]) -> Explore:
    """Runs commands in one session of the explorer; gives the output by command, and what it complained of."""

    def session(*commands: str) -> dict[str, str]:
        program = ["opensc-explorer", "-r", "0", "-c", "default"]
        script = "\n".join((*commands, "quit", ""))
        done = subprocess.run(
            program, input=script, capture_output=True, text=True, timeout=60, check=False, env=environment
        )
        given = {ERRORS: done.stderr}
        for part in re.split(r"OpenSC \[[0-9A-F/]+\]> ", done.stdout)[1:]:
            line, _, output = part.partition("\n")
            given[line.strip()] = output
        return given

    return session


@pytest.fixture
def explore(environment: dict[str, str]) -> Explore:
    """The explorer on the card of all tests."""
    return explorer(environment)


def test_the_explorer_walks_and_prints(explore: Explore) -> None:
    given = explore(
        "info", "cat 1001", "cd 5000", "info 5001", "cat 5001", "cat 5002", "cat 5003", "cd 5100", "cat 5101"
    )
    assert "Dedicated File  ID 3F00" in given["info"]
    assert "Operational, activated" in given["info"]
    assert "Hello from the d" in given["cat 1001"]
    assert re.search(r"EF structure: +Linear fixed", given["info 5001"])
    assert re.search(r"Number of records: +4", given["info 5001"])
    assert re.search(r"Max. record size: +16 bytes", given["info 5001"])
    assert "first record" in given["cat 5001"]
    assert "a longer record" in given["cat 5002"]
    assert given["cat 5003"].index("00000002") < given["cat 5003"].index("00000001")


STRUCTURES = {
    FileStructure.TRANSPARENT: "Transparent",
    FileStructure.LINEAR_FIXED: "Linear fixed",
    FileStructure.LINEAR_VARIABLE: "Linear variable",
    FileStructure.CYCLIC: "Cyclic",
}
"""How the explorer names the structure of an EF."""


def hexadecimal(shown: str) -> bytes:
    """The bytes that the explorer dumps, 16 a line behind their offset."""
    lines = re.findall(r"^[0-9A-F]{8}: ((?:[0-9A-F]{2} )+)", shown, re.MULTILINE)
    return bytes.fromhex("".join(lines))


def test_the_explorer_shows_what_the_profile_says(untouched: dict[str, str]) -> None:
    """Every file of the default card: kind, identifier, size, records, and what it holds at first."""
    verify, commands = "verify CHV129 24:12:34:FF:FF:FF:FF:FF", ["info"]
    for path, spec, _ in SAMPLE:
        steps = [path[at : at + 2].hex().upper() for at in range(0, len(path), 2)]
        commands += [f"cd {step}" for step in steps]
        shown = f"{spec.fid:04X}"
        commands += [f"info {shown}", *([] if spec.structure in OBJECTS else [verify, f"cat {shown}"])]
        commands += ["cd 3F00"] if steps else []
    given = explorer(untouched)(*commands)
    for _, spec, initial in SAMPLE:
        fid = f"{spec.fid:04X}"
        about = given[f"info {fid}"]
        kind = "Dedicated File" if spec.structure in OBJECTS else "Elementary File"  # it takes TLV structure for a DF
        assert re.search(rf"{kind} +ID {fid}", about), about
        if spec.structure in OBJECTS:
            continue
        assert re.search(rf"EF structure: +{STRUCTURES[spec.structure]}", about), about
        content = hexadecimal(given[f"cat {fid}"])
        if spec.structure is FileStructure.TRANSPARENT:
            assert re.search(rf"(?:File s|S)ize: +{spec.size} bytes", about), about
            assert content == b"".join(initial).ljust(spec.size, b"\x00")
        else:
            assert re.search(rf"Number of records: +{spec.record_count}", about), about
            assert re.search(rf"Max. record size: +{spec.record_length} bytes", about), about
            assert all(record in content for record in initial)


def test_the_explorer_finds_the_files(explore: Explore) -> None:
    found = explore("find 1000 1004")["find 1000 1004"]
    sizes = dict(re.findall(r"^ ([0-9A-F]{4})\s+wEF\s+(\d+)", found, re.MULTILINE))
    assert list(sizes) == ["1001", "1002", "1003"]
    assert sizes["1001"] == "32"
    assert sizes["1003"] == "4096"


def test_the_explorer_updates_what_it_may(explore: Explore) -> None:
    refused = "update_binary 2F01 0 01"
    given = explore("update_binary 1003 100 48:45:4C:50", "cat 1003", refused, "cat 2F01")
    assert "4 bytes written" in given["update_binary 1003 100 48:45:4C:50"]
    assert "48 45 4C 50" in given["cat 1003"]
    assert "Cannot update 2F01" in given[ERRORS]
    assert "43 01 F0" in given["cat 2F01"]


def test_the_explorer_reads_the_holders_file_after_verify(explore: Explore) -> None:
    wrong, right = "verify CHV129 24:99:99:FF:FF:FF:FF:FF", "verify CHV129 24:12:34:FF:FF:FF:FF:FF"
    given = explore(wrong, right, "update_binary 1002 0 AA:BB", "cat 1002")
    assert "2 tries left" in given[wrong]
    assert "Code correct" in given[right]
    assert "AA BB 00" in given["cat 1002"]


def test_the_explorer_sees_a_file_under_ef_arr(explore: Explore) -> None:
    """Rules by EF.ARR: 1004 is read by everybody and updated after the holder's PIN; `apdu` shows tag 8B as given."""
    ef_arr = control_parameters(0x2F07, encode(0xAB, bytes.fromhex("80017F9000")), size=32, structure=VARIABLE)
    record = bytes.fromhex("8001019000 800102A406830181950108 8001409000")
    ruled = control_parameters(0x1004, bytes.fromhex("8B032F0701"), size=16)
    make = [f"apdu {CommandApdu(0, *command).encode().hex()}" for command in (
        (0xA4, 0, 0x0C, b"\x3f\x00"), (0xE0, 0, 0, ef_arr), (0xE2, 0, 0, record), (0xE0, 0, 0, ruled)
    )]  # fmt: skip
    select, verify = "apdu 00A4000402100400", "verify CHV129 24:12:34:FF:FF:FF:FF:FF"
    refused, allowed = "update_binary 1004 0 01", "update_binary 1004 0 C0:DE"
    given = explore("apdu 0020FF81", *make, "info 1004", select, "cat 1004", refused, verify, allowed)
    assert re.search(r"File size: +16 bytes", given["info 1004"])
    assert "8B 03 2F 07 01" in given[select]
    assert "00 00 00 00" in given["cat 1004"]
    assert "Cannot update 1004" in given[ERRORS]
    assert "2 bytes written" in given[allowed]
    assert "Security status" not in explore("delete 1004", "delete 2F07")[ERRORS]


def test_the_explorer_makes_and_deletes(explore: Explore) -> None:
    given = explore("mkdir 7000 64", "create 7001 16", "info 7001", "delete 7001", "delete 6000", "info 6000")
    assert "ID 7001" in given["info 7001"]
    assert "Security status not satisfied" in given[ERRORS], "a file without a rule for it is not deleted"
    assert "File not found" in given[ERRORS]


def test_pkcs15_tool_ends_with_an_error(environment: dict[str, str]) -> None:
    code, printed = run(["pkcs15-tool", "-r", "0", "-D"], environment)
    assert 0 < code < 128, "an error of its own, and no signal"
    assert "PKCS#15 binding failed: Unsupported card" in printed or "Failed to connect to card" in printed
