from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.apdu import CommandApdu
from reader_bridge.connection import CardConnection, Protocol7816, ReaderError
from reader_bridge.stack import CommandFit, GetResponse, RightLength, TraceRecord, Tracing, standard_stack

OK = b"\x90\x00"


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.7.1")
@pytest.mark.parametrize(
    ("cla", "expected"),
    [(0x00, 0x00), (0x0C, 0x00), (0x13, 0x03), (0x80, 0x00), (0x84, 0x00), (0x81, 0x01), (0x67, 0x47), (0xC2, 0x42)],
)
def test_get_response_goes_to_the_same_channel_in_plain(recording: Any, cla: int, expected: int) -> None:
    answers = iter([b"ab\x61\x02", b"cd\x90\x00"])
    card = recording(lambda _: next(answers))
    assert GetResponse(card).transmit(bytes((cla, 0xA4, 4, 0))) == b"abcd\x90\x00"
    assert card.commands[1] == bytes((expected, 0xC0, 0, 0, 2))


def test_a_response_in_many_pieces_is_put_together(recording: Any) -> None:
    answers = iter([b"a" * 256 + b"\x61\x00"] * 3 + [b"b\x62\x82"])
    card = recording(lambda _: next(answers))
    assert GetResponse(card).transmit(b"\0\xb0\0\0\0") == b"a" * 768 + b"b\x62\x82"


def test_a_response_without_end_is_given_up(recording: Any) -> None:
    connection = GetResponse(recording(lambda _: b"\x61\x00"))
    with pytest.raises(ReaderError, match="response-too-long"):
        connection.transmit(b"\0\xb0\0\0\0")


def test_a_response_that_is_too_long_is_given_up(recording: Any) -> None:
    card = recording(lambda _: bytes(60_000) + b"\x61\x00")
    with pytest.raises(ReaderError, match="response-too-long"):
        GetResponse(card).transmit(b"\0\xb0\0\0\0")
    assert len(card.commands) == 2


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.6, table 5")
@pytest.mark.parametrize(
    ("command", "again"),
    [("00B0000000", "00B0000008"), ("00A4040002010200", "00A4040002010208"), ("00B000000000FF", "00B0000008")],
)
def test_the_right_length_is_sent_again(recording: Any, command: str, again: str) -> None:
    answers = iter([b"\x6c\x08", b"12345678\x90\x00"])
    card = recording(lambda _: next(answers))
    assert RightLength(card).transmit(bytes.fromhex(command))[:8] == b"12345678"
    assert CommandApdu.parse(card.commands[1])[:6] == CommandApdu.parse(bytes.fromhex(again))[:6]


@pytest.mark.parametrize("command", ["00A40400", "00A40400020102", "00A404000501"])
def test_a_command_without_le_is_not_sent_again(recording: Any, command: str) -> None:
    card = recording(lambda _: b"\x6c\x08")
    assert RightLength(card).transmit(bytes.fromhex(command)) == b"\x6c\x08"
    assert len(card.commands) == 1


def test_a_card_that_changes_its_mind_is_asked_once(recording: Any) -> None:
    card = recording(lambda _: b"\x6c\x08")
    assert RightLength(card).transmit(b"\0\xb0\0\0\0") == b"\x6c\x08"
    assert len(card.commands) == 2


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.3.3")
@given(length=st.integers(0, 2_048), ne=st.sampled_from([0, 1, 256, 257, 65_536]), extended=st.booleans())
def test_a_short_reader_gets_a_chain_that_says_the_same(length: int, ne: int, extended: bool) -> None:
    sent: list[CommandApdu] = []

    class ShortReader:
        class description:  # noqa: N801 - stands for the property
            name = "short"
            protocol = Protocol7816.T1
            max_command_data = 255
            max_response_data = 256

        @staticmethod
        def transmit(command: bytes) -> bytes:
            sent.append(CommandApdu.parse(command))
            assert len(command) <= 261
            return OK

    command = CommandApdu(0x84, 0xE2, 1, 2, bytes(i & 0xFF for i in range(length)), ne, extended)
    fitted: CardConnection = CommandFit(ShortReader())  # type: ignore[arg-type]  # only what is used
    assert fitted.transmit(command.encode()) == OK
    assert b"".join(link.data for link in sent) == command.data
    assert [link.cla for link in sent] == [0x94] * (len(sent) - 1) + [0x84]
    assert [link.ne for link in sent] == [0] * (len(sent) - 1) + [min(ne, 256)]


