"""The host side of SCP03 against published vectors and its own refusals (Amendment D v1.1.1)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.apdu import CommandApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands, scp03
from personalization.globalplatform.aes_messaging import SECURITY_LEVELS, SecureMessaging, SessionKeys, max_command_data
from personalization.globalplatform.handshake import Handshake
from personalization.globalplatform.scp03 import StaticKeys
from test_vectors import Vector, load

KEYS = SessionKeys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
HEADER = CommandApdu(0x80, 0xCA, 0x00, 0x66, b"", 256)


def vectors(name: str, *, valid: bool) -> pytest.MarkDecorator:
    chosen = [vector for vector in load(f"scp03/{name}.json") if vector.valid is valid]
    return pytest.mark.parametrize("vector", chosen, ids=str)


def answer_is_genuine(vector: Vector) -> bool:
    keys = StaticKeys(0x30, vector.bytes("enc"), vector.bytes("mac"), bytes(16))
    host_challenge = vector.bytes("host_challenge")
    card = scp03.parse_initialize_update(vector.bytes("response"))
    session = scp03.derive_session_keys(keys, host_challenge, card.challenge)
    cryptogram = scp03.card_cryptogram(session, host_challenge, card.challenge)
    challenge = scp03.pseudo_random_challenge(keys, card.sequence, vector.bytes("aid"))
    return card.cryptogram == cryptogram and card.challenge == challenge


def session_of(vector: Vector, level: int) -> tuple[SecureMessaging, bytes]:
    keys = SessionKeys(vector.bytes("s_enc"), vector.bytes("s_mac"), vector.bytes("s_rmac"))
    cryptogram = scp03.host_cryptogram(keys, vector.bytes("host_challenge"), vector.bytes("card_challenge"))
    messaging = SecureMessaging(keys, level)
    return messaging, messaging.external_authenticate(cryptogram)


@vectors("initialize_update", valid=True)
def test_a_genuine_answer_is_recognised(vector: Vector) -> None:
    keys = StaticKeys(0x30, vector.bytes("enc"), vector.bytes("mac"), bytes(16))
    card = scp03.parse_initialize_update(vector.bytes("response"))
    session = scp03.derive_session_keys(keys, vector.bytes("host_challenge"), card.challenge)
    assert session == (vector.bytes("s_enc"), vector.bytes("s_mac"), vector.bytes("s_rmac"))
    assert answer_is_genuine(vector)


@vectors("initialize_update", valid=False)
def test_a_false_answer_is_not(vector: Vector) -> None:
    try:
        genuine = answer_is_genuine(vector)
    except PersonalizationError:
        genuine = False
    assert not genuine


@vectors("external_authenticate", valid=True)
def test_external_authenticate(vector: Vector) -> None:
    assert session_of(vector, vector.number("level"))[1] == vector.bytes("command")


@vectors("external_authenticate", valid=False)
def test_external_authenticate_is_never_the_false_one(vector: Vector) -> None:
    try:
        command = session_of(vector, vector.number("level"))[1]
    except ValueError:
        assert vector.number("level") not in SECURITY_LEVELS
    else:
        assert command != vector.bytes("command")


@vectors("command", valid=True)
def test_a_wrapped_command(vector: Vector) -> None:
    messaging, external_authenticate = session_of(vector, 0x03)
    assert external_authenticate == vector.bytes("external_authenticate")
    assert messaging.wrap(CommandApdu.parse(vector.bytes("plain"))) == vector.bytes("command")


def response(data: bytes, sw: int, chain: bytes, *, keys: SessionKeys = KEYS) -> bytes:
    """A response as clause 6.2.5 builds it, computed apart from the code under test."""
    mac = CMAC(algorithms.AES(keys.rmac))
    mac.update(chain + data + sw.to_bytes(2, "big"))
    return data + mac.finalize()[:8] + sw.to_bytes(2, "big")


def chain_after(wrapped: bytes, chain: bytes = bytes(16)) -> bytes:
    """The full C-MAC of a short wrapped command."""
    mac = CMAC(algorithms.AES(KEYS.mac))
    mac.update(chain + wrapped[: 5 + wrapped[4] - 8])
    return mac.finalize()


@pytest.mark.parametrize("sw", [0x9000, 0x6310, 0x6282])
def test_response_mac_is_accepted(sw: int) -> None:
    messaging = SecureMessaging(KEYS, 0x11)
    chain = chain_after(messaging.wrap(HEADER))
    assert messaging.unwrap(response(b"\x01\x02", sw, chain)) == (b"\x01\x02", sw)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("missing", lambda raw: raw[-2:]),
        ("truncated", lambda raw: raw[:-6] + raw[-2:]),
        ("bit", lambda raw: raw[:-3] + bytes((raw[-3] ^ 1,)) + raw[-2:]),
        ("data", lambda raw: bytes((raw[0] ^ 1,)) + raw[1:]),
        ("status", lambda raw: raw[:-2] + b"\x63\x10"),
        ("data with an error", lambda raw: raw[:-2] + b"\x69\x82"),
    ],
)
def test_response_without_its_mac_is_an_error(name: str, change: object) -> None:
    assert callable(change)
    messaging = SecureMessaging(KEYS, 0x11)
    chain = chain_after(messaging.wrap(HEADER))
    false = change(response(b"\x01\x02", 0x9000, chain))
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        messaging.unwrap(false)


def test_response_of_an_earlier_command_is_an_error() -> None:
    messaging = SecureMessaging(KEYS, 0x11)
    chain = chain_after(messaging.wrap(HEADER))
    old = response(b"", 0x9000, chain)
    assert messaging.unwrap(old).sw == 0x9000
    messaging.wrap(HEADER)
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        messaging.unwrap(old)


def test_error_status_comes_back_without_mac() -> None:
    messaging = SecureMessaging(KEYS, 0x33)
    messaging.wrap(HEADER)
    assert messaging.unwrap(b"\x69\x85") == (b"", 0x6985)


def encrypted(plain: bytes, counter: int) -> bytes:
    block = b"\x80" + counter.to_bytes(15, "big")
    vector = Cipher(algorithms.AES(KEYS.enc), modes.ECB()).encryptor().update(block)  # noqa: S305 - one block
    return Cipher(algorithms.AES(KEYS.enc), modes.CBC(vector)).encryptor().update(plain)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 200])
def test_encrypted_response(size: int) -> None:
    messaging = SecureMessaging(KEYS, 0x33)
    chain = bytes(16)
    for counter in (1, 2, 3):
        data = bytes((counter,)) * size
        chain = chain_after(messaging.wrap(HEADER), chain)
        padded = data + b"\x80" + bytes(-(size + 1) % 16) if size else b""
        sent = encrypted(padded, counter) if size else b""
        assert messaging.unwrap(response(sent, 0x9000, chain)).data == data


@pytest.mark.parametrize("plain", [bytes(16), b"\x80" + bytes(16) + b"\x01" * 15, b"\x01" * 16])
def test_wrong_padding_of_an_encrypted_response(plain: bytes) -> None:
    messaging = SecureMessaging(KEYS, 0x33)
    chain = chain_after(messaging.wrap(HEADER))
    with pytest.raises(PersonalizationError, match="padding"):
        messaging.unwrap(response(encrypted(plain, 1), 0x9000, chain))


def test_broken_cryptogram_of_a_response() -> None:
    messaging = SecureMessaging(KEYS, 0x33)
    chain = chain_after(messaging.wrap(HEADER))
    with pytest.raises(PersonalizationError, match="whole number of blocks"):
        messaging.unwrap(response(b"\x01" * 15, 0x9000, chain))


@given(st.lists(st.binary(max_size=239), max_size=6))
def test_the_running_encryptor_equals_one_cipher_a_command(fields: list[bytes]) -> None:
    messaging = SecureMessaging(KEYS, 0x03)
    for counter, data in enumerate(fields, start=1):
        wrapped = messaging.wrap(CommandApdu(0x80, 0xE2, 0, 0, data))
        if data:
            single = Cipher(algorithms.AES(KEYS.enc), modes.ECB()).encryptor()  # noqa: S305 - one counter block
            vector = single.update(counter.to_bytes(16, "big"))
            padded = data + b"\x80" + bytes(-(len(data) + 1) % 16)
            assert wrapped[5:-8] == Cipher(algorithms.AES(KEYS.enc), modes.CBC(vector)).encryptor().update(padded)


@pytest.mark.parametrize(("level", "limit"), [(0x00, 255), (0x01, 247), (0x03, 239), (0x33, 239)])
def test_most_data_of_a_command(level: int, limit: int) -> None:
    assert max_command_data(level) == limit
    SecureMessaging(KEYS, level).wrap(CommandApdu(0x80, 0xE2, 0, 0, bytes(limit)))


def test_too_much_data_leaves_the_session_as_it_was() -> None:
    messaging, other = SecureMessaging(KEYS, 0x33), SecureMessaging(KEYS, 0x33)
    with pytest.raises(ValueError, match="do not fit"):
        messaging.wrap(CommandApdu(0x80, 0xE2, 0, 0, bytes(240)))
    assert messaging.wrap(HEADER) == other.wrap(HEADER)


def test_extended_length_enters_the_mac_as_it_is_sent() -> None:
    wrapped = SecureMessaging(KEYS, 0x01).wrap(CommandApdu(0x80, 0xE2, 0, 0, bytes(300), 0, extended=True))
    mac = CMAC(algorithms.AES(KEYS.mac))
    mac.update(bytes(16) + bytes.fromhex("84E20000000134") + bytes(300))
    assert wrapped == bytes.fromhex("84E20000000134") + bytes(300) + mac.finalize()[:8]


def test_the_logical_channel_does_not_enter_the_mac() -> None:
    basic = SecureMessaging(KEYS, 0x01).wrap(CommandApdu(0x80, 0xE2, 0, 0, b"\x01"))
    second = SecureMessaging(KEYS, 0x01).wrap(CommandApdu(0x82, 0xE2, 0, 0, b"\x01"))
    assert second == b"\x86" + basic[1:]


@pytest.mark.parametrize("level", sorted(set(range(0x40)) - SECURITY_LEVELS))
def test_undefined_levels(level: int) -> None:
    with pytest.raises(ValueError, match="Amendment D"):
        SecureMessaging(KEYS, level)


@pytest.mark.parametrize("lengths", [(15, 15, 15), (16, 16, 24), (0, 0, 0), (33, 33, 33)])
def test_key_lengths(lengths: tuple[int, int, int]) -> None:
    enc, mac, dek = map(bytes, lengths)
    with pytest.raises(ValueError, match="16, 24 or 32"):
        StaticKeys(1, enc, mac, dek)


def test_no_key_shows() -> None:
    secret = bytes(range(0x41, 0x51))
    text = repr(StaticKeys(1, secret, secret, secret)) + repr(SessionKeys(secret, secret, secret))
    assert "ABCD" not in text
    assert secret.hex() not in text.lower()


EXCHANGES = 3


@vectors("exchanges", valid=True)
def test_exchanges(vector: Vector) -> None:
    messaging, external_authenticate = session_of(vector, vector.number("level"))
    assert external_authenticate == vector.bytes("external_authenticate")
    for number in range(1, EXCHANGES + 1):
        command = CommandApdu.parse(vector.bytes(f"plain_command_{number}"))
        assert messaging.wrap(command) == vector.bytes(f"command_{number}")
        plain = messaging.unwrap(vector.bytes(f"response_{number}"))
        assert plain.encode() == vector.bytes(f"plain_response_{number}")


@vectors("exchanges", valid=False)
def test_a_false_exchange(vector: Vector) -> None:
    messaging, _ = session_of(vector, vector.number("level"))
    messaging.wrap(CommandApdu.parse(vector.bytes("plain_command_1")))
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        messaging.unwrap(vector.bytes("response_1"))


# ---- S16 mode (Amendment D v1.2)

S16_AID = bytes.fromhex("A000000151000000")


def derived(key: bytes, constant: int, context: bytes, length: int) -> bytes:
    """SP 800-108 in counter mode, computed apart from the code under test (clause 4.1.5)."""
    output = b""
    for counter in range(1, -(-length // 16) + 1):
        mac = CMAC(algorithms.AES(key))
        mac.update(bytes(11) + bytes((constant, 0)) + (8 * length).to_bytes(2, "big") + bytes((counter,)) + context)
        output += mac.finalize()
    return output[:length]


def s16_answer(keys: StaticKeys, host_challenge: bytes, implementation: int) -> bytes:
    """What a card in S16 mode answers to INITIALIZE UPDATE."""
    sequence = b"\x00\x00\x2a" if implementation & 0x10 else b""
    challenge = derived(keys.enc, 0x02, sequence + S16_AID, 16) if sequence else bytes(range(16))
    s_mac = derived(keys.mac, 0x06, host_challenge + challenge, len(keys.mac))
    cryptogram = derived(s_mac, 0x00, host_challenge + challenge, 16)
    return bytes(range(10)) + bytes((keys.version, 0x03, implementation)) + challenge + cryptogram + sequence


@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("implementation", [0x01, 0x11, 0x21, 0x31, 0x61, 0x71])
def test_s16_handshake(length: int, implementation: int) -> None:
    keys = StaticKeys(0x30, bytes(range(length)), bytes(range(1, length + 1)), bytes(length))
    host_challenge = bytes(range(0x50, 0x60))
    answer = s16_answer(keys, host_challenge, implementation)
    handshake = Handshake.of(host_challenge, answer, S16_AID)
    session = handshake.under(keys)
    assert session.genuine
    s_mac = derived(keys.mac, 0x06, host_challenge + handshake.card.challenge, length)
    assert session.host_cryptogram == derived(s_mac, 0x01, host_challenge + handshake.card.challenge, 16)
    opening = session.secure_messaging(0x01).external_authenticate(session.host_cryptogram)
    mac = CMAC(algorithms.AES(s_mac))
    mac.update(bytes(16) + opening[:-16])
    assert opening[:5].hex() == "8482010020"
    assert opening[-16:] == mac.finalize()


@pytest.mark.parametrize("at", range(13, 45))
def test_s16_changed_answer(at: int) -> None:
    keys = StaticKeys(0x30, bytes(range(16)), bytes(range(1, 17)), bytes(16))
    answer = bytearray(s16_answer(keys, bytes(16), 0x71))
    answer[at] ^= 1
    assert not Handshake.of(bytes(16), bytes(answer), S16_AID).under(keys).genuine


def test_s16_answer_to_a_short_challenge() -> None:
    keys = StaticKeys(0x30, bytes(range(16)), bytes(range(1, 17)), bytes(16))
    with pytest.raises(PersonalizationError, match="initialize-update-malformed"):
        Handshake.of(bytes(8), s16_answer(keys, bytes(8), 0x71), S16_AID)


@pytest.mark.parametrize(("level", "limit"), [(0x00, 255), (0x01, 239), (0x03, 223), (0x33, 223)])
def test_s16_most_data_of_a_command(level: int, limit: int) -> None:
    messaging = SecureMessaging(KEYS, level, mac_length=16)
    assert messaging.max_data() == limit
    messaging.wrap(CommandApdu(0x80, 0xE2, 0, 0, bytes(limit)))


def test_s16_macs_are_whole() -> None:
    messaging = SecureMessaging(KEYS, 0x11, mac_length=16)
    wrapped = messaging.wrap(HEADER)
    assert wrapped[:5].hex() == "84ca006610"
    chain = chain_after(wrapped[:13] + wrapped[21:])  # the chaining value is the whole MAC in either mode
    mac = CMAC(algorithms.AES(KEYS.mac))
    mac.update(bytes(16) + wrapped[:5])
    assert wrapped[5:21] == mac.finalize()
    assert chain != wrapped[5:21]
    answer = CMAC(algorithms.AES(KEYS.rmac))
    answer.update(wrapped[5:21] + b"\x07\x90\x00")
    whole = answer.finalize()
    assert messaging.unwrap(b"\x07" + whole + b"\x90\x00") == (b"\x07", 0x9000)
    messaging.wrap(HEADER)
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        messaging.unwrap(whole[:8] + b"\x90\x00")


# ---- BEGIN and END R-MAC SESSION (Amendment D, 7.1.3 and 7.1.4)


def test_an_r_mac_session_protects_from_the_next_response_on() -> None:
    messaging = SecureMessaging(KEYS, 0x01)
    messaging.begin_r_mac(0x10)
    messaging.wrap(commands.begin_r_mac_session(0x10))
    assert messaging.unwrap(b"\x90\x00").sw == 0x9000
    messaging.r_mac_begun(0x10, accepted=True)
    messaging.wrap(HEADER)
    with pytest.raises(PersonalizationError, match="response MAC is missing"):
        messaging.unwrap(b"\x90\x00")
    assert messaging.end_r_mac() is None
    messaging.r_mac_ended()
    messaging.wrap(HEADER)
    assert messaging.unwrap(b"\x01\x90\x00").data == b"\x01"


@pytest.mark.parametrize(
    ("level", "protection"), [(0x00, 0x10), (0x01, 0x30), (0x11, 0x10), (0x33, 0x30), (0x33, 0x10), (0x03, 0x20)]
)
def test_an_r_mac_session_that_cannot_begin(level: int, protection: int) -> None:
    """The conditions of clause 7.1.3.7."""
    with pytest.raises(ValueError, match="cannot begin"):
        SecureMessaging(KEYS, level).begin_r_mac(protection)


@pytest.mark.parametrize(("level", "protection"), [(0x01, 0x10), (0x03, 0x10), (0x03, 0x30), (0x13, 0x30)])
def test_an_r_mac_session_that_can_begin(level: int, protection: int) -> None:
    messaging = SecureMessaging(KEYS, level)
    messaging.begin_r_mac(protection)
    messaging.r_mac_begun(protection, accepted=False)
    with pytest.raises(ValueError, match="no R-MAC session"):
        messaging.end_r_mac()
