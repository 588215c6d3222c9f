"""The host believes no card that does not prove what it says (Amendment D v1.1.1, clauses 5.3 and 6)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from card_os.card import Card
from card_os.globalplatform import keys as card_keys
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import KeyType as CardKeyType
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.manufacture import manufacture
from card_os.port import Port
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.commands import DataGrouping, StatusScope
from personalization.globalplatform.handshake import SecureChannelOption
from personalization.globalplatform.key_guard import KeyGuard
from personalization.globalplatform.scp03 import InitializeUpdateResponse, StaticKeys
from personalization.globalplatform.session import SecureSession
from reader_bridge.connection import CardConnection
from tests.doubles.channel_hosts import DES_KEYS
from tests.doubles.issuer_card import (
    CARD_NUMBER,
    FACTORY,
    INSTANCE,
    MODULE,
    OURS,
    PACKAGE,
    PRODUCTION,
    PortConnection,
    ShortConnection,
    boot,
    install_notebook,
    issuer_image,
)

Change = Callable[[bytes], bytes]

INS_SELECT, INS_INITIALIZE_UPDATE, INS_EXTERNAL_AUTHENTICATE, INS_GET_STATUS = 0xA4, 0x50, 0x82, 0xF2


class FalseConnection(PortConnection):
    """Changes the answer to one instruction."""

    def __init__(self, card: Card, ins: int, change: Change) -> None:
        super().__init__(card.contact)
        self._ins = ins
        self._change = change

    def transmit(self, command: bytes) -> bytes:
        answer = super().transmit(command)
        return self._change(answer) if command[1] == self._ins else answer


@pytest.fixture
def card() -> Card:
    return boot(issuer_image())


@pytest.fixture
def connection(card: Card) -> PortConnection:
    connection = PortConnection(card.contact)
    connection.power_on()
    return connection


def false_connection(card: Card, ins: int, change: Change) -> FalseConnection:
    connection = FalseConnection(card, ins, change)
    connection.power_on()
    return connection


def always(text: str) -> Change:
    return lambda _: bytes.fromhex(text)


def flipped(at: int) -> Change:
    def change(answer: bytes) -> bytes:
        raw = bytearray(answer)
        raw[at] ^= 0x01
        return bytes(raw)

    return change


def tries(card: Card) -> int:
    return card_keys.tries_left(card.platform.store, ISSUER_DOMAIN, 0xFF)


def test_it_is_a_card_connection(connection: PortConnection) -> None:
    assert isinstance(connection, CardConnection)


# ---- opening


@pytest.mark.parametrize(
    ("ins", "change", "code"),
    [
        (INS_SELECT, always("6A82"), r"card-refused.*SELECT.*6A82"),
        (INS_INITIALIZE_UPDATE, always("6A88"), r"card-refused.*INITIALIZE UPDATE.*6A88"),
        (INS_INITIALIZE_UPDATE, always("6983"), "key-set-blocked"),
        (INS_INITIALIZE_UPDATE, always("9000"), "initialize-update-malformed"),
        (INS_INITIALIZE_UPDATE, lambda raw: raw[:20] + raw[-2:], "initialize-update-malformed"),
        (INS_INITIALIZE_UPDATE, lambda raw: raw[:10] + b"\x01" + raw[11:], "key-version-mismatch"),
        (INS_INITIALIZE_UPDATE, lambda raw: raw[:11] + b"\x01" + raw[12:], "secure-channel-unsupported"),
        (INS_INITIALIZE_UPDATE, lambda raw: raw[:11] + b"\x02" + raw[12:], "initialize-update-malformed"),
        (INS_INITIALIZE_UPDATE, lambda raw: raw[:12] + b"\x50" + raw[13:], "secure-channel-unsupported"),
        (INS_INITIALIZE_UPDATE, lambda raw: raw[:12] + b"\x72" + raw[13:], "secure-channel-unsupported"),
        (INS_INITIALIZE_UPDATE, lambda raw: raw[:12] + b"\x71" + raw[13:], "initialize-update-malformed"),
        (INS_INITIALIZE_UPDATE, lambda raw: raw[:12] + b"\x10" + raw[13:], "security-level-unsupported"),
        (INS_INITIALIZE_UPDATE, flipped(13), "card-cryptogram-wrong"),
        (INS_INITIALIZE_UPDATE, flipped(28), "card-cryptogram-wrong"),
        (INS_INITIALIZE_UPDATE, flipped(31), "card-cryptogram-wrong"),
        (INS_EXTERNAL_AUTHENTICATE, always("6982"), r"external-authenticate-refused.*6982"),
        (INS_EXTERNAL_AUTHENTICATE, always("6300"), r"external-authenticate-refused.*6300"),
        (INS_EXTERNAL_AUTHENTICATE, always("6283"), r"external-authenticate-refused.*6283"),
        (INS_EXTERNAL_AUTHENTICATE, always("019000"), "external-authenticate-refused"),
        (INS_EXTERNAL_AUTHENTICATE, always("90"), "response-not-authentic"),
    ],
)
def test_a_session_is_not_opened(card: Card, ins: int, change: Change, code: str) -> None:
    connection = false_connection(card, ins, change)
    with pytest.raises(PersonalizationError, match=code):
        SecureSession.open(connection, FACTORY)


def test_a_card_that_says_9000_to_everything(card: Card) -> None:
    """It knows no key, so nothing that it says is taken for success."""
    connection = false_connection(card, INS_EXTERNAL_AUTHENTICATE, always("9000"))
    genuine = SecureSession.open(connection, FACTORY)
    connection._ins, connection._change = INS_GET_STATUS, always("9000")
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        genuine.get_status(StatusScope.ISSUER_DOMAIN)


@pytest.mark.parametrize(
    "change",
    [
        always("9000"),
        lambda raw: raw[:-10] + raw[-2:],
        lambda raw: raw[:-3] + raw[-2:],
        flipped(0),
        flipped(-3),
        flipped(-1),
        lambda raw: raw[:-2] + b"\x69\x82",
    ],
)
def test_a_response_without_its_mac_is_no_success(card: Card, change: Change) -> None:
    session = SecureSession.open(false_connection(card, INS_GET_STATUS, change), FACTORY)
    with pytest.raises(PersonalizationError, match=r"response-not-authentic|card-refused"):
        session.get_status(StatusScope.ISSUER_DOMAIN)


def test_after_a_false_response_the_session_is_over(card: Card) -> None:
    session = SecureSession.open(false_connection(card, INS_GET_STATUS, flipped(0)), FACTORY)
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        session.get_status(StatusScope.ISSUER_DOMAIN)
    with pytest.raises(PersonalizationError, match="session-over"):
        session.transmit(commands.get_data(0x66))


def test_after_a_lost_exchange_the_session_is_over(connection: PortConnection) -> None:
    session = SecureSession.open(connection, FACTORY)
    connection.power_off()
    with pytest.raises(Exception, match="no-card"):
        session.transmit(commands.get_data(0x66))
    connection.power_on()
    with pytest.raises(PersonalizationError, match="session-over"):
        session.transmit(commands.get_data(0x66))


def test_a_refused_command_leaves_the_session_open(connection: PortConnection) -> None:
    session = SecureSession.open(connection, FACTORY)
    with pytest.raises(PersonalizationError, match=r"card-refused.*6A88"):
        session.delete(INSTANCE)
    install_notebook(session)
    assert session.personalize(INSTANCE, [DataGrouping(1, b"\x01")]) == 1


def test_the_wrong_aid_shows_in_the_challenge(card: Card) -> None:
    """The challenge is bound to the domain's AID (6.2.2.1)."""
    connection = false_connection(card, INS_SELECT, always("9000"))
    with pytest.raises(PersonalizationError, match="card-cryptogram-wrong"):
        SecureSession.open(connection, FACTORY, aid=bytes.fromhex("A000000151000001"))


