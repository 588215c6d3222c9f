"""A key store in one encrypted file, for rehearsals; production uses an HSM.

How the file is encrypted stands in `key_file.py`.
"""

from __future__ import annotations

import binascii
import datetime as dt
import hmac
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError, unread
from personalization.keys.batch_key_files import BatchKeyFiles
from personalization.keys.batch_keys import BatchKeyStore
from personalization.keys.certificates import (
    CERTIFIED,
    REHEARSAL_LABEL,
    make_authority,
    make_link,
    make_signer,
    organization_of,
    start_of_validity,
)
from personalization.keys.check_values import aes_check_value, hmac_check_value, pair_check_value
from personalization.keys.derivation import Deriver
from personalization.keys.key_file import (
    SCRYPT_N,
    EarlierVersionError,
    WrongPassphraseError,
    decode_key_file,
    encode_key_file,
)
from personalization.keys.keystore import (
    KEY_LENGTHS,
    KEY_PAIRS,
    KEY_USES,
    LASTING_PAIRS,
    SAM_LOAD_LABEL,
    KeyName,
    KeyStore,
    KeyUse,
    former_key_missing,
    require_use,
)
from personalization.keys.pairs import private_hex, private_key, signature
from personalization.keys.passphrase import PassphraseSource
from personalization.keys.process import keep_memory_private

BATCH_KEY_FOLDER: Final = "batch-keys"
"""Folder beside the store with the keys of batches; no backup may take it."""

_AES_256: Final = 32
_NONCE: Final = 12
_SHORTEST_PASSPHRASE: Final = 8

T = TypeVar("T")


