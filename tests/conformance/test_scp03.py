"""SCP03: the handshake, its counters, and what a spoilt command does."""

from __future__ import annotations

import pytest

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.scp03_session import HOST_CHALLENGE, initialize, static_keys
from personalization.globalplatform.aes_messaging import SecureMessaging
from personalization.globalplatform.scp03 import card_cryptogram, pseudo_random_challenge
from personalization.terminal.authentication import cmac

AMENDMENT_D = "GlobalPlatform Amendment D 1.1.1"


@pytest.mark.clause(f"{AMENDMENT_D}, 7.1.1.6: the answer carries the key diversification data")
def test_initialize_update_tells_the_card_number(card: CardUnderTest) -> None:
    assert initialize(card).answer.diversification == card.target.card_number


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.2.2: card cryptogram")
def test_the_card_cryptogram_is_right(card: CardUnderTest) -> None:
    handshake = initialize(card)
    expected = card_cryptogram(handshake.keys, HOST_CHALLENGE, handshake.answer.challenge)
    assert handshake.answer.cryptogram == expected


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.2.1: pseudo-random card challenge from the sequence counter")
def test_the_card_challenge_follows_from_the_counter(card: CardUnderTest) -> None:
    answer = initialize(card).answer
    assert answer.challenge == pseudo_random_challenge(
        static_keys(card), answer.sequence, card.target.issuer_domain_aid
    )


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.2.1: the sequence counter moves")
def test_the_sequence_counter_moves(card: CardUnderTest) -> None:
    first, second = (int.from_bytes(initialize(card).answer.sequence, "big") for _ in range(2))
    assert second == first + 1


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.2.1: the sequence counter lasts: a challenge of before never comes again")
def test_the_sequence_counter_survives_a_reset(card: CardUnderTest) -> None:
    initialize(card)
    first = int.from_bytes(initialize(card).answer.sequence, "big")
    card.reset()
    assert int.from_bytes(initialize(card).answer.sequence, "big") == first + 1


@pytest.mark.clause(f"{AMENDMENT_D}, 7.1.1: unknown key version")
@pytest.mark.parametrize("version", [0x02, 0x7F, 0xFF])
def test_an_unknown_key_version_is_not_found(card: CardUnderTest, version: int) -> None:
    card.select(card.target.issuer_domain_aid)
    assert card.send(0x80, 0x50, version, 0x00, HOST_CHALLENGE, ne=256).sw == 0x6A88


@pytest.mark.clause(f"{AMENDMENT_D}, 7.1.1: the host challenge has 8 bytes in S8")
@pytest.mark.parametrize("length", [0, 7, 9, 15])
def test_a_host_challenge_of_another_length_is_refused(card: CardUnderTest, length: int) -> None:
    card.select(card.target.issuer_domain_aid)
    assert card.send(0x80, 0x50, 0x00, 0x00, bytes(length), ne=256).sw in {0x6700, 0x6A80}


@pytest.mark.clause(f"{AMENDMENT_D}, 7.1.2: security levels")
@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
def test_each_security_level_carries_a_command(card: CardUnderTest, level: int) -> None:
    channel = initialize(card).authenticate(level)
    assert channel.send(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), ne=256).sw == 0x9000


@pytest.mark.clause(f"{AMENDMENT_D}, 7.1.2: a level that the standard does not define")
@pytest.mark.parametrize("level", [0x02, 0x10, 0x20, 0x80])
def test_an_undefined_level_is_refused(card: CardUnderTest, level: int) -> None:
    """Cryptogram and MAC are right, so that nothing but the level is wrong."""
    handshake = initialize(card)
    header = bytes((0x84, 0x82, level, 0x00, 0x10))
    mac = cmac(handshake.keys.mac, bytes(16) + header + handshake.cryptogram)[:8]
    command = header + handshake.cryptogram + mac
    assert ResponseApdu.parse(card.raw(command)).sw in {0x6A86, 0x6982, 0x6300, 0x6985}


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.1.1: content management needs authentication")
@pytest.mark.parametrize(
    ("ins", "p1", "p2", "data"),
    [
        (0xF2, 0x80, 0x02, "4F00"),
        (0xE6, 0x0C, 0x00, "00"),
        (0xE4, 0x00, 0x00, "4F07F05A4A4A5A0101"),
        (0xD8, 0x01, 0x81, "01"),
        (0xE2, 0x80, 0x00, "9F0100"),
        (0xF0, 0x80, 0x7F, ""),
    ],
    ids=["GET STATUS", "INSTALL", "DELETE", "PUT KEY", "STORE DATA", "SET STATUS"],
)
def test_content_management_without_a_session_is_refused(
    card: CardUnderTest, ins: int, p1: int, p2: int, data: str
) -> None:
    card.select(card.target.issuer_domain_aid)
    assert card.send(0x80, ins, p1, p2, bytes.fromhex(data)).sw in {0x6982, 0x6985}


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.4: a damaged C-MAC ends the session")
def test_a_damaged_mac_is_refused_and_ends_the_session(card: CardUnderTest) -> None:
    channel = initialize(card).authenticate()
    command = bytearray(channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), 256)))
    command[-2] ^= 0x01
    assert ResponseApdu.parse(card.raw(bytes(command))) == ResponseApdu.parse(bytes.fromhex("6982"))
    again = channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), 256))
    assert ResponseApdu.parse(card.raw(again)).sw in {0x6982, 0x6985, 0x6882}


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.4: nothing heals a session after a damaged C-MAC")
@pytest.mark.parametrize("position", [0, 3, 7])
def test_the_right_command_after_a_damaged_mac_is_refused(card: CardUnderTest, position: int) -> None:
    channel = initialize(card).authenticate(0x01)
    right = channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), 256))
    spoilt = bytearray(right)
    spoilt[-9 + position] ^= 0x80
    assert card.raw(bytes(spoilt)) == bytes.fromhex("6982")
    assert ResponseApdu.parse(card.raw(right)).sw in {0x6982, 0x6985, 0x6882}


