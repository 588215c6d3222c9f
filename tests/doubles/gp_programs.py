"""GlobalPlatform programs of others, as the table of their commands has them, played on a card.

A program is a host of its own: it gets no 61xx followed and no answer explained, and says what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa

from card_os.card import Card
from card_os.globalplatform.card_profile import CardProfile, load_profile
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.manufacture import manufacture_profile
from personalization.globalplatform.data_key import DataKey
from personalization.globalplatform.handshake import Handshake, SecureChannelOption, SecureMessaging
from personalization.globalplatform.key_diversification import MasterKeys, card_keys, diversification_of
from personalization.globalplatform.key_loading import KeyType, check_value
from personalization.globalplatform.scp03 import StaticKeys
from reader_bridge.connection import CardConnection
from test_vectors.expected import read_table
from tests.doubles.load_files import cap_components

SERIAL: Final = 7


class CardKind(NamedTuple):
    """A card that programs manage.

    Attributes:
        profile: its card profile.
        scheme: how its keys are diversified from the test key.
        key_length: bytes of a key.
        channels: secure channel protocols instead of those of the profile.
    """

    profile: str
    scheme: str
    key_length: int = 16
    channels: ChannelPolicy | None = None


CARDS: Final[Mapping[str, CardKind]] = {
    "test keys, SCP03": CardKind("test-keys", "none"),
    "diversified keys, SCP03": CardKind("test-keys", "profile"),
    "test keys, SCP02": CardKind("test-keys-scp02", "none"),
    "diversified keys, SCP02": CardKind("test-keys-scp02", "visa2"),
}
"""The cards that programs are played on."""

_S16: Final = ChannelPolicy(((Protocol.SCP03, 0x71),))
_SCP11: Final = ChannelPolicy(((Protocol.SCP03, 0x70), (Protocol.SCP11, 0x1B)))

RECORDED_CARDS: Final[Mapping[str, CardKind]] = {
    "test keys, SCP03": CARDS["test keys, SCP03"],
    "keys by KDF3, SCP03": CardKind("test-keys", "cmac:$_ 000000 $k 00 $0 $1 $2 $3 $4 $5 $6 $7 $8 $9"),
    "AES-192, SCP03": CardKind("test-keys", "none", 24),
    "AES-256, SCP03": CardKind("test-keys", "none", 32),
    "AES-128, SCP03 S16": CardKind("test-keys", "none", 16, _S16),
    "AES-192, SCP03 S16": CardKind("test-keys", "none", 24, _S16),
    "AES-256, SCP03 S16": CardKind("test-keys", "none", 32, _S16),
    "test keys, SCP03 and SCP11": CardKind("test-keys", "none", 16, _SCP11),
    "test keys, SCP02": CARDS["test keys, SCP02"],
    "keys by VISA2, SCP02": CardKind("test-keys-scp02", "visa2"),
    "keys by EMV, SCP02": CardKind("test-keys-scp02", "emv"),
}
"""The cards that programs were recorded on; KDF3 is what GlobalPlatformPro calls its template for SCP03."""

_PACKAGE: Final = bytes.fromhex("D27600012401")
_APPLET: Final = _PACKAGE + b"\x01"
_BLOCK: Final = 200
_MORE: Final = 0x80
_CHALLENGE: Final = bytes(range(1, 9))
_PLACEHOLDER: Final = re.compile(r"<([a-z]+)(?::([0-9A-Za-z]*))?>")
_COMMAND: Final = re.compile(r"([0-9A-F]{8})\[([0-9A-F]*)\]((?:00)?)")


@dataclass(frozen=True, slots=True)
class Program:
    """One program of the table; see there.

    Attributes:
        name: what it is called, and what it does.
        source: where its commands were read.
        levels: security levels that it uses.
        le: EXTERNAL AUTHENTICATE has Le.
        protocols: the secure channels that it is played with.
        spends: the card is another one afterwards.
        steps: what it sends.
    """

    name: str
    source: str
    levels: tuple[int, ...]
    le: bool
    protocols: tuple[str, ...]
    spends: bool
    steps: tuple[Mapping[str, Any], ...]


def programs() -> list[Program]:
    """All programs, those that spend the card last."""
    rows = read_table("globalplatform_programs")["program"]
    made = [
        Program(
            row["name"],
            row["source"],
            tuple(int(level, 16) for level in row["levels"]),
            row["le"],
            tuple(row.get("protocols", ("SCP02", "SCP03"))),
            row.get("spends", False),
            tuple(row["steps"]),
        )
        for row in rows
    ]
    return sorted(made, key=lambda program: program.spends)


class ProgramCard:
    """A card of a profile, with test keys or with keys that are diversified from them."""

    def __init__(self, kind: CardKind) -> None:
        self._kind = kind
        profile = load_profile(kind.profile)
        if kind.channels is not None:
            profile = replace(profile, issuer=replace(profile.issuer, channels=kind.channels))
        (self._set,) = profile.issuer.keys
        protocol, implementation = profile.issuer.channels.protocols[0]
        self.option = SecureChannelOption(int(protocol), implementation)
        self.protocol = protocol.name
        self.aid = bytes(profile.issuer.aid)
        number = manufacture_profile(NvmImage.create().nvm(), profile, SERIAL).card_number
        keys = self.keys(number)
        made = KeySet(self._set.version, keys.enc, keys.mac, keys.dek, self._set.key_type)
        self._profile: CardProfile = replace(profile, issuer=replace(profile.issuer, keys=(made,)))

    def keys(self, number: bytes) -> StaticKeys:
        key = bytes(range(0x40, 0x40 + self._kind.key_length))
        return card_keys(MasterKeys(key, key, key), diversification_of(self._kind.scheme), self._set.version, number)

    def manufacture(self, nvm: Nvm) -> None:
        manufacture_profile(nvm, self._profile, SERIAL)

    def boot(self, nvm: Nvm) -> Card:
        return Card(nvm, [], randomness=SeededRandomness(3))

    def new(self) -> Card:
        nvm = NvmImage.create().nvm()
        self.manufacture(nvm)
        return self.boot(nvm)


def levels_of(program: Program, card: ProgramCard) -> Iterator[int]:
    """The levels at which a program is played on a card; SCP02 has no R-ENCRYPTION, and our profile's no R-MAC."""
    if card.protocol in program.protocols:
        yield from (level for level in program.levels if card.protocol == "SCP03" or not level & 0x30)


