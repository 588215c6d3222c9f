"""What the virtual CCID reader does with each message, without a line."""

from __future__ import annotations

import pytest

from card_os.answers import DEFAULT_ATR
from reader_bridge.ccid_messages import CcidError, IccStatus, Message, MessageType
from reader_bridge.connection import ReaderError
from reader_bridge.contact_card import ContactCard
from reader_bridge.virtual_ccid import FIRMWARE, CcidSlot
from tests.doubles.echo_card import EchoCard

T0_PARAMETERS = bytes.fromhex("9600000A00")
T1_PARAMETERS = bytes.fromhex("96100045 00FE00")


class MuteCard(EchoCard):
    """Goes mute at INS 66, and at each reset when it is broken."""

    broken = False

    def transmit(self, command: bytes) -> bytes:
        if command[1] == 0x50:
            raise ReaderError("mute", reader="echo")
        return super().transmit(command)

    def reset(self) -> bytes:
        if self.broken:
            raise ReaderError("mute", reader="echo")
        return super().reset()


@pytest.fixture
def card() -> MuteCard:
    return MuteCard()


@pytest.fixture
def slot(card: MuteCard) -> CcidSlot:
    return CcidSlot(ContactCard(card))


def ask(slot: CcidSlot, kind: int, data: bytes = b"", own: bytes = b"\0\0\0", number: int = 0) -> Message:
    answer = slot.answer(Message(kind, data, number, 9, own))
    assert answer.sequence == 9
    return answer


def failed(answer: Message) -> tuple[bool, int, int]:
    return answer.status == 0x40, answer.error, answer.icc


def test_a_card_is_powered_parameters_are_kept_and_power_goes(slot: CcidSlot) -> None:
    assert ask(slot, MessageType.GET_SLOT_STATUS).icc == IccStatus.INACTIVE
    answer = ask(slot, MessageType.ICC_POWER_ON, own=b"\1\0\0")
    assert (answer.kind, answer.data, answer.icc) == (MessageType.DATA_BLOCK, DEFAULT_ATR, IccStatus.ACTIVE)
    assert ask(slot, MessageType.SET_PARAMETERS, T1_PARAMETERS, b"\1\0\0").parameters[2] == 1
    assert ask(slot, MessageType.GET_PARAMETERS).data == T1_PARAMETERS
    assert ask(slot, MessageType.RESET_PARAMETERS).parameters[2] == 0
    assert ask(slot, MessageType.ICC_POWER_OFF).icc == IccStatus.INACTIVE
    assert ask(slot, MessageType.ESCAPE, b"\x02").data == FIRMWARE


@pytest.mark.parametrize(
    ("kind", "data", "own", "error"),
    [
        (MessageType.XFR_BLOCK, b"\0\xb0\0\0\1", b"\0\0\0", CcidError.ICC_MUTE),
        (MessageType.SET_PARAMETERS, T0_PARAMETERS, b"\2\0\0", CcidError.BAD_PROTOCOL),
        (MessageType.SET_PARAMETERS, T0_PARAMETERS, b"\1\0\0", CcidError.BAD_LENGTH),
        (MessageType.ESCAPE, b"\x7f", b"\0\0\0", 10),
        (MessageType.SECURE, b"\0", b"\0\0\0", CcidError.ICC_MUTE),
        (0x74, b"", b"\0\0\0", CcidError.COMMAND_NOT_SUPPORTED),
    ],
    ids=["no power", "protocol", "length", "escape", "PIN without power", "message"],
)
def test_what_cannot_be_done_is_said(slot: CcidSlot, kind: int, data: bytes, own: bytes, error: int) -> None:
    assert failed(ask(slot, kind, data, own)) == (True, error, IccStatus.INACTIVE)


@pytest.mark.clause("ISO/IEC 7816-3, 10.3.3; USB CCID 1.1, 6.1.4")
@pytest.mark.parametrize(
    ("tpdu", "error"),
    [(b"\0\xb0", 1), (b"\0\xd6\0\0\2\0", 1), (b"\0\xd6\0\0\1\0\0", 1), (bytes(262), 1), (b"\0\x50\0\0\0", 0xFE)],
    ids=["no header", "data missing", "data left over", "too long", "the card goes mute"],
)
def test_a_tpdu_that_cannot_be_carried_fails_and_the_next_passes(slot: CcidSlot, tpdu: bytes, error: int) -> None:
    ask(slot, MessageType.ICC_POWER_ON)
    assert failed(ask(slot, MessageType.XFR_BLOCK, tpdu))[:2] == (True, error)
    ask(slot, MessageType.ICC_POWER_ON)
    assert ask(slot, MessageType.XFR_BLOCK, bytes.fromhex("00B0000003")).data[3:] == b"\x90\x00"


