"""The card side of SCP03: published vectors, every security level, every refusal (Amendment D v1.1.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.globalplatform import scp03
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.scp03 import SECURITY_LEVELS, DerivationConstant, Scp03Channel
from card_os.iso7816.apdu import CommandApdu, SecureMessagingIndication
from card_os.iso7816.errors import AuthenticationFailed, SecurityStatusNotSatisfied
from card_os.iso7816.status import SW, StatusWord
from card_os.security.access import Proof
from card_os.security.cryptography import AesCmac
from personalization.globalplatform import scp03 as host
from personalization.globalplatform.aes_messaging import SecureMessaging
from test_vectors import Vector, load

AID = bytes.fromhex("A000000151000000")
HOST_CHALLENGE = bytes.fromhex("B2BDE1A2DC66BD56")
KEYS = KeySet(0x30, bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
GET_DATA = CommandApdu(0x80, 0xCA, 0x00, 0x66, b"", 256)
STORE = CommandApdu(0x80, 0xE2, 0x88, 0x00, bytes(range(100)))


def vectors(name: str, *, valid: bool) -> pytest.MarkDecorator:
    chosen = [vector for vector in load(f"scp03/{name}.json") if vector.valid is valid]
    return pytest.mark.parametrize("vector", chosen, ids=str)


PUBLISHED = load("scp03/initialize_update.json")[0]


def published_channel() -> Scp03Channel:
    """The card's end of the published session."""
    keys = KeySet(0x30, PUBLISHED.bytes("enc"), PUBLISHED.bytes("mac"), bytes(16))
    return Scp03Channel(keys, PUBLISHED.bytes("host_challenge"), PUBLISHED.bytes("response")[13:21])


def pair(level: int, keys: KeySet = KEYS) -> tuple[Scp03Channel, SecureMessaging]:
    """Both ends of an open session; the host's end is the other implementation."""
    challenge = scp03.card_challenge(keys.enc, b"\x00\x00\x01", AID)
    channel = Scp03Channel(keys, HOST_CHALLENGE, challenge)
    static = host.StaticKeys(keys.version, keys.enc, keys.mac, keys.dek)
    session = host.derive_session_keys(static, HOST_CHALLENGE, challenge)
    messaging = SecureMessaging(session, level)
    cryptogram = host.host_cryptogram(session, HOST_CHALLENGE, challenge)
    command = CommandApdu.parse(messaging.external_authenticate(cryptogram))
    channel.authenticate(channel.unwrap(command))
    assert channel.wrap(b"", SW.OK) == (b"", SW.OK)
    return channel, messaging


def wrapped(messaging: SecureMessaging, command: CommandApdu) -> CommandApdu:
    return CommandApdu.parse(messaging.wrap(command))


@vectors("initialize_update", valid=True)
def test_published_challenge_and_cryptogram(vector: Vector) -> None:
    response = vector.bytes("response")
    assert scp03.card_challenge(vector.bytes("enc"), response[29:], vector.bytes("aid")) == response[13:21]
    assert published_channel().cryptogram == response[21:29]


@vectors("initialize_update", valid=True)
def test_published_session_keys(vector: Vector) -> None:
    context = vector.bytes("host_challenge") + vector.bytes("response")[13:21]
    enc, mac = AesCmac(vector.bytes("enc")), AesCmac(vector.bytes("mac"))
    assert scp03.derive(enc, DerivationConstant.S_ENC, context, 16) == vector.bytes("s_enc")
    assert scp03.derive(mac, DerivationConstant.S_MAC, context, 16) == vector.bytes("s_mac")
    assert scp03.derive(mac, DerivationConstant.S_RMAC, context, 16) == vector.bytes("s_rmac")


@vectors("external_authenticate", valid=True)
def test_published_external_authenticate(vector: Vector) -> None:
    channel = published_channel()
    channel.authenticate(CommandApdu.parse(vector.bytes("command")))
    assert channel.authenticated


