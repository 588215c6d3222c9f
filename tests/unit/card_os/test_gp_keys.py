"""PUT KEY, DELETE [key] and the keys of security domains (GPC 2.3.1, clauses 7.5, 11.2 and 11.8)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from card_os.card import Card
from card_os.globalplatform import keys as card_keys
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.curve_parameters import DOMAIN_PARAMETERS, explicit_parameters
from card_os.globalplatform.key_types import (
    CURVES,
    DomainKey,
    KeyComponent,
    KeyType,
    find_curve,
    point_of,
    verify_ecdsa,
)
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.registry import (
    DOMAIN_MODULE_AID,
    DOMAIN_PACKAGE_AID,
    ISSUER_DOMAIN,
    ApplicationLifeCycle,
    Privilege,
)
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.iso7816.aid import Aid
from card_os.manufacture import manufacture
from card_os.security.block_ciphers import BlockCipher, ecb_encrypt
from card_os.security.cryptography import check_value
from card_os.storage.store import ObjectKind
from tests.doubles.channel_hosts import AES_KEYS, Scp02Host, Scp03Host
from tests.doubles.issuer_card import PRODUCTION, boot

BOTH = ChannelPolicy(((Protocol.SCP03, 0x70), (Protocol.SCP02, 0x15)))
SELECT_ISSUER = bytes.fromhex("00A4040000")
NEW_AES = (b"\x01" * 16, b"\x02" * 16, b"\x03" * 16)
NEW_DES = (b"\x04" * 16, b"\x05" * 16, b"\x06" * 16)
CHILD = Aid(bytes.fromhex("F05A4A4A5AF0D0"))
P256_POINT = point_of(ec.derive_private_key(7, ec.SECP256R1()).public_key())

Host = Scp02Host | Scp03Host


@pytest.fixture
def card() -> Card:
    """A card with a set of AES keys 30, which offers SCP02 too."""
    image = NvmImage.create()
    manufacture(image.nvm(), PRODUCTION, KeySet(0x30, *AES_KEYS), channel_policy=BOTH)
    card = boot(image)
    card.contact.power_on()
    return card


@pytest.fixture
def host(card: Card) -> Scp03Host:
    host = Scp03Host(card.contact.process)
    host.open(0x33)
    return host


def des_check_value(key: bytes) -> bytes:
    return ecb_encrypt(BlockCipher.TRIPLE_DES, key, bytes(8))[:3]


def aes_field(host: Host, key: bytes) -> bytes:
    return b"\x88" + bytes((len(key) + -len(key) % 16 + 1, len(key))) + host.encrypt(key) + b"\x03" + check_value(key)


def des_field(host: Host, key: bytes) -> bytes:
    return b"\x80" + bytes((len(key),)) + host.encrypt(key) + b"\x03" + des_check_value(key)


def put(host: Host, p1: int, p2: int, version: int, *fields: bytes) -> str:
    data = bytes((version,)) + b"".join(fields)
    return host.transmit(f"80D8{p1:02X}{p2:02X}{len(data):02X}{data.hex()}00")


def delete(host: Host, data: str, p2: int = 0) -> str:
    return host.transmit(f"80E400{p2:02X}{len(data) // 2:02X}{data}00")


def names(card: Card, owner: int = ISSUER_DOMAIN) -> list[tuple[int, int]]:
    return [(key.version, key.identifier) for key in card_keys.load_keys(card.platform.store, owner)]


def information(card: Card) -> str:
    card.contact.process(SELECT_ISSUER)
    return card.contact.process(bytes.fromhex("80CA00E000")).hex().upper()


WHOLE = [(0x30, 1), (0x30, 2), (0x30, 3)]


# ---- PUT KEY


def test_a_set_of_des_keys_opens_scp02(card: Card, host: Scp03Host) -> None:
    answer = put(host, 0, 0x81, 0x20, *(des_field(host, key) for key in NEW_DES))
    assert answer == "20" + b"".join(map(des_check_value, NEW_DES)).hex().upper() + "9000"
    card.contact.process(SELECT_ISSUER)
    des_host = Scp02Host(card.contact.process, NEW_DES, version=0x20)
    assert des_host.open(0x03).hex() == "9000"
    assert put(des_host, 0, 0x81, 0x21, *(aes_field(des_host, key) for key in NEW_AES)).endswith("9000")
    host = Scp03Host(card.contact.process, NEW_AES, version=0x21)
    assert host.open(0x33).hex() == "9000"


@pytest.mark.parametrize("length", [16, 24, 32])
def test_aes_keys_of_every_length_one_by_one(card: Card, host: Scp03Host, length: int) -> None:
    """A set that is not whole opens no session (Amendment D, 7.1.1)."""
    keys = ((NEW_AES[0] * 2)[:length], (NEW_AES[1] * 2)[:length], (NEW_AES[2] * 2)[:length])
    for identifier, key in enumerate(keys, 1):
        card.contact.process(SELECT_ISSUER)
        assert Scp03Host(card.contact.process, keys, version=0x40).sw.hex() == "6a88"
        host = Scp03Host(card.contact.process, version=0x30)
        host.open(0x33)
        assert put(host, 0, identifier, 0x40, aes_field(host, key)) == f"40{check_value(key).hex().upper()}9000"
    card.contact.process(SELECT_ISSUER)
    host = Scp03Host(card.contact.process, keys, version=0x40)
    assert host.open(0x33).hex() == "9000"


def test_des_keys_of_24_bytes_make_no_set_for_scp02(card: Card, host: Scp03Host) -> None:
    """Table E-3: the keys of SCP02 have 16 bytes."""
    keys = [bytes(range(number, number + 24)) for number in (1, 2, 3)]
    fields = [
        b"\x80\x21\x18" + host.encrypt(key) + b"\x03" + ecb_encrypt(BlockCipher.TRIPLE_DES, key, bytes(8))[:3]
        for key in keys
    ]
    assert put(host, 0, 0x81, 0x20, *fields).endswith("9000")
    card.contact.process(SELECT_ISSUER)
    assert Scp02Host(card.contact.process, NEW_DES, version=0x20).sw.hex() == "6a88"
    assert Scp03Host(card.contact.process, AES_KEYS).sw.hex() == "9000"
    assert card.faults == 0


def test_an_rsa_key(card: Card, host: Scp03Host) -> None:
    """Table 11-75: modulus and exponent in clear, no check value; lengths 80, 81 80 and 82 … for 128 bytes and more."""
    for version, length in ((0x70, b"\x80"), (0x71, b"\x81\x80"), (0x72, b"\x82\x00\x80")):
        modulus = bytes(range(1, 128)) + b"\x81"
        field = b"\xa1" + length + modulus + b"\xa0\x03\x01\x00\x01\x00"
        assert put(host, 0, 1, version, field) == f"{version:02X}9000"
        key = card_keys.load_key(card.platform.store, ISSUER_DOMAIN, version, 1)
        assert key is not None
        assert [item.value for item in key.components] == [modulus, b"\x01\x00\x01"]
        assert key.check_value() == b""
    assert "C0060170A180A003" in information(card)


def test_a_long_rsa_key_comes_in_a_command_of_extended_length(card: Card) -> None:
    host = Scp03Host(card.contact.process)
    host.open(0x00)
    data = b"\x73" + b"\xa1\x82\x01\x00" + b"\xc1" * 256 + b"\xa0\x01\x03\x00"
    raw = bytes.fromhex("80D8000100") + len(data).to_bytes(2, "big") + data + b"\x00\x00"
    assert card.contact.process(raw).hex() == "739000"
    assert "C0060173A100A001" in information(card)


@pytest.mark.parametrize("reference", sorted(CURVES))
def test_keys_on_every_curve(card: Card, host: Scp03Host, reference: int) -> None:
    """Table 11-73; key information tells a point without its first byte, and the reference itself (11.3.3.1.1)."""
    curve = CURVES[reference]
    private = ec.derive_private_key(1234567, curve.curve)
    scalar, point = (1234567).to_bytes(curve.length, "big"), point_of(private.public_key())
    clear = bytes((curve.length,)) if curve.length % 16 else b""
    block = clear + host.encrypt(scalar)
    parameters = b"\xf0\x01" + bytes((reference,)) + b"\x00"
    assert put(host, 0, 0x11, 0x01, b"\xb1" + bytes((len(block),)) + block + parameters) == "019000"
    size = b"\x81" + bytes((len(point),)) if len(point) > 128 else bytes((len(point),))
    assert put(host, 0, 0x10, 0x02, b"\xb0" + size + point + parameters) == "029000"
    key = card_keys.load_key(card.platform.store, ISSUER_DOMAIN, 1, 0x11)
    assert key is not None
    assert (key.value, key.curve) == (scalar, curve)
    told = information(card)
    assert f"C0061101B1{curve.length:02X}F0{reference:02X}" in told
    assert f"C0061002B0{2 * curve.length:02X}F0{reference:02X}" in told


def explicit(reference: int) -> list[bytes]:
    """B2 to B6 of a curve, each with its length."""
    made: list[bytes] = []
    for kind, value in explicit_parameters(reference):
        size = b"\x81" + bytes((len(value),)) if len(value) > 128 else bytes((len(value),))
        made.append(bytes((kind,)) + size + value)
    return made


def put_point(card: Card, version: int, reference: int, parameters: list[bytes]) -> str:
    """PUT KEY of a public key with these parameters, in a session of its own and an extended command."""
    card.contact.process(SELECT_ISSUER)
    host = Scp03Host(card.contact.process)
    host.open(0x00)
    curve = CURVES[reference]
    point = point_of(ec.derive_private_key(7, curve.curve).public_key())
    size = b"\x81" + bytes((len(point),)) if len(point) > 128 else bytes((len(point),))
    data = bytes((version,)) + b"\xb0" + size + point + b"".join(parameters) + b"\x00"
    raw = bytes.fromhex("80D8000100") + len(data).to_bytes(2, "big") + data + b"\x00\x00"
    return card.contact.process(raw).hex().upper()


@pytest.mark.parametrize("reference", sorted(CURVES))
def test_a_curve_by_its_parameters(card: Card, reference: int) -> None:
    """Table 11-16: B2 prime, B3 and B4 coefficients, B5 generator, B6 order; B7 cofactor where it is told."""
    for version, cofactor in ((0x73, []), (0x74, [b"\xb7\x01\x01"])):
        assert put_point(card, version, reference, explicit(reference) + cofactor) == f"{version:02X}9000"
        key = card_keys.load_key(card.platform.store, ISSUER_DOMAIN, version, 1)
        assert key is not None
        assert key.curve is CURVES[reference]
        assert f"C00601{version:02X}B0{2 * CURVES[reference].length:02X}F0{reference:02X}" in information(card)


def test_parameters_of_no_curve(card: Card) -> None:
    """What is not, number by number, a curve that has a reference is no key."""
    whole = explicit(0)
    spoilt = [
        [*whole[:index], whole[index][:-1] + bytes((whole[index][-1] ^ 1,)), *whole[index + 1 :]] for index in range(5)
    ]
    missing = [whole[:index] + whole[index + 1 :] for index in range(5)]
    others = [explicit(3), explicit(1), whole[::-1], [*whole, b"\xb7\x01\x02"], [*whole, b"\xf0\x01\x00"]]
    for parameters in (*spoilt, *missing, *others):
        assert put_point(card, 0x73, 0, parameters) == "6A80"
    assert (0x73, 1) not in names(card)


@pytest.mark.parametrize(
    ("reference", "curve"), [(reference, known.curve) for reference, known in sorted(CURVES.items())]
)
def test_parameters_are_those_of_the_curve(reference: int, curve: ec.EllipticCurve) -> None:
    """The equation holds for points that another implementation computes, and n times the generator is no point."""
    known = DOMAIN_PARAMETERS[reference]
    prime, a, b, order = (int(number, 16) for number in known)
    for scalar in (1, 2, 3, 7, order - 1):
        numbers = ec.derive_private_key(scalar, curve).public_key().public_numbers()
        assert (numbers.y**2 - numbers.x**3 - a * numbers.x - b) % prime == 0
    first, last = (ec.derive_private_key(scalar, curve).public_key().public_numbers() for scalar in (1, order - 1))
    assert (first.x, first.y + last.y) == (last.x, prime)
    assert {len(number) for number in known} == {2 * CURVES[reference].length}


def test_usage_and_access_of_the_extended_format(card: Card, host: Scp03Host) -> None:
    """Table 11-69."""
    key = NEW_AES[0]
    field = b"\xff\x88\x11\x10" + host.encrypt(key) + b"\x03" + check_value(key) + b"\x01\x34\x01\x00"
    assert put(host, 0, 0x05, 0x50, field).endswith("9000")
    bare = b"\xff\x88\x11\x10" + host.encrypt(key) + b"\x03" + check_value(key) + b"\x00\x00"
    assert put(host, 0, 0x06, 0x50, bare).endswith("9000")
    store = card.platform.store
    stored = [card_keys.load_key(store, ISSUER_DOMAIN, 0x50, identifier) for identifier in (5, 6)]
    assert [(item.usage, item.access) for item in stored if item is not None] == [(0x3400, 0), (0, None)]


def test_a_chain_of_commands_is_one(card: Card, host: Scp03Host) -> None:
    """11.8.2.3.3: nothing is there until the last command came."""
    assert put(host, 0x80, 1, 0x40, aes_field(host, NEW_AES[0])).endswith("9000")
    assert put(host, 0x80, 2, 0x40, aes_field(host, NEW_AES[1])).endswith("9000")
    assert names(card) == WHOLE
    assert put(host, 0x00, 3, 0x40, aes_field(host, NEW_AES[2])).endswith("9000")
    assert names(card) == [*WHOLE, (0x40, 1), (0x40, 2), (0x40, 3)]


def test_a_chain_ends_with_its_session_and_with_a_refusal(card: Card, host: Scp03Host) -> None:
    put(host, 0x80, 1, 0x40, aes_field(host, NEW_AES[0]))
    assert put(host, 0x80, 2, 0x40, b"\x00") == "6A80"
    assert put(host, 0x00, 3, 0x40, aes_field(host, NEW_AES[2])).endswith("9000")
    assert names(card) == [*WHOLE, (0x40, 3)]
    put(host, 0x80, 1, 0x40, aes_field(host, NEW_AES[0]))
    host = Scp03Host(card.contact.process, version=0x30)
    host.open(0x33)
    put(host, 0x00, 2, 0x40, aes_field(host, NEW_AES[1]))
    assert names(card) == [*WHOLE, (0x40, 2), (0x40, 3)]


def test_without_c_mac_every_put_key_of_a_chain_is_whole(card: Card) -> None:
    """11.1.5.1 and 11.8.2.1: bit 8 of P1 says that another PUT KEY follows, and all keys are put with the last one."""
    host = Scp03Host(card.contact.process)
    host.open(0x00)
    first = put(host, 0x80, 1, 0x40, aes_field(host, NEW_AES[0]))
    assert first == "40" + check_value(NEW_AES[0]).hex().upper() + "9000"
    assert names(card) == WHOLE
    assert put(host, 0x00, 2, 0x40, aes_field(host, NEW_AES[1])).endswith("9000")
    assert names(card) == [*WHOLE, (0x40, 1), (0x40, 2)]


def test_a_chain_is_bounded(host: Scp03Host) -> None:
    for identifier in range(1, 33):
        assert put(host, 0x80, identifier, 0x41, aes_field(host, NEW_AES[0])).endswith("9000")
    assert put(host, 0x80, 0x33, 0x41, aes_field(host, NEW_AES[0])) == "6985"


@pytest.mark.parametrize(("version", "sw"), [(0x30, "9000"), (0x31, "9000")])
def test_a_whole_set_is_replaced_in_one_command(card: Card, host: Scp03Host, version: int, sw: str) -> None:
    """Amendment D, 6.2.2.1: its sequence counter begins anew."""
    store = card.platform.store
    assert card_keys.sequence_counter(store, ISSUER_DOMAIN, 0x30) == 1
    assert put(host, 0x30, 0x81, version, *(aes_field(host, key) for key in NEW_AES))[-4:] == sw
    assert names(card) == [(version, 1), (version, 2), (version, 3)]
    assert card_keys.sequence_counter(store, ISSUER_DOMAIN, version) == 0
    card.contact.process(SELECT_ISSUER)
    assert Scp03Host(card.contact.process, NEW_AES).open(0x33).hex() == "9000"


def test_one_key_of_a_set_is_replaced(card: Card, host: Scp03Host) -> None:
    """The counter of an AES set goes on, that of a DES set begins anew (Amendment D, 6.2.2.1; E.1.2)."""
    store = card.platform.store
    assert put(host, 0x30, 3, 0x30, aes_field(host, NEW_AES[2])).endswith("9000")
    assert card_keys.sequence_counter(store, ISSUER_DOMAIN, 0x30) == 1
    put(host, 0, 0x81, 0x20, *(des_field(host, key) for key in NEW_DES))
    for _ in range(5):
        card_keys.advance_sequence_counter(store, ISSUER_DOMAIN, 0x20)
    assert put(host, 0x20, 2, 0x20, des_field(host, NEW_DES[0])).endswith("9000")
    assert card_keys.sequence_counter(store, ISSUER_DOMAIN, 0x20) == 0


Field = Callable[[Host], bytes]


@pytest.mark.parametrize(
    ("p1", "p2", "version", "field", "sw"),
    [
        (0x30, 1, 0x30, lambda host: aes_field(host, bytes(32)), "6A80"),
        (0x30, 1, 0x30, lambda host: des_field(host, bytes(range(16))), "6A80"),
        (0x30, 4, 0x30, lambda host: aes_field(host, bytes(16)), "6A88"),
        (0x31, 1, 0x30, lambda host: aes_field(host, bytes(16)), "6A88"),
        (0x00, 1, 0x30, lambda host: aes_field(host, bytes(16)), "6A80"),
        (0x00, 1, 0x00, lambda host: aes_field(host, bytes(16)), "6A80"),
        (0x00, 1, 0x80, lambda host: aes_field(host, bytes(16)), "6A80"),
        (0x00, 1, 0x40, lambda host: aes_field(host, bytes(16)) * 2, "6A80"),
        (0x00, 1, 0x40, lambda host: aes_field(host, bytes(16))[:-1], "6A80"),
        (0x00, 1, 0x40, lambda host: aes_field(host, bytes(16))[:-1] + b"\xff", "6982"),
        (0x00, 1, 0x40, lambda host: aes_field(host, bytes(16))[:-4] + b"\x02" + check_value(bytes(16))[:2], "6A80"),
        (0x00, 1, 0x40, lambda host: b"\x88\x11\x11" + host.encrypt(bytes(16)) + b"\x03aaa", "6A80"),
        (0x00, 1, 0x40, lambda host: b"\x88\x11\x00" + host.encrypt(bytes(16)) + b"\x03aaa", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\x88\x08" + bytes(8) + b"\x03aaa", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\x88\x83\x00\x00\x10" + bytes(16) + b"\x03aaa", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\x88\x00\x03aaa", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\x03aaa", "6A80"),
        (0x00, 1, 0x40, lambda _: b"", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xa1\x80" + b"\x01" * 128 + b"\x00", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xa1\x80" + b"\x02" * 128 + b"\xa0\x01\x03\x00", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xa1\x40" + b"\x01" * 64 + b"\xa0\x01\x03\x00", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xa1\x80" + b"\x01" * 128 + b"\xa0\x01\x03\x03aaa", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xb0\x41" + P256_POINT + b"\x00", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xb0\x41" + P256_POINT + b"\xf0\x01\x04\x00", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xb0\x41" + P256_POINT[:-1] + b"\x00\xf0\x01\x00\x00", "6A80"),
        (0x00, 1, 0x40, lambda host: b"\xb1\x20" + host.encrypt(b"\xff" * 32) + b"\xf0\x01\x00\x00", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xff\xb0\x41" + P256_POINT + b"\xf0\x01\x00\x00", "6A80"),
        (0x00, 1, 0x40, lambda _: b"\xff\xb0\x41" + P256_POINT + b"\xff\xf0\x01\x00\x00\x03aaa\x00", "6A80"),
        (0x00, 0x7F, 0x40, lambda host: aes_field(host, bytes(16)), "9000"),
        (0x00, 0xFF, 0x40, lambda host: aes_field(host, bytes(16)) * 2, "6A86"),
    ],
)  # fmt: skip
def test_put_key_refuses(card: Card, host: Scp03Host, p1: int, p2: int, version: int, field: Field, sw: str) -> None:
    assert put(host, p1, p2, version, field(host))[-4:] == sw
    assert (names(card) == WHOLE) is (sw != "9000")


def test_a_check_value_may_be_left_out(card: Card, host: Scp03Host) -> None:
    """11.8.2.3.1: it is there or its length is 00; the answer has the card's own either way."""
    field = aes_field(host, NEW_AES[0])[:-4] + b"\x00"
    assert put(host, 0, 1, 0x40, field) == "40" + check_value(NEW_AES[0]).hex().upper() + "9000"
    assert (0x40, 1) in names(card)