@pytest.mark.clause("USB CCID 1.1, 6.2.6: bmICCStatus of a card that does not answer any more is inactive")
def test_a_card_that_goes_mute_has_no_power_until_it_gets_it_again(slot: CcidSlot) -> None:
    ask(slot, MessageType.ICC_POWER_ON)
    answer = ask(slot, MessageType.XFR_BLOCK, bytes.fromhex("0050000000"))
    assert failed(answer) == (True, CcidError.ICC_MUTE, IccStatus.INACTIVE)
    assert failed(ask(slot, MessageType.XFR_BLOCK, bytes.fromhex("00B0000003")))[:2] == (True, CcidError.ICC_MUTE)
    assert ask(slot, MessageType.ICC_POWER_ON).icc == IccStatus.ACTIVE


@pytest.mark.clause("USB CCID 1.1, 6.1.7: five bytes for T=0, seven for T=1; 6.1.6: what RESET PARAMETERS gives back")
def test_parameters_have_the_length_of_their_protocol(slot: CcidSlot) -> None:
    ask(slot, MessageType.ICC_POWER_ON)
    for protocol, right in ((0, T0_PARAMETERS), (1, T1_PARAMETERS)):
        own = bytes((protocol, 0, 0))
        for wrong in (b"", right[:-1], right + b"\0"):
            assert failed(ask(slot, MessageType.SET_PARAMETERS, wrong, own))[:2] == (True, CcidError.BAD_LENGTH)
        answer = ask(slot, MessageType.SET_PARAMETERS, right, own)
        assert (answer.kind, answer.data, answer.parameters) == (MessageType.PARAMETERS, right, bytes((0, 0, protocol)))
        assert ask(slot, MessageType.GET_PARAMETERS).data == right
    answer = ask(slot, MessageType.RESET_PARAMETERS)
    assert (answer.data, answer.parameters[2]) == (bytes.fromhex("1100000A00"), 0)


@pytest.mark.clause("USB CCID 1.1, 6.1.4: wLevelParameter is 0000 at TPDU level")
@pytest.mark.parametrize(("own", "carried"), [("000000", True), ("050000", True), ("000100", False), ("000010", False)])
def test_a_block_is_carried_at_tpdu_level_whatever_its_waiting_time(slot: CcidSlot, own: str, carried: bool) -> None:
    ask(slot, MessageType.ICC_POWER_ON)
    answer = ask(slot, MessageType.XFR_BLOCK, bytes.fromhex("00B0000003"), bytes.fromhex(own))
    assert failed(answer)[:2] == ((False, 0) if carried else (True, CcidError.BAD_LENGTH))


def test_a_host_that_was_told_three_times_knows_that_the_card_is_gone(slot: CcidSlot) -> None:
    ask(slot, MessageType.ICC_POWER_ON)
    assert slot.known.is_set()
    slot.remove()
    assert not slot.known.is_set()
    for _ in range(3):
        assert not slot.missed.is_set()
        assert ask(slot, MessageType.GET_SLOT_STATUS).icc == IccStatus.ABSENT
    assert slot.missed.is_set()
    slot.insert()
    slot.remove()
    assert not slot.missed.is_set(), "it has to be told anew"


@pytest.mark.clause("USB CCID 1.1, 6.1.11: a reader without a keypad does not know PIN entry")
def test_strings_and_pins_are_for_readers_with_keys(slot: CcidSlot) -> None:
    ask(slot, MessageType.ICC_POWER_ON)
    assert failed(ask(slot, MessageType.ESCAPE, b"\xb2\xa0\x00words"))[:2] == (True, 10)
    assert failed(ask(slot, MessageType.SECURE, bytes(20)))[:2] == (True, CcidError.COMMAND_NOT_SUPPORTED)
    assert not failed(ask(slot, MessageType.ESCAPE, b"\x01\x01\x01"))[0]


def test_a_mute_card_is_inactive_and_a_missing_one_absent(slot: CcidSlot, card: MuteCard) -> None:
    card.broken = True
    assert failed(ask(slot, MessageType.ICC_POWER_ON)) == (True, CcidError.ICC_MUTE, IccStatus.INACTIVE)
    slot.remove()
    assert failed(ask(slot, MessageType.ICC_POWER_ON)) == (True, CcidError.ICC_MUTE, IccStatus.ABSENT)
    slot.insert()
    card.broken = False
    assert ask(slot, MessageType.ICC_POWER_ON).data == DEFAULT_ATR