class FileKeyStore:
    """All keys of a rehearsal, in memory after `open`; see the module for the file.

    ``production`` is False: stations refuse such a store for real cards.
    """

    __slots__ = (
        "_batch_keys",
        "_certificates",
        "_derivers",
        "_former",
        "_former_certificates",
        "_former_pairs",
        "_pairs",
        "_recognisers",
        "_sealers",
        "_symmetric",
    )

    def __init__(
        self,
        symmetric: Mapping[KeyName, bytes],
        pairs: Mapping[KeyName, ec.EllipticCurvePrivateKey],
        certificates: Mapping[KeyName, bytes],
        batch_keys: Path | None = None,
        former: Mapping[KeyName, Sequence[bytes]] | None = None,
        former_pairs: Mapping[KeyName, Sequence[ec.EllipticCurvePrivateKey]] | None = None,
        former_certificates: Mapping[KeyName, Sequence[bytes]] | None = None,
    ) -> None:
        self._former_certificates = {name: list(found) for name, found in (former_certificates or {}).items()}
        self._former_pairs = {name: list(keys) for name, keys in (former_pairs or {}).items() if keys}
        self._former = {name: list(keys) for name, keys in (former or {}).items() if keys}
        self._batch_keys = BatchKeyFiles(batch_keys)
        self._symmetric = dict(symmetric)
        self._pairs = dict(pairs)
        self._certificates = dict(certificates)
        self._derivers = {
            name: Deriver(key) for name, key in self._symmetric.items() if KeyUse.DERIVE in KEY_USES[name]
        }
        self._recognisers = {
            name: hmac.new(key, digestmod="sha256")
            for name, key in self._symmetric.items()
            if KeyUse.RECOGNISE in KEY_USES[name]
        }
        self._sealers = {name: AESGCM(key) for name, key in self._symmetric.items() if KeyUse.SEAL in KEY_USES[name]}

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: bytes,
        *,
        given: Mapping[KeyName, bytes] | None = None,
        now: dt.datetime | None = None,
        scrypt_n: int = SCRYPT_N,
    ) -> Self:
        """Make all keys at random, the authority and the signer, and write the file (mode 600).

        Args:
            path: the file; it must not be there yet.
            passphrase: at least 8 bytes.
            given: symmetric keys that a ceremony has put together; all others are drawn at random.
            now: time from which the certificates are valid, aware; the present by default.
            scrypt_n: cost, a power of two; the default takes about a tenth of a second and 32 MB.

        Raises:
            PersonalizationError: "key-store-exists", "passphrase-too-short" (exit 2), "key-store-unwritable" (exit 3).
        """
        if len(passphrase) < _SHORTEST_PASSPHRASE:
            raise PersonalizationError("passphrase-too-short", exit_code=2, shortest=_SHORTEST_PASSPHRASE)
        if path.exists():
            raise PersonalizationError("key-store-exists", exit_code=2, file=str(path))
        not_before = start_of_validity(now)
        pairs = {name: ec.generate_private_key(ec.SECP256R1()) for name in KEY_PAIRS}
        store = cls(_random_keys(given or {}), pairs, certify(pairs, not_before), path.with_name(BATCH_KEY_FOLDER))
        content = encode_key_file(store._table(), passphrase, scrypt_n)
        try:
            write_atomically(path, content, replace=False)
        except FileExistsError as error:
            raise PersonalizationError("key-store-exists", exit_code=2, file=str(path)) from error
        except OSError as error:
            raise PersonalizationError(
                "key-store-unwritable", exit_code=3, file=str(path), reason=error.strerror
            ) from error
        return store

    @classmethod
    def open(cls, path: Path, passphrase: bytes) -> Self:
        """Read the file.

        Raises:
            PersonalizationError: exit 3: "key-store-missing", "key-store-damaged", "key-store-earlier",
                "key-store-passphrase-wrong".
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            missing = PersonalizationError("key-store-missing", exit_code=3, file=str(path))
            raise unread(error, path, missing) from error
        try:
            table = decode_key_file(content, passphrase)
            return cls._from_table(table, path.with_name(BATCH_KEY_FOLDER))
        except WrongPassphraseError as error:
            raise PersonalizationError("key-store-passphrase-wrong", exit_code=3, file=str(path)) from error
        except EarlierVersionError as error:
            raise PersonalizationError("key-store-earlier", exit_code=3, file=str(path)) from error
        except (ValueError, KeyError, TypeError, AttributeError, InvalidTag, binascii.Error) as error:
            # The cause is not chained: a parser's message may quote what it could not read.
            del error
            raise PersonalizationError("key-store-damaged", exit_code=3, file=str(path)) from None

    @classmethod
    def _from_table(cls, table: dict[str, dict[str, str]], batch_keys: Path) -> Self:
        symmetric = {name: bytes.fromhex(table["symmetric"][name]) for name in KEY_LENGTHS}
        if any(len(key) != KEY_LENGTHS[name] for name, key in symmetric.items()):
            raise ValueError("a key has another length")
        pairs = {name: private_key(table["private"][name]) for name in KEY_PAIRS}
        certificates = {name: bytes.fromhex(table["certificates"][name]) for name in KEY_PAIRS}
        former = {KeyName(name): [bytes.fromhex(key) for key in keys.split()] for name, keys in table["former"].items()}
        former_pairs = {
            KeyName(name): [private_key(key) for key in keys.split()]
            for name, keys in table.get("former_private", {}).items()  # stores of before have none
        }
        former_certificates = {
            KeyName(name): [bytes.fromhex(one) for one in found.split()]
            for name, found in table.get("former_certificates", {}).items()
        }
        return cls(symmetric, pairs, certificates, batch_keys, former, former_pairs, former_certificates)

    def _table(self) -> dict[str, dict[str, str]]:
        return {
            "symmetric": {name: key.hex() for name, key in self._symmetric.items()},
            "private": {name: private_hex(key) for name, key in self._pairs.items()},
            "former_private": {name: " ".join(map(private_hex, keys)) for name, keys in self._former_pairs.items()},
            "certificates": {name: der.hex() for name, der in self._certificates.items()},
            "former_certificates": {
                name: " ".join(one.hex() for one in found) for name, found in self._former_certificates.items()
            },
            "former": {name: " ".join(key.hex() for key in keys) for name, keys in self._former.items()},
        }

    def save(self, path: Path, passphrase: bytes, *, scrypt_n: int = SCRYPT_N) -> None:
        """Write the store in the place of the file that it was read from.

        Raises:
            PersonalizationError: "key-store-unwritable", exit 3; the file is as before.
        """
        try:
            write_atomically(path, encode_key_file(self._table(), passphrase, scrypt_n))
        except OSError as error:
            raise PersonalizationError(
                "key-store-unwritable", exit_code=3, file=str(path), reason=error.strerror
            ) from error

    def with_key(self, name: KeyName, value: bytes) -> Self:
        """The same store with another key in use; the one before it becomes a former key."""
        former = {**self._former, name: [self._held(self._symmetric, name), *self._former.get(name, [])]}
        return self._with({**self._symmetric, name: value}, former)

    def with_new_key(self, name: KeyName) -> Self:
        """The same store with another key in use, at random; its check value is that of none before it."""
        while _value_of(name, value := os.urandom(KEY_LENGTHS[name])) in self.check_values(name):
            pass
        return self.with_key(name, value)

    def with_new_pair(self, name: KeyName, now: dt.datetime | None = None) -> Self:
        """The same store with a new pair of a signer, certified by the authority, or of the authority itself.

        The private half before is gone, but that of a pair whose public half is in cards, which is a former one then.
        Its check value is that of none before it.

        Args:
            name: a signer under the authority, or the authority, which signs its successor before it goes.
            now: time from which the certificate is valid, aware; the present by default.
        """
        authority = x509.load_der_x509_certificate(self.certificate(KeyName.AUTHORITY))
        issuer = self._held(self._pairs, KeyName.AUTHORITY)
        before = {pair_check_value(x509.load_der_x509_certificate(one).public_key()) for one in self.certificates(name)}
        while pair_check_value((key := ec.generate_private_key(ec.SECP256R1())).public_key()) in before:
            pass
        start, organization, links = start_of_validity(now), organization_of(authority), list[bytes]()
        if name is KeyName.AUTHORITY:
            certificate = make_authority(key, start, organization=organization)
            links = [_der(make_link(key.public_key(), authority, issuer, start))]
        else:
            public = key.public_key()
            certificate = make_signer(CERTIFIED[name], public, authority, issuer, start, organization=organization)
        former_pairs = dict(self._former_pairs)
        if name in LASTING_PAIRS:
            former_pairs[name] = [self._held(self._pairs, name), *former_pairs.get(name, [])]
        pairs, certificates = {**self._pairs, name: key}, {**self._certificates, name: _der(certificate)}
        former_certificates = {**self._former_certificates, name: [*self.certificates(name), *links]}
        folder = self._batch_keys.folder
        return type(self)(self._symmetric, pairs, certificates, folder, self._former, former_pairs, former_certificates)

    def without_former(self, name: KeyName, check_value: bytes) -> Self | None:
        """The same store without a former key; None when there is none of that check value."""
        if name in KEY_PAIRS:
            pairs = self._former_pairs.get(name, [])
            left = [key for key in pairs if pair_check_value(key.public_key()) != check_value]
            if len(left) == len(pairs):
                return None
            return self._with(self._symmetric, self._former, {**self._former_pairs, name: left})
        kept = [key for key in self._former.get(name, []) if _value_of(name, key) != check_value]
        if len(kept) == len(self._former.get(name, [])):
            return None
        return self._with(self._symmetric, {**self._former, name: kept})

    def wrapped(self, name: KeyName) -> bytes:
        """A symmetric key under ``EXCHANGE``, RFC 3394."""
        return aes_key_wrap(self._held(self._symmetric, KeyName.EXCHANGE), self._held(self._symmetric, name))

    def unwrapped(self, wrapped: bytes) -> bytes:
        """Undo `wrapped`.

        Raises:
            PersonalizationError: "wrapped-key-refused".
        """
        try:
            return aes_key_unwrap(self._held(self._symmetric, KeyName.EXCHANGE), wrapped)
        except (InvalidUnwrap, ValueError):
            raise PersonalizationError("wrapped-key-refused") from None

    def _with(
        self,
        symmetric: Mapping[KeyName, bytes],
        former: Mapping[KeyName, Sequence[bytes]],
        former_pairs: Mapping[KeyName, Sequence[ec.EllipticCurvePrivateKey]] | None = None,
    ) -> Self:
        return type(self)(
            symmetric,
            self._pairs,
            self._certificates,
            self._batch_keys.folder,
            former,
            self._former_pairs if former_pairs is None else former_pairs,
            self._former_certificates,
        )

    def __repr__(self) -> str:
        return f"FileKeyStore({REHEARSAL_LABEL})"

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        raise TypeError("a key store does not travel between processes; send its location")

    def close(self) -> None:
        """Let go of the keys; safe to call twice."""
        held = (self._symmetric, self._former, self._pairs, self._former_pairs, self._certificates)
        for keys in (*held, self._derivers, self._sealers, self._recognisers):
            keys.clear()

    @property
    def production(self) -> bool:
        """False: a file is no place for keys of real cards."""
        return False

    def check_value(self, name: KeyName) -> bytes:
        """Three bytes that tell keys apart; see `KeyStore.check_value`."""
        if name in self._pairs:
            return pair_check_value(self._pairs[name].public_key())
        return _value_of(name, self._held(self._symmetric, name))

    def check_values(self, name: KeyName) -> tuple[bytes, ...]:
        """In use and former; see `KeyStore.check_values`."""
        return self.check_value(name), *(_value_of(name, key) for key in self._former.get(name, []))

    def derive(self, name: KeyName, label: str, context: bytes, length: int, check_value: bytes | None = None) -> bytes:
        """Diversify a master; see `KeyStore.derive`."""
        require_use(name, KeyUse.DERIVE)
        deriver = self._held(self._derivers, name)
        if check_value is not None and check_value != self.check_value(name):
            found = [key for key in self._former.get(name, []) if _value_of(name, key) == check_value]
            if not found:
                raise former_key_missing(name, check_value)
            deriver = Deriver(found[0])
        return deriver.derive(label, context, length)

    def wrap_master(self, name: KeyName) -> bytes:
        """A master for a SAM; see `KeyStore.wrap_master`."""
        require_use(name, KeyUse.LOAD_INTO_SAM)
        return aes_key_wrap(self._held(self._symmetric, KeyName.SAM_LOAD), self._held(self._symmetric, name))

    def seal(self, name: KeyName, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt and authenticate; see `KeyStore.seal`.

        The nonce is random, which NIST SP 800-38D 8.3 bounds to 2^32 sealings under one key.
        """
        require_use(name, KeyUse.SEAL)
        sealer = self._held(self._sealers, name)
        nonce = os.urandom(_NONCE)
        return nonce + sealer.encrypt(nonce, plaintext, associated)

    def unseal(self, name: KeyName, sealed: bytes, associated: bytes) -> bytes:
        """Undo `seal` with the key in use or a former one; see `KeyStore.unseal`."""
        require_use(name, KeyUse.SEAL)
        sealers = [self._held(self._sealers, name), *(AESGCM(key) for key in self._former.get(name, []))]
        for sealer in sealers:
            with suppress(InvalidTag, ValueError):
                return sealer.decrypt(sealed[:_NONCE], sealed[_NONCE:], associated)
        raise PersonalizationError("sealed-data-refused", key=name.value)

    def recognise(self, value: bytes) -> bytes:
        """HMAC of a value; see `KeyStore.recognise`."""
        keyed = self._held(self._recognisers, KeyName.RECOGNITION).copy()
        keyed.update(value)
        return keyed.digest()

    def sign_digest(self, name: KeyName, digest: bytes) -> bytes:
        """ECDSA; see `KeyStore.sign_digest`."""
        require_use(name, KeyUse.SIGN)
        return signature(self._held(self._pairs, name), digest)

    def sign_with_all(self, name: KeyName, digest: bytes) -> tuple[bytes, ...]:
        """ECDSA by each key of a name; see `KeyStore.sign_with_all`."""
        require_use(name, KeyUse.SIGN)
        keys = (self._held(self._pairs, name), *self._former_pairs.get(name, []))
        return tuple(signature(key, digest) for key in keys)

    def certificate(self, name: KeyName) -> bytes:
        """X.509, DER; see `KeyStore.certificate`."""
        require_use(name, KeyUse.CERTIFY)
        return self._held(self._certificates, name)

    def certificates(self, name: KeyName) -> tuple[bytes, ...]:
        """X.509, DER, the newest first; see `KeyStore.certificates`."""
        return (self.certificate(name), *self._former_certificates.get(name, []))

    def make_batch_keys(self, batch: str) -> dict[KeyName, bytes]:
        """See `KeyStore.make_batch_keys`."""
        sealers = self._batch_keys.make(batch, lambda keys, context: self.seal(KeyName.TRANSPORT, keys, context))
        return {name: sealer.check_value() for name, sealer in sealers.items()}

    def of_batch(self, batch: str) -> KeyStore:
        """See `KeyStore.of_batch`."""
        sealers = self._batch_keys.read(batch, lambda sealed, context: self.unseal(KeyName.TRANSPORT, sealed, context))
        return BatchKeyStore(self, sealers)

    def destroy_batch_keys(self, batch: str) -> bool:
        """See `KeyStore.destroy_batch_keys`."""
        return self._batch_keys.destroy(batch)

    def _held(self, keys: Mapping[KeyName, T], name: KeyName) -> T:
        found = keys.get(name)
        if found is None:
            raise PersonalizationError("key-missing", exit_code=3, key=name.value, place=REHEARSAL_LABEL)
        return found


