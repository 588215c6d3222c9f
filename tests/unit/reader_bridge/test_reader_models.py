"""Reader models: what passes, what does not, and what the reader answers itself."""

from __future__ import annotations

import pytest

from card_os.answers import DEFAULT_ATS
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.atr import Ats
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.modelled import ModelledConnection
from reader_bridge.pin_entry import Prompt
from reader_bridge.reader_models import ExchangeLevel, reader_model, reader_models
from reader_bridge.stack import CommandFit
from tests.doubles.echo_card import EchoCard, answer

VERIFY = bytes.fromhex("00200081082FFFFFFFFFFFFFFF")
STRUCTURE = (
    bytes((30, 30, 0x89, 0x47, 0x04, 12, 4, 2, 1, 9, 4, 0, 0, 0, 0)) + len(VERIFY).to_bytes(4, "little") + VERIFY
)
EXTENDED = CommandApdu(0, 0xD6, 0, 0, bytes(300), 0, extended=True)


class WatchedCard(EchoCard):
    """Keeps what reaches it; a card of the field has a UID."""

    def __init__(self, *, field: bool = False) -> None:
        super().__init__(DEFAULT_ATS)
        interface, protocol = (
            (Interface.CONTACTLESS, Protocol7816.TCL) if field else (Interface.CONTACT, Protocol7816.T1)
        )
        self.description = ConnectionDescription("watched", interface, protocol, DEFAULT_ATS)
        self.seen: list[bytes] = []

    @property
    def uid(self) -> bytes:
        return bytes.fromhex("08010203")

    def transmit(self, command: bytes) -> bytes:
        self.seen.append(command)
        if command[1] == 0x20:
            return b"\x63\xc2"
        return super().transmit(command)


class Typist:
    def __init__(self, typed: str | None = "1234", late: bool = False) -> None:
        self.typed, self.late = typed, late

    def digits(self, prompt: Prompt, minimum: int, maximum: int, seconds: int) -> str | None:
        if self.late:
            raise TimeoutError
        return self.typed


@pytest.mark.parametrize("name", reader_models())
def test_every_model_makes_sense(name: str) -> None:
    model = reader_models()[name]
    assert model.title
    assert model.max_message > 10
    assert model.max_command(Protocol7816.T1) >= 100
    assert model.speaks(Protocol7816.T1) or model.speaks(Protocol7816.T0)
    assert bool(model.descriptor) != (name in {"ideal", "slow"})


@pytest.mark.clause("USB CCID 1.1, 5.1: dwFeatures, bits 16 to 18")
@pytest.mark.parametrize(
    ("name", "level", "extended_t0", "extended_t1"),
    [
        ("ideal", ExchangeLevel.EXTENDED, True, True),
        ("gemalto-pc-twin", ExchangeLevel.TPDU, False, True),
        ("acs-acr3901u", ExchangeLevel.SHORT, False, False),
        ("winbond", ExchangeLevel.CHARACTER, False, True),
    ],
)
def test_the_level_decides_what_is_extended(
    name: str, level: ExchangeLevel, extended_t0: bool, extended_t1: bool
) -> None:
    model = reader_model(name)
    assert model.level is level
    assert (model.extended(Protocol7816.T0), model.extended(Protocol7816.T1)) == (extended_t0, extended_t1)


def test_a_model_that_nobody_knows_is_said() -> None:
    with pytest.raises(ReaderError, match="reader-model-unknown"):
        reader_model("crystal ball")


def test_a_short_reader_carries_no_long_command_and_says_so() -> None:
    card = WatchedCard()
    reader = ModelledConnection(card, reader_model("acs-acr3901u"))
    assert (reader.description.max_command_data, reader.description.max_response_data) == (255, 256)
    with pytest.raises(ReaderError, match="not-carried"):
        reader.transmit(EXTENDED.encode())
    assert card.seen == []
    assert CommandFit(reader).transmit(EXTENDED.encode())[-2:] == b"\x90\x00"
    assert [len(command) for command in card.seen] == [260, 50]


def test_a_reader_with_a_small_buffer_does_not_carry_the_longest_short_command() -> None:
    reader = ModelledConnection(WatchedCard(), reader_model("bluink"))
    whole = CommandApdu(0, 0xD6, 0, 0, bytes(225))
    assert reader.transmit(whole.encode()) == answer(whole)
    with pytest.raises(ReaderError, match="not-carried"):
        reader.transmit(CommandApdu(0, 0xD6, 0, 0, bytes(226)).encode())


