"""Host and card, each after its own reading of the texts, in every protocol, `i`, key length and security level."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from card_os.card import Card
from card_os.globalplatform import scp02 as card_scp02
from card_os.globalplatform import scp03 as card_scp03
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import KeyType as CardKeyType
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.manufacture import manufacture
from personalization.errors import PersonalizationError
from personalization.globalplatform import card_data, commands, scp02
from personalization.globalplatform.aes_messaging import SECURITY_LEVELS
from personalization.globalplatform.commands import DataGrouping, StatusScope
from personalization.globalplatform.handshake import SecureChannelOption
from personalization.globalplatform.key_loading import KeyType, NewKey, delete_key
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from personalization.globalplatform.store_data import Padding
from tests.doubles.issuer_card import INSTANCE, PRODUCTION, NotebookApplet, PortConnection, install_notebook

SCP03_LEVELS = sorted(SECURITY_LEVELS)
SCP02_LEVELS = sorted(scp02.SECURITY_LEVELS)
SCP03_CASES = [
    pytest.param(Protocol.SCP03, option, length, level, id=f"SCP03-i{option:02X}-AES{8 * length}-level{level:02X}")
    for option in sorted(card_scp03.IMPLEMENTATIONS)
    for length in (16, 24, 32)
    for level in SCP03_LEVELS
]
SCP02_CASES = [
    pytest.param(Protocol.SCP02, option, 16, level, id=f"SCP02-i{option:02X}-level{level:02X}")
    for option in sorted(card_scp02.IMPLEMENTATIONS)
    for level in SCP02_LEVELS
]


def keys_of(length: int, version: int = 0xFF) -> StaticKeys:
    enc, mac, dek = (bytes(range(start, start + length)) for start in (0x40, 0x60, 0x80))
    return StaticKeys(version, enc, mac, dek)


@contextlib.contextmanager
def connected(protocol: Protocol, option: int, keys: StaticKeys) -> Iterator[PortConnection]:
    kind = CardKeyType.DES if protocol is Protocol.SCP02 else CardKeyType.AES
    with contextlib.closing(NvmImage.create()) as image:
        manufacture(
            image.nvm(),
            PRODUCTION,
            KeySet(keys.version, keys.enc, keys.mac, keys.dek, kind),
            channel_policy=ChannelPolicy(((protocol, option),)),
        )
        card = Card(image.nvm(), [NotebookApplet], randomness=SeededRandomness(b"matrix"))
        connection = PortConnection(card.contact)
        with connection:
            yield connection


def offered(protocol: Protocol, option: int, level: int) -> bool:
    """What the card's `i` has of the response protection that the level asks for."""
    if protocol is Protocol.SCP02:
        return not level & 0x10 or bool(option & 0x20)
    return (not level & 0x10 or bool(option & 0x20)) and (not level & 0x20 or bool(option & 0x40))


@pytest.mark.parametrize(("protocol", "option", "length", "level"), [*SCP03_CASES, *SCP02_CASES])
def test_a_session_of_every_kind(protocol: Protocol, option: int, length: int, level: int) -> None:
    keys = keys_of(length)
    with connected(protocol, option, keys) as connection:
        if not offered(protocol, option, level):
            with pytest.raises(PersonalizationError, match="security-level-unsupported"):
                SecureSession.open(connection, keys, level=level, option=SecureChannelOption(protocol, option))
            return
        session = SecureSession.open(connection, keys, level=level, option=SecureChannelOption(protocol, option))
        assert (session.protocol, session.level, session.key_version) == (int(protocol), level, 0xFF)
        (domain,) = session.get_status(StatusScope.ISSUER_DOMAIN)
        assert domain.aid == commands.ISSUER_DOMAIN_AID
        missing = session.transmit(commands.get_data(0x5F50), accept=(SW.REFERENCE_DATA_NOT_FOUND,))
        assert missing.data == b""
        told = session.transmit(commands.get_data(card_data.KEY_INFORMATION)).data
        assert card_data.key_versions(card_data.parse_key_information(told)) == [0xFF]


@pytest.mark.parametrize("protocol", [Protocol.SCP02, Protocol.SCP03])
def test_the_strongest_level_is_chosen(protocol: Protocol) -> None:
    option, strongest = (0x75, 0x13) if protocol is Protocol.SCP02 else (0x71, 0x33)
    with connected(protocol, option, keys_of(16)) as connection:
        assert (
            SecureSession.open(connection, keys_of(16), level=None, option=SecureChannelOption(protocol, option)).level
            == strongest
        )


