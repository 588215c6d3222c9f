"""PACE: the worked example of ICAO Doc 9303-11, the card against the terminal, and what the card refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

import pytest

from card_os.applet_api import (
    AccessRule,
    Context,
    Instruction,
    KeyAlgorithm,
    KeyUsage,
    Proof,
    card_access,
    create_card_access_number,
    create_key,
    create_pin,
    instruction_table,
    pace_instructions,
    pin_block,
    pin_instructions,
)
from card_os.card import Card
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.errors import FileExists, WrongData
from card_os.iso7816.tlv import encode
from card_os.port import Port
from card_os.security.cryptography import aes_cbc_encrypt
from card_os.security.libcrypto import CurveName, curve
from card_os.security.pace import PaceKeys, derive_key, map_generator, session_keys, token
from personalization.errors import PersonalizationError
from personalization.terminal.channel import CardRefused
from personalization.terminal.pace import pace
from personalization.terminal.secure_messaging import SessionKeys, TerminalSecureMessaging
from test_vectors import Vector, load

AID: Final = bytes.fromhex("F0544553540301")
CAN: Final = "123456"
VECTORS = load("crypto/pace_gm_ecdh.json")
EXAMPLE = VECTORS[0]
CHOOSE: Final = bytes.fromhex("800a04007f00070202040202830102")


class Given:
    """A source that gives the bytes it is told to when their length is asked for, otherwise those of a seed."""

    def __init__(self, *values: bytes) -> None:
        self._values = list(values)
        self._rest = SeededRandomness(1)

    @property
    def position(self) -> int:
        return 0

    def bytes(self, length: int) -> bytes:
        if not self._values or len(self._values[0]) != length:
            return self._rest.bytes(length)
        return self._values.pop(0)


class Wallet:
    """An application with a card access number and a holder PIN."""

    package_aid: ClassVar[bytes] = AID[:-1]
    module_aid: ClassVar[bytes] = AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *pin_instructions(), *pace_instructions()
    )

    def install(self, context: Context, parameters: bytes) -> None:
        create_pin(context, 0x81, pin_block("2468"), number=1, try_limit=3)
        if not parameters:
            create_card_access_number(context, CAN)

    def select(self, context: Context) -> bytes:
        return b"\x6f\x00"

    def deselect(self, context: Context) -> None:
        return

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        raise WrongData("no personalization")


class Signing(Wallet):
    """The same with a key that signs, for a holder who is verified."""

    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *pin_instructions(), *pace_instructions(operations=AccessRule((int(Proof.pin(1)),)))
    )

    def install(self, context: Context, parameters: bytes) -> None:
        super().install(context, parameters)
        create_key(context, 0x11, bytes(31) + b"\x01", usage=KeyUsage.SIGN, algorithm=KeyAlgorithm.EC_P256_PRIVATE)


def image(parameters: bytes = b"", applet: type[Wallet] = Wallet) -> NvmImage:
    made = NvmImage.create()
    Card(made.nvm(), [applet]).platform.install(
        package_aid=AID[:-1],
        module_aid=AID,
        aid=AID,
        privileges=Privilege.NONE,
        domain=1,
        life_cycle=0x07,
        parameters=parameters,
    )
    return made


@pytest.fixture(scope="module")
def master() -> NvmImage:
    return image()


def boot(master: NvmImage, *given: bytes) -> Card:
    return Card(master.fork().nvm(), [Wallet], randomness=Given(*given))


def field_of(card: Card) -> Port:
    port = card.contactless
    port.power_on()
    assert port.process(CommandApdu(0, 0xA4, 4, 0x0C, AID, 0).encode()) == b"\x90\x00"
    return port


@pytest.fixture
def port(master: NvmImage) -> Port:
    return field_of(boot(master))


def example_card(master: NvmImage) -> Card:
    """A card whose next random bytes are those of the worked example."""
    return boot(master, *(EXAMPLE.bytes(name) for name in ("nonce", "card_map_private", "card_private")))


class Channel:
    """The terminal's way to a port, in plain; a response may be changed on the way."""

    max_read = max_write = 255

    def __init__(self, port: Port, change: Callable[[int, bytes], bytes] = lambda _step, answer: answer) -> None:
        self._port = port
        self._change = change
        self._step = 0

    def exchange(self, command: CommandApdu) -> ResponseApdu:
        self._step += 1
        return ResponseApdu.parse(self._change(self._step, self._port.process(command.encode())))


