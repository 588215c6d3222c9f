"""The rehearsal key store: derivation, sealing, recognition, the document signer, and what it refuses."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from personalization.errors import PersonalizationError
from personalization.keys.certificates import REHEARSAL_LABEL
from personalization.keys.check_values import aes_check_value
from personalization.keys.derivation import MAX_DERIVED, Deriver
from personalization.keys.file_store import FileKeyStore, FileKeyStoreLocation
from personalization.keys.keystore import KEY_USES, KeyName, KeyStore, KeyUse
from personalization.keys.passphrase import PassphraseSource

PASSPHRASE = b"a long enough phrase"
CHEAP = 1 << 4
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
CARD_NUMBER = bytes.fromhex("4A5A0001000100000007")
SYMMETRIC = [name for name in KeyName if KeyUse.CERTIFY not in KEY_USES[name]]


def make(tmp_path: Path) -> tuple[Path, FileKeyStore]:
    path = tmp_path / "keys.json"
    return path, FileKeyStore.create(path, PASSPHRASE, now=NOW, scrypt_n=CHEAP)


@pytest.fixture
def store(tmp_path: Path) -> FileKeyStore:
    return make(tmp_path)[1]


def cmac(key: bytes, message: bytes) -> bytes:
    """SP 800-38B, 6.1 and 6.2, written out over AES-CBC: a second reading for the derivation's tests."""

    def cbc(data: bytes) -> bytes:
        encryptor = Cipher(AES(key), CBC(bytes(16))).encryptor()
        return encryptor.update(data)[-16:]

    def double(value: bytes) -> bytes:
        number = int.from_bytes(value, "big") << 1
        return ((number & ((1 << 128) - 1)) ^ (0x87 if number >> 128 else 0)).to_bytes(16, "big")

    first = double(cbc(bytes(16)))
    complete = bool(message) and len(message) % 16 == 0
    padded = message if complete else message + b"\x80" + bytes(-(len(message) + 1) % 16)
    subkey = first if complete else double(first)
    last = bytes(a ^ b for a, b in zip(padded[-16:], subkey, strict=True))
    return cbc(padded[:-16] + last)


def test_own_cmac_gives_the_published_values() -> None:
    # SP 800-38B, D.1, examples 1 and 2 (AES-128)
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    assert cmac(key, b"").hex() == "bb1d6929e95937287fa37d129b756746"
    assert cmac(key, bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")).hex() == "070a16b46b4d4144f79bdd9dd04a287c"


@given(
    master=st.binary(min_size=16, max_size=16),
    label=st.sampled_from(["SCP03 ENC", "ROLE", "CONCEAL"]),
    context=st.binary(max_size=20),
    length=st.integers(1, 100),
)
def test_derivation_is_sp_800_108_in_counter_mode(master: bytes, label: str, context: bytes, length: int) -> None:
    blocks = b"".join(
        cmac(master, bytes((i,)) + label.encode() + b"\0" + context + (8 * length).to_bytes(2, "big"))
        for i in range(1, 8)
    )
    assert Deriver(master).derive(label, context, length) == blocks[:length]


@pytest.mark.parametrize("length", [0, -1, MAX_DERIVED + 1])
def test_derivation_refuses_lengths_that_its_counter_cannot_number(length: int) -> None:
    deriver = Deriver(bytes(16))
    with pytest.raises(ValueError, match="can be derived"):
        deriver.derive("ROLE", b"", length)


def test_derivation_refuses_an_empty_label() -> None:
    deriver = Deriver(bytes(16))
    with pytest.raises(ValueError, match="label"):
        deriver.derive("", CARD_NUMBER, 16)


def test_length_and_label_and_context_separate_derived_keys(store: FileKeyStore) -> None:
    derived = {
        store.derive(KeyName.CARD, "SCP03 ENC", CARD_NUMBER, 16),
        store.derive(KeyName.CARD, "SCP03 MAC", CARD_NUMBER, 16),
        store.derive(KeyName.CARD, "SCP03 ENC", CARD_NUMBER[:-1] + b"\x08", 16),
        store.derive(KeyName.CARD, "SCP03 ENC", CARD_NUMBER, 32)[:16],
        store.derive(KeyName.FACTORY, "SCP03 ENC", CARD_NUMBER, 16),
    }
    assert len(derived) == 5


def test_check_value_of_an_aes_key_is_the_mac_of_a_block_of_zeros() -> None:
    # ANSI X9.24-1-2017, Annex A; by the MAC of this file, whose values are published.
    for key in (bytes(range(0x40, 0x50)), bytes(range(32))):
        assert aes_check_value(key) == cmac(key, bytes(16))[:3]


def test_a_store_of_an_earlier_release_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    path, _ = make(tmp_path)
    document = json.loads(path.read_bytes())
    document["version"] = 1
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(PersonalizationError, match="key-store-earlier"):
        FileKeyStore.open(path, PASSPHRASE)


def test_a_store_opens_again_with_the_same_keys(tmp_path: Path) -> None:
    path, store = make(tmp_path)
    again = FileKeyStore.open(path, PASSPHRASE)
    assert isinstance(again, KeyStore)
    assert [again.check_value(name) for name in KeyName] == [store.check_value(name) for name in KeyName]
    assert again.certificate(KeyName.AUTHORITY) == store.certificate(KeyName.AUTHORITY)
    assert not again.production


def test_two_stores_have_no_key_in_common(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = make(tmp_path / "one")[1], make(tmp_path / "two")[1]
    tables = [store._table()[kind] for store in (one, two) for kind in ("symmetric", "private")]
    assert len({key for table in tables for key in table.values()}) == 2 * len(KeyName)


def test_a_wrong_passphrase_is_the_operators_mistake(tmp_path: Path) -> None:
    path, _ = make(tmp_path)
    with pytest.raises(PersonalizationError) as caught:
        FileKeyStore.open(path, b"another phrase")
    assert (caught.value.code, caught.value.exit_code) == ("key-store-passphrase-wrong", 3)
    assert "another phrase" not in str(caught.value)


@pytest.mark.parametrize("field", ["label", "format", "version", "scrypt", "sealed"])
def test_a_changed_file_is_damaged(tmp_path: Path, field: str) -> None:
    path, _ = make(tmp_path)
    document = json.loads(path.read_bytes())
    changed = {"label": "for production", "format": "x", "version": 3, "scrypt": {}, "sealed": "AAAA" * 20}
    document[field] = changed[field]
    path.write_text(json.dumps(document))
    with pytest.raises(PersonalizationError, match="key-store-damaged"):
        FileKeyStore.open(path, PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"{}"])
def test_what_is_no_store_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(PersonalizationError, match="key-store-damaged"):
        FileKeyStore.open(path, PASSPHRASE)


def test_an_absurd_cost_in_the_file_is_not_paid(tmp_path: Path) -> None:
    path, _ = make(tmp_path)
    document = json.loads(path.read_bytes())
    document["scrypt"]["n"] = 1 << 30
    path.write_text(json.dumps(document))
    with pytest.raises(PersonalizationError, match="key-store-damaged"):
        FileKeyStore.open(path, PASSPHRASE)


def test_a_missing_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError, match="key-store-missing"):
        FileKeyStore.open(tmp_path / "none.json", PASSPHRASE)


