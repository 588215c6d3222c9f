"""Activation of both types: anticollision among cards, selection, and what errors lead to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.answers import DEFAULT_ATS
from card_os.hardware.clock import VirtualClock
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.atr import AnswerError, Ats
from card_os.transport import type_a_card, type_a_reader, type_b
from card_os.transport.events import Broken, Completed, Failure, LocalProtocolError
from card_os.transport.tcl_blocks import Block, BlockCodec, ContactlessType, Kind
from card_os.transport.type_a_frames import (
    Frame,
    anticollision_frame,
    cascade_levels,
    parse_anticollision,
    superpose,
)
from card_os.transport.wire import Wire
from tests.unit.transport.error_play import Application

ATS = Ats.parse(DEFAULT_ATS)
UID4, UID7, UID10 = bytes.fromhex("08112233"), bytes.fromhex("04AABBCCDDEEFF"), bytes(range(1, 11))


def card(uid: bytes = UID4, ats: Ats = ATS) -> type_a_card.TypeACard:
    return type_a_card.TypeACard(uid, ats)


def activate(
    reader: type_a_reader.TypeAReader,
    cards: Sequence[type_a_card.TypeACard],
    lose: Callable[[], bool] = lambda: False,
) -> type_a_reader.ActivationEvent:
    """Carry frames between a reader and all cards in its field."""
    event: type_a_reader.ActivationEvent = reader.start()
    while isinstance(event, type_a_reader.Send):
        frame = event.frame
        answers = [] if lose() else [answer for one in cards if (answer := deliver(one, frame)) is not None]
        event = reader.time_out() if not answers or lose() else reader.receive(*superpose(answers))
    return event


def deliver(one: type_a_card.TypeACard, frame: Frame) -> Frame | None:
    answer = one.receive(frame)
    if answer is None and one.protocol is not None and frame.bits == 8 * len(frame.data):
        one.protocol.receive(frame.data)
    return answer


def test_a_card_of_four_bytes_goes_through_the_states_of_6_4() -> None:
    one = card()
    assert one.receive(Frame.short(0x26)) == Frame.standard(b"\x04\x00")
    assert one.receive(anticollision_frame(0x93, 0, 0)) == Frame.standard(UID4 + b"\x08")
    assert one.receive(Frame.checked(bytes.fromhex("9370") + UID4 + b"\x08")) == Frame.checked(b"\x20")
    states = [one.state.value]
    assert one.receive(Frame.checked(b"\xe0\x81")) == Frame.checked(DEFAULT_ATS)
    assert [*states, one.state.value] == ["ACTIVE", "PROTOCOL"]


@pytest.mark.parametrize(("uid", "atqa"), [(UID4, "0400"), (UID7, "4400"), (UID10, "8400")])
def test_every_length_of_uid_is_found(uid: bytes, atqa: str) -> None:
    one = card(uid)
    assert one.atqa == bytes.fromhex(atqa)
    event = activate(type_a_reader.TypeAReader(cid=3), [one])
    assert event == type_a_reader.Selected(uid, ATS, 3)


def test_cascade_levels_are_those_of_6_5_4() -> None:
    assert cascade_levels(UID7) == (bytes.fromhex("8804AABB9D"), bytes.fromhex("CCDDEEFF00"))
    with pytest.raises(ValueError, match="4, 7 or 10"):
        cascade_levels(b"\x01")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=4, max_size=4).filter(lambda u: u[0] != 0x88), min_size=1, max_size=6, unique=True))
def test_one_of_several_cards_is_selected(uids: list[bytes]) -> None:
    cards = [card(uid) for uid in uids]
    event = activate(type_a_reader.TypeAReader(), cards)
    assert isinstance(event, type_a_reader.Selected)
    assert event.uid in uids
    assert [one.state is type_a_card.State.PROTOCOL for one in cards].count(True) == 1


@given(st.integers(0, 39), st.integers(0, (1 << 40) - 1))
def test_anticollision_frames_keep_their_bits(count: int, bits: int) -> None:
    known = bits & (1 << count) - 1
    assert parse_anticollision(anticollision_frame(0x95, known, count)) == (0x95, known, count)


@pytest.mark.parametrize(
    "frame",
    [
        Frame.standard(bytes.fromhex("9720")),  # a level that is not reached
        Frame.standard(bytes.fromhex("9310")),  # NVB below 2 bytes
        Frame.standard(bytes.fromhex("9328")),  # NVB of eight loose bits
        Frame.standard(bytes.fromhex("9330FF")),  # another card
        Frame.checked(bytes.fromhex("93700000000000")),  # SELECT of another card
        Frame.standard(bytes.fromhex("9370") + UID4 + b"\x08\x00\x00"),  # CRC
    ],
)
def test_a_ready_card_goes_back_when_the_frame_is_not_for_it(frame: Frame) -> None:
    one = card()
    one.receive(Frame.short(0x26))
    assert one.receive(frame) is None
    assert one.state.value == "IDLE"


def test_a_halted_card_answers_wupa_only() -> None:
    one = card()
    for frame in (Frame.short(0x26), Frame.checked(bytes.fromhex("9370") + UID4 + b"\x08"), Frame.checked(b"\x50\x00")):
        one.receive(frame)
    states = [one.state.value]
    assert one.receive(Frame.short(0x26)) is None
    assert one.receive(Frame.short(0x52)) is not None
    states.append(one.state.value)
    assert one.receive(Frame.checked(b"\xe0\x80")) is None
    assert [*states, one.state.value] == ["HALT", "READY*", "HALT"]


@pytest.mark.parametrize("payload", ["E08F", "E0", "E08000", "D011"])
def test_an_active_card_takes_nothing_but_rats(payload: str) -> None:
    one = card()
    one.receive(Frame.short(0x26))
    one.receive(Frame.checked(bytes.fromhex("9370") + UID4 + b"\x08"))
    assert one.receive(Frame.checked(bytes.fromhex(payload))) is None
    assert one.state.value == "IDLE"


@pytest.mark.parametrize(
    ("rates", "payload", "accepted"),
    [
        (0x77, "D0110F", True),
        (0x77, "D01101", True),
        (0x77, "D001", True),
        (0x77, "D11100", False),  # another CID
        (0x77, "D01110", False),  # reserved bits
        (0x77, "D00F", False),  # PPS0
        (0x00, "D01101", False),  # a rate that the ATS does not announce
        (0x91, "D01104", False),  # both directions at the same rate only
        (0x91, "D01105", True),
    ],
)
def test_rates_are_changed_as_announced_and_once(rates: int, payload: str, accepted: bool) -> None:
    one = card(ats=Ats(rates=rates))
    assert isinstance(activate(type_a_reader.TypeAReader(), [one]), type_a_reader.Selected)
    answer = one.receive(Frame.checked(bytes.fromhex(payload)))
    assert answer == (Frame.checked(b"\xd0") if accepted else None)
    assert one.receive(Frame.checked(b"\xd0\x01")) is None


def test_after_a_block_no_rates_are_changed() -> None:
    """ISO/IEC 14443-4:2018, 5.6.2.2: a valid block ends the time of PPS; a damaged one, or a stranger's, is none."""
    codec = BlockCodec(ContactlessType.A)
    for block, answered in (
        (codec.encode(Block(Kind.INFORMATION, 0)), False),
        (codec.encode(Block(Kind.NAK, 0)), False),
        (codec.encode(Block(Kind.INFORMATION, 0, cid=3)), True),
        (codec.encode(Block(Kind.INFORMATION, 0))[:-1], True),
    ):
        one = card()
        assert isinstance(activate(type_a_reader.TypeAReader(), [one]), type_a_reader.Selected)
        assert one.protocol is not None
        one.protocol.receive(block)
        answer = one.receive(Frame.checked(bytes.fromhex("D01105")))
        assert answer == (Frame.checked(b"\xd0") if answered else None)