def test_an_extended_reader_gets_the_command_as_it_is(recording: Any) -> None:
    card = recording(lambda _: OK)
    command = CommandApdu(0, 0xD6, 0, 0, bytes(1_000)).encode()
    CommandFit(card).transmit(command)
    assert card.commands == [command]


@pytest.mark.clause("ISO/IEC 7816-3:2006, 12.2.5")
@pytest.mark.parametrize(
    ("command", "sent"),
    [
        ("00A4040002F0F100", "00A4040002F0F1"),
        ("00A4040002F0F1", "00A4040002F0F1"),
        ("00B0000000", "00B0000000"),
        ("00A40400", "00A40400"),
        ("00A40400000002F0F10000", "00A4040002F0F1"),
        ("00B00000000000", "00B0000000"),
        ("00A4040002F0", "00A4040002F0"),
    ],
)
def test_no_le_goes_behind_data_by_t0(recording: Any, command: str, sent: str) -> None:
    card = recording(lambda _: OK, limit=255, protocol=Protocol7816.T0)
    CommandFit(card).transmit(bytes.fromhex(command))
    assert card.commands == [bytes.fromhex(sent)]


def test_a_broken_chain_ends_with_its_status(recording: Any) -> None:
    card = recording(lambda _: b"\x68\x84", limit=255)
    assert CommandFit(card).transmit(CommandApdu(0, 0xD6, 0, 0, bytes(1_000)).encode()) == b"\x68\x84"
    assert len(card.commands) == 1


@pytest.mark.parametrize("raw", [b"", b"\0", b"\0\xa4\4\0\0\0", b"\0\xa4\4\0\0\1\0\0", b"\0\xa4\4\0\0" + bytes(300)])
def test_what_is_no_command_goes_through_for_the_card_to_refuse(recording: Any, raw: bytes) -> None:
    card = recording(lambda _: b"\x67\x00", limit=255)
    assert standard_stack(card).transmit(raw) == b"\x67\x00"
    assert card.commands == [raw]


def test_a_trace_has_one_record_an_exchange_and_no_data(recording: Any) -> None:
    records: list[TraceRecord] = []
    card = recording(lambda command: b"\x61\x04" if command[1] != 0xC0 else b"NAME\x90\x00")
    connection = standard_stack(card, records.append, lambda header: {0xC0: "GET RESPONSE"}.get(header[1], "?"))
    with connection:
        connection.transmit(b"\0\xca\0\x5a\4PIN!\0")
        connection.reset()
    assert [record.name for record in records] == ["?", "GET RESPONSE", "RESET"]
    assert [record.number for record in records] == [1, 2, 3]
    assert (records[0].cla, records[0].ins, records[0].p1, records[0].p2) == (0, 0xCA, 0, 0x5A)
    assert (records[0].command_length, records[0].response_length, records[0].status) == (10, 0, 0x6104)
    assert (records[1].response_length, records[1].status) == (4, 0x9000)
    assert "PIN" not in repr(records)
    assert records[0].command is None
    assert card.events == ["on", "reset", "off"]


def test_data_is_traced_when_asked_and_not_in_the_repr(recording: Any) -> None:
    records: list[TraceRecord] = []
    Tracing(recording(lambda _: b"secret\x90\x00"), records.append, data=True).transmit(b"\0\xb0\0\0\6")
    assert records[0].response == b"secret\x90\x00"
    assert "secret" not in repr(records[0])


def test_a_failed_exchange_is_traced(recording: Any) -> None:
    records: list[TraceRecord] = []
    connection = Tracing(recording(lambda _: b""), records.append)
    with pytest.raises(ReaderError, match="mute"):
        connection.transmit(b"\0\xb0")
    assert (records[0].status, records[0].response_length, records[0].p2) == (0, 0, 0)
