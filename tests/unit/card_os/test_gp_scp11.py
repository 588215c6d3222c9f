"""SCP11 on the card: published sessions, certificates of both forms, and every refusal (Amendment F)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from card_os.card import Card
from card_os.globalplatform import keys as card_keys
from card_os.globalplatform.certificates import parse_certificate
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import CURVES, DomainKey, KeyComponent, KeyType, point_of, private_key
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.globalplatform.scp11 import AgreementRequest, Scp11Channel, agree, derive_keys, fresh_scalar, open_channel
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import CardError, WrongData
from card_os.iso7816.status import StatusWord
from card_os.manufacture import manufacture
from test_vectors import Vector, load
from tests.doubles.channel_hosts import AES_KEYS, Scp03Host, cmac
from tests.doubles.issuer_card import PRODUCTION, boot

CURVE = CURVES[0]
EVERYTHING = 0x1B
VECTORS = load("scp11/published_sessions.json")


# ---- Published sessions


def run(vector: Vector) -> tuple[Scp11Channel, bytes]:
    """The card's end; the agreed secret is computed from the host's keys, which the publisher tells."""
    curve, parse = CURVES[vector.number("curve")], tlv.parse_all
    card_point = parse(vector.bytes("answer"))[0].value
    secret = agree(curve, vector.bytes("host_fresh_key"), card_point)
    secret += agree(curve, vector.bytes("host_key"), vector.bytes("card_key"))
    request = AgreementRequest.parse(vector.bytes("request"))
    return open_channel(
        request,
        vector.bytes("request"),
        secret=secret,
        card_point=card_point,
        key_version=3,
        authenticated=True,
        implementation=vector.number("implementation"),
    )


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.valid], ids=str)
def test_published_session(vector: Vector) -> None:
    channel, answer = run(vector)
    assert answer == vector.bytes("answer")
    plain = channel.unwrap(CommandApdu.parse(vector.bytes("command_1")))
    assert plain.encode() == vector.bytes("plain_command_1")
    response = vector.bytes("plain_response_1")
    data, sw = channel.wrap(response[:-2], StatusWord.parse(response))
    assert data + sw.encode() == vector.bytes("response_1")


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.valid], ids=str)
def test_published_certificates(vector: Vector) -> None:
    curve = CURVES[vector.number("curve")]
    card, host = (parse_certificate(vector.bytes(name)) for name in ("card_certificate", "host_certificate"))
    assert (card.point, card.curve, host.curve) == (vector.bytes("card_key"), curve, curve)
    assert host.point == point_of(private_key(curve, vector.bytes("host_key")).public_key())
    assert (host.agrees, host.signs) == (True, False)


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if not vector.valid], ids=str)
def test_spoilt_session(vector: Vector) -> None:
    if vector.number("refused") == 0:
        try:
            _, answer = run(vector)
        except WrongData:
            return
        assert answer != vector.bytes("answer")
        return
    channel, answer = run(vector)
    assert answer == vector.bytes("answer")
    with pytest.raises(CardError, match=r"MAC|protected"):
        channel.unwrap(CommandApdu.parse(vector.bytes("command_1")))


def test_only_published_requests_are_refused_for_their_form() -> None:
    """The spoilt requests are refused as such, and not only answered with another receipt."""
    spoilt = [vector for vector in VECTORS if "-request-" in vector.id]
    assert len(spoilt) == 6
    for vector in spoilt:
        with pytest.raises(WrongData):
            AgreementRequest.parse(vector.bytes("request"))


# ---- A card, and a host on bare primitives


class Party(NamedTuple):
    """A key pair."""

    scalar: bytes
    point: bytes


def party(number: int, reference: int = 0) -> Party:
    curve = CURVES[reference]
    scalar = number.to_bytes(curve.length, "big")
    return Party(scalar, point_of(private_key(curve, scalar).public_key()))


AUTHORITY, INTERMEDIATE, HOST, CARD_KEY, STRANGER = (party(number) for number in (11, 22, 33, 44, 55))
USAGES = {"signs": bytes.fromhex("82"), "agrees": bytes.fromhex("0080")}


def own_certificate(
    subject: Party,
    issuer: Party,
    *,
    usage: str = "agrees",
    serial: bytes = b"\x01\x02",
    extra: bytes = b"",
    curve: bytes = b"\xf0\x01\x00",
) -> bytes:
    """A certificate of GlobalPlatform's form."""
    key = tlv.encode(0x7F49, tlv.encode(0xB0, subject.point) + curve)
    body = b"".join(
        tlv.encode(tag, value)
        for tag, value in ((0x93, serial), (0x42, b"authority"), (0x5F20, b"subject"), (0x95, USAGES[usage]))
    )
    body += tlv.encode(0x5F24, bytes.fromhex("20991231")) + extra + key
    signature = private_key(CURVE, issuer.scalar).sign(body, ec.ECDSA(SHA256()))
    return tlv.encode(0x7F21, body + tlv.encode(0x5F37, signature))


