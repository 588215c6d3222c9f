"""Recording: at every level, in order, with times, and without what nobody may keep."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from card_os.hardware.clock import VirtualClock
from card_os.hardware.image import NvmImage
from card_os.transport.wire import Direction
from permitcard.products import boot
from permitcard.specimen import HOLDER_PIN, make_specimen
from permitcard.testing.target import Target
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import issuer_domain_keys
from personalization.terminal.holder import pin_block
from reader_bridge.connection import Interface, Protocol7816, ReaderError
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import standard_stack
from reader_bridge.trace.commands import COMMANDS, Holds, command_name, command_row
from reader_bridge.trace.hiding import Cover, Hiding
from reader_bridge.trace.record import Hidden, Kind, Trace
from reader_bridge.trace.recorder import EVERYTHING_HIDDEN, TraceRecorder
from reader_bridge.trace.text import to_text
from reader_bridge.wired import WiredConnection

SELECT = bytes.fromhex("00A4040007F05A4A4A5A010100")
VERIFY = bytes.fromhex("0020008108") + pin_block(HOLDER_PIN)
READ_IDENTITY = bytes.fromhex("00B0810000")
CITIZEN_NUMBER = b"11010519491231002X"
TODAY = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def snapshot() -> tuple[bytes, Target]:
    card, target = make_specimen()
    with card:
        return card.image.snapshot(), target


@pytest.fixture
def card(snapshot: tuple[bytes, Target]) -> Iterator[SimulatedCard]:
    with SimulatedCard(NvmImage.from_snapshot(snapshot[0]), boot) as card:
        yield card


def record_line(card: SimulatedCard, protocol: Protocol7816, hidden: Hidden) -> Trace:
    """A session of the holder, heard at three levels."""
    clock = VirtualClock()
    recorder = TraceRecorder(hidden, clock, today=lambda: TODAY)
    contactless = protocol is Protocol7816.TCL
    line = WiredConnection(
        card.card.contactless if contactless else card.card.contact,
        Interface.CONTACTLESS if contactless else Interface.CONTACT,
        protocol=protocol,
        clock=clock,
        disturbance=recorder.disturbance(),
        watch=recorder.line_seen,
    )
    with recorder.watch(standard_stack(recorder.watch(line, Kind.TPDU))) as connection:
        for command in (SELECT, VERIFY, READ_IDENTITY):
            connection.transmit(command)
    return recorder.trace()


@pytest.mark.parametrize("protocol", [Protocol7816.T0, Protocol7816.T1])
def test_each_level_is_written_down_in_the_order_of_its_beginnings(card: SimulatedCard, protocol: Protocol7816) -> None:
    trace = record_line(card, protocol, Hidden.NOTHING)
    kinds = [entry.kind for entry in trace.entries]
    assert kinds[0] is Kind.POWER_ON
    assert kinds[-1] is Kind.POWER_OFF
    assert kinds.count(Kind.APDU) == 3
    assert kinds.count(Kind.TPDU) >= 3
    for at, kind in enumerate(kinds):
        if kind is Kind.APDU:
            assert kinds[at + 1] is Kind.TPDU
            assert kinds[at + 2] is Kind.TO_CARD
    assert [entry.received.data for entry in trace.entries if entry.kind is Kind.POWER_ON] == [trace.header.answer]
    assert trace.header.protocol is protocol
    assert trace.header.begun == "2026-11-26T09:30:00Z"


def test_what_went_over_the_line_is_what_the_command_was(card: SimulatedCard) -> None:
    trace = record_line(card, Protocol7816.T1, Hidden.NOTHING)
    sent = [entry.sent.data for entry in trace.entries if entry.kind is Kind.TO_CARD]
    assert any(VERIFY in block for block in sent)
    received = b"".join(entry.sent.data for entry in trace.entries if entry.kind is Kind.TO_READER)
    assert CITIZEN_NUMBER in received


def test_times_are_those_of_both_clocks(card: SimulatedCard) -> None:
    trace = record_line(card, Protocol7816.TCL, Hidden.NOTHING)
    moments = [entry.moment for entry in trace.entries]
    walls = [moment.wall_start for moment in moments if moment is not None]
    virtuals = [moment.virtual_start for moment in moments if moment is not None and moment.virtual_start is not None]
    assert len(walls) == len(virtuals) == len(trace.entries)
    assert walls == sorted(walls)
    assert virtuals == sorted(virtuals)
    apdu = next(entry.moment for entry in trace.entries if entry.kind is Kind.APDU)
    assert apdu is not None
    assert apdu.virtual_length > 1000  # more than 15 bytes at 106 kbit/s


@pytest.mark.parametrize("protocol", Protocol7816)
def test_a_safe_trace_has_no_pin_and_nothing_of_the_holder_at_any_level(
    card: SimulatedCard, protocol: Protocol7816
) -> None:
    trace = record_line(card, protocol, EVERYTHING_HIDDEN)
    text = to_text(trace).replace(" ", "")
    raw = b"".join(entry.sent.data + entry.received.data for entry in trace.entries)
    for secret in (pin_block(HOLDER_PIN), CITIZEN_NUMBER):
        assert secret.hex().upper() not in text
        assert secret not in raw
    assert any(entry.sent.hidden for entry in trace.entries if entry.kind is Kind.TO_CARD)


def test_content_can_be_kept_while_secrets_are_not(card: SimulatedCard) -> None:
    trace = record_line(card, Protocol7816.T1, Hidden.SECRETS)
    raw = b"".join(entry.sent.data + entry.received.data for entry in trace.entries)
    assert CITIZEN_NUMBER in raw
    assert pin_block(HOLDER_PIN) not in raw


@pytest.mark.parametrize("arrived", [b"", b"\x00\x82\x0b" + bytes(20)])
def test_a_damaged_control_byte_does_not_open_a_hidden_block(card: SimulatedCard, arrived: bytes) -> None:
    def spoil(direction: Direction, data: bytes) -> bytes:
        if direction is Direction.TO_CARD and pin_block(HOLDER_PIN) in data and not spoilt:
            spoilt.append(data)
            return arrived and arrived[:3] + data[3:]
        return data

    spoilt: list[bytes] = []
    recorder = TraceRecorder()
    line = WiredConnection(card.card.contact, Interface.CONTACT, disturbance=recorder.disturbance(spoil))
    with recorder.watch(line) as connection:
        connection.transmit(SELECT)
        assert connection.transmit(VERIFY) == b"\x90\x00"
    entry = next(entry for entry in recorder.trace().entries if entry.failure)
    assert entry.failure == ("damaged" if arrived else "lost")
    assert pin_block(HOLDER_PIN)[1:] not in entry.received.data + entry.sent.data
    assert len(spoilt) == 1


@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
def test_keys_of_a_secure_channel_are_hidden_where_they_are_not_enciphered(
    card: SimulatedCard, snapshot: tuple[bytes, Target], level: int
) -> None:
    target = snapshot[1]
    keys = issuer_domain_keys(target.keys, KeyName.CARD, target.card_number)
    recorder = TraceRecorder()
    with recorder.watch(card.connect()) as connection:
        session = SecureSession.open(connection, keys, level=level)
        session.put_keys(keys, replace=keys.version)
    stored = [entry for entry in recorder.trace().entries if entry.sent.data[1:2] == b"\xd8"]
    assert stored
    assert all(bool(entry.sent.hidden) is (level & 0x02 == 0) for entry in stored)


def test_a_failure_is_an_entry_and_goes_on_to_the_caller(card: SimulatedCard) -> None:
    recorder = TraceRecorder()
    connection = recorder.watch(card.connect())
    with pytest.raises(ReaderError, match="mute"):
        connection.transmit(SELECT)
    assert [entry.failure for entry in recorder.trace().entries] == ["mute"]


def test_a_reset_is_written_down_once(card: SimulatedCard) -> None:
    recorder = TraceRecorder()
    with recorder.watch(standard_stack(recorder.watch(card.connect(), Kind.TPDU))) as connection:
        connection.power_on()  # a service that polls asks again and again for the answer
        connection.reset()
    assert [entry.kind for entry in recorder.trace().entries] == [Kind.POWER_ON, Kind.RESET, Kind.POWER_OFF]


def test_names_of_commands_are_unique_and_known() -> None:
    assert command_name(0x00, 0xA4) == "SELECT"
    assert command_name(0x84, 0x82) == "EXTERNAL AUTHENTICATE"
    assert command_name(0x00, 0xF7) == "INS F7"
    assert command_name(0xFF, 0xCA) == "GET DATA (reader)"
    assert all(row.ins == ins for (_, ins), row in COMMANDS.items())


@pytest.mark.parametrize(
    ("command", "hidden"),
    [
        ("0020008108 2412345FFFFFFFFF", True),
        ("002C008208 2412345FFFFFFFFF", True),
        ("80D8018105 0188100000", True),
        ("84E2800003 800000", True),
        ("80D4000004 00000000", True),
        ("00DA000102 AABB", True),
        ("00C2000005 00A4040000", True),
        ("00D6000002 AABB", True),  # content
        ("00A4040002 3F00", False),
        ("0088000004 00000000", False),
        ("80F7000004 00000000", True),  # unknown: better hidden
        ("FF820000 06 FFFFFFFFFFFF", True),  # a key for the reader
        ("0C20008105 8702010099", False),  # enciphered already
        ("0C20008104 81020000", True),  # secure messaging, but plain inside
        ("0020008100 0002 1234", True),  # extended length
        ("0020008106 313233343536", True),
        ("00200081 313233343536", True),  # without its length
        ("0020008102 313233343536", True),  # longer than it says
        ("0020008108 313233343536", True),  # shorter
        ("0020008100 0008 3132", True),
        ("0C20008109 970100 8104 31323334", True),  # plain behind an object that is not
        ("0C2000810A 8702010A 8104 31323334", True),
        ("0C20008107 8705 0101020304", False),
        ("0C20008106 8780 31323334", True),  # a length without an end
        ("0C20008181 877F" + "31" * 127, False),  # lengths of one, two and three bytes
        ("0C20008183 878180" + "31" * 128, False),
        ("0C200081000104 87820100" + "31" * 256, False),
        ("0C200081000005 8703010203", False),  # extended length
        ("0C20008185 878180" + "31" * 128 + "8100", True),
        ("0C20008100", False),  # how many tries are left: nothing is sent
        ("C4D8018105 0188100000", True),  # channel 8 without secure messaging: 04 is a part of the number
    ],
)
def test_what_a_command_may_not_leave_in_a_trace(command: str, hidden: bool) -> None:
    raw = bytes.fromhex(command)
    hiding = Hiding()
    shown = hiding.hide_command(raw, hiding.cover(raw))
    assert bool(shown.hidden) is hidden
    assert not hidden or not any(byte in shown.data[4:] for byte in b"123456"), "not a digit, nor one as a length"


@pytest.mark.clause("GlobalPlatform Card Specification 2.3.1, 10.2.3: INITIALIZE UPDATE ends the session that was open")
def test_keys_between_two_sessions_are_hidden() -> None:
    """A host that goes on under the old class byte has no session, and its keys are in plain."""
    hiding, put_key = Hiding(), bytes.fromhex("84D8018105 0188100000")
    for command in ("8050000008 0102030405060708", "8482330010" + "00" * 16):
        raw = bytes.fromhex(command)
        hiding.cover(raw)
        hiding.answered(raw, b"\x90\x00")
    assert not hiding.hide_command(put_key, hiding.cover(put_key)).hidden
    for cla, why in ((0xC4, "04 is a part of channel 8 there"), (0x80, "the class says that the session is not used")):
        other = bytes((cla,)) + put_key[1:]
        assert hiding.hide_command(other, hiding.cover(other)).hidden, why
    begin = bytes.fromhex("8050000008 0102030405060708")
    hiding.cover(begin)
    hiding.answered(begin, b"\x90\x00")
    assert hiding.hide_command(put_key, hiding.cover(put_key)).hidden


@pytest.mark.clause(
    "GlobalPlatform Card Specification 2.3.1, 10.2.3: another selection ends the session on its channel"
)
def test_keys_after_a_selection_are_hidden() -> None:
    hiding, put_key = Hiding(), bytes.fromhex("84D8018105 0188100000")
    opening = bytes.fromhex("8482330010" + "00" * 16)
    hiding.cover(opening)
    hiding.answered(opening, b"\x90\x00")
    assert not hiding.hide_command(put_key, hiding.cover(put_key)).hidden
    hiding.cover(SELECT)
    assert hiding.hide_command(put_key, hiding.cover(put_key)).hidden


@pytest.mark.parametrize(
    ("command", "response"),
    [
        ("8482330010" + "00" * 16, "6300"),  # the card refused the host
        ("80E63F0000", "9000"),  # another command, whose P1 is no level
        ("0082330010" + "00" * 16, "9000"),  # EXTERNAL AUTHENTICATE of ISO/IEC 7816-4: P1 is an algorithm
    ],
)
def test_what_opens_no_session_enciphers_nothing(command: str, response: str) -> None:
    hiding, put_key = Hiding(), bytes.fromhex("84D8018105 0188100000")
    hiding.cover(bytes.fromhex(command))
    hiding.answered(bytes.fromhex(command), bytes.fromhex(response))
    assert hiding.hide_command(put_key, hiding.cover(put_key)).hidden


@pytest.mark.clause("GlobalPlatform Card Specification 2.3.1, table 10-1: responses are enciphered from level 20 on")
@pytest.mark.parametrize(("level", "hidden"), [(0x00, True), (0x03, True), (0x13, True), (0x33, False)])
def test_content_in_a_session_is_hidden_where_responses_are_not_enciphered(level: int, hidden: bool) -> None:
    hiding, options = Hiding(), bytes.fromhex("84A8000002 8300 00")
    opening = bytes((0x84, 0x82, level, 0, 0x10)) + bytes(16)
    hiding.cover(opening)
    hiding.answered(opening, b"\x90\x00")
    assert bool(hiding.hide_response(b"\x5a\x01\x42\x90\x00", hiding.cover(options)).hidden) is hidden


@pytest.mark.parametrize(
    ("command", "response", "hidden"),
    [
        ("00A40400", "6F00 9000", False),  # a header alone is a command
        ("00B000", "4142 9000", True),  # less is none
        ("0CB0000000", "8702 4142 9000", True),  # no secure messaging but its class: content may look like it
        ("0CA4000003 970100", "6F00 9000", False),  # nothing that a card stores, enciphered or not
        ("0CCB3FFF04 5C025F50", "8702 4142 9000", True),
        ("00B0000000", "41 9000", True),
        ("00B0000000", "6A82", False),
    ],
)
def test_what_a_response_may_not_leave_in_a_trace(command: str, response: str, hidden: bool) -> None:
    hiding = Hiding()
    raw = bytes.fromhex(response)
    shown = hiding.hide_response(raw, hiding.cover(bytes.fromhex(command)))
    assert shown.hidden == (((0, len(raw) - 2),) if hidden else ())
    assert shown.data[-2:] == raw[-2:], "the status word is told"


@pytest.mark.clause("ISO/IEC 7816-4, 10.3: a response under secure messaging may have its data in plain, with a MAC")
@pytest.mark.parametrize("announced", [False, True], ids=["at once", "by 61xx"])
@pytest.mark.parametrize(
    ("pieces", "hidden"),
    [
        (["8704 01010203", "0405 99029000"], [False, False]),
        (["8105 31323334", "35 99029000"], [True, True]),
        (["99029000 8E08 0102030405060708"], [False]),
    ],
)
def test_a_response_under_secure_messaging_is_hidden_unless_it_is_enciphered(
    pieces: list[str], hidden: list[bool], announced: bool
) -> None:
    hiding = Hiding()
    read = bytes.fromhex("0CB000000D 970100 8E08 0000000000000000 00")
    answers = [bytes.fromhex(piece) + b"\x61\x10" for piece in pieces]
    found: list[bool] = []
    for number, answer in enumerate([b"\x61\x10", *answers] if announced else answers):
        command = bytes.fromhex("00C0000010") if number else read
        cover = hiding.cover(command)
        hiding.answered(command, answer)
        found.append(bool(hiding.hide_response(answer, cover).hidden))
    assert found[announced:] == hidden


@pytest.mark.parametrize("row", [row for row in COMMANDS.values() if row.command_holds or row.response_holds])
def test_every_row_is_obeyed(row: object) -> None:
    found = next(key for key, candidate in COMMANDS.items() if candidate is row)
    proprietary, ins = found
    command = bytes((0x80 if proprietary else 0, ins, 0, 0, 2, 0xAA, 0xBB, 0))
    rule = command_row(command[0], ins)
    hiding = Hiding(EVERYTHING_HIDDEN)
    cover = hiding.cover(command)
    assert bool(hiding.hide_command(command, cover).hidden) is (rule.command_holds is not Holds.NOTHING)
    assert bool(hiding.hide_response(b"\xcc\x90\x00", cover).hidden) is (rule.response_holds is not Holds.NOTHING)


def test_the_rest_of_a_response_is_hidden_like_its_beginning() -> None:
    hiding = Hiding()
    assert hiding.cover(bytes.fromhex("00B0000000")).response
    assert hiding.cover(bytes.fromhex("00C0000010")).response
    hiding.cover(bytes.fromhex("00A4040000"))
    assert not hiding.cover(bytes.fromhex("00C0000010")).response


def test_nothing_is_hidden_on_demand() -> None:
    hiding = Hiding(Hidden.NOTHING)
    assert hiding.cover(VERIFY) == Cover(command=False, response=False)