def send(port: Port, cla: int, ins: int, parameters: int, data: bytes) -> tuple[bytes, int]:
    answer = port.process(CommandApdu(cla, ins, parameters >> 8, parameters & 0xFF, data, 256).encode())
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def choose(port: Port, data: bytes = CHOOSE, parameters: int = 0xC1A4) -> int:
    return send(port, 0, 0x22, parameters, data)[1]


def step(port: Port, tag: int | None, value: bytes = b"", cla: int = 0x10) -> tuple[bytes, int]:
    return send(port, cla, 0x86, 0, encode(0x7C, b"" if tag is None else encode(tag, value)))


def protected(port: Port, keys: SessionKeys, ins: int, p2: int, data: bytes) -> int:
    messaging = TerminalSecureMessaging(keys)
    return int(messaging.open(port.process(messaging.protect(CommandApdu(0, ins, 0, p2, data, 0)))).sw)


def test_keys_and_points_of_the_worked_example() -> None:
    """ICAO Doc 9303-11, appendix G.1."""
    v = EXAMPLE.bytes
    group = curve(CurveName.BRAINPOOL_P256R1)
    card_map, terminal_map = (int.from_bytes(v(name), "big") for name in ("card_map_private", "terminal_map_private"))
    card, terminal = (int.from_bytes(v(name), "big") for name in ("card_private", "terminal_private"))
    assert derive_key(v("password"), 3) == v("password_key")
    assert aes_cbc_encrypt(v("password_key"), v("nonce")) == v("encrypted_nonce")
    assert group.public_point(card_map) == v("card_map_key")
    assert group.public_point(terminal_map) == v("terminal_map_key")
    assert map_generator(group, v("nonce"), card_map, v("terminal_map_key")) == v("generator")
    assert map_generator(group, v("nonce"), terminal_map, v("card_map_key")) == v("generator")
    assert group.multiply(card, v("generator")) == v("card_key")
    assert group.multiply(terminal, v("generator")) == v("terminal_key")
    shared = group.multiply(card, v("terminal_key"))
    assert shared == group.multiply(terminal, v("card_key"))
    assert shared[1:33] == v("secret")
    assert session_keys(shared) == PaceKeys(v("encryption_key"), v("mac_key"))
    assert token(v("mac_key"), v("card_key")) == v("terminal_token")
    assert token(v("mac_key"), v("terminal_key")) == v("card_token")
    assert v("mac_key").hex() not in repr(session_keys(shared))


def test_a_card_with_the_example_s_random_bytes_answers_as_in_the_example(master: NvmImage) -> None:
    """The password is another one, so only the encrypted nonce differs."""
    port = field_of(example_card(master))
    v = EXAMPLE.bytes
    z = aes_cbc_encrypt(derive_key(CAN.encode(), 3), v("nonce"))
    assert choose(port) == 0x9000
    assert step(port, None) == (encode(0x7C, encode(0x80, z)), 0x9000)
    assert step(port, 0x81, v("terminal_map_key")) == (encode(0x7C, encode(0x82, v("card_map_key"))), 0x9000)
    assert step(port, 0x83, v("terminal_key")) == (encode(0x7C, encode(0x84, v("card_key"))), 0x9000)
    answer = (encode(0x7C, encode(0x86, v("card_token"))), 0x9000)
    assert step(port, 0x85, v("terminal_token"), cla=0) == answer
    keys = SessionKeys(v("encryption_key"), v("mac_key"))
    assert protected(port, keys, 0x20, 0x81, pin_block("2468")) == 0x9000