@pytest.mark.parametrize("lost", range(8))
@pytest.mark.parametrize("cid", [0, 3])
def test_an_activation_survives_a_lost_frame(lost: int, cid: int) -> None:
    numbers = iter(range(100))
    one = card()
    event = activate(type_a_reader.TypeAReader(cid=cid), [one], lambda: next(numbers) == lost)
    assert isinstance(event, type_a_reader.Selected)
    assert one.state.value == "PROTOCOL"


def test_an_empty_field_is_given_up_after_three_attempts() -> None:
    assert activate(type_a_reader.TypeAReader(), []) == Broken(Failure.MUTE)
    with pytest.raises(LocalProtocolError):
        type_a_reader.TypeAReader().receive(Frame.standard(b"\x04\x00"))


def test_a_card_without_the_block_protocol_is_told_apart() -> None:
    reader = type_a_reader.TypeAReader()
    reader.start()
    reader.receive(Frame.standard(b"\x04\x00"))
    reader.receive(Frame.standard(UID4 + b"\x08"))
    assert reader.receive(Frame.checked(b"\x08")) == type_a_reader.NotSupported(UID4, 0x08)


@pytest.mark.parametrize("cid", [True, False])
def test_the_card_does_what_its_ats_announces(cid: bool) -> None:
    """ISO/IEC 14443-4:2018, 5.2.6 and 7.1.2.2: without CIDs the one of RATS means nothing."""
    one, application = card(ats=replace(ATS, cid=cid)), Application()
    selected = activate(type_a_reader.TypeAReader(cid=2), [one])
    assert isinstance(selected, type_a_reader.Selected)
    assert one.protocol is not None
    wire = Wire(selected.protocol(), one.protocol, application, VirtualClock())
    assert wire.transmit(bytes(500)) == Completed(application.answer_to(bytes(500)))


