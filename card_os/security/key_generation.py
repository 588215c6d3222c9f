"""GENERATE ASYMMETRIC KEY PAIR: the card makes a private key from its own randomness and gives the public one away.

```
0046 8000   B6 { 84 01 reference }   makes a new pair in the place of the key  → 7F49 { … }
0046 8100   B6 { 84 01 reference }   the public part of the key that is there  → 7F49 { … }
0047        the same
```

The public key is 7F49 { 86 point } for curves and 7F49 { 81 modulus, 82 exponent } for RSA. The key has to exist, for
its algorithm, length and usage were given when it was created; it is one that signs. The new key takes the place of the
old one in one transaction: after a cut there is the old pair or the new one.

RSA primes are searched from random starting points in steps of two: trial division, then rounds of Miller-Rabin with
random bases, all from the injected source, so that the same source gives the same key.

Deviates: FIPS 186-5 draws each candidate for a prime anew; steps of two need far fewer random bytes.

Source: ISO/IEC 7816-8:2019, clause 5.1; FIPS 186-5, appendices A.1.3 and B.3.
"""

from __future__ import annotations

from itertools import count
from math import gcd, isqrt
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from card_os.hardware.work import Work
from card_os.iso7816 import tlv
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, WrongData
from card_os.security.access import NEVER, AccessRule
from card_os.security.key_kinds import RSA_EXPONENT, KeyAlgorithm, public_key
from card_os.security.keys import KeyUsage, find_key, replace_key
from card_os.security.libcrypto import CurveName, curve
from card_os.security.sm2 import Sm2PrivateKey

if TYPE_CHECKING:
    from card_os.applet_api import Context, Instruction
    from card_os.hardware.randomness import Randomness
    from card_os.iso7816.apdu import CommandApdu

_P1_GENERATE: Final = 0x80
_P1_READ: Final = 0x81
_TAG_SIGNATURE_TEMPLATE, _TAG_PRIVATE_REFERENCE = 0xB6, 0x84
_TAG_PUBLIC_KEY: Final = 0x7F49
_TAG_POINT: Final = 0x86
_TAG_MODULUS, _TAG_EXPONENT = 0x81, 0x82
_CURVES: Final = MappingProxyType(
    {KeyAlgorithm.EC_P256_PRIVATE: CurveName.P256, KeyAlgorithm.EC_P384_PRIVATE: CurveName.P384}
)

_SIEVE_LIMIT: Final = 2000
_SMALL_PRIMES: Final = tuple(
    number for number in range(3, _SIEVE_LIMIT) if all(number % factor for factor in range(2, isqrt(number) + 1))
)
_MILLER_RABIN_ROUNDS: Final = 8
"""More than FIPS 186-5, appendix B, asks for primes of 1024 and 1536 bits."""
_MIN_DISTANCE_BITS: Final = 100
_BITS: Final = 8