@pytest.mark.clause("GlobalPlatform 2.3.1, 10.2.3: a selection ends the session")
def test_a_selection_ends_the_session(card: CardUnderTest) -> None:
    channel = initialize(card).authenticate()
    card.select(card.target.issuer_domain_aid)
    command = channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), 256))
    assert ResponseApdu.parse(card.raw(command)).sw != 0x9000


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.4: a replayed command fails against the MAC chain")
def test_a_replayed_command_is_refused(card: CardUnderTest) -> None:
    channel = initialize(card).authenticate()
    command = channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), 256))
    assert channel.messaging.unwrap(card.raw(command)).sw == 0x9000
    assert ResponseApdu.parse(card.raw(command)) == ResponseApdu.parse(bytes.fromhex("6982"))


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.4: a MAC that is cut short")
def test_a_truncated_mac_is_refused(card: CardUnderTest) -> None:
    channel = initialize(card).authenticate(0x01)
    command = channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00")))
    short = command[:4] + bytes((command[4] - 4,)) + command[5:-4]
    assert ResponseApdu.parse(card.raw(short)).sw in {0x6982, 0x6700}


@pytest.mark.clause("GlobalPlatform 2.3.1, 10.2.3: a command in plain ends the session or is refused")
def test_a_plain_command_in_a_session_manages_nothing(card: CardUnderTest) -> None:
    initialize(card).authenticate()
    assert card.send(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), ne=256).sw in {0x6982, 0x6985}


@pytest.mark.clause("GlobalPlatform 2.3.1, 10.2.3: a reset ends the session")
def test_a_reset_ends_the_session(card: CardUnderTest) -> None:
    channel = initialize(card).authenticate()
    card.reset()
    command = channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), 256))
    assert ResponseApdu.parse(card.raw(command)).sw != 0x9000


@pytest.mark.clause(f"{AMENDMENT_D}, 7.1.2: EXTERNAL AUTHENTICATE needs INITIALIZE UPDATE before it")
def test_external_authenticate_alone_is_refused(card: CardUnderTest) -> None:
    handshake = initialize(card)
    command = SecureMessaging(handshake.keys, 0x33).external_authenticate(handshake.cryptogram)
    card.reset()
    card.select(card.target.issuer_domain_aid)
    assert ResponseApdu.parse(card.raw(command)).sw in {0x6985, 0x6982}


@pytest.mark.destructive
@pytest.mark.clause(f"{AMENDMENT_D}, 7.1.2: a wrong host cryptogram")
def test_a_wrong_host_cryptogram_is_refused(card: CardUnderTest) -> None:
    handshake = initialize(card)
    spoilt = bytes((handshake.cryptogram[0] ^ 1,)) + handshake.cryptogram[1:]
    command = SecureMessaging(handshake.keys, 0x33).external_authenticate(spoilt)
    answer = ResponseApdu.parse(card.raw(command)).sw
    initialize(card).authenticate()
    assert answer == 0x6300 or answer.tries_left is not None


@pytest.mark.destructive
@pytest.mark.clause(f"{AMENDMENT_D}, 7.1.2: the C-MAC of EXTERNAL AUTHENTICATE, which also protects the level")
@pytest.mark.parametrize("at", [2, -1], ids=["level", "C-MAC"])
def test_external_authenticate_with_a_wrong_mac_is_refused(card: CardUnderTest, at: int) -> None:
    handshake = initialize(card)
    command = bytearray(SecureMessaging(handshake.keys, 0x33).external_authenticate(handshake.cryptogram))
    command[at] ^= 0x30 if at == 2 else 0x01
    answer = ResponseApdu.parse(card.raw(bytes(command))).sw
    initialize(card).authenticate()
    assert answer == 0x6300 or answer.tries_left is not None


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.5: R-MAC over response and status word")
def test_a_warning_or_success_carries_a_response_mac(card: CardUnderTest) -> None:
    channel = initialize(card).authenticate(0x11)
    raw = card.raw(channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x80, 0x02, bytes.fromhex("4F00"), 256)))
    assert channel.messaging.unwrap(raw).sw == 0x9000


@pytest.mark.clause(f"{AMENDMENT_D}, 6.2.5: no response MAC on an error")
def test_an_error_comes_without_data(card: CardUnderTest) -> None:
    channel = initialize(card).authenticate()
    raw = card.raw(channel.messaging.wrap(CommandApdu(0x80, 0xF2, 0x00, 0x02, bytes.fromhex("4F00"), 256)))
    assert len(raw) == 2
