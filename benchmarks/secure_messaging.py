"""PINs, authentication and secure messaging on the card's side, beside the floors measured in the same run.

The floor of secure messaging is the bare cryptography of the same bytes on objects that are keyed already; that of
VERIFY is the smallest card there can be: a counter in a byte array, and the compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hmac import compare_digest
from time import thread_time_ns
from typing import ClassVar

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from card_os.applet_api import (
    AccessRule,
    AesCmac,
    Context,
    Instruction,
    KeyUsage,
    Proof,
    authentication_instructions,
    cmac,
    create_key,
    create_pin,
    instruction_table,
    pin_block,
    pin_instructions,
)
from card_os.card import Card
from card_os.files.commands import FILE_INSTRUCTIONS
from card_os.files.spec import AccessMode, FileSpec, FileStructure
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.port import Port
from card_os.security.secure_messaging import IsoSecureMessaging

_ROUNDS = 400
_REPEATS = 9
_AID = bytes.fromhex("F042454E434801")
_KEY = bytes(range(32))
_PIN = pin_block("123456")
_LENGTH = 200
_WRAPPED = 208  # 200 bytes padded to whole blocks

Row = tuple[str, float, float]


class BenchmarkApplet:
    """One file that a role reads under secure messaging, one PIN, one key."""

    package_aid: ClassVar[bytes] = _AID[:-1]
    module_aid: ClassVar[bytes] = _AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *pin_instructions(), *authentication_instructions(), *FILE_INSTRUCTIONS
    )

    def install(self, context: Context, parameters: bytes) -> None:  # noqa: ARG002 - the protocol's arguments
        """Create the objects."""
        create_pin(context, 0x81, _PIN, number=1, try_limit=3)
        create_key(context, 0x81, _KEY, usage=KeyUsage.TERMINAL, role=1, try_limit=10)
        rule = AccessRule((int(Proof.key(1) | Proof.SECURE_MESSAGING),))
        context.files.create(
            FileSpec(0x0101, FileStructure.TRANSPARENT, size=1024, sfi=1, rules={AccessMode.READ: rule})
        )

    def select(self, context: Context) -> bytes:  # noqa: ARG002 - the protocol's arguments
        """Answer nothing."""
        return b""

    def deselect(self, context: Context) -> None:
        """Keep nothing."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """Take nothing."""


def _median(measure: Callable[[], float]) -> float:
    return sorted(measure() for _ in range(_REPEATS))[_REPEATS // 2]


def _time(work: Callable[[], object]) -> float:
    """Median of several runs, µs of processor time for one call."""

    def once() -> float:
        start = thread_time_ns()
        for _ in range(_ROUNDS):
            work()
        return (thread_time_ns() - start) / _ROUNDS / 1000

    return _median(once)


def _selected() -> Port:
    image = NvmImage.create()
    card = Card(image.nvm(), [BenchmarkApplet], randomness=SeededRandomness(1))
    card.platform.install(
        package_aid=_AID[:-1], module_aid=_AID, aid=_AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    port = card.contact
    port.power_on()
    port.process(CommandApdu(0, 0xA4, 4, 0, _AID, 256).encode())
    return port


def _challenge(port: Port) -> bytes:
    return port.process(CommandApdu(0, 0x84, 0, 0, b"", 16).encode())[:16]


def _open(port: Port) -> tuple[bytes, bytes]:
    """Authenticate as a terminal; returns KS.ENC and KS.MAC."""
    nonce, share = bytes(16), b"\x01" * 16
    challenge = _challenge(port)
    cbc = Cipher(algorithms.AES(_KEY[:16]), modes.CBC(bytes(16)))
    cryptogram = cbc.encryptor().update(nonce + challenge + share)
    mac = cmac(_KEY[16:], b"\x01\x81" + cryptogram)
    response = port.process(CommandApdu(0, 0x82, 0, 0x81, cryptogram + mac, 64).encode())
    plain = cbc.decryptor().update(response[:48])
    seed = bytes(left ^ right for left, right in zip(share, plain[32:], strict=True))
    context = b"\x00" + challenge + nonce + b"\x00\x80"
    return cmac(seed, b"\x01KS.ENC" + context), cmac(seed, b"\x01KS.MAC" + context)


def _reads(mac_key: bytes, count: int) -> list[CommandApdu]:
    """READ BINARY of 200 bytes of file 01, protected for every second counter from 1 on."""
    keyed = AesCmac(mac_key)
    objects = bytes((0x97, 1, _LENGTH))
    commands: list[CommandApdu] = []
    for number in range(count):
        header = bytes((0x0C, 0xB0, 0x81, 0x00))
        message = (2 * number + 1).to_bytes(16, "big") + header + b"\x80" + bytes(11) + objects + b"\x80" + bytes(12)
        data = objects + b"\x8e\x08" + keyed.compute(message)[:8]
        commands.append(CommandApdu(0x0C, 0xB0, 0x81, 0x00, data, 256))
    return commands


def _layer() -> float:
    """µs of unwrap and wrap alone."""
    commands = _reads(_KEY[16:], _ROUNDS)
    layer = IsoSecureMessaging(_KEY[:16], _KEY[16:])
    data = bytes(_LENGTH)
    start = thread_time_ns()
    for command in commands:
        layer.unwrap(command)
        layer.wrap(data, SW.OK)
    return (thread_time_ns() - start) / _ROUNDS / 1000


def _card() -> float:
    """µs of the whole card."""
    port = _selected()
    _, mac_key = _open(port)
    commands = [command.encode() for command in _reads(mac_key, _ROUNDS)]
    process = port.process
    start = thread_time_ns()
    for command in commands:
        answer = process(command)
    spent = (thread_time_ns() - start) / _ROUNDS / 1000
    if answer[-2:] != b"\x90\x00":
        raise RuntimeError("the card refused to read")
    return spent


def _floor() -> Callable[[], None]:
    """CMAC of 48 and of 240 bytes, one initial value, CBC of 208 bytes."""
    keyed = CMAC(algorithms.AES(_KEY[16:]))
    single = Cipher(algorithms.AES(_KEY[:16]), modes.ECB()).encryptor()  # noqa: S305 - single blocks
    running = Cipher(algorithms.AES(_KEY[:16]), modes.CBC(bytes(16))).encryptor()
    command, block, data, response = bytes(48), bytes(16), bytes(_WRAPPED), bytes(240)

    def work() -> None:
        state = keyed.copy()
        state.update(command)
        state.finalize()
        single.update(block)
        running.update(data)
        state = keyed.copy()
        state.update(response)
        state.finalize()

    return work


def _smallest_card() -> Callable[[bytes], bytes]:
    """VERIFY of one PIN, without files, rules, journal or a second command."""
    cells = bytearray(b"\x03")

    def process(command: bytes) -> bytes:
        if command[1] != 0x20 or not cells[0]:
            return b"\x69\x83"
        cells[0] -= 1
        if not compare_digest(command[5:], _PIN):
            return bytes((0x63, 0xC0 | cells[0]))
        cells[0] = 3
        return b"\x90\x00"

    return process


def run() -> list[Row]:
    """Rows of (name, ours in µs, floor in µs)."""
    port, smallest = _selected(), _smallest_card()
    verify = CommandApdu(0, 0x20, 0, 0x81, _PIN).encode()
    floor = _time(_floor())
    return [
        ("VERIFY", _time(lambda: port.process(verify)), _time(lambda: smallest(verify))),
        ("secure messaging of READ 200 B, layer alone", _median(_layer), floor),
        ("secure messaging of READ 200 B, whole card", _median(_card), floor),
    ]


if __name__ == "__main__":
    for name, ours_us, floor_us in run():
        print(f"{name:<45} {ours_us:8.2f} µs {floor_us:8.2f} µs {ours_us / floor_us:6.2f} ×")