@vectors("external_authenticate", valid=False)
def test_false_external_authenticate(vector: Vector) -> None:
    channel = published_channel()
    command = CommandApdu.parse(vector.bytes("command"))
    with pytest.raises(AuthenticationFailed):
        channel.authenticate(command)
    assert not channel.authenticated
    assert not channel.proofs


@vectors("command", valid=True)
def test_published_command(vector: Vector) -> None:
    channel = published_channel()
    channel.authenticate(CommandApdu.parse(vector.bytes("external_authenticate")))
    plain = channel.unwrap(CommandApdu.parse(vector.bytes("command")))
    assert plain.encode() == vector.bytes("plain")


@vectors("command", valid=False)
def test_false_command(vector: Vector) -> None:
    channel = published_channel()
    channel.authenticate(CommandApdu.parse(vector.bytes("external_authenticate")))
    command = CommandApdu.parse(vector.bytes("command"))
    with pytest.raises(SecurityStatusNotSatisfied):
        channel.unwrap(command)


@pytest.mark.parametrize("level", sorted(SECURITY_LEVELS))
@pytest.mark.parametrize("length", [16, 24, 32])
def test_both_ends_agree(level: int, length: int) -> None:
    channel, messaging = pair(level, KeySet(1, bytes(length), b"\x01" * length, b"\x02" * length))
    for size in (0, 1, 15, 16, 17, 200):
        command = CommandApdu(0x80, 0xE2, 0x00, size & 0xFF, bytes(size), 256)
        assert channel.unwrap(wrapped(messaging, command)) == command
        data, sw = channel.wrap(b"\xa5" * size, SW.OK)
        assert messaging.unwrap(data + sw.encode()) == (b"\xa5" * size, SW.OK)


@given(st.lists(st.tuples(st.binary(max_size=239), st.binary(max_size=239)), max_size=5))
def test_both_ends_agree_on_any_data(exchanges: list[tuple[bytes, bytes]]) -> None:
    channel, messaging = pair(0x33)
    for sent, answered in exchanges:
        assert channel.unwrap(wrapped(messaging, STORE._replace(data=sent))).data == sent
        data, sw = channel.wrap(answered, SW.OK)
        assert messaging.unwrap(data + sw.encode()).data == answered


@pytest.mark.parametrize("level", sorted(SECURITY_LEVELS))
def test_proof_and_indication(level: int) -> None:
    """A session grants the proof with a MAC on each command only; without one it is spoken to in plain."""
    channel, _ = pair(level)
    assert channel.proofs == (Proof.SECURE_CHANNEL if level else 0)
    plain = SecureMessagingIndication.NONE
    assert channel.indication is (SecureMessagingIndication.PROPRIETARY if level else plain)


@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
@pytest.mark.parametrize("at", [2, 3, 5, 20, -1])
def test_any_changed_byte_is_refused(level: int, at: int) -> None:
    channel, messaging = pair(level)
    raw = bytearray(messaging.wrap(STORE))
    raw[at if at >= 0 else 4 + raw[4]] ^= 0x01
    command = CommandApdu.parse(bytes(raw))
    with pytest.raises(SecurityStatusNotSatisfied):
        channel.unwrap(command)


@pytest.mark.parametrize("level", [0x01, 0x33])
def test_a_replayed_command_is_refused(level: int) -> None:
    channel, messaging = pair(level)
    command = wrapped(messaging, STORE)
    channel.unwrap(command)
    with pytest.raises(SecurityStatusNotSatisfied):
        channel.unwrap(command)


def test_a_left_out_command_is_noticed() -> None:
    channel, messaging = pair(0x01)
    messaging.wrap(STORE)
    command = wrapped(messaging, STORE)
    with pytest.raises(SecurityStatusNotSatisfied):
        channel.unwrap(command)


@pytest.mark.parametrize("size", range(8))
def test_fewer_bytes_than_a_mac(size: int) -> None:
    channel, _ = pair(0x01)
    command = CommandApdu(0x84, 0xCA, 0, 0x66, bytes(size))
    with pytest.raises(SecurityStatusNotSatisfied):
        channel.unwrap(command)


