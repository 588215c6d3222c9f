"""SCP03 on both sides, beside the floors measured in the same run.

The floor is the bare cryptography of the same bytes on objects that are keyed already: one CMAC for the command, one
for the response, and one CBC update. Level 33, S8; 239 bytes of data fill a short command.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time_ns
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

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
_ROUNDS: Final = 2_000
_REPEATS: Final = 7
_HOST_MACS: Final = 7
_CARD_MACS: Final = 7
"""Three keys, two cryptograms, the challenge and one MAC."""
_ALL_MACS: Final = 13
"""The challenge, and on each side three keys, two cryptograms and one MAC."""


class Row(NamedTuple):
    """One measurement: median µs of processor time for one call, ours and the floor."""

    name: str
    ours: float
    floor: float


def _median(work: Callable[[int], object], rounds: int = _ROUNDS) -> float:
    """Median over several runs of µs for one call; the work gets the number of the call."""
    runs: list[float] = []
    for _ in range(_REPEATS):
        start = thread_time_ns()
        for number in range(rounds):
            work(number)
        runs.append((thread_time_ns() - start) / rounds / 1000)
    return sorted(runs)[_REPEATS // 2]


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


def _floor_one_side() -> float:
    """Two CMACs (261 and 18 bytes) by `copy()` and one running CBC update of 256 bytes."""
    keyed = CMAC(algorithms.AES(_KEYS.mac))
    cipher = Cipher(algorithms.AES(_KEYS.enc), modes.CBC(bytes(16))).encryptor()
    command, response, data = bytes(261), bytes(18), bytes(256)

    def work(_number: int) -> None:
        cipher.update(data)
        mac = keyed.copy()
        mac.update(command)
        mac.finalize()
        mac = keyed.copy()
        mac.update(response)
        mac.finalize()

    return _median(work)


def _floor_opening(macs: int) -> float:
    """CMACs under new keys."""
    key = algorithms.AES(_KEYS.mac)
    block = bytes(32)

    def work(_number: int) -> None:
        for _ in range(macs):
            mac = CMAC(key)
            mac.update(block)
            mac.finalize()

    return _median(work, 200)


def _card_opening() -> float:
    """The card's part of an opening: challenge, keys, cryptograms, and the proof of the host."""
    host_challenge = bytes(8)
    sequence = b"\x00\x00\x01"
    challenge = card_challenge(_KEYS.enc, sequence, _AID)
    keys = host.derive_session_keys(_STATIC, host_challenge, challenge)
    cryptogram = host.host_cryptogram(keys, host_challenge, challenge)
    proof = CommandApdu.parse(SecureMessaging(keys, _LEVEL).external_authenticate(cryptogram))

    def work(_number: int) -> None:
        channel = Scp03Channel(_KEYS, host_challenge, card_challenge(_KEYS.enc, sequence, _AID))
        channel.authenticate(proof)

    return _median(work, 200)


def _whole_card_opening() -> float:
    """Both commands on a booted card, with its counters in the memory; the host's part was computed before."""
    image = NvmImage.create()
    manufacture(image.nvm(), ProductionData(), _KEYS)
    card = Card(image.nvm(), [])
    card.contact.power_on()
    start = CommandApdu(0x80, 0x50, 0x00, 0x00, bytes(8), 256).encode()
    proofs: list[bytes] = []
    for count in range(1, 200 * _REPEATS + 1):
        challenge = card_challenge(_KEYS.enc, count.to_bytes(3, "big"), _AID)
        keys = host.derive_session_keys(_STATIC, bytes(8), challenge)
        cryptogram = host.host_cryptogram(keys, bytes(8), challenge)
        proofs.append(SecureMessaging(keys, _LEVEL).external_authenticate(cryptogram))
    rest = iter(proofs)

    def work(_number: int) -> None:
        card.contact.process(start)
        if card.contact.process(next(rest)) != _OK:
            raise RuntimeError("the card refused a right proof")

    return _median(work, 200)


def _host_side() -> float:
    """Wrap, and verify the response MAC; the responses come from a card that answered before."""
    total = _ROUNDS * _REPEATS
    channel, messaging = _open()
    responses: list[bytes] = []
    for _ in range(total):
        channel.unwrap(CommandApdu.parse(messaging.wrap(_COMMAND)))
        data, _sw = channel.wrap(b"", SW.OK)
        responses.append(data + _OK)
    _, messaging = _open()
    answers = iter(responses)

    def work(_number: int) -> None:
        messaging.wrap(_COMMAND)
        messaging.unwrap(next(answers))

    return _median(work)


def _card_side() -> float:
    """Verify, decrypt and answer; the commands come from a host that sent them before."""
    total = _ROUNDS * _REPEATS
    _, messaging = _open()
    wrapped = iter([CommandApdu.parse(messaging.wrap(_COMMAND)) for _ in range(total)])
    channel, _ = _open()

    def work(_number: int) -> None:
        channel.unwrap(next(wrapped))
        channel.wrap(b"", SW.OK)

    return _median(work)


def _opening_host_side() -> float:
    """From the answer to INITIALIZE UPDATE to the encoded EXTERNAL AUTHENTICATE, the card's proof checked."""
    host_challenge = bytes(8)
    sequence = b"\x00\x00\x01"
    challenge = card_challenge(_KEYS.enc, sequence, _AID)
    cryptogram = Scp03Channel(_KEYS, host_challenge, challenge).cryptogram
    answer = bytes(10) + b"\x01\x03\x70" + challenge + cryptogram + sequence

    def work(_number: int) -> None:
        session = Handshake.of(host_challenge, answer, _AID).under(_STATIC)
        if not session.genuine:
            raise ValueError("the card of this benchmark is not genuine")
        session.secure_messaging(_LEVEL).external_authenticate(session.host_cryptogram)

    return _median(work, 200)


def _both_sides() -> float:
    """The whole exchange, with decoding on the card's side."""
    channel, messaging = _open()

    def work(_number: int) -> None:
        channel.unwrap(CommandApdu.parse(messaging.wrap(_COMMAND)))
        data, _sw = channel.wrap(b"", SW.OK)
        messaging.unwrap(data + _OK)

    return _median(work)


def run() -> list[Row]:
    """Measure; floors and ours in the same run."""
    floor = _floor_one_side()
    card_floor = _floor_opening(_CARD_MACS)
    return [
        Row("SCP03 239 B, host side", _host_side(), floor),
        Row("SCP03 239 B, card side", _card_side(), floor),
        Row("SCP03 239 B, both sides", _both_sides(), 2 * floor),
        Row("SCP03 opening, host side", _opening_host_side(), _floor_opening(_HOST_MACS)),
        Row("SCP03 opening, card side", _card_opening(), card_floor),
        Row("SCP03 opening, whole card", _whole_card_opening(), card_floor),
        Row("SCP03 opening, both sides", _median(lambda _: _open(), 200), _floor_opening(_ALL_MACS)),
    ]


if __name__ == "__main__":
    for name, ours, floor_us in run():
        print(f"{name:<28} {ours:8.2f} µs   floor {floor_us:8.2f} µs   {ours / floor_us:5.2f} ×")
