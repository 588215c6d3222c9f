"""Commands that their sender cut with bit 8 of P1 (GPC 2.3.1, 11.1.5.1): protected whole, collected, executed once.

Hosts in the field do it this way: GlobalPlatformPro (GPSession.transmit) and libglobalplatform
(OPGP_send_chained_APDU) protect INSTALL, DELETE and PUT KEY as one long command and cut the protected data field.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from card_os.card import Card
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import KeyType
from card_os.globalplatform.keys import KeySet, load_keys
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.globalplatform.secure_channel import Protocol
from card_os.globalplatform.security_domain import SecurityDomain
from card_os.hardware.image import NvmImage
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.manufacture import manufacture
from personalization.globalplatform import commands
from personalization.globalplatform.handshake import SecureChannelOption
from personalization.globalplatform.key_loading import NewKey
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from tests.doubles.channel_hosts import DES_KEYS
from tests.doubles.domain_card import ANY, boot, issuer_session, powered
from tests.doubles.issuer_card import (
    FACTORY,
    INSTANCE,
    MODULE,
    PACKAGE,
    PRODUCTION,
    PortConnection,
    ShortConnection,
)

INSTALL, DELETE, PUT_KEY = 0xE6, 0xE4, 0xD8
MORE = 0x80
LONG = commands.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=INSTANCE, parameters=bytes(range(250)) * 3)
SHORT = commands.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=INSTANCE)
OK = SW.OK.encode()


class CuttingLine(PortConnection):
    """A line whose host cuts protected commands into pieces of a size; what each piece is answered is kept.

    Args:
        card: the card.
        size: most data bytes of a piece.
        tamper: what happens on the way to the piece with this number, None for nothing.
    """

    def __init__(self, card: Card, size: int, tamper: Callable[[int, bytes], bytes] | None = None) -> None:
        super().__init__(card.contact)
        self.size = size
        self.tamper = tamper or (lambda _number, piece: piece)
        self.between: list[bytes] = []
        self.power_on()

    def transmit(self, command: bytes) -> bytes:
        parsed = CommandApdu.parse(command)
        if parsed.ins not in (INSTALL, DELETE, PUT_KEY) or len(parsed.data) <= self.size:
            return super().transmit(command)
        answer = b""
        for number, start in enumerate(range(0, len(parsed.data), self.size)):
            piece = parsed.data[start : start + self.size]
            p1 = parsed.p1 if start + self.size >= len(parsed.data) else parsed.p1 | MORE
            sent = bytes((parsed.cla, parsed.ins, p1, parsed.p2, len(piece))) + piece
            answer = super().transmit(self.tamper(number, sent))
            if p1 & MORE:
                self.between.append(answer)
        return answer


@pytest.fixture
def card() -> Card:
    return boot()


def read(connection: PortConnection) -> bytes:
    connection.transmit(commands.select(INSTANCE).encode())
    return connection.transmit(bytes.fromhex("80B00000000000"))


@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x11, 0x13, 0x33])
@pytest.mark.parametrize("size", [255, 239, 100, 1])
def test_a_long_install_in_pieces_of_any_size(card: Card, level: int, size: int) -> None:
    """The C-MAC covers the whole; pieces are answered in plain, the last one as the level says."""
    connection = CuttingLine(card, size)
    session = SecureSession.open(connection, FACTORY, level=level)
    session.transmit(LONG)
    assert connection.between
    assert set(connection.between) == {OK}
    assert [row.aid for row in session.get_status(commands.StatusScope.APPLICATIONS)] == [INSTANCE]
    assert read(connection) == bytes(range(250)) * 3 + OK


@pytest.mark.parametrize("level", [0x01, 0x33])
def test_a_short_command_may_be_cut_too(card: Card, level: int) -> None:
    connection = CuttingLine(card, 10)
    session = SecureSession.open(connection, FACTORY, level=level)
    session.transmit(SHORT)
    session.delete(INSTANCE)
    assert len(connection.between) >= 2
    assert session.get_status(commands.StatusScope.APPLICATIONS) == []


@pytest.mark.parametrize("options", [0x15, 0x55, 0x35, 0x75])
@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x13])
def test_under_scp02(options: int, level: int) -> None:
    """E.4.4: the C-MAC covers the plain command with a length of three bytes."""
    if level & 0x10 and not options & 0x20:
        return
    image = NvmImage.create()
    policy = ChannelPolicy(((Protocol.SCP02, options),))
    manufacture(image.nvm(), PRODUCTION, KeySet(0x20, *DES_KEYS, KeyType.DES), channel_policy=policy)
    connection = ShortConnection(boot(image).contact)
    connection.power_on()
    keys = StaticKeys(0x20, *DES_KEYS)
    session = SecureSession.open(connection, keys, level=level, option=SecureChannelOption(2, options))
    session.transmit_chained(LONG)
    assert [command[2] for command in connection.sent if command[1] == INSTALL][:-1] == [0x8C] * 3
    session.delete(INSTANCE)


def test_our_host_on_a_link_without_extended_length(card: Card) -> None:
    connection = ShortConnection(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, FACTORY)
    session.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=INSTANCE, parameters=bytes(700))
    assert [command[2] for command in connection.sent if command[1] == INSTALL] == [0x8C, 0x8C, 0x0C]
    assert read(connection) == bytes(700) + OK


def rsa_key(bits: int) -> NewKey:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return NewKey.rsa_public(numbers.n.to_bytes(bits // 8, "big"), numbers.e.to_bytes(3, "big"))


@pytest.mark.parametrize("level", [0x01, 0x33])
def test_a_long_key_in_pieces(card: Card, level: int) -> None:
    """11.8: a modulus of 256 bytes is longer than a short command holds."""
    connection = ShortConnection(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, FACTORY, level=level)
    session.put_new_keys(0x70, [rsa_key(2048)], first_identifier=1)
    assert [command[2] for command in connection.sent if command[1] == PUT_KEY] == [0x80, 0x00]
    assert len(card.platform.store.owned(ISSUER_DOMAIN)) > 3


def test_whole_put_keys_that_follow_each_other_are_no_pieces(card: Card) -> None:
    """11.8.2.1: bit 8 also tells that another PUT KEY follows; such a one carries its own C-MAC and answers itself."""
    session = issuer_session(powered(card))
    first = session.transmit(_one_key(session, 0x40, 1, more=True))
    assert first.data[0] == 0x40
    assert len(first.data) == 4
    second = session.transmit(_one_key(session, 0x40, 2, more=False))
    assert second.data[0] == 0x40
    kept = load_keys(card.platform.store, ISSUER_DOMAIN)
    assert {key.identifier for key in kept if key.version == 0x40} == {1, 2}


def _one_key(session: SecureSession, version: int, identifier: int, *, more: bool) -> CommandApdu:
    value = bytes((identifier,)) * 16
    data = bytes((version, 0x88, 0x11, 0x10)) + session.data_key.encrypt(value) + b"\x03"
    data += commands.key_check_value(value)
    return CommandApdu(0x80, PUT_KEY, MORE if more else 0, identifier, data, 256)


# ---- what is refused


def flipped(at: int) -> Callable[[int, bytes], bytes]:
    """Change one data byte of the piece with this number."""
    return lambda number, piece: piece if number != at else piece[:9] + bytes((piece[9] ^ 1,)) + piece[10:]


@pytest.mark.parametrize("level", [0x01, 0x33])
@pytest.mark.parametrize("where", [0, 1, 2, 3])
def test_a_changed_piece_ends_the_session(card: Card, level: int, where: int) -> None:
    """One wrong byte in any piece, and nothing is installed; the session is aborted (Amendment D, 5.6)."""
    line = CuttingLine(card, 255, flipped(where))
    session = SecureSession.open(line, FACTORY, level=level)
    assert session.transmit(LONG, accept=ANY).sw == SW.SECURITY_STATUS_NOT_SATISFIED
    assert line.transmit(bytes.fromhex("80F28002024F0000"))[-2:] == SW.SECURITY_STATUS_NOT_SATISFIED.encode()
    assert card.platform.registry.by_aid(INSTANCE) is None


@pytest.mark.parametrize("cla", ["80", "94", "A4", "E4"])
def test_pieces_keep_their_class_byte(card: Card, cla: str) -> None:
    line = CuttingLine(card, 255, lambda number, piece: piece if number else bytes.fromhex(cla) + piece[1:])
    session = SecureSession.open(line, FACTORY, level=0x01)
    assert session.transmit(LONG, accept=ANY).sw != SW.OK
    assert card.platform.registry.by_aid(INSTANCE) is None


def test_without_a_session_no_piece_is_taken(card: Card) -> None:
    """Neither before authentication nor in an aborted session does the card collect anything."""
    connection = powered(card)
    connection.transmit(commands.select(bytes.fromhex("A000000151000000")).encode())
    piece = bytes((0x80, INSTALL, 0x8C, 0, 200)) + bytes(200)
    assert connection.transmit(piece) == SW.SECURITY_STATUS_NOT_SATISFIED.encode()
    connection.transmit(bytes.fromhex("80500000080102030405060708") + b"\x00")
    assert connection.transmit(b"\x84" + piece[1:]) == SW.SECURITY_STATUS_NOT_SATISFIED.encode()
    session = SecureSession.open(connection, FACTORY)
    del session
    assert connection.transmit(piece) == SW.SECURITY_STATUS_NOT_SATISFIED.encode()  # aborts
    assert connection.transmit(b"\x84" + piece[1:]) == SW.SECURITY_STATUS_NOT_SATISFIED.encode()


def test_another_command_in_the_middle_ends_what_was_begun(card: Card) -> None:
    """Its MAC is right, for pieces enter no MAC; the command that was begun has to come whole again."""
    line = CuttingLine(card, 255)
    session = SecureSession.open(line, FACTORY, level=0x01)
    assert PortConnection.transmit(line, bytes((0x84, INSTALL, 0x8C, 0, 100)) + bytes(100)) == OK
    assert session.transmit(commands.get_data(0x66)).data
    session.transmit(LONG)
    assert card.platform.registry.by_aid(INSTANCE) is not None


def test_the_end_of_another_command_is_no_end(card: Card) -> None:
    """INS, P1 and P2 are the same in all pieces; a whole command that stands in the middle is executed."""
    line = CuttingLine(card, 255)
    session = SecureSession.open(line, FACTORY, level=0x01)
    assert PortConnection.transmit(line, bytes((0x84, INSTALL, 0x84, 0, 100)) + bytes(100)) == OK
    session.transmit(SHORT)
    assert card.platform.registry.by_aid(INSTANCE) is not None


def test_pieces_have_an_end(card: Card) -> None:
    line = CuttingLine(card, 255)
    SecureSession.open(line, FACTORY, level=0x01)
    piece = bytes((0x84, INSTALL, 0x8C, 0, 255)) + bytes(255)
    answers = {PortConnection.transmit(line, piece) for _ in range(65_535 // 255 + 1)}
    assert answers == {OK, SW.WRONG_LENGTH.encode()}


def test_pieces_are_forgotten_with_power_and_selection(card: Card) -> None:
    line = CuttingLine(card, 255)
    for leave in (line.reset, lambda: line.transmit(commands.select(bytes.fromhex("A000000151000000")).encode())):
        SecureSession.open(line, FACTORY, level=0x00)
        assert PortConnection.transmit(line, bytes((0x80, INSTALL, 0x8C, 0, 20)) + SHORT.data[:20]) == OK
        leave()
        session = SecureSession.open(line, FACTORY, level=0x00)
        session.transmit(SHORT)
        session.delete(INSTANCE)


def test_only_long_commands_come_in_pieces() -> None:
    """Bit 8 of P1 of LOAD and STORE DATA is the last block, of GET STATUS and SET STATUS the issuer domain."""
    rows = SecurityDomain.instructions.values()
    assert {row.ins for row in rows if row.is_piece is not None} == {INSTALL, DELETE, PUT_KEY}