def test_a_deselected_card_is_halted_and_can_be_woken() -> None:
    one = card()
    selected = activate(type_a_reader.TypeAReader(), [one])
    assert isinstance(selected, type_a_reader.Selected)
    assert one.protocol is not None
    reader = selected.protocol()
    assert Wire(reader, one.protocol, Application(), VirtualClock()).run(reader.deselect()) == Completed(b"")
    assert one.receive(Frame.short(0x26)) is None
    assert one.receive(Frame.short(0x52)) is not None


# ---- type B


def card_b(seed: int = 1, **fields: int) -> type_b.TypeBCard:
    application = bytes((fields.get("afi", 0), 0, 0, 0))
    return type_b.TypeBCard(type_b.Atqb(Random(seed).randbytes(4), application), SeededRandomness(bytes((seed,)) * 16))


def activate_b(
    reader: type_b.TypeBReader, cards: Sequence[type_b.TypeBCard], lose: Callable[[], bool] = lambda: False
) -> type_b.ActivationEvent:
    event: type_b.ActivationEvent = reader.start()
    while isinstance(event, type_b.Send):
        frame = event.frame
        answers = [] if lose() else [answer for one in cards if (answer := one.receive(frame)) is not None]
        if not answers or lose():
            event = reader.time_out()
        else:
            event = reader.receive(answers[0] if len(answers) == 1 else b"\x00" * 14)
    return event


def test_type_b_is_activated_and_speaks_blocks() -> None:
    one, application = card_b(), Application()
    event = activate_b(type_b.TypeBReader(cid=1), [one])
    assert isinstance(event, type_b.Attributed)
    assert one.protocol is not None
    wire = Wire(event.protocol(), one.protocol, application, VirtualClock())
    assert wire.transmit(bytes(500)) == Completed(application.answer_to(bytes(500)))


def test_a_card_of_type_b_without_cids_works_with_a_reader_that_has_one_to_give() -> None:
    """14443-3:2018, 7.10 and 7.11: such a card gets and answers CID 0; 14443-4:2018, 7.1.2.2: its blocks have none."""
    atqb = type_b.Atqb(b"\x01\x02\x03\x04", cid=False)
    one, application = type_b.TypeBCard(atqb, SeededRandomness(bytes(16))), Application()
    event = activate_b(type_b.TypeBReader(cid=5), [one])
    assert event == type_b.Attributed(atqb, 0)
    assert one.protocol is not None
    wire = Wire(event.protocol(), one.protocol, application, VirtualClock())
    assert wire.transmit(bytes(500)) == Completed(application.answer_to(bytes(500)))
    one = type_b.TypeBCard(atqb, SeededRandomness(bytes(16)))
    one.receive(type_b.checked(b"\x05\x00\x00"))
    assert one.receive(type_b.checked(bytes.fromhex("1D 01020304 00 08 01 05"))) == type_b.checked(b"\x00")