def test_a_store_is_never_overwritten(tmp_path: Path) -> None:
    path, _ = make(tmp_path)
    before = path.read_bytes()
    with pytest.raises(PersonalizationError, match="key-store-exists"):
        FileKeyStore.create(path, PASSPHRASE, scrypt_n=CHEAP)
    assert path.read_bytes() == before


def test_a_short_passphrase_makes_no_store(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(PersonalizationError, match="passphrase-too-short"):
        FileKeyStore.create(path, b"short", scrypt_n=CHEAP)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError, match="key-store-unwritable"):
        FileKeyStore.create(tmp_path / "none" / "keys.json", PASSPHRASE, scrypt_n=CHEAP)


def test_the_file_says_what_it_is_and_shows_no_key(tmp_path: Path) -> None:
    path, store = make(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert REHEARSAL_LABEL in text
    assert path.stat().st_mode & 0o077 == 0
    for key in store._symmetric.values():
        assert key.hex() not in text
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_secret_is_shown_or_pickled(store: FileKeyStore) -> None:
    assert repr(store) == f"FileKeyStore({REHEARSAL_LABEL})"
    assert "hidden" in repr(Deriver(bytes(16)))
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(store)


@given(plaintext=st.binary(max_size=300), associated=st.binary(max_size=40))
def test_sealed_data_opens_with_its_context_only(plaintext: bytes, associated: bytes) -> None:
    store = FileKeyStore({KeyName.TRANSPORT: b"t" * 32, KeyName.MAILER: b"m" * 32}, {}, {})
    sealed = store.seal(KeyName.TRANSPORT, plaintext, associated)
    assert store.unseal(KeyName.TRANSPORT, sealed, associated) == plaintext
    assert len(sealed) == len(plaintext) + 28
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.unseal(KeyName.TRANSPORT, sealed, associated + b"x")
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.unseal(KeyName.MAILER, sealed, associated)


@pytest.mark.parametrize("position", [0, 11, 12, 15, 20, -1])
def test_a_changed_bit_is_refused(store: FileKeyStore, position: int) -> None:
    sealed = bytearray(store.seal(KeyName.REJECTS, b"content", b"context"))
    sealed[position] ^= 1
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.unseal(KeyName.REJECTS, bytes(sealed), b"context")


@pytest.mark.parametrize("length", [0, 1, 11, 12, 27])
def test_sealed_data_cut_short_is_refused(store: FileKeyStore, length: int) -> None:
    sealed = store.seal(KeyName.REJECTS, b"", b"")
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.unseal(KeyName.REJECTS, sealed[:length], b"")


@pytest.mark.parametrize("name", list(KeyName))
def test_a_key_does_only_what_it_is_for(store: FileKeyStore, name: KeyName) -> None:
    uses: dict[KeyUse, Callable[[], bytes]] = {
        KeyUse.DERIVE: lambda: store.derive(name, "ROLE", CARD_NUMBER, 32),
        KeyUse.LOAD_INTO_SAM: lambda: store.wrap_master(name),
        KeyUse.SEAL: lambda: store.seal(name, b"", b""),
        KeyUse.SIGN: lambda: store.sign_digest(name, bytes(32)),
        KeyUse.CERTIFY: lambda: store.certificate(name),
    }
    for use, attempt in uses.items():
        if use in KEY_USES[name]:
            assert attempt()
            continue
        with pytest.raises(PersonalizationError, match="key-use-refused"):
            attempt()


def test_unsealing_needs_a_sealing_key(store: FileKeyStore) -> None:
    with pytest.raises(PersonalizationError, match="key-use-refused"):
        store.unseal(KeyName.CARD, bytes(40), b"")


def test_recognition_knows_a_value_again_and_nobody_else_does(tmp_path: Path) -> None:
    path, store = make(tmp_path)
    value = store.recognise(b"330381201612345678")
    assert FileKeyStore.open(path, PASSPHRASE).recognise(b"330381201612345678") == value
    assert store.recognise(b"330381201612345679") != value
    assert len(value) == 32


def verify(public: ec.EllipticCurvePublicKey, signature: bytes, digest: bytes) -> None:
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    public.verify(der, digest, ec.ECDSA(Prehashed(SHA256())))


def test_the_signer_signs_under_its_certificate(store: FileKeyStore) -> None:
    certificate = x509.load_der_x509_certificate(store.certificate(KeyName.DOCUMENT_SIGNER))
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    digest = bytes(range(32))
    signature = store.sign_digest(KeyName.DOCUMENT_SIGNER, digest)
    assert len(signature) == 64
    verify(public, signature, digest)
    with pytest.raises(InvalidSignature):
        verify(public, signature, bytes(32))


@pytest.mark.parametrize("length", [0, 20, 31, 33, 64])
def test_only_a_sha_256_digest_is_signed(store: FileKeyStore, length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        store.sign_digest(KeyName.DOCUMENT_SIGNER, bytes(length))


def test_certificates_are_what_rfc_5280_wants(store: FileKeyStore) -> None:
    authority = x509.load_der_x509_certificate(store.certificate(KeyName.AUTHORITY))
    signer = x509.load_der_x509_certificate(store.certificate(KeyName.DOCUMENT_SIGNER))
    authority.verify_directly_issued_by(authority)
    signer.verify_directly_issued_by(authority)
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert constraints.value.path_length == 0
    assert not signer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = signer.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not authority.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    identifier = signer.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert signer.not_valid_before_utc <= NOW
    assert authority.not_valid_after_utc > signer.not_valid_after_utc
    assert len(store.certificate(KeyName.DOCUMENT_SIGNER)) < 1024


def test_a_spawned_process_opens_the_store_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, store = make(tmp_path)
    monkeypatch.setenv("TEST_KEYS_PASSPHRASE", PASSPHRASE.decode())
    location = FileKeyStoreLocation(path, PassphraseSource.environment("TEST_KEYS_PASSPHRASE"))
    assert PASSPHRASE not in pickle.dumps(location)
    program = (
        "import pickle, sys; from personalization.keys.keystore import KeyName;"
        "print(pickle.loads(sys.stdin.buffer.read()).open().check_value(KeyName.CARD).hex())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(location), capture_output=True, check=True
    )
    assert ended.stdout.strip().decode() == store.check_value(KeyName.CARD).hex()


def test_a_passphrase_comes_from_a_file(tmp_path: Path) -> None:
    path, store = make(tmp_path)
    place = tmp_path / "phrase"
    place.write_bytes(PASSPHRASE + b"\r\nsecond line")
    again = FileKeyStoreLocation(path, PassphraseSource.file(place)).open()
    assert again.check_value(KeyName.CARD) == store.check_value(KeyName.CARD)


@pytest.mark.parametrize("kind", ["environment", "file", "empty file"])
def test_a_missing_passphrase_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.delenv("TEST_NO_PASSPHRASE", raising=False)
    place = tmp_path / "phrase"
    if kind == "empty file":
        place.write_bytes(b"\n")
    source = (
        PassphraseSource.environment("TEST_NO_PASSPHRASE") if kind == "environment" else PassphraseSource.file(place)
    )
    with pytest.raises(PersonalizationError) as caught:
        source.read()
    assert (caught.value.code, caught.value.exit_code) == ("passphrase-missing", 3)


@pytest.mark.parametrize(("name", "value"), [("VERSION", 3), ("FORMAT", "another store")])
def test_a_store_of_another_form_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """Sound in itself, and of a later release: nobody knows what its keys are for."""
    path = tmp_path / "keys.json"
    with monkeypatch.context() as later:
        later.setattr(f"personalization.keys.key_file.{name}", value)
        FileKeyStore.create(path, PASSPHRASE, scrypt_n=16)
    with pytest.raises(PersonalizationError, match="key-store-damaged"):
        FileKeyStore.open(path, PASSPHRASE)
