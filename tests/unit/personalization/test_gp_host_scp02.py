"""The host side of SCP02 (GPC 2.3.1, appendix E) against published exchanges, and its refusals."""

from __future__ import annotations

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.apdu import CommandApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands, scp02
from personalization.globalplatform.handshake import Handshake
from personalization.globalplatform.scp02 import RetailMac, SecureMessaging
from personalization.globalplatform.scp03 import StaticKeys
from test_vectors import Vector, load

ENC, MAC, RMAC = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
HEADER = CommandApdu(0x80, 0xCA, 0x00, 0x66, b"", 256)


VISA_DEFAULT = StaticKeys(0x01, *([bytes(range(0x40, 0x50))] * 3))


@pytest.mark.parametrize("vector", load("scp02/session_keys.json"), ids=str)
def test_session_keys(vector: Vector) -> None:
    made = scp02.session_key(vector.bytes("key"), vector.number("constant"), vector.bytes("sequence"))
    assert made == vector.bytes("session_key")


def single_des_chain(key: bytes, data: bytes, icv: bytes) -> bytes:
    """Single DES plus final triple DES, computed apart from the code under test (B.1.2.2)."""
    padded = data + b"\x80" + bytes(-(len(data) + 1) % 8)
    block = icv
    for start in range(0, len(padded), 8):
        mixed = bytes(one ^ other for one, other in zip(block, padded[start : start + 8], strict=True))
        last = start + 8 == len(padded)
        cipher = TripleDES(key + key[:8] if last else key[:8] * 3)
        block = Cipher(cipher, CBC(bytes(8))).encryptor().update(mixed)
    return block


@given(st.binary(max_size=80), st.binary(min_size=8, max_size=8))
def test_the_retail_mac(data: bytes, icv: bytes) -> None:
    assert RetailMac(MAC).compute(data, icv) == single_des_chain(MAC, data, icv)


def opened(level: int) -> tuple[SecureMessaging, bytes]:
    """A session, and the C-MAC of its EXTERNAL AUTHENTICATE."""
    messaging = SecureMessaging(ENC, RetailMac(MAC), RetailMac(RMAC), level)
    return messaging, messaging.external_authenticate(bytes(8))[-8:]


def r_mac(command: str, data: bytes, sw: int, icv: bytes) -> bytes:
    block = bytes.fromhex(command) + bytes((len(data) & 0xFF,)) + data + sw.to_bytes(2, "big")
    return single_des_chain(RMAC, block, icv)


