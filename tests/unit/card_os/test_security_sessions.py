"""Secure messaging by the kind of the key: triple DES (basic access control), SM4, AES; and what has to be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from card_os.applet_api import Context, KeyAlgorithm, KeyUsage, create_key
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.errors import WrongData
from card_os.iso7816.tlv import encode, encode_length
from card_os.port import Port
from tests.doubles.secured_card import CONTENT, ScriptedRandomness, secured_card, secured_image, send

# ICAO Doc 9303-11 (8th edition), appendix D: worked example of basic access control.
K_ENC = bytes.fromhex("AB94FDECF2674FDFB9B391F85D7F76F2")
K_MAC = bytes.fromhex("7962D9ECE03D1ACD4C76089DCE131543")
RND_IC = bytes.fromhex("4608F91988702212")
K_IC = bytes.fromhex("0B4F80323EB3191CB04970CB4052790B")
MUTUAL = bytes.fromhex(
    "0082000028 72C29C2371CC9BDB65B779B8E8D37B29ECC154AA56A8799FAE2F498F76ED92F2 5F1448EEA8AD90A7 28"
)
MUTUAL_ANSWER = bytes.fromhex("46B9342A41396CD7386BF5803104D7CEDC122B9132139BAF2EEDC94EE178534F 2F2D235D074D7449 9000")
PROTECTED: Final = (
    ("0CA4020C15 8709016375432908C044F6 8E08BF8B92D635FF24F8 00", "99029000 8E08FA855A5D4C50A8ED 9000"),
    ("0CB000000D 970104 8E08ED6705417E96BA55 00", "8709019FF0EC34F9922651 99029000 8E08AD55CC17140B2DED 9000"),
    (
        "0CB000040D 970112 8E082EA28A70F3C7B535 00",
        "871901FB9235F4E4037F2327DCC8964F1F9B8C30F42C8E2FFF224A 99029000 8E08C8B2787EAEA07D74 9000",
    ),
)
SELECT = PROTECTED[0][0]
PAIR = bytes(range(0x40, 0x60))
TERMINAL = KeyUsage.TERMINAL


def bac_key(context: Context) -> None:
    create_key(context, 0x81, K_ENC + K_MAC, usage=TERMINAL, algorithm=KeyAlgorithm.TRIPLE_DES, role=1, try_limit=3)


def pair_of(algorithm: KeyAlgorithm) -> Callable[[Context], object]:
    return lambda context: create_key(context, 0x81, PAIR, usage=TERMINAL, algorithm=algorithm, role=1, try_limit=3)


@pytest.fixture
def bac() -> Port:
    """The card of the worked example, after its mutual authentication."""
    card = secured_card(secured_image(bac_key).nvm(), ScriptedRandomness([RND_IC, K_IC]))
    card.contact.power_on()
    assert card.contact.process(bytes.fromhex("0084000008")) == RND_IC + b"\x90\x00"
    assert card.contact.process(MUTUAL) == MUTUAL_ANSWER
    return card.contact


def test_the_worked_example_of_basic_access_control(bac: Port) -> None:
    """Appendix D.3 and D.4: P2 names no key; every byte that goes over the interface."""
    for command, answer in PROTECTED:
        assert bac.process(bytes.fromhex(command)) == bytes.fromhex(answer), command


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        (SELECT.replace("24F8", "24F9"), "6988"),
        (SELECT.replace("0CA4020C", "0CA4000C"), "6988"),
        (SELECT.replace("C044F6", "C044F7"), "6988"),
        ("0CA4020C0B 8709016375432908C044F6 00", "6987"),
        ("0CA4020C14 8709016375432908C044F6 8E07BF8B92D635FF24 00", "6988"),
        ("0CA4020C0A 8E08BF8B92D635FF24F8 00", "6988"),
        (PROTECTED[1][0], "6988"),
        ("0CA4020C", "6987"),
        ("00A4020C02 011E", "9000"),
    ],
    ids=[
        "wrong MAC",
        "another header",
        "another cryptogram",
        "no MAC",
        "MAC cut short",
        "cryptogram left out",
        "the command after it",
        "nothing at all",
        "plain: ends the session",
    ],
)
def test_what_is_wrong_ends_the_session(bac: Port, command: str, sw: str) -> None:
    """9.8.6: the next command under the old session is refused as well."""
    assert bac.process(bytes.fromhex(command)).hex().upper() == sw
    assert bac.process(bytes.fromhex(PROTECTED[0][0])).hex().upper() == "6882"


def test_a_command_cannot_be_played_again(bac: Port) -> None:
    assert bac.process(bytes.fromhex(SELECT))[-2:] == b"\x90\x00"
    assert bac.process(bytes.fromhex(SELECT)) == b"\x69\x88"


@pytest.mark.parametrize(
    ("change", "sw"),
    [
        (lambda raw: raw[:-9] + bytes((raw[-9] ^ 1,)) + raw[-8:], 0x63C2),
        (lambda raw: raw[:5] + bytes((raw[5] ^ 1,)) + raw[6:], 0x63C2),
        (lambda raw: raw[:4] + b"\x20" + raw[5:37], 0x6700),
        (lambda raw: raw[:3] + b"\x82" + raw[4:], 0x6A88),
        (lambda raw: raw[:2] + b"\x01" + raw[3:], 0x6A86),
    ],
    ids=["wrong MAC", "wrong cryptogram", "no MAC", "another key", "an algorithm in P1"],
)
def test_a_wrong_authentication_is_refused(change: Callable[[bytes], bytes], sw: int) -> None:
    card = secured_card(secured_image(bac_key).nvm(), ScriptedRandomness([RND_IC, K_IC]))
    card.contact.power_on()
    card.contact.process(bytes.fromhex("0084000008"))
    assert card.contact.process(change(MUTUAL)) == sw.to_bytes(2, "big")
    assert card.contact.process(MUTUAL) == b"\x69\x84", "the challenge is used up"


def test_a_challenge_of_the_other_length_is_no_challenge() -> None:
    card = secured_card(secured_image(bac_key).nvm(), ScriptedRandomness([RND_IC * 2]))
    card.contact.power_on()
    assert send(card.contact, 0x84, ne=16)[1] == 0x9000
    assert card.contact.process(MUTUAL) == b"\x69\x84"


def test_no_key_is_implied_where_there_are_two() -> None:
    def two(context: Context) -> None:
        bac_key(context)
        create_key(context, 0x82, PAIR, usage=TERMINAL, role=2, try_limit=3)

    card = secured_card(secured_image(two).nvm(), ScriptedRandomness([RND_IC, K_IC]))
    card.contact.power_on()
    card.contact.process(bytes.fromhex("0084000008"))
    assert card.contact.process(MUTUAL) == b"\x6a\x88"


class Terminal:
    """The other side with one cipher, step by step after ICAO Doc 9303-11, clauses 4.3 and 9.8."""

    def __init__(self, port: Port, cipher: Callable[[bytes], BlockCipherAlgorithm]) -> None:
        self.port, self.cipher, self.counter = port, cipher, 0
        self.enc = self.mac = b""

    def cmac(self, key: bytes, data: bytes) -> bytes:
        state = CMAC(self.cipher(key))
        state.update(data)
        return state.finalize()

    def cbc(self, key: bytes, iv: bytes = bytes(16)) -> Cipher[modes.CBC]:
        return Cipher(self.cipher(key), modes.CBC(iv))

    def authenticate(self) -> int:
        challenge, _ = send(self.port, 0x84, ne=16)
        own, seed = bytes(range(16)), bytes(range(16, 32))
        sent = self.cbc(PAIR[:16]).encryptor().update(own + challenge + seed)
        answer, sw = send(self.port, 0x82, 0x81, sent + self.cmac(PAIR[16:], b"\x01\x81" + sent), 256)
        if sw != 0x9000:
            return sw
        assert self.cmac(PAIR[16:], b"\x02\x81" + answer[:48]) == answer[48:]
        plain = self.cbc(PAIR[:16]).decryptor().update(answer[:48])
        assert plain[:32] == challenge + own
        key = bytes(a ^ b for a, b in zip(seed, plain[32:], strict=True))
        self.enc, self.mac = (
            self.cmac(key, b"\x01" + label + b"\x00" + challenge + own + b"\x00\x80")
            for label in (b"KS.ENC", b"KS.MAC")
        )
        return sw

    @staticmethod
    def pad(data: bytes) -> bytes:
        return data + b"\x80" + bytes(-(len(data) + 1) % 16)

    def iv(self) -> bytes:
        single = Cipher(self.cipher(self.enc), modes.ECB()).encryptor()  # noqa: S305 - as the standard says
        return single.update(self.counter.to_bytes(16, "big"))

    def protect(self, ins: int, p1p2: int, data: bytes = b"", le: bytes = b"") -> bytes:
        self.counter += 1
        header = bytes((0x0C, ins)) + p1p2.to_bytes(2, "big")
        objects = (
            encode(0x87, b"\x01" + self.cbc(self.enc, self.iv()).encryptor().update(self.pad(data))) if data else b""
        )
        objects += encode(0x97, le) if le else b""
        message = self.counter.to_bytes(16, "big") + self.pad(header) + (self.pad(objects) if objects else b"")
        body = objects + encode(0x8E, self.cmac(self.mac, message)[:8])
        return header + encode_length(len(body)) + body + b"\x00"

    def open(self, answer: bytes) -> tuple[bytes, bytes]:
        self.counter += 1
        body, mac = answer[:-12], answer[-10:-2]
        message = self.counter.to_bytes(16, "big") + self.pad(body)
        assert self.cmac(self.mac, message)[:8] == mac
        if body[0] != 0x87:
            return b"", body[-2:]
        padded = self.cbc(self.enc, self.iv()).decryptor().update(body[3 : 2 + body[1]])
        return padded.rstrip(b"\x00")[:-1], body[-2:]


CIPHERS = [(KeyAlgorithm.SM4, algorithms.SM4), (KeyAlgorithm.AES, algorithms.AES)]


@pytest.mark.parametrize(("algorithm", "cipher"), CIPHERS)
def test_a_session_has_the_cipher_of_its_key(
    algorithm: KeyAlgorithm, cipher: Callable[[bytes], BlockCipherAlgorithm]
) -> None:
    card = secured_card(secured_image(pair_of(algorithm)).nvm(), SeededRandomness(3))
    card.contact.power_on()
    terminal = Terminal(card.contact, cipher)
    assert terminal.authenticate() == 0x9000
    assert terminal.open(card.contact.process(terminal.protect(0xA4, 0x020C, b"\x01\x1e"))) == (b"", b"\x90\x00")
    read = terminal.protect(0xB0, 0, le=b"\x00")
    assert terminal.open(card.contact.process(read)) == (CONTENT, b"\x90\x00")
    assert card.contact.process(read) == b"\x69\x88", "a command that is played again"
    assert card.contact.process(terminal.protect(0xB0, 0, le=b"\x00")) == b"\x68\x82", "the session has ended"


@pytest.mark.parametrize("position", [5, 12, -3, -9])
@pytest.mark.parametrize(("algorithm", "cipher"), CIPHERS)
def test_a_changed_byte_ends_the_session(
    algorithm: KeyAlgorithm, cipher: Callable[[bytes], BlockCipherAlgorithm], position: int
) -> None:
    card = secured_card(secured_image(pair_of(algorithm)).nvm(), SeededRandomness(3))
    card.contact.power_on()
    terminal = Terminal(card.contact, cipher)
    assert terminal.authenticate() == 0x9000
    changed = bytearray(terminal.protect(0xA4, 0x020C, b"\x01\x1e"))
    changed[position] ^= 0x01
    assert card.contact.process(bytes(changed)) in (b"\x69\x88", b"\x69\x87")
    assert card.contact.process(terminal.protect(0xB0, 0, le=b"\x00")) == b"\x68\x82"


def test_a_pair_of_another_cipher_does_not_authenticate() -> None:
    card = secured_card(secured_image(pair_of(KeyAlgorithm.SM4)).nvm(), SeededRandomness(3))
    card.contact.power_on()
    assert Terminal(card.contact, algorithms.AES).authenticate() == 0x63C2


def test_an_external_authentication_by_triple_des_gives_the_role_in_plain() -> None:
    card = secured_card(secured_image(bac_key).nvm(), ScriptedRandomness([RND_IC]))
    port = card.contact
    port.power_on()
    assert send(port, 0xB0, 0x8100, ne=1)[1] == 0x6982
    challenge, _ = send(port, 0x84, ne=8)
    message = b"\x03\x81" + challenge + b"\x80" + bytes(5)
    single = Cipher(TripleDES(K_MAC[:8] * 3), modes.CBC(bytes(8))).encryptor().update(message[:8])
    mac = Cipher(TripleDES(K_MAC + K_MAC[:8]), modes.CBC(single)).encryptor().update(message[8:])
    assert send(port, 0x82, 0x81, mac) == (b"", 0x9000)
    assert send(port, 0xB0, 0x8100, ne=1) == (CONTENT[:1], 0x9000)
    assert send(port, 0x82, 0x81, mac) == (b"", 0x6984)


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.AES, KeyAlgorithm.SM4, KeyAlgorithm.TRIPLE_DES])
@pytest.mark.parametrize("length", [16, 24, 31, 33, 48])
def test_a_pair_has_two_keys_of_16_bytes(algorithm: KeyAlgorithm, length: int) -> None:
    def prepare(context: Context) -> None:
        with pytest.raises(WrongData):
            create_key(context, 1, bytes(length), usage=TERMINAL, algorithm=algorithm, role=1, try_limit=1)

    secured_image(prepare)