def test_a_terminal_with_the_example_s_random_bytes_agrees_on_its_keys(master: NvmImage) -> None:
    source = Given(EXAMPLE.bytes("terminal_map_private"), EXAMPLE.bytes("terminal_private"))
    keys = pace(Channel(field_of(example_card(master))), CAN, source.bytes)
    assert (keys.encryption, keys.mac) == (EXAMPLE.bytes("encryption_key"), EXAMPLE.bytes("mac_key"))


@pytest.mark.parametrize("vector", VECTORS[1:], ids=str)
def test_the_card_refuses(master: NvmImage, vector: Vector) -> None:
    card = example_card(master)
    port = field_of(card)
    values = ((None, b""), *((tag, vector.bytes(f"terminal_{name}")) for tag, name in STEPS))
    assert choose(port) == 0x9000
    for number, (tag, value) in enumerate(values, start=1):
        cla = 0 if number == 4 else 0x10
        answer, status = step(port, tag, value, cla)
        if number == vector.number("step"):
            assert (answer, status) == (b"", vector.number("status"))
            break
        assert status == 0x9000
    assert step(port, 0x85, EXAMPLE.bytes("terminal_token"), cla=0) == (b"", 0x6985)
    assert send(port, 0x0C, 0x20, 0x0081, bytes(16))[1] == 0x6882
    assert not card.faults


STEPS: Final = ((0x81, "map_key"), (0x83, "key"), (0x85, "token"))


def test_the_pin_of_the_holder_over_the_field(port: Port) -> None:
    """In plain a PIN is refused over the field; under PACE it verifies, and a wrong one still costs a try."""
    block = pin_block("2468")
    assert send(port, 0, 0x20, 0x0081, block)[1] == 0x6982
    assert protected(port, pace(Channel(port), CAN, SeededRandomness(2).bytes), 0x20, 0x81, pin_block("1111")) == 0x63C2
    assert protected(port, pace(Channel(port), CAN, SeededRandomness(3).bytes), 0x20, 0x81, block) == 0x9000


def test_keys_are_new_each_time(port: Port) -> None:
    first = pace(Channel(port), CAN, SeededRandomness(2).bytes)
    second = pace(Channel(port), CAN, SeededRandomness(2).bytes)
    assert (first.encryption, first.mac) != (second.encryption, second.mac)


def test_another_access_number_opens_nothing_and_costs_time(master: NvmImage) -> None:
    card = boot(master)
    port = field_of(card)
    before = card.clock.now_ns
    with pytest.raises(PersonalizationError, match="access-number-wrong"):
        pace(Channel(port), "123457", SeededRandomness(2).bytes)
    assert card.clock.now_ns - before >= 1_000_000_000
    assert send(port, 0x0C, 0x20, 0x0081, bytes(16))[1] == 0x6882


def test_the_access_number_is_never_blocked(port: Port) -> None:
    for seed in range(20):
        with pytest.raises(PersonalizationError, match="access-number-wrong"):
            pace(Channel(port), "000000", SeededRandomness(seed).bytes)
    assert protected(port, pace(Channel(port), CAN, SeededRandomness(2).bytes), 0x20, 0x81, pin_block("2468")) == 0x9000


@pytest.mark.parametrize("at", [2, 3, 4, 5])
@pytest.mark.parametrize("change", ["last byte", "tag", "shorter", "empty"])
def test_the_terminal_trusts_no_changed_answer(port: Port, at: int, change: str) -> None:
    def changed(number: int, answer: bytes) -> bytes:
        if number != at:
            return answer
        body = answer[:-2]
        other = {
            "last byte": body[:-1] + bytes((body[-1] ^ 1,)),
            "tag": body[:2] + b"\x99" + body[3:],
            "shorter": body[:-1],
            "empty": b"",
        }
        return other[change] + answer[-2:]

    with pytest.raises(PersonalizationError, match=r"card-not-genuine|access-number-wrong"):
        pace(Channel(port, changed), CAN, SeededRandomness(2).bytes)


