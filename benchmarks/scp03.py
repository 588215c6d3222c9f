"""SCP03 on both sides, beside the floors measured in the same run.

The floor is the bare cryptography of the same bytes on objects that are keyed already: one CMAC for the command, one
for the response, and one CBC update. Level 33, S8; 239 bytes of data fill a short command. Ours and the floor run in
turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from benchmarks.turns import REPEATS, ROUNDS, beside
from card_os.card import Card
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.scp03 import Scp03Channel, card_challenge
from card_os.hardware.image import NvmImage
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.manufacture import manufacture
from personalization.globalplatform import scp03 as host
from personalization.globalplatform.aes_messaging import SecureMessaging
from personalization.globalplatform.handshake import Handshake

_AID: Final = bytes.fromhex("A000000151000000")
_KEYS: Final = KeySet(0x01, bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
_STATIC: Final = host.StaticKeys(0x01, _KEYS.enc, _KEYS.mac, _KEYS.dek)
_COMMAND: Final = CommandApdu(0x80, 0xE2, 0x00, 0x00, bytes(range(239)), 256)
_OK: Final = SW.OK.encode()
_LEVEL: Final = 0x33
_OPENINGS: Final = 30
"""Sessions opened in one run."""
_HOST_MACS: Final = 7
_CARD_MACS: Final = 7
"""Three keys, two cryptograms, the challenge and one MAC."""
_ALL_MACS: Final = 13
"""The challenge, and on each side three keys, two cryptograms and one MAC."""


Work = Callable[[], object]
"""One call of what is measured."""


class Row(NamedTuple):
    """One measurement: least µs of processor time for one call, ours and the floor."""

    name: str
    ours: float
    floor: float


def _open() -> tuple[Scp03Channel, SecureMessaging]:
    """Both ends of a session."""
    host_challenge = bytes(8)
    challenge = card_challenge(_KEYS.enc, b"\x00\x00\x01", _AID)
    channel = Scp03Channel(_KEYS, host_challenge, challenge)
    keys = host.derive_session_keys(_STATIC, host_challenge, challenge)
    messaging = SecureMessaging(keys, _LEVEL)
    cryptogram = host.host_cryptogram(keys, host_challenge, challenge)
    channel.authenticate(channel.unwrap(CommandApdu.parse(messaging.external_authenticate(cryptogram))))
    return channel, messaging


def _floor_one_side() -> Work:
    """Two CMACs (261 and 18 bytes) by `copy()` and one running CBC update of 256 bytes."""
    keyed = CMAC(algorithms.AES(_KEYS.mac))
    cipher = Cipher(algorithms.AES(_KEYS.enc), modes.CBC(bytes(16))).encryptor()
    command, response, data = bytes(261), bytes(18), bytes(256)

    def work() -> None:
        cipher.update(data)
        mac = keyed.copy()
        mac.update(command)
        mac.finalize()
        mac = keyed.copy()
        mac.update(response)
        mac.finalize()

    return work


def _floor_opening(macs: int) -> Work:
    """CMACs under new keys."""
    key = algorithms.AES(_KEYS.mac)
    block = bytes(32)

    def work() -> None:
        for _ in range(macs):
            mac = CMAC(key)
            mac.update(block)
            mac.finalize()

    return work


def _card_opening() -> Work:
    """The card's part of an opening: challenge, keys, cryptograms, and the proof of the host."""
    host_challenge = bytes(8)
    sequence = b"\x00\x00\x01"
    challenge = card_challenge(_KEYS.enc, sequence, _AID)
    keys = host.derive_session_keys(_STATIC, host_challenge, challenge)
    cryptogram = host.host_cryptogram(keys, host_challenge, challenge)
    proof = CommandApdu.parse(SecureMessaging(keys, _LEVEL).external_authenticate(cryptogram))

    def work() -> None:
        channel = Scp03Channel(_KEYS, host_challenge, card_challenge(_KEYS.enc, sequence, _AID))
        channel.authenticate(proof)

    return work


