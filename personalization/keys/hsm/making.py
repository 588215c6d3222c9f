"""Making a store in a token: all of it or nothing.

The user's keys are made in the user's session, those that the security officer has to trust in the security officer's:
two PINs, in two hands, and never both sessions at once, for a token knows one login at a time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from pkcs11 import Attribute, CertificateType, KeyType, Mechanism, MechanismFlag, ObjectClass, Session, exceptions
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from personalization.errors import PersonalizationError
from personalization.keys.certificates import (
    CERTIFIED,
    REHEARSAL_LABEL,
    make_authority,
    make_link,
    make_signer,
    organization_of,
    start_of_validity,
)
from personalization.keys.check_values import pair_check_value
from personalization.keys.derivation import derivation_inputs
from personalization.keys.hsm.store import descriptor, label_of
from personalization.keys.hsm.templates import (
    APPLICATION,
    DESCRIPTOR,
    INWARD,
    LINK,
    PRIVATE_HALF,
    capabilities,
    data_object,
    inward_wrapping,
    kept,
    key_type,
    outward_wrapping,
)
from personalization.keys.hsm.token import Login, TokenPlace, logged_in
from personalization.keys.keystore import KEY_LENGTHS, KEY_PAIRS, KEY_USES, SAM_LOAD_LABEL, KeyName, KeyUse
from personalization.keys.passphrase import PassphraseSource

_PREFIX: Final = f"{APPLICATION}."
_FIRST: Final = 1
_BITS: Final = 8

WRAPPING_KEYS: Final = tuple(name for name, uses in KEY_USES.items() if KeyUse.WRAP in uses)


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes keys in a token, and where the PINs come from.

    Attributes:
        place: library and token.
        user: PIN of the token's user.
        security_officer: PIN of the security officer.
    """

    place: TokenPlace
    user: PassphraseSource
    security_officer: PassphraseSource


def create_hsm_store(
    maker: Maker,
    *,
    production: bool,
    organization: str = REHEARSAL_LABEL,
    given: Mapping[KeyName, bytes] | None = None,
    now: dt.datetime | None = None,
) -> None:
    """Make all keys in the token, the authority and the signers under it.

    Args:
        maker: token and PINs.
        production: for real cards; cannot be changed afterwards.
        organization: name in the certificates.
        given: symmetric keys that a ceremony has put together; the token makes all others itself.
        now: time from which the certificates are valid, aware; the present by default.

    Raises:
        PersonalizationError: "key-store-exists" (exit 2); exit 3: what the token says, see `hsm.token`. Nothing is left
            behind then.
    """
    given = given or {}
    user_pin, officer_pin = maker.user.read(), maker.security_officer.read()
    not_before = start_of_validity(now)
    with logged_in(maker.place, user_pin) as session:
        if any(_ours(session)):
            raise PersonalizationError("key-store-exists", exit_code=2, file=maker.place.label)
    with logged_in(maker.place, officer_pin, Login.SECURITY_OFFICER):
        pass  # a wrong PIN of the second person is found before the first key is made
    try:
        with logged_in(maker.place, user_pin, write=True) as session:
            for name in KEY_LENGTHS:
                if name not in WRAPPING_KEYS:
                    make_symmetric(session, name, _FIRST, given.get(name))
            _make_pairs(session, organization, not_before)
            wrapping = _wrapping_values(session, given, production=production)
        with logged_in(maker.place, officer_pin, Login.SECURITY_OFFICER, write=True) as session:
            for name, value in wrapping.items():
                make_wrapping(session, name, _FIRST, value)
        with logged_in(maker.place, user_pin, write=True) as session:
            session.create_object(data_object(DESCRIPTOR, descriptor(production=production)))
    except BaseException:
        _remove_all(maker.place, user_pin)
        raise


def make_symmetric(session: Session, name: KeyName, generation: int, value: bytes | None = None) -> None:
    """Make a symmetric key of the user in the token, or bring in one that a ceremony has put together."""
    label, kind = label_of(name, generation), key_type(name)
    if value is None:
        session.generate_key(
            kind,
            KEY_LENGTHS[name] * _BITS,
            label=label,
            store=True,
            capabilities=capabilities(name),
            template=kept(name),
        )
        return
    may = capabilities(name)
    session.create_object(
        {
            **kept(name),
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: kind,
            Attribute.TOKEN: True,
            Attribute.LABEL: label,
            Attribute.VALUE: value,
            Attribute.SIGN: bool(may & MechanismFlag.SIGN),
            Attribute.ENCRYPT: bool(may & MechanismFlag.ENCRYPT),
            Attribute.DECRYPT: bool(may & MechanismFlag.DECRYPT),
            Attribute.DERIVE: False,
        }
    )


def make_wrapping(session: Session, name: KeyName, generation: int, value: bytes) -> None:
    """Make both halves of a wrapping key; the session is the security officer's."""
    label = label_of(name, generation)
    session.create_object(outward_wrapping(label, value))
    if name is KeyName.EXCHANGE:
        session.create_object(inward_wrapping(f"{label}.{INWARD}", value))