def test_a_key_twice_in_one_chain(host: Scp03Host) -> None:
    put(host, 0x80, 1, 0x40, aes_field(host, NEW_AES[0]))
    assert put(host, 0x00, 1, 0x40, aes_field(host, NEW_AES[1])) == "6A80"


def test_the_factory_set_goes_with_the_first_whole_set_only() -> None:
    """7.5.1 leaves it to the card; a certificate key or a part of a set does not lock the factory keys out."""
    image = NvmImage.create()
    manufacture(image.nvm(), PRODUCTION, KeySet(0xFF, *AES_KEYS))
    card = boot(image)
    card.contact.power_on()
    host = Scp03Host(card.contact.process)
    host.open(0x33)
    put(host, 0, 0x10, 0x01, b"\xb0\x41" + P256_POINT + b"\xf0\x01\x00\x00")
    put(host, 0, 1, 0x40, aes_field(host, NEW_AES[0]))
    assert names(card) == [(0x01, 0x10), (0x40, 1), (0xFF, 1), (0xFF, 2), (0xFF, 3)]
    public = b"\xb0\x41" + P256_POINT + b"\xf0\x01\x00\x00"
    assert put(host, 0, 0x81, 0x02, public, public, public).startswith("02")
    assert put(host, 0, 0x81, 0x03, public, aes_field(host, NEW_AES[1]), aes_field(host, NEW_AES[2])).startswith("03")
    assert names(card)[-3:] == [(0xFF, 1), (0xFF, 2), (0xFF, 3)], (
        "three public keys, or one among them, open no session"
    )
    for version in (0x02, 0x03):
        assert delete(host, f"D201{version:02X}").endswith("9000")
    assert put(host, 0xFF, 0x81, 0x41, *(aes_field(host, key * 2) for key in NEW_AES)).endswith("9000")
    assert names(card) == [(0x01, 0x10), (0x40, 1), (0x41, 1), (0x41, 2), (0x41, 3)]