def test_the_terminal_does_not_take_its_own_key_back(port: Port) -> None:
    sent: list[bytes] = []

    class Mirror(Channel):
        def exchange(self, command: CommandApdu) -> ResponseApdu:
            answer = super().exchange(command)
            if command.data[2:3] == b"\x83":
                sent.append(command.data)
                return ResponseApdu(command.data.replace(b"\x83\x41", b"\x84\x41", 1), answer.sw)
            return answer

    with pytest.raises(PersonalizationError, match="card-not-genuine"):
        pace(Mirror(port), CAN, SeededRandomness(2).bytes)
    assert sent


@pytest.mark.parametrize(
    ("parameters", "data", "status", "why"),
    [
        (0xC1A4, "", 0x6A80, "no objects"),
        (0xC1A4, "800a04007f00070202040202", 0x6A80, "no password"),
        (0xC1A4, "830102", 0x6A80, "no algorithm"),
        (0xC1A4, "800a04007f00070202040204830102", 0x6A80, "another algorithm"),
        (0xC1A4, "800904007f000702020402830102", 0x6A80, "another algorithm"),
        (0xC1A4, "800a04007f00070202040202830101", 0x6A88, "MRZ"),
        (0xC1A4, "800a04007f00070202040202830103", 0x6A88, "PIN"),
        (0xC1A4, "800a04007f0007020204020283020002", 0x6A88, "two bytes"),
        (0xC1A4, "800a04007f00070202040202830102840100", 0x6A88, "unknown curve"),
        (0xC1A4, "800a04007f000702020402028301028400", 0x6A88, "no curve"),
        (0xC1A4, "800a04007f00070202040202830102830102", 0x6A80, "twice"),
        (0xC1A4, "800a04007f00070202040202830102850100", 0x6A80, "unknown object"),
        (0xC1A4, "800a04007f000702020402028301", 0x6A80, "cut short"),
        (0x41A4, "800a04007f00070202040202830102", 0x6A86, "another function"),
        (0xC1B6, "800a04007f00070202040202830102", 0x6A86, "another template"),
    ],
)
def test_choosing_is_refused(port: Port, parameters: int, data: str, status: int, why: str) -> None:
    assert choose(port) == 0x9000
    assert choose(port, bytes.fromhex(data), parameters) == status, why
    assert step(port, None) == (b"", 0x6985), "what was chosen before is forgotten"


@pytest.mark.parametrize("number", [0x0C, 0x0D])
def test_curves(port: Port, number: int) -> None:
    assert choose(port, CHOOSE + bytes((0x84, 1, number))) == 0x9000
    assert step(port, None)[1] == 0x9000
    name = CurveName.P256 if number == 0x0C else CurveName.BRAINPOOL_P256R1
    assert step(port, 0x81, curve(name).generator)[1] == 0x9000


@pytest.mark.parametrize(
    ("cla", "data", "status", "why"),
    [
        (0x00, "7c00", 0x6985, "the first step without the chaining bit"),
        (0x10, "", 0x6A80, "no template"),
        (0x10, "7c", 0x6A80, "cut short"),
        (0x10, "7c028100", 0x6A80, "the object of the second step"),
        (0x10, "7c028500", 0x6A80, "the object of the last step"),
        (0x10, "7d00", 0x6A80, "another template"),
        (0x10, "7c007c00", 0x6A80, "two templates"),
    ],
)
def test_a_wrong_first_step_ends_the_exchange(port: Port, cla: int, data: str, status: int, why: str) -> None:
    assert choose(port) == 0x9000
    assert send(port, cla, 0x86, 0, bytes.fromhex(data)) == (b"", status), why
    assert step(port, None) == (b"", 0x6985)


