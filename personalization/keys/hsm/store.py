"""The key store in a token: every operation with a master happens inside.

Objects are labelled ``permitcard.NAME.GENERATION``; the highest generation of a name is the key in use, lower ones are
former keys, which open what they sealed until they are destroyed. A data object ``permitcard.store`` says what the
store is for.

Source: OASIS PKCS #11 Current Mechanisms Specification 2.40, clauses 2.3 (ECDSA), 2.12 (AES-GCM), 2.16 (AES-CMAC) and
2.20 (HMAC); RFC 3394 (AES key wrap).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, Mechanism, Object, ObjectClass, Session, exceptions
from pkcs11.util.ec import encode_ec_public_key

from personalization.errors import PersonalizationError
from personalization.keys.batch_keys import BATCH_KEYS, BatchKeyStore
from personalization.keys.certificates import REHEARSAL_LABEL
from personalization.keys.check_values import (
    AES_CHECK_INPUT,
    CHECK_VALUE_LENGTH,
    HMAC_CHECK_INPUT,
    pair_check_value,
)
from personalization.keys.derivation import derivation_inputs
from personalization.keys.hsm import batch_objects
from personalization.keys.hsm.batch_objects import TokenSealer
from personalization.keys.hsm.templates import APPLICATION, DESCRIPTOR, INWARD, LINK
from personalization.keys.hsm.token import TokenPlace, close_session, failure, open_session, reported
from personalization.keys.keystore import (
    KEY_PAIRS,
    KEY_USES,
    LASTING_PAIRS,
    KeyName,
    KeyStore,
    KeyUse,
    former_key_missing,
    require_use,
)
from personalization.keys.passphrase import PassphraseSource
from personalization.keys.process import keep_memory_private

FORMAT: Final = "permitcard key store"
VERSION: Final = 1

_PREFIX: Final = f"{APPLICATION}."
_DIGEST: Final = 32

T = TypeVar("T")
_Handle = Any
"""A key object: which operations it has depends on its kind, which the library decides at run time."""


_Generations = dict[KeyName, dict[int, _Handle]]


@dataclass(slots=True)
class _Found:
    """Objects of a token by name and generation."""

    keys: _Generations = field(default_factory=lambda: defaultdict(dict))
    inward: dict[KeyName, _Handle] = field(default_factory=dict[KeyName, Any])
    publics: _Generations = field(default_factory=lambda: defaultdict(dict))
    certificates: _Generations = field(default_factory=lambda: defaultdict(dict))
    links: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def note(self, label: str, item: Object) -> None:
        """Take an object in, when its label is one of ours."""
        name, generation, suffix = _parse(label)
        if name is None:
            return
        kind = item[Attribute.CLASS]
        if suffix == INWARD:
            self.inward[name] = item
        elif suffix == LINK:
            self.links[generation] = bytes(item[Attribute.VALUE])
        elif kind is ObjectClass.PUBLIC_KEY:
            self.publics[name][generation] = item
        elif kind is ObjectClass.CERTIFICATE:
            self.certificates[name][generation] = item
        else:
            self.keys[name][generation] = item


class HsmKeyStore:
    """The keys of one token, by an open session; made by `open`, given up by `close`.

    A session belongs to the process that opened it and does not travel.
    """

    __slots__ = (
        "_certificates",
        "_check_values",
        "_former_certificates",
        "_inward",
        "_keys",
        "_pin",
        "_place",
        "_production",
        "_public",
        "_session",
    )

    def __init__(self, session: Session, place: TokenPlace, objects: Iterable[Object]) -> None:
        self._session = session
        self._place = place
        self._keys: dict[KeyName, list[_Handle]] = {}
        self._inward: dict[KeyName, _Handle] = {}
        self._public: dict[KeyName, ec.EllipticCurvePublicKey] = {}
        self._certificates: dict[KeyName, list[bytes]] = {}
        self._check_values: dict[KeyName, tuple[bytes, ...]] = {}
        self._production: bool | None = None
        found = _Found()
        for item in objects:
            label = str(item[Attribute.LABEL])
            if label == DESCRIPTOR:
                self._production = _read_descriptor(bytes(item[Attribute.VALUE]), place)
            else:
                found.note(label, item)
        self._take(found)

    def _take(self, found: _Found) -> None:
        """Put what was found in use, the newest generation of each name first."""
        every = {name: dict(generations) for name, generations in found.certificates.items()}
        _keep_whole_pairs(found.keys, found.publics, found.certificates)
        self._inward = found.inward
        for name, generations in found.keys.items():
            self._keys[name] = [generations[number] for number in sorted(generations, reverse=True)]
        for name, generations in found.publics.items():
            self._public[name] = _public_key(generations[max(generations)])
        for name, generations in found.certificates.items():
            numbers = sorted((number for number in every[name] if number <= max(generations)), reverse=True)
            self._certificates[name] = [bytes(every[name][number][Attribute.VALUE]) for number in numbers]
            if name is KeyName.AUTHORITY:
                self._certificates[name] += [found.links[number] for number in numbers if number in found.links]

    @classmethod
    def open(cls, place: TokenPlace, pin: bytes) -> Self:
        """Log in and find the keys.

        Raises:
            PersonalizationError: exit 3; see `open_session`; "hsm-store-missing", the token holds no store of ours.
        """
        session = open_session(place, pin)
        try:
            with reported(place):
                store = cls(session, place, list(session.get_objects()))
            store._require_descriptor()
        except BaseException:
            close_session(session)
            raise
        return store

    def _require_descriptor(self) -> None:
        if self._production is None:
            raise PersonalizationError("hsm-store-missing", exit_code=3, token=self._place.label)

    def close(self) -> None:
        """End the session; safe to call twice."""
        close_session(self._session)

    def __repr__(self) -> str:
        return f"HsmKeyStore({self._place.label}{'' if self.production else ', ' + REHEARSAL_LABEL})"

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        raise TypeError("a key store does not travel between processes; send its location")

    @property
    def production(self) -> bool:
        """What the token's own data object says; it cannot be changed after the store was made."""
        return bool(self._production)

    def check_value(self, name: KeyName) -> bytes:
        """Three bytes that tell keys apart; see `KeyStore.check_value`."""
        if name in self._public:
            return pair_check_value(self._public[name])
        return self._symmetric_check_value(name, self._key(name))

    def _symmetric_check_value(self, name: KeyName, key: _Handle) -> bytes:
        if KeyUse.RECOGNISE in KEY_USES[name]:
            return self._mac(key, HMAC_CHECK_INPUT, Mechanism.SHA256_HMAC)[:CHECK_VALUE_LENGTH]
        return self._mac(key, AES_CHECK_INPUT, Mechanism.AES_CMAC)[:CHECK_VALUE_LENGTH]

    def check_values(self, name: KeyName) -> tuple[bytes, ...]:
        """In use and former, each asked of the token once; see `KeyStore.check_values`."""
        self._key(name)
        if name not in self._check_values:
            self._check_values[name] = tuple(self._symmetric_check_value(name, key) for key in self._keys[name])
        return self._check_values[name]

    def derive(self, name: KeyName, label: str, context: bytes, length: int, check_value: bytes | None = None) -> bytes:
        """Diversify a master by MACs in the token; see `KeyStore.derive`."""
        require_use(name, KeyUse.DERIVE)
        key = self._key(name)
        if check_value is not None:
            values = self.check_values(name)
            if check_value not in values:
                raise former_key_missing(name, check_value)
            key = self._keys[name][values.index(check_value)]
        blocks = [self._mac(key, block, Mechanism.AES_CMAC) for block in derivation_inputs(label, context, length)]
        return b"".join(blocks)[:length]

    def wrap_master(self, name: KeyName) -> bytes:
        """A master for a SAM, wrapped in the token; see `KeyStore.wrap_master`."""
        require_use(name, KeyUse.LOAD_INTO_SAM)
        wrapping, master = self._key(KeyName.SAM_LOAD), self._key(name)
        return self._asked(lambda: bytes(wrapping.wrap_key(master, mechanism=Mechanism.AES_KEY_WRAP)))

    def seal(self, name: KeyName, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt and authenticate in the token; see `KeyStore.seal`."""
        require_use(name, KeyUse.SEAL)
        return self._sealer(self._key(name)).seal(plaintext, associated)

    def unseal(self, name: KeyName, sealed: bytes, associated: bytes) -> bytes:
        """Undo `seal` with the key in use or a former one; see `KeyStore.unseal`."""
        require_use(name, KeyUse.SEAL)
        self._key(name)
        for key in self._keys[name]:
            opened = self._sealer(key).unseal(sealed, associated)
            if opened is not None:
                return opened
        raise PersonalizationError("sealed-data-refused", key=name.value)

    def recognise(self, value: bytes) -> bytes:
        """HMAC of a value in the token; see `KeyStore.recognise`."""
        return self._mac(self._key(KeyName.RECOGNITION), value, Mechanism.SHA256_HMAC)

    def sign_digest(self, name: KeyName, digest: bytes) -> bytes:
        """ECDSA in the token; see `KeyStore.sign_digest`."""
        require_use(name, KeyUse.SIGN)
        if len(digest) != _DIGEST:
            raise ValueError(f"a SHA-256 digest has {_DIGEST} bytes, not {len(digest)}")
        return self._mac(self._key(name), digest, Mechanism.ECDSA)

    def sign_with_all(self, name: KeyName, digest: bytes) -> tuple[bytes, ...]:
        """ECDSA in the token by each key of a name; see `KeyStore.sign_with_all`."""
        first = self.sign_digest(name, digest)
        return (first, *(self._mac(key, digest, Mechanism.ECDSA) for key in self._keys[name][1:]))

    def certificate(self, name: KeyName) -> bytes:
        """X.509, DER; see `KeyStore.certificate`."""
        require_use(name, KeyUse.CERTIFY)
        if name not in self._certificates:
            raise self._missing(name)
        return self._certificates[name][0]

    def certificates(self, name: KeyName) -> tuple[bytes, ...]:
        """X.509, DER, the newest first; see `KeyStore.certificates`."""
        return (self.certificate(name), *self._certificates[name][1:])

    def make_batch_keys(self, batch: str) -> dict[KeyName, bytes]:
        """Make the sealing keys of a batch in the token; see `KeyStore.make_batch_keys`."""
        with self._writing() as session:
            batch_objects.make(session, batch)
        sealers = self._batch(batch)
        return {name: sealer.check_value() for name, sealer in sealers.items()}

    def of_batch(self, batch: str) -> KeyStore:
        """See `KeyStore.of_batch`."""
        return BatchKeyStore(self, self._batch(batch))

    def destroy_batch_keys(self, batch: str) -> bool:
        """See `KeyStore.destroy_batch_keys`."""
        with self._writing() as session:
            return batch_objects.destroy(session, batch)

    def _batch(self, batch: str) -> dict[KeyName, TokenSealer]:
        with reported(self._place):
            sealers = batch_objects.find(self._session, batch, self._failure)
        if len(sealers) != len(BATCH_KEYS):
            raise PersonalizationError("batch-keys-missing", exit_code=3, batch=batch)
        return sealers

    @contextmanager
    def _writing(self) -> Generator[Session]:
        """A second session, which may make and destroy objects; it shares the login of the first."""
        with reported(self._place), self._session.token.open(rw=True) as session:
            yield session

    def _sealer(self, key: _Handle) -> TokenSealer:
        return TokenSealer(key, self._failure)

    def _failure(self, error: exceptions.PKCS11Error) -> PersonalizationError:
        return failure(self._place, error)

    def _key(self, name: KeyName) -> _Handle:
        generations = self._keys.get(name)
        if not generations:
            raise self._missing(name)
        return generations[0]

    def _missing(self, name: KeyName) -> PersonalizationError:
        return PersonalizationError("key-missing", exit_code=3, key=name.value, place=self._place.label)

    def _mac(self, key: _Handle, data: bytes, mechanism: Mechanism) -> bytes:
        try:
            return bytes(key.sign(data, mechanism=mechanism))
        except exceptions.PKCS11Error as error:
            raise failure(self._place, error) from None

    def _asked(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except exceptions.PKCS11Error as error:
            raise failure(self._place, error) from None


@dataclass(frozen=True, slots=True)
class HsmKeyStoreLocation:
    """Where a token is and where its PIN is taken from; picklable, holds no secret.

    Attributes:
        place: library and token.
        pin: environment variable or file.
    """

    place: TokenPlace
    pin: PassphraseSource

    def open(self) -> HsmKeyStore:
        """Open a session of this process, which leaves no core dumps from then on."""
        keep_memory_private()
        return HsmKeyStore.open(self.place, self.pin.read())


def _keep_whole_pairs(private: dict[KeyName, dict[int, _Handle]], *parts: dict[KeyName, dict[int, _Handle]]) -> None:
    """Of each pair, leave the newest generation of which private half, public half and certificate are there.

    The certificate is made last: a pair that was not finished is not in use. Former private halves of a pair that is in
    cards stay.
    """
    for name in KEY_PAIRS:
        whole = set.intersection(*(set(part.get(name, ())) for part in (private, *parts)))
        if whole:
            newest = max(whole)
            lasting = whole if name in LASTING_PAIRS else {newest}
            private[name] = {generation: private[name][generation] for generation in lasting}
            for part in parts:
                part[name] = {newest: part[name][newest]}


def label_of(name: KeyName, generation: int) -> str:
    """Label of a key's objects."""
    return f"{_PREFIX}{name.value}.{generation}"


def descriptor(*, production: bool) -> bytes:
    """What the store's data object holds."""
    return json.dumps({"format": FORMAT, "version": VERSION, "production": production}).encode()


def _read_descriptor(value: bytes, place: TokenPlace) -> bool:
    try:
        document = json.loads(value)
        known = (document["format"], document["version"]) == (FORMAT, VERSION)
        production: bool = document["production"] is True
    except (ValueError, KeyError, TypeError):
        known = production = False
    if not known:
        raise PersonalizationError("hsm-store-damaged", exit_code=3, token=place.label)
    return production


def _parse(label: str) -> tuple[KeyName | None, int, str]:
    """Name, generation and what stands behind them in a label of ours; no name for any other label."""
    parts = label.removeprefix(_PREFIX).split(".")
    if not label.startswith(_PREFIX) or not 2 <= len(parts) <= 3 or not parts[1].isdecimal():  # noqa: PLR2004 - below
        return None, 0, ""
    if parts[0] not in set(KeyName) or parts[2:] not in ([], [INWARD], [LINK]):
        return None, 0, ""
    return KeyName(parts[0]), int(parts[1]), "".join(parts[2:])


def _public_key(item: Object) -> ec.EllipticCurvePublicKey:
    loaded = load_der_public_key(encode_ec_public_key(item))  # type: ignore[arg-type]  # a public key by its class
    if not isinstance(loaded, ec.EllipticCurvePublicKey):
        raise exceptions.KeyTypeInconsistent
    return loaded
