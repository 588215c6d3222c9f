"""PACE from the terminal's side: the card access number that is printed on a card opens secure messaging with it.

Generic mapping over ECDH on brainpoolP256r1 with AES-128, as EF.CardAccess of our cards announces it. The points are
computed here, apart from the card's own code, so that two readings of one text check each other; every key is used
for one run only.

Source: ICAO Doc 9303-11, 8th edition, clauses 4.4 and 9.7.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.terminal.authentication import RandomSource, cmac
from personalization.terminal.channel import CardChannel, CardRefused, transmit
from personalization.terminal.secure_messaging import SessionKeys

ALGORITHM: Final = bytes.fromhex("04007f00070202040202")
"""id-PACE-ECDH-GM-AES-CBC-CMAC-128."""

_MANAGE_SECURITY_ENVIRONMENT: Final = 0x22
_SET_AUTHENTICATION: Final = 0xC1A4
_GENERAL_AUTHENTICATE: Final = 0x86
_CHAINED: Final = 0x10
_CARD_ACCESS_NUMBER: Final = b"\x02"
_TAG_ALGORITHM, _TAG_PASSWORD, _TAG_DYNAMIC, _TAG_PUBLIC_KEY = 0x80, 0x83, 0x7C, 0x7F49
_TAG_OBJECT_IDENTIFIER, _TAG_POINT = 0x06, 0x86
_KEY_LENGTH: Final = 16
_TOKEN_LENGTH: Final = 8
_COORDINATE: Final = 32
_UNCOMPRESSED: Final = 4
_ENCRYPTION, _MAC, _PASSWORD = 1, 2, 3
_SHORT_NE: Final = 256


class _Point(NamedTuple):
    """A point that is not at infinity."""

    x: int
    y: int


_P: Final = 0xA9FB57DBA1EEA9BC3E660A909D838D726E3BF623D52620282013481D1F6E5377
_A: Final = 0x7D5A0975FC2C3057EEF67530417AFFE7FB8055C126DC5C6CE94A4B44F330B5D9
_B: Final = 0x26DC5C6CE94A4B44F330B5D9BBD77CBF958416295CF7E1CE6BCCDC18FF8C07B6
_N: Final = 0xA9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7
_G: Final = _Point(
    0x8BD2AEB9CB7E57CB2C4B482FFC81B7AFB9DE27E1E3BD23C23A4453BD9ACE3262,
    0x547EF835C3DAC4FD97F8461A14611DC9C27745132DED8E545C1D54C72F046997,
)
"""brainpoolP256r1 (RFC 5639, clause 3.4)."""


def pace(channel: CardChannel, access_number: str, randomness: RandomSource = secrets.token_bytes) -> SessionKeys:
    """Run PACE with the selected application.

    Args:
        channel: the card in plain; the next command goes under secure messaging with the keys that come back.
        access_number: the card access number, digits.
        randomness: source of the two keys of this run.

    Raises:
        CardRefused: the card does not take part.
        PersonalizationError: "access-number-wrong": the card has another number; "card-not-genuine": it does not prove
            that it knows the number, or answers what the protocol does not have.
    """
    objects = tlv.encode(_TAG_ALGORITHM, ALGORITHM) + tlv.encode(_TAG_PASSWORD, _CARD_ACCESS_NUMBER)
    p1, p2 = divmod(_SET_AUTHENTICATION, 0x100)
    transmit(channel, CommandApdu(0, _MANAGE_SECURITY_ENVIRONMENT, p1, p2, objects, 0), "MANAGE SECURITY ENVIRONMENT")
    nonce = _decrypt(_derive(access_number.encode("ascii"), _PASSWORD), _step(channel, None, b"", 0x80))
    map_key = _private(randomness)
    agreed = _multiply(map_key, _decode(_step(channel, 0x81, _encode(_multiply(map_key, _G)), 0x82)))
    generator = _sum(_multiply(int.from_bytes(nonce, "big") % _N, _G), agreed)
    key = _private(randomness)
    own = _encode(_multiply(key, generator))
    theirs = _step(channel, 0x83, own, 0x84)
    if theirs == own:
        raise PersonalizationError("card-not-genuine")
    secret = _encode(_multiply(key, _decode(theirs)))[1 : 1 + _COORDINATE]
    keys = SessionKeys(_derive(secret, _ENCRYPTION), _derive(secret, _MAC))
    try:
        proof = _step(channel, 0x85, _token(keys.mac, theirs), 0x86)
    except CardRefused as refusal:
        if refusal.status == SW.AUTHENTICATION_FAILED:
            raise PersonalizationError("access-number-wrong") from None
        raise
    if not hmac.compare_digest(proof, _token(keys.mac, own)):
        raise PersonalizationError("card-not-genuine")
    return keys


_LAST_TAG: Final = 0x85


def _step(channel: CardChannel, tag: int | None, value: bytes, answer: int) -> bytes:
    """One GENERAL AUTHENTICATE: the value of the object that comes back."""
    inside = b"" if tag is None else tlv.encode(tag, value)
    cla = 0 if tag == _LAST_TAG else _CHAINED
    command = CommandApdu(cla, _GENERAL_AUTHENTICATE, 0, 0, tlv.encode(_TAG_DYNAMIC, inside), _SHORT_NE)
    response = transmit(channel, command, "GENERAL AUTHENTICATE")
    try:
        outer = tlv.parse_one(response)
        item = tlv.parse_one(outer.value)
    except tlv.TlvError:
        raise PersonalizationError("card-not-genuine") from None
    if outer.tag != _TAG_DYNAMIC or item.tag != answer:
        raise PersonalizationError("card-not-genuine")
    return item.value


def _derive(secret: bytes, counter: int) -> bytes:
    return hashlib.sha1(secret + counter.to_bytes(4, "big"), usedforsecurity=False).digest()[:_KEY_LENGTH]


def _decrypt(key: bytes, cryptogram: bytes) -> bytes:
    if len(cryptogram) != _KEY_LENGTH:
        raise PersonalizationError("card-not-genuine")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(_KEY_LENGTH))).decryptor()
    return decryptor.update(cryptogram)


def _token(mac_key: bytes, point: bytes) -> bytes:
    body = tlv.encode(_TAG_OBJECT_IDENTIFIER, ALGORITHM) + tlv.encode(_TAG_POINT, point)
    return cmac(mac_key, tlv.encode(_TAG_PUBLIC_KEY, body))[:_TOKEN_LENGTH]


def _private(randomness: RandomSource) -> int:
    while True:
        value = int.from_bytes(randomness(_COORDINATE), "big")
        if 0 < value < _N:
            return value


def _encode(point: _Point) -> bytes:
    x, y = (value.to_bytes(_COORDINATE, "big") for value in point)
    return bytes((_UNCOMPRESSED,)) + x + y


def _decode(raw: bytes) -> _Point:
    """A point that the card sent; one that is not on the curve would give the key away."""
    point = _Point(int.from_bytes(raw[1 : 1 + _COORDINATE], "big"), int.from_bytes(raw[1 + _COORDINATE :], "big"))
    on_curve = max(point) < _P and (point.y * point.y - point.x**3 - _A * point.x - _B) % _P == 0
    if len(raw) != 1 + 2 * _COORDINATE or raw[0] != _UNCOMPRESSED or not on_curve:
        raise PersonalizationError("card-not-genuine")
    return point


def _add(left: _Point | None, right: _Point | None) -> _Point | None:
    """The sum of two points, None being the one at infinity."""
    if left is None or right is None:
        return left or right
    if left.x == right.x:
        if (left.y + right.y) % _P == 0:
            return None
        slope = (3 * left.x * left.x + _A) * pow(2 * left.y, -1, _P)
    else:
        slope = (right.y - left.y) * pow(right.x - left.x, -1, _P)
    x = (slope * slope - left.x - right.x) % _P
    return _Point(x, (slope * (left.x - x) - left.y) % _P)


def _sum(left: _Point, right: _Point) -> _Point:
    result = _add(left, right)
    if result is None:
        raise PersonalizationError("card-not-genuine")
    return result


def _multiply(scalar: int, point: _Point) -> _Point:
    result: _Point | None = None
    for bit in f"{scalar:b}":
        result = _add(result, result)
        if bit == "1":
            result = _add(result, point)
    if result is None:
        raise PersonalizationError("card-not-genuine")
    return result