def test_a_level_that_does_not_exist_is_a_mistake_of_ours(connection: PortConnection) -> None:
    with pytest.raises(PersonalizationError, match="security-level-unsupported") as caught:
        SecureSession.open(connection, FACTORY, level=0x02)
    assert caught.value.exit_code == 2
    assert not connection.sent


def test_keys_are_found_by_what_the_card_says(connection: PortConnection) -> None:
    seen: list[InitializeUpdateResponse] = []

    def find(card: InitializeUpdateResponse) -> StaticKeys:
        seen.append(card)
        return FACTORY

    session = SecureSession.open(connection, find)
    assert [card.diversification for card in seen] == [CARD_NUMBER] == [session.card]
    assert session.key_version == 0xFF


def test_the_card_chooses_the_version_or_is_asked(connection: PortConnection) -> None:
    SecureSession.open(connection, lambda _: FACTORY, key_version=0xFF)
    with pytest.raises(PersonalizationError, match="6A88"):
        SecureSession.open(connection, lambda _: FACTORY, key_version=0x01)


def test_challenges_come_from_the_given_source(connection: PortConnection) -> None:
    SecureSession.open(connection, FACTORY, randomness=lambda length: b"\x5a" * length)
    assert connection.sent[1][5:13] == b"\x5a" * 8