@pytest.mark.parametrize(("kind", "sw"), [("tries", "6983"), ("sequence", "6985")])
def test_a_key_set_without_its_counter_opens_no_session(card: Card, kind: str, sw: str) -> None:
    """10.2.3: what counts is not there, so that nothing is granted; the card stays whole."""
    store = card.platform.store
    counters = store.owned(ISSUER_DOMAIN, ObjectKind.COUNTER)
    lengths = {"tries": 1, "sequence": card_keys.SEQUENCE_LENGTH}
    for item in counters:
        if item.size == lengths[kind]:
            store.delete(item)
    host = Scp03Host(card.contact.process)
    answer = host.open(0x33) if kind == "tries" else host.sw
    assert answer.hex() == sw
    assert card.faults == 0


# ---- DELETE of keys


def with_second_set(host: Scp03Host) -> None:
    put(host, 0, 0x81, 0x40, *(aes_field(host, key) for key in NEW_AES))
    put(host, 0, 0x10, 0x40, b"\xb0\x41" + P256_POINT + b"\xf0\x01\x00\x00")


@pytest.mark.parametrize(
    ("data", "left"),
    [
        ("D20140", WHOLE),
        ("D00110", [*WHOLE, (0x40, 1), (0x40, 2), (0x40, 3)]),
        ("D00110D20140", [*WHOLE, (0x40, 1), (0x40, 2), (0x40, 3)]),
        ("D20140D00102", [*WHOLE, (0x40, 1), (0x40, 3), (0x40, 0x10)]),
        ("D20130", [(0x40, 1), (0x40, 2), (0x40, 3), (0x40, 0x10)]),
    ],
)
def test_delete_by_version_by_identifier_and_by_both(
    card: Card, host: Scp03Host, data: str, left: list[tuple[int, int]]
) -> None:
    with_second_set(host)
    assert delete(host, data) == "009000"
    assert names(card) == left


