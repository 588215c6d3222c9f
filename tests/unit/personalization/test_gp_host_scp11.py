"""The off-card side of SCP11: published sessions, our card, certificates of both forms, and what must not open."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from card_os.card import Card
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import DomainKey, KeyComponent, KeyType
from card_os.globalplatform.keys import KeySet, store_keys
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.manufacture import manufacture
from personalization.errors import PersonalizationError
from personalization.globalplatform.card_certificates import certified_key
from personalization.globalplatform.certified_session import CertifiedAccess, open_certified
from personalization.globalplatform.commands import StatusScope
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.scp11 import HostIdentity, KeyAgreement, Variant, certificate_commands
from personalization.globalplatform.session import SecureSession
from test_vectors import Vector, load
from tests.doubles.channel_hosts import AES_KEYS
from tests.doubles.issuer_card import (
    INSTANCE,
    MODULE,
    PACKAGE,
    PRODUCTION,
    PortConnection,
    ShortConnection,
    boot,
    install_notebook,
)

CURVES = {0: ec.SECP256R1(), 1: ec.SECP384R1(), 3: ec.BrainpoolP256R1()}
VECTORS = load("scp11/published_sessions.json")
EVERYTHING = 0x1B
VERSION = 0x03
IDENTIFIERS = {variant.key_identifier: variant for variant in Variant}


# ---- published sessions


def agreement(vector: Vector) -> KeyAgreement:
    curve = CURVES[vector.number("curve")]

    def private(name: str) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(int.from_bytes(vector.bytes(name), "big"), curve)

    return KeyAgreement(
        IDENTIFIERS[vector.number("card_key_identifier")],
        ec.EllipticCurvePublicKey.from_encoded_point(curve, vector.bytes("card_key")),
        VERSION,
        HostIdentity(private("host_key"), (vector.bytes("host_certificate"),)),
        level=0x33 if b"\x95\x01\x3c" in vector.bytes("request") else 0x11,
        key_length=vector.bytes("request").split(b"\x81\x01")[1][0],
        implementation=vector.number("implementation"),
        fresh_key=lambda _: private("host_fresh_key"),
    )


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.valid], ids=str)
def test_published_session(vector: Vector) -> None:
    begun = agreement(vector)
    assert begun.command.data == vector.bytes("request")
    messaging, _ = begun.finish(vector.bytes("answer"))
    wrapped = messaging.wrap(CommandApdu.parse(vector.bytes("plain_command_1")))
    assert wrapped == vector.bytes("command_1") + b"\x00"  # ours has Le, for the answer has a MAC
    assert messaging.unwrap(vector.bytes("response_1")).encode() == vector.bytes("plain_response_1")


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.valid], ids=str)
def test_an_answer_that_was_changed_opens_nothing(vector: Vector) -> None:
    """Every byte of point and receipt counts, and so do their lengths and what comes behind."""
    good = vector.bytes("answer")
    spoilt = [good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :] for at in range(0, len(good), 7)]
    for answer in (*spoilt, good[:-1], good + b"\x00", good[:-18], b""):
        with pytest.raises(PersonalizationError, match=r"scp11-(receipt-wrong|answer-malformed)"):
            agreement(vector).finish(answer)


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.valid], ids=str)
def test_a_response_that_was_changed_is_noticed(vector: Vector) -> None:
    good = vector.bytes("response_1")
    spoilt = [good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :] for at in range(0, len(good) - 2, 3)]
    for response in (*spoilt, good[1:], b"\x90\x00"):
        messaging, _ = agreement(vector).finish(vector.bytes("answer"))
        messaging.wrap(CommandApdu.parse(vector.bytes("plain_command_1")))
        with pytest.raises(PersonalizationError, match="response-not-authentic"):
            messaging.unwrap(response)


# ---- with our card


def key(number: int, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(number, curve or ec.SECP256R1())


AUTHORITY, MIDDLE, HOST, CARD, CARD_AUTHORITY, STRANGER = (key(number) for number in (11, 22, 33, 44, 55, 66))


def point(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def x509_certificate(
    subject: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, *, signs: bool = False, year: int = 2099
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = x509.CertificateBuilder(name, name, subject.public_key(), 7)
    builder = builder.not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    builder = builder.not_valid_after(dt.datetime(year, 1, 1, tzinfo=dt.UTC))
    flags = x509.KeyUsage(key_agreement=not signs, key_cert_sign=signs, **usage)
    return builder.add_extension(flags, critical=True).sign(issuer, SHA256()).public_bytes(Encoding.DER)


def own_certificate(
    subject: ec.EllipticCurvePrivateKey,
    issuer: ec.EllipticCurvePrivateKey,
    *,
    signs: bool = False,
    until: str = "20991231",
) -> bytes:
    """A certificate of GlobalPlatform's form."""
    body = b"".join(
        tlv.encode(tag, value)
        for tag, value in (
            (0x93, b"\x07"),
            (0x42, b"authority"),
            (0x5F20, b"subject"),
            (0x95, bytes.fromhex("82" if signs else "0080")),
            (0x5F24, bytes.fromhex(until)),
            (0x7F49, tlv.encode(0xB0, point(subject)) + tlv.encode(0xF0, b"\x00")),
        )
    )
    r, s = decode_dss_signature(issuer.sign(body, ec.ECDSA(SHA256())))
    return tlv.encode(0x7F21, body + tlv.encode(0x5F37, r.to_bytes(32, "big") + s.to_bytes(32, "big")))


