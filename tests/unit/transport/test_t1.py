"""T=1: both sides against each other, undisturbed, in the scenes of the standard, and under noise."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.hardware.clock import VirtualClock
from card_os.transport.events import Broken, Command, Completed, Failure, Granted, LocalProtocolError, Reply, Transmit
from card_os.transport.parameters import LineParameters
from card_os.transport.t1_blocks import (
    Block,
    ErrorIndication,
    Framing,
    InvalidBlock,
    Supervisory,
    information_block,
    ready_block,
)
from card_os.transport.t1_card import T1Card
from card_os.transport.t1_reader import MAX_ATTEMPTS, State, T1Reader
from card_os.transport.wire import Wire
from tests.unit.transport.error_play import Application, Fault, Noise, Script

PARAMETERS = LineParameters((1,), ifsc=32)
L, D = Fault.LOST, Fault.DAMAGED


def describe(data: bytes) -> str:
    return repr(Framing().decode(data))


def reader(parameters: LineParameters = PARAMETERS, ifsd: int = 32) -> T1Reader:
    return T1Reader(parameters, parameters.timing(), ifsd=ifsd)


@pytest.mark.parametrize(
    ("block", "raw"),
    [
        (information_block(0, False, b"\x00\xa4\x04\x00"), "00 00 04 00A40400 A4"),
        (information_block(1, True, b"\x01"), "00 60 01 01 60"),
        (ready_block(0, ErrorIndication.NONE), "00 80 00 80"),
        (ready_block(1, ErrorIndication.CHECK), "00 91 00 91"),
        (ready_block(1, ErrorIndication.OTHER), "00 92 00 92"),
        (Block(Supervisory.RESYNC_REQUEST), "00 C0 00 C0"),
        (Block(Supervisory.IFS_REQUEST, b"\xfe"), "00 C1 01 FE 3E"),
        (Block(Supervisory.ABORT_REQUEST), "00 C2 00 C2"),
        (Block(Supervisory.WTX_RESPONSE, b"\x02"), "00 E3 01 02 E0"),
    ],
)
def test_blocks_are_coded_as_in_11_3(block: Block, raw: str) -> None:
    assert Framing().encode(block) == bytes.fromhex(raw)
    assert Framing().decode(bytes.fromhex(raw)) == block


@pytest.mark.parametrize(
    ("raw", "indication"),
    [
        ("00 00 00 01", ErrorIndication.CHECK),  # LRC
        ("00 00 02 01 03", ErrorIndication.CHECK),  # shorter than LEN
        ("00 00 00 00 00", ErrorIndication.CHECK),  # longer than LEN
        ("00 01 00 01", ErrorIndication.OTHER),  # b1 of an I-block
        ("00 83 00 83", ErrorIndication.OTHER),  # error 3
        ("00 A0 00 A0", ErrorIndication.OTHER),  # b6 of an R-block
        ("00 80 01 00 81", ErrorIndication.OTHER),  # R-block with information
        ("00 C4 00 C4", ErrorIndication.OTHER),  # S-block of no type
        ("00 C1 00 C1", ErrorIndication.OTHER),  # IFS without a size
        ("00 C1 01 00 C0", ErrorIndication.OTHER),  # IFS 00
        ("00 C1 01 FF 3F", ErrorIndication.OTHER),  # IFS FF
        ("00 C3 01 00 C2", ErrorIndication.OTHER),  # WTX 00
        ("00 C0 01 00 C1", ErrorIndication.OTHER),  # RESYNCH with a value
        ("21 00 00 21", ErrorIndication.OTHER),  # another node
    ],
)
def test_blocks_without_meaning_are_refused(raw: str, indication: ErrorIndication) -> None:
    with pytest.raises(InvalidBlock) as caught:
        Framing().decode(bytes.fromhex(raw))
    assert caught.value.indication is indication


@pytest.mark.parametrize(
    "raw", ["00 C1 01 FE 54 4E", "00 E1 01 FE 57 75", "00 90 00 20 6E", "00 80 00 B5 FF", "00 00 05 00A4000000 B8 DA"]
)
def test_the_crc_of_a_block_is_that_of_readers_in_the_field(raw: str) -> None:
    """Blocks that a CCID driver and TPDU readers exchanged with a card whose ATR asks for CRC."""
    framing, block = Framing(crc=True), bytes.fromhex(raw)
    assert framing.encode(framing.decode(block)) == block
    damaged = block[:-1] + bytes((block[-1] ^ 1,))
    with pytest.raises(InvalidBlock):
        framing.decode(damaged)


def test_node_addresses_are_exchanged_in_answers() -> None:
    device, card = Framing(nad=0x21), Framing(nad=0x12)
    assert card.decode(device.encode(Block(0x80))).nad == 0x21
    with pytest.raises(ValueError, match="differ"):
        Framing(nad=0x22)


@pytest.mark.parametrize("crc", [False, True])
@pytest.mark.parametrize("ifsc", [1, 32, 254])
@pytest.mark.parametrize("ifsd", [1, 32, 254])
@pytest.mark.parametrize("length", [4, 32, 33, 254, 255, 600])
def test_any_length_travels_in_any_block_size(crc: bool, ifsc: int, ifsd: int, length: int) -> None:
    parameters = LineParameters((1,), ifsc=ifsc, crc=crc)
    application = Application()
    wire = Wire(reader(parameters, ifsd), T1Card(parameters), application, VirtualClock())
    for seed in range(3):
        command = Random(seed).randbytes(length)
        assert wire.transmit(command) == Completed(application.answer_to(command))
    assert len(application.executed) == 3


def test_after_resynchronization_the_next_command_gets_its_answer() -> None:
    script = Script({1: L, 3: L, 5: L}, describe)
    application = Application()
    wire = Wire(reader(), T1Card(PARAMETERS), application, VirtualClock(), disturbance=script)
    assert wire.transmit(b"lost") == Broken(Failure.RESYNCHRONIZED)
    assert wire.transmit(b"next") == Completed(application.answer_to(b"next"))
    assert script.sent[-2:] == ["> I(0,0)", "< I(0,0)"]


def test_what_a_silent_card_costs_is_the_attempts_times_the_block_waiting_time() -> None:
    clock = VirtualClock()
    wire = Wire(reader(), T1Card(PARAMETERS), Application(), clock, disturbance=lambda _way, _data: b"")
    assert wire.transmit(b"\x00\xa4\x04\x00") == Broken(Failure.MUTE)
    assert clock.now_ns == 2 * MAX_ATTEMPTS * PARAMETERS.timing().bwt_ns


def test_a_chain_too_long_for_the_card_is_aborted_and_the_next_command_works() -> None:
    script = Script({}, describe)
    wire = Wire(reader(), T1Card(PARAMETERS, max_command=40), Application(), VirtualClock(), disturbance=script)
    assert wire.transmit(bytes(100)) == Broken(Failure.ABORTED)
    assert script.sent[2:] == ["> I(1,1)", "< S(ABORT_REQUEST)", "> S(ABORT_RESPONSE)", "< R(0,0)"]
    assert isinstance(wire.transmit(bytes(4)), Completed)


@pytest.mark.parametrize("fault", [L, D])
@pytest.mark.parametrize("at", range(3, 6))
def test_an_abort_survives_errors(fault: Fault, at: int) -> None:
    script = Script({at: fault}, describe)
    wire = Wire(reader(), T1Card(PARAMETERS, max_command=40), Application(), VirtualClock(), disturbance=script)
    assert wire.transmit(bytes(100)) == Broken(Failure.ABORTED)
    assert isinstance(wire.transmit(bytes(4)), Completed)


@pytest.mark.parametrize("fault", [None, L, D])
@pytest.mark.parametrize("back", [1, 2])
def test_an_answer_without_end_is_aborted_by_the_reader(fault: Fault | None, back: int) -> None:
    parameters = LineParameters((1,), ifsc=254)
    count = 2 + 2 * 259  # the 259th block of 254 bytes passes the longest message
    script = Script({} if fault is None else {count - back: fault}, describe)
    answers = iter((bytes(70_000), b"\x90\x00"))
    wire = Wire(
        reader(parameters, 254), T1Card(parameters), lambda _c: next(answers), VirtualClock(), disturbance=script
    )
    assert wire.transmit(bytes(4)) == Broken(Failure.ABORTED)
    assert wire.transmit(bytes(4)) == Completed(b"\x90\x00")


@pytest.mark.clause(
    "ISO/IEC 7816-3, 11.6.3.2 (rule 7.4.1): two more attempts before a resynchronization, of every block"
)
@pytest.mark.parametrize("request_before", ["", "00 C1 01 20 E0", "00 C3 01 01 C3"], ids=["none", "IFS", "WTX"])
def test_a_request_of_the_card_takes_no_attempt_away(request_before: str) -> None:
    device = reader()
    sent: object = device.exchange(bytes(4))
    if request_before:
        sent = device.receive(bytes.fromhex(request_before))
    attempts = 0
    while isinstance(sent, Transmit) and sent.data[1] != 0xC0:  # S(RESYNCH request)
        sent = device.receive(bytes.fromhex("00 00 00 FF"))
        attempts += 1
    assert isinstance(sent, Transmit)
    assert attempts == 3


def test_the_card_can_ask_for_greater_blocks() -> None:
    card, device = T1Card(PARAMETERS), reader()
    sent = device.exchange(bytes(4))
    assert card.receive(sent.data) == Command(bytes(4))
    granted = device.receive(card.announce_ifsc(200).data)
    assert isinstance(granted, Transmit)
    assert card.receive(granted.data) == Granted()
    assert (card.ifsc, device.ifsc) == (200, 200)


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        ("00 40 00 40", "N(S) not in turn"),
        ("00 E3 01 01 E3", "a response nobody asked for"),
        ("00 C3 01 01 C3", "WTX is the card's to ask for"),
        ("00 C2 00 C2", "no chain to abort"),
        ("00 E0 00 E0", "RESYNCH response from a reader"),
    ],
)
def test_the_card_answers_what_makes_no_sense_with_an_r_block(raw: str, rule: str) -> None:
    expected = Framing().encode(ready_block(0, ErrorIndication.OTHER))
    assert T1Card(PARAMETERS).receive(bytes.fromhex(raw)) == Reply(expected), rule


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        ("00 40 00 40", "N(S) not in turn"),
        ("00 C0 00 C0", "RESYNCH is the reader's"),
        ("00 E1 01 20 C0", "a response nobody asked for"),
        ("00 C2 00", "cut short"),
    ],
)
def test_the_reader_answers_what_makes_no_sense_with_an_r_block(raw: str, rule: str) -> None:
    device = reader()
    device.exchange(bytes(4))
    event = device.receive(bytes.fromhex(raw)) or device.time_out()
    assert isinstance(event, Transmit), rule
    assert describe(event.data) in {"R(0,2)", "R(0,1)"}


def test_a_block_that_repeats_itself_late_is_recognised_by_its_number() -> None:
    """One late duplicate; two behind cannot be told (docs/transport.md)."""
    card, device = T1Card(PARAMETERS), reader()
    card.receive(device.exchange(b"one!").data)
    first = card.answer(b"1").data
    assert device.receive(first) == Completed(b"1")
    card.receive(device.exchange(b"two!").data)
    event = device.receive(first)
    assert isinstance(event, Transmit)
    assert describe(event.data) == "R(1,2)"


def test_a_repeated_command_is_not_executed_again() -> None:
    """11.6.3.2, rule 7.1: a block out of sequence is an invalid block."""
    card, device = T1Card(PARAMETERS), reader()
    sent = device.exchange(bytes(4)).data
    assert card.receive(sent) == Command(bytes(4))
    assert device.receive(card.answer(b"\x90\x00").data) == Completed(b"\x90\x00")
    assert card.receive(sent) == Reply(Framing().encode(ready_block(1, ErrorIndication.OTHER)))


def test_a_block_that_is_not_answered_in_time_costs_one_attempt_only() -> None:
    """A late answer that nobody waits for any more is asked for again, and is the same."""
    card, device = T1Card(PARAMETERS), reader()
    card.receive(device.exchange(bytes(4)).data)
    late = card.answer(b"\x90\x00")
    again = device.time_out()
    assert isinstance(again, Transmit)
    assert card.receive(again.data) == late
    assert device.receive(late.data) == Completed(b"\x90\x00")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.integers(0, 30), st.sampled_from(Fault)))
def test_no_error_takes_more_attempts_than_the_standard_allows(faults: dict[int, Fault]) -> None:
    """One block each way: three attempts, then three at RESYNCH (11.6.3.2, rules 6.4 and 7.4)."""
    script = Script(faults, describe)
    Wire(reader(), T1Card(PARAMETERS), Application(), VirtualClock(), disturbance=script).transmit(bytes(4))
    sent = [block for block in script.sent if block.startswith(">")]
    assert sum("RESYNC" not in block for block in sent) <= MAX_ATTEMPTS
    assert sum("RESYNC" in block for block in sent) <= MAX_ATTEMPTS


def test_bytes_may_come_one_at_a_time_and_parity_errors_ask_again() -> None:
    card, device = T1Card(PARAMETERS), reader()
    sent = device.exchange(bytes(4)).data
    assert [card.receive(bytes((byte,))) for byte in sent[:-1]] == [None] * (len(sent) - 1)
    assert card.receive(sent[-1:]) == Command(bytes(4))
    event = device.receive(card.answer(b"\x90\x00").data, parity_error=True)
    assert isinstance(event, Transmit)
    assert describe(event.data) == "R(0,1)"


def test_a_mute_card_asks_no_more_than_three_times() -> None:
    card = T1Card(PARAMETERS)
    replies = [card.receive(b"\x00\x00\x00\x01") for _ in range(MAX_ATTEMPTS + 1)]
    assert [reply is None for reply in replies] == [False] * MAX_ATTEMPTS + [True]
    assert card.receive(Framing().encode(Block(Supervisory.RESYNC_REQUEST))) == Reply(b"\x00\xe0\x00\xe0")


def test_calls_out_of_turn_are_refused() -> None:
    card, device = T1Card(PARAMETERS), reader()
    with pytest.raises(LocalProtocolError):
        card.answer(b"\x90\x00")
    with pytest.raises(LocalProtocolError):
        card.extend(1)
    with pytest.raises(LocalProtocolError):
        device.receive(b"\x00")
    device.exchange(bytes(4))
    with pytest.raises(LocalProtocolError):
        device.exchange(bytes(4))


def play(exchanges: int, seed: int, loss: float, damaged: float) -> dict[str, int]:
    """Random commands under noise; returns how the exchanges ended. A card that has to be reset is reset."""
    random = Random(seed)
    counts = dict.fromkeys(("answered", "broken", "wrong", "twice"), 0)
    noise = Noise(random, loss, damaged)
    while sum(counts.values()) < exchanges:
        parameters = LineParameters((1,), ifsc=random.choice((16, 32, 254)), crc=random.random() < 0.5)
        application = Application()
        device = reader(parameters, random.choice((16, 32, 254)))
        card = T1Card(parameters)
        wire = Wire(
            device,
            card,
            application,
            VirtualClock(),
            disturbance=noise,
            extension=lambda _work: random.choice((0, 0, 0, 1)),
        )
        while device.state is not State.DEAD and sum(counts.values()) < exchanges:
            command = random.randbytes(random.choice((4, 5, 20, 60, 200)))
            application.executed.clear()
            result = wire.transmit(command)
            if len(application.executed) > 1 or application.executed not in ([], [command]):
                counts["twice"] += 1
            elif isinstance(result, Broken):
                counts["broken"] += 1
            else:
                counts["answered" if result.response == application.answer_to(command) else "wrong"] += 1
    return counts


@pytest.mark.parametrize(("loss", "damaged"), [(0.02, 0.02), (0.10, 0.10), (0.25, 0.0), (0.0, 0.25)])
def test_noise_never_makes_a_wrong_answer(loss: float, damaged: float) -> None:
    counts = play(2500, 7816, loss, damaged)
    assert (counts["wrong"], counts["twice"]) == (0, 0)
    assert counts["answered"] > 800


@pytest.mark.long
def test_noise_never_makes_a_wrong_answer_in_100000_exchanges() -> None:
    counts = play(100_000, 11_6, 0.05, 0.05)
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
    device = reader()
    script = Script(faults, describe)
    wire = Wire(
        device, T1Card(PARAMETERS), application, VirtualClock(), disturbance=script, extension=lambda _work: waits
    )
    for number, length in enumerate(lengths):
        command = bytes((number,)) * length
        application.executed.clear()
        result = wire.transmit(command)
        assert application.executed in ([], [command])
        if isinstance(result, Completed):
            assert result.response == application.answer_to(command)
        elif result.needs_reset:
            break
