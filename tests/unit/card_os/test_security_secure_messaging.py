"""ISO secure messaging: published examples, an independent terminal, and everything that has to be refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.apdu import CommandApdu, ResponseApdu, SecureMessagingIndication
from card_os.iso7816.errors import CardError, SmObjectIncorrect, SmObjectMissing
from card_os.iso7816.status import SW, StatusWord
from card_os.iso7816.tlv import Tlv, parse_all
from card_os.security.access import Proof
from card_os.security.secure_messaging import IsoSecureMessaging, session
from test_vectors import Vector, load

ENC = bytes(range(16))
MAC = bytes(range(16, 32))


def vectors(name: str, *, valid: bool) -> pytest.MarkDecorator:
    chosen = [vector for vector in load(f"crypto/{name}.json") if vector.valid is valid]
    return pytest.mark.parametrize("vector", chosen, ids=str)


class Terminal:
    """The other side, written after ICAO Doc 9303-11, 9.8, step by step and without any shortcut."""

    def __init__(self, enc: bytes = ENC, mac: bytes = MAC) -> None:
        self.enc, self.mac, self.ssc = enc, mac, 0

    def checksum(self, data: bytes) -> bytes:
        state = CMAC(algorithms.AES(self.mac))
        state.update(self.ssc.to_bytes(16, "big") + data)
        return state.finalize()[:8]

    def cipher(self) -> Cipher[modes.CBC]:
        single = Cipher(algorithms.AES(self.enc), modes.ECB()).encryptor()  # noqa: S305 - as the standard says
        return Cipher(algorithms.AES(self.enc), modes.CBC(single.update(self.ssc.to_bytes(16, "big"))))

    @staticmethod
    def pad(data: bytes) -> bytes:
        data += b"\x80"
        while len(data) % 16:
            data += b"\x00"
        return data

    def protect(self, command: CommandApdu) -> CommandApdu:
        self.ssc += 1
        cla = command.cla | (0x20 if command.cla & 0x40 else 0x0C)
        header = bytes((cla, command.ins, command.p1, command.p2))
        objects = b""
        if command.data:
            cryptogram = self.cipher().encryptor().update(self.pad(command.data))
            objects += (Tlv(0x85, cryptogram) if command.ins & 1 else Tlv(0x87, b"\x01" + cryptogram)).encode()
        if command.ne:
            wide = command.ne > 256
            ne = (command.ne & 0xFFFF).to_bytes(2, "big") if wide else bytes((command.ne & 0xFF,))
            objects += Tlv(0x97, ne).encode()
        checksum = self.checksum(self.pad(header) + (self.pad(objects) if objects else b""))
        data = objects + Tlv(0x8E, checksum).encode()
        raw = CommandApdu(cla, command.ins, command.p1, command.p2, data, 65_536 if len(data) > 200 else 256).encode()
        return CommandApdu.parse(raw)

    def open(self, data: bytes) -> ResponseApdu:
        self.ssc += 1
        objects = parse_all(data)
        assert [item.tag for item in objects][-2:] == [0x99, 0x8E]
        covered = b"".join(item.encode() for item in objects[:-1])
        assert objects[-1].value == self.checksum(self.pad(covered))
        plain = b""
        if len(objects) == 3:
            value = objects[0].value
            if objects[0].tag == 0x87:
                assert value[0] == 0x01
                value = value[1:]
            padded = self.cipher().decryptor().update(value)
            plain = padded.rstrip(b"\x00")
            assert plain[-1] == 0x80
            assert len(padded) - len(plain) < 16
            plain = plain[:-1]
        return ResponseApdu(plain, StatusWord.parse(objects[-2].value))


def session_of(vector: Vector) -> IsoSecureMessaging:
    command = vector.bytes("command") if "command" in vector.values else bytes(1)
    return IsoSecureMessaging(
        vector.bytes("encryption_key"), vector.bytes("mac_key"), cla=command[0], counter=vector.number("counter")
    )


@vectors("secure_messaging_commands", valid=True)
def test_published_commands_are_opened(vector: Vector) -> None:
    """ICAO Doc 9303-11, 9.8.4."""
    plain = session_of(vector).unwrap(CommandApdu.parse(vector.bytes("command")))
    assert bytes((plain.cla, plain.ins, plain.p1, plain.p2)) == vector.bytes("header")
    assert plain.data == vector.bytes("data")
    assert plain.ne == vector.number("ne")


@vectors("secure_messaging_commands", valid=False)
def test_commands_out_of_order_are_refused(vector: Vector) -> None:
    """ICAO Doc 9303-11, 9.8.6: 6987 for missing, 6988 for incorrect objects."""
    layer, command = session_of(vector), CommandApdu.parse(vector.bytes("command"))
    with pytest.raises(CardError) as caught:
        layer.unwrap(command)
    assert caught.value.sw == vector.number("status")


@vectors("secure_messaging_responses", valid=True)
def test_published_responses_are_made(vector: Vector) -> None:
    data, sw = session_of(vector).wrap(vector.bytes("data"), StatusWord(vector.number("status")))
    assert data == vector.bytes("protected")
    assert sw == vector.number("status")


CLASSES = st.sampled_from([0x00, 0x01, 0x03, 0x10, 0x80, 0x40, 0x4F])
COMMANDS = st.builds(
    CommandApdu,
    st.just(0x00),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=300),
    st.sampled_from([0, 1, 16, 255, 256, 257, 4096, 65_535, 65_536]),
)
EXCHANGES = st.lists(
    st.tuples(COMMANDS, st.binary(max_size=300), st.sampled_from([0x9000, 0x6282, 0x6982, 0x63C2, 0x6F00])),
    min_size=1,
    max_size=5,
)


@given(CLASSES, EXCHANGES)
def test_exchanges_with_an_independent_terminal(cla: int, exchanges: list[tuple[CommandApdu, bytes, int]]) -> None:
    card, terminal = IsoSecureMessaging(ENC, MAC, cla=cla), Terminal()
    for bare, data, status in exchanges:
        command = bare._replace(cla=cla)
        plain = card.unwrap(terminal.protect(command))
        assert plain[:6] == command[:6]
        protected, sw = card.wrap(data, StatusWord(status))
        assert sw == status
        assert terminal.open(protected) == ResponseApdu(data, StatusWord(status))


@given(COMMANDS, st.data())
def test_any_turned_bit_of_a_protected_command_is_refused(command: CommandApdu, data: st.DataObject) -> None:
    protected = Terminal().protect(command)
    body = bytearray(bytes(protected[:4]) + protected.data)
    bit = data.draw(st.integers(0, 8 * len(body) - 1))
    body[bit // 8] ^= 1 << bit % 8
    damaged = protected._replace(cla=body[0], ins=body[1], p1=body[2], p2=body[3], data=bytes(body[4:]))
    card = IsoSecureMessaging(ENC, MAC)
    with pytest.raises((SmObjectIncorrect, SmObjectMissing)):
        card.unwrap(damaged)


def cryptogram(padded: bytes) -> bytes:
    """What the first command of a terminal holds under its counter."""
    terminal = Terminal()
    terminal.ssc = 1
    return terminal.cipher().encryptor().update(padded)


GOOD = cryptogram(Terminal.pad(b"\x11\x22"))
BAD = cryptogram(bytes(16))


@pytest.mark.parametrize(
    ("ins", "objects"),
    [
        (0xD6, b"\x87\x21\x01" + GOOD),
        (0xD6, b"\x87\x12\x01" + GOOD),
        (0xD6, b"\x87\x11\x02" + GOOD),
        (0xD6, b"\x87\x10" + GOOD),
        (0xD6, b"\x87\x01\x01"),
        (0xD6, b"\x87\x00"),
        (0xD6, b"\x87\x11\x01" + BAD),
        (0xD6, b"\x87\x21\x01" + cryptogram(b"\x80" + bytes(31))),
        (0xD6, b"\x87\x10\x01" + GOOD[:-1]),
        (0xD6, b"\x85\x10" + GOOD),
        (0xD7, b"\x87\x11\x01" + GOOD),
        (0xD7, b"\x85\x20" + GOOD),
        (0xD6, b"\x97\x01\x00\x87\x11\x01" + GOOD),
        (0xD6, b"\x87\x11\x01" + GOOD + b"\x87\x11\x01" + GOOD),
        (0xB0, b"\x97\x01\x10\x97\x01\x10"),
        (0xB0, b"\x97\x00"),
        (0xB0, b"\x97\x03\x00\x00\x10"),
        (0xB0, b"\x99\x02\x90\x00"),
        (0xB0, b"\x97"),
    ],
)
def test_objects_that_are_authentic_and_wrong_are_refused(ins: int, objects: bytes) -> None:
    """7816-4, 10.2: a right MAC does not make an object of it that the command cannot have."""
    terminal, card = Terminal(), IsoSecureMessaging(ENC, MAC)
    terminal.ssc = 1
    checksum = terminal.checksum(terminal.pad(bytes((0x0C, ins, 0, 0))) + terminal.pad(objects))
    command = CommandApdu(0x0C, ins, 0, 0, objects + Tlv(0x8E, checksum).encode())
    with pytest.raises(SmObjectIncorrect):
        card.unwrap(command)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_with_6987_or_6988(data: bytes) -> None:
    card = IsoSecureMessaging(ENC, MAC)
    with pytest.raises((SmObjectIncorrect, SmObjectMissing)):
        card.unwrap(CommandApdu(0x0C, 0xB0, 0, 0, data))


def test_a_command_cannot_be_replayed() -> None:
    card, terminal = IsoSecureMessaging(ENC, MAC), Terminal()
    command = terminal.protect(CommandApdu(0x00, 0xB0, 0, 0, b"", 16))
    card.unwrap(command)
    card.wrap(bytes(16), SW.OK)
    with pytest.raises(SmObjectIncorrect):
        card.unwrap(command)


def test_a_lost_command_is_noticed() -> None:
    card, terminal = IsoSecureMessaging(ENC, MAC), Terminal()
    terminal.protect(CommandApdu(0x00, 0xB0, 0, 0, b"", 16))
    second = terminal.protect(CommandApdu(0x00, 0xB0, 0, 16, b"", 16))
    with pytest.raises(SmObjectIncorrect):
        card.unwrap(second)


def test_keys_of_another_session_are_refused() -> None:
    command = Terminal().protect(CommandApdu(0x00, 0xB0, 0, 0, b"", 16))
    other = IsoSecureMessaging(ENC, ENC)
    with pytest.raises(SmObjectIncorrect):
        other.unwrap(command)


def test_errors_are_protected_and_carry_no_cryptogram() -> None:
    """ICAO Doc 9303-11, 9.8.4: 99 and 8E for a response without data."""
    card, terminal = IsoSecureMessaging(ENC, MAC), Terminal()
    card.unwrap(terminal.protect(CommandApdu(0x00, 0xB0, 0, 0, b"", 16)))
    data, sw = card.wrap(b"", SW.SECURITY_STATUS_NOT_SATISFIED)
    assert [item.tag for item in parse_all(data)] == [0x99, 0x8E]
    assert sw == 0x6982
    assert terminal.open(data).sw == 0x6982


def test_the_response_to_an_odd_instruction_uses_85() -> None:
    """ISO/IEC 7816-4:2020, 10.4.2: data objects of odd instructions travel without padding indicator."""
    card, terminal = IsoSecureMessaging(ENC, MAC), Terminal()
    card.unwrap(terminal.protect(CommandApdu(0x00, 0xB1, 0, 0, bytes.fromhex("54020000"), 256)))
    data, _ = card.wrap(bytes.fromhex("5303010203"), SW.OK)
    assert parse_all(data)[0].tag == 0x85
    assert terminal.open(data).data == bytes.fromhex("5303010203")


def test_a_portrait_chunk_fits_extended_length() -> None:
    card, terminal = IsoSecureMessaging(ENC, MAC), Terminal()
    card.unwrap(terminal.protect(CommandApdu(0x00, 0xB0, 0, 0, b"", 20_480)))
    data, _ = card.wrap(bytes(20_480), SW.OK)
    assert terminal.open(data).data == bytes(20_480)


def test_the_session_grants_the_role_under_secure_messaging() -> None:
    assert IsoSecureMessaging(ENC, MAC, role=3).proofs == Proof.SECURE_MESSAGING | Proof.key(3)
    assert IsoSecureMessaging(ENC, MAC).proofs == Proof.SECURE_MESSAGING


def test_the_form_of_the_class_byte_follows_the_channel() -> None:
    """ISO/IEC 7816-4:2020, 5.4.1: bits 4-3 up to channel 3, bit 6 from channel 4 on."""
    assert IsoSecureMessaging(ENC, MAC, cla=0x03).indication is SecureMessagingIndication.HEADER_AUTHENTICATED
    assert IsoSecureMessaging(ENC, MAC, cla=0x41).indication is SecureMessagingIndication.INTERINDUSTRY


def test_session_keys_are_derived_from_the_seed_and_both_challenges() -> None:
    seed, card_challenge, terminal_challenge = b"\x01" * 16, b"\x02" * 16, b"\x03" * 16

    def key(label: bytes) -> bytes:
        state = CMAC(algorithms.AES(seed))
        state.update(b"\x01" + label + b"\x00" + card_challenge + terminal_challenge + b"\x00\x80")
        return state.finalize()

    card = session(seed, card_challenge, terminal_challenge, role=1)
    terminal = Terminal(key(b"KS.ENC"), key(b"KS.MAC"))
    assert card.unwrap(terminal.protect(CommandApdu(0, 0xD6, 0, 0, b"content"))).data == b"content"


def test_no_key_shows_in_a_repr() -> None:
    assert ENC.hex() not in repr(IsoSecureMessaging(ENC, MAC))
