"""The text of a trace: written and read, made for diff, and clear about what is wrong with it."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reader_bridge.connection import Interface, Protocol7816, ReaderError
from reader_bridge.trace.record import Entry, Header, Hidden, Kind, Moment, Octets, Trace
from reader_bridge.trace.recorder import save
from reader_bridge.trace.text import entry_text, load, parse, parse_octets, to_text

SELECT = bytes.fromhex("00A4040007F05A4A4A5A010100")
TRACE = Trace(
    Header(
        "sim:one.card",
        Interface.CONTACT,
        Protocol7816.T1,
        bytes.fromhex("3B80800101"),
        "residence-permit 1.0",
        Hidden.SECRETS | Hidden.CONTENT,
        "2026-11-26T09:30:00Z",
    ),
    (
        Entry(Kind.POWER_ON, received=Octets(bytes.fromhex("3B80800101")), moment=Moment(0, 180)),
        Entry(Kind.APDU, Octets(SELECT), Octets(b"\x90\x00"), moment=Moment(200, 95)),
        Entry(Kind.APDU, Octets.hiding(bytes.fromhex("0020008102") + b"12", 5, 7), Octets(b"\x90\x00")),
        Entry(Kind.APDU, Octets(b"\x00\xb0\x00\x00\x00"), failure="mute", moment=Moment(400, 1, 30, 2)),
        Entry(Kind.TO_CARD, Octets(b"\x00\xc0\x00\xc0"), Octets(b"\x00\xc0\x00\xc1"), "damaged"),
        Entry(Kind.POWER_OFF),
    ),
)
TEXT = """\
permitcard-trace 1
reader: sim:one.card
interface: contact
protocol: T=1
answer: 3B80800101
profile: residence-permit 1.0
hidden: secrets content
begun: 2026-11-26T09:30:00Z

