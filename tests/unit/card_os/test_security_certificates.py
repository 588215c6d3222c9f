"""Terminals that sign: public keys of the card, chains of card-verifiable certificates, GENERAL AUTHENTICATE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from card_os.applet_api import (
    Context,
    Instruction,
    KeyAlgorithm,
    KeyUsage,
    Proof,
    authentication_instructions,
    create_certificate_date,
    create_key,
    dynamic_authentication_instructions,
    instruction_table,
)
from card_os.card import Card
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.errors import WrongData
from card_os.iso7816.tlv import encode
from card_os.port import Port
from card_os.security.sm2 import Sm2PrivateKey
from tests.doubles.secured_card import CONTENT, HOLDER, PIN, SecuredApplet, secured_card, secured_image, send

ROOT, MIDDLE, LEAF = (ec.derive_private_key(number, ec.SECP256R1()) for number in (101, 102, 103))
RSA_LEAF = rsa.generate_private_key(65537, 2048)
ECDSA: Final = bytes.fromhex("04007F00070202020203")
RSA_V15: Final = bytes.fromhex("04007F00070202020102")
ISSUER, TERMINAL_KIND = 0xC0, 0x00
MSE, PSO, EXTERNAL, GENERAL, READ = 0x22, 0x2A, 0x82, 0x86, 0xB0
CA_NAME, LEAF_NAME = b"CAZJ00001", b"TERM00001"


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def date(text: str) -> bytes:
    return bytes(int(digit) for digit in text)


def body(
    *,
    issuer: bytes = b"ROOT",
    holder: bytes = CA_NAME,
    key: bytes = encode(0x06, ECDSA) + encode(0x86, point(MIDDLE)),
    kind: int = ISSUER,
    roles: int = 0b1,
    effective: str = "260101",
    expiration: str = "301231",
    profile: bytes = b"\x00",
) -> bytes:
    authorization = encode(0x06, bytes.fromhex("88371E01")) + encode(0x53, bytes((kind,)) + roles.to_bytes(2, "big"))
    return encode(
        0x7F4E,
        encode(0x5F29, profile),
        encode(0x42, issuer),
        encode(0x7F49, key),
        encode(0x5F20, holder),
        encode(0x7F4C, authorization),
        encode(0x5F25, date(effective)),
        encode(0x5F24, date(expiration)),
    )


LEAF_KEY: Final = encode(0x06, ECDSA) + encode(0x86, point(LEAF))


def leaf(
    *,
    issuer: bytes = CA_NAME,
    key: bytes = LEAF_KEY,
    effective: str = "260101",
    expiration: str = "301231",
) -> bytes:
    return body(
        issuer=issuer, holder=LEAF_NAME, key=key, kind=TERMINAL_KIND, effective=effective, expiration=expiration
    )


def certificate(content: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    return content + encode(0x5F37, sign(key, content))


def anchor(context: Context) -> None:
    verify = KeyUsage.VERIFY
    create_key(context, 0x11, point(ROOT), usage=verify, algorithm=KeyAlgorithm.EC_P256_PUBLIC, role=1)
    create_key(context, 0x12, point(ROOT), usage=verify, algorithm=KeyAlgorithm.EC_P256_PUBLIC)
    create_key(
        context, 0x21, point(LEAF), usage=KeyUsage.TERMINAL, algorithm=KeyAlgorithm.EC_P256_PUBLIC, role=1, try_limit=3
    )
    create_key(context, 0xA0, (7).to_bytes(32), usage=KeyUsage.CHIP, algorithm=KeyAlgorithm.EC_P256_PRIVATE)
    create_key(context, 0x31, bytes(32), usage=KeyUsage.TERMINAL, role=2, try_limit=3)


@pytest.fixture(scope="module")
def master() -> NvmImage:
    return secured_image(anchor)


def started(image: NvmImage) -> Card:
    card = secured_card(image.fork().nvm(), SeededRandomness(9))
    card.contact.power_on()
    return card


@pytest.fixture
def port(master: NvmImage) -> Port:
    return started(master).contact


def name(port: Port, template: int, reference: bytes) -> int:
    return send(port, MSE, 0x8100 | template, encode(0x83, reference))[1]


def verify(port: Port, data: bytes) -> int:
    return send(port, PSO, 0x00BE, data)[1]


def chain(port: Port, first: bytes | None = None, second: bytes | None = None) -> tuple[int, ...]:
    """Statuses of naming the anchor, the issuer's certificate, naming the issuer, the terminal's, naming that."""
    return (
        name(port, 0xB6, b"\x11"),
        verify(port, first or certificate(body(), ROOT)),
        name(port, 0xB6, CA_NAME),
        verify(port, second or certificate(leaf(), MIDDLE)),
        name(port, 0xA4, LEAF_NAME),
    )


def authenticate(port: Port, reference: int, signed: Callable[[bytes], bytes]) -> int:
    challenge, _ = send(port, 0x84, ne=16)
    return send(port, EXTERNAL, reference, signed(b"permitcard terminal" + challenge))[1]


def test_a_chain_of_two_gives_the_role(port: Port) -> None:
    assert send(port, READ, 0x8100, ne=1)[1] == 0x6982
    assert chain(port) == (0x9000,) * 5
    assert authenticate(port, 0, lambda message: sign(LEAF, message)) == 0x9000
    assert send(port, READ, 0x8100, ne=2) == (CONTENT[:2], 0x9000)


def test_a_terminal_with_an_rsa_key(port: Port) -> None:
    modulus = RSA_LEAF.public_key().public_numbers().n.to_bytes(256, "big")
    key = encode(0x06, RSA_V15) + encode(0x81, modulus) + encode(0x82, b"\x01\x00\x01")
    assert chain(port, second=certificate(leaf(key=key), MIDDLE)) == (0x9000,) * 5
    assert authenticate(port, 0, lambda message: RSA_LEAF.sign(message, padding.PKCS1v15(), SHA256())) == 0x9000
    assert send(port, READ, 0x8100, ne=1)[1] == 0x9000


def test_certificates_are_gone_after_selection_and_after_restore(port: Port) -> None:
    assert chain(port) == (0x9000,) * 5
    assert send(port, MSE, 0xF301)[1] == 0x9000
    assert name(port, 0xA4, LEAF_NAME) == 0x6A88
    assert chain(port) == (0x9000,) * 5
    port.reset()
    assert name(port, 0xA4, LEAF_NAME) == 0x6A88
    assert authenticate(port, 0, lambda message: sign(LEAF, message)) == 0x6A88


def test_a_right_is_never_more_than_what_every_certificate_grants(port: Port) -> None:
    """The anchor has role 1; an issuer without it cannot hand it on."""
    assert chain(port, certificate(body(roles=0b10), ROOT)) == (0x9000,) * 5
    assert authenticate(port, 0, lambda message: sign(LEAF, message)) == 0x9000
    assert send(port, READ, 0x8100, ne=1)[1] == 0x6982


def test_every_role_can_be_granted() -> None:
    """Our own profile: a certificate has a bit for each of the sixteen key roles."""

    class TellingApplet(SecuredApplet):
        instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = {
            **SecuredApplet.instructions,
            **instruction_table(Instruction(0x10, "TELL PROOFS", lambda context, _: context.proofs.to_bytes(4, "big"))),
        }

    for role in (1, 8, 9, 16):

        def anchors(context: Context, role: int = role) -> None:
            algorithm = KeyAlgorithm.EC_P256_PUBLIC
            create_key(context, 0x11, point(ROOT), usage=KeyUsage.VERIFY, algorithm=algorithm, role=role)

        card = Card(secured_image(anchors).nvm(), [TellingApplet], randomness=SeededRandomness(9))
        card.contact.power_on()
        first, second = body(roles=0xFFFF), body(issuer=CA_NAME, holder=LEAF_NAME, key=LEAF_KEY, kind=0, roles=0xFFFF)
        assert chain(card.contact, certificate(first, ROOT), certificate(second, MIDDLE)) == (0x9000,) * 5
        assert authenticate(card.contact, 0, lambda message: sign(LEAF, message)) == 0x9000
        told, _ = send(card.contact, 0x10, ne=4)
        assert int.from_bytes(told, "big") == Proof.CONTACT | Proof.key(role)


BROKEN: Final = {
    "signed by another": (certificate(body(), LEAF), 0x6300),
    "a changed body": (certificate(body(), ROOT).replace(CA_NAME, b"CAZJ00002"), 0x6300),
    "a signature cut short": (body() + encode(0x5F37, sign(ROOT, body())[:-1]), 0x6300),
    "no signature": (body(), 0x6A80),
    "no body": (encode(0x5F37, bytes(64)), 0x6A80),
    "cut short": (certificate(body(), ROOT)[:-1], 0x6A80),
    "another profile": (certificate(body(profile=b"\x01"), ROOT), 0x6A80),
    "an issuer without a name": (certificate(body(issuer=b""), ROOT), 0x6A80),
    "an issuer's name of 17 bytes": (certificate(body(issuer=b"R" * 17), ROOT), 0x6A80),
    "roles of three bytes": (
        certificate(body().replace(encode(0x53, b"\xc0\x00\x01"), encode(0x53, b"\xc0\x00\x00\x01")), ROOT),
        0x6A80,
    ),
    "an authorization of somebody else": (
        certificate(body().replace(bytes.fromhex("88371E01"), bytes.fromhex("88371E02")), ROOT),
        0x6A80,
    ),
    "a name of one byte": (certificate(body(holder=b"A"), ROOT), 0x6A80),
    "a name of 17 bytes": (certificate(body(holder=b"A" * 17), ROOT), 0x6A80),
    "a point off the curve": (
        certificate(body(key=encode(0x06, ECDSA) + encode(0x86, b"\x04" + bytes(64))), ROOT),
        0x6A80,
    ),
    "an unknown algorithm": (
        certificate(body(key=encode(0x06, b"\x2a\x03") + encode(0x86, point(LEAF))), ROOT),
        0x6A80,
    ),
    "a kind that is reserved": (certificate(body(kind=0x80), ROOT), 0x6A80),
    "objects in another order": (
        certificate(encode(0x7F4E, body()[5:][3:] + body()[5:][:3]), ROOT),
        0x6A80,
    ),
    "no public key": (certificate(body(key=b""), ROOT), 0x6A80),
}


@pytest.mark.parametrize(("data", "sw"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_certificate_is_refused_and_leaves_nothing(port: Port, data: bytes, sw: int) -> None:
    assert name(port, 0xB6, b"\x11") == 0x9000
    assert verify(port, data) == sw
    assert name(port, 0xB6, CA_NAME) == 0x6A88
    assert port.last_error is not None


def test_a_certificate_needs_an_issuer(port: Port) -> None:
    good = certificate(body(), ROOT)
    assert verify(port, good) == 0x6985
    assert name(port, 0xB6, b"\x12") == 0x9000, "a key that verifies signatures, and no anchor"
    assert verify(port, good) == 0x6985
    assert name(port, 0xB6, b"\x13") == 0x6A88
    assert verify(port, good) == 0x6985


def test_a_terminal_issues_nothing_and_an_issuer_does_not_authenticate(port: Port) -> None:
    assert chain(port) == (0x9000,) * 5
    assert name(port, 0xB6, LEAF_NAME) == 0x6A88
    assert name(port, 0xA4, CA_NAME) == 0x6A88
    assert authenticate(port, 0, lambda message: sign(MIDDLE, message)) == 0x6A88


def test_the_name_of_the_issuer_has_to_fit(port: Port) -> None:
    other = certificate(leaf(issuer=b"CAZJ00002"), MIDDLE)
    assert chain(port, second=other) == (0x9000, 0x9000, 0x9000, 0x6300, 0x6A88)


def test_a_certificate_begins_before_its_issuer_ends(port: Port) -> None:
    late = certificate(leaf(effective="310101", expiration="320101"), MIDDLE)
    assert chain(port, second=late) == (0x9000, 0x9000, 0x9000, 0x6A80, 0x6A88)
    on_its_last_day = certificate(leaf(effective="301231", expiration="320101"), MIDDLE)
    assert chain(port, second=on_its_last_day) == (0x9000,) * 5


@pytest.mark.parametrize("wrong", [b"", date("26060"), date("2606011"), b"260601"])
def test_a_date_has_six_digits_one_a_byte(wrong: bytes) -> None:
    def dated(context: Context) -> None:
        with pytest.raises(WrongData):
            create_certificate_date(context, wrong)

    secured_image(dated)


def test_dates_move_forward_only() -> None:
    def dated(context: Context) -> None:
        anchor(context)
        create_certificate_date(context, date("260601"))

    image = secured_image(dated)
    port = started(image).contact
    assert name(port, 0xB6, b"\x11") == 0x9000
    assert verify(port, certificate(body(expiration="260531"), ROOT)) == 0x6985
    assert verify(port, certificate(body(expiration="260601"), ROOT)) == 0x9000
    assert verify(port, certificate(body(effective="270101", expiration="280101"), ROOT)) == 0x9000
    assert verify(port, certificate(body(expiration="261231"), ROOT)) == 0x6985
    assert verify(port, certificate(leaf(effective="290101", issuer=b"ROOT"), ROOT)) == 0x9000
    assert verify(port, certificate(body(expiration="270101"), ROOT)) == 0x9000, "a terminal moves no date"


@pytest.mark.parametrize(
    ("changed", "sw"),
    [
        (lambda message: sign(MIDDLE, message), 0x63C2),
        (lambda message: sign(LEAF, message + b"\x00"), 0x63C2),
        (lambda message: sign(LEAF, message.removeprefix(b"permitcard terminal")), 0x63C2),
        (lambda message: sign(LEAF, message)[:-1], 0x6700),
        (lambda _: bytes(64), 0x63C2),
    ],
    ids=["another key", "another message", "no prefix", "cut short", "zeros"],
)
def test_a_public_key_of_the_card_counts_its_tries(port: Port, changed: Callable[[bytes], bytes], sw: int) -> None:
    assert authenticate(port, 0x21, changed) == sw
    assert authenticate(port, 0x21, lambda message: sign(LEAF, message)) == 0x9000
    assert send(port, READ, 0x8100, ne=1)[1] == 0x9000


SM2_LEAF: Final = Sm2PrivateKey((104).to_bytes(32))
P384_LEAF: Final = ec.derive_private_key(105, ec.SECP384R1())


def sign_p384(message: bytes) -> bytes:
    r, s = decode_dss_signature(P384_LEAF.sign(message, ec.ECDSA(SHA384())))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


SIGNERS: Final[Mapping[KeyAlgorithm, tuple[bytes, Callable[[bytes], bytes]]]] = {
    KeyAlgorithm.SM2_PUBLIC: (SM2_LEAF.public.point, lambda message: SM2_LEAF.sign(message, SeededRandomness(5))),
    KeyAlgorithm.EC_P384_PUBLIC: (point(P384_LEAF), sign_p384),
    KeyAlgorithm.RSA_PUBLIC: (
        RSA_LEAF.public_key().public_numbers().n.to_bytes(256, "big"),
        lambda message: RSA_LEAF.sign(message, padding.PKCS1v15(), SHA256()),
    ),
}


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_terminal_signs_with_every_kind_of_key(algorithm: KeyAlgorithm) -> None:
    """7816-4, 11.6.4: the signature is of this challenge and by this key, or it costs a try and gives nothing."""
    public, sign_with = SIGNERS[algorithm]

    def prepare(context: Context) -> None:
        create_key(context, 0x21, public, usage=KeyUsage.TERMINAL, algorithm=algorithm, role=1, try_limit=3)

    port = started(secured_image(prepare)).contact
    assert authenticate(port, 0x21, sign_with) == 0x9000
    assert send(port, READ, 0x8100, ne=1)[1] == 0x9000
    assert authenticate(port, 0x21, lambda message: sign_with(message[:-1] + bytes((message[-1] ^ 1,)))) == 0x63C2
    assert send(port, READ, 0x8100, ne=1)[1] == 0x6982
    assert authenticate(port, 0x21, lambda message: bytes(len(sign_with(message)))) == 0x63C1
    assert authenticate(port, 0x21, sign_with) == 0x9000


def test_a_wrong_signature_of_a_certified_key_gives_nothing(port: Port) -> None:
    assert chain(port) == (0x9000,) * 5
    assert authenticate(port, 0, lambda message: sign(MIDDLE, message)) == 0x6300
    assert send(port, READ, 0x8100, ne=1)[1] == 0x6982
    assert send(port, EXTERNAL, 0, sign(LEAF, b"permitcard terminal"))[1] == 0x6984


def test_general_authenticate_proves_the_card_and_the_terminal(port: Port) -> None:
    """7816-4, 11.6.5: 81 challenge, 82 response inside 7C."""
    challenge = bytes(range(16))
    plain, _ = send(port, 0x88, 0xA0, challenge, 256)
    wrapped = encode(0x7C, encode(0x81, challenge), encode(0x82))
    assert send(port, GENERAL, 0xA0, wrapped, 256) == (encode(0x7C, encode(0x82, plain)), 0x9000)
    asked, sw = send(port, GENERAL, 0x21, encode(0x7C, encode(0x81)), 256)
    assert (asked[:4], sw, len(asked)) == (bytes.fromhex("7C128110"), 0x9000, 20)
    response = encode(0x7C, encode(0x82, sign(LEAF, b"permitcard terminal" + asked[4:])))
    assert send(port, GENERAL, 0x21, response) == (b"", 0x9000)
    assert send(port, READ, 0x8100, ne=1)[1] == 0x9000
    assert send(port, GENERAL, 0x21, response)[1] == 0x6984


def test_general_authenticate_proves_the_card_to_those_that_internal_authenticate_would() -> None:
    """7816-4, 11.6.2 and 11.6.5: one function, one rule; a challenge of the card's and a terminal's proof are free."""

    class ReservedApplet(SecuredApplet):
        instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = {
            **SecuredApplet.instructions,
            **instruction_table(
                *authentication_instructions(internal=HOLDER), *dynamic_authentication_instructions(internal=HOLDER)
            ),
        }

    card = Card(secured_image(anchor).nvm(), [ReservedApplet])
    card.contact.power_on()
    port, challenge = card.contact, bytes(range(16))
    wrapped = encode(0x7C, encode(0x81, challenge), encode(0x82))
    assert send(port, 0x88, 0xA0, challenge, 256) == (b"", 0x6982)
    assert send(port, GENERAL, 0xA0, wrapped, 256) == (b"", 0x6982)
    asked, sw = send(port, GENERAL, 0x21, encode(0x7C, encode(0x81)), 256)
    assert sw == 0x9000
    response = encode(0x7C, encode(0x82, sign(LEAF, b"permitcard terminal" + asked[4:])))
    assert send(port, GENERAL, 0x21, response) == (b"", 0x9000)
    assert send(port, GENERAL, 0xA0, wrapped, 256) == (b"", 0x6982)
    assert send(port, 0x20, 0x81, PIN)[1] == 0x9000
    assert send(port, GENERAL, 0xA0, wrapped, 256)[1] == 0x9000


@pytest.mark.parametrize(
    ("p1p2", "data", "sw"),
    [
        (0x0121, "7C028100", 0x6A86),
        (0x0022, "7C028100", 0x6A88),
        (0x0021, "7C00", 0x6A80),
        (0x0021, "7C028200", 0x6A80),
        (0x0021, "7C028000", 0x6A80),
        (0x0021, "7C03810001", 0x6A80),
        (0x0021, "7D028100", 0x6A80),
        (0x00A0, "7C0C8104000000008200", 0x6A80),
        (0x00A0, "7C08810400000000" + "8200", 0x6700),
    ],
)
def test_other_dynamic_authentication_data_are_refused(port: Port, p1p2: int, data: str, sw: int) -> None:
    assert send(port, GENERAL, p1p2, bytes.fromhex(data), 256)[1] == sw
    assert send(port, GENERAL, p1p2, bytes.fromhex(data), 256, cla=0x10)[1] in (0x6985, 0x6A86)
