"""A trace as a card, a trace as a reader, and two traces side by side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from card_os.hardware.image import NvmImage
from permitcard.products import boot, permit_profile
from permitcard.specimen import HOLDER_PIN, make_specimen
from personalization.terminal.holder import HolderSession
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import Wrapper
from reader_bridge.trace.comparison import compare_with_card, trace_difference
from reader_bridge.trace.record import Entry, Header, Hidden, Kind, Octets, Trace
from reader_bridge.trace.recorder import EVERYTHING_HIDDEN, TraceRecorder
from reader_bridge.trace.replay import ReplayConnection

SELECT = bytes.fromhex("00A4040007F05A4A4A5A010100")
CHALLENGE = bytes.fromhex("0084000010")
READ = bytes.fromhex("00B0810000")


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    card, _ = make_specimen()
    with card:
        return card.image.snapshot()


@pytest.fixture
def card(snapshot: bytes) -> Iterator[SimulatedCard]:
    with SimulatedCard(NvmImage.from_snapshot(snapshot), boot) as card:
        yield card


def use(connection: CardConnection) -> bytes:
    """What a holder's program does."""
    session = HolderSession.open(connection, permit_profile())
    session.verify(HOLDER_PIN)
    return session.read("EF.IDENTITY")


def record(card: SimulatedCard, hidden: Hidden = Hidden.NOTHING, interface: Interface = Interface.CONTACT) -> Trace:
    recorder = TraceRecorder(hidden)
    with recorder.watch(card.connect(interface)) as connection:
        connection.transmit(SELECT)
        connection.transmit(CHALLENGE)
        connection.transmit(READ)
        if interface is Interface.CONTACT:
            use(connection)
    return recorder.trace()


@pytest.mark.parametrize("strict", [False, True])
def test_a_program_cannot_tell_the_trace_from_the_card(card: SimulatedCard, strict: bool) -> None:
    trace = record(card)
    with card.connect() as connection:
        expected = use(connection)
    with ReplayConnection(trace, strict=strict) as replayed:
        assert replayed.description.answer == trace.header.answer
        if strict:
            for command in (SELECT, CHALLENGE, READ):
                replayed.transmit(command)
        assert use(replayed) == expected
        assert replayed.finished or not strict
        assert replayed.unknown == 0


def test_a_strict_replay_takes_nothing_else(card: SimulatedCard) -> None:
    trace = record(card)
    with ReplayConnection(trace, strict=True) as replayed:
        replayed.transmit(SELECT)
        with pytest.raises(ReaderError, match="replay-differs") as caught:
            replayed.transmit(READ)
        assert caught.value.parameters["number"] == 2
        assert caught.value.parameters["expected"] == "00840000"
        commands = [entry.sent.data for entry in trace.exchanges() if entry.kind is Kind.APDU]
        for command in commands[1:]:
            replayed.transmit(command)
        with pytest.raises(ReaderError, match="replay-over"):
            replayed.transmit(SELECT)


def test_a_tolerant_replay_looks_ahead_and_begins_again(card: SimulatedCard) -> None:
    trace = record(card)
    with ReplayConnection(trace) as replayed:
        assert replayed.transmit(READ) == b"\x69\x82"
        assert replayed.transmit(SELECT).endswith(b"\x90\x00")
        assert replayed.transmit(READ) == b"\x69\x82"  # from the beginning again
        assert replayed.transmit(b"\x00\xb0\x85\x00\x01") == b"\x6f\x00"
        assert replayed.unknown == 1


def test_a_tolerant_replay_takes_other_random_bytes() -> None:
    authenticate = bytes.fromhex("0082008110")
    entry = Entry(Kind.APDU, Octets(authenticate + bytes(16)), Octets(b"\x90\x00"))
    trace = Trace(Header(answer=b"\x3b\x00"), (entry,))
    with ReplayConnection(trace) as tolerant, ReplayConnection(trace, strict=True) as strict:
        assert tolerant.transmit(authenticate + b"\x01" * 16) == b"\x90\x00"
        with pytest.raises(ReaderError, match="replay-differs"):
            strict.transmit(authenticate + b"\x01" * 16)


def test_a_hidden_command_is_taken_and_a_hidden_answer_is_not_made_up(card: SimulatedCard) -> None:
    with ReplayConnection(record(card, Hidden.SECRETS)) as replayed:
        assert use(replayed)
    with pytest.raises(ReaderError, match="trace-hidden"):
        ReplayConnection(record(card, EVERYTHING_HIDDEN))