@dataclass(frozen=True, slots=True)
class FileKeyStoreLocation:
    """Where a file store is and where its passphrase is taken from; picklable, holds no secret.

    Attributes:
        path: the file.
        passphrase: environment variable or file.
    """

    path: Path
    passphrase: PassphraseSource

    def open(self) -> FileKeyStore:
        """Open the store in this process, which leaves no core dumps from then on."""
        keep_memory_private()
        return FileKeyStore.open(self.path, self.passphrase.read())


def certify(pairs: Mapping[KeyName, ec.EllipticCurvePrivateKey], not_before: dt.datetime) -> dict[KeyName, bytes]:
    """Certificates (DER) of the authority and of the signers under it."""
    authority_key = pairs[KeyName.AUTHORITY]
    authority = make_authority(authority_key, not_before)
    found = {KeyName.AUTHORITY: _der(authority)}
    for name, purpose in CERTIFIED.items():
        found[name] = _der(make_signer(purpose, pairs[name].public_key(), authority, authority_key, not_before))
    return found


def _random_keys(given: Mapping[KeyName, bytes]) -> dict[KeyName, bytes]:
    """Symmetric keys as given, else at random, but the SAM load key, which the rehearsal's vendor derives."""
    keys = {name: given.get(name) or os.urandom(length) for name, length in KEY_LENGTHS.items()}
    if KeyName.SAM_LOAD not in given:
        keys[KeyName.SAM_LOAD] = vendor_sam_load_key(keys[KeyName.FACTORY])
    return keys


def _value_of(name: KeyName, key: bytes) -> bytes:
    return hmac_check_value(key) if KeyUse.RECOGNISE in KEY_USES[name] else aes_check_value(key)


def vendor_sam_load_key(factory: bytes) -> bytes:
    """The load key of a rehearsal's SAM chips, which their make-believe vendor knows."""
    return Deriver(factory).derive(SAM_LOAD_LABEL, b"", KEY_LENGTHS[KeyName.SAM_LOAD])


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