def test_delete_key_with_related_objects(card: Card, host: Scp03Host) -> None:
    """P2 80, as hosts in the field send it: a key has no objects but those that go with it anyway."""
    with_second_set(host)
    assert delete(host, "D20140", 0x80) == "009000"
    assert names(card) == WHOLE


def test_deleted_keys_give_their_memory_back(card: Card, host: Scp03Host) -> None:
    free = card.platform.store.free
    for _ in range(3):
        with_second_set(host)
        assert card.platform.store.free < free
        delete(host, "D20140")
        assert card.platform.store.free == free


@pytest.mark.parametrize(
    ("data", "p2", "sw"),
    [
        ("D20130", 0, "6985"),
        ("D00101", 0, "6985"),
        ("D00101D20130", 0, "6985"),
        ("D20141", 0, "6A88"),
        ("D00142", 0, "6A88"),
        ("D00101D20141", 0, "6A88"),
        ("D201", 0, "6A80"),
        ("D2023030", 0, "6A80"),
        ("D20130D20130", 0, "6A80"),
        ("D20130C10130", 0, "6A80"),
        ("D20141", 0x80, "6A88"),
        ("D20130", 0x01, "6A86"),
        ("D20130", 0x81, "6A86"),
    ],
)
def test_delete_key_refuses(card: Card, host: Scp03Host, data: str, p2: int, sw: str) -> None:
    assert delete(host, data, p2) == sw
    assert names(card) == WHOLE