class Maker(NamedTuple):
    """Makes certificates of one form."""

    make: object

    def __call__(self, *parties: ec.EllipticCurvePrivateKey, **options: object) -> bytes:
        return self.make(*parties, **options)  # type: ignore[operator,no-any-return]  # one of the two above


FORMS = {"X.509": Maker(x509_certificate), "GlobalPlatform": Maker(own_certificate)}


def manufacture_certified(nvm: Nvm, implementation: int = EVERYTHING) -> None:
    policy = ChannelPolicy(((Protocol.SCP03, 0x70), (Protocol.SCP11, implementation)))
    manufacture(nvm, PRODUCTION, KeySet(0x30, *AES_KEYS), channel_policy=policy)


def made(implementation: int = EVERYTHING) -> Card:
    """A card with the key of an authority of hosts, 10/03, and keys of its own 11, 13 and 15/03."""
    image = NvmImage.create()
    manufacture_certified(image.nvm(), implementation)
    card = boot(image)
    give_keys(card)
    return card


def give_keys(card: Card) -> None:
    parameters = KeyComponent(KeyType.EC_PARAMETERS, b"\x00")
    scalar = KeyComponent(KeyType.EC_PRIVATE, CARD.private_numbers().private_value.to_bytes(32, "big"))
    keys = [DomainKey(VERSION, variant.key_identifier, (scalar, parameters)) for variant in Variant]
    keys.append(DomainKey(VERSION, 0x10, (KeyComponent(KeyType.EC_PUBLIC, point(AUTHORITY)), parameters)))
    store_keys(card.platform.store, ISSUER_DOMAIN, keys)


def connected(card: Card, link: type[PortConnection] = PortConnection) -> PortConnection:
    connection = link(card.contact)
    connection.power_on()
    return connection


def identity(form: str = "X.509", *, chain: bool = False) -> HostIdentity:
    make = FORMS[form]
    if chain:
        return HostIdentity(HOST, (make(MIDDLE, AUTHORITY, signs=True), make(HOST, MIDDLE)), (VERSION, 0x10))
    return HostIdentity(HOST, (make(HOST, AUTHORITY),), (VERSION, 0x10))


def access(variant: Variant, **options: object) -> CertifiedAccess:
    host = identity() if variant.host_is_proved else None
    values: dict[str, object] = {"host": host, "card_key": CARD.public_key(), **options}
    return CertifiedAccess(variant, VERSION, **values)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize("variant", [Variant.SCP11A, Variant.SCP11C])