def test_response_macs_chain_from_external_authenticate() -> None:
    messaging, icv = opened(0x11)
    messaging.wrap(HEADER)
    first = r_mac("80CA006600", b"\x01\x02", 0x9000, icv)
    assert messaging.unwrap(b"\x01\x02" + first + b"\x90\x00") == (b"\x01\x02", 0x9000)
    messaging.wrap(CommandApdu(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00"))
    second = r_mac("80F24002024F00", b"", 0x6310, first)
    assert messaging.unwrap(second + b"\x63\x10") == (b"", 0x6310)


def test_an_error_status_goes_into_the_chain() -> None:
    messaging, icv = opened(0x11)
    messaging.wrap(HEADER)
    failed = r_mac("80CA006600", b"", 0x6A88, icv)
    assert messaging.unwrap(b"\x6a\x88") == (b"", 0x6A88)
    messaging.wrap(HEADER)
    assert messaging.unwrap(r_mac("80CA006600", b"", 0x9000, failed) + b"\x90\x00").sw == 0x9000


def test_an_error_status_may_have_its_mac() -> None:
    messaging, icv = opened(0x11)
    messaging.wrap(HEADER)
    assert messaging.unwrap(r_mac("80CA006600", b"", 0x6A88, icv) + b"\x6a\x88") == (b"", 0x6A88)


@pytest.mark.parametrize(
    "false",
    [
        lambda raw: raw[-2:],
        lambda raw: raw[:-6] + raw[-2:],
        lambda raw: raw[:-3] + bytes((raw[-3] ^ 1,)) + raw[-2:],
        lambda raw: b"\x09" + raw[1:],
        lambda raw: raw[:-2] + b"\x63\x10",
        lambda raw: raw[:-2] + b"\x69\x82",
        lambda raw: bytes(len(raw) - 4) + b"\x69\x82",
    ],
    ids=["missing", "truncated", "bit", "data", "status", "error with data", "error with a wrong MAC"],
)
def test_a_response_without_its_mac_is_an_error(false: object) -> None:
    assert callable(false)
    messaging, icv = opened(0x13)
    messaging.wrap(HEADER)
    genuine = b"\x01\x02" + r_mac("80CA006600", b"\x01\x02", 0x9000, icv) + b"\x90\x00"
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        messaging.unwrap(false(genuine))


def test_a_response_of_an_earlier_command_is_an_error() -> None:
    messaging, icv = opened(0x11)
    messaging.wrap(HEADER)
    old = r_mac("80CA006600", b"", 0x9000, icv) + b"\x90\x00"
    messaging.unwrap(old)
    messaging.wrap(HEADER)
    with pytest.raises(PersonalizationError, match="response MAC is wrong"):
        messaging.unwrap(old)


def test_an_r_mac_session_with_a_mac_in_every_response() -> None:
    messaging, icv = opened(0x01)
    messaging.begin_r_mac(0x10)
    messaging.wrap(commands.begin_r_mac_session(0x10, b"\xaa"))
    assert messaging.unwrap(b"\x90\x00").sw == 0x9000
    begun = r_mac("807A10010201AA", b"", 0x9000, icv)
    messaging.r_mac_begun(0x10, accepted=True)
    messaging.wrap(HEADER)
    mac = r_mac("80CA006600", b"\x05", 0x9000, begun)
    assert messaging.unwrap(b"\x05" + mac + b"\x90\x00").data == b"\x05"
    assert messaging.end_r_mac() == mac
    messaging.wrap(commands.end_r_mac_session())
    assert messaging.unwrap(mac + b"\x90\x00").data == mac
    messaging.r_mac_ended()


def test_an_r_mac_session_with_one_mac_at_the_end() -> None:
    messaging, icv = opened(0x01)
    messaging.begin_r_mac(0x00)
    messaging.wrap(commands.begin_r_mac_session(0x00))
    messaging.unwrap(b"\x90\x00")
    messaging.r_mac_begun(0x00, accepted=True)
    messaging.wrap(HEADER)
    assert messaging.unwrap(b"\x05\x90\x00").data == b"\x05"
    begun = r_mac("807A00010100", b"", 0x9000, icv)
    assert messaging.end_r_mac() == r_mac("80CA006600", b"\x05", 0x9000, begun)


@pytest.mark.parametrize(("level", "protection"), [(0x11, 0x10), (0x01, 0x30), (0x01, 0x20)])
def test_an_r_mac_session_that_cannot_begin(level: int, protection: int) -> None:
    messaging, _ = opened(level)
    with pytest.raises(ValueError, match="cannot begin"):
        messaging.begin_r_mac(protection)


def test_a_refused_r_mac_session_leaves_everything_as_it_was() -> None:
    messaging, _ = opened(0x01)
    messaging.begin_r_mac(0x10)
    messaging.wrap(commands.begin_r_mac_session(0x10))
    assert messaging.unwrap(b"\x69\x85").sw == 0x6985
    messaging.r_mac_begun(0x10, accepted=False)
    messaging.wrap(HEADER)
    assert messaging.unwrap(b"\x05\x90\x00").data == b"\x05"
    with pytest.raises(ValueError, match="no R-MAC session"):
        messaging.end_r_mac()


@pytest.mark.parametrize(("level", "limit"), [(0x00, 255), (0x01, 247), (0x03, 239), (0x13, 239), (0x10, 255)])
def test_most_data_of_a_command(level: int, limit: int) -> None:
    messaging, _ = opened(level)
    assert messaging.max_data() == limit
    assert len(messaging.wrap(CommandApdu(0x80, 0xE2, 0, 0, bytes(limit)))) <= 5 + 255 + 1
    with pytest.raises(ValueError, match="do not fit"):
        messaging.wrap(CommandApdu(0x80, 0xE2, 0, 0, bytes(limit + 1)))


@pytest.mark.parametrize("level", sorted(set(range(0x40)) - scp02.SECURITY_LEVELS))
def test_reserved_levels(level: int) -> None:
    with pytest.raises(ValueError, match="Secure Channel Protocol"):
        SecureMessaging(ENC, RetailMac(MAC), RetailMac(RMAC), level)


@pytest.mark.parametrize(("cla", "sent"), [(0x80, 0x84), (0x83, 0x87), (0xC0, 0xE0), (0xCF, 0xEF)])
def test_a_logical_channel_does_not_enter_the_macs(cla: int, sent: int) -> None:
    basic, _ = opened(0x01)
    other, _ = opened(0x01)
    wrapped = other.wrap(CommandApdu(cla, 0xE2, 0, 0, b"\x01"))
    assert wrapped == bytes((sent,)) + basic.wrap(CommandApdu(0x80, 0xE2, 0, 0, b"\x01"))[1:]


@pytest.mark.parametrize("options", [0x05, 0x04, 0x14, 0x1A, 0x17, 0x95])
def test_implementation_options_that_are_not_spoken(options: int) -> None:
    answer = bytes.fromhex("000074746E6E6E6262620102069FAA2A0591E73367DD78794D04315E")
    with pytest.raises(PersonalizationError, match="secure-channel-unsupported"):
        Handshake.of(bytes(8), answer, None, options)


@pytest.mark.parametrize("length", [27, 29, 12, 0])
def test_an_answer_of_another_length(length: int) -> None:
    answer = (bytes(11) + b"\x02" + bytes(40))[:length]
    with pytest.raises(PersonalizationError, match="initialize-update-malformed"):
        Handshake.of(bytes(8), answer, None)


def test_a_derived_challenge_has_to_be_the_one() -> None:
    """i = 55: leftmost six bytes of the C-MAC over the padded AID (E.4.2.3)."""
    aid = bytes.fromhex("A000000151000000")
    mac_key = scp02.session_key(VISA_DEFAULT.mac, 0x0101, b"\x00\x07")
    challenge = single_des_chain(mac_key, aid, bytes(8))[:6]
    enc_key = scp02.session_key(VISA_DEFAULT.enc, 0x0182, b"\x00\x07")
    host_challenge = bytes(8)
    for told, genuine in ((challenge, True), (bytes(6), False)):
        cryptogram = scp02.full_mac(enc_key, host_challenge + b"\x00\x07" + told)
        answer = bytes(10) + b"\x01\x02" + b"\x00\x07" + told + cryptogram
        assert Handshake.of(host_challenge, answer, aid, 0x55).under(VISA_DEFAULT).genuine is genuine
        assert Handshake.of(host_challenge, answer, aid, 0x15).under(VISA_DEFAULT).genuine


def test_only_double_length_keys_fit() -> None:
    answer = bytes.fromhex("000074746E6E6E6262620102069FAA2A0591E73367DD78794D04315E")
    handshake = Handshake.of(bytes(8), answer, None)
    aes_256 = StaticKeys(1, bytes(32), bytes(32), bytes(32))
    assert handshake.fits(VISA_DEFAULT)
    assert not handshake.fits(aes_256)
    with pytest.raises(ValueError, match="double-length"):
        handshake.under(aes_256)


def test_no_key_shows() -> None:
    answer = bytes.fromhex("000074746E6E6E6262620102069FAA2A0591E73367DD78794D04315E")
    session = Handshake.of(bytes.fromhex("D5AD539A60CA5E72"), answer, None).under(VISA_DEFAULT)
    text = f"{session!r} {session.data_key!r}"
    assert VISA_DEFAULT.enc.hex() not in text.lower()
    assert "bytes" not in text