def test_counters_go_with_the_last_key_of_a_set(card: Card, host: Scp03Host) -> None:
    with_second_set(host)
    store = card.platform.store
    for identifier in (1, 2, 3):
        assert card_keys.sequence_counter(store, ISSUER_DOMAIN, 0x40) == 0
        delete(host, f"D0010{identifier}D20140")
    assert card_keys.sequence_counter(store, ISSUER_DOMAIN, 0x40) is None
    assert card_keys.tries_left(store, ISSUER_DOMAIN, 0x40) == 0


def test_delete_needs_a_session(card: Card) -> None:
    assert card.contact.process(bytes.fromhex("80E4000003D2013000")).hex() == "6982"


# ---- Domains of their own


@pytest.fixture
def child(card: Card) -> Card:
    """The card with a supplementary domain that has no keys."""
    card.platform.registry.add(
        aid=CHILD,
        package_aid=DOMAIN_PACKAGE_AID,
        module_aid=DOMAIN_MODULE_AID,
        life_cycle=ApplicationLifeCycle.SELECTABLE,
        privileges=Privilege.SECURITY_DOMAIN,
        domain=ISSUER_DOMAIN,
    )
    assert card.contact.process(b"\x00\xa4\x04\x00\x07" + CHILD + b"\x00")[-2:] == b"\x90\x00"
    return card


