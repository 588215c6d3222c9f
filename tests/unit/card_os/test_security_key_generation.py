"""GENERATE ASYMMETRIC KEY PAIR: fresh keys from the injected source, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from card_os.applet_api import (
    ALWAYS,
    Context,
    Instruction,
    KeyAlgorithm,
    KeyUsage,
    create_key,
    find_key,
    instruction_table,
    key_generation_instructions,
    security_operation_instructions,
)
from card_os.card import Card
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import WrongData
from card_os.iso7816.tlv import find, parse_one
from card_os.port import Port, PortMute
from card_os.security.key_generation import generate_key
from card_os.security.key_kinds import check_key_value, public_key
from card_os.security.sm2 import Sm2PublicKey

AID: Final = bytes.fromhex("F0544553540401")
PRIMES: Final = rsa.generate_private_key(65537, 2048).private_numbers()
KEYS: Final = {
    0x11: (KeyAlgorithm.EC_P256_PRIVATE, KeyUsage.SIGN, bytes(31) + b"\x01"),
    0x12: (KeyAlgorithm.EC_P384_PRIVATE, KeyUsage.SIGN, bytes(47) + b"\x01"),
    0x13: (KeyAlgorithm.SM2_PRIVATE, KeyUsage.SIGN, bytes(31) + b"\x01"),
    0x14: (
        KeyAlgorithm.RSA_PRIVATE,
        KeyUsage.SIGN | KeyUsage.DECIPHER,
        PRIMES.p.to_bytes(128, "big") + PRIMES.q.to_bytes(128, "big"),
    ),
    0x21: (KeyAlgorithm.AES, KeyUsage.SIGN, bytes(16)),
    0x22: (KeyAlgorithm.EC_P256_PRIVATE, KeyUsage.CHIP, bytes(31) + b"\x01"),
}


class Maker:
    """An application that makes pairs and signs with them."""

    package_aid: ClassVar[bytes] = AID[:-1]
    module_aid: ClassVar[bytes] = AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *key_generation_instructions(ALWAYS), *security_operation_instructions(ALWAYS)
    )

    def install(self, context: Context, parameters: bytes) -> None:
        for reference, (algorithm, usage, value) in KEYS.items():
            create_key(context, reference, value, usage=usage, algorithm=algorithm)

    def select(self, context: Context) -> bytes:
        return b"\x6f\x00"

    def deselect(self, context: Context) -> None:
        return

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        raise WrongData("no personalization")


@pytest.fixture(scope="module")
def master() -> NvmImage:
    image = NvmImage.create()
    Card(image.nvm(), [Maker]).platform.install(
        package_aid=AID[:-1], module_aid=AID, aid=AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    return image


def boot(master: NvmImage, seed: int = 1) -> Card:
    return Card(master.fork().nvm(), [Maker], randomness=SeededRandomness(seed))


def selected(card: Card) -> Port:
    card.contact.power_on()
    assert card.contact.process(CommandApdu(0, 0xA4, 4, 0x0C, AID, 0).encode()) == b"\x90\x00"
    return card.contact


@pytest.fixture
def port(master: NvmImage) -> Port:
    return selected(boot(master))


def send(port: Port, ins: int, parameters: int, data: bytes) -> tuple[bytes, int]:
    command = CommandApdu(0, ins, parameters >> 8, parameters & 0xFF, data, 65536, True)
    answer = port.process(command.encode())
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def pair(port: Port, reference: int, p1: int = 0x80, ins: int = 0x46) -> bytes:
    answer, status = send(port, ins, p1 << 8, bytes((0xB6, 3, 0x84, 1, reference)))
    assert status == 0x9000
    outer = parse_one(answer)
    assert outer.tag == 0x7F49
    return outer.value


def signature(port: Port, reference: int, digest: bytes) -> bytes:
    assert send(port, 0x22, 0x41B6, bytes((0x84, 1, reference))) == (b"", 0x9000)
    answer, status = send(port, 0x2A, 0x9E9A, digest)
    assert status == 0x9000
    return answer


@pytest.mark.parametrize(("reference", "length"), [(0x11, 32), (0x12, 48)])
def test_a_new_pair_on_a_curve_signs(port: Port, reference: int, length: int) -> None:
    old = find(pair(port, reference, 0x81), 0x86)
    point = find(pair(port, reference), 0x86)
    assert point is not None
    assert point not in {old, b""}
    assert find(pair(port, reference, 0x81, 0x47), 0x86) == point
    curve, algorithm = (ec.SECP256R1(), SHA256()) if length == 32 else (ec.SECP384R1(), SHA384())
    raw = signature(port, reference, bytes(range(length)))
    der = encode_dss_signature(int.from_bytes(raw[:length], "big"), int.from_bytes(raw[length:], "big"))
    public = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    public.verify(der, bytes(range(length)), ec.ECDSA(Prehashed(algorithm)))


def test_a_new_pair_of_sm2_signs(port: Port) -> None:
    point = find(pair(port, 0x13), 0x86)
    assert point is not None
    assert Sm2PublicKey(point).verify_digest(bytes(32), signature(port, 0x13, bytes(32)))


def test_a_new_pair_of_rsa_signs_and_rests(master: NvmImage) -> None:
    card = boot(master)
    port = selected(card)
    answer = pair(port, 0x14)
    modulus = find(answer, 0x81)
    assert modulus is not None
    assert (len(modulus), find(answer, 0x82)) == (256, b"\x01\x00\x01")
    assert int.from_bytes(modulus, "big") not in {0, PRIMES.p * PRIMES.q}
    raw = int.from_bytes(signature(port, 0x14, bytes(32)), "big")
    padded = pow(raw, 65537, int.from_bytes(modulus, "big")).to_bytes(256, "big")
    assert padded.startswith(b"\x00\x01\xff\xff")
    assert padded.endswith(b"\x04\x20" + bytes(32))
    context = card.platform.context_of(next(item for item in card.platform.registry if item.aid == AID))
    value = find_key(context, 0x14, KeyUsage.SIGN).value
    check_key_value(KeyAlgorithm.RSA_PRIVATE, value)
    assert public_key(KeyAlgorithm.RSA_PRIVATE, value)[0] == modulus


@pytest.mark.parametrize("reference", [0x11, 0x12, 0x13])
def test_the_same_source_gives_the_same_pair(master: NvmImage, reference: int) -> None:
    first, again, other = (pair(selected(boot(master, seed)), reference) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_key_of_rsa_is_the_same_for_the_same_source() -> None:
    first, again = (generate_key(KeyAlgorithm.RSA_PRIVATE, 256, SeededRandomness(3)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.AES, KeyAlgorithm.EC_P256_PUBLIC, KeyAlgorithm.PASSWORD])
def test_other_kinds_have_no_pairs(algorithm: KeyAlgorithm) -> None:
    with pytest.raises(ValueError, match="no pairs"):
        generate_key(algorithm, 16, SeededRandomness(1))
    with pytest.raises(ValueError, match="no public part"):
        public_key(algorithm, bytes(16))


@pytest.mark.parametrize(
    ("parameters", "data", "status", "why"),
    [
        (0x0000, "b603840111", 0x6A86, "P1 00"),
        (0x8200, "b603840111", 0x6A86, "P1 82"),
        (0x8001, "b603840111", 0x6A86, "P2 01"),
        (0x8000, "", 0x6A80, "no template"),
        (0x8000, "b600", 0x6A80, "no reference"),
        (0x8000, "b603830111", 0x6A80, "a public reference"),
        (0x8000, "b60484021111", 0x6A80, "two bytes"),
        (0x8000, "b606840111840112", 0x6A80, "two references"),
        (0x8000, "b803840111", 0x6A80, "another template"),
        (0x8000, "b6038401", 0x6A80, "cut short"),
        (0x8000, "b603840177", 0x6A88, "no such key"),
        (0x8000, "b603840122", 0x6A88, "the key that proves the card"),
        (0x8100, "b603840122", 0x6A88, "the key that proves the card"),
        (0x8000, "b603840121", 0x6985, "a symmetric key"),
        (0x8100, "b603840121", 0x6985, "a symmetric key"),
    ],
)
@pytest.mark.parametrize("ins", [0x46, 0x47])
def test_generation_is_refused(port: Port, ins: int, parameters: int, data: str, status: int, why: str) -> None:
    before = pair(port, 0x11, 0x81)
    assert send(port, ins, parameters, bytes.fromhex(data)) == (b"", status), why
    assert pair(port, 0x11, 0x81) == before


def test_the_rows_are_never_allowed_unless_the_application_says_so() -> None:
    assert all(not row.access.alternatives for row in key_generation_instructions())


@pytest.mark.parametrize("moment", list(CutMoment))
def test_after_a_cut_there_is_the_old_pair_or_the_new_one(master: NvmImage, moment: CutMoment) -> None:
    """Every write of the command is cut once at this moment; the key that rests is always a whole one."""
    old = pair(selected(boot(master)), 0x11, 0x81)
    new = pair(selected(boot(master)), 0x11)
    seen: list[bytes] = []
    for unit in range(1, 500):
        image, power = master.fork(), PowerSupply()
        port = selected(Card(image.nvm(power=power), [Maker], randomness=SeededRandomness(1)))
        power.arm(unit, moment)
        try:
            port.process(CommandApdu(0, 0x46, 0x80, 0, bytes.fromhex("b603840111"), 256).encode())
        except PortMute:
            found = pair(selected(Card(image.nvm(), [Maker], randomness=SeededRandomness(9))), 0x11, 0x81)
            assert found in {old, new}
            seen.append(found)
        else:
            break
    assert len(seen) > 5
    assert set(seen) == {old, new}
