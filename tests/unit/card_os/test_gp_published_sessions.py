"""The card's end of sessions of other programs, published or recorded, and of what was spoilt in them.

Source: GPC 2.3.1, appendix E; Amendment D v1.1.1.
"""

from __future__ import annotations

import pytest

from card_os.globalplatform import scp02, scp03
from card_os.globalplatform.key_types import KeyType
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.scp02 import Scp02Channel, SessionKeyConstant
from card_os.globalplatform.scp03 import Scp03Channel
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import AuthenticationFailed, SecurityStatusNotSatisfied
from card_os.iso7816.status import StatusWord
from personalization.errors import PersonalizationError
from personalization.globalplatform import scp03 as host
from personalization.globalplatform.aes_messaging import SecureMessaging
from test_vectors import Vector, load

SCP02 = load("scp02/published_sessions.json")
SCP03 = load("scp03/published_sessions.json") + load("scp03/recorded_sessions.json")
MOST_COMMANDS = 6
RESPONSE_AT = 13
SEQUENCE_AT = slice(12, 14)


def chosen(vectors: list[Vector], field: str | None = None) -> pytest.MarkDecorator:
    """The valid sessions, or the spoilt ones that name ``field``."""
    rows = [vector for vector in vectors if (vector.valid if field is None else field in vector.values)]
    return pytest.mark.parametrize("vector", rows, ids=str)


def keys_of(vector: Vector, key_type: KeyType) -> KeySet:
    enc, mac = vector.bytes("enc"), vector.bytes("mac")
    return KeySet(vector.bytes("response")[10], enc, mac, bytes(len(enc)), key_type)


def channel_of(vector: Vector) -> Scp02Channel | Scp03Channel:
    """The channel that the card made its answer with."""
    answer, implementation = vector.bytes("response"), vector.number("implementation")
    host_challenge = vector.bytes("host_challenge")
    if answer[11] == 2:
        keys = keys_of(vector, KeyType.DES)
        return Scp02Channel(keys, host_challenge, answer[SEQUENCE_AT], answer[14:20], implementation, lambda: None)
    length = scp03.challenge_length(implementation)
    challenge = answer[RESPONSE_AT : RESPONSE_AT + length]
    return Scp03Channel(keys_of(vector, KeyType.AES), host_challenge, challenge, implementation)


def authenticate(channel: Scp02Channel | Scp03Channel, vector: Vector) -> None:
    command = CommandApdu.parse(vector.bytes("external_authenticate"))
    assert command.p1 in channel.levels
    channel.authenticate(channel.unwrap(command))


def run(channel: Scp02Channel | Scp03Channel, vector: Vector, number: int) -> None:
    """One command of a session, and its answer where one was published."""
    plain = channel.unwrap(CommandApdu.parse(vector.bytes(f"command_{number}")))
    if f"plain_command_{number}" in vector.values:
        expected = CommandApdu.parse(vector.bytes(f"plain_command_{number}"))
        assert plain[:5] == expected[:5]
    if f"response_{number}" in vector.values:
        answer = vector.bytes(f"plain_response_{number}")
        data, sw = channel.wrap(answer[:-2], StatusWord.parse(answer))
        assert data + sw.encode() == vector.bytes(f"response_{number}")


@chosen(SCP02 + SCP03)
def test_card_cryptogram(vector: Vector) -> None:
    answer = vector.bytes("response")
    end = len(answer) - (3 if answer[11] == 3 and vector.number("implementation") & 0x10 else 0)
    cryptogram = channel_of(vector).cryptogram
    assert answer[end - len(cryptogram) : end] == cryptogram


@pytest.mark.parametrize("vector", [vector for vector in SCP03 if vector.valid and "aid" in vector.values], ids=str)
def test_pseudo_random_challenge(vector: Vector) -> None:
    answer, length = vector.bytes("response"), scp03.challenge_length(vector.number("implementation"))
    challenge = scp03.card_challenge(vector.bytes("enc"), answer[-3:], vector.bytes("aid"), length)
    assert challenge == answer[RESPONSE_AT : RESPONSE_AT + length]


@chosen(SCP02 + SCP03)
def test_published_session(vector: Vector) -> None:
    channel = channel_of(vector)
    authenticate(channel, vector)
    count = sum(f"command_{number}" in vector.values for number in range(1, MOST_COMMANDS + 1))
    for number in range(1, count + 1):
        run(channel, vector, number)


@chosen(SCP02 + SCP03, "refused")
def test_spoilt_session(vector: Vector) -> None:
    """Everything before the spoilt step is taken, the step itself is not."""
    channel, refused = channel_of(vector), vector.number("refused")
    if refused == 0:
        with pytest.raises(AuthenticationFailed):
            authenticate(channel, vector)
        assert not channel.authenticated
        assert not channel.proofs
        return
    authenticate(channel, vector)
    for number in range(1, refused):
        run(channel, vector, number)
    with pytest.raises(SecurityStatusNotSatisfied):
        run(channel, vector, refused)


@chosen([vector for vector in SCP03 if not vector.number("implementation") & 1], "refused_response")
def test_spoilt_response(vector: Vector) -> None:
    """What the card does not answer, a host does not take."""
    channel = channel_of(vector)
    authenticate(channel, vector)
    plain = channel.unwrap(CommandApdu.parse(vector.bytes("command_1")))
    keys = host.StaticKeys(1, vector.bytes("enc"), vector.bytes("mac"), vector.bytes("mac"))
    session = host.derive_session_keys(keys, vector.bytes("host_challenge"), vector.bytes("response")[13:21])
    messaging = SecureMessaging(session, vector.number("level"))
    messaging.external_authenticate(vector.bytes("external_authenticate")[5:13])
    assert messaging.wrap(plain).startswith(vector.bytes("command_1").removesuffix(b"\x00"))
    with pytest.raises(PersonalizationError):
        messaging.unwrap(vector.bytes("response_1"))


@pytest.mark.parametrize("vector", load("scp02/session_keys.json"), ids=str)
def test_scp02_session_keys(vector: Vector) -> None:
    constant = SessionKeyConstant(vector.number("constant"))
    assert scp02.session_key(vector.bytes("key"), constant, vector.bytes("sequence")) == vector.bytes("session_key")


def test_every_kind_of_fault_is_there() -> None:
    """What the vectors must hold: faults in the proof, in commands and in responses, for both protocols."""
    for vectors in (SCP02, SCP03):
        ends = {"cryptogram", "mac", "level", "bit", "padding", "replayed", "out"}
        assert ends <= {vector.id.rsplit("-", 1)[1] for vector in vectors if not vector.valid}