def test_failures_of_the_trace_are_failures_of_the_replay() -> None:
    trace = Trace(Header(answer=b"\x3b\x00"), (Entry(Kind.APDU, Octets(SELECT), failure="card-removed"),))
    with ReplayConnection(trace) as replayed, pytest.raises(ReaderError, match="replay-failure") as caught:
        replayed.transmit(SELECT)
    assert caught.value.parameters["failure"] == "card-removed"


def test_an_empty_trace_and_a_card_without_power_are_told(card: SimulatedCard) -> None:
    with pytest.raises(ReaderError, match="trace-empty"):
        ReplayConnection(Trace(Header()))
    with pytest.raises(ReaderError, match="mute"):
        ReplayConnection(record(card)).transmit(SELECT)


class Spoilt(Wrapper):
    """Changes one byte of the answers that are longer than a status word."""

    __slots__ = ("at",)

    def __init__(self, inner: CardConnection, at: int) -> None:
        super().__init__(inner)
        self.at = at

    def transmit(self, command: bytes) -> bytes:
        answer = bytearray(self.inner.transmit(command))
        if len(answer) > 20:
            answer[self.at] ^= 1
        return bytes(answer)


def test_the_card_of_a_trace_shows_no_difference(card: SimulatedCard) -> None:
    comparison = compare_with_card(record(card), card.connect())
    assert comparison.differences == ()
    assert comparison.sent >= 5
    assert comparison.skipped == 0


def test_challenges_are_let_be_unless_strict(card: SimulatedCard) -> None:
    trace = record(card)
    strict = compare_with_card(trace, card.connect(), strict=True)
    assert [(found.number, found.where) for found in strict.differences] == [(3, "data")]


@pytest.mark.parametrize(("at", "where", "offset"), [(3, "data", 3), (-1, "status", 0)])
def test_the_first_difference_is_named(card: SimulatedCard, at: int, where: str, offset: int) -> None:
    comparison = compare_with_card(record(card), Spoilt(card.connect(), at))
    (found,) = comparison.differences
    assert (found.number, found.where, found.offset) == (2, where, offset)
    assert found.command.startswith("00A40400 07")
    assert found.expected != found.found
    more = compare_with_card(record(card), Spoilt(card.connect(), at), keep_going=True)
    assert len(more.differences) > 1


def test_hidden_commands_are_not_sent_and_hidden_answers_not_compared(card: SimulatedCard) -> None:
    comparison = compare_with_card(record(card, EVERYTHING_HIDDEN), card.connect(), keep_going=True)
    assert comparison.skipped == 1
    assert all(found.where in {"status", "length"} for found in comparison.differences)  # VERIFY was left out


def test_another_card_is_seen_by_its_answer_to_reset(card: SimulatedCard) -> None:
    class Other(Wrapper):
        __slots__ = ()

        def power_on(self) -> bytes:
            self.inner.power_on()
            return b"\x3b\x00"

    comparison = compare_with_card(record(card), Other(card.connect()))
    assert [(found.number, found.where) for found in comparison.differences] == [(1, "answer")]


def test_a_card_that_goes_is_a_difference(card: SimulatedCard) -> None:
    class Gone(Wrapper):
        __slots__ = ()

        def transmit(self, command: bytes) -> bytes:
            raise ReaderError("card-removed", reader="double")

    (found,) = compare_with_card(record(card), Gone(card.connect())).differences
    assert (found.where, found.found) == ("failure", "card-removed")


def test_two_recordings_of_the_same_differ_in_nothing_but_what_varies(card: SimulatedCard) -> None:
    one, other = record(card), record(card)
    assert list(trace_difference(one, other)) == []
    assert any("00840000" in line for line in trace_difference(one, other, strict=True))


def test_another_interface_and_another_answer_are_shown(card: SimulatedCard) -> None:
    one, other = record(card), record(card, interface=Interface.CONTACTLESS)
    lines = list(trace_difference(one, other))
    assert lines[0].startswith("- answer 3B")
    assert any(line.startswith("@@ entry 5 / 5 @@") for line in lines)


def test_the_description_of_a_replay_is_that_of_the_trace(card: SimulatedCard) -> None:
    trace = record(card, interface=Interface.CONTACTLESS)
    description: ConnectionDescription = ReplayConnection(trace).description
    assert (description.interface, description.protocol) == (Interface.CONTACTLESS, Protocol7816.TCL)
    assert description.simulated