def generate_key(algorithm: KeyAlgorithm, length: int, randomness: Randomness) -> bytes:
    """A private key, in the form in which it rests.

    Args:
        algorithm: a private one.
        length: bytes of the value; RSA: 256 or 384, p ‖ q.
        randomness: the injected source.

    Raises:
        ValueError: the algorithm has no private keys.
    """
    match algorithm:
        case KeyAlgorithm.EC_P256_PRIVATE | KeyAlgorithm.EC_P384_PRIVATE:
            order = curve(_CURVES[algorithm]).order
            while True:
                raw = randomness.bytes(length)
                if 0 < int.from_bytes(raw, "big") < order:
                    return raw
        case KeyAlgorithm.SM2_PRIVATE:
            return Sm2PrivateKey.generate(randomness).scalar
        case KeyAlgorithm.RSA_PRIVATE:
            return _rsa_primes(length // 2, randomness)
        case _:
            raise ValueError(f"no pairs of kind {algorithm.name}")


def _rsa_primes(length: int, randomness: Randomness) -> bytes:
    """Both primes, p ‖ q, each ``length`` bytes, far apart, with p - 1 and q - 1 prime to the exponent."""
    bits = length * _BITS
    p = _prime(length, randomness)
    while True:
        q = _prime(length, randomness)
        if abs(p - q) >> (bits - _MIN_DISTANCE_BITS):
            return p.to_bytes(length, "big") + q.to_bytes(length, "big")


def _prime(length: int, randomness: Randomness) -> int:
    """A probable prime whose two highest bits are set, so that the product of two has its full length."""
    bits = length * _BITS
    top = 3 << (bits - 2)
    while True:
        start = int.from_bytes(randomness.bytes(length), "big") | top | 1
        residues = [(prime, start % prime) for prime in _SMALL_PRIMES]
        for step in count(0, 2):
            candidate = start + step
            if candidate >> bits:
                break
            if (
                all((residue + step) % prime for prime, residue in residues)
                and gcd(candidate - 1, RSA_EXPONENT) == 1
                and _probably_prime(candidate, length, randomness)
            ):
                return candidate


def _probably_prime(candidate: int, length: int, randomness: Randomness) -> bool:
    """Miller-Rabin with random bases (FIPS 186-5, B.3.1)."""
    odd, twos = candidate - 1, 0
    while not odd & 1:
        odd, twos = odd >> 1, twos + 1
    for _ in range(_MILLER_RABIN_ROUNDS):
        base = 2 + int.from_bytes(randomness.bytes(length), "big") % (candidate - 3)
        value = pow(base, odd, candidate)
        if value in {1, candidate - 1}:
            continue
        for _ in range(twos - 1):
            value = value * value % candidate
            if value == candidate - 1:
                break
        else:
            return False
    return True


def generate_asymmetric_key_pair(context: Context, command: CommandApdu) -> bytes:
    """GENERATE ASYMMETRIC KEY PAIR (INS 46, 47): P1 80 makes a pair, 81 reads the public key; P2 00.

    Raises:
        IncorrectP1P2: 6A86.
        WrongData: 6A80, the data is not one template B6 with one reference.
        ReferenceDataNotFound: 6A88, no key of that reference that signs.
        ConditionsNotSatisfied: 6985, the key is not an asymmetric one.
    """
    if command.p1 not in {_P1_GENERATE, _P1_READ} or command.p2:
        raise IncorrectP1P2("P1 is 80 or 81 and P2 is 00")
    key = find_key(context, _reference(command.data), KeyUsage.SIGN)
    algorithm, value = KeyAlgorithm(key.algorithm), key.value
    if algorithm not in _PRIVATE:
        raise ConditionsNotSatisfied(f"no pairs of kind {algorithm.name}")
    randomness, clock = context.randomness, context.clock
    if algorithm is not KeyAlgorithm.RSA_PRIVATE:
        clock.work(Work.POINT_MULTIPLICATION)
    if command.p1 == _P1_GENERATE:
        before = randomness.position
        value = generate_key(algorithm, len(value), randomness)
        if algorithm is KeyAlgorithm.RSA_PRIVATE:
            clock.work(Work.RSA_CANDIDATE_BYTE, randomness.position - before)
        replace_key(context, key, value)
    parts = public_key(algorithm, value)
    tags = (_TAG_MODULUS, _TAG_EXPONENT) if algorithm is KeyAlgorithm.RSA_PRIVATE else (_TAG_POINT,)
    objects = (tlv.encode(tag, part) for tag, part in zip(tags, parts, strict=True))
    return tlv.encode(_TAG_PUBLIC_KEY, *objects)


_PRIVATE: Final = frozenset({*_CURVES, KeyAlgorithm.SM2_PRIVATE, KeyAlgorithm.RSA_PRIVATE})


def _reference(data: bytes) -> int:
    try:
        template = tlv.parse_one(data)
        item = tlv.parse_one(template.value)
    except tlv.TlvError as error:
        raise WrongData(str(error)) from None
    if template.tag != _TAG_SIGNATURE_TEMPLATE or item.tag != _TAG_PRIVATE_REFERENCE or len(item.value) != 1:
        raise WrongData("one template B6 with one reference 84")
    return item.value[0]


def key_generation_instructions(
    access: AccessRule = NEVER, states: frozenset[int] | None = None
) -> tuple[Instruction, Instruction]:
    """The rows of GENERATE ASYMMETRIC KEY PAIR for an application's command table.

    Args:
        access: rule of both; never unless the application says so, for a new pair destroys the old one.
        states: application life-cycle states in which they are allowed; None = every selectable state.
    """
    from card_os.applet_api import Instruction

    name, handler = "GENERATE ASYMMETRIC KEY PAIR", generate_asymmetric_key_pair
    return (
        Instruction(0x46, name, handler, access=access, states=states),
        Instruction(0x47, name, handler, access=access, states=states),
    )
