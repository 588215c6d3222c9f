"""Secure messaging: what is protected stays so, and what is damaged is refused and ends the session."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.tlv import Tlv, encode_all, parse_all
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.laboratory_sam import LaboratorySam
from permitcard.testing.terminal import prepare_mutual, terminal
from personalization.terminal.authentication import cmac
from personalization.terminal.secure_messaging import SessionKeys, TerminalSecureMessaging, pad

INSPECTION, SERVICE_DESK, ISSUER = 0x81, 0x82, 0x84
READ = CommandApdu(0x00, 0xB0, 0x81, 0x00, b"", 16)
ICAO = "ICAO 9303-11, 9.8"
ENDORSEMENTS = 0x0C << 3 | 4
"""P2 of a record command: short identifier 0C, number in P1."""
MOST_ENDORSEMENTS = 12


@pytest.fixture
def messaging(card: CardUnderTest) -> TerminalSecureMessaging:
    """An open session of the inspection role, driven by hand."""
    card.select(card.target.permit_aid)
    sam = LaboratorySam(card.target.keys)
    concealed = card.ok(0x00, 0xCA, 0xDF, 0x20, ne=256)
    prepared = sam.prepare(concealed, INSPECTION, card.ok(0x00, 0x84, 0x00, 0x00, ne=16))
    return TerminalSecureMessaging(sam.complete(card.ok(0x00, 0x82, 0x00, INSPECTION, prepared.data, ne=64)))


def rebuild(command: bytes, objects: list[Tlv]) -> bytes:
    """The protected command with other data objects."""
    parsed = CommandApdu.parse(command)
    return parsed._replace(data=encode_all(objects)).encode()


def objects_of(command: bytes) -> list[Tlv]:
    return parse_all(CommandApdu.parse(command).data)


@pytest.mark.clause(f"{ICAO}.4: a protected READ BINARY")
def test_a_protected_read_is_answered_protected(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    raw = card.raw(messaging.protect(READ))
    assert [item.tag for item in parse_all(raw[:-2])] == [0x87, 0x99, 0x8E]
    assert len(messaging.open(raw).data) == 16


@pytest.mark.clause(f"{ICAO}.4: an error inside the session is protected too")
def test_an_error_is_protected_too(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    raw = card.raw(messaging.protect(CommandApdu(0x00, 0xB0, 0x95, 0x00, b"", 16)))
    assert [item.tag for item in parse_all(raw[:-2])] == [0x99, 0x8E]
    assert messaging.open(raw).sw == 0x6982


@pytest.mark.clause(f"{ICAO}.6: a session survives many commands, SSC counting on")
def test_a_session_carries_many_commands(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    first = messaging.open(card.raw(messaging.protect(READ))).data
    assert all(messaging.open(card.raw(messaging.protect(READ))).data == first for _ in range(20))


@pytest.mark.clause(f"{ICAO}.7: a wrong MAC is refused in plain and ends the session")
@pytest.mark.parametrize("position", [0, 3, 7])
def test_a_damaged_mac_ends_the_session(card: CardUnderTest, messaging: TerminalSecureMessaging, position: int) -> None:
    command = messaging.protect(READ)
    objects = objects_of(command)
    mac = bytearray(objects[-1].value)
    mac[position] ^= 0x80
    assert card.raw(rebuild(command, [*objects[:-1], Tlv(0x8E, bytes(mac))])) == bytes.fromhex("6988")
    assert card.raw(messaging.protect(READ))[-2:] != bytes.fromhex("9000")


@pytest.mark.clause(f"{ICAO}.7: a missing MAC")
def test_a_missing_mac_is_refused(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    command = messaging.protect(READ)
    assert card.raw(rebuild(command, objects_of(command)[:-1])) in {bytes.fromhex("6987"), bytes.fromhex("6988")}


@pytest.mark.clause(f"{ICAO}.7: a MAC that is cut short")
@pytest.mark.parametrize("length", [0, 4, 7])
def test_a_short_mac_is_refused(card: CardUnderTest, messaging: TerminalSecureMessaging, length: int) -> None:
    command = messaging.protect(READ)
    objects = objects_of(command)
    short = Tlv(0x8E, objects[-1].value[:length])
    assert card.raw(rebuild(command, [*objects[:-1], short])) in {bytes.fromhex("6988"), bytes.fromhex("6987")}


@pytest.mark.clause(f"{ICAO}.4: the header is under the MAC")
@pytest.mark.parametrize(
    ("at", "flip"), [(1, 0x02), (1, 0x06), (2, 0x02), (3, 0x01)], ids=["INS", "unknown INS", "P1", "P2"]
)
def test_a_changed_header_is_refused(
    card: CardUnderTest, messaging: TerminalSecureMessaging, at: int, flip: int
) -> None:
    command = bytearray(messaging.protect(READ))
    command[at] ^= flip
    assert card.raw(bytes(command)) == bytes.fromhex("6988")
    assert card.raw(messaging.protect(READ))[-2:] != bytes.fromhex("9000")


@pytest.mark.clause(f"{ICAO}.4: Le is under the MAC")
def test_a_changed_le_object_is_refused(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    command = messaging.protect(READ)
    objects = [Tlv(0x97, b"\x20") if item.tag == 0x97 else item for item in objects_of(command)]
    assert card.raw(rebuild(command, objects)) == bytes.fromhex("6988")


@pytest.mark.clause(f"{ICAO}.6: a command replayed with an old counter")
def test_a_replayed_command_is_refused(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    command = messaging.protect(READ)
    messaging.open(card.raw(command))
    assert card.raw(command) == bytes.fromhex("6988")


@pytest.mark.clause(f"{ICAO}.6: a command replayed with an old counter")
@pytest.mark.parametrize("between", [2, 3, 7])
def test_an_older_command_is_refused(card: CardUnderTest, messaging: TerminalSecureMessaging, between: int) -> None:
    command = messaging.protect(READ)
    messaging.open(card.raw(command))
    for _ in range(between - 1):
        messaging.open(card.raw(messaging.protect(READ)))
    assert card.raw(command) == bytes.fromhex("6988")


@pytest.mark.clause(f"{ICAO}.7: nothing heals a session after a wrong MAC")
def test_the_right_command_after_a_wrong_mac_is_refused(
    card: CardUnderTest, messaging: TerminalSecureMessaging
) -> None:
    command = messaging.protect(READ)
    assert card.raw(command[:-2] + bytes((command[-2] ^ 1,)) + command[-1:]) == bytes.fromhex("6988")
    assert card.raw(command)[-2:] != bytes.fromhex("9000")


class CraftedMessaging:
    """Commands with any objects under a right MAC, the first of a session: what only a terminal that errs sends."""

    def __init__(self, keys: SessionKeys) -> None:
        self._keys = keys

    def cryptogram(self, padded: bytes) -> bytes:
        ecb = Cipher(algorithms.AES(self._keys.encryption), modes.ECB()).encryptor()  # noqa: S305 - one block
        vector = ecb.update((1).to_bytes(16, "big"))
        return Cipher(algorithms.AES(self._keys.encryption), modes.CBC(vector)).encryptor().update(padded)

    def command(self, header: bytes, objects: bytes) -> bytes:
        message = (1).to_bytes(16, "big") + pad(header) + (pad(objects) if objects else b"")
        body = objects + b"\x8e\x08" + cmac(self._keys.mac, message)[:8]
        return header + bytes((len(body),)) + body + b"\x00"


@pytest.fixture
def crafted(card: CardUnderTest) -> CraftedMessaging:
    card.select(card.target.permit_aid)
    sam = LaboratorySam(card.target.keys)
    prepared = sam.prepare(card.ok(0x00, 0xCA, 0xDF, 0x20, ne=256), INSPECTION, card.ok(0x00, 0x84, 0x00, 0x00, ne=16))
    return CraftedMessaging(sam.complete(card.ok(0x00, 0x82, 0x00, INSPECTION, prepared.data, ne=64)))


@pytest.mark.clause(f"{ICAO}.4: the first command of a session, made by hand as the tests below make theirs")
def test_a_crafted_command_is_taken(card: CardUnderTest, crafted: CraftedMessaging) -> None:
    data = b"\x87\x11\x01" + crafted.cryptogram(pad(bytes.fromhex("0101")))
    assert card.raw(crafted.command(bytes.fromhex("0CA4020C"), data))[-2:] == bytes.fromhex("9000")


@pytest.mark.clause("ISO/IEC 7816-4:2020, 10.3: what the MAC covers still has to be well-formed")
@pytest.mark.parametrize(
    ("indicator", "padded"),
    [("02", "0101800000000000000000000000000000"[:32]), ("01", "0101" + 14 * "00"), ("01", "0101" + 14 * "FF")],
    ids=["indicator 02", "no padding mark", "other padding"],
)
def test_a_wrong_padding_is_refused(
    card: CardUnderTest, crafted: CraftedMessaging, indicator: str, padded: str
) -> None:
    data = b"\x87\x11" + bytes.fromhex(indicator) + crafted.cryptogram(bytes.fromhex(padded))
    assert card.raw(crafted.command(bytes.fromhex("0CA4020C"), data)) in {
        bytes.fromhex(sw) for sw in ("6988", "6987", "6A80")
    }


@pytest.mark.clause("Card specification, secure messaging: the objects of a command, and no others")
@pytest.mark.parametrize(
    "objects",
    ["81020101970110", "970110970110", "970100 9701 00", "9703000010", "9700", "99029000970110", "B1030101FF"],
)
def test_objects_that_a_command_does_not_have_are_refused(
    card: CardUnderTest, crafted: CraftedMessaging, objects: str
) -> None:
    assert card.raw(crafted.command(bytes.fromhex("0CB08100"), bytes.fromhex(objects))) in {
        bytes.fromhex("6988"),
        bytes.fromhex("6987"),
    }


@pytest.mark.clause(f"{ICAO}.6: a command that was skipped")
def test_a_skipped_counter_is_refused(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    messaging.protect(READ)
    assert card.raw(messaging.protect(READ)) == bytes.fromhex("6988")


@pytest.mark.clause(f"{ICAO}.4: a changed cryptogram")
def test_a_changed_cryptogram_is_refused(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    command = messaging.protect(CommandApdu(0x00, 0xDA, 0xDF, 0x22, b"20200101"))
    objects = objects_of(command)
    value = bytearray(objects[0].value)
    value[5] ^= 0x01
    assert card.raw(rebuild(command, [Tlv(0x87, bytes(value)), *objects[1:]])) == bytes.fromhex("6988")


@pytest.mark.clause(f"{ICAO}.3: an unknown padding indicator is refused")
def test_data_without_objects_is_refused(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    del messaging
    assert card.raw(CommandApdu(0x0C, 0xB0, 0x81, 0x00, b"\x01\x02\x03", 256).encode()) in {
        bytes.fromhex("6987"),
        bytes.fromhex("6988"),
    }


@pytest.mark.clause("Card specification: a plain command ends the session and its role")
def test_a_plain_command_ends_the_session(card: CardUnderTest, messaging: TerminalSecureMessaging) -> None:
    assert card.send(0x00, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982
    assert card.raw(messaging.protect(READ))[-2:] != bytes.fromhex("9000")


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.4.1: secure messaging without a session")
def test_a_protected_class_without_a_session_is_refused(permit: CardUnderTest) -> None:
    assert permit.send(0x0C, 0xB0, 0x81, 0x00, bytes.fromhex("970110"), ne=256).sw in {0x6882, 0x6987, 0x6988, 0x6985}


@pytest.mark.clause("Card specification: a session of one interface is nothing on the other")
def test_a_session_does_not_cross_interfaces(card: CardUnderTest, contactless: CardUnderTest) -> None:
    terminal(card, INSPECTION)
    contactless.select(contactless.target.permit_aid)
    assert contactless.send(0x00, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982


@pytest.mark.clause("Card specification: the portrait is read in pieces under secure messaging")
def test_a_whole_portrait_is_read_in_pieces(either: CardUnderTest) -> None:
    portrait = terminal(either, INSPECTION).read("EF.PORTRAIT")
    assert portrait.startswith(bytes.fromhex("FFD8FF"))
    assert portrait.endswith(bytes.fromhex("FFD9"))


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.3.3: reading across and beyond the end of a file")
@pytest.mark.parametrize(("offset", "sw"), [(0, 0x9000), (255, 0x6282), (256, 0x6B00), (0x7FFF, 0x6B00)])
def test_reads_at_the_end_of_a_file(card: CardUnderTest, offset: int, sw: int) -> None:
    channel = terminal(card, INSPECTION).channel
    assert channel.exchange(CommandApdu(0x00, 0xA4, 0x02, 0x0C, bytes.fromhex("0102"))).sw == 0x9000
    assert channel.exchange(CommandApdu(0x00, 0xB0, *divmod(offset, 256), b"", 16)).sw == sw


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.4.3: a record beyond the file")
@pytest.mark.parametrize("number", [13, 0xFE])
def test_a_record_beyond_the_file_is_not_found(card: CardUnderTest, number: int) -> None:
    channel = terminal(card, INSPECTION).channel
    answer = channel.exchange(CommandApdu(0x00, 0xB2, number, ENDORSEMENTS, b"", 32))
    assert (answer.sw, answer.data) == (0x6A83, b"")


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.3.1: READ BINARY on a record file")
def test_read_binary_of_a_record_file_is_refused(card: CardUnderTest) -> None:
    channel = terminal(card, INSPECTION).channel
    assert channel.exchange(CommandApdu(0x00, 0xB0, 0x80 | 0x0C, 0x00, b"", 16)).sw == 0x6981


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.4.5: APPEND RECORD, and 6A84 when the file is full")
def test_the_desk_writes_a_record_that_both_interfaces_read(card: CardUnderTest, contactless: CardUnderTest) -> None:
    record = bytes.fromhex("20261120") + bytes(28)
    desk = terminal(card, SERVICE_DESK)
    present = len(desk.read_records("EF.ENDORSEMENTS"))
    if present == MOST_ENDORSEMENTS:
        assert desk.channel.exchange(CommandApdu(0x00, 0xE2, 0x00, 0x0C << 3, record)).sw == 0x6A84
        assert desk.channel.exchange(CommandApdu(0x00, 0xDC, present, ENDORSEMENTS, record)).sw == 0x9000
    else:
        assert desk.channel.exchange(CommandApdu(0x00, 0xE2, 0x00, 0x0C << 3, record)).sw == 0x9000
        present += 1
    seen = terminal(contactless, SERVICE_DESK).channel
    assert seen.exchange(CommandApdu(0x00, 0xB2, present, ENDORSEMENTS, b"", 32)).data == record


@pytest.mark.destructive
@pytest.mark.clause("Card specification: the issuer corrects identity data and it stays")
def test_the_issuer_updates_and_restores(card: CardUnderTest) -> None:
    channel = terminal(card, ISSUER).channel
    before = channel.exchange(CommandApdu(0x00, 0xB0, 0x82, 0x00, b"", 8)).data
    assert channel.exchange(CommandApdu(0x00, 0xD6, 0x82, 0x00, b"\x4f\x60\x7d\x59\x20\x00\x20\x00")).sw == 0x9000
    after = channel.exchange(CommandApdu(0x00, 0xB0, 0x82, 0x00, b"", 8)).data
    assert channel.exchange(CommandApdu(0x00, 0xD6, 0x82, 0x00, before)).sw == 0x9000
    assert after == b"\x4f\x60\x7d\x59\x20\x00\x20\x00"


@pytest.mark.clause("Card specification: the PIN over the field under secure messaging")
@pytest.mark.holder_pin
def test_the_pin_is_accepted_over_the_field_under_secure_messaging(contactless: CardUnderTest) -> None:
    channel = terminal(contactless, INSPECTION).channel
    verify = CommandApdu(0x00, 0x20, 0x00, 0x81, contactless.target.holder_pin_block)
    assert channel.exchange(verify).sw == 0x9000


@pytest.mark.destructive
@pytest.mark.clause("Card specification: prepared authentication data is bound to its challenge")
def test_data_for_an_older_challenge_is_refused(permit: CardUnderTest) -> None:
    data = prepare_mutual(permit, INSPECTION)
    permit.ok(0x00, 0x84, 0x00, 0x00, ne=16)
    answer = permit.send(0x00, 0x82, 0x00, INSPECTION, data, ne=64).sw
    terminal(permit, INSPECTION)
    assert answer.tries_left is not None


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.3.3 and 5.6: what does not fit is not written in part")
def test_an_update_that_does_not_fit_writes_nothing(card: CardUnderTest) -> None:
    channel = terminal(card, ISSUER).channel
    assert channel.exchange(CommandApdu(0x00, 0xA4, 0x02, 0x0C, bytes.fromhex("0102"))).sw == 0x9000
    last = CommandApdu(0x00, 0xB0, 0x00, 0xF8, b"", 8)
    before = channel.exchange(last).data
    other = bytes(byte ^ 0xFF for byte in before) + b"\xff"
    assert channel.exchange(CommandApdu(0x00, 0xD6, 0x00, 0xF8, other)).sw in {0x6A84, 0x6B00, 0x6700}
    assert channel.exchange(last).data == before
