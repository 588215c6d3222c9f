"""One suite for both key stores, file and PKCS#11, with the same keys in both: they do the same, to the byte."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from permitcard.specimen import specimen_keys
from personalization.errors import PersonalizationError
from personalization.keys.certificates import CERTIFIED, REHEARSAL_LABEL
from personalization.keys.derivation import Deriver
from personalization.keys.file_store import FileKeyStore, vendor_sam_load_key
from personalization.keys.hsm.making import Maker, create_hsm_store
from personalization.keys.hsm.store import HsmKeyStore
from personalization.keys.hsm.token import TokenPlace
from personalization.keys.keystore import KEY_LENGTHS, KEY_USES, KeyName, KeyStore, KeyUse
from personalization.keys.passphrase import PassphraseSource
from tests.doubles.softhsm import OFFICER_PIN, USER_PIN, fresh_token

CARD_NUMBER = bytes.fromhex("4A5A0001000100000007")
MASTERS = [name for name, uses in KEY_USES.items() if KeyUse.DERIVE in uses]
SEALERS = [name for name, uses in KEY_USES.items() if KeyUse.SEAL in uses]


def known_keys() -> dict[KeyName, bytes]:
    chance = random.Random("both stores")
    keys = {name: chance.randbytes(length) for name, length in KEY_LENGTHS.items()}
    keys[KeyName.SAM_LOAD] = vendor_sam_load_key(keys[KeyName.FACTORY])
    return keys


@dataclass(frozen=True, slots=True)
class Both:
    """Two stores with the same symmetric keys."""

    file: FileKeyStore
    hsm: HsmKeyStore


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    hsm, label = fresh_token()
    place = TokenPlace(hsm.module, label)
    os.environ["TEST_HSM_PIN"], os.environ["TEST_HSM_SO_PIN"] = USER_PIN, OFFICER_PIN
    maker = Maker(place, PassphraseSource.environment("TEST_HSM_PIN"), PassphraseSource.environment("TEST_HSM_SO_PIN"))
    create_hsm_store(maker, production=False, given=known_keys())
    published = specimen_keys()
    certificates = {name: published.certificate(name) for name in (KeyName.AUTHORITY, *CERTIFIED)}
    store = HsmKeyStore.open(place, USER_PIN.encode())
    yield Both(FileKeyStore(known_keys(), published._pairs, certificates), store)
    store.close()


@pytest.fixture(params=["file", "hsm"])
def store(request: pytest.FixtureRequest, both: Both) -> KeyStore:
    return both.file if request.param == "file" else both.hsm


def test_both_are_key_stores(store: KeyStore) -> None:
    assert isinstance(store, KeyStore)
    assert not store.production
    assert REHEARSAL_LABEL in repr(store)
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(store)


@pytest.mark.parametrize("name", list(KEY_LENGTHS))
def test_check_values_are_equal(both: Both, name: KeyName) -> None:
    assert both.file.check_value(name) == both.hsm.check_value(name)


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    name=st.sampled_from(MASTERS),
    label=st.sampled_from(["SCP03 ENC", "ROLE", "CONCEAL"]),
    context=st.binary(max_size=20),
    length=st.integers(1, 100),
)
def test_derivation_is_equal(both: Both, name: KeyName, label: str, context: bytes, length: int) -> None:
    """SP 800-108, 4.1, of CKM_AES_CMAC calls."""
    expected = Deriver(known_keys()[name]).derive(label, context, length)
    assert both.file.derive(name, label, context, length) == expected
    assert both.hsm.derive(name, label, context, length) == expected


@pytest.mark.parametrize("length", [0, 4081])
def test_derivation_refuses_lengths_that_its_counter_cannot_number(store: KeyStore, length: int) -> None:
    with pytest.raises(ValueError, match="can be derived"):
        store.derive(KeyName.CARD, "ROLE", b"", length)


@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(name=st.sampled_from(SEALERS), plaintext=st.binary(max_size=300), associated=st.binary(max_size=40))
def test_what_one_store_seals_the_other_opens(both: Both, name: KeyName, plaintext: bytes, associated: bytes) -> None:
    """SP 800-38D; the form of sealed data is that of the protocol, whoever made it."""
    for one, other in ((both.file, both.hsm), (both.hsm, both.file)):
        sealed = one.seal(name, plaintext, associated)
        assert len(sealed) == len(plaintext) + 28
        assert other.unseal(name, sealed, associated) == plaintext


@pytest.mark.parametrize("position", [0, 11, 12, 15, 20, -1])
def test_a_changed_bit_is_refused(store: KeyStore, position: int) -> None:
    sealed = bytearray(store.seal(KeyName.REJECTS, b"content", b"context"))
    sealed[position] ^= 1
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.unseal(KeyName.REJECTS, bytes(sealed), b"context")


def test_another_context_and_another_key_are_refused(store: KeyStore) -> None:
    sealed = store.seal(KeyName.TRANSPORT, b"content", b"context")
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.unseal(KeyName.TRANSPORT, sealed, b"contexts")
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.unseal(KeyName.MAILER, sealed, b"context")
    assert store.unseal(KeyName.TRANSPORT, sealed, b"context") == b"content"


@pytest.mark.parametrize("length", [0, 1, 11, 12, 27])
def test_sealed_data_cut_short_is_refused(store: KeyStore, length: int) -> None:
    sealed = store.seal(KeyName.REJECTS, b"", b"")
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.unseal(KeyName.REJECTS, sealed[:length], b"")


def test_empty_data_is_sealed_and_opened(store: KeyStore) -> None:
    assert store.unseal(KeyName.REJECTS, store.seal(KeyName.REJECTS, b"", b"only this"), b"only this") == b""


@pytest.mark.parametrize("value", [b"", b"330381201612345678", bytes(200)])
def test_recognition_is_equal(both: Both, value: bytes) -> None:
    assert both.file.recognise(value) == both.hsm.recognise(value)
    assert len(both.hsm.recognise(value)) == 32


@pytest.mark.parametrize("name", [KeyName.DOCUMENT_SIGNER, KeyName.AUDIT])
def test_a_signature_verifies_under_the_certificate(store: KeyStore, name: KeyName) -> None:
    certificate = x509.load_der_x509_certificate(store.certificate(name))
    authority = x509.load_der_x509_certificate(store.certificate(KeyName.AUTHORITY))
    certificate.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    digest = hashlib.sha256(b"signed").digest()
    raw = store.sign_digest(name, digest)
    assert len(raw) == 64
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public.verify(der, digest, ec.ECDSA(Prehashed(SHA256())))


@pytest.mark.parametrize("length", [0, 20, 31, 33, 64])
def test_only_a_sha_256_digest_is_signed(store: KeyStore, length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        store.sign_digest(KeyName.DOCUMENT_SIGNER, bytes(length))


@pytest.mark.parametrize("name", [name for name, uses in KEY_USES.items() if KeyUse.LOAD_INTO_SAM in uses])
def test_a_master_leaves_wrapped_for_a_sam(store: KeyStore, name: KeyName) -> None:
    """RFC 3394 under the load key, which the chip has from its vendor."""
    wrapped = store.wrap_master(name)
    assert wrapped != known_keys()[name]
    assert aes_key_unwrap(known_keys()[KeyName.SAM_LOAD], wrapped) == known_keys()[name]


@pytest.mark.parametrize("name", list(KeyName))
def test_a_key_does_only_what_it_is_for(store: KeyStore, name: KeyName) -> None:
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


BATCH = "RCO20260302101112345"


def test_keys_of_a_batch_open_what_they_sealed_until_they_are_destroyed(store: KeyStore) -> None:
    values = store.make_batch_keys(BATCH)
    other = store.make_batch_keys("another-batch")
    of_batch = store.of_batch(BATCH)
    assert isinstance(of_batch, KeyStore)
    assert values == {name: of_batch.check_value(name) for name in SEALERS}
    assert other.keys() == values.keys()
    sealed = {name: of_batch.seal(name, b"personal", b"context") for name in SEALERS}
    for name in SEALERS:
        assert store.of_batch(BATCH).unseal(name, sealed[name], b"context") == b"personal"
        for another in {*SEALERS} - {name}:
            with pytest.raises(PersonalizationError, match="sealed-data-refused"):
                of_batch.unseal(another, sealed[name], b"context")
        for stranger in (store, store.of_batch("another-batch")):
            with pytest.raises(PersonalizationError, match="sealed-data-refused"):
                stranger.unseal(name, sealed[name], b"context")
    assert store.destroy_batch_keys(BATCH)
    assert not store.destroy_batch_keys(BATCH)
    with pytest.raises(PersonalizationError) as caught:
        store.of_batch(BATCH)
    assert (caught.value.code, caught.value.exit_code) == ("batch-keys-missing", 3)
    store.make_batch_keys(BATCH)
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        store.of_batch(BATCH).unseal(SEALERS[0], sealed[SEALERS[0]], b"context")
    for batch in (BATCH, "another-batch"):
        assert store.destroy_batch_keys(batch)


def test_everything_but_sealing_is_the_centres(store: KeyStore) -> None:
    store.make_batch_keys(BATCH)
    of_batch = store.of_batch(BATCH)
    assert of_batch.derive(KeyName.CARD, "ROLE", CARD_NUMBER, 32) == store.derive(KeyName.CARD, "ROLE", CARD_NUMBER, 32)
    assert of_batch.recognise(b"1") == store.recognise(b"1")
    assert of_batch.wrap_master(KeyName.ISSUER) == store.wrap_master(KeyName.ISSUER)
    assert of_batch.certificate(KeyName.AUDIT) == store.certificate(KeyName.AUDIT)
    assert of_batch.production is store.production
    assert len(of_batch.sign_digest(KeyName.AUDIT, bytes(32))) == 64
    with pytest.raises(PersonalizationError, match="key-use-refused"):
        of_batch.seal(KeyName.CARD, b"", b"")
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(of_batch)
    store.destroy_batch_keys(BATCH)


@pytest.mark.parametrize("name", ["", "../keys", "a/b", "a.b", "x" * 33, "批"])
def test_a_batch_is_not_named_like_a_path(store: KeyStore, name: str) -> None:
    for attempt in (store.make_batch_keys, store.of_batch, store.destroy_batch_keys):
        with pytest.raises(PersonalizationError, match="batch-identifier-malformed"):
            attempt(name)
