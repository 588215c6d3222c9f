"""The card's security domain, managed by the package yubikey-manager: SCP03, SCP11a, b and c, keys, certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import SW, ApduError
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, Scp11KeyParams, ScpKid, StaticKeys

from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.manufacture import manufacture
from tests.doubles.channel_hosts import AES_KEYS
from tests.doubles.issuer_card import PRODUCTION, PortConnection, boot
from tests.interop.yubikit_adapter import DomainSession, YubikitConnection

FACTORY = StaticKeys(*AES_KEYS)
OURS = StaticKeys(b"\x01" * 16, b"\x02" * 16, b"\x03" * 16)
AUTHORITY_REF = KeyRef(0x10, 0x03)


class Chain(NamedTuple):
    """An authority, the key of a host, and its certificates, the host's own last."""

    authority: ec.EllipticCurvePrivateKey
    host: ec.EllipticCurvePrivateKey
    certificates: list[x509.Certificate]


def certificate(
    subject: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, serial: int, *, signs: bool
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(serial))])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not signs,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = x509.CertificateBuilder(name, name, subject.public_key(), serial)
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).add_extension(usage, critical=True)
    return builder.not_valid_after(datetime(2099, 1, 1, tzinfo=UTC)).sign(issuer, SHA256())


def chain(curve: ec.EllipticCurve | None = None) -> Chain:
    authority, middle = (ec.derive_private_key(number, ec.SECP256R1()) for number in (1001, 1002))
    host = ec.derive_private_key(1003, curve or ec.SECP256R1())
    certificates = [certificate(middle, authority, 71, signs=True), certificate(host, middle, 72, signs=False)]
    return Chain(authority, host, certificates)


@pytest.fixture(params=[TRANSPORT.USB, TRANSPORT.NFC], ids=["extended", "chained"])
def connection(request: pytest.FixtureRequest) -> YubikitConnection:
    """A fresh card, with commands of extended length or chained ones."""
    image = NvmImage.create()
    policy = ChannelPolicy(((Protocol.SCP03, 0x70), (Protocol.SCP11, 0x1B)))
    manufacture(image.nvm(), PRODUCTION, KeySet(0xFF, *AES_KEYS), channel_policy=policy)
    card = PortConnection(boot(image).contact)
    card.power_on()
    return YubikitConnection(card, request.param)


def factory_session(connection: YubikitConnection) -> DomainSession:
    session = DomainSession(connection)
    session.authenticate(Scp03KeyParams(KeyRef(ScpKid.SCP03, 0xFF), FACTORY))
    return session


def test_keys_are_listed_before_and_inside_a_session(connection: YubikitConnection) -> None:
    expected = {KeyRef(identifier, 0xFF): {0x88: 16} for identifier in (1, 2, 3)}
    assert DomainSession(connection).get_key_information() == expected
    assert factory_session(connection).get_key_information() == expected


def test_card_recognition_data(connection: YubikitConnection) -> None:
    data = factory_session(connection).get_card_recognition_data()
    assert bytes.fromhex("640B06092A864886FC6B040370" + "640B06092A864886FC6B04111B") in data


def test_a_set_is_put_used_added_to_and_deleted(connection: YubikitConnection) -> None:
    session = factory_session(connection)
    session.put_key(KeyRef(1, 0x30), OURS)
    assert set(session.get_key_information()) == {KeyRef(identifier, 0x30) for identifier in (1, 2, 3)}
    session = DomainSession(connection)
    session.authenticate(Scp03KeyParams(KeyRef(1, 0x30), OURS))
    session.put_key(KeyRef(1, 0x31), FACTORY)
    session.put_key(KeyRef(1, 0x32), OURS, replace_kvn=0x31)
    session.delete_key(kvn=0x32)
    assert {key.kvn for key in session.get_key_information()} == {0x30}
    with pytest.raises(ApduError) as refusal:
        session.delete_key(kvn=0x30)
    assert refusal.value.sw == SW.CONDITIONS_NOT_SATISFIED
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        DomainSession(connection).authenticate(Scp03KeyParams(KeyRef(1, 0xFF), FACTORY))


def test_wrong_keys_are_noticed(connection: YubikitConnection) -> None:
    with pytest.raises(ValueError, match="Incorrect SCP parameters"):
        DomainSession(connection).authenticate(Scp03KeyParams(KeyRef(1, 0xFF), OURS))