class Player:
    """Plays programs on a connected card.

    Args:
        connection: the powered card.
        card: what card it is.
    """

    def __init__(self, connection: CardConnection, card: ProgramCard) -> None:
        self._connection = connection
        self._card = card
        self._messaging: SecureMessaging | None = None
        self._data_key: DataKey | None = None

    def play(self, program: Program, level: int) -> None:
        """All steps; an answer that the program cannot use is an AssertionError that names the step."""
        for step in program.steps:
            if step.get("protocol", self._card.protocol) != self._card.protocol:
                continue
            if "open" in step:
                self._open(level, le=program.le)
                continue
            if "load" in step:
                commands = self._load(step["load"], le=step["le"])
            elif "plain" in step:
                commands = [self._expand(step["plain"])]
            else:
                commands = [self._expand(step["send"])]
            for command in commands:
                answer = self._answer(command, plain="plain" in step, pieces=step.get("pieces", 0)).hex().upper()
                wanted = self._fill(step["answer"])
                assert re.fullmatch(wanted, answer), f"{program.name}, level {level:02X}, {step}: {answer}"

    def _open(self, level: int, *, le: bool) -> None:
        name = self._card.aid
        selected = self._connection.transmit(b"\x00\xa4\x04\x00" + bytes((len(name),)) + name + b"\x00")
        assert selected[-2:] in (b"\x90\x00", b"\x62\x83"), selected.hex()
        answer = self._connection.transmit(bytes.fromhex("8050000008") + _CHALLENGE + b"\x00")
        assert answer[-2:] == b"\x90\x00", answer.hex()
        handshake = Handshake.of(_CHALLENGE, answer[:-2], name, self._card.option.implementation)
        session = handshake.under(self._card.keys(handshake.card.diversification))
        assert session.genuine
        messaging = session.secure_messaging(level)
        command = messaging.external_authenticate(session.host_cryptogram) + (b"\x00" if le else b"")
        assert self._connection.transmit(command) == b"\x90\x00"
        self._messaging, self._data_key = messaging, session.data_key

    def _answer(self, command: CommandApdu, *, plain: bool, pieces: int) -> bytes:
        if plain or self._messaging is None:
            return self._connection.transmit(command.encode())
        if not pieces:
            wrapped = self._messaging.wrap(command)
            return self._messaging.unwrap(self._connection.transmit(wrapped)).encode()
        whole = CommandApdu.parse(self._messaging.wrap(command._replace(ne=0, extended=True)))
        starts = range(0, len(whole.data), pieces)
        for start in starts[:-1]:
            piece = whole._replace(p1=whole.p1 | _MORE, data=whole.data[start : start + pieces], ne=0, extended=False)
            assert self._connection.transmit(piece.encode()) == b"\x90\x00"
        last = whole._replace(data=whole.data[starts[-1] :], ne=256, extended=False)
        return self._messaging.unwrap(self._connection.transmit(last.encode())).encode()

    def _load(self, code: int, *, le: str) -> list[CommandApdu]:
        file = tlv.encode(0xC4, cap_components(_PACKAGE, [_APPLET], code=code))
        starts = range(0, len(file), _BLOCK)
        return [
            CommandApdu(
                0x80,
                0xE8,
                0x80 if start == starts[-1] else 0,
                number,
                file[start : start + _BLOCK],
                256 if le == "all" or start == starts[-1] else 0,
            )
            for number, start in enumerate(starts)
        ]

    def _expand(self, text: str) -> CommandApdu:
        filled = self._fill(text)
        parts = _COMMAND.fullmatch(filled)
        if parts is None:
            return CommandApdu.parse(bytes.fromhex(filled))
        header, data = bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
        cla, ins, p1, p2 = header
        return CommandApdu(cla, ins, p1, p2, data, 256 if parts[3] else 0, len(data) > 255)

    def _fill(self, text: str) -> str:
        """Put in what stands in angle brackets, from the inside out."""
        fillers: Mapping[str, Callable[[str], bytes]] = {
            "domain": lambda _: bytes((len(self._card.aid),)) + self._card.aid,
            "lv": lambda value: tlv.encode_length(len(bytes.fromhex(value))) + bytes.fromhex(value),
            "repeat": lambda count: bytes(index & 0xFF for index in range(int(count))),
            "key": lambda value: self._key(bytes.fromhex(value), clear_length=True),
            "bare": lambda value: self._key(bytes.fromhex(value), clear_length=False),
            "unchecked": lambda value: self._key(bytes.fromhex(value), clear_length=False)[:-4] + b"\x00",
            "rsa": lambda bits: _rsa(int(bits)),
        }
        while (found := _PLACEHOLDER.search(text)) is not None:
            made = fillers[found[1]](found[2] or "").hex().upper()
            text = text[: found.start()] + made + text[found.end() :]
        return text

    def _key(self, value: bytes, *, clear_length: bool) -> bytes:
        assert self._data_key is not None
        kind = KeyType.AES if self._card.protocol == "SCP03" else KeyType.DES
        block = self._data_key.encrypt(value)
        if clear_length and kind is KeyType.AES:
            block = bytes((len(value),)) + block
        return bytes((kind, len(block))) + block + b"\x03" + check_value(kind, value)


@cache
def _rsa(bits: int) -> bytes:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    modulus = numbers.n.to_bytes(bits // 8, "big")
    return b"\xa1" + tlv.encode_length(len(modulus)) + modulus + b"\xa0\x03\x01\x00\x01\x00"