def test_a_chained_last_step_is_refused(master: NvmImage) -> None:
    port = field_of(example_card(master))
    assert choose(port) == 0x9000
    for tag, name in ((None, ""), *STEPS[:2]):
        assert step(port, tag, EXAMPLE.bytes(f"terminal_{name}") if name else b"")[1] == 0x9000
    assert step(port, 0x85, EXAMPLE.bytes("terminal_token")) == (b"", 0x6985)


def test_steps_need_a_choice_and_their_p1_p2(port: Port) -> None:
    assert step(port, None) == (b"", 0x6985)
    assert choose(port) == 0x9000
    assert send(port, 0x10, 0x86, 0x0001, bytes.fromhex("7c00")) == (b"", 0x6A86)


def test_selecting_forgets_the_exchange(port: Port) -> None:
    assert choose(port) == 0x9000
    assert send(port, 0, 0xA4, 0x0400, AID)[1] == 0x9000
    assert step(port, None) == (b"", 0x6985)


def test_a_step_inside_another_chain_is_refused(port: Port) -> None:
    """ISO/IEC 7816-4, 5.3.3: GENERAL AUTHENTICATE answers each step, other chains are collected as before."""
    assert choose(port) == 0x9000
    assert send(port, 0x10, 0x20, 0x0081, bytes(8)) == (b"", 0x6884)
    assert step(port, None)[1] == 0x9000


def test_a_card_without_an_access_number() -> None:
    port = field_of(Card(image(b"\x00").nvm(), [Wallet]))
    assert choose(port) == 0x6A88
    with pytest.raises(CardRefused):
        pace(Channel(port), CAN, SeededRandomness(2).bytes)


@pytest.mark.parametrize("digits", ["", "12345", "12345a", "１２３４５６", "1" * 17])
def test_what_is_no_access_number(digits: str) -> None:
    card = Card(image(b"\x00").nvm(), [Wallet])
    context = card.platform.context_of(next(item for item in card.platform.registry if item.aid == AID))
    with pytest.raises(WrongData):
        create_card_access_number(context, digits)


def test_an_access_number_is_given_once(master: NvmImage) -> None:
    card = boot(master)
    context = card.platform.context_of(next(item for item in card.platform.registry if item.aid == AID))
    with pytest.raises(FileExists):
        create_card_access_number(context, CAN)


def test_card_access_announces_the_example_s_parameters() -> None:
    """Appendix G.1: SET of PACEInfo with brainpoolP256r1."""
    assert card_access().hex() == "31143012060a04007f0007020204020202010202010d"


def test_pace_and_signatures_in_one_application() -> None:
    """A phone signs over the field: PACE, the holder's PIN, then the operation, all under one layer."""
    port = field_of(Card(image(applet=Signing).nvm(), [Signing], randomness=SeededRandomness(4)))
    reference = bytes.fromhex("840111")
    assert send(port, 0, 0x22, 0x41B6, reference) == (b"", 0x6982)
    assert str(port.last_error) == "missing PIN 1"
    messaging = TerminalSecureMessaging(pace(Channel(port), CAN, SeededRandomness(2).bytes))

    def sealed(ins: int, parameters: int, data: bytes, ne: int = 0) -> ResponseApdu:
        command = CommandApdu(0, ins, parameters >> 8, parameters & 0xFF, data, ne)
        return messaging.open(port.process(messaging.protect(command)))

    assert sealed(0x2A, 0x9E9A, bytes(32), 128).sw == 0x6982
    assert sealed(0x22, 0x41B6, reference).sw == 0x6982
    assert sealed(0x20, 0x0081, pin_block("2468")).sw == 0x9000
    assert sealed(0x22, 0x41B6, reference).sw == 0x9000
    answer = sealed(0x2A, 0x9E9A, bytes(32), 128)
    assert (len(answer.data), answer.sw) == (64, 0x9000)


def test_operations_stay_out_unless_a_rule_is_given() -> None:
    assert [row.ins for row in pace_instructions()] == [0x22, 0x86]
    assert [row.ins for row in pace_instructions(operations=AccessRule((0,)))] == [0x22, 0x86, 0x2A]