def test_a_domain_without_keys_is_reached_by_those_of_its_parent(child: Card) -> None:
    """The challenge is that of the application that was selected (Amendment D, 6.2.2.1)."""
    owner = child.platform.registry.by_aid(CHILD)
    assert owner is not None
    host = Scp03Host(child.contact.process)
    assert host.open(0x33).hex() == "9000"
    assert put(host, 0, 0x81, 0x50, *(aes_field(host, key) for key in NEW_AES)).endswith("9000")
    assert names(child) == WHOLE
    assert names(child, owner.owner) == [(0x50, 1), (0x50, 2), (0x50, 3)]
    child.contact.process(b"\x00\xa4\x04\x00\x07" + CHILD)
    assert Scp03Host(child.contact.process, version=0x30).sw.hex() == "6a88"
    host = Scp03Host(child.contact.process, NEW_AES)
    assert host.open(0x33).hex() == "9000"
    assert delete(host, "D20150") == "009000"
    child.contact.process(b"\x00\xa4\x04\x00\x07" + CHILD)
    assert Scp03Host(child.contact.process).open(0x33).hex() == "9000"


def test_tries_are_those_of_the_keys_that_were_used(child: Card) -> None:
    child.contact.process(bytes.fromhex("8050000008000000000000000000"))
    child.contact.process(bytes.fromhex("8482010010" + "00" * 16))
    assert card_keys.tries_left(child.platform.store, ISSUER_DOMAIN, 0x30) == 9