on\t\t3B80800101\t0+180\t-
apdu\t00A40400 07 F05A4A4A5A0101 00\t9000\t200+95\t-
apdu\t00200081 02 ****\t9000\t-\t-
apdu\t00B00000 00\t!mute\t400+1\t30+2
to-card\t00C000C0\t00C000C1 !damaged\t-\t-
off\t\t\t-\t-
"""


def test_the_text_is_the_documented_one() -> None:
    assert to_text(TRACE) == TEXT


def test_what_was_written_is_read_again() -> None:
    assert parse(TEXT) == TRACE


def test_remarks_and_empty_lines_say_nothing() -> None:
    assert parse(TEXT.replace("off\t", "# the end\n\noff\t")) == TRACE


def test_line_ends_of_other_systems_are_taken() -> None:
    assert parse(TEXT.replace("\n", "\r\n")) == TRACE


def test_columns_behind_the_third_may_be_missing() -> None:
    cut = "".join("\t".join(line.split("\t")[:3]) + "\n" for line in TEXT.splitlines())
    assert [entry.sent for entry in parse(cut).entries] == [entry.sent for entry in TRACE.entries]


def test_without_times_two_runs_of_the_same_have_the_same_text() -> None:
    later = Trace(TRACE.header, tuple(Entry(e.kind, e.sent, e.received, e.failure, Moment(7)) for e in TRACE.entries))
    assert to_text(later) != to_text(TRACE)
    assert to_text(later, times=False) == to_text(TRACE, times=False)


def test_one_command_more_is_one_line_more() -> None:
    more = Trace(
        TRACE.header, (*TRACE.entries[:2], Entry(Kind.APDU, Octets(SELECT), Octets(b"\x6a\x82")), *TRACE.entries[2:])
    )
    changed = [
        line for line in difflib.ndiff(to_text(TRACE).splitlines(), to_text(more).splitlines()) if line[0] in "+-"
    ]
    assert changed == ["+ apdu\t00A40400 07 F05A4A4A5A0101 00\t6A82\t-\t-"]


octets = st.builds(
    lambda data, start, length: Octets.hiding(data, start, start + length),
    st.binary(min_size=2, max_size=40),
    st.integers(0, 40),
    st.integers(0, 40),
)
moments = (
    st.none()
    | st.builds(Moment, *[st.integers(0, 10**12)] * 2, st.none())
    | st.builds(Moment, *[st.integers(0, 10**12)] * 4)
)
entries = st.one_of(
    st.builds(Entry, st.sampled_from((Kind.APDU, Kind.TPDU)), octets, octets, st.just(""), moments),
    st.builds(
        Entry, st.sampled_from((Kind.APDU, Kind.TPDU)), octets, st.just(Octets()), st.just("card-removed"), moments
    ),
    st.builds(Entry, st.sampled_from((Kind.TO_CARD, Kind.TO_READER)), octets, octets, st.just("damaged"), moments),
    st.builds(Entry, st.sampled_from((Kind.POWER_ON, Kind.RESET)), st.just(Octets()), octets, st.just(""), moments),
)
headers = st.builds(
    Header,
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=20),
    st.sampled_from(Interface),
    st.sampled_from(Protocol7816),
    st.binary(max_size=33),
    st.sampled_from(("", "residence-permit 1.0")),
    st.sampled_from((Hidden.NOTHING, Hidden.SECRETS, Hidden.SECRETS | Hidden.CONTENT)),
    st.sampled_from(("", "2026-01-31T23:59:59Z")),
)


@settings(deadline=None)
@given(st.builds(lambda header, rows: Trace(header, tuple(rows)), headers, st.lists(entries, max_size=6)))
def test_any_trace_comes_back(trace: Trace) -> None:
    read = parse(to_text(trace))
    assert read == trace


@settings(deadline=None)
@given(st.text(max_size=300) | st.text("abdfpu- \t\n!*+:0123456789ABCDEF", max_size=300))
def test_any_text_is_read_or_refused_with_its_line(body: str) -> None:
    try:
        read = parse("permitcard-trace 1\n\n" + body)
    except ReaderError as error:
        refused = error.code, type(error.parameters["line"])
    else:
        refused = "trace-malformed", int
        assert parse(to_text(read)).entries == read.entries
    assert refused == ("trace-malformed", int)


@pytest.mark.parametrize(
    ("broken", "line", "reason"),
    [
        ("", 1, "the first line is"),
        ("something else\n", 1, "the first line is"),
        ("permitcard-trace 1\nreader sim\n", 2, "KEY: VALUE"),
        ("permitcard-trace 1\ncolour: blue\n", 2, "KEY: VALUE"),
        ("permitcard-trace 1\nreader: a\nreader: b\n", 3, "each key once"),
        ("permitcard-trace 1\ninterface: air\n", 2, "the interface is one of contact, contactless"),
        ("permitcard-trace 1\nreader: a\nprotocol: T=2\n", 3, "the protocol is one of T=0, T=1, T=CL"),
        ("permitcard-trace 1\nhidden: everything\n", 2, "hidden is"),
        ("permitcard-trace 1\nreader: a\nbegun: yesterday\n", 3, "begun is"),
        ("permitcard-trace 1\nanswer: **\n", 2, "never hidden"),
        ("permitcard-trace 1\nanswer: 3B0\n", 2, "pairs"),
        ("permitcard-trace 1\n\nspdu\t00\t9000\n", 3, "the first column is one of on, reset, off, apdu"),
        ("permitcard-trace 1\n\napdu\t00A4040\t9000\n", 3, "pairs"),
        ("permitcard-trace 1\n\napdu\t00A40400\t90\n", 3, "status word"),
        ("permitcard-trace 1\n\napdu\t\t9000\n", 3, "the command is missing"),
        ("permitcard-trace 1\n\nreset\t00\t3B00\n", 3, "nothing is sent"),
        ("permitcard-trace 1\n\napdu\t00A40400\t9000\tsoon\t-\n", 3, "START+LENGTH"),
        ("permitcard-trace 1\n\napdu\t00A40400\t9000\t-\t-\t-\n", 3, "columns"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(broken: str, line: int, reason: str) -> None:
    with pytest.raises(ReaderError) as caught:
        parse(broken, "a.trace")
    assert caught.value.code == "trace-malformed"
    assert caught.value.parameters["line"] == line
    assert reason in str(caught.value.parameters["reason"])


def test_a_file_that_was_cut_is_not_taken_for_another_trace() -> None:
    """Half an answer would have a status word too, of two bytes of its data: nothing is invented wherever it is cut."""
    read_out = Entry(Kind.APDU, Octets(b"\x00\xb0\x00\x00\x00"), Octets(bytes(range(0x60, 0x70)) + b"\x90\x00"))
    entries = (read_out, *(entry.without_time() for entry in TRACE.entries))
    whole = to_text(Trace(TRACE.header, entries))
    lines = whole.splitlines(keepends=True)
    ends = {sum(map(len, lines[:count])) for count in range(1, len(lines) + 1)}
    for length in range(len(whole)):
        read = read_or_refused(whole[:length])
        if read is None:
            assert length not in ends
        else:
            assert read.entries == entries[: len(read.entries)]
            assert length in ends or whole[length - 1] in "\t-", "all columns are there"


def read_or_refused(text: str) -> Trace | None:
    try:
        return parse(text)
    except ReaderError:
        return None


def test_a_later_version_is_told_apart() -> None:
    with pytest.raises(ReaderError, match="trace-version"):
        parse(TEXT.replace("trace 1", "trace 2"))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="trace-unreadable"):
        load(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ReaderError, match="trace-unreadable"):
        load(tmp_path / "binary")


def test_a_file_is_written_whole_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "one.trace"
    save(TRACE, path)
    assert load(path) == TRACE
    with pytest.raises(ReaderError, match="trace-exists"):
        save(TRACE, path)
    with pytest.raises(ReaderError, match="trace-unwritable"):
        save(TRACE, tmp_path / "no folder" / "one.trace")
    assert [item.name for item in tmp_path.iterdir()] == ["one.trace"]


def test_hidden_bytes_leave_nothing_behind() -> None:
    secret = b"\x31\x32\x33\x34"
    hidden = Octets.hiding(b"\x00\x20\x00\x81\x04" + secret, 5, 9)
    assert secret not in hidden.data
    assert "31323334" not in entry_text(Entry(Kind.APDU, hidden, Octets(b"\x90\x00"))) + repr(hidden)
    assert parse_octets("0020008104 ** ** ****") == hidden