@pytest.mark.parametrize("part", ["enc", "mac"])
def test_one_wrong_key_of_the_set_costs_no_try(connection: PortConnection, card: Card, part: str) -> None:
    wrong = StaticKeys(
        0xFF,
        bytes(16) if part == "enc" else FACTORY.enc,
        bytes(16) if part == "mac" else FACTORY.mac,
        FACTORY.dek,
    )
    with pytest.raises(PersonalizationError, match="card-cryptogram-wrong"):
        SecureSession.open(connection, wrong)
    assert tries(card) == 10


# ---- the guard


def test_the_guard_stops_the_second_attempt(connection: PortConnection, card: Card) -> None:
    guard = KeyGuard()
    with pytest.raises(PersonalizationError, match="card-cryptogram-wrong"):
        SecureSession.open(connection, StaticKeys(0xFF, bytes(16), bytes(16), bytes(16)), guard=guard)
    with pytest.raises(PersonalizationError, match="authentication-stopped"):
        SecureSession.open(connection, FACTORY, guard=guard)
    assert tries(card) == 10
    assert guard.failures(CARD_NUMBER) == 1


def test_the_guard_counts_what_the_card_refuses(card: Card) -> None:
    guard = KeyGuard()
    connection = false_connection(card, INS_EXTERNAL_AUTHENTICATE, always("6300"))
    with pytest.raises(PersonalizationError, match="external-authenticate-refused"):
        SecureSession.open(connection, FACTORY, guard=guard)
    for _ in range(20):
        with pytest.raises(PersonalizationError, match="authentication-stopped"):
            SecureSession.open(connection, FACTORY, guard=guard)
    sent = [command[1] for command in connection.sent]
    assert sent.count(INS_EXTERNAL_AUTHENTICATE) == 1


def test_the_guard_lets_other_cards_through(connection: PortConnection) -> None:
    guard = KeyGuard()
    guard.failed(bytes(10))
    SecureSession.open(connection, FACTORY, guard=guard)
    assert guard.failures(CARD_NUMBER) == 0


# ---- what a card answers under the session


@pytest.mark.parametrize("change", [flipped(0), flipped(3), always("9000")])
def test_put_key_checks_what_the_card_stored(card: Card, change: Change) -> None:
    """Without R-MAC nothing but the check values tells whether the right keys arrived."""
    session = SecureSession.open(false_connection(card, 0xD8, change), FACTORY, level=0x03)
    with pytest.raises(PersonalizationError, match="key-check-value-wrong"):
        session.put_keys(OURS, replace=0xFF)


