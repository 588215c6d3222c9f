"""Delegated management with tokens and receipts, DAPs, ciphered load files, with every kind of key (GPC 2.3.1, C)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from card_os.card import Card
from card_os.globalplatform.key_types import DomainKey, KeyComponent, KeyType
from card_os.globalplatform.keys import store_keys
from card_os.globalplatform.management_keys import KeyPurpose
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.security.block_ciphers import BlockCipher, cbc_encrypt, pad, retail_mac
from card_os.security.cryptography import cmac
from personalization.globalplatform import commands
from personalization.globalplatform.session import SecureSession
from tests.doubles.domain_card import (
    BANK,
    BANK_KEYS,
    DELEGATE,
    DOMAIN_MODULE,
    DOMAIN_PACKAGE,
    LOADED_MODULE,
    LOADED_PACKAGE,
    PARTNER,
    PARTNER_KEYS,
    PLAIN_DOMAIN,
    POLICE,
    POLICE_KEYS,
    answers,
    boot,
    delete_command,
    domain_session,
    entry,
    extradite_command,
    fields,
    install_command,
    issuer_session,
    load_commands,
    load_request,
    make_domain,
    powered,
    status_command,
    sw,
    update_command,
)
from tests.doubles.issuer_card import DOMAIN, INSTANCE, MODULE, PACKAGE, PortConnection
from tests.doubles.load_files import cap_components

REFUSED = SW.CONDITIONS_NOT_SATISFIED
BLOCK = cap_components(LOADED_PACKAGE, [LOADED_MODULE], code=333)
DIGEST = hashlib.sha512(BLOCK).digest()


class Signer(NamedTuple):
    """A key of a kind: what the card gets, and how its owner signs."""

    components: tuple[KeyComponent, ...]
    sign: Callable[[bytes], bytes]
    shortest: str

    def key(self, purpose: KeyPurpose) -> DomainKey:
        return DomainKey(purpose, 1, self.components)


def _symmetric(kind: KeyType, key: bytes, shortest: str) -> Signer:
    def sign(data: bytes) -> bytes:
        return cmac(key, data) if kind is KeyType.AES else retail_mac(key, pad(data, 8))

    return Signer((KeyComponent(kind, key),), sign, shortest)


@cache
def _rsa(bits: int) -> Signer:
    private = rsa.generate_private_key(65537, bits)
    numbers = private.public_key().public_numbers()

    def sign(data: bytes) -> bytes:
        if bits == 1024:
            return private.sign(data, padding.PKCS1v15(), SHA1())  # noqa: S303 - B.3.1.1
        return private.sign(data, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())

    modulus = KeyComponent(KeyType.RSA_MODULUS, numbers.n.to_bytes(bits // 8, "big"))
    exponent = KeyComponent(KeyType.RSA_EXPONENT, numbers.e.to_bytes(3, "big"))
    return Signer((modulus, exponent), sign, "sha1" if bits == 1024 else "sha256")


def _ec(curve: ec.EllipticCurve, reference: int, digest: HashAlgorithm, shortest: str) -> Signer:
    private = ec.generate_private_key(curve)
    length = curve.key_size // 8

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")

    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    components = (
        KeyComponent(KeyType.EC_PUBLIC, point),
        KeyComponent(KeyType.EC_PARAMETERS, bytes((reference,))),
    )
    return Signer(components, sign, shortest)


SIGNERS: dict[str, Callable[[], Signer]] = {
    "DES": lambda: _symmetric(KeyType.DES, bytes(range(16)), "sha1"),
    "AES-128": lambda: _symmetric(KeyType.AES, bytes(range(16)), "sha256"),
    "AES-192": lambda: _symmetric(KeyType.AES, bytes(range(24)), "sha384"),
    "AES-256": lambda: _symmetric(KeyType.AES, bytes(range(32)), "sha512"),
    "RSA-1024": lambda: _rsa(1024),
    "RSA-2048": lambda: _rsa(2048),
    "P-256": lambda: _ec(ec.SECP256R1(), 0, SHA256(), "sha256"),
    "P-384": lambda: _ec(ec.SECP384R1(), 1, SHA384(), "sha384"),
}
AES = SIGNERS["AES-128"]()


def give(card: Card, aid: bytes, signer: Signer, purpose: KeyPurpose) -> None:
    store_keys(card.platform.store, entry(card, aid).owner, [signer.key(purpose)])


def signed(command: CommandApdu, signer: Signer) -> CommandApdu:
    """An INSTALL command with a token; it ends with the length of none."""
    body = command.data[:-1]
    length = bytes((len(body),)) if len(body) < 256 else b"\x00" + len(body).to_bytes(2, "big")
    token = signer.sign(bytes((command.p1, command.p2)) + length + body)
    return command._replace(data=body + tlv.encode_length(len(token)) + token)


def signed_delete(command: CommandApdu, signer: Signer) -> CommandApdu:
    token = signer.sign(bytes((command.p1, command.p2, len(command.data))) + command.data)
    return command._replace(data=command.data + tlv.encode(0x9E, token))


@pytest.fixture
def card() -> Card:
    return boot()


@pytest.fixture
def connection(card: Card) -> PortConnection:
    """A card with a delegated domain and a token key of AES."""
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, DELEGATE)
    give(card, DOMAIN, AES, KeyPurpose.TOKEN)
    return connection


def bank(connection: PortConnection) -> SecureSession:
    return domain_session(connection, BANK, BANK_KEYS)


SUBDOMAIN = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN)


# ---- tokens, C.4


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_token_of_every_kind_of_key(card: Card, kind: str) -> None:
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, DELEGATE)
    signer = SIGNERS[kind]()
    give(card, DOMAIN, signer, KeyPurpose.TOKEN)
    good = signed(SUBDOMAIN, signer)
    session = bank(connection)
    assert sw(session, good._replace(data=good.data[:-1] + bytes((good.data[-1] ^ 1,)))) == 0x6982
    assert sw(session, good) == SW.OK
    assert entry(card, PARTNER).domain == entry(card, BANK).owner


def test_a_token_is_for_one_command(connection: PortConnection) -> None:
    """C.4: P1, P2, names, privileges and parameters are signed; another use of it is refused."""
    good = signed(SUBDOMAIN, AES)
    session = bank(connection)
    for wrong in (
        good._replace(p1=0x04),
        good._replace(data=good.data.replace(PARTNER, POLICE)),
        good._replace(data=good.data.replace(PLAIN_DOMAIN, b"\x80\x80\x40")),
    ):
        assert sw(session, wrong) == SW.SECURITY_STATUS_NOT_SATISFIED
    assert sw(session, good) == SW.OK


def test_every_deed_needs_its_token(card: Card, connection: PortConnection) -> None:
    """9.1.3.3: loading, installation, making selectable, extradition, registry update, deletion."""
    session = bank(connection)
    deeds = [
        load_request(LOADED_PACKAGE, b"", DIGEST),
        install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE, p1=0x04),
        commands.make_selectable(INSTANCE),
        update_command(INSTANCE, b"", bytes.fromhex("EF03CF0140")),
        extradite_command(BANK, INSTANCE),
    ]
    for command in deeds:
        assert sw(session, command) == REFUSED
        assert sw(session, signed(command, AES)) == SW.OK, command
        if command.p1 == 0x02:
            assert answers(session, load_commands(tlv.encode(0xC4, BLOCK)))[-1] == SW.OK
    for command in (delete_command(INSTANCE), delete_command(LOADED_PACKAGE)):
        assert sw(session, command) == REFUSED
        assert sw(session, signed_delete(command, AES)) == SW.OK


def test_a_token_holds_the_load_file_to_its_hash(connection: PortConnection) -> None:
    """C.4.1: the hash is mandatory with a token, and the loaded file has it."""
    session = bank(connection)
    assert sw(session, signed(load_request(LOADED_PACKAGE), AES)) == SW.WRONG_DATA
    assert sw(session, signed(load_request(LOADED_PACKAGE, b"", DIGEST), AES)) == SW.OK
    other = cap_components(LOADED_PACKAGE, [LOADED_MODULE], code=334)
    assert answers(session, load_commands(tlv.encode(0xC4, other)))[-1] == SW.WRONG_DATA


def test_a_token_that_names_its_verifier(card: Card, connection: PortConnection) -> None:
    """11.5.2.3.7: B6 names the verifying domain by its numbers 42 and 45, and the token by 93."""
    issuer_session(connection).transmit(CommandApdu(0x80, 0xE2, 0x90, 0, bytes.fromhex("42021122450133")))
    session = bank(connection)
    wrong = tlv.encode(0xB6, bytes.fromhex("42021123"))
    command = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN, b"\xc9\x00" + wrong)
    assert sw(session, signed(command, AES)) == SW.WRONG_DATA
    right = tlv.encode(0xB6, bytes.fromhex("420211224501335F2003ABCDEF93020007"))
    command = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN, b"\xc9\x00" + right)
    assert sw(session, signed(command, AES)) == SW.OK
    assert entry(card, PARTNER).data.provider == bytes.fromhex("ABCDEF")
    update = update_command(PARTNER, b"", bytes.fromhex("EF04CB028101"))
    assert sw(session, signed(update, AES)) == SW.OK
    assert entry(card, PARTNER).data.provider == bytes.fromhex("ABCDEF"), "an update that names none"


def test_a_token_hands_down_what_its_verifier_has(card: Card, connection: PortConnection) -> None:
    """The issuer signed it, so that privileges of the issuer can be given; the delegate alone has none of them."""
    command = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, bytes.fromhex("80D000"))
    assert sw(bank(connection), signed(command, AES)) == SW.OK


def test_no_verifier_or_no_key_no_deed(card: Card) -> None:
    """C.1.1.1: without the token key, or its domain, the deed fails."""
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, DELEGATE)
    assert sw(bank(connection), signed(SUBDOMAIN, AES)) == REFUSED


# ---- receipts, 11.1.6 and C.5


def confirmation(session: SecureSession, command: CommandApdu) -> tuple[bytes, bytes, bytes]:
    """Receipt, confirmation data, and the whole answer."""
    answer = session.transmit(command).data
    length, at = tlv.parse_length(answer, 0)
    assert len(answer) == at + length
    size, at = tlv.parse_length(answer, at)
    return answer[at : at + size], answer[at + size :], answer


@pytest.mark.parametrize("kind", ["DES", "AES-128", "AES-256"])
def test_receipts(card: Card, connection: PortConnection, kind: str) -> None:
    """Each deed is confirmed over its names; the counter is that of the answer, then moves by one."""
    signer = SIGNERS[kind]()
    session = bank(connection)
    assert session.transmit(signed(SUBDOMAIN, AES)).data == b"\x00"  # no receipt key yet
    give(card, DOMAIN, signer, KeyPurpose.RECEIPT)
    issuer_session(connection).transmit(CommandApdu(0x80, 0xE2, 0x90, 0, bytes.fromhex("42021122450133")))
    session = bank(connection)
    load = signed(load_request(LOADED_PACKAGE, BANK, DIGEST), AES)
    assert session.transmit(load).data == b"\x00"
    *first, last = load_commands(tlv.encode(0xC4, BLOCK))
    assert {session.transmit(block).data for block in first} == {b"\x00"}
    identified = install_command(
        LOADED_PACKAGE, LOADED_MODULE, INSTANCE, parameters=b"\xc9\x00" + bytes.fromhex("B60493020007")
    )
    deeds = (
        (last, (LOADED_PACKAGE, BANK), b""),
        (signed(identified, AES), (LOADED_PACKAGE, INSTANCE), b"\x02\x00\x07"),
        (signed(extradite_command(PARTNER, INSTANCE), AES), (BANK, INSTANCE, PARTNER), b""),
        (signed_delete(delete_command(PARTNER), AES), (), b""),
    )
    domain_session(connection, PARTNER, BANK_KEYS).put_keys(POLICE_KEYS, replace=0)
    session = bank(connection)
    session.transmit(load)
    for block in first:
        session.transmit(block)
    for number, (command, names, identifier) in enumerate(deeds):
        if not names:
            assert sw(session, command) == REFUSED  # something is associated with it
            continue
        receipt, data, _ = confirmation(session, command)
        assert data == b"\x02" + number.to_bytes(2, "big") + bytes.fromhex("03112233") + identifier
        assert receipt == signer.sign(data + b"".join(bytes((len(name),)) + name for name in names))
    assert issuer_session(connection).transmit(commands.get_data(0xC2)).data == bytes.fromhex("C2020003")


@pytest.mark.parametrize(
    ("curve", "reference", "digest"),
    [
        (ec.SECP256R1(), 0, SHA256()),
        (ec.SECP384R1(), 1, SHA384()),
        (ec.SECP521R1(), 2, SHA512()),
        (ec.BrainpoolP256R1(), 3, SHA256()),
    ],
    ids=lambda value: value.name if isinstance(value, ec.EllipticCurve) else None,
)
def test_receipts_signed_on_a_curve(
    card: Card, connection: PortConnection, curve: ec.EllipticCurve, reference: int, digest: HashAlgorithm
) -> None:
    """B.4.3: ECDSA, r and s one after the other, each as long as the field."""
    private, length = ec.derive_private_key(0x1234567, curve), (curve.key_size + 7) // 8
    scalar = KeyComponent(KeyType.EC_PRIVATE, private.private_numbers().private_value.to_bytes(length, "big"))
    parameters = KeyComponent(KeyType.EC_PARAMETERS, bytes((reference,)))
    issuer = entry(card, DOMAIN).owner
    store_keys(card.platform.store, issuer, [DomainKey(KeyPurpose.RECEIPT, 1, (scalar, parameters))])
    receipt, data, _ = confirmation(bank(connection), signed(SUBDOMAIN, AES))
    assert len(receipt) == 2 * length
    message = data + b"".join(bytes((len(name),)) + name for name in (DOMAIN_PACKAGE, PARTNER))
    r, s = (int.from_bytes(part, "big") for part in (receipt[:length], receipt[length:]))
    private.public_key().verify(encode_dss_signature(r, s), message, ec.ECDSA(digest))


def test_a_receipt_key_that_cannot_sign(card: Card, connection: PortConnection) -> None:
    """The public half alone: the deed fails, and nothing of it is done."""
    give(card, DOMAIN, SIGNERS["P-256"](), KeyPurpose.RECEIPT)
    assert sw(bank(connection), signed(SUBDOMAIN, AES)) == REFUSED
    assert card.platform.registry.by_aid(PARTNER) is None


def test_a_failed_deed_moves_no_counter(card: Card, connection: PortConnection) -> None:
    give(card, DOMAIN, AES, KeyPurpose.RECEIPT)
    session = bank(connection)
    taken = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, BANK, PLAIN_DOMAIN)
    assert sw(session, signed(taken, AES)) == SW.DF_NAME_EXISTS
    assert issuer_session(connection).transmit(commands.get_data(0xC2)).data == bytes.fromhex("C2020000")


# ---- DAPs, C.3


def dap(aid: bytes, signer: Signer, digest: bytes) -> bytes:
    return tlv.encode(0xE2, tlv.encode(0x4F, aid), tlv.encode(0xC3, signer.sign(digest)))


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_dap_of_every_kind_of_key(card: Card, kind: str) -> None:
    """9.2.1, table C-3: verified over the hash that was told before, which has to be long enough for the key."""
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, bytes.fromhex("C0C000"))
    signer = SIGNERS[kind]()
    give(card, BANK, signer, KeyPurpose.DAP)
    session = bank(connection)
    for algorithm in ("sha1", "sha256", "sha384", "sha512"):
        digest = hashlib.new(algorithm, BLOCK).digest()
        load_file = dap(BANK, signer, digest) + tlv.encode(0xC4, BLOCK)
        enough = len(digest) >= hashlib.new(signer.shortest).digest_size
        found = answers(session, [load_request(LOADED_PACKAGE, b"", digest), *load_commands(load_file)])[-1]
        assert found == (SW.OK if enough else SW.WRONG_DATA), algorithm
        if enough:
            session.delete(LOADED_PACKAGE)
    wrong = dap(BANK, signer, bytes(64)) + tlv.encode(0xC4, BLOCK)
    found = answers(session, [load_request(LOADED_PACKAGE, b"", DIGEST), *load_commands(wrong)])[-1]
    assert found == SW.SECURITY_STATUS_NOT_SATISFIED


@pytest.mark.parametrize(
    ("blocks", "digest", "status"),
    [
        ((), DIGEST, 0x6985),
        ((BANK,), DIGEST, 0x6985),
        ((POLICE,), DIGEST, 0x6985),
        ((BANK, POLICE), DIGEST, 0x9000),
        ((POLICE, BANK), DIGEST, 0x9000),
        ((BANK, POLICE, DOMAIN), DIGEST, 0x6985),
        ((BANK, POLICE), b"", 0x6A80),
    ],
)
def test_whose_daps_have_to_be_there(card: Card, blocks: tuple[bytes, ...], digest: bytes, status: int) -> None:
    """9.3.5: of the associated domain that verifies DAPs, and of every domain that mandates them."""
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, bytes.fromhex("C0C000"))
    make_domain(connection, POLICE, POLICE_KEYS, bytes.fromhex("C18000"))
    for aid in (BANK, POLICE):
        give(card, aid, AES, KeyPurpose.DAP)
    load_file = b"".join(dap(aid, AES, DIGEST) for aid in blocks) + tlv.encode(0xC4, BLOCK)
    session = bank(connection)
    assert answers(session, [load_request(LOADED_PACKAGE, b"", digest), *load_commands(load_file)])[-1] == status


@pytest.mark.parametrize("reason", ["no privilege", "no key", "locked"])
def test_a_dap_is_verified_for_domains_that_verify_daps_only(card: Card, reason: str) -> None:
    """9.2.1 and 9.3.5: neither a key nor a privilege alone makes a verifier, and a locked domain is none."""
    connection = powered(card)
    make_domain(
        connection, PARTNER, PARTNER_KEYS, PLAIN_DOMAIN if reason == "no privilege" else bytes.fromhex("C0C000")
    )
    if reason != "no key":
        give(card, PARTNER, AES, KeyPurpose.DAP)
    session = issuer_session(connection)
    load_file = dap(PARTNER, AES, DIGEST) + tlv.encode(0xC4, BLOCK)
    if reason == "locked":
        assert answers(session, [load_request(LOADED_PACKAGE, b"", DIGEST), *load_commands(load_file)])[-1] == SW.OK
        session.delete(LOADED_PACKAGE)
        assert sw(session, status_command(0x40, 0x80, PARTNER)) == SW.OK
    assert answers(session, [load_request(LOADED_PACKAGE, b"", DIGEST), *load_commands(load_file)])[-1] == REFUSED


def test_a_mandated_dap_binds_the_issuer_too(card: Card) -> None:
    connection = powered(card)
    make_domain(connection, POLICE, POLICE_KEYS, bytes.fromhex("C18000"))
    give(card, POLICE, AES, KeyPurpose.DAP)
    session = issuer_session(connection)
    request = load_request(LOADED_PACKAGE, b"", DIGEST)
    assert answers(session, [request, *load_commands(tlv.encode(0xC4, BLOCK))])[-1] == REFUSED
    load_file = dap(POLICE, AES, DIGEST) + tlv.encode(0xC4, BLOCK)
    assert answers(session, [request, *load_commands(load_file)])[-1] == SW.OK


# ---- ciphered load files, C.6


@pytest.mark.parametrize("size", [13, 100, 239])
@pytest.mark.parametrize("icv", [False, True])
@pytest.mark.parametrize("kind", ["DES", "AES-128", "AES-256"])
def test_a_ciphered_load_file(card: Card, kind: str, size: int, *, icv: bool) -> None:
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, bytes.fromhex("80C040"))
    signer = SIGNERS[kind]()
    give(card, BANK, signer, KeyPurpose.LOAD_FILE)
    cipher = BlockCipher.TRIPLE_DES if kind == "DES" else BlockCipher.AES
    first = bytes(range(1, cipher.block + 1)) if icv else bytes(cipher.block)
    body = cbc_encrypt(cipher, signer.components[0].value, pad(BLOCK, cipher.block), first)
    load_file = (tlv.encode(0xD3, first) if icv else b"") + tlv.encode(0xD4, body)
    session = bank(connection)
    request = load_request(LOADED_PACKAGE, b"", DIGEST)
    assert answers(session, [request, *load_commands(load_file, size)])[-1] == SW.OK
    file = card.platform.registry.load_file(LOADED_PACKAGE)
    assert file is not None
    assert card.platform.store.read(card.platform.store.owned(file.number)[0])[: file.size] == BLOCK
    plain = [request._replace(data=fields(PACKAGE + b"\x09", b"", DIGEST, b"", b""))]
    assert answers(session, [*plain, *load_commands(tlv.encode(0xC4, BLOCK))])[-1] == SW.WRONG_DATA


def test_a_ciphered_load_file_needs_hash_and_key(card: Card) -> None:
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, bytes.fromhex("80C040"))
    session = bank(connection)
    load_file = load_commands(tlv.encode(0xD4, bytes(32)))
    assert answers(session, [load_request(LOADED_PACKAGE, b"", DIGEST), *load_file])[-1] == REFUSED
    give(card, BANK, AES, KeyPurpose.LOAD_FILE)
    assert answers(session, [load_request(LOADED_PACKAGE), *load_file])[-1] == SW.WRONG_DATA
    assert answers(session, [load_request(LOADED_PACKAGE, b"", DIGEST), *load_file])[-1] == SW.WRONG_DATA
    odd = load_commands(tlv.encode(0xD4, bytes(33)))
    assert answers(session, [load_request(LOADED_PACKAGE, b"", DIGEST), *odd])[-1] == SW.WRONG_DATA


@pytest.mark.parametrize("kind", ["AES-128", "AES-256"])
def test_the_hash_of_a_ciphered_load_file_is_as_strong_as_its_key(card: Card, kind: str) -> None:
    """Table C-3 and C.6."""
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, bytes.fromhex("80C040"))
    signer = SIGNERS[kind]()
    give(card, BANK, signer, KeyPurpose.LOAD_FILE)
    body = cbc_encrypt(BlockCipher.AES, signer.components[0].value, pad(BLOCK, 16), bytes(16))
    session = bank(connection)
    for algorithm in ("sha1", "sha256", "sha384", "sha512"):
        digest = hashlib.new(algorithm, BLOCK).digest()
        enough = len(digest) >= hashlib.new(signer.shortest).digest_size
        request = load_request(LOADED_PACKAGE, b"", digest)
        found = answers(session, [request, *load_commands(tlv.encode(0xD4, body))])[-1]
        assert found == (SW.OK if enough else SW.WRONG_DATA), algorithm
        if enough:
            session.delete(LOADED_PACKAGE)


def test_an_installed_application_of_the_notebook_is_untouched(connection: PortConnection) -> None:
    """A refused deed of the delegate leaves what the issuer installed."""
    issuer_session(connection).transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert sw(bank(connection), signed_delete(delete_command(INSTANCE), AES)) == REFUSED