def x509_certificate(
    subject: Party,
    issuer: Party,
    *,
    usage: str | None = "agrees",
    serial: int = 0x0102,
    authority: bytes = b"authority",
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host")])
    key = private_key(CURVE, subject.scalar).public_key()
    builder = x509.CertificateBuilder(name, name, key, serial)
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
    builder = builder.add_extension(x509.AuthorityKeyIdentifier(authority, None, None), critical=False)
    if usage is not None:
        agrees = usage == "agrees"
        flags = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=agrees,
            key_cert_sign=not agrees,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(flags, critical=True)
    return builder.sign(private_key(CURVE, issuer.scalar), SHA256()).public_bytes(Encoding.DER)


def ec_key(version: int, identifier: int, key_type: KeyType, value: bytes, reference: int = 0) -> DomainKey:
    parameters = KeyComponent(KeyType.EC_PARAMETERS, bytes((reference,)))
    return DomainKey(version, identifier, (KeyComponent(key_type, value), parameters))


def made(implementation: int = EVERYTHING, reference: int = 0) -> Card:
    """A card with an authority's key 10/03 and keys of its own 11, 13 and 15/03."""
    image = NvmImage.create()
    policy = ChannelPolicy(((Protocol.SCP03, 0x70), (Protocol.SCP11, implementation)))
    manufacture(image.nvm(), PRODUCTION, KeySet(0x30, *AES_KEYS), channel_policy=policy)
    card = boot(image)
    card.contact.power_on()
    card_key = party(44, reference).scalar
    keys = [ec_key(3, identifier, KeyType.EC_PRIVATE, card_key, reference) for identifier in (0x11, 0x13, 0x15)]
    authority = ec_key(3, 0x10, KeyType.EC_PUBLIC, AUTHORITY.point)
    card_keys.store_keys(card.platform.store, ISSUER_DOMAIN, [*keys, authority])
    return card


@pytest.fixture
def card() -> Card:
    return made()


def send(card: Card, header: str, data: bytes = b"") -> bytes:
    cla, ins, p1, p2 = bytes.fromhex(header)
    return card.contact.process(CommandApdu(cla, ins, p1, p2, data, 65_536 if len(data) > 255 else 256).encode())


def offer(card: Card, certificate: bytes, *, version: int = 3, identifier: int = 0x10) -> str:
    return send(card, f"802A{version:02X}{identifier:02X}", certificate).hex()


PARAMETERS = {0x11: 0x01, 0x13: 0x00, 0x15: 0x03}


def request(identifier: int, fresh: Party, *, usage: int = 0x3C, length: int = 16) -> bytes:
    template = bytes.fromhex(f"900211{PARAMETERS[identifier]:02X}9501{usage:02X}8001888101{length:02X}")
    return tlv.encode(0xA6, template) + tlv.encode(0x5F49, fresh.point)


class Scp11Host(Scp03Host):
    """A host of SCP11 after the key agreement; its messaging is that of SCP03."""

    def __init__(
        self,
        card: Card,
        identifier: int = 0x11,
        *,
        host: Party = HOST,
        card_point: bytes = CARD_KEY.point,
        usage: int = 0x3C,
        length: int = 16,
        s16: bool = False,
        reference: int = 0,
    ) -> None:
        self.send, self.size, self.count = card.contact.process, 16 if s16 else 8, 0
        curve, fresh = CURVES[reference], party(77, reference)
        data = request(identifier, fresh, usage=usage, length=length)
        ins = 0x88 if identifier == 0x13 else 0x82
        answer = send(card, f"80{ins:02X}03{identifier:02X}", data)
        self.sw = answer[-2:]
        if self.sw != b"\x90\x00":
            return
        point, receipt = (item.value for item in tlv.parse_all(answer[:-2]))
        second = fresh if identifier == 0x13 else host
        secret = agree(curve, fresh.scalar, point) + agree(curve, second.scalar, card_point)
        keys = derive_keys(secret, usage, length)
        assert receipt == cmac(keys.receipt, data + tlv.encode(0x5F49, point))
        self.s_enc, self.s_mac, self.s_rmac, self.dek = keys.session
        self.chain = receipt
        self.level = self.response_level = {0x3C: 0x33, 0x34: 0x11}[usage]
        self.card_point = point


GET_STATUS = "80F28002024F0000"


@pytest.mark.parametrize("identifier", [0x11, 0x15])
@pytest.mark.parametrize("usage", [0x34, 0x3C])
@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("s16", [False, True])
def test_a_certified_host_manages_the_card(identifier: int, usage: int, length: int, *, s16: bool) -> None:
    card = made(EVERYTHING | (0x40 if s16 else 0))
    assert offer(card, own_certificate(HOST, AUTHORITY)) == "9000"
    host = Scp11Host(card, identifier, usage=usage, length=length, s16=s16)
    assert (host.card_point == CARD_KEY.point) is (identifier == 0x15)
    for _ in range(2):
        assert host.transmit(GET_STATUS).endswith("9000")
    assert host.transmit("80CA004200") == "6A88"


@pytest.mark.parametrize(
    ("parameter", "sw"), [(0x19, "9000"), (0xF9, "9000"), (0x05, "6a80"), (0x03, "6a80"), (0x00, "6a80")]
)
def test_the_parameter_names_the_variant(card: Card, parameter: int, sw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its low three bits do; libglobalplatform puts those of `i` into the others; the receipt covers all."""
    monkeypatch.setitem(PARAMETERS, 0x11, parameter)
    assert offer(card, own_certificate(HOST, AUTHORITY)) == "9000"
    host = Scp11Host(card)
    assert host.sw.hex() == sw
    assert sw != "9000" or host.transmit(GET_STATUS).endswith("9000")


@pytest.mark.parametrize(
    "template",
    [
        "9003110000 95013C 800188 810110",
        "900111 95013C 800188 810110",
        "90021200 95013C 800188 810110",
        "90021100 950130 800188 810110",
        "90021100 95023C3C 800188 810110",
        "90021100 9500 800188 810110",
        "90021100 95013C 800180 810110",
        "90021100 95013C 80028888 810110",
        "90021100 95013C 800188 810111",
        "90021100 95013C 800188 81021010",
        "90021100 95013C 800188",
        "95013C 90021100 800188 810110",
        "90021100 95013C 800188 810110 810110",
    ],
)
def test_other_requests_for_a_key_agreement_are_refused(card: Card, template: str) -> None:
    """Amendment F, 7.6.2: the objects of A6 in their order, a level and keys that the card offers."""
    point = tlv.encode(0x5F49, party(77, 0).point)
    good = bytes.fromhex("90021100 95013C 800188 810110")
    for data in (
        tlv.encode(0xA6, bytes.fromhex(template)) + point,
        tlv.encode(0xA7, good) + point,
        tlv.encode(0xA6, good) + tlv.encode(0x5F48, party(77, 0).point),
        tlv.encode(0xA6, good),
        tlv.encode(0xA6, good) + point + point,
        tlv.encode(0xA6, good) + tlv.encode(0x5F49, party(77, 0).point[:-1]),
    ):
        assert send(card, "80880313", data).hex() == "6a80"
    assert send(card, "80880313", tlv.encode(0xA6, good) + point)[-2:] == b"\x90\x00"


@pytest.mark.parametrize("reference", sorted(CURVES))
def test_on_every_curve(reference: int) -> None:
    card = made(reference=reference)
    host = Scp11Host(card, 0x13, card_point=party(44, reference).point, reference=reference)
    assert host.transmit("80CA006600").endswith("9000")


def test_an_unknown_host_manages_nothing(card: Card) -> None:
    """SCP11b authenticates the card only."""
    host = Scp11Host(card, 0x13)
    assert host.transmit("80CA006600").endswith("9000")
    for command in (GET_STATUS, "80D8000103010203", "80E2900003420111", "80E40000024F0000", "80F0800F00"):
        assert host.transmit(command) == "6982"
    assert host.transmit("80CA006600").endswith("9000")


def test_a_session_puts_keys_under_its_own_key(card: Card) -> None:
    assert offer(card, own_certificate(HOST, AUTHORITY)) == "9000"
    host = Scp11Host(card)
    key = bytes(range(16))
    check = b"\x03" + bytes.fromhex("C35280")
    data = b"\x40\x88\x10" + host.encrypt(key) + check
    assert host.transmit(f"80D80005{len(data):02X}{data.hex()}") == "40C352809000"
    stored = card_keys.load_key(card.platform.store, ISSUER_DOMAIN, 0x40, 5)
    assert stored is not None
    assert stored.value == key


@pytest.mark.parametrize("certificate", [own_certificate(HOST, AUTHORITY), x509_certificate(HOST, AUTHORITY)])
@pytest.mark.parametrize("cut", ["P1", "class"])
def test_a_certificate_in_pieces(card: Card, certificate: bytes, cut: str) -> None:
    """Bit 8 of P1, or command chaining, or both as one host in the field does."""
    pieces = [certificate[at : at + 100] for at in range(0, len(certificate), 100)]
    for piece in pieces[:-1]:
        assert send(card, "802A8310" if cut == "P1" else "902A8310", piece).hex() == "9000"
        assert Scp11Host(card, 0x13).sw.hex() == "9000"
        card.contact.process(bytes.fromhex("00A4040000"))
        break
    for piece in pieces[:-1]:
        assert send(card, "802A8310" if cut == "P1" else "902A8310", piece).hex() == "9000"
    assert send(card, "802A0310", pieces[-1]).hex() == "9000"
    assert Scp11Host(card).transmit(GET_STATUS).endswith("9000")


@pytest.mark.parametrize("make", [own_certificate, x509_certificate])
def test_a_chain_of_certificates(card: Card, make: Callable[..., bytes]) -> None:
    assert offer(card, make(INTERMEDIATE, AUTHORITY, usage="signs"), identifier=0x90) == "9000"
    assert send(card, "80820311", request(0x11, party(77))).hex() == "6985"
    assert offer(card, make(INTERMEDIATE, AUTHORITY, usage="signs"), identifier=0x90) == "9000"
    assert offer(card, make(HOST, INTERMEDIATE)) == "9000"
    assert Scp11Host(card).transmit(GET_STATUS).endswith("9000")


def test_a_domain_without_chains() -> None:
    card = made(0x01)
    chained = own_certificate(INTERMEDIATE, AUTHORITY, usage="signs")
    assert offer(card, chained, identifier=0x90) == "6985"
    assert offer(card, own_certificate(HOST, AUTHORITY)) == "9000"


def test_the_card_finds_the_key_of_an_authority(card: Card) -> None:
    certificate = x509_certificate(HOST, AUTHORITY)
    assert offer(card, certificate, version=0, identifier=0) == "6a88"
    host = Scp03Host(card.contact.process)
    host.open(0x00)
    assert store(host, "A6", "8001004209" + b"authority".hex() + "83021003") == "9000"
    assert offer(card, certificate, version=0, identifier=0) == "9000"
    assert Scp11Host(card).transmit(GET_STATUS).endswith("9000")
    other = x509_certificate(HOST, AUTHORITY, authority=b"another")
    assert offer(card, other, version=0, identifier=0) == "6a88"


@pytest.mark.parametrize(
    ("certificate", "sw"),
    [
        (own_certificate(HOST, STRANGER), "6982"),
        (x509_certificate(HOST, STRANGER), "6982"),
        (own_certificate(HOST, AUTHORITY, usage="signs"), "6982"),
        (x509_certificate(HOST, AUTHORITY, usage="signs"), "6982"),
        (x509_certificate(HOST, AUTHORITY, usage=None), "9000"),
        (own_certificate(HOST, AUTHORITY, extra=tlv.encode(0x53, b"x")), "9000"),
        (own_certificate(HOST, AUTHORITY, extra=tlv.encode(0xBF20, b"")), "6a80"),
        (own_certificate(HOST, AUTHORITY, curve=b""), "6a80"),
        (own_certificate(HOST, AUTHORITY, curve=b"\xf0\x01\x00" + tlv.encode(0xB1, bytes(32))), "6a80"),
        (own_certificate(HOST, AUTHORITY)[:-1], "6a80"),
        (own_certificate(HOST, AUTHORITY) + b"\x00", "6a80"),
        (x509_certificate(HOST, AUTHORITY)[:-1], "6a80"),
        (b"\x30\x03\x02\x01\x01", "6a80"),
        (b"\x7f\x21\x00", "6a80"),
        (b"\x00", "6a80"),
        (b"", "6a80"),
    ],
)
def test_certificates_that_are_refused(card: Card, certificate: bytes, sw: str) -> None:
    assert offer(card, certificate) == sw
    assert Scp11Host(card).sw.hex() == ("9000" if sw == "9000" else "6985")


@pytest.mark.parametrize("make", [own_certificate, x509_certificate])
def test_a_certificate_with_any_wrong_byte_is_no_fault(make: Callable[..., bytes]) -> None:
    """Whatever is wrong in it, it is malformed, or what was signed is another."""
    whole = make(HOST, AUTHORITY)
    refused = 0
    for at in range(len(whole)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            spoilt = whole[:at] + bytes((whole[at] ^ flip,)) + whole[at + 1 :]
            try:
                certificate = parse_certificate(spoilt)
            except WrongData:
                refused += 1
                continue
            assert not certificate.is_signed_by(CURVE, AUTHORITY.point) or certificate.signed == whole_signed(whole)
    assert refused


def whole_signed(whole: bytes) -> bytes:
    return parse_certificate(whole).signed


def test_keys_of_authorities_that_are_not_there(card: Card) -> None:
    assert offer(card, own_certificate(HOST, AUTHORITY), version=4) == "6a88"
    assert offer(card, own_certificate(HOST, AUTHORITY), identifier=0x11) == "6a88"
    assert offer(card, bytes(250)) == "6a80"
    answer = ""
    for _ in range(40):
        answer = send(card, "802A8310", bytes(250)).hex()
        if answer != "9000":
            break
    assert answer == "6a84"


def test_a_certificate_serves_once_and_only_while_the_domain_is_selected(card: Card) -> None:
    offer(card, own_certificate(HOST, AUTHORITY))
    assert Scp11Host(card).sw.hex() == "9000"
    card.contact.process(bytes.fromhex("00A4040000"))
    assert Scp11Host(card).sw.hex() == "6985"
    offer(card, own_certificate(HOST, AUTHORITY))
    card.contact.process(bytes.fromhex("00A4040000"))
    assert Scp11Host(card).sw.hex() == "6985"


def test_a_certificate_does_not_replace_the_key(card: Card) -> None:
    """Who has the certificate but not the key gets a session that it cannot speak in."""
    offer(card, own_certificate(HOST, AUTHORITY))
    with pytest.raises(AssertionError):
        Scp11Host(card, host=STRANGER)
    assert card.contact.process(bytes.fromhex(GET_STATUS)).hex() == "6982"


@pytest.mark.parametrize(
    ("ins", "p1", "p2", "sw"),
    [
        (0x88, 3, 0x11, "6a88"),
        (0x82, 3, 0x13, "6a88"),
        (0x82, 4, 0x11, "6a88"),
        (0x82, 3, 0x10, "6a88"),
        (0x82, 3, 0x12, "6a88"),
        (0x88, 3, 0x15, "6a88"),
    ],
)
def test_keys_of_the_card_that_are_not_there(card: Card, ins: int, p1: int, p2: int, sw: str) -> None:
    offer(card, own_certificate(HOST, AUTHORITY))
    assert send(card, f"80{ins:02X}{p1:02X}{p2:02X}", request(0x11, party(77))).hex() == sw


def test_a_request_for_another_variant_or_curve(card: Card) -> None:
    offer(card, own_certificate(HOST, AUTHORITY))
    assert send(card, "80820311", request(0x15, party(77))).hex() == "6a80"
    offer(card, own_certificate(HOST, AUTHORITY))
    assert send(card, "80820311", request(0x11, party(77, 3))).hex() == "6a80"
    offer(card, own_certificate(HOST, AUTHORITY))
    off_curve = Party(HOST.scalar, HOST.point[:-1] + bytes((HOST.point[-1] ^ 1,)))
    assert send(card, "80820311", request(0x11, off_curve)).hex() == "6a80"
    other = made(reference=3)
    offer(other, own_certificate(HOST, AUTHORITY))
    assert send(other, "80820311", request(0x11, party(77, 3))).hex() == "6a80"


@pytest.mark.parametrize(("implementation", "identifier"), [(0x12, 0x11), (0x11, 0x13), (0x03, 0x15)])
def test_variants_that_are_not_offered(implementation: int, identifier: int) -> None:
    card = made(implementation)
    offer(card, own_certificate(HOST, AUTHORITY))
    assert Scp11Host(card, identifier).sw.hex() == "6a88"
    assert offer(made(0x02), own_certificate(HOST, AUTHORITY)) == "6985"


# ---- What is attached to keys


def store(host: Scp03Host, *objects: str) -> str:
    """STORE DATA of objects, tag and value in turn."""
    pairs = zip(objects[::2], objects[1::2], strict=True)
    data = b"".join(tlv.encode(int(tag, 16), bytes.fromhex(value)) for tag, value in pairs)
    return host.transmit(f"80E29000{len(data):02X}{data.hex()}")


@pytest.fixture
def manager(card: Card) -> Scp03Host:
    host = Scp03Host(card.contact.process)
    host.open(0x00)
    return host


def test_certificates_are_told_as_they_were_stored(card: Card, manager: Scp03Host) -> None:
    certificate = own_certificate(CARD_KEY, AUTHORITY)
    assert store(manager, "A6", "83021303", "BF21", certificate.hex()) == "9000"
    asked = bytes.fromhex("A60483021303")
    answer = tlv.encode(0xBF21, certificate) + b"\x90\x00"
    assert send(card, "80CABF21", asked) == answer
    assert send(card, "80CABF21", bytes.fromhex("A60483021103")).hex() == "6a88"
    for malformed in ("A603830213", "A60483021303FF", "A504830213", "A60482021303", ""):
        assert send(card, "80CABF21", bytes.fromhex(malformed)).hex() in {"6a80", "6a88"}
    assert store(manager, "A6", "83021303", "BF21", "") == "9000"
    assert send(card, "80CABF21", asked).hex() == "6a88"


def test_authorities_are_told(card: Card, manager: Scp03Host) -> None:
    for tag in ("FF33", "FF34"):
        assert send(card, f"80CA{tag}").hex() == "6a88"
    assert store(manager, "A6", "8001004203AABBCC83021003") == "9000"
    assert store(manager, "A6", "8001014203DDEEFF83021303") == "9000"
    assert send(card, "80CAFF33").hex() == "ff33094203aabbcc830210039000"
    assert send(card, "80CAFF34").hex() == "ff34094203ddeeff830213039000"


def test_the_key_of_an_authority_is_told(card: Card, manager: Scp03Host) -> None:
    """GET DATA 0083, as libglobalplatform asks before it brings a certificate; no tag is 6A88 always."""
    assert send(card, "80CA0083", bytes.fromhex("A6054203AABBCC")).hex() == "6a88"
    assert store(manager, "A6", "8001004203AABBCC83021003") == "9000"
    assert store(manager, "A6", "8001014203DDEEFF83021303") == "9000"
    assert send(card, "80CA0083", bytes.fromhex("A6054203AABBCC")).hex() == "830210039000"
    assert send(card, "80CA0083", bytes.fromhex("A6054203DDEEFF")).hex() == "6a88"
    for malformed in ("", "A600", "A6054203AABB", "A705420AAABBCC", "A6058303AABBCC", "A60A4203AABBCC4203AABBCC"):
        assert send(card, "80CA0083", bytes.fromhex(malformed)).hex() == "6a80"
    assert send(card, "80CA0084", bytes.fromhex("A6054203AABBCC")).hex() == "6a88"
    assert send(card, "80CAFF33", bytes.fromhex("A6054203AABBCC")).hex() == "6700"


def test_an_allowlist_lets_in_what_is_on_it(card: Card, manager: Scp03Host) -> None:
    assert store(manager, "A6", "83021003", "70", "930203049301019303000102") == "9000"
    card.contact.process(bytes.fromhex("00A4040000"))
    assert offer(card, own_certificate(HOST, AUTHORITY, serial=b"\x05")) == "6982"
    assert offer(card, own_certificate(HOST, AUTHORITY, serial=b"\x03\x04")) == "9000"
    assert offer(card, x509_certificate(HOST, AUTHORITY, serial=0x0102)) == "9000"
    assert offer(card, x509_certificate(HOST, AUTHORITY, serial=0x0103)) == "6982"
    between = own_certificate(INTERMEDIATE, AUTHORITY, usage="signs", serial=b"\x05")
    for serial, sw in ((b"\x03\x04", "9000"), (b"\x06", "6982")):  # of hosts, not of those that certify them
        assert offer(card, between, identifier=0x90) == "9000"
        assert offer(card, own_certificate(HOST, INTERMEDIATE, serial=serial)) == sw
    host = Scp03Host(card.contact.process)
    host.open(0x00)
    assert store(host, "A6", "83021003", "70", "") == "9000"
    assert offer(card, own_certificate(HOST, AUTHORITY, serial=b"\x05")) == "9000"


@pytest.mark.parametrize(
    ("objects", "sw"),
    [
        (("A6", "83021104", "70", "930101"), "6A88"),
        (("A6", "830211", "70", "930101"), "6A80"),
        (("A6", "8303110303", "70", "930101"), "6A80"),
        (("A6", "83021103"), "6A80"),
        (("A6", "83021103", "70", "930101", "70", "930101"), "6A80"),
        (("A6", "83021103", "70", "940101"), "6A80"),
        (("A6", "83021103", "70", "9300"), "6A80"),
        (("A6", "83021103", "70", "93"), "6A80"),
        (("A6", "83021103", "71", ""), "6A80"),
        (("A6", "83021103", "BF21", "0102"), "6A80"),
        (("A6", "83021103", "BF21", "30"), "6A80"),
        (("A6", "80010242018302110384"), "6A80"),
        (("A6", "8001024201AA83021103"), "6A80"),
        (("A6", "80010083021103"), "6A80"),
        (("A6", "8001004201AA83021103", "70", "930101"), "6A80"),
        (("A6", "8001004201AA84010083021103"), "6A80"),
    ],
)
def test_store_data_for_keys_refuses(card: Card, manager: Scp03Host, objects: tuple[str, ...], sw: str) -> None:
    before = card.platform.store.free
    assert store(manager, *objects) == sw
    assert card.platform.store.free == before


def test_what_is_attached_goes_with_the_key(card: Card, manager: Scp03Host) -> None:
    free = card.platform.store.free
    key = ec_key(0x22, 0x10, KeyType.EC_PUBLIC, AUTHORITY.point)
    card_keys.store_keys(card.platform.store, ISSUER_DOMAIN, [key])
    store(manager, "A6", "83021022", "70", "930101")
    store(manager, "A6", "8001004201AA83021022")
    assert manager.transmit("80E4000003D2012200") == "009000"
    assert card.platform.store.free == free
    assert send(card, "80CAFF33").hex() == "6a88"


# ---- Values


def test_fresh_keys_follow_from_the_source() -> None:
    """Same source, same key; 521 bits are cut to size."""
    for curve in CURVES.values():
        first, second = (fresh_scalar(curve, SeededRandomness(b"seed")) for _ in range(2))
        assert first == second
        assert len(first) == curve.length
        private_key(curve, first)


def test_no_key_shows(card: Card) -> None:
    keys = derive_keys(b"secret" * 8, 0x3C, 16)
    host = Scp11Host(card, 0x13)
    text = repr(keys) + repr(keys.session) + repr(AgreementRequest.parse(request(0x11, party(77))))
    assert keys.receipt.hex() not in text
    assert repr(keys.session.enc)[2:-1] not in text
    assert host.s_enc.hex() not in text