@pytest.mark.parametrize(
    ("protocol", "option", "level"),
    [
        (Protocol.SCP02, 0x55, 0x03),
        (Protocol.SCP02, 0x75, 0x13),
        (Protocol.SCP03, 0x10, 0x03),
        (Protocol.SCP03, 0x71, 0x33),
    ],
)
def test_keys_and_groupings_arrive_as_they_were(protocol: Protocol, option: int, level: int) -> None:
    keys = keys_of(16)
    with connected(protocol, option, keys) as connection:
        session = SecureSession.open(connection, keys, level=level, option=SecureChannelOption(protocol, option))
        install_notebook(session)
        session.personalize(INSTANCE, [DataGrouping(0x0101, b"plain"), DataGrouping(0x8010, b"secret", encrypted=True)])
        connection.transmit(commands.select(INSTANCE).encode())
        assert connection.transmit(bytes.fromhex("80B0010100")) == b"plain\x90\x00"
        assert connection.transmit(bytes.fromhex("80B0801000")) == b"secret\x90\x00"
        session = SecureSession.open(connection, keys, level=level, option=SecureChannelOption(protocol, option))
        new = keys_of(16, 0x20)
        session.put_keys(new, replace=0xFF)
        session = SecureSession.open(connection, new, level=level, option=SecureChannelOption(protocol, option))
        session.put_new_keys(0x71, [NewKey.symmetric(KeyType.AES, bytes(16))], first_identifier=1)
        session.put_new_keys(0x73, [NewKey.ecc(KeyType.ECC_PUBLIC, P256_POINT, 0)], first_identifier=1)
        assert session.transmit(delete_key(version=0x71)).data == b"\x00"
        told = session.transmit(commands.get_data(card_data.KEY_INFORMATION)).data
        assert card_data.key_versions(card_data.parse_key_information(told)) == [0x20, 0x73]


P256_POINT = bytes.fromhex(
    "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
    "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
)
"""The generator of P-256 (FIPS 186-4, D.1.2.3): a public key like any other."""


@pytest.mark.parametrize(
    ("protocol", "option", "level", "protection"),
    [
        (Protocol.SCP02, 0x35, 0x01, 0x10),
        (Protocol.SCP02, 0x75, 0x03, 0x00),
        (Protocol.SCP03, 0x30, 0x01, 0x10),
        (Protocol.SCP03, 0x70, 0x03, 0x30),
        (Protocol.SCP03, 0x71, 0x13, 0x30),
    ],
)
def test_an_r_mac_session(protocol: Protocol, option: int, level: int, protection: int) -> None:
    with connected(protocol, option, keys_of(16)) as connection:
        session = SecureSession.open(connection, keys_of(16), level=level, option=SecureChannelOption(protocol, option))
        session.begin_r_mac_session(protection, b"\x01\x02\x03")
        assert session.get_status(StatusScope.ISSUER_DOMAIN)
        session.end_r_mac_session()
        assert session.get_status(StatusScope.ISSUER_DOMAIN)


@pytest.mark.parametrize(("protocol", "option", "level"), [(Protocol.SCP02, 0x75, 0x13), (Protocol.SCP03, 0x70, 0x33)])
def test_a_response_that_comes_twice_ends_the_session(protocol: Protocol, option: int, level: int) -> None:
    with connected(protocol, option, keys_of(16)) as connection:
        replaying = Replaying(connection)
        session = SecureSession.open(replaying, keys_of(16), level=level, option=SecureChannelOption(protocol, option))
        command = CommandApdu(0x80, 0xCA, 0x00, 0xE0, b"", 256)
        session.transmit(command)
        replaying.replay = True
        with pytest.raises(PersonalizationError, match="response-not-authentic"):
            session.transmit(command)
        with pytest.raises(PersonalizationError, match="session-over"):
            session.transmit(command)


class Replaying(PortConnection):
    """Gives the last response again when it is told to."""

    def __init__(self, connection: PortConnection) -> None:
        super().__init__(connection.port)
        self.replay = False
        self.last = b""

    def transmit(self, command: bytes) -> bytes:
        if not self.replay:
            self.last = super().transmit(command)
        return self.last


def test_padding_is_the_applications_choice() -> None:
    """A grouping of whole blocks goes without padding where the application wants that (EMV CPS)."""
    with connected(Protocol.SCP03, 0x70, keys_of(16)) as connection:
        session = SecureSession.open(connection, keys_of(16))
        install_notebook(session)
        with pytest.raises(PersonalizationError, match="card-refused"):
            session.personalize(INSTANCE, [DataGrouping(1, bytes(16), encrypted=True)], padding=Padding.NONE)