# ---- Values


def test_no_key_shows() -> None:
    key = DomainKey(1, 2, (KeyComponent(KeyType.AES, b"secret secret!!!"),))
    assert "secret" not in repr(key) + repr(key.components) + repr(KeySet(1, b"secret", b"secret", b"secret"))


def test_a_curve_that_is_not_there() -> None:
    for reference in (b"\x04", b"", b"\x00\x00"):
        with pytest.raises(ValueError, match="no such curve"):
            find_curve(reference)
    with pytest.raises(ValueError, match="no key on a curve"):
        _ = DomainKey(1, 1, (KeyComponent(KeyType.AES, bytes(16)),)).curve


def test_signatures_in_both_forms() -> None:
    curve, private = CURVES[0], ec.derive_private_key(7, ec.SECP256R1())
    der = private.sign(b"message", ec.ECDSA(curve.digest))
    raw = b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(der))
    for signature in (der, raw):
        assert verify_ecdsa(curve, P256_POINT, signature, b"message")
        assert not verify_ecdsa(curve, P256_POINT, signature, b"massage")
    assert not verify_ecdsa(curve, P256_POINT, b"", b"message")
    assert not verify_ecdsa(curve, P256_POINT, bytes(64), b"message")
    assert not verify_ecdsa(curve, P256_POINT[:-1], der, b"message")