@pytest.mark.parametrize("level", [0x11, 0x33])
@pytest.mark.parametrize("key_length", [16, 24, 32])
@pytest.mark.parametrize("s16", [False, True])
def test_a_certified_host_manages_the_card(variant: Variant, level: int, key_length: int, *, s16: bool) -> None:
    connection = connected(made(EVERYTHING | (0x40 if s16 else 0)))
    session = open_certified(connection, access(variant, level=level, key_length=key_length))
    assert (session.protocol, session.level) == (0x11, level)
    install_notebook(session)
    assert [row.aid for row in session.get_status(StatusScope.APPLICATIONS)] == [INSTANCE]
    session.put_keys(StaticKeys(0x31, *AES_KEYS), replace=0)
    session.delete(INSTANCE)
    assert SecureSession.open(connection, StaticKeys(0x31, *AES_KEYS)).level == 0x33


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chain", [False, True])
@pytest.mark.parametrize("link", [PortConnection, ShortConnection])
def test_certificates_of_both_forms_and_in_chains(form: str, link: type[PortConnection], *, chain: bool) -> None:
    session = open_certified(connected(made(), link), access(Variant.SCP11A, host=identity(form, chain=chain)))
    session.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=INSTANCE, parameters=bytes(400))
    assert session.get_status(StatusScope.APPLICATIONS)


def test_an_unknown_host_reads_and_manages_nothing() -> None:
    session = open_certified(connected(made()), access(Variant.SCP11B))
    assert session.transmit(CommandApdu(0x80, 0xCA, 0x00, 0x66, b"", 256)).data
    with pytest.raises(PersonalizationError, match=r"card-refused.*6982"):
        session.delete(INSTANCE)


@pytest.mark.parametrize("variant", Variant)
def test_another_card_is_noticed(variant: Variant) -> None:
    """SCP11b proves the card to anybody; a receipt of somebody else opens nothing."""
    with pytest.raises(PersonalizationError, match="scp11-receipt-wrong"):
        open_certified(connected(made()), access(variant, card_key=STRANGER.public_key()))


def test_a_host_that_the_card_does_not_know() -> None:
    host = HostIdentity(HOST, (x509_certificate(HOST, STRANGER),), (VERSION, 0x10))
    with pytest.raises(PersonalizationError, match=r"card-refused.*PERFORM SECURITY OPERATION.*6982"):
        open_certified(connected(made()), access(Variant.SCP11A, host=host))


def test_a_host_with_the_certificate_of_another() -> None:
    """The card agrees with the certified key, which this host does not hold."""
    host = HostIdentity(STRANGER, (x509_certificate(HOST, AUTHORITY),), (VERSION, 0x10))
    with pytest.raises(PersonalizationError, match="scp11-receipt-wrong"):
        open_certified(connected(made()), access(Variant.SCP11A, host=host))


@pytest.mark.parametrize(("implementation", "variant"), [(0x02, Variant.SCP11A), (0x01, Variant.SCP11B)])
def test_a_variant_that_the_card_does_not_offer(implementation: int, variant: Variant) -> None:
    connection = connected(made(implementation))
    sent = len(connection.sent)
    with pytest.raises(PersonalizationError, match="scp11-unsupported"):
        open_certified(connection, access(variant))
    assert {command[1] for command in connection.sent[sent:]} == {0xA4, 0xCA}


@pytest.mark.parametrize(
    "options", [{"level": 0x01}, {"key_length": 20}, {"host": None}, {"card_key": key(5, ec.SECP384R1()).public_key()}]
)
def test_what_does_not_fit_is_not_sent(options: dict[str, object]) -> None:
    connection = connected(made())
    with pytest.raises(PersonalizationError, match="scp11-keys-do-not-fit"):
        open_certified(connection, access(Variant.SCP11A, **options))
    assert {command[1] for command in connection.sent} == {0xA4, 0xCA}


