"""Channels, files and the holder's session against scripted and simulated cards."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import pytest

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.terminal.authentication import MutualAuthentication
from personalization.terminal.channel import CardRefused, PlainChannel, collect
from personalization.terminal.files import CardFiles
from personalization.terminal.holder import HolderSession, pin_block
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, Protocol7816
from tests.unit.applet.workbench import HOLDER_PIN, PERMIT, UNBLOCKING_PIN, Bench, new_permit, new_sam, nonces, open_sam


class ScriptedConnection:
    """Answers in turn; remembers what was asked."""

    def __init__(self, *responses: bytes, most: int = 256) -> None:
        self._responses = list(responses)
        self._most = most
        self.commands: list[bytes] = []

    @property
    def description(self) -> ConnectionDescription:
        return ConnectionDescription("script", Interface.CONTACT, Protocol7816.T0, b"", 255, self._most)

    def power_on(self) -> bytes:
        return b"\x3b"

    def transmit(self, command: bytes) -> bytes:
        self.commands.append(command)
        return self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]

    def reset(self) -> bytes:
        return b"\x3b"

    def power_off(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return


@pytest.fixture(scope="module")
def made() -> Bench:
    return new_permit()


@pytest.fixture
def holder(made: Bench) -> HolderSession:
    bench = made.fork()
    bench.contact.power_on()
    return HolderSession.open(bench.contact, PERMIT)


# ---------------------------------------------------------------- channels


def test_pieces_of_a_response_are_fetched() -> None:
    """ISO/IEC 7816-4:2020, 5.3.4: 61xx and GET RESPONSE."""
    connection = ScriptedConnection(b"ab\x61\x02", b"cd\x61\x01", b"e\x90\x00")
    assert collect(connection, b"\x00\xb0\x00\x00\x00") == b"abcde\x90\x00"
    assert connection.commands[1:] == [bytes.fromhex("00C0000002"), bytes.fromhex("00C0000001")]
    assert isinstance(connection, CardConnection)


def test_a_response_that_does_not_end_is_given_up() -> None:
    with pytest.raises(PersonalizationError, match="does not end"):
        collect(ScriptedConnection(b"\x61\x10"), b"\x00\xb0\x00\x00\x00")


@pytest.mark.parametrize("response", [b"", b"\x90"])
def test_a_response_without_a_status_word_is_refused(response: bytes) -> None:
    with pytest.raises(PersonalizationError, match="no status word"):
        collect(ScriptedConnection(response), b"\x00\xb0\x00\x00\x00")


# ---------------------------------------------------------------- files


def read(*responses: bytes, name: str = "EF.IDENTITY") -> tuple[bytes, list[bytes]]:
    connection = ScriptedConnection(*responses)
    return CardFiles(PlainChannel(connection)).read(PERMIT.file_named(name)), connection.commands


def test_a_file_is_read_to_its_end_by_offset() -> None:
    content, sent = read(bytes(256) + b"\x90\x00", b"end\x62\x82")
    assert content == bytes(256) + b"end"
    assert sent == [bytes.fromhex("00B0810000"), bytes.fromhex("00B0010000")]


def test_a_file_that_ends_with_a_whole_response_is_read() -> None:
    """The next offset is then outside of the file."""
    assert read(bytes(256) + b"\x90\x00", b"\x6b\x00")[0] == bytes(256)


def test_a_file_of_known_size_needs_no_command_to_find_its_end() -> None:
    content, sent = read(bytes(32) + b"\x90\x00", name="EF.STATUS")
    assert len(content) == 32
    assert sent == [bytes.fromhex("00B08D0020")]


def test_a_refusal_in_the_middle_is_a_refusal() -> None:
    with pytest.raises(CardRefused, match="6982") as caught:
        read(bytes(256) + b"\x90\x00", b"\x69\x82")
    assert caught.value.status == SW.SECURITY_STATUS_NOT_SATISFIED


def test_a_card_that_never_ends_a_file_is_left_at_the_last_offset() -> None:
    content, sent = read(bytes(256) + b"\x90\x00", name="EF.PORTRAIT")
    assert len(content) <= 0x8000 + 256
    assert len(sent) <= 129


def test_records_end_with_record_not_found() -> None:
    connection = ScriptedConnection(bytes(32) + b"\x90\x00", bytes(32) + b"\x90\x00", b"\x6a\x83")
    assert len(CardFiles(PlainChannel(connection)).read_records(PERMIT.file_named("EF.ENDORSEMENTS"))) == 2
    refusing = ScriptedConnection(b"\x69\x82")
    with pytest.raises(CardRefused, match="6982"):
        CardFiles(PlainChannel(refusing)).read_records(PERMIT.file_named("EF.ENDORSEMENTS"))


def test_a_long_update_goes_on_by_offset() -> None:
    connection = ScriptedConnection(b"\x90\x00")
    CardFiles(PlainChannel(connection)).update(PERMIT.file_named("EF.RESIDENCE"), bytes(300), offset=10)
    assert [command[:5].hex() for command in connection.commands] == ["00d68b0aff", "00d601092d"]


def test_an_update_beyond_the_first_bytes_selects_the_file_first() -> None:
    connection = ScriptedConnection(b"x\x90\x00", b"\x90\x00")
    CardFiles(PlainChannel(connection)).update(PERMIT.file_named("EF.RESIDENCE"), b"ab", offset=300)
    assert [command.hex() for command in connection.commands] == ["00b08b0001", "00d6012c026162"]


# ---------------------------------------------------------------- authentication


def test_an_authentication_needs_whole_keys_and_challenges() -> None:
    for key, challenge in ((bytes(31), bytes(16)), (bytes(32), bytes(15))):
        with pytest.raises(ValueError, match="wrong length"):
            MutualAuthentication(key, 0x81, challenge, nonces())


@pytest.mark.parametrize("response", [b"", bytes(63), bytes(64), bytes(65)])
def test_an_answer_that_is_not_the_card_s_is_refused(response: bytes) -> None:
    run = MutualAuthentication(bytes(range(32)), 0x81, bytes(16), nonces())
    with pytest.raises(PersonalizationError, match="card-not-genuine"):
        run.complete(response)


def test_the_own_command_sent_back_is_refused() -> None:
    """Direction is under the MAC: 01 to the card, 02 from it."""
    run = MutualAuthentication(bytes(range(32)), 0x81, bytes(16), nonces())
    with pytest.raises(PersonalizationError, match="card-not-genuine"):
        run.complete(run.command())


def test_a_concealed_number_of_another_length_is_refused(made: Bench) -> None:
    sam = open_sam(new_sam())
    connection = ScriptedConnection(b"\x90\x00", bytes(39) + b"\x90\x00")
    with pytest.raises(PersonalizationError, match="concealed-number-malformed"):
        TerminalSession.open(connection, sam, PERMIT, "inspection")


def test_a_role_that_the_profile_does_not_have_is_refused(made: Bench) -> None:
    with pytest.raises(KeyError):
        TerminalSession.open(made.fork().on(Interface.CONTACT), open_sam(new_sam()), PERMIT, "nobody")


# ---------------------------------------------------------------- the holder


def test_pin_blocks() -> None:
    """ISO 9564-1:2017, 9.3.3: format 2."""
    assert pin_block("1234") == bytes.fromhex("241234FFFFFFFFFF")
    assert pin_block("123456789012") == bytes.fromhex("2C123456789012FF")
    for wrong in ("123", "1234567890123", "12a4", "", "١٢٣٤"):
        with pytest.raises(PersonalizationError, match="pin-format"):
            pin_block(wrong)


def test_wrong_pins_are_counted_down_to_the_block(holder: HolderSession) -> None:
    assert holder.tries_left() == 3
    for told in ("pin-wrong: tries=2", "pin-wrong: tries=1", "pin-blocked"):
        with pytest.raises(PersonalizationError, match=rf"^{told}$"):
            holder.verify("111111")
    assert holder.tries_left() == 0
    with pytest.raises(PersonalizationError, match=r"^pin-blocked$"):
        holder.verify(HOLDER_PIN)
    with pytest.raises(PersonalizationError, match=r"^pin-blocked$"):
        holder.change(HOLDER_PIN, "97531")
    holder.unblock(UNBLOCKING_PIN, "97531")
    holder.verify("97531")
    assert holder.tries_left() == 3


def test_a_right_pin_gives_the_tries_back(holder: HolderSession) -> None:
    with pytest.raises(PersonalizationError, match="pin-wrong"):
        holder.verify("111111")
    holder.verify(HOLDER_PIN)
    assert holder.tries_left() == 3


def test_a_pin_is_changed_by_who_knows_it(holder: HolderSession) -> None:
    with pytest.raises(PersonalizationError, match="pin-wrong"):
        holder.change("111111", "97531")
    holder.change(HOLDER_PIN, "97531")
    holder.verify("97531")
    with pytest.raises(PersonalizationError, match="pin-wrong"):
        holder.verify(HOLDER_PIN)


def test_wrong_unblocking_pins_are_counted_down_and_are_not_those_of_the_holder(holder: HolderSession) -> None:
    """ISO/IEC 7816-4:2020, 11.6.9: 63CX counts what is compared, which is the resetting code."""
    told = [f"unblocking-pin-wrong: tries={left}" for left in range(9, 0, -1)]
    for expected in (*told, "unblocking-pin-blocked", "unblocking-pin-blocked"):
        with pytest.raises(PersonalizationError, match=rf"^{expected}$"):
            holder.unblock("00000000", "97531")
    with pytest.raises(PersonalizationError, match=r"^unblocking-pin-blocked$"):
        holder.unblock(UNBLOCKING_PIN, "97531")
    holder.verify(HOLDER_PIN)


def test_the_unblocking_pin_opens_no_file(holder: HolderSession) -> None:
    with pytest.raises(PersonalizationError, match=r"^unblocking-pin-wrong: tries=9$"):
        holder.unblock("00000000", "97531")
    with pytest.raises(CardRefused, match="6982"):
        holder.read("EF.IDENTITY")
    with pytest.raises(CardRefused, match="6982"):
        holder.transmit(CommandApdu(0, 0xB0, 0x81, 0, b"", 1), "READ BINARY")


def test_an_unexpected_status_of_the_pin_is_told() -> None:
    session = HolderSession(PlainChannel(ScriptedConnection(b"\x6a\x88")), PERMIT)
    with pytest.raises(CardRefused, match="6A88"):
        session.verify(HOLDER_PIN)
    with pytest.raises(CardRefused, match="6A88"):
        session.tries_left()
    assert repr(session) == "HolderSession()"
