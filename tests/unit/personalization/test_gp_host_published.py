"""The host in sessions of other programs under SCP02 and SCP03, published or recorded, and in false ones of them."""

from __future__ import annotations

import pytest

from card_os.iso7816.apdu import CommandApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform.handshake import Handshake, KeyedSession
from personalization.globalplatform.scp03 import StaticKeys
from test_vectors import Vector, load

VECTORS = [
    vector
    for name in ("scp02/published", "scp03/published", "scp03/recorded")
    for vector in load(f"{name}_sessions.json")
]
R_MAC = 0x10


def chosen(vectors: list[Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=str)


VALID = [vector for vector in VECTORS if vector.valid]
FALSE_OPENINGS = [vector for vector in VECTORS if vector.values.get("refused") == 0]
FALSE_RESPONSES = [vector for vector in VECTORS if "refused_response" in vector.values]
"""The other invalid ones are commands that a card has to refuse."""


def keyed(vector: Vector) -> KeyedSession:
    """The session that the published keys make of the published answer.

    How these cards made their challenges is not known, nor the domain's AID; so only the cryptogram is judged.
    """
    enc, mac = vector.bytes("enc"), vector.bytes("mac")
    keys = StaticKeys(0x00, enc, mac, bytes(len(enc)))
    answer = vector.bytes("response")
    handshake = Handshake.of(vector.bytes("host_challenge"), answer, None, vector.number("implementation"))
    return handshake.under(keys)


def steps(vector: Vector) -> list[str]:
    """Bytes on the line, in hexadecimal, from EXTERNAL AUTHENTICATE on; empty when the card is not genuine."""
    session = keyed(vector)
    if not session.genuine:
        return []
    messaging = session.secure_messaging(vector.number("level"))
    line = [messaging.external_authenticate(session.host_cryptogram).hex()]
    number = 1
    while f"plain_command_{number}" in vector.values:
        plain = CommandApdu.parse(vector.bytes(f"plain_command_{number}"))
        line.append(messaging.wrap(plain).hex())
        if f"response_{number}" in vector.values:
            response = messaging.unwrap(vector.bytes(f"response_{number}"))
            line.append(response.encode().hex())
        number += 1
    return line


def published(vector: Vector) -> list[str]:
    """What the vector has of the same.

    Some of these programs leave Le out where the response has nothing but its R-MAC; ours asks for it, for a card
    behind T=0 could not send it else. Some authenticate with Le, ours does not. Le is not under the C-MAC.
    """
    line = [CommandApdu.parse(vector.bytes("external_authenticate"))._replace(ne=0).encode().hex()]
    number = 1
    while f"plain_command_{number}" in vector.values:
        command = CommandApdu.parse(vector.bytes(f"command_{number}"))
        ne = 256 if vector.number("level") & R_MAC else command.ne
        line.append(command._replace(ne=ne).encode().hex())
        if f"response_{number}" in vector.values:
            line.append(str(vector.values[f"plain_response_{number}"]))
        number += 1
    return line


@chosen(VALID)
def test_a_published_session(vector: Vector) -> None:
    assert steps(vector) == published(vector)


@chosen(FALSE_OPENINGS)
def test_a_false_opening_is_never_sent(vector: Vector) -> None:
    assert steps(vector)[:1] != [vector.values["external_authenticate"]]


@chosen(FALSE_RESPONSES)
def test_a_false_response_is_refused(vector: Vector) -> None:
    false = vector.number("refused_response")
    session = keyed(vector)
    messaging = session.secure_messaging(vector.number("level"))
    messaging.external_authenticate(session.host_cryptogram)
    for number in range(1, false):
        messaging.wrap(CommandApdu.parse(vector.bytes(f"plain_command_{number}")))
        if f"response_{number}" in vector.values:
            messaging.unwrap(vector.bytes(f"response_{number}"))
    messaging.wrap(CommandApdu.parse(vector.bytes(f"plain_command_{false}")))
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        messaging.unwrap(vector.bytes(f"response_{false}"))


def test_there_are_enough_of_them() -> None:
    assert len(VALID) >= 30
    assert min(len(FALSE_OPENINGS), len(FALSE_RESPONSES)) >= 5