# ---- the card's own certificates


def store(*certificates: bytes) -> bytes:
    return tlv.encode(0xBF21, b"".join(certificates))


@pytest.mark.parametrize("form", FORMS)
def test_the_card_proves_its_key_by_certificates(form: str) -> None:
    make = FORMS[form]
    card = made()
    connection = connected(card)
    session = SecureSession.open(connection, StaticKeys(0x30, *AES_KEYS))
    chain = make(MIDDLE, CARD_AUTHORITY, signs=True) + make(CARD, MIDDLE)
    data = tlv.encode(0xA6, tlv.encode(0x83, bytes((0x13, VERSION)))) + tlv.encode(0xBF21, chain)
    for number, start in enumerate(range(0, len(data), 200)):
        last = start + 200 >= len(data)
        session.transmit(CommandApdu(0x80, 0xE2, 0x90 if last else 0x10, number, data[start : start + 200]))
    known = access(Variant.SCP11B, card_key=None, card_authority=CARD_AUTHORITY.public_key())
    assert open_certified(connection, known).protocol == 0x11
    with pytest.raises(PersonalizationError, match=r"scp11-card-not-certified.*signature"):
        open_certified(connection, access(Variant.SCP11B, card_key=None, card_authority=STRANGER.public_key()))
    with pytest.raises(PersonalizationError, match="scp11-card-unknown"):
        open_certified(connection, access(Variant.SCP11B, card_key=None))


@pytest.mark.parametrize("form", FORMS)
def test_chains_that_prove_nothing(form: str) -> None:
    make, authority = FORMS[form], CARD_AUTHORITY.public_key()
    leaf = make(CARD, CARD_AUTHORITY)
    assert point(CARD) == certified_key(store(leaf), authority).public_bytes(
        Encoding.X962, PublicFormat.UncompressedPoint
    )
    for spoilt, reason in (
        (store(), "no certificate"),
        (b"", "malformed"),
        (store(leaf[:-1]), "malformed"),
        (store(b"\x04\x00"), "malformed"),
        (store(make(CARD, STRANGER)), "signature"),
        (store(make(MIDDLE, CARD_AUTHORITY, signs=True), make(CARD, STRANGER)), "signature"),
        (store(make(CARD, MIDDLE), make(MIDDLE, CARD_AUTHORITY, signs=True)), "signature"),
        (store(leaf[:-1] + bytes((leaf[-1] ^ 1,))), "signature"),
    ):
        with pytest.raises(PersonalizationError, match=f"scp11-card-not-certified.*{reason}"):
            certified_key(spoilt, authority)


def test_a_certificate_that_has_expired() -> None:
    authority = CARD_AUTHORITY.public_key()
    for leaf in (
        own_certificate(CARD, CARD_AUTHORITY, until="20240229"),
        x509_certificate(CARD, CARD_AUTHORITY, year=2024),
    ):
        with pytest.raises(PersonalizationError, match="expired"):
            certified_key(store(leaf), authority)
        found = certified_key(store(leaf), authority, dt.datetime(2023, 12, 31, tzinfo=dt.UTC))
        assert found.public_numbers() == CARD.public_key().public_numbers()


def test_pieces_of_a_certificate() -> None:
    """7.5: P1 +80 while more of this certificate comes, P2 +80 while another one does."""
    host = HostIdentity(HOST, (bytes(300), bytes(255)), (0x03, 0x10))
    assert [(command.p1, command.p2, len(command.data)) for command in certificate_commands(host)] == [
        (0x83, 0x90, 255),
        (0x03, 0x90, 45),
        (0x03, 0x10, 255),
    ]


def test_no_key_shows() -> None:
    begun = KeyAgreement(Variant.SCP11A, CARD.public_key(), VERSION, identity())
    assert repr(begun) == "KeyAgreement(SCP11A)"
    assert repr(identity()) == f"HostIdentity(authority=({VERSION}, 16))"
