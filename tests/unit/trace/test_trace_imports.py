"""Traces out of what other programs print; the texts are theirs, as their versions of Debian 12 print them."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reader_bridge.connection import Interface, Protocol7816, ReaderError
from reader_bridge.trace.listings import ScriptLineError, commands_of, dump_row, from_listing, protocol_of
from reader_bridge.trace.pcsc_spy import from_spy, looks_like_spy
from reader_bridge.trace.record import Hidden, Kind, Trace

ATR = "3B97968031FE458031C073DE21DF29"
FCI = "6F1D8407F05A4A4A5A0101A51250105245534944454E4345205045524D4954"
SELECT = "00A4040007F05A4A4A5A010100"

OPENSC = """\
Using reader with a card: Virtual PCD 00 00
Sending: 00 A4 04 00 07 F0 5A 4A 4A 5A 01 01 00
Received (SW1=0x90, SW2=0x00):
6F 1D 84 07 F0 5A 4A 4A 5A 01 01 A5 12 50 10 52 o....ZJJZ....P.R
45 53 49 44 45 4E 43 45 20 50 45 52 4D 49 54    ESIDENCE PERMIT
Sending: 00 B0 82 00 05
Received (SW1=0x69, SW2=0x82)
Sending: 00 84 00 00 03
Received (SW1=0x90, SW2=0x00):
41 42 AB AB.
"""
SCRIPTOR = """\
Using T=1 protocol
00 A4 04 00 07 F0 5A 4A 4A 5A 01 01 00
> 00 A4 04 00 07 F0 5A 4A 4A 5A 01 01 00
< 6F 1D 84 07 F0 5A 4A 4A 5A 01 01 A5 12 50 10 52 \n\
45 53 49 44 45 4E 43 45 20 50 45 52 4D 49 54 90 \n\
00 : Normal processing.
reset
> RESET
< OK: 3B 97 96 80 31 FE 45 80 31 C0 73 DE 21 DF 29 \n\
00B0820005
> 00 B0 82 00 05 \n\
< 69 82 : Command not allowed. Security status not satisfied.
"""
GPPRO = f"""\
# gp -d -l
A>> T=1 (4+0007) 00A40400 07 F05A4A4A5A0101 00
A<< (0031+2) (15ms) {FCI} 9000
[DEBUG] something else
A>> T=1 (4+0000) 00B08200 05
A<< (0000+2) (3ms) 6982
"""
DUMP = f"""\
# Generated on Thu, 26 Nov 2026 by apdu4j
# Using Virtual PCD 00 00
# ATR: {ATR}
# PROTOCOL: T=1
#
# Sent
{SELECT}
# Received in 15ms
{FCI}9000
# Sent
00B0820005
# Received in 3ms
6982
"""
ARROWS = f"""\
=> {SELECT}
<= {FCI} 9000
--> 00:B0:82:00:05
<-- 69:82
"""


def pairs(trace: Trace) -> list[tuple[str, str]]:
    return [
        (entry.sent.data.hex().upper(), entry.received.data.hex().upper())
        for entry in trace.entries
        if entry.kind is Kind.APDU
    ]


@pytest.mark.parametrize(
    "text", [OPENSC, SCRIPTOR, GPPRO, DUMP, ARROWS], ids=["opensc", "scriptor", "gp", "dump", "arrows"]
)
def test_listings_are_understood(text: str) -> None:
    found = pairs(from_listing(text, Hidden.NOTHING))
    assert found[:2] == [(SELECT, FCI + "9000"), ("00B0820005", "6982")]


def test_a_short_first_row_of_a_dump_is_told_from_its_characters() -> None:
    assert pairs(from_listing(OPENSC, Hidden.NOTHING))[2] == ("0084000003", "4142AB9000")


def test_times_answers_and_resets_come_along() -> None:
    dump = from_listing(DUMP, Hidden.NOTHING, "a.txt")
    assert dump.header.answer.hex().upper() == ATR
    assert dump.entries[0].kind is Kind.POWER_ON
    moment = dump.entries[2].moment
    assert moment is not None
    assert (moment.wall_start, moment.wall_length) == (15_000, 3_000)
    scriptor = from_listing(SCRIPTOR, Hidden.NOTHING)
    assert [entry.kind for entry in scriptor.entries] == [Kind.POWER_ON, Kind.APDU, Kind.RESET, Kind.APDU]
    assert scriptor.entries[2].received.data.hex().upper() == ATR


@pytest.mark.parametrize(
    ("answer", "interface", "protocol"),
    [
        (ATR, Interface.CONTACT, Protocol7816.T1),
        ("3B00", Interface.CONTACT, Protocol7816.T0),
        ("3B80800101", Interface.CONTACTLESS, Protocol7816.TCL),
        ("", Interface.CONTACT, Protocol7816.T1),
    ],
)
def test_the_answer_says_interface_and_protocol(answer: str, interface: Interface, protocol: Protocol7816) -> None:
    assert protocol_of(bytes.fromhex(answer)) == (interface, protocol)


def test_what_comes_in_is_hidden_like_what_is_recorded() -> None:
    text = "> 00 20 00 81 08 24 12 34 5F FF FF FF FF\n< 90 00 : done\n> 00 B0 81 00 04\n< 01 02 03 04 90 00 : done\n"
    trace = from_listing(text, Hidden.SECRETS | Hidden.CONTENT)
    assert pairs(trace) == [("0020008108" + "00" * 8, "9000"), ("00B0810004", "000000009000")]
    assert all(entry.has_hidden for entry in trace.entries)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "import-empty"),
        ("00A40400\n", "import-empty"),
        ("< 90 00\n", "import-order"),
        (f"> {SELECT}\n< 90\n", "import-order"),
    ],
)
def test_what_is_no_listing_is_told(text: str, code: str) -> None:
    with pytest.raises(ReaderError, match=code):
        from_listing(text, Hidden.NOTHING)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00A40400\n# a remark\n00 B0 00 00 05 # read\n", ["00A40400", "00B0000005"]),
        (SCRIPTOR, [SELECT, "00B0820005"]),
        (DUMP, [SELECT, "00B0820005"]),
        ("no command\n", []),
    ],
)
def test_commands_come_out_of_scripts_and_listings(text: str, expected: list[str]) -> None:
    assert [command.hex().upper() for command in commands_of(text)] == expected


@pytest.mark.parametrize("wrong", ["GARBAGE", "00CADF2X00", "00CADF210", "0x00CA", "00CA => 9000"])
def test_a_line_of_a_script_that_is_no_command_is_refused(wrong: str) -> None:
    with pytest.raises(ScriptLineError) as refused:
        commands_of(f"# remark\n00A40400\n\n{wrong}\n00B0000005\n")
    assert refused.value.number == 4


@given(st.binary(min_size=1, max_size=16), st.booleans())
@settings(deadline=None)
def test_any_row_of_a_dump_is_read(data: bytes, padded: bool) -> None:
    shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    row = data.hex(" ").upper() + " " + ("   " * (16 - len(data)) if padded else "") + shown
    assert dump_row(row) == data


SPY = """\
7F92@>|1795730304|800000|SCardConnect
7F92@0x5855EFF5
7F92@Virtual PCD 00 00
7F92@0x00000002
7F92@0x00000003
7F92@0x00000000
7F92@0x00000000
7F92@0x5E6C6456
7F92@0x00000002
7F92@<|1795730304|800100|SCardConnect|Command successful.|0x00000000
7F92@>|1795730304|800150|SCardStatus
7F92@0x5E6C6456
7F92@0x00000012
7F92@0x00000021
7F92@0x00000012
7F92@Virtual PCD 00 00
7F92@0x00010034
7F92@0x00000002
7F92@0x0000000F
7F92@3B 97 96 80 31 FE 45 80 31 C0 73 DE 21 DF 29\x20
7F92@<|1795730304|800160|SCardStatus|Command successful.|0x00000000
7F93@>|1795730304|800170|SCardGetStatusChange
7F92@>|1795730304|800200|SCardTransmit
7F92@0x5E6C6456
7F92@0x00000002
7F92@0x00000010
7F92@0x00000005
7F93@0x5855EFF5
7F92@00 84 00 00 02\x20
7F92@0x00000001
7F92@0x00000010
7F92@0x00000004
7F92@AA BB 90 00\x20
7F92@<|1795730304|800700|SCardTransmit|Command successful.|0x00000000
7F92@>|1795730304|800800|SCardReconnect
7F92@0x5E6C6456
7F92@0x00000002
7F92@0x00000003
7F92@0x00000001
7F92@0x00000002
7F92@<|1795730304|800900|SCardReconnect|Command successful.|0x00000000
7F92@>|1795730304|801000|SCardTransmit
7F92@0x5E6C6456
7F92@0x00000005
7F92@00 B0 00 00 00\x20
7F92@0x00000000
7F92@NULL
7F92@<|1795730304|801100|SCardTransmit|Card was removed.|0x80100069
7F92@>|1795730304|801200|SCardDisconnect
7F92@0x5E6C6456
7F92@0x00000002
7F92@<|1795730304|801300|SCardDisconnect|Command successful.|0x00000000
"""


def test_a_log_of_pcsc_spy_is_understood() -> None:
    assert looks_like_spy(SPY)
    assert not looks_like_spy(SCRIPTOR)
    trace = from_spy(SPY, Hidden.NOTHING)
    assert [entry.kind.value for entry in trace.entries] == ["on", "apdu", "reset", "apdu", "off"]
    assert trace.header.reader == "Virtual PCD 00 00"
    assert trace.header.begun == "2026-11-26T21:58:24Z"
    assert trace.header.answer.hex().upper() == ATR
    moment = trace.entries[1].moment
    assert moment is not None
    assert (moment.wall_start, moment.wall_length) == (200, 500)
    assert pairs(trace)[0] == ("0084000002", "AABB9000")
    assert trace.entries[3].failure == "card-removed"


def test_an_older_log_without_threads_is_understood_too() -> None:
    old = "PCSC SPY VERSION: 1\n" + "\n".join(
        line.partition("@")[2] for line in SPY.splitlines() if not line.startswith("7F93")
    )
    assert looks_like_spy(old)
    assert from_spy(old, Hidden.NOTHING).entries == from_spy(SPY, Hidden.NOTHING).entries


def test_a_newer_log_without_words_for_the_codes_is_understood_too() -> None:
    newer = re.sub(r"\|[^|]*\.\|0x", "|0x", SPY)
    assert "successful" not in newer
    assert from_spy(newer, Hidden.NOTHING).entries == from_spy(SPY, Hidden.NOTHING).entries


def test_several_readers_are_told_apart() -> None:
    other = SPY.replace("0x5E6C6456", "0x00000077").replace("PCD 00 00", "PCD 00 01")
    with pytest.raises(ReaderError, match="import-readers") as caught:
        from_spy(SPY + other, Hidden.NOTHING)
    assert caught.value.parameters["known"] == "Virtual PCD 00 00, Virtual PCD 00 01"
    assert from_spy(SPY + other, Hidden.NOTHING, reader="00 01").header.reader == "Virtual PCD 00 01"
    with pytest.raises(ReaderError, match="import-empty"):
        from_spy(SPY, Hidden.NOTHING, reader="another")


@settings(deadline=None)
@given(st.lists(st.sampled_from(SPY.splitlines()), max_size=60))
def test_a_log_in_any_disorder_is_read_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(ReaderError):
        from_spy("\n".join(lines), Hidden.NOTHING)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*OPENSC.splitlines(), *SCRIPTOR.splitlines(), *GPPRO.splitlines(), *DUMP.splitlines()]))
)
def test_a_listing_in_any_disorder_is_read_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(ReaderError):
        from_listing("\n".join(lines), Hidden.NOTHING)
