"""MANAGE SECURITY ENVIRONMENT and PERFORM SECURITY OPERATION with every kind of key on a whole card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import ClassVar, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from card_os.applet_api import (
    AccessRule,
    Context,
    Instruction,
    KeyAlgorithm,
    KeyUsage,
    Proof,
    create_key,
    create_pin,
    find_key,
    instruction_table,
    pin_block,
    pin_instructions,
    security_operation_instructions,
)
from card_os.card import Card
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import WrongData
from card_os.iso7816.tlv import encode
from card_os.port import Port
from card_os.security.block_ciphers import pad
from card_os.security.key_kinds import encipher, sign, verify
from card_os.security.sm2 import Sm2PrivateKey

AID: Final = bytes.fromhex("F0544553540201")
SIGN, VERIFY = KeyUsage.SIGN, KeyUsage.VERIFY
ENCIPHER, DECIPHER = KeyUsage.ENCIPHER, KeyUsage.DECIPHER
RSA_2048 = rsa.generate_private_key(65537, 2048)
RSA_3072 = rsa.generate_private_key(65537, 3072)
P256 = ec.derive_private_key(1234567, ec.SECP256R1())
P384 = ec.derive_private_key(7654321, ec.SECP384R1())
SM2 = Sm2PrivateKey(bytes(31) + b"\x09")
MESSAGE = b"what the card is asked to sign"
SHA_256, SHA_384 = hashlib.sha256(MESSAGE).digest(), hashlib.sha384(MESSAGE).digest()
AES_KEY, DES_KEY, LONG_DES_KEY, SM4_KEY = bytes(range(16)), bytes(range(16, 32)), bytes(range(24)), bytes(range(32, 48))


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def primes(key: rsa.RSAPrivateKey) -> bytes:
    numbers = key.private_numbers()
    half = key.key_size // 16
    return numbers.p.to_bytes(half, "big") + numbers.q.to_bytes(half, "big")


def modulus(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big")


KEYS: Final[dict[int, tuple[KeyAlgorithm, KeyUsage, bytes]]] = {
    0x01: (KeyAlgorithm.AES, SIGN | VERIFY | ENCIPHER | DECIPHER, AES_KEY),
    0x02: (KeyAlgorithm.AES, SIGN | VERIFY | ENCIPHER | DECIPHER, bytes(range(24))),
    0x03: (KeyAlgorithm.AES, SIGN | VERIFY | ENCIPHER | DECIPHER, bytes(range(32))),
    0x04: (KeyAlgorithm.TRIPLE_DES, SIGN | VERIFY | ENCIPHER | DECIPHER, DES_KEY),
    0x05: (KeyAlgorithm.TRIPLE_DES, SIGN | VERIFY | ENCIPHER | DECIPHER, LONG_DES_KEY),
    0x06: (KeyAlgorithm.SM4, SIGN | VERIFY | ENCIPHER | DECIPHER, SM4_KEY),
    0x11: (KeyAlgorithm.EC_P256_PRIVATE, SIGN, (1234567).to_bytes(32, "big")),
    0x12: (KeyAlgorithm.EC_P384_PRIVATE, SIGN, (7654321).to_bytes(48, "big")),
    0x13: (KeyAlgorithm.SM2_PRIVATE, SIGN | DECIPHER, SM2.scalar),
    0x14: (KeyAlgorithm.RSA_PRIVATE, SIGN | DECIPHER, primes(RSA_2048)),
    0x15: (KeyAlgorithm.RSA_PRIVATE, SIGN | DECIPHER, primes(RSA_3072)),
    0x21: (KeyAlgorithm.EC_P256_PUBLIC, VERIFY, point(P256)),
    0x22: (KeyAlgorithm.EC_P384_PUBLIC, VERIFY, point(P384)),
    0x23: (KeyAlgorithm.SM2_PUBLIC, VERIFY | ENCIPHER, SM2.public.point),
    0x24: (KeyAlgorithm.RSA_PUBLIC, VERIFY, modulus(RSA_2048)),
    0x25: (KeyAlgorithm.RSA_PUBLIC, VERIFY | ENCIPHER, modulus(RSA_3072)),
    0x31: (KeyAlgorithm.AES, KeyUsage.APPLICATION, AES_KEY),
}
SYMMETRIC_KEYS, PAIRS = range(0x01, 0x07), [(private, private + 0x10) for private in range(0x11, 0x16)]


class Signer:
    """An application with a key of each kind; the holder's PIN opens the operations."""

    package_aid: ClassVar[bytes] = AID[:-1]
    module_aid: ClassVar[bytes] = AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *pin_instructions(), *security_operation_instructions(AccessRule((int(Proof.pin(1)),)))
    )

    def install(self, context: Context, parameters: bytes) -> None:
        create_pin(context, 0x81, pin_block("1234"), number=1, try_limit=3)
        for reference, (algorithm, usage, value) in KEYS.items():
            create_key(context, reference, value, usage=usage, algorithm=algorithm)

    def select(self, context: Context) -> bytes:
        return b"\x6f\x00"

    def deselect(self, context: Context) -> None:
        return

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        raise WrongData("no personalization")