@pytest.mark.parametrize(("data", "sent"), [(224, [230]), (225, [229, 7]), (255, [229, 37]), (500, [229, 229, 58])])
def test_a_host_fits_commands_to_a_small_buffer(data: int, sent: list[int]) -> None:
    card = WatchedCard()
    reader = ModelledConnection(card, reader_model("bluink"))
    assert reader.description.max_command_data == 224
    CommandFit(reader).transmit(CommandApdu(0, 0xD6, 0, 0, bytes(data), 256, data > 255).encode())
    assert [len(command) for command in card.seen] == sent
    assert [command[0] for command in card.seen] == [0x10] * (len(sent) - 1) + [0x00]


def test_a_response_that_is_too_long_does_not_pass() -> None:
    class Talkative(WatchedCard):
        def transmit(self, command: bytes) -> bytes:
            return bytes(300) + b"\x90\x00"

    with pytest.raises(ReaderError, match="not-carried"):
        ModelledConnection(Talkative(), reader_model("acs-acr122u")).transmit(bytes.fromhex("00B0000000"))


def test_a_reader_without_the_protocol_does_not_power_the_card() -> None:
    card = WatchedCard()
    card.description = ConnectionDescription("watched", Interface.CONTACT, Protocol7816.T0, b"\x3b\x00")
    for start in (
        ModelledConnection(card, reader_model("acs-acr122u")).power_on,
        ModelledConnection(card, reader_model("acs-acr122u")).reset,
    ):
        with pytest.raises(ReaderError, match="protocol-mismatch"):
            start()


@pytest.mark.clause("PC/SC part 3, 3.2.2.1.3: GET DATA of the contactless card")
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("FFCA000000", "080102039000"),
        ("FFCA000004", "080102039000"),
        ("FFCA000002", "6C04"),
        ("FFCA000008", "080102036282"),
        ("FFCA010000", Ats.parse(DEFAULT_ATS).historical.hex() + "9000"),
        ("FFCA020000", "6B00"),
        ("FFCA000100", "6B00"),
        ("FFCA0000", "6700"),
        ("FF82000006FFFFFFFFFFFF", "6A81"),
        ("FF00000000", "6D00"),
        ("FFCA00000500", "6700"),
        ("FFC2000000", "6A81"),
        ("FFC2010000", "9000"),
        ("FFC2010600", "6A81"),
    ],
)
def test_class_ff_is_the_reader_s_and_never_the_card_s(command: str, expected: str) -> None:
    card = WatchedCard(field=True)
    reader = ModelledConnection(card, reader_model("acs-acr1252-picc"))
    assert reader.transmit(bytes.fromhex(command)).hex() == expected.lower()
    assert card.seen == []


def test_a_contact_reader_has_no_uid_to_tell() -> None:
    assert ModelledConnection(WatchedCard(), reader_model("ideal")).transmit(bytes.fromhex("FFCA000000")) == b"\x6a\x81"


@pytest.mark.clause("PC/SC part 10, supplement: features by pseudo-APDU")
@pytest.mark.parametrize(
    ("keypad", "status", "reaches"),
    [
        (Typist(), "63c2", True),
        (Typist(None), "6401", False),
        (Typist(late=True), "6400", False),
        (None, "6401", False),
    ],
    ids=["typed", "cancelled", "late", "nobody there"],
)
def test_a_pin_goes_from_the_keypad_to_the_card(keypad: Typist | None, status: str, reaches: bool) -> None:
    card = WatchedCard()
    reader = ModelledConnection(card, reader_model("gemalto-pc-pinpad"), keypad)
    assert reader.transmit(bytes.fromhex("FFC2010000"))[:-2] == bytes((6, 7))
    command = CommandApdu(0xFF, 0xC2, 1, 6, STRUCTURE, 256)
    assert reader.transmit(command.encode()).hex() == status
    assert card.seen == ([bytes.fromhex("0020008108241234FFFFFFFFFF")] if reaches else [])
    assert reader.transmit(CommandApdu(0xFF, 0xC2, 1, 6, STRUCTURE[:-1], 256).encode()) == b"\x6a\x80"