def prepare(connection: YubikitConnection, kid: ScpKid, keys: Chain, card_key: ec.EllipticCurvePrivateKey) -> KeyRef:
    """Give the card the authority's key and its own."""
    session = factory_session(connection)
    reference = KeyRef(kid, 0x03)
    session.put_key(AUTHORITY_REF, keys.authority.public_key())
    session.put_key(reference, card_key)
    told = session.get_key_information()
    assert told[AUTHORITY_REF] == {0xB0: 64, 0xF0: 0}
    assert told[reference] == {0xB1: (card_key.key_size + 7) // 8, 0xF0: told[reference][0xF0]}
    return reference


def parameters(reference: KeyRef, keys: Chain, card_key: ec.EllipticCurvePrivateKey) -> Scp11KeyParams:
    if reference.kid == ScpKid.SCP11b:
        return Scp11KeyParams(reference, card_key.public_key())
    return Scp11KeyParams(reference, card_key.public_key(), AUTHORITY_REF, keys.host, keys.certificates)


@pytest.mark.parametrize("kid", [ScpKid.SCP11a, ScpKid.SCP11c])
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.BrainpoolP256R1()], ids=lambda curve: curve.name)
def test_a_certified_host_manages_keys(connection: YubikitConnection, kid: ScpKid, curve: ec.EllipticCurve) -> None:
    keys, card_key = chain(curve), ec.derive_private_key(2002, curve)
    reference = prepare(connection, kid, keys, card_key)
    session = DomainSession(connection)
    session.authenticate(parameters(reference, keys, card_key))
    session.put_key(KeyRef(1, 0x40), OURS)
    session.delete_key(kid=0x10)
    assert AUTHORITY_REF not in session.get_key_information()
    session = DomainSession(connection)
    session.authenticate(Scp03KeyParams(KeyRef(1, 0x40), OURS))


def test_an_unknown_host_reads_only(connection: YubikitConnection) -> None:
    keys, card_key = chain(), ec.derive_private_key(2002, ec.SECP256R1())
    reference = prepare(connection, ScpKid.SCP11b, keys, card_key)
    session = DomainSession(connection)
    session.authenticate(parameters(reference, keys, card_key))
    assert reference in session.get_key_information()
    with pytest.raises(ApduError) as refusal:
        session.delete_key(kid=0x10)
    assert refusal.value.sw == SW.SECURITY_CONDITION_NOT_SATISFIED


def test_another_card_is_noticed(connection: YubikitConnection) -> None:
    keys, card_key = chain(), ec.derive_private_key(2002, ec.SECP256R1())
    reference = prepare(connection, ScpKid.SCP11b, keys, card_key)
    session = DomainSession(connection)
    with pytest.raises(InvalidSignature):
        session.authenticate(parameters(reference, keys, ec.derive_private_key(2003, ec.SECP256R1())))


def test_a_host_of_another_authority_is_refused(connection: YubikitConnection) -> None:
    keys, card_key = chain(), ec.derive_private_key(2002, ec.SECP256R1())
    reference = prepare(connection, ScpKid.SCP11a, keys, card_key)
    stranger = ec.derive_private_key(3003, ec.SECP256R1())
    forged = keys._replace(certificates=[certificate(keys.host, stranger, 72, signs=False)])
    session = DomainSession(connection)
    with pytest.raises(ApduError) as refusal:
        session.authenticate(parameters(reference, forged, card_key))
    assert refusal.value.sw == SW.SECURITY_CONDITION_NOT_SATISFIED


def test_certificates_authorities_and_allowlists(connection: YubikitConnection) -> None:
    keys, card_key = chain(), ec.derive_private_key(2002, ec.SECP256R1())
    reference = prepare(connection, ScpKid.SCP11a, keys, card_key)
    session = factory_session(connection)
    assert session.get_certificate_bundle(reference) == []
    assert session.get_supported_ca_identifiers() == {}
    session.store_certificate_bundle(reference, keys.certificates)
    session.store_ca_issuer(AUTHORITY_REF, b"\x0a" * 20)
    session.store_ca_issuer(reference, b"\x0b" * 20)
    assert session.get_certificate_bundle(reference) == keys.certificates
    assert session.get_supported_ca_identifiers(kloc=True) == {AUTHORITY_REF: b"\x0a" * 20}
    assert session.get_supported_ca_identifiers(klcc=True) == {reference: b"\x0b" * 20}
    session.store_allowlist(AUTHORITY_REF, [1, 72])
    session = DomainSession(connection)
    session.authenticate(parameters(reference, keys, card_key))
    session.store_allowlist(AUTHORITY_REF, [1, 73, 0xFF00])
    session = DomainSession(connection)
    with pytest.raises(ApduError) as refusal:
        session.authenticate(parameters(reference, keys, card_key))
    assert refusal.value.sw == SW.SECURITY_CONDITION_NOT_SATISFIED