@pytest.mark.parametrize("body", [b"\x01" * 15, b"\x01" * 17, bytes(16)])
def test_wrong_padding_under_a_right_mac(body: bytes) -> None:
    """A MAC that holds does not make up for a cryptogram that is no whole number of blocks, or has no padding."""
    channel, _ = pair(0x03)
    _, forger = pair(0x01)
    command = wrapped(forger, STORE._replace(data=body))
    # The MAC chain starts with EXTERNAL AUTHENTICATE, whose level differs: take the card's own chain.
    forger._chain = channel._chain
    command = wrapped(forger, STORE._replace(data=body))
    with pytest.raises(SecurityStatusNotSatisfied, match="cryptogram"):
        channel.unwrap(command)


def test_before_authentication_only_external_authenticate_passes() -> None:
    channel = Scp03Channel(KEYS, HOST_CHALLENGE, bytes(8))
    command = CommandApdu(0x84, 0x82, 0x33, 0x00, bytes(16))
    assert channel.unwrap(command) is command
    with pytest.raises(SecurityStatusNotSatisfied, match="not open"):
        channel.unwrap(GET_DATA._replace(cla=0x84))


@pytest.mark.parametrize("level", [0x11, 0x13, 0x33])
@pytest.mark.parametrize(("sw", "sealed"), [(0x9000, True), (0x6310, True), (0x6282, True), (0x6A88, False)])
def test_which_status_words_have_a_mac(level: int, sw: int, *, sealed: bool) -> None:
    """Clause 6.2.5: 9000 and warnings have one, errors neither MAC nor data."""
    channel, messaging = pair(level)
    channel.unwrap(wrapped(messaging, GET_DATA))
    data, status = channel.wrap(b"\x01\x02", StatusWord(sw))
    assert status == sw
    assert (len(data) > 2) if sealed else data == b""
    assert messaging.unwrap(data + status.encode()).data == (b"\x01\x02" if sealed else b"")


@pytest.mark.parametrize("level", [0x01, 0x03])
def test_without_r_mac_the_response_is_plain(level: int) -> None:
    channel, messaging = pair(level)
    channel.unwrap(wrapped(messaging, GET_DATA))
    assert channel.wrap(b"\x01\x02", SW.OK) == (b"\x01\x02", SW.OK)


@pytest.mark.parametrize("cla", [0x84, 0x85, 0x86, 0x87])
def test_logical_channel_does_not_matter_to_the_mac(cla: int) -> None:
    channel, messaging = pair(0x01)
    command = wrapped(messaging, STORE)
    assert channel.unwrap(command._replace(cla=cla)).cla == cla & 0x83


def test_extended_length() -> None:
    channel, messaging = pair(0x33)
    command = CommandApdu(0x80, 0xE2, 0x00, 0x00, bytes(1000), 65_536, extended=True)
    assert channel.unwrap(wrapped(messaging, command)) == command


def test_no_key_shows() -> None:
    text = repr(pair(0x33)[0]) + repr(KEYS)
    assert KEYS.enc.hex() not in text.lower()
    assert repr(KEYS.enc)[2:-1] not in text


EXCHANGES = 3


@vectors("exchanges", valid=True)
def test_exchanges(vector: Vector) -> None:
    challenge = scp03.card_challenge(vector.bytes("enc"), vector.bytes("sequence"), vector.bytes("aid"))
    assert challenge == vector.bytes("card_challenge")
    keys = KeySet(1, vector.bytes("enc"), vector.bytes("mac"), bytes(16))
    channel = Scp03Channel(keys, vector.bytes("host_challenge"), challenge)
    assert channel.cryptogram == vector.bytes("card_cryptogram")
    channel.authenticate(channel.unwrap(CommandApdu.parse(vector.bytes("external_authenticate"))))
    for number in range(1, EXCHANGES + 1):
        plain = channel.unwrap(CommandApdu.parse(vector.bytes(f"command_{number}")))
        assert plain.encode() == vector.bytes(f"plain_command_{number}")
        response = vector.bytes(f"plain_response_{number}")
        data, sw = channel.wrap(response[:-2], StatusWord.parse(response))
        assert data + sw.encode() == vector.bytes(f"response_{number}")