@pytest.fixture(scope="module")
def master() -> NvmImage:
    image = NvmImage.create()
    card = Card(image.nvm(), [Signer])
    card.platform.install(
        package_aid=AID[:-1], module_aid=AID, aid=AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    return image


@pytest.fixture
def card(master: NvmImage) -> Card:
    return Card(master.fork().nvm(), [Signer], randomness=SeededRandomness(5))


@pytest.fixture
def port(card: Card) -> Port:
    card.contact.power_on()
    send(card.contact, 0xA4, 0, AID)
    assert send(card.contact, 0x20, 0x0081, pin_block("1234")) == (b"", 0x9000)
    return card.contact


def context_of(card: Card) -> Context:
    return card.platform.context_of(next(item for item in card.platform.registry if item.aid == AID))


def send(port: Port, ins: int, parameters: int = 0, data: bytes = b"", ne: int = 0) -> tuple[bytes, int]:
    if ins == 0xA4:
        parameters = 0x040C
    command = CommandApdu(0, ins, parameters >> 8, parameters & 0xFF, data, ne, len(data) > 255 or ne > 256)
    answer = port.process(command.encode())
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def set_key(port: Port, function: int, template: int, reference: int) -> int:
    return send(port, 0x22, function << 8 | template, bytes((0x83, 1, reference)))[1]


def perform(port: Port, operation: int, data: bytes = b"", ne: int = 65536) -> tuple[bytes, int]:
    return send(port, 0x2A, operation, data, ne)


@pytest.mark.parametrize(("private", "public"), PAIRS)
def test_what_the_card_signs_it_verifies(port: Port, private: int, public: int) -> None:
    """ISO/IEC 7816-8, 5.3: COMPUTE and VERIFY DIGITAL SIGNATURE over a digest."""
    digest = SHA_384 if private == 0x12 else SHA_256
    assert set_key(port, 0x41, 0xB6, private) == 0x9000
    assert set_key(port, 0x81, 0xB6, public) == 0x9000
    signature, status = perform(port, 0x9E9A, digest)
    assert status == 0x9000
    assert perform(port, 0x00A8, encode(0x9A, digest) + encode(0x9E, signature)) == (b"", 0x9000)
    changed = signature[:-1] + bytes((signature[-1] ^ 1,))
    assert perform(port, 0x00A8, encode(0x9A, digest) + encode(0x9E, changed)) == (b"", 0x6300)
    other = digest[:-1] + bytes((digest[-1] ^ 1,))
    assert perform(port, 0x00A8, encode(0x9A, other) + encode(0x9E, signature)) == (b"", 0x6300)
    assert perform(port, 0x00A8, encode(0x9A, digest) + encode(0x9E, signature[:-1])) == (b"", 0x6300)


def test_signatures_are_those_of_another_implementation(port: Port) -> None:
    assert set_key(port, 0x41, 0xB6, 0x11) == 0x9000
    raw, _ = perform(port, 0x9E9A, SHA_256)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    P256.public_key().verify(der, SHA_256, ec.ECDSA(Prehashed(SHA256())))
    assert set_key(port, 0x41, 0xB6, 0x12) == 0x9000
    raw, _ = perform(port, 0x9E9A, SHA_384)
    der = encode_dss_signature(int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big"))
    P384.public_key().verify(der, SHA_384, ec.ECDSA(Prehashed(SHA384())))
    for reference, key in ((0x14, RSA_2048), (0x15, RSA_3072)):
        assert set_key(port, 0x41, 0xB6, reference) == 0x9000
        raw, _ = perform(port, 0x9E9A, SHA_256)
        key.public_key().verify(raw, MESSAGE, padding.PKCS1v15(), SHA256())
        with pytest.raises(InvalidSignature):
            key.public_key().verify(raw, MESSAGE + b"x", padding.PKCS1v15(), SHA256())


@pytest.mark.parametrize(
    ("algorithm", "length", "private"), [(1, 32, 0x11), (2, 48, 0x12), (3, 32, 0x13), (1, 32, 0x14)]
)
def test_a_hash_is_signed_once(port: Port, algorithm: int, length: int, private: int) -> None:
    assert send(port, 0x22, 0x41AA, bytes((0x80, 1, algorithm))) == (b"", 0x9000)
    assert set_key(port, 0x41, 0xB6, private) == 0x9000
    digest, status = perform(port, 0x9080, MESSAGE)
    assert (len(digest), status) == (length, 0x9000)
    assert digest == hashlib.new({1: "sha256", 2: "sha384", 3: "sm3"}[algorithm], MESSAGE).digest()
    signature, status = perform(port, 0x9E9A)
    assert (len(signature) >= 64, status) == (True, 0x9000)
    assert perform(port, 0x9E9A) == (b"", 0x6985)


def test_a_hash_waits_for_the_next_operation_only(port: Port) -> None:
    assert set_key(port, 0x41, 0xB6, 0x11) == 0x9000
    assert perform(port, 0x9080, MESSAGE)[1] == 0x9000
    assert perform(port, 0x8E80, MESSAGE) == (b"", 0x6985)
    assert perform(port, 0x9E9A) == (b"", 0x6985)


def test_a_signature_over_the_hash_before_it(port: Port) -> None:
    assert set_key(port, 0x81, 0xB6, 0x24) == 0x9000
    signature = RSA_2048.sign(MESSAGE, padding.PKCS1v15(), SHA256())
    assert perform(port, 0x9080, MESSAGE)[1] == 0x9000
    assert perform(port, 0x00A8, encode(0x9E, signature)) == (b"", 0x9000)
    assert perform(port, 0x00A8, encode(0x9E, signature)) == (b"", 0x6985)


def test_sm2_signs_with_the_injected_nonce(master: NvmImage) -> None:
    """Design law: the same seed gives the same bytes, and each signature takes another nonce."""
    answers: list[tuple[bytes, bytes]] = []
    for _ in range(2):
        card = Card(master.fork().nvm(), [Signer], randomness=SeededRandomness(5))
        card.contact.power_on()
        send(card.contact, 0xA4, 0, AID)
        send(card.contact, 0x20, 0x0081, pin_block("1234"))
        set_key(card.contact, 0x41, 0xB6, 0x13)
        answers.append((perform(card.contact, 0x9E9A, SHA_256)[0], perform(card.contact, 0x9E9A, SHA_256)[0]))
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]
    assert all(SM2.public.verify_digest(SHA_256, signature) for signature in answers[0])


@pytest.mark.parametrize("reference", SYMMETRIC_KEYS)
@pytest.mark.parametrize("length", [0, 1, 7, 8, 15, 16, 17, 300])
def test_a_checksum_verifies(port: Port, reference: int, length: int) -> None:
    assert set_key(port, 0x41, 0xB4, reference) == 0x9000
    assert set_key(port, 0x81, 0xB4, reference) == 0x9000
    data = bytes(length)
    mac, status = perform(port, 0x8E80, data)
    assert (len(mac), status) == (8 if reference in {0x04, 0x05} else 16, 0x9000)
    assert perform(port, 0x00A2, encode(0x80, data) + encode(0x8E, mac)) == (b"", 0x9000)
    for wrong in (mac[:-1], mac[:4], b"", mac + b"\x00", bytes((mac[0] ^ 0x80,)) + mac[1:]):
        assert perform(port, 0x00A2, encode(0x80, data) + encode(0x8E, wrong)) == (b"", 0x6300)
    assert perform(port, 0x00A2, encode(0x80, data + b"\x01") + encode(0x8E, mac)) == (b"", 0x6300)


@pytest.mark.parametrize("reference", SYMMETRIC_KEYS)
def test_a_checksum_is_that_of_another_implementation(port: Port, reference: int) -> None:
    algorithm, _, value = KEYS[reference]
    assert set_key(port, 0x41, 0xB4, reference) == 0x9000
    mac, _ = perform(port, 0x8E80, MESSAGE)
    if algorithm is KeyAlgorithm.AES:
        state = CMAC(algorithms.AES(value))
        state.update(MESSAGE)
        assert mac == state.finalize()
    elif reference == 0x06:
        state = CMAC(algorithms.SM4(value))
        state.update(MESSAGE)
        assert mac == state.finalize()
    else:
        assert verify(algorithm, value, MESSAGE, mac)


@pytest.mark.parametrize("reference", SYMMETRIC_KEYS)
@pytest.mark.parametrize("length", [1, 8, 15, 16, 250, 400])
def test_what_is_enciphered_is_deciphered(port: Port, reference: int, length: int) -> None:
    assert set_key(port, 0x81, 0xB8, reference) == 0x9000
    assert set_key(port, 0x41, 0xB8, reference) == 0x9000
    plaintext = bytes(range(1, 251)) * 2
    cryptogram, status = perform(port, 0x8680, plaintext[:length])
    assert (cryptogram[:1], status) == (b"\x01", 0x9000)
    assert perform(port, 0x8086, cryptogram) == (plaintext[:length], 0x9000)
    assert perform(port, 0x8086, cryptogram[:-1])[1] == 0x6A80
    assert perform(port, 0x8086, b"\x02" + cryptogram[1:])[1] == 0x6A80
    assert perform(port, 0x8086, b"\x01")[1] == 0x6A80


def test_padding_is_at_most_one_block(port: Port) -> None:
    assert set_key(port, 0x41, 0xB8, 0x01) == 0x9000
    encryptor = Cipher(algorithms.AES(AES_KEY), modes.CBC(bytes(16))).encryptor()
    cryptogram = encryptor.update(pad(b"data", 16) + bytes(16))
    assert perform(port, 0x8086, b"\x01" + cryptogram) == (b"", 0x6A80)


def test_public_key_decipherment(port: Port) -> None:
    oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
    for reference, cryptogram in (
        (0x13, SM2.public.encrypt(b"secret", SeededRandomness(3))),
        (0x14, RSA_2048.public_key().encrypt(b"secret", oaep)),
        (0x15, RSA_3072.public_key().encrypt(b"secret", oaep)),
    ):
        assert set_key(port, 0x41, 0xB8, reference) == 0x9000
        assert perform(port, 0x8086, b"\x02" + cryptogram) == (b"secret", 0x9000)
        assert perform(port, 0x8086, b"\x01" + cryptogram) == (b"", 0x6A80)
        assert perform(port, 0x8086, b"\x02" + cryptogram[:-1]) == (b"", 0x6A80)
        changed = cryptogram[:-1] + bytes((cryptogram[-1] ^ 1,))
        assert perform(port, 0x8086, b"\x02" + changed) == (b"", 0x6A80)


def test_the_card_enciphers_with_sm2(port: Port) -> None:
    assert set_key(port, 0x81, 0xB8, 0x23) == 0x9000
    cryptogram, status = perform(port, 0x8680, b"secret")
    assert (SM2.decrypt(cryptogram[1:]), status) == (b"secret", 0x9000)


@pytest.mark.parametrize("scheme", ["", "800101", "800102"])
def test_the_card_enciphers_with_rsa(port: Port, scheme: str) -> None:
    """7816-8, 5.3.7; RFC 8017: OAEP unless MANAGE SECURITY ENVIRONMENT says PKCS#1 v1.5; the owner deciphers it."""
    assert send(port, 0x22, 0x81B8, bytes.fromhex(scheme + "830125"))[1] == 0x9000
    answer, sw = perform(port, 0x8680, b"secret")
    assert (answer[:1], sw) == (b"\x02", 0x9000)
    kind = padding.PKCS1v15() if scheme == "800102" else padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
    assert RSA_3072.decrypt(answer[1:], kind) == b"secret"


@pytest.mark.parametrize(("scheme", "longest"), [("800101", 384 - 66), ("800102", 384 - 11)])
def test_a_message_fits_its_padding_or_is_refused(port: Port, scheme: str, longest: int) -> None:
    assert send(port, 0x22, 0x81B8, bytes.fromhex(scheme + "830125"))[1] == 0x9000
    assert perform(port, 0x8680, b"\x01" * longest)[1] == 0x9000
    assert perform(port, 0x8680, b"\x01" * (longest + 1)) == (b"", 0x6A80)
    assert perform(port, 0x8680, b"") == (b"", 0x6A80)


@pytest.mark.parametrize("data", ["800103830125", "80020101830125", "800101", "830125800101"])
def test_an_unknown_padding_is_refused(port: Port, data: str) -> None:
    assert send(port, 0x22, 0x81B8, bytes.fromhex(data))[1] == 0x6A80


@pytest.mark.parametrize(
    ("parameters", "data", "status", "why"),
    [
        (0x41B6, "830121", 0x6A88, "a public key does not sign"),
        (0x81B6, "830111", 0x6A88, "a private key does not verify"),
        (0x41B6, "830131", 0x6A88, "a key of the application's own code"),
        (0x41B8, "830111", 0x6A88, "a key that signs does not decipher"),
        (0x81B8, "830124", 0x6A88, "a key that verifies does not encipher"),
        (0x41B6, "830177", 0x6A88, "no such key"),
        (0x41B6, "83021111", 0x6A80, "two bytes"),
        (0x41B6, "8300", 0x6A80, "no byte"),
        (0x41B6, "", 0x6A80, "no object"),
        (0x41B6, "850111", 0x6A80, "another object"),
        (0x41B6, "830111830112", 0x6A80, "two objects"),
        (0x41B6, "830111800101", 0x6A80, "an algorithm that the key has already"),
        (0x41B6, "800101830111", 0x6A80, "an algorithm that the key has already"),
        (0x41B6, "8301", 0x6A80, "cut short"),
        (0x41AA, "800104", 0x6A80, "unknown hash algorithm"),
        (0x41AA, "8000", 0x6A80, "no hash algorithm"),
        (0x81AA, "800101", 0x6A86, "hashing is not verified"),
        (0x41A4, "830111", 0x6A86, "template for authentication"),
        (0xC1B6, "830111", 0x6A86, "both functions at once"),
        (0x00B6, "830111", 0x6A86, "no function"),
        (0xF201, "", 0x6A86, "STORE"),
        (0xF302, "", 0x6A88, "no such environment"),
        (0xF301, "830111", 0x6700, "RESTORE has no data"),
    ],
)
def test_manage_security_environment_refuses(port: Port, parameters: int, data: str, status: int, why: str) -> None:
    assert send(port, 0x22, parameters, bytes.fromhex(data)) == (b"", status), why


@pytest.mark.parametrize(
    ("operation", "data", "status", "why"),
    [
        (0x9E9A, "", 0x6985, "nothing was hashed"),
        (0x9E9A, "00" * 31, 0x6A80, "no length of a digest"),
        (0x9E9A, "00" * 33, 0x6A80, "no length of a digest"),
        (0x00A8, "", 0x6A80, "no signature"),
        (0x00A8, "9E0100", 0x6985, "nothing was hashed"),
        (0x00A8, "9A01009E0100", 0x6A80, "no length of a digest"),
        (0x00A8, "9E01009A0100", 0x6A80, "out of order"),
        (0x8E80, "00", 0x6985, "no key is set"),
        (0x00A2, "80008E00", 0x6985, "no key is set"),
        (0x00A2, "8E0080 00", 0x6A80, "out of order"),
        (0x8680, "00", 0x6985, "no key is set"),
        (0x8086, "0100", 0x6985, "no key is set"),
        (0x8280, "00", 0x6A81, "another form of a cryptogram"),
        (0x00BE, "00", 0x6985, "no issuer is named"),
        (0x00AE, "00", 0x6A81, "certificates that do not describe themselves"),
        (0x0000, "00", 0x6A81, "no operation"),
    ],
)
def test_perform_security_operation_refuses(port: Port, operation: int, data: str, status: int, why: str) -> None:
    assert set_key(port, 0x41, 0xB6, 0x11) == 0x9000
    assert set_key(port, 0x81, 0xB6, 0x21) == 0x9000
    assert perform(port, operation, bytes.fromhex(data)) == (b"", status), why


def test_a_checksum_takes_no_asymmetric_key_and_a_signature_no_other(port: Port) -> None:
    assert set_key(port, 0x41, 0xB4, 0x11) == 0x9000
    assert perform(port, 0x8E80, MESSAGE) == (b"", 0x6985)
    assert set_key(port, 0x41, 0xB6, 0x01) == 0x9000
    assert perform(port, 0x9E9A, SHA_256) == (b"", 0x6985)


@pytest.mark.parametrize("forget", ["restore", "select", "reset"])
def test_what_was_set_is_forgotten(port: Port, forget: str) -> None:
    assert set_key(port, 0x41, 0xB6, 0x11) == 0x9000
    if forget == "restore":
        assert send(port, 0x22, 0xF301) == (b"", 0x9000)
    else:
        if forget == "reset":
            port.reset()
        send(port, 0xA4, 0, AID)
        send(port, 0x20, 0x0081, pin_block("1234"))
    assert perform(port, 0x9E9A, SHA_256) == (b"", 0x6985)


@pytest.mark.parametrize("ins", [0x22, 0x2A])
def test_nothing_works_without_the_proof_that_the_row_asks_for(port: Port, ins: int) -> None:
    port.reset()
    send(port, 0xA4, 0, AID)
    assert send(port, ins, 0x41B6, bytes.fromhex("830111")) == (b"", 0x6982)
    assert str(port.last_error) == "missing PIN 1"


def test_the_rows_are_never_allowed_unless_the_application_says_so() -> None:
    assert all(not row.access.alternatives for row in security_operation_instructions())


def test_a_message_in_several_commands_is_hashed_as_one(port: Port) -> None:
    """PERFORM SECURITY OPERATION can be chained (ISO/IEC 7816-4, 5.3.3)."""
    long = bytes(range(250)) * 4
    for at in range(0, 750, 250):
        command = CommandApdu(0x10, 0x2A, 0x90, 0x80, long[at : at + 250], 0, False)
        assert port.process(command.encode()) == b"\x90\x00"
    assert perform(port, 0x9080, long[750:], 256) == (hashlib.sha256(long).digest(), 0x9000)


@pytest.mark.parametrize(
    ("algorithm", "value", "usage"),
    [
        (KeyAlgorithm.AES, bytes(15), SIGN),
        (KeyAlgorithm.TRIPLE_DES, bytes(8), SIGN),
        (KeyAlgorithm.SM4, bytes(24), SIGN),
        (KeyAlgorithm.EC_P256_PRIVATE, bytes(32), SIGN),
        (KeyAlgorithm.EC_P256_PRIVATE, bytes(31) + b"\x01" * 17, SIGN),
        (KeyAlgorithm.EC_P384_PRIVATE, bytes(31) + b"\x01", SIGN),
        (KeyAlgorithm.SM2_PRIVATE, bytes(32), SIGN),
        (KeyAlgorithm.EC_P256_PUBLIC, b"\x04" + bytes(64), VERIFY),
        (KeyAlgorithm.EC_P256_PUBLIC, point(P384), VERIFY),
        (KeyAlgorithm.SM2_PUBLIC, point(P256), VERIFY),
        (KeyAlgorithm.RSA_PRIVATE, bytes(256), SIGN),
        (KeyAlgorithm.RSA_PRIVATE, primes(RSA_2048)[:-1] + b"\x00", SIGN),  # q is even
        (KeyAlgorithm.RSA_PRIVATE, primes(RSA_2048)[:-1], SIGN),
        (KeyAlgorithm.RSA_PUBLIC, bytes(256), VERIFY),
        (KeyAlgorithm.RSA_PUBLIC, modulus(RSA_2048)[:128], VERIFY),
        (KeyAlgorithm.EC_P256_PUBLIC, point(P256), SIGN),
        (KeyAlgorithm.RSA_PUBLIC, modulus(RSA_2048), KeyUsage.DECIPHER),
        (KeyAlgorithm.AES, bytes(16), KeyUsage.CHIP),
        (KeyAlgorithm.SM4, bytes(16), KeyUsage.TERMINAL),
        (KeyAlgorithm.PASSWORD, b"12345", KeyUsage.PACE),
        (KeyAlgorithm.PASSWORD, b"12345a", KeyUsage.PACE),
        (KeyAlgorithm.PASSWORD, b"123456", SIGN),
        (KeyAlgorithm.PASSWORD, b"123456", KeyUsage.PACE | SIGN),
        (KeyAlgorithm.AES, bytes(16), KeyUsage.PACE),
        (KeyAlgorithm.AES, bytes(16), KeyUsage.PACE | SIGN),
    ],
    ids=[f"case-{number}" for number in range(25)],  # RSA keys are new in each process: no name may hold them
)
def test_what_is_no_key_is_not_created(card: Card, algorithm: KeyAlgorithm, value: bytes, usage: KeyUsage) -> None:
    context = context_of(card)
    with pytest.raises(WrongData):
        create_key(context, 0x77, value, usage=usage, algorithm=algorithm)


@pytest.mark.parametrize("reference", KEYS)
def test_keys_rest_as_they_came_and_do_not_show(card: Card, reference: int) -> None:
    algorithm, usage, value = KEYS[reference]
    context = context_of(card)
    key = find_key(context, reference, usage)
    assert (key.algorithm, key.usage, key.value) == (algorithm, usage, value)
    assert value.hex() not in repr(key)


@pytest.mark.parametrize("algorithm", sorted(set(KeyAlgorithm) - {KeyAlgorithm.PASSWORD}))
def test_kinds_refuse_what_they_cannot_do(algorithm: KeyAlgorithm) -> None:
    source = SeededRandomness(1)
    value = next(value for kind, _, value in KEYS.values() if kind is algorithm)
    if "PUBLIC" in algorithm.name:
        with pytest.raises(ValueError, match="does not sign"):
            sign(algorithm, value, SHA_256, source)
    if "PRIVATE" in algorithm.name:
        with pytest.raises(ValueError, match="does not verify"):
            verify(algorithm, value, SHA_256, bytes(64))
        with pytest.raises(ValueError, match="does not encipher"):
            encipher(algorithm, value, b"x", source)
    with pytest.raises(ValueError, match="nothing"):
        encipher(algorithm, value, b"", source)
