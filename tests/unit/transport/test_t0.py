"""T=0: procedure bytes, the cases of command APDUs, characters with parity, and what errors end in."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.hardware.clock import VirtualClock
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.atr import Convention
from card_os.transport.characters import (
    MAX_REPETITIONS,
    ParityError,
    carry_characters,
    decode_character,
    encode_character,
)
from card_os.transport.events import Broken, Command, Completed, Failure, LocalProtocolError, Reply, Transmit
from card_os.transport.parameters import LineParameters
from card_os.transport.t0_card import T0Card
from card_os.transport.t0_reader import State, T0Reader
from card_os.transport.wire import Direction, Wire

TIMING = LineParameters((0,)).timing()


class Filesystem:
    """Answers as an application does: no more than Ne bytes, and what was executed is counted."""

    def __init__(self, available: int = 0, status: bytes = b"\x90\x00") -> None:
        self.available = available
        self.status = status
        self.executed: list[bytes] = []
        self.random = Random(7816)

    def __call__(self, command: bytes) -> bytes:
        self.executed.append(command)
        return self.random.randbytes(self.available) + self.status


def scene(reader: T0Reader, steps: list[tuple[str, str]], command: str) -> Completed | Broken | None:
    """Drive the reader: each step is what it must have sent, and what the card then sends."""
    event = reader.exchange(bytes.fromhex(command))
    result: object = event
    for sent, received in steps:
        assert isinstance(result, Transmit)
        assert result.data == bytes.fromhex(sent)
        result = reader.receive(bytes.fromhex(received))
    return result if isinstance(result, Completed | Broken) else None


@pytest.mark.clause("ISO/IEC 7816-3:2006, 12.2")
@pytest.mark.parametrize(
    ("name", "command", "steps", "response"),
    [
        ("1", "00440000", [("0044000000", "9000")], "9000"),
        ("2S.1 Le accepted", "00B0000002", [("00B0000002", "B0AABB9000")], "AABB9000"),
        ("2S.2 Le not accepted", "00B0000002", [("00B0000002", "6700")], "6700"),
        (
            "2S.3 6Cxx",
            "00B0000000",
            [("00B0000000", "6C02"), ("00B0000002", "B0AABB9000")],
            "AABB9000",
        ),
        ("2S, more than Le", "00B0000001", [("00B0000001", "6C02"), ("00B0000002", "B0AABB9000")], "AA9000"),
        ("2S, 6Cxx once only", "00B0000000", [("00B0000000", "6C02"), ("00B0000002", "6C03")], "6C03"),
        ("NULL", "00B0000002", [("00B0000002", "6060B0AA60")], None),
        ("NULL is data among data", "00B0000002", [("00B0000002", "60B0AA609000")], "AA609000"),
        ("one byte at a time", "00B0000002", [("00B0000002", "4FAA4FBB9000")], "AABB9000"),
        ("one byte, then all", "00B0000003", [("00B0000003", "4FAAB0BBCC9000")], "AABBCC9000"),
        ("3S", "00D60000021122", [("00D6000002", "D6"), ("1122", "9000")], "9000"),
        ("3S one byte at a time", "00D60000021122", [("00D6000002", "29"), ("11", "29"), ("22", "9000")], "9000"),
        ("3S refused before the data", "00D60000021122", [("00D6000002", "6982")], "6982"),
        ("3S, 61xx is the answer", "00D60000021122", [("00D6000002", "D6"), ("1122", "6104")], "6104"),
        (
            "4S.3 61xx",
            "00A40400021122FF",
            [("00A4040002", "A4"), ("1122", "6103"), ("00C0000003", "C00102039000")],
            "0102039000",
        ),
        ("4S.1 refused", "00A4040002112200", [("00A4040002", "A4"), ("1122", "6A82")], "6A82"),
        (
            "4S, Le is less than there is",
            "00A4040002112202",
            [("00A4040002", "A4"), ("1122", "6103"), ("00C0000002", "C001026101")],
            "01026101",
        ),
        (
            "GET RESPONSE on channel 2, without secure messaging",
            "0EA4040002112200",
            [("0EA4040002", "A4"), ("1122", "6101"), ("02C0000001", "C0019000")],
            "019000",
        ),
        (
            "2E in several pieces",
            "00B00000000102",
            [("00B0000000", "B0" + "11" * 256 + "6102"), ("00C0000002", "C022229000")],
            "11" * 256 + "22229000",
        ),
        (
            "61xx without progress ends",
            "00A40400021122FF",
            [("00A4040002", "A4"), ("1122", "6103"), ("00C0000003", "6103")],
            "6103",
        ),
    ],
)
def test_the_reader_maps_the_cases(name: str, command: str, steps: list[tuple[str, str]], response: str | None) -> None:
    reader = T0Reader(TIMING)
    result = scene(reader, steps, command)
    assert result == (None if response is None else Completed(bytes.fromhex(response))), name


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("a byte that is no procedure byte", [("00B0000002", "B1")]),
        ("characters after the status", [("00B0000002", "B0AABB900000")]),
        ("ACK without data to give or take", [("00B0000002", "B0AABBB0")]),
    ],
)
def test_what_the_card_may_not_send_ends_the_exchange(name: str, steps: list[tuple[str, str]]) -> None:
    reader = T0Reader(TIMING)
    result = scene(reader, steps, "00B0000002")
    assert result == Broken(Failure.PROTOCOL), name
    assert result.needs_reset
    with pytest.raises(LocalProtocolError):
        reader.exchange(bytes(4))


@pytest.mark.parametrize("ins", ["60", "6F", "90", "9A"])
def test_instructions_6x_and_9x_do_not_exist(ins: str) -> None:
    reader, command = T0Reader(TIMING), bytes.fromhex(f"00{ins}0000")
    with pytest.raises(ValueError, match="6x and 9x"):
        reader.exchange(command)
    assert T0Card().receive(command + b"\x00") == Reply(b"\x6d\x00")


def test_a_card_that_stops_is_given_up_after_the_waiting_time() -> None:
    reader = T0Reader(TIMING)
    assert reader.exchange(bytes.fromhex("00B0000002")).wait_ns == TIMING.wwt_ns
    assert reader.receive(b"\xb0\xaa") is None
    assert reader.time_out() == Broken(Failure.MUTE)
    assert reader.state is State.DEAD


def test_the_card_executes_once_when_it_tells_the_length() -> None:
    """READ BINARY with Le 00 of two bytes: 6C02, then the same command with P3 = 02 (12.2.3)."""
    card = T0Card()
    assert card.receive(bytes.fromhex("00B0000000")) == Command(bytes.fromhex("00B0000000"))
    assert card.answer(b"\xaa\xbb\x90\x00") == Reply(b"\x6c\x02")
    assert card.receive(bytes.fromhex("00B0000002")) == Reply(b"\xb0\xaa\xbb\x90\x00")


def test_what_was_kept_for_6cxx_goes_with_any_other_command() -> None:
    card = T0Card()
    card.receive(bytes.fromhex("00B0000000"))
    card.answer(b"\xaa\xbb\x90\x00")
    assert card.receive(bytes.fromhex("00B0000102")) == Command(bytes.fromhex("00B0000102"))


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("nc", [0, 1, 2, 255, 256, 1000])
@pytest.mark.parametrize(("ne", "available"), [(0, 0), (1, 1), (256, 256), (256, 10), (300, 300), (65_536, 1000)])
def test_every_case_gets_the_right_answer_and_is_executed_once(
    bytewise: bool, nc: int, ne: int, available: int
) -> None:
    application = Filesystem(min(available, 256) if not nc else available)
    wire = Wire(T0Reader(TIMING), T0Card(bytewise=bytewise), application, VirtualClock(), extension=lambda _work: 2)
    data = Random(nc).randbytes(nc)
    command = CommandApdu(0, 0xD6 if nc else 0xB0, 0, 0, data, ne).encode()
    result = wire.transmit(command)
    assert isinstance(result, Completed)
    assert len(result.response) == 2 + application.available
    assert result.response == Random(7816).randbytes(application.available) + b"\x90\x00"
    assert len(application.executed) == 1
    if nc:
        assert CommandApdu.parse(application.executed[0]).data == data


def test_a_command_under_secure_messaging_always_brings_data() -> None:
    card = T0Card()
    assert card.receive(bytes.fromhex("0CB0000002")) == Reply(b"\xb0")
    assert card.receive(b"\x11\x22") == Command(bytes.fromhex("0CB00000021122"))
    assert card.answer(b"\xaa\x90\x00") == Reply(b"\x61\x01")
    assert card.receive(bytes.fromhex("00C0000001")) == Reply(b"\xc0\xaa\x90\x00")


def test_no_command_in_an_envelope_is_a_wrong_length() -> None:
    assert T0Card().receive(bytes.fromhex("00C2000000")) == Reply(b"\x67\x00")


def test_calls_out_of_turn_are_refused() -> None:
    card = T0Card()
    with pytest.raises(LocalProtocolError):
        card.answer(b"\x90\x00")
    with pytest.raises(LocalProtocolError):
        card.extend(1)
    with pytest.raises(LocalProtocolError):
        T0Reader(TIMING).receive(b"\x90")


@pytest.mark.parametrize(
    ("convention", "byte", "moments"),
    [
        (Convention.DIRECT, 0x3B, 0b1_0011_1011),
        (Convention.INVERSE, 0x3F, 0b1_0000_0011),  # (H)LHHLLLLLLH of 8.1, TS of the inverse convention
        (Convention.DIRECT, 0x00, 0),
        (Convention.INVERSE, 0x00, 0x1FF),
    ],
)
def test_characters_have_the_moments_of_8_1(convention: Convention, byte: int, moments: int) -> None:
    assert encode_character(byte, convention) == moments
    assert decode_character(moments, convention) == byte


@given(st.integers(0, 255), st.sampled_from(Convention), st.integers(0, 8))
def test_parity_finds_every_single_wrong_moment(byte: int, convention: Convention, moment: int) -> None:
    assert decode_character(encode_character(byte, convention), convention) == byte
    with pytest.raises(ParityError):
        decode_character(encode_character(byte, convention) ^ 1 << moment, convention)


def test_a_character_is_repeated_three_times_then_the_sender_stops() -> None:
    sent: list[int] = []

    def always_wrong(moments: int) -> int:
        sent.append(moments)
        return moments ^ 1

    assert carry_characters(b"\x00\x11", always_wrong) == b""
    assert len(sent) == 1 + MAX_REPETITIONS


def play(exchanges: int, seed: int, damage: float, loss: float) -> dict[str, int]:
    """Random commands over characters with wrong parity and transmissions lost as a whole."""
    random = Random(seed)
    counts = dict.fromkeys(("answered", "broken", "wrong"), 0)

    def line(moments: int) -> int:
        return moments ^ 1 << random.randrange(9) if random.random() < damage else moments

    def noise(_direction: Direction, data: bytes) -> bytes:
        return b"" if random.random() < loss else carry_characters(data, line)

    while sum(counts.values()) < exchanges:
        application = Filesystem()
        reader = T0Reader(TIMING)
        wire = Wire(reader, T0Card(bytewise=random.random() < 0.1), application, VirtualClock(), disturbance=noise)
        while reader.state is not State.DEAD and sum(counts.values()) < exchanges:
            data = random.randbytes(random.choice((0, 0, 5, 30)))
            ne = random.choice((0, 16, 256))
            application.available = random.choice((1, 7, 16)) if ne else 0
            application.executed.clear()
            application.random.seed(seed + sum(counts.values()))
            expected = Random(seed + sum(counts.values())).randbytes(application.available) + b"\x90\x00"
            result = wire.transmit(CommandApdu(0, 0xD6 if data else 0xB0, 0, 0, data, ne).encode())
            if isinstance(result, Broken):
                counts["broken"] += 1
            else:
                right = result.response == expected and len(application.executed) == 1
                counts["answered" if right else "wrong"] += 1
    return counts


@pytest.mark.parametrize(("damage", "loss"), [(0.001, 0.0), (0.02, 0.01), (0.3, 0.0), (0.0, 0.1)])
def test_noise_never_makes_a_wrong_answer(damage: float, loss: float) -> None:
    counts = play(1000, 10_3, damage, loss)
    assert counts["wrong"] == 0
    assert counts["answered"] > 200


@settings(max_examples=150, deadline=None)
@given(
    faults=st.dictionaries(st.integers(0, 40), st.sampled_from(("lost", "parity", "dead")), max_size=12),
    shapes=st.lists(st.tuples(st.integers(0, 40), st.sampled_from((0, 16, 256))), min_size=1, max_size=4),
)
def test_any_pattern_of_loss_and_wrong_parity_ends_right_or_clean(
    faults: dict[int, str], shapes: list[tuple[int, int]]
) -> None:
    """Transmissions are lost as a whole, have one wrong moment in each character, or wrong parity without end."""
    sent = 0

    def disturb(_direction: Direction, data: bytes) -> bytes:
        nonlocal sent
        fault = faults.get(sent)
        sent += 1
        wrong = iter((1,) if fault == "parity" else ())
        if fault == "lost":
            return b""
        return carry_characters(data, lambda moments: moments ^ (1 if fault == "dead" else next(wrong, 0)))

    application = Filesystem()
    reader = T0Reader(TIMING)
    wire = Wire(reader, T0Card(), application, VirtualClock(), disturbance=disturb)
    for number, (length, ne) in enumerate(shapes):
        application.available = 7 if ne else 0
        application.executed.clear()
        application.random.seed(number)
        expected = Random(number).randbytes(application.available) + b"\x90\x00"
        result = wire.transmit(CommandApdu(0, 0xD6 if length else 0xB0, 0, 0, bytes(length), ne).encode())
        assert len(application.executed) <= 1
        if isinstance(result, Broken):
            break
        assert result.response == expected


@pytest.mark.long
def test_noise_never_makes_a_wrong_answer_in_100000_exchanges() -> None:
    counts = play(100_000, 12_2, 0.01, 0.01)
    assert counts["wrong"] == 0
    assert counts["answered"] > 90_000