def test_response_in_pieces_is_collected(card: Card) -> None:
    """T=0 readers may pass 61xx on; the pieces are one response under one MAC."""

    class Pieces(PortConnection):
        waiting = b""

        def transmit(self, command: bytes) -> bytes:
            if command[1] == 0xC0:
                piece, self.waiting = self.waiting[: command[4]], self.waiting[command[4] :]
                return piece + (b"\x90\x00" if not self.waiting else b"\x61" + bytes((min(len(self.waiting), 16),)))
            answer = super().transmit(command)
            if len(answer) > 18 and answer[-2:] == b"\x90\x00":
                self.waiting = answer[16:-2]
                return answer[:16] + b"\x61" + bytes((min(len(self.waiting), 16),))
            return answer

    connection = Pieces(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, FACTORY)
    assert session.get_status(StatusScope.ISSUER_DOMAIN)


def test_a_card_that_never_ends_its_answer(card: Card) -> None:
    class Endless(FalseConnection):
        def transmit(self, command: bytes) -> bytes:
            return b"\x00\x61\x10"

    endless = Endless(card, 0, always(""))
    with pytest.raises(PersonalizationError, match="does not end"):
        SecureSession.open(endless, FACTORY)


def test_no_key_shows_in_an_error(connection: PortConnection) -> None:
    keys = StaticKeys(0xFF, b"ENCRYPTIONKEY+++", b"MACKEY++++++++++", b"DATAKEY+++++++++")
    with pytest.raises(PersonalizationError) as caught:
        SecureSession.open(connection, keys)
    text = f"{caught.value!r} {caught.value} {keys!r}"
    for secret in (keys.enc, keys.mac, keys.dek):
        assert secret.decode() not in text
        assert secret.hex() not in text.lower()


def test_too_much_data_is_refused_before_the_card_sees_it(connection: PortConnection) -> None:
    session = SecureSession.open(connection, FACTORY)
    before = len(connection.sent)
    with pytest.raises(ValueError, match="do not fit"):
        session.transmit(CommandApdu(0x80, 0xE2, 0x88, 0x00, bytes(session.max_data + 1)))
    assert len(connection.sent) == before
    assert session.transmit(commands.get_data(0x66)).sw == SW.OK


@pytest.mark.parametrize(("link", "longest"), [(PortConnection, 2287), (ShortConnection, 239)])
def test_blocks_are_as_long_as_the_link_carries(
    card: Card, link: Callable[[Port], PortConnection], longest: int
) -> None:
    """ISO/IEC 7816-4:2020, 5.2 (extended fields): 2,303 and 255 data bytes less MAC and padding (Amendment D, 6.2)."""
    content = bytes(range(250)) * 8
    connection = link(card.contact)
    connection.power_on()
    session = SecureSession.open(connection, FACTORY)
    install_notebook(session)
    assert session.max_data == longest
    before = len(connection.sent)
    session.personalize(INSTANCE, [DataGrouping(1, content), DataGrouping(2, bytes(100))])
    blocks = connection.sent[before + 1 :]
    assert [block[4] == 0 for block in blocks] == ([True] if longest > 255 else [False] * 9)
    connection.transmit(commands.select(INSTANCE).encode())
    assert connection.transmit(bytes.fromhex("80B00001 000000")) == content + b"\x90\x00"


# ---- long responses


@pytest.mark.parametrize("ne", [1, 256, 257, 1000, 65_536])
@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x11, 0x13, 0x33])
def test_any_length_may_be_expected(connection: PortConnection, level: int, ne: int) -> None:
    """More than 256 bytes are asked for in extended length, and the MAC covers that form (Amendment D, 6.2.4)."""
    session = SecureSession.open(connection, FACTORY, level=level)
    for extended in (False, True):
        data = session.transmit(commands.get_data(0x9F7F)._replace(ne=ne, extended=extended)).data
        assert data.startswith(bytes.fromhex("9F7F2A"))
    assert session.transmit(commands.get_status(StatusScope.ISSUER_DOMAIN)._replace(ne=ne)).data[:1] == b"\xe3"


