"""The cryptographic primitives against published vectors."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from card_os.security import cryptography as crypto
from card_os.security.block_ciphers import BlockCipher, block_cmac, cbc_encrypt, pad, retail_mac
from test_vectors import Vector, load

KEY = bytes(range(16))


def vectors(name: str, *, valid: bool) -> pytest.MarkDecorator:
    chosen = [vector for vector in load(f"crypto/{name}.json") if vector.valid is valid]
    return pytest.mark.parametrize("vector", chosen, ids=str)


@vectors("aes_ecb", valid=True)
def test_aes_ecb_encrypts_and_decrypts(vector: Vector) -> None:
    key, plain, cipher = vector.bytes("key"), vector.bytes("plaintext"), vector.bytes("ciphertext")
    assert crypto.aes_ecb_encrypt(key, plain) == cipher
    assert crypto.aes_ecb_decrypt(key, cipher) == plain


@vectors("aes_ecb", valid=False)
def test_aes_ecb_refuses(vector: Vector) -> None:
    key, plain, cipher = vector.bytes("key"), vector.bytes("plaintext"), vector.bytes("ciphertext")
    with pytest.raises(ValueError, match=r".+"):
        crypto.aes_ecb_encrypt(key, plain)
    with pytest.raises(ValueError, match=r".+"):
        crypto.aes_ecb_decrypt(key, cipher)


@vectors("aes_cbc", valid=True)
def test_aes_cbc_encrypts_and_decrypts(vector: Vector) -> None:
    key, iv = vector.bytes("key"), vector.bytes("iv")
    plain, cipher = vector.bytes("plaintext"), vector.bytes("ciphertext")
    assert crypto.aes_cbc_encrypt(key, plain, iv) == cipher
    assert crypto.aes_cbc_decrypt(key, cipher, iv) == plain


@vectors("aes_cbc", valid=False)
def test_aes_cbc_refuses(vector: Vector) -> None:
    key, iv = vector.bytes("key"), vector.bytes("iv")
    plain, cipher = vector.bytes("plaintext"), vector.bytes("ciphertext")
    with pytest.raises(ValueError, match=r".+"):
        crypto.aes_cbc_encrypt(key, plain, iv)
    with pytest.raises(ValueError, match=r".+"):
        crypto.aes_cbc_decrypt(key, cipher, iv)


@vectors("aes_cmac", valid=True)
def test_cmac_is_computed_and_verified(vector: Vector) -> None:
    key, message, mac, length = (
        vector.bytes("key"),
        vector.bytes("message"),
        vector.bytes("mac"),
        vector.number("length"),
    )
    keyed = crypto.AesCmac(key)
    assert crypto.cmac(key, message)[:length] == mac
    assert keyed.compute(message)[:length] == mac
    assert keyed.verify(message, mac, length)


@vectors("aes_cmac", valid=False)
def test_cmac_is_refused(vector: Vector) -> None:
    keyed = crypto.AesCmac(vector.bytes("key"))
    assert not keyed.verify(vector.bytes("message"), vector.bytes("mac"), vector.number("length"))


def triple_des_cmac(vector: Vector) -> bytes:
    return block_cmac(BlockCipher.TRIPLE_DES, vector.bytes("key"), vector.bytes("message"))


@vectors("triple_des_cmac", valid=True)
def test_cmac_with_triple_des(vector: Vector) -> None:
    assert triple_des_cmac(vector) == vector.bytes("mac")


@vectors("triple_des_cmac", valid=False)
def test_cmac_with_triple_des_of_something_else(vector: Vector) -> None:
    assert not crypto.equal(triple_des_cmac(vector), vector.bytes("mac"))


def iso_9797_1_mac(vector: Vector) -> bytes:
    """Algorithm 1 is the last block of CBC under one key, which triple DES with that key thrice is."""
    key, message = vector.bytes("key"), vector.bytes("message")
    whole = pad(message, 8) if vector.number("padding") == 2 else message + bytes(-len(message) % 8)
    if vector.number("algorithm") == 1:
        return cbc_encrypt(BlockCipher.TRIPLE_DES, key * 2, whole)[-8:]
    return retail_mac(key, whole)


@vectors("iso_9797_1_mac", valid=True)
def test_mac_algorithms_of_iso_9797_1(vector: Vector) -> None:
    assert iso_9797_1_mac(vector) == vector.bytes("mac")


@vectors("iso_9797_1_mac", valid=False)
def test_mac_algorithms_of_iso_9797_1_refuse(vector: Vector) -> None:
    assert not crypto.equal(iso_9797_1_mac(vector), vector.bytes("mac"))


def test_a_keyed_cmac_serves_many_messages() -> None:
    keyed = crypto.AesCmac(KEY)
    assert [keyed.compute(bytes(n)) for n in range(40)] == [crypto.cmac(KEY, bytes(n)) for n in range(40)]


@vectors("kdf_counter_cmac", valid=True)
def test_kdf_in_counter_mode(vector: Vector) -> None:
    derived = crypto.kdf_counter(vector.bytes("key"), vector.bytes("fixed"), vector.number("length"))
    assert derived == vector.bytes("derived")


@vectors("kdf_counter_cmac", valid=False)
def test_kdf_refuses_lengths_out_of_range_and_derives_nothing_else(vector: Vector) -> None:
    key, fixed, length = vector.bytes("key"), vector.bytes("fixed"), vector.number("length")
    if vector.bytes("derived"):
        assert crypto.kdf_counter(key, fixed, length) != vector.bytes("derived")
        return
    with pytest.raises(ValueError, match="cannot derive"):
        crypto.kdf_counter(key, fixed, length)


def test_derive_orders_counter_label_separator_context_and_length() -> None:
    context = bytes(range(10))
    first = crypto.cmac(KEY, b"\x01ROLE\x00" + context + b"\x01\x00")
    second = crypto.cmac(KEY, b"\x02ROLE\x00" + context + b"\x01\x00")
    assert crypto.derive(KEY, "ROLE", context, 32) == first + second


def test_derive_binds_the_length() -> None:
    assert crypto.derive(KEY, "ROLE", b"", 32)[:16] != crypto.derive(KEY, "ROLE", b"", 16)


def test_derive_refuses_a_label_that_is_not_ascii() -> None:
    with pytest.raises(UnicodeEncodeError):
        crypto.derive(KEY, "角色", b"", 16)


def test_check_value_is_the_encryption_of_ones() -> None:
    assert crypto.check_value(KEY) == crypto.aes_ecb_encrypt(KEY, b"\x01" * 16)[:3]


@vectors("ecdsa_p256_sha256", valid=True)
def test_ecdsa_signs_deterministically(vector: Vector) -> None:
    key = crypto.P256PrivateKey(vector.bytes("private"))
    message = vector.bytes("message")
    assert key.public_point == vector.bytes("public")
    assert key.sign(message) == vector.bytes("signature")
    assert key.sign_digest(crypto.sha256(message)) == vector.bytes("signature")


@vectors("ecdsa_p256_sha256", valid=False)
def test_ecdsa_refuses_private_keys_out_of_range(vector: Vector) -> None:
    with pytest.raises(ValueError, match=r".+"):
        crypto.P256PrivateKey(vector.bytes("private"))


def test_ecdsa_refuses_a_digest_of_another_length() -> None:
    key = crypto.P256PrivateKey(bytes(31) + b"\x07")
    with pytest.raises(ValueError, match=r".+"):
        key.sign_digest(bytes(20))


@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_a_signature_with_a_turned_bit_does_not_verify(at: int) -> None:
    key = crypto.P256PrivateKey(bytes(31) + b"\x07")
    signature = bytearray(key.sign(b"message"))
    signature[at] ^= 1
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public_point)
    with pytest.raises(InvalidSignature):
        public.verify(der, b"message", ec.ECDSA(SHA256()))


@given(st.binary(max_size=80), st.sampled_from([8, 16]))
def test_padding_fills_blocks_and_comes_off(data: bytes, block: int) -> None:
    padded = crypto.pad(data, block)
    assert len(padded) % block == 0
    assert len(data) < len(padded) <= len(data) + block
    assert crypto.unpad(padded) == data


@pytest.mark.parametrize("data", [b"", bytes(16), b"\x80\x01", b"\x81"])
def test_bytes_without_a_padding_mark_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="padding"):
        crypto.unpad(data)


@given(st.lists(st.tuples(st.integers(0, 2**128 - 1), st.integers(1, 5), st.booleans()), max_size=12))
def test_running_cbc_equals_cbc_with_an_encrypted_counter_as_iv(messages: list[tuple[int, int, bool]]) -> None:
    running = crypto.AesCounterCbc(KEY)
    for counter, blocks, encrypt in messages:
        data = bytes(range(16)) * blocks
        iv = crypto.aes_ecb_encrypt(KEY, counter.to_bytes(16, "big"))
        if encrypt:
            assert running.encrypt(counter, data) == crypto.aes_cbc_encrypt(KEY, data, iv)
        else:
            assert running.decrypt(counter, data) == crypto.aes_cbc_decrypt(KEY, data, iv)


@pytest.mark.parametrize("data", [b"", bytes(15), bytes(17)])
def test_running_cbc_refuses_partial_blocks_and_goes_on(data: bytes) -> None:
    running = crypto.AesCounterCbc(KEY)
    with pytest.raises(ValueError, match="whole blocks"):
        running.encrypt(1, data)
    with pytest.raises(ValueError, match="whole blocks"):
        running.decrypt(1, data)
    assert running.decrypt(2, running.encrypt(2, bytes(16))) == bytes(16)


def test_no_key_shows_in_a_repr() -> None:
    for item in (crypto.AesCmac(KEY), crypto.AesCounterCbc(KEY), crypto.P256PrivateKey(KEY + KEY)):
        assert KEY.hex() not in repr(item).lower()