def _whole_card_opening() -> Work:
    """Both commands on a booted card, with its counters in the memory; the host's part was computed before."""
    image = NvmImage.create()
    manufacture(image.nvm(), ProductionData(), _KEYS)
    card = Card(image.nvm(), [])
    card.contact.power_on()
    start = CommandApdu(0x80, 0x50, 0x00, 0x00, bytes(8), 256).encode()
    proofs: list[bytes] = []
    for count in range(1, _OPENINGS * REPEATS + 1):
        challenge = card_challenge(_KEYS.enc, count.to_bytes(3, "big"), _AID)
        keys = host.derive_session_keys(_STATIC, bytes(8), challenge)
        cryptogram = host.host_cryptogram(keys, bytes(8), challenge)
        proofs.append(SecureMessaging(keys, _LEVEL).external_authenticate(cryptogram))
    rest = iter(proofs)

    def work() -> None:
        card.contact.process(start)
        if card.contact.process(next(rest)) != _OK:
            raise RuntimeError("the card refused a right proof")

    return work


def _host_side() -> Work:
    """Wrap, and verify the response MAC; the responses come from a card that answered before."""
    total = ROUNDS * REPEATS
    channel, messaging = _open()
    responses: list[bytes] = []
    for _ in range(total):
        channel.unwrap(CommandApdu.parse(messaging.wrap(_COMMAND)))
        data, _sw = channel.wrap(b"", SW.OK)
        responses.append(data + _OK)
    _, messaging = _open()
    answers = iter(responses)

    def work() -> None:
        messaging.wrap(_COMMAND)
        messaging.unwrap(next(answers))

    return work


def _card_side() -> Work:
    """Verify, decrypt and answer; the commands come from a host that sent them before."""
    total = ROUNDS * REPEATS
    _, messaging = _open()
    wrapped = iter([CommandApdu.parse(messaging.wrap(_COMMAND)) for _ in range(total)])
    channel, _ = _open()

    def work() -> None:
        channel.unwrap(next(wrapped))
        channel.wrap(b"", SW.OK)

    return work


def _opening_host_side() -> Work:
    """From the answer to INITIALIZE UPDATE to the encoded EXTERNAL AUTHENTICATE, the card's proof checked."""
    host_challenge = bytes(8)
    sequence = b"\x00\x00\x01"
    challenge = card_challenge(_KEYS.enc, sequence, _AID)
    cryptogram = Scp03Channel(_KEYS, host_challenge, challenge).cryptogram
    answer = bytes(10) + b"\x01\x03\x70" + challenge + cryptogram + sequence

    def work() -> None:
        session = Handshake.of(host_challenge, answer, _AID).under(_STATIC)
        if not session.genuine:
            raise ValueError("the card of this benchmark is not genuine")
        session.secure_messaging(_LEVEL).external_authenticate(session.host_cryptogram)

    return work


def _both_sides() -> Work:
    """The whole exchange, with decoding on the card's side."""
    channel, messaging = _open()

    def work() -> None:
        channel.unwrap(CommandApdu.parse(messaging.wrap(_COMMAND)))
        data, _sw = channel.wrap(b"", SW.OK)
        messaging.unwrap(data + _OK)

    return work


def _floor_both_sides() -> Work:
    """Twice one side."""
    one = _floor_one_side()

    def work() -> None:
        one()
        one()

    return work


def run() -> list[Row]:
    """Measure; floors and ours in the same run, in turns."""
    return [
        Row("SCP03 239 B, host side", *beside(_host_side(), _floor_one_side())),
        Row("SCP03 239 B, card side", *beside(_card_side(), _floor_one_side())),
        Row("SCP03 239 B, both sides", *beside(_both_sides(), _floor_both_sides())),
        Row("SCP03 opening, host side", *beside(_opening_host_side(), _floor_opening(_HOST_MACS), _OPENINGS)),
        Row("SCP03 opening, card side", *beside(_card_opening(), _floor_opening(_CARD_MACS), _OPENINGS)),
        Row("SCP03 opening, whole card", *beside(_whole_card_opening(), _floor_opening(_CARD_MACS), _OPENINGS)),
        Row("SCP03 opening, both sides", *beside(_open, _floor_opening(_ALL_MACS), _OPENINGS)),
    ]


if __name__ == "__main__":
    for name, ours, floor_us in run():
        print(f"{name:<28} {ours:8.2f} µs   floor {floor_us:8.2f} µs   {ours / floor_us:5.2f} ×")