@pytest.mark.parametrize("ne", [1, 256, 257, 65_536])
@pytest.mark.parametrize("level", [0x00, 0x01, 0x03, 0x13])
def test_scp02_stays_in_short_length(level: int, ne: int) -> None:
    image = NvmImage.create()
    keys = KeySet(0x20, *DES_KEYS, CardKeyType.DES)
    manufacture(image.nvm(), PRODUCTION, keys, channel_policy=ChannelPolicy(((Protocol.SCP02, 0x35),)))
    connection = PortConnection(boot(image).contact)
    connection.power_on()
    session = SecureSession.open(
        connection, StaticKeys(0x20, *DES_KEYS), level=level, option=SecureChannelOption(2, 0x35)
    )
    for extended in (False, True):
        data = session.transmit(commands.get_data(0x9F7F)._replace(ne=ne, extended=extended)).data
        assert data.startswith(bytes.fromhex("9F7F2A"))
    assert all(len(command) < 262 for command in connection.sent)


# ---- long commands, cut into a chain (GPC 11.1.5.1)


LONG = commands.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=INSTANCE, parameters=bytes(300))


def test_a_long_command_goes_in_extended_length(connection: PortConnection) -> None:
    session = SecureSession.open(connection, FACTORY)
    session.transmit_chained(LONG)
    assert [entry.aid for entry in session.get_status(StatusScope.APPLICATIONS)] == [INSTANCE]


class ShortLine(ShortConnection):
    """A link without extended length to a card that takes every INSTALL."""

    def transmit(self, command: bytes) -> bytes:
        if command[1] != 0xE6:
            return super().transmit(command)
        self.sent.append(command)
        return self.answer

    answer = b"\x90\x00"


def short_line(card: Card) -> ShortLine:
    connection = ShortLine(card.contact)
    connection.power_on()
    return connection


@pytest.mark.parametrize(("level", "longer"), [(0x00, 0), (0x01, 8), (0x03, 8 + 16 - len(LONG.data) % 16)])
def test_on_a_short_link_it_goes_as_a_chain(card: Card, level: int, longer: int) -> None:
    """Protected whole, and then cut: one C-MAC, at the end of the last command."""
    connection = short_line(card)
    SecureSession.open(connection, FACTORY, level=level).transmit_chained(LONG)
    parts = [CommandApdu.parse(command) for command in connection.sent if command[1] == 0xE6]
    assert [part.p1 for part in parts] == [0x8C, 0x0C]
    assert {part.cla for part in parts} == {0x84 if level else 0x80}
    data = b"".join(part.data for part in parts)
    assert len(data) == len(LONG.data) + longer
    assert level == 0x03 or data.startswith(LONG.data)
    assert len(parts[0].data) == 255


def test_a_broken_chain_ends_the_session(card: Card) -> None:
    connection = short_line(card)
    connection.answer = b"\x6a\x80"
    session = SecureSession.open(connection, FACTORY)
    with pytest.raises(PersonalizationError, match=r"card-refused.*6A80"):
        session.transmit_chained(LONG)
    with pytest.raises(PersonalizationError, match="session-over"):
        session.transmit_chained(LONG)
    assert len([command for command in connection.sent if command[1] == 0xE6]) == 1


def test_the_form_without_tags_is_asked_for(connection: PortConnection) -> None:
    session = SecureSession.open(connection, FACTORY, level=0x00)
    asked = len(connection.sent)
    with contextlib.suppress(PersonalizationError):
        session.get_status(StatusScope.APPLICATIONS, old_form=True)
    assert connection.sent[asked] == bytes.fromhex("80F24000024F0000")
