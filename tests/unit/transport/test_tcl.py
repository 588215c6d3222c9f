"""The half-duplex protocol over the field: both sides, undisturbed, in the scenes of the standard, and under noise."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.hardware.clock import VirtualClock
from card_os.transport.checks import crc_a
from card_os.transport.events import Broken, Command, Completed, Failure, LocalProtocolError, Reply, Transmit
from card_os.transport.tcl_blocks import Block, BlockCodec, ContactlessType, InvalidBlock, Kind
from card_os.transport.tcl_card import State as CardState
from card_os.transport.tcl_card import TclCard
from card_os.transport.tcl_reader import MAX_ATTEMPTS, State, TclReader
from card_os.transport.timing import ContactlessTiming
from card_os.transport.wire import Wire
from tests.unit.transport.error_play import Application, Fault, Noise, Script

TIMING = ContactlessTiming()
CODEC = BlockCodec(ContactlessType.A)
L, D = Fault.LOST, Fault.DAMAGED
FRAME = 32


def describe(frame: bytes) -> str:
    return repr(CODEC.decode(frame))


@pytest.mark.parametrize(
    ("block", "raw"),
    [
        (Block(Kind.INFORMATION, 0, b"\x00\xa4"), "02 00A4"),
        (Block(Kind.INFORMATION, 1, b"\x00", more=True), "13 00"),
        (Block(Kind.INFORMATION, 0, b"\x11", cid=5, nad=0x21), "0E 05 21 11"),
        (Block(Kind.ACK, 0), "A2"),
        (Block(Kind.ACK, 1, cid=1), "AB 01"),
        (Block(Kind.NAK, 0), "B2"),
        (Block(Kind.NAK, 1), "B3"),
        (Block(Kind.DESELECT), "C2"),
        (Block(Kind.DESELECT, cid=1), "CA 01"),
        (Block(Kind.WTX, information=b"\x01"), "F2 01"),
    ],
)
@pytest.mark.parametrize("kind", ContactlessType)
def test_blocks_are_coded_as_in_7_1(block: Block, raw: str, kind: ContactlessType) -> None:
    codec = BlockCodec(kind)
    frame = codec.encode(block)
    assert frame[:-2] == bytes.fromhex(raw)
    assert codec.decode(frame) == block
    damaged = frame[:-1] + bytes((frame[-1] ^ 1,))
    with pytest.raises(InvalidBlock):
        codec.decode(damaged)


@pytest.mark.parametrize(
    "raw", ["", "22", "00", "A0", "A6", "C0", "D2", "F2", "F20101", "0A", "0A0F", "06", "A200", "C200", "E2"]
)
def test_blocks_without_meaning_are_refused(raw: str) -> None:
    frame = bytes.fromhex(raw)
    frame += crc_a(frame)
    with pytest.raises(InvalidBlock):
        CODEC.decode(frame)


@pytest.mark.parametrize("kind", ContactlessType)
@pytest.mark.parametrize("cid", [None, 0, 3])
@pytest.mark.parametrize("size", [16, 64, 256])
@pytest.mark.parametrize("length", [4, 13, 14, 100, 600])
def test_any_length_travels_in_any_frame_size(kind: ContactlessType, cid: int | None, size: int, length: int) -> None:
    application = Application()
    wire = Wire(
        TclReader(TIMING, size, kind=kind, cid=cid), TclCard(size, kind=kind, cid=cid or 0), application, VirtualClock()
    )
    for seed in range(3):
        command = Random(seed).randbytes(length)
        assert wire.transmit(command) == Completed(application.answer_to(command))
    assert len(application.executed) == 3


def test_no_frame_is_longer_than_agreed() -> None:
    lengths: list[int] = []

    def measure(_direction: object, frame: bytes) -> bytes:
        lengths.append(len(frame))
        return frame

    wire = Wire(
        TclReader(TIMING, 16, cid=1, nad=0x21),
        TclCard(16, cid=1, nad_supported=True),
        Application(),
        VirtualClock(),
        disturbance=measure,
    )
    assert isinstance(wire.transmit(bytes(100)), Completed)
    assert max(lengths) == 16


def test_block_numbers_alternate_over_commands() -> None:
    script = Script({}, describe)
    wire = Wire(TclReader(TIMING, FRAME), TclCard(FRAME), Application(), VirtualClock(), disturbance=script)
    for _ in range(3):
        wire.transmit(bytes(4))
    assert script.sent == ["> I(0)0", "< I(0)0", "> I(0)1", "< I(0)1", "> I(0)0", "< I(0)0"]


@pytest.mark.parametrize("faults", [{}, {0: L}, {1: L}, {1: D}, {0: L, 3: L}])
@pytest.mark.parametrize("before", [0, 1])
def test_a_presence_check_changes_nothing(faults: dict[int, Fault], before: int) -> None:
    application = Application()
    script = Script({2 * before + number: fault for number, fault in faults.items()}, describe)
    device = TclReader(TIMING, FRAME)
    wire = Wire(device, TclCard(FRAME), application, VirtualClock(), disturbance=script)
    for _ in range(before):
        wire.transmit(b"before")
    assert wire.run(device.check_presence()) == Completed(b"")
    assert wire.transmit(b"after") == Completed(application.answer_to(b"after"))
    assert len(application.executed) == before + 1


def test_a_presence_check_by_an_empty_block_is_no_command() -> None:
    application = Application()
    wire = Wire(TclReader(TIMING, FRAME), TclCard(FRAME), application, VirtualClock())
    assert wire.transmit(b"") == Completed(b"")
    assert not application.executed


def test_a_card_that_is_gone_is_missed_after_the_waiting_times() -> None:
    device, clock = TclReader(TIMING, FRAME), VirtualClock()
    wire = Wire(device, TclCard(FRAME), Application(), clock, disturbance=lambda _way, _frame: b"")
    assert wire.run(device.check_presence()) == Broken(Failure.MUTE)
    assert clock.now_ns == MAX_ATTEMPTS * (TIMING.fwt_ns + TIMING.activation_ns)
    with pytest.raises(LocalProtocolError):
        device.exchange(bytes(4))


def test_deselect_halts_the_card() -> None:
    device, card = TclReader(TIMING, FRAME), TclCard(FRAME)
    wire = Wire(device, card, Application(), VirtualClock())
    assert wire.run(device.deselect()) == Completed(b"")
    assert (device.state, card.state) == (State.DESELECTED, CardState.HALTED)
    assert card.receive(CODEC.encode(Block(Kind.NAK))) is None


@pytest.mark.parametrize(
    ("block", "rule"),
    [
        (Block(Kind.INFORMATION, 0, b"\x00", cid=2), "another card's CID"),
        (Block(Kind.INFORMATION, 0, b"\x00"), "no CID, and ours is not 0"),
        (Block(Kind.INFORMATION, 0, b"\x00", cid=1, nad=0x21), "NAD is not supported"),
        (Block(Kind.WTX, information=b"\x01", cid=1), "a grant that was not asked for"),
        (Block(Kind.ACK, 1, cid=1), "nothing to repeat"),
        (Block(Kind.ACK, 0, cid=1), "no chain to go on with"),
    ],
)
def test_what_is_not_for_the_card_gets_no_answer(block: Block, rule: str) -> None:
    assert TclCard(FRAME, cid=1).receive(CODEC.encode(block)) is None, rule


def test_a_card_without_cid_ignores_blocks_with_one() -> None:
    frame = CODEC.encode(Block(Kind.INFORMATION, 0, b"\x00", cid=0))
    assert TclCard(FRAME, cid_supported=False).receive(frame) is None


def test_a_card_without_cid_answers_blocks_without_one_whatever_it_was_given() -> None:
    """ISO/IEC 14443-4:2018, 7.1.2.2: only a card that supports CIDs looks at the one that it got by RATS or ATTRIB."""
    frame = CODEC.encode(Block(Kind.INFORMATION, 0, b"\x00"))
    assert TclCard(FRAME, cid=5, cid_supported=False).receive(frame) == Command(b"\x00")
    assert TclCard(FRAME).receive(frame) == Command(b"\x00")


@pytest.mark.parametrize(
    "block",
    [
        Block(Kind.INFORMATION, 1, b"\x90\x00"),  # number
        Block(Kind.ACK, 0),  # nothing to go on with
        Block(Kind.WTX, information=b"\x00"),
        Block(Kind.WTX, information=b"\x3c"),
        Block(Kind.DESELECT),
        Block(Kind.INFORMATION, 0, b"\x90\x00", cid=1),
    ],
)
def test_the_reader_answers_what_makes_no_sense_with_nak(block: Block) -> None:
    device = TclReader(TIMING, FRAME)
    device.exchange(bytes(4))
    event = device.receive(CODEC.encode(block))
    assert isinstance(event, Transmit)
    assert describe(event.data) == "R(NAK)0"


def test_a_repeated_block_of_the_reader_cannot_be_told_from_a_new_one() -> None:
    """7.5.4.2, rule D: the card takes an I-block whatever its number; docs/transport.md lists it."""
    card = TclCard(FRAME)
    frame = CODEC.encode(Block(Kind.INFORMATION, 0, b"\x00"))
    assert card.receive(frame) == Command(b"\x00")
    card.answer(b"\x90\x00")
    assert card.receive(frame) == Command(b"\x00")


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_repeated_nak_gets_the_same_answer(times: int) -> None:
    """7.5.5, rule 11."""
    card = TclCard(FRAME)
    card.receive(CODEC.encode(Block(Kind.INFORMATION, 0, b"\x00")))
    answer = card.answer(b"\x90\x00")
    assert [card.receive(CODEC.encode(Block(Kind.NAK, 0))) for _ in range(times)] == [answer] * times


def test_a_late_answer_is_recognised_by_its_number() -> None:
    card, device = TclCard(FRAME), TclReader(TIMING, FRAME)
    card.receive(device.exchange(b"one!").data)
    first = card.answer(b"1").data
    assert device.receive(first) == Completed(b"1")
    device.exchange(b"two!")
    event = device.receive(first)
    assert isinstance(event, Transmit)
    assert describe(event.data) == "R(NAK)1"


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.integers(0, 40), st.sampled_from(Fault)))
def test_no_error_takes_attempts_without_end(faults: dict[int, Fault]) -> None:
    script = Script(faults, describe)
    Wire(TclReader(TIMING, FRAME), TclCard(FRAME), Application(), VirtualClock(), disturbance=script).transmit(bytes(4))
    sent = [block for block in script.sent if block.startswith(">")]
    assert sum(block.startswith("> I") for block in sent) <= MAX_ATTEMPTS
    assert sum("DESELECT" in block for block in sent) <= MAX_ATTEMPTS
    assert len(sent) <= MAX_ATTEMPTS * MAX_ATTEMPTS + MAX_ATTEMPTS


def test_time_is_granted_by_the_multiplier() -> None:
    device = TclReader(TIMING, FRAME)
    device.exchange(bytes(4))
    event = device.receive(CODEC.encode(Block(Kind.WTX, information=b"\xc5")))  # power level in bits 8 and 7
    assert event == Transmit(CODEC.encode(Block(Kind.WTX, information=b"\x05")), TIMING.extended_ns(5))


def test_an_answer_without_end_is_given_up() -> None:
    wire = Wire(TclReader(TIMING, 256), TclCard(256), lambda _command: bytes(70_000), VirtualClock())
    assert wire.transmit(bytes(4)) == Broken(Failure.PROTOCOL)


def test_calls_out_of_turn_are_refused() -> None:
    card, device = TclCard(FRAME), TclReader(TIMING, FRAME)
    with pytest.raises(LocalProtocolError):
        card.answer(b"\x90\x00")
    with pytest.raises(LocalProtocolError):
        card.extend(1)
    with pytest.raises(LocalProtocolError):
        device.time_out()
    assert isinstance(card.receive(device.exchange(b"\x00").data), Command)
    with pytest.raises(LocalProtocolError):
        card.extend(60)
    assert isinstance(card.extend(59), Reply)


def play(exchanges: int, seed: int, loss: float, damaged: float) -> dict[str, int]:
    random = Random(seed)
    counts = dict.fromkeys(("answered", "broken", "wrong", "twice"), 0)
    noise = Noise(random, loss, damaged)
    while sum(counts.values()) < exchanges:
        kind, size, cid = random.choice(tuple(ContactlessType)), random.choice((16, 64, 256)), random.choice((None, 1))
        application = Application()
        device = TclReader(TIMING, size, kind=kind, cid=cid)
        wire = Wire(
            device,
            TclCard(size, kind=kind, cid=cid or 0),
            application,
            VirtualClock(),
            disturbance=noise,
            extension=lambda _work: random.choice((0, 0, 0, 1)),
        )
        while device.state is not State.DESELECTED and sum(counts.values()) < exchanges:
            command = random.randbytes(random.choice((4, 5, 20, 60, 200)))
            application.executed.clear()
            result = wire.transmit(command)
            if application.executed not in ([], [command]):
                counts["twice"] += 1
            elif isinstance(result, Broken):
                counts["broken"] += 1
            else:
                counts["answered" if result.response == application.answer_to(command) else "wrong"] += 1
    return counts


@pytest.mark.parametrize(("loss", "damaged"), [(0.02, 0.02), (0.10, 0.10), (0.25, 0.0), (0.0, 0.25)])
def test_noise_never_makes_a_wrong_answer(loss: float, damaged: float) -> None:
    counts = play(2500, 14443, loss, damaged)
    assert (counts["wrong"], counts["twice"]) == (0, 0)
    assert counts["answered"] > 800


@pytest.mark.long
def test_noise_never_makes_a_wrong_answer_in_100000_exchanges() -> None:
    counts = play(100_000, 14443, 0.05, 0.05)
    assert (counts["wrong"], counts["twice"]) == (0, 0)
    assert counts["answered"] > 90_000


@settings(max_examples=150, deadline=None)
@given(
    faults=st.dictionaries(st.integers(0, 40), st.sampled_from(Fault), max_size=12),
    lengths=st.lists(st.integers(4, 100), min_size=1, max_size=4),
    waits=st.integers(0, 3),
)
def test_any_pattern_of_loss_and_damage_ends_right_or_clean(
    faults: dict[int, Fault], lengths: list[int], waits: int
) -> None:
    application = Application()
    wire = Wire(
        TclReader(TIMING, FRAME),
        TclCard(FRAME),
        application,
        VirtualClock(),
        disturbance=Script(faults, describe),
        extension=lambda _work: waits,
    )
    for number, length in enumerate(lengths):
        command = bytes((number,)) * length
        application.executed.clear()
        result = wire.transmit(command)
        assert application.executed in ([], [command])
        if isinstance(result, Broken):
            break
        assert result.response == application.answer_to(command)