def _wrapping_values(session: Session, given: Mapping[KeyName, bytes], *, production: bool) -> dict[KeyName, bytes]:
    """Values of the wrapping keys: given, as the rehearsal's chip vendor derives them, or of the token's random."""
    values = {name: given.get(name) or session.generate_random(KEY_LENGTHS[name] * _BITS) for name in WRAPPING_KEYS}
    if not production and KeyName.SAM_LOAD not in given:
        master: Any = session.get_key(label=label_of(KeyName.FACTORY, _FIRST))
        length = KEY_LENGTHS[KeyName.SAM_LOAD]
        inputs = derivation_inputs(SAM_LOAD_LABEL, b"", length)
        values[KeyName.SAM_LOAD] = b"".join(master.sign(part, mechanism=Mechanism.AES_CMAC) for part in inputs)[:length]
    return values


class _TokenKey:
    """The private half of a pair in the token, as an issuer of certificates."""

    def __init__(self, public: ec.EllipticCurvePublicKey, private: Any) -> None:
        self._public = public
        self._private = private

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    def sign_digest(self, digest: bytes) -> bytes:
        return bytes(self._private.sign(digest, mechanism=Mechanism.ECDSA))


def _make_pairs(session: Session, organization: str, not_before: dt.datetime) -> None:
    pairs = {name: _make_pair(session, label_of(name, _FIRST)) for name in KEY_PAIRS}
    issuer = pairs[KeyName.AUTHORITY]
    authority = make_authority(issuer, not_before, organization=organization)
    _keep(session, KeyName.AUTHORITY, authority)
    for name, purpose in CERTIFIED.items():
        public = pairs[name].public_key()
        _keep(
            session,
            name,
            make_signer(purpose, public, authority, issuer, not_before, organization=organization),
        )


def make_next_pair(session: Session, name: KeyName, generation: int, authority: int) -> None:
    """Make another pair of a signer, certified by the authority in the token.

    Its certificate is made last: a pair without one is of no use to a store, which goes on with the pair before.

    Args:
        session: the user's, for writing.
        name: a signer under the authority.
        generation: of the new pair.
        authority: generation of the authority.
    """
    issuer, certificate = _authority(session, authority)
    key = _make_another_pair(session, name, generation).public_key()
    organization = organization_of(certificate)
    made = make_signer(CERTIFIED[name], key, certificate, issuer, start_of_validity(), organization=organization)
    _keep(session, name, made, generation)


def make_next_authority(session: Session, generation: int, former: int) -> None:
    """Make another pair of the authority, with the link that the former one signs, and then its own certificate.

    Args:
        session: the user's, for writing.
        generation: of the new pair.
        former: generation of the authority in use.
    """
    issuer, before = _authority(session, former)
    key = _make_another_pair(session, KeyName.AUTHORITY, generation)
    start = start_of_validity()
    link = make_link(key.public_key(), before, issuer, start)
    _keep(session, KeyName.AUTHORITY, link, generation, f".{LINK}")
    made = make_authority(key, start, organization=organization_of(before))
    _keep(session, KeyName.AUTHORITY, made, generation)


def _authority(session: Session, generation: int) -> tuple[_TokenKey, x509.Certificate]:
    """The authority of a generation, as an issuer, and its certificate."""
    label = label_of(KeyName.AUTHORITY, generation)
    kept: Any = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
    public = public_half(session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label))
    wanted = {Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.LABEL: label}
    found = list(session.get_objects(wanted))  # to its end: a search that is left open blocks the session
    return _TokenKey(public, kept), x509.load_der_x509_certificate(bytes(found[0][Attribute.VALUE]))


def _make_pair(session: Session, label: str) -> _TokenKey:
    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
    public, private = parameters.generate_keypair(
        label=label,
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template=dict(PRIVATE_HALF),
    )
    return _TokenKey(public_half(public), private)


def _make_another_pair(session: Session, name: KeyName, generation: int) -> _TokenKey:
    """A pair whose check value is that of none before it; their public halves are all there."""
    former = {label_of(name, one) for one in range(_FIRST, generation)}
    halves = list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY}))
    before = {pair_check_value(public_half(one)) for one in halves if str(one[Attribute.LABEL]) in former}
    while pair_check_value((pair := _make_pair(session, label_of(name, generation))).public_key()) in before:
        for half in list(session.get_objects({Attribute.LABEL: label_of(name, generation)})):
            half.destroy()
    return pair


def public_half(public: Any) -> ec.EllipticCurvePublicKey:
    """The public key that an object of the token is."""
    loaded = load_der_public_key(encode_ec_public_key(public))
    if not isinstance(loaded, ec.EllipticCurvePublicKey):
        raise exceptions.KeyTypeInconsistent
    return loaded


def _keep(
    session: Session, name: KeyName, certificate: x509.Certificate, generation: int = _FIRST, suffix: str = ""
) -> None:
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.CERTIFICATE,
            Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: False,
            Attribute.LABEL: label_of(name, generation) + suffix,
            Attribute.SUBJECT: certificate.subject.public_bytes(),
            Attribute.VALUE: certificate.public_bytes(Encoding.DER),
        }
    )


def _ours(session: Session) -> Iterable[Any]:
    """Objects with labels of ours."""
    return [item for item in session.get_objects() if str(item[Attribute.LABEL]).startswith(_PREFIX)]


def _remove_all(place: TokenPlace, pin: bytes) -> None:
    """Remove what an unfinished store has left; a token that will not do it now has told so before."""
    try:
        with logged_in(place, pin, write=True) as session:
            for item in _ours(session):
                item.destroy()
    except PersonalizationError:
        return
