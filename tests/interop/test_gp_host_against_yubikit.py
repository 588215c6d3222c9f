"""The host's SCP03 beside the one of the PyPI package yubikey-manager: same session keys, same bytes on the line.

Both get the same keys, host challenge and card answers (Amendment D v1.1.1, S8, AES-128, level 33, which is
what that package has).
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yubikit.core import BadResponseError
from yubikit.core.smartcard import ApduProcessor, ScpProcessor, ShortApduFormatter
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, ScpState
from yubikit.core.smartcard.scp import StaticKeys as TheirKeys

from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.scp03 import Scp03Channel, card_challenge
from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.handshake import Handshake, SecureMessaging
from personalization.globalplatform.scp03 import StaticKeys, derive_session_keys

AID = bytes.fromhex("A000000151000000")
VERSION = 0x30
DIVERSIFICATION = bytes(range(10))
AES_128 = st.binary(min_size=16, max_size=16)
CHALLENGE = st.binary(min_size=8, max_size=8)


class Sides(NamedTuple):
    """Both hosts after EXTERNAL AUTHENTICATE, and the card that answers one of them."""

    ours: SecureMessaging
    theirs: ScpState
    card: Scp03Channel


def answer_of_a_card(keys: KeySet, host_challenge: bytes, challenge: bytes) -> tuple[Scp03Channel, bytes]:
    channel = Scp03Channel(keys, host_challenge, challenge)
    head = DIVERSIFICATION + bytes((VERSION, 0x03, 0x70))
    return channel, head + challenge + channel.cryptogram + b"\x00\x00\x01"


def open_both(enc: bytes, mac: bytes, dek: bytes, host_challenge: bytes) -> Sides:
    keys = KeySet(VERSION, enc, mac, dek)
    channel, answer = answer_of_a_card(keys, host_challenge, card_challenge(enc, b"\x00\x00\x01", AID))
    asked: list[bytes] = []

    def send(cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
        asked.append(bytes((cla, ins, p1, p2, len(data))) + data)
        return answer

    parameters = Scp03KeyParams(KeyRef(ScpKid.SCP03, VERSION), TheirKeys(enc, mac, dek))
    theirs, cryptogram = ScpState.scp03_init(send, parameters, host_challenge=host_challenge)
    assert asked == [commands.initialize_update(VERSION, host_challenge).encode()[:-1]]

    handshake = Handshake.of(host_challenge, answer, AID)
    static = StaticKeys(VERSION, enc, mac, dek)
    session = handshake.under(static)
    assert session.genuine
    assert session.host_cryptogram == cryptogram
    ours = session.secure_messaging(0x33)
    opening = ours.external_authenticate(cryptogram)
    header = opening[:-8]
    assert opening[-8:] == theirs.mac(header)
    our_keys = derive_session_keys(static, host_challenge, handshake.card.challenge)
    their_keys = theirs._keys
    assert our_keys == (their_keys.key_senc, their_keys.key_smac, their_keys.key_srmac)
    channel.authenticate(channel.unwrap(CommandApdu.parse(opening)))
    return Sides(ours, theirs, channel)


class Line(ApduProcessor):
    """Where the other host's commands go: they are kept, and the card answers."""

    def __init__(self, card: Scp03Channel, response: bytes) -> None:
        self.card = card
        self.response = response
        self.sent = b""

    def send_apdu(self, cla: int, ins: int, p1: int, p2: int, data: bytes, le: int) -> tuple[bytes, int]:
        self.sent = CommandApdu(cla, ins, p1, p2, data, le).encode()
        self.card.unwrap(CommandApdu.parse(self.sent))
        return self.card.wrap(self.response, SW.OK)


@given(
    AES_128,
    AES_128,
    AES_128,
    CHALLENGE,
    st.lists(st.tuples(st.binary(min_size=1, max_size=239), st.binary(max_size=200)), max_size=5),
)
def test_same_keys_and_same_bytes(
    enc: bytes, mac: bytes, dek: bytes, host_challenge: bytes, exchanges: list[tuple[bytes, bytes]]
) -> None:
    ours, theirs, card = open_both(enc, mac, dek, host_challenge)
    for data, response in exchanges:
        line = Line(card, response)
        processor = ScpProcessor(line, ShortApduFormatter(), theirs)
        plain, sw = processor.send_apdu(0x80, 0xE2, 0x88, 0x00, data, 256)
        wrapped = ours.wrap(CommandApdu(0x80, 0xE2, 0x88, 0x00, data, 256))
        assert wrapped == line.sent
        assert (plain, sw) == (response, 0x9000)


def test_responses_are_read_alike_and_a_bare_9000_is_not() -> None:
    """The other package takes a bare 9000 for a response; ours never does."""
    ours, theirs, card = open_both(bytes(16), bytes(range(16)), bytes(16), bytes(8))
    command = CommandApdu(0x80, 0xE2, 0x88, 0x00, b"\x01", 256)
    line = Line(card, b"answer")
    plain, _ = ScpProcessor(line, ShortApduFormatter(), theirs).send_apdu(0x80, 0xE2, 0x88, 0x00, b"\x01", 256)
    ours.wrap(command)
    with pytest.raises(PersonalizationError, match="response MAC is missing"):
        ours.unwrap(SW.OK.encode())
    assert plain == b"answer"


def test_a_changed_response_is_refused_by_both() -> None:
    ours, theirs, card = open_both(bytes(16), bytes(range(16)), bytes(16), bytes(8))
    wrapped = ours.wrap(CommandApdu(0x80, 0xE2, 0x88, 0x00, b"\x01", 256))
    theirs.encrypt(b"\x01")
    theirs.mac(wrapped[:-9])
    card.unwrap(CommandApdu.parse(wrapped))
    data, sw = card.wrap(b"answer", SW.OK)
    changed = data[:-1] + bytes((data[-1] ^ 1,))
    with pytest.raises(BadResponseError):
        theirs.unmac(changed, sw)
    with pytest.raises(PersonalizationError, match="response MAC is wrong"):
        ours.unwrap(ResponseApdu(changed, sw).encode())
