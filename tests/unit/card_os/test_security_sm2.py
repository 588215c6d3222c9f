"""SM2, SM3, SM4 and curve points against published vectors and the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.tlv import encode, parse_one
from card_os.security import libcrypto
from card_os.security.block_ciphers import (
    BlockCipher,
    block_cmac,
    cbc_decrypt,
    cbc_encrypt,
    ecb_decrypt,
    ecb_encrypt,
    pad,
    retail_mac,
)
from card_os.security.libcrypto import Curve, CurveName, LibcryptoMissing, curve
from card_os.security.sm2 import DEFAULT_IDENTITY, OVERHEAD, Sm2PrivateKey, Sm2PublicKey, sm3
from test_vectors import Vector, load

CURVES = {
    CurveName.P256: ec.SECP256R1(),
    CurveName.P384: ec.SECP384R1(),
    CurveName.BRAINPOOL_P256R1: ec.BrainpoolP256R1(),
}
OPENSSL = shutil.which("openssl") or ""
needs_openssl = pytest.mark.skipif(not OPENSSL, reason="the openssl command is not installed")
SM2_OID = bytes.fromhex("06082a811ccf5501822d")
KEY = Sm2PrivateKey(bytes(range(1, 33)))


class Given:
    """A source that gives the bytes it is told to, then fails."""

    def __init__(self, *values: bytes) -> None:
        self._values = list(values)
        self.position = 0

    def bytes(self, length: int) -> bytes:
        value = self._values.pop(0)
        assert len(value) == length
        self.position += length
        return value


def vectors(name: str, *, valid: bool) -> pytest.MarkDecorator:
    chosen = [vector for vector in load(f"crypto/{name}.json") if vector.valid is valid]
    return pytest.mark.parametrize("vector", chosen, ids=str)


@vectors("sm2_signature", valid=True)
def test_sm2_signature(vector: Vector) -> None:
    key = Sm2PrivateKey(vector.bytes("private"))
    message, identity, signature = vector.bytes("message"), vector.bytes("identity"), vector.bytes("signature")
    assert key.public.point == vector.bytes("public")
    assert key.sign(message, Given(vector.bytes("nonce")), identity) == signature
    assert key.public.verify(message, signature, identity)


@vectors("sm2_signature", valid=False)
def test_sm2_signature_is_refused(vector: Vector) -> None:
    key = Sm2PublicKey(vector.bytes("public"))
    assert not key.verify(vector.bytes("message"), vector.bytes("signature"), vector.bytes("identity"))


@vectors("sm2_encryption", valid=True)
def test_sm2_encryption(vector: Vector) -> None:
    key = Sm2PrivateKey(vector.bytes("private"))
    plaintext, cryptogram = vector.bytes("plaintext"), vector.bytes("cryptogram")
    assert key.public.encrypt(plaintext, Given(vector.bytes("nonce"))) == cryptogram
    assert key.decrypt(cryptogram) == plaintext


@vectors("sm2_encryption", valid=False)
def test_sm2_cryptogram_is_refused(vector: Vector) -> None:
    key = Sm2PrivateKey(vector.bytes("private"))
    with pytest.raises(ValueError, match=r"^no authentic SM2 cryptogram$"):
        key.decrypt(vector.bytes("cryptogram"))


@vectors("sm3", valid=True)
def test_sm3(vector: Vector) -> None:
    assert sm3(vector.bytes("message")) == vector.bytes("digest")


@vectors("sm3", valid=False)
def test_sm3_of_something_else(vector: Vector) -> None:
    assert sm3(vector.bytes("message")) != vector.bytes("digest")


@vectors("sm4", valid=True)
def test_sm4(vector: Vector) -> None:
    """A million encryptions of the output are one CBC encryption of zeros, which is fast."""
    key, plain, expected = vector.bytes("key"), vector.bytes("plaintext"), vector.bytes("ciphertext")
    chained = cbc_encrypt(BlockCipher.SM4, key, bytes(16 * vector.number("rounds")), plain)
    assert chained[-16:] == expected
    assert ecb_decrypt(BlockCipher.SM4, key, ecb_encrypt(BlockCipher.SM4, key, plain)) == plain


@vectors("sm4", valid=False)
def test_sm4_refuses(vector: Vector) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ecb_encrypt(BlockCipher.SM4, vector.bytes("key"), vector.bytes("plaintext"))


@pytest.mark.parametrize("scalar", ["00" * 32, "ff" * 32, "01", "", "01" * 33])
def test_no_private_key(scalar: str) -> None:
    with pytest.raises(ValueError, match="no private key"):
        Sm2PrivateKey(bytes.fromhex(scalar))


@pytest.mark.parametrize("below", [0, 1])
def test_a_private_key_stops_before_the_order(below: int) -> None:
    """GB/T 32918.2, 5.1: 1 to n - 2, for 1 + d has to have an inverse."""
    scalar = curve(CurveName.SM2).order - below
    with pytest.raises(ValueError, match="no private key"):
        Sm2PrivateKey(scalar.to_bytes(32, "big"))


def test_nonces_that_do_not_fit_are_passed_over() -> None:
    order = curve(CurveName.SM2).order.to_bytes(32, "big")
    good = bytes(31) + b"\x07"
    signature = KEY.sign(b"message", Given(bytes(32), order, b"\xff" * 32, good))
    assert signature == KEY.sign(b"message", Given(good))


def test_the_same_source_gives_the_same_bytes() -> None:
    first, second = SeededRandomness(1), SeededRandomness(1)
    assert Sm2PrivateKey.generate(first).scalar == Sm2PrivateKey.generate(second).scalar
    assert KEY.sign(b"m", first) == KEY.sign(b"m", second)
    assert KEY.public.encrypt(b"m", first) == KEY.public.encrypt(b"m", second)
    assert KEY.sign(b"m", first) != KEY.sign(b"m", first)


@settings(max_examples=30)
@given(st.binary(max_size=40), st.binary(max_size=20), st.integers(0))
def test_what_is_signed_verifies_for_one_identity_only(message: bytes, identity: bytes, seed: int) -> None:
    signature = KEY.sign(message, SeededRandomness(seed), identity)
    assert KEY.public.verify(message, signature, identity)
    assert not KEY.public.verify(message, signature, identity + b"x")
    assert not KEY.public.verify(message + b"x", signature, identity)


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=80), st.integers(0), st.data())
def test_what_is_encrypted_decrypts_unless_a_bit_changes(plaintext: bytes, seed: int, data: st.DataObject) -> None:
    cryptogram = KEY.public.encrypt(plaintext, SeededRandomness(seed))
    assert len(cryptogram) == len(plaintext) + OVERHEAD
    assert KEY.decrypt(cryptogram) == plaintext
    bit = data.draw(st.integers(0, 8 * len(cryptogram) - 1))
    changed = (int.from_bytes(cryptogram, "big") ^ 1 << bit).to_bytes(len(cryptogram), "big")
    with pytest.raises(ValueError, match="no authentic"):
        KEY.decrypt(changed)


def test_nothing_is_not_encrypted() -> None:
    with pytest.raises(ValueError, match="nothing"):
        KEY.public.encrypt(b"", SeededRandomness(1))


def test_an_identity_has_an_end() -> None:
    with pytest.raises(ValueError, match="identity"):
        KEY.public.digest(b"", bytes(8192))


def test_a_digest_has_its_length() -> None:
    assert not KEY.public.verify_digest(bytes(31), bytes(64))
    with pytest.raises(ValueError, match="digest"):
        KEY.sign_digest(bytes(31), SeededRandomness(1))


def test_a_private_key_does_not_show_itself() -> None:
    assert KEY.scalar.hex() not in repr(KEY)


def public_file(path: Path) -> Path:
    algorithm = encode(0x30, bytes.fromhex("06072a8648ce3d0201"), SM2_OID)
    path.write_bytes(encode(0x30, algorithm, encode(0x03, b"\x00", KEY.public.point)))
    return path


def private_file(path: Path) -> Path:
    parts = (b"\x02\x01\x01", encode(0x04, KEY.scalar), encode(0xA0, SM2_OID))
    path.write_bytes(encode(0x30, *parts, encode(0xA1, encode(0x03, b"\x00", KEY.public.point))))
    return path


def openssl(*arguments: str | Path) -> bytes:
    return subprocess.run([OPENSSL, *map(str, arguments)], check=True, capture_output=True).stdout


def integer(value: bytes) -> bytes:
    stripped = value.lstrip(b"\x00")
    return encode(0x02, b"\x00" + stripped if stripped[:1] >= b"\x80" else stripped)


@needs_openssl
@pytest.mark.parametrize("identity", [DEFAULT_IDENTITY, b"ALICE123@YAHOO.COM"])
def test_openssl_verifies_our_signature_and_we_its(tmp_path: Path, identity: bytes) -> None:
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"signed by the card")
    options = ("-rawin", "-digest", "sm3", "-pkeyopt", f"distid:{identity.decode()}", "-keyform", "DER")
    ours = KEY.sign(message.read_bytes(), SeededRandomness(7), identity)
    signature.write_bytes(encode_dss_signature(int.from_bytes(ours[:32], "big"), int.from_bytes(ours[32:], "big")))
    public, private = public_file(tmp_path / "public"), private_file(tmp_path / "private")
    verified = openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", public, "-in", message, "-sigfile", signature, *options
    )
    assert b"Signature Verified Successfully" in verified
    r, s = decode_dss_signature(openssl("pkeyutl", "-sign", "-inkey", private, "-in", message, *options))
    theirs = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert KEY.public.verify(message.read_bytes(), theirs, identity)
    assert not KEY.public.verify(message.read_bytes(), theirs, b"another identity")


@needs_openssl
def test_openssl_decrypts_our_cryptogram_and_we_its(tmp_path: Path) -> None:
    plain, cipher = tmp_path / "plain", tmp_path / "cipher"
    plain.write_bytes(b"encrypted for the card")
    ours = KEY.public.encrypt(plain.read_bytes(), SeededRandomness(7))
    x, y, check, masked = ours[1:33], ours[33:65], ours[65:97], ours[97:]
    cipher.write_bytes(encode(0x30, integer(x), integer(y), encode(0x04, check), encode(0x04, masked)))
    private, public = private_file(tmp_path / "private"), public_file(tmp_path / "public")
    assert openssl("pkeyutl", "-decrypt", "-keyform", "DER", "-inkey", private, "-in", cipher) == plain.read_bytes()
    answer = openssl("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public, "-in", plain)
    x, y, check, masked = (item.value for item in parse_one(answer).children())
    point = b"\x04" + b"".join(int.from_bytes(value, "big").to_bytes(32, "big") for value in (x, y))
    assert KEY.decrypt(point + check + masked) == plain.read_bytes()


@pytest.mark.parametrize("name", CURVES)
def test_points_agree_with_another_implementation(name: CurveName) -> None:
    group = curve(name)
    private = ec.derive_private_key(0x1234567890ABCDEF << 100, CURVES[name])
    other = ec.derive_private_key(98765, CURVES[name])
    point = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert group.public_point(98765) == point
    agreed = group.multiply(0x1234567890ABCDEF << 100, point)
    assert agreed[1 : 1 + group.length] == private.exchange(ec.ECDH(), other.public_key())


@pytest.mark.parametrize("name", list(CurveName))
def test_points_follow_the_laws_of_a_group(name: CurveName) -> None:
    group = curve(name)
    five = group.public_point(5)
    assert group.add(group.public_point(2), group.public_point(3)) == five
    assert group.combine(4, 3, group.public_point(2)) == group.public_point(10)
    assert group.multiply(3, five) == group.public_point(15)
    assert group.add(five, five) == group.public_point(10)
    assert group.public_point(1) == group.generator
    with pytest.raises(ValueError, match="infinity"):
        group.add(five, group.public_point(group.order - 5))


def wrong_points(group: Curve) -> list[bytes]:
    point = group.generator
    return [
        b"",
        b"\x00",
        point[:-1],
        point + b"\x00",
        b"\x02" + point[1:],
        point[:-1] + bytes((point[-1] ^ 1,)),
        b"\x04" + bytes(2 * group.length),
        b"\x04" + b"\xff" * (2 * group.length),
    ]


@pytest.mark.parametrize("name", list(CurveName))
@pytest.mark.parametrize("which", range(8))
def test_what_is_no_point_is_refused(name: CurveName, which: int) -> None:
    group = curve(name)
    with pytest.raises(ValueError, match=r"point|result"):
        group.multiply(2, wrong_points(group)[which])


@pytest.mark.parametrize("name", list(CurveName))
@pytest.mark.parametrize("scalar", [0, -1, None])
def test_scalars_out_of_range_are_refused(name: CurveName, scalar: int | None) -> None:
    group = curve(name)
    value = group.order if scalar is None else scalar
    with pytest.raises(ValueError, match="scalar"):
        group.public_point(value)


def test_retail_mac_of_basic_access_control() -> None:
    """ICAO Doc 9303-11, appendix D.3: MAC of E.IFD under K.MAC."""
    key = bytes.fromhex("7962d9ece03d1acd4c76089dce131543")
    cryptogram = bytes.fromhex("72c29c2371cc9bdb65b779b8e8d37b29ecc154aa56a8799fae2f498f76ed92f2")
    assert retail_mac(key, pad(cryptogram, 8)).hex() == "5f1448eea8ad90a7"


def test_triple_des_of_basic_access_control() -> None:
    """ICAO Doc 9303-11, appendix D.3: E.IFD under K.ENC."""
    key = bytes.fromhex("ab94fdecf2674fdfb9b391f85d7f76f2")
    plain = bytes.fromhex("781723860c06c2264608f919887022120b795240cb7049b01c19b33e32804f0b")
    expected = "72c29c2371cc9bdb65b779b8e8d37b29ecc154aa56a8799fae2f498f76ed92f2"
    cryptogram = cbc_encrypt(BlockCipher.TRIPLE_DES, key, plain)
    assert cryptogram.hex() == expected
    assert cbc_decrypt(BlockCipher.TRIPLE_DES, key, cryptogram) == plain


def test_cmac_of_triple_des() -> None:
    """NIST SP 800-38B, appendix D.4, example 13: three keys, empty message."""
    key = bytes.fromhex("8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5")
    assert block_cmac(BlockCipher.TRIPLE_DES, key, b"").hex() == "b7a688e122ffaf95"


def test_cmac_of_sm4_is_cmac() -> None:
    """SP 800-38B, 6.2, for a whole block: the last block xor K1, K1 being twice SM4(0) in the field."""
    key, message = bytes(range(16)), bytes(range(16, 32))
    ecb = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()  # noqa: S305 - single blocks, to build CMAC from
    zero = int.from_bytes(ecb.update(bytes(16)), "big")
    subkey = (zero << 1 ^ (0x87 if zero >> 127 else 0)) & (1 << 128) - 1
    masked = (int.from_bytes(message, "big") ^ subkey).to_bytes(16, "big")
    assert block_cmac(BlockCipher.SM4, key, message) == ecb.update(masked)


@pytest.mark.parametrize("cipher", list(BlockCipher))
def test_lengths_are_checked(cipher: BlockCipher) -> None:
    with pytest.raises(ValueError, match="length"):
        ecb_encrypt(cipher, bytes(15), bytes(16))
    with pytest.raises(ValueError, match=r".+"):
        cbc_encrypt(cipher, bytes(16), bytes(17))
    with pytest.raises(ValueError, match=r".+"):
        cbc_decrypt(cipher, bytes(16), bytes(16), bytes(3))


@pytest.mark.parametrize(("key", "message"), [(8, 8), (24, 8), (16, 0), (16, 9)])
def test_a_retail_mac_has_its_lengths(key: int, message: int) -> None:
    with pytest.raises(ValueError, match="retail"):
        retail_mac(bytes(key), bytes(message))


def test_without_the_library_the_function_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Status word 6A81 and a reason, and never a fault."""
    monkeypatch.setattr(libcrypto, "_NAMES", ("libcrypto-of-nobody.so",))
    with pytest.raises(LibcryptoMissing, match="not installed") as missing:
        libcrypto._library.__wrapped__()
    assert missing.value.sw == 0x6A81


def test_an_old_library_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto, "_MIN_VERSION", 0x7000_0000)
    with pytest.raises(LibcryptoMissing, match="not installed"):
        libcrypto._library.__wrapped__()
