"""The terminal's side and the card's side of one text, written apart, check each other.

Source of the text: docs/decisions/0001-architecture-of-the-main-job.md, clause 1.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.applet_api import (
    AccessRule,
    Context,
    Instruction,
    KeyUsage,
    Proof,
    authentication_instructions,
    create_key,
    create_pin,
    instruction_table,
    pin_instructions,
)
from card_os.applet_api import pin_block as card_pin_block
from card_os.card import Card
from card_os.files.commands import FILE_INSTRUCTIONS
from card_os.files.spec import AccessMode, FileSpec, FileStructure
from card_os.globalplatform.registry import Privilege
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.status import StatusWord
from card_os.security.secure_messaging import IsoSecureMessaging
from personalization.errors import PersonalizationError
from personalization.terminal.authentication import MutualAuthentication, get_challenge, mutual_authenticate
from personalization.terminal.channel import CardRefused, PlainChannel, ProtectedChannel
from personalization.terminal.holder import pin_block as terminal_pin_block
from personalization.terminal.secure_messaging import SessionKeys, TerminalSecureMessaging
from reader_bridge.connection import CardConnection, Interface
from reader_bridge.simulated import SimulatedCard, create_card

AID: Final = bytes.fromhex("F0544553540103")
KEY: Final = bytes(range(32))
CONTENT: Final = bytes(range(256)) * 12
ENC, MAC = bytes(range(16)), bytes(range(16, 32))

Exchange = tuple[CommandApdu, bytes, int]
COMMANDS = st.builds(
    CommandApdu,
    st.sampled_from([0x00, 0x01, 0x03]),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=400),
    st.sampled_from([0, 1, 16, 255, 256, 257, 65_536]),
)
EXCHANGES = st.lists(
    st.tuples(COMMANDS, st.binary(max_size=400), st.sampled_from([0x9000, 0x6282, 0x6982, 0x63C0])),
    min_size=1,
    max_size=6,
)


class Archive:
    """A long file for a role under secure messaging, or for the holder."""

    package_aid: ClassVar[bytes] = AID[:-1]
    module_aid: ClassVar[bytes] = AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *FILE_INSTRUCTIONS, *pin_instructions(), *authentication_instructions()
    )

    def install(self, context: Context, parameters: bytes) -> None:
        role = int(Proof.key(2) | Proof.SECURE_MESSAGING)
        rules = {AccessMode.READ: AccessRule((role,)), AccessMode.UPDATE: AccessRule((role,))}
        context.files.create(FileSpec(0x0103, FileStructure.TRANSPARENT, len(CONTENT), 3, rules=rules))
        create_pin(context, 0x81, card_pin_block("123456"), number=1, try_limit=3)
        create_key(context, 0x82, KEY, usage=KeyUsage.TERMINAL, role=2, try_limit=10)

    def select(self, context: Context) -> bytes:
        return b""

    def deselect(self, context: Context) -> None:
        return

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        return


def make(nvm: Nvm) -> Card:
    card = Card(nvm, [Archive], randomness=SeededRandomness(3))
    application = card.platform.install(
        package_aid=AID[:-1], module_aid=AID, aid=AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    files = card.platform.context_of(application).files
    for offset in range(0, len(CONTENT), 1024):
        files.write(files.get(0x0103), offset, CONTENT[offset : offset + 1024])
    return card


@pytest.fixture
def simulated() -> Iterator[SimulatedCard]:
    with create_card(None, make) as card:
        yield card


@pytest.fixture(params=list(Interface), ids=lambda interface: interface.value)
def connection(request: pytest.FixtureRequest, simulated: SimulatedCard) -> Iterator[CardConnection]:
    with simulated.connect(request.param) as connection:
        connection.transmit(CommandApdu(0, 0xA4, 4, 0, AID, 256).encode())
        yield connection


def random_source() -> SeededRandomness:
    return SeededRandomness(9)


def authenticated(connection: CardConnection, key: bytes = KEY) -> ProtectedChannel:
    plain = PlainChannel(connection)
    run = MutualAuthentication(key, 0x82, get_challenge(plain), random_source().bytes)
    return ProtectedChannel(connection, run.complete(mutual_authenticate(plain, 0x82, run.command())))


@given(EXCHANGES)
def test_both_sides_agree_on_any_exchange(exchanges: list[Exchange]) -> None:
    card = IsoSecureMessaging(ENC, MAC)
    terminal = TerminalSecureMessaging(SessionKeys(ENC, MAC))
    for command, data, status in exchanges:
        plain = card.unwrap(CommandApdu.parse(terminal.protect(command)))
        assert plain[:6] == command[:6]
        protected, sw = card.wrap(data, StatusWord(status))
        assert terminal.open(ResponseApdu(protected, sw).encode()) == ResponseApdu(data, StatusWord(status))


@given(st.binary(max_size=64), st.data())
def test_the_terminal_refuses_any_turned_bit_of_an_answer(data: bytes, draw: st.DataObject) -> None:
    card = IsoSecureMessaging(ENC, MAC)
    terminal = TerminalSecureMessaging(SessionKeys(ENC, MAC))
    card.unwrap(CommandApdu.parse(terminal.protect(CommandApdu(0, 0xB0, 0, 0, b"", 256))))
    protected, sw = card.wrap(data, StatusWord(0x9000))
    answer = bytearray(protected + sw.encode())
    bit = draw.draw(st.integers(0, 8 * len(answer) - 1))
    answer[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PersonalizationError):
        terminal.open(bytes(answer))


@pytest.mark.parametrize("length", [1, 15, 16, 17, 200, 223, 224, 231, 255, 256, 1000, 2047])
def test_a_file_is_read_under_secure_messaging(connection: CardConnection, length: int) -> None:
    channel = authenticated(connection)
    for offset in (0, 300):
        p1, p2 = (0x83, 0) if offset == 0 else (offset >> 8, offset & 0xFF)
        answer = channel.exchange(CommandApdu(0, 0xB0, p1, p2, b"", length))
        assert answer == ResponseApdu(CONTENT[offset : offset + length], StatusWord(0x9000))


def test_a_file_is_updated_under_secure_messaging(connection: CardConnection) -> None:
    channel = authenticated(connection)
    assert channel.exchange(CommandApdu(0, 0xD6, 0x83, 16, b"new content")).sw == 0x9000
    assert channel.exchange(CommandApdu(0, 0xB0, 0, 16, b"", 11)).data == b"new content"


def test_odd_instructions_are_understood_alike(connection: CardConnection) -> None:
    """ISO/IEC 7816-4:2020, 10.4.2: object 85."""
    channel = authenticated(connection)
    answer = channel.exchange(CommandApdu(0, 0xB1, 0, 3, bytes.fromhex("54020100"), 32))
    assert answer.sw == 0x9000
    assert CONTENT[256:280] in answer.data


def test_errors_come_back_protected(connection: CardConnection) -> None:
    channel = authenticated(connection)
    assert channel.exchange(CommandApdu(0, 0xB0, 0x9E, 0, b"", 16)).sw == 0x6A82
    assert channel.exchange(CommandApdu(0, 0x20, 0, 0x81, terminal_pin_block("111111"))).sw == 0x63C2
    assert channel.exchange(CommandApdu(0, 0x20, 0, 0x81, terminal_pin_block("123456"))).sw == 0x9000
    assert channel.alive


def test_a_terminal_with_another_key_is_refused(connection: CardConnection) -> None:
    with pytest.raises(CardRefused) as caught:
        authenticated(connection, bytes(32))
    assert caught.value.status == 0x63C9


@pytest.mark.parametrize("digits", ["1234", "00000", "123456789012"])
def test_pin_blocks_are_the_same(digits: str) -> None:
    assert terminal_pin_block(digits) == card_pin_block(digits)