def test_frames_of_type_b_are_those_of_clause_7() -> None:
    one = type_b.TypeBCard(type_b.Atqb(b"\x01\x02\x03\x04"), SeededRandomness(bytes(16)))
    assert one.receive(type_b.checked(b"\x05\x00\x00")) == type_b.checked(
        bytes.fromhex("50 01020304 00000000 00 81 81")
    )
    assert one.receive(type_b.checked(bytes.fromhex("1D 01020304 00 08 01 05"))) == type_b.checked(b"\x05")


def test_several_cards_of_type_b_share_slots() -> None:
    for seed in range(10):
        cards = [card_b(3 * seed + number) for number in range(3)]
        event = activate_b(type_b.TypeBReader(), cards)
        assert isinstance(event, type_b.Attributed)
        assert [one.state is type_b.CardState.PROTOCOL for one in cards].count(True) == 1


@pytest.mark.parametrize(
    ("asked", "own", "answers"), [(0x00, 0x21, True), (0x20, 0x21, True), (0x21, 0x21, True), (0x22, 0x21, False)]
)
def test_the_family_of_applications_decides_who_answers(asked: int, own: int, answers: bool) -> None:
    assert (card_b(afi=own).receive(type_b.checked(bytes((0x05, asked, 0)))) is not None) is answers


def test_hltb_halts_until_wupb() -> None:
    one = card_b()
    one.receive(type_b.checked(b"\x05\x00\x00"))
    assert one.receive(type_b.checked(b"\x50" + Random(1).randbytes(4))) == type_b.checked(b"\x00")
    assert one.receive(type_b.checked(b"\x05\x00\x00")) is None
    assert one.receive(type_b.checked(b"\x05\x00\x08")) is not None


@pytest.mark.parametrize(
    "frame",
    [
        b"\x05\x00\x00\x00\x00",  # CRC
        type_b.checked(b"\x05\x00\x07"),  # reserved number of slots
        type_b.checked(b"\x1d\x00\x00\x00\x00\x00\x08\x01\x00"),  # ATTRIB before REQB
        type_b.checked(b"\x15"),  # a slot marker nobody waits for
    ],
)
def test_what_is_not_for_an_idle_card_gets_no_answer(frame: bytes) -> None:
    assert card_b().receive(frame) is None


@pytest.mark.parametrize("lost", range(4))
def test_type_b_survives_a_lost_frame_or_says_so(lost: int) -> None:
    """An answer to ATTRIB that is lost leaves the card in the protocol: it hears no second ATTRIB."""
    numbers = iter(range(100))
    event = activate_b(type_b.TypeBReader(), [card_b()], lambda: next(numbers) == lost)
    assert event == Broken(Failure.MUTE) if lost == 3 else isinstance(event, type_b.Attributed)


def test_an_empty_field_of_type_b_is_given_up() -> None:
    assert activate_b(type_b.TypeBReader(), []) == Broken(Failure.MUTE)
    with pytest.raises(LocalProtocolError):
        type_b.TypeBReader().receive(b"")


@pytest.mark.parametrize("raw", ["", "50", "51" + "00" * 11, "50" + "00" * 13])
def test_what_is_no_atqb_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        type_b.Atqb.parse(bytes.fromhex(raw))


@given(
    st.builds(
        type_b.Atqb,
        st.binary(min_size=4, max_size=4),
        st.binary(min_size=4, max_size=4),
        st.integers(0, 255),
        st.integers(0, 8),
        st.integers(0, 14),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    )
)
def test_atqb_round_trip(atqb: type_b.Atqb) -> None:
    assert type_b.Atqb.parse(atqb.encode()) == atqb
