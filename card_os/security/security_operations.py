"""MANAGE SECURITY ENVIRONMENT and PERFORM SECURITY OPERATION.

MANAGE SECURITY ENVIRONMENT (INS 22) names the key of the next operations: P1 41 SET for computing and deciphering, 81
SET for verifying and enciphering, F3 RESTORE (P2 01) forgets all of it; P2 is the template:

```
P2 B6   digital signature   data 83 or 84 ‖ 01 ‖ reference
P2 B4   checksum (MAC)      the same
P2 B8   confidentiality     the same; for enciphering with RSA 80 ‖ 01 ‖ 01 OAEP, 02 PKCS#1 v1.5 may go before
P2 AA   hash                data 80 ‖ 01 ‖ 01 SHA-256, 02 SHA-384, 03 SM3
P2 A4   authentication      P1 81 only: 83 name of a terminal whose certificate was verified
```

With P1 81 and P2 B6, object 83 may also name the issuer of a certificate, see `certificates`.

PERFORM SECURITY OPERATION (INS 2A) then does, by P1-P2:

```
9080   hash                   data → digest, which is kept for the next signature
9E9A   compute signature      digest, or nothing after a hash → signature
00A8   verify signature       [9A digest] 9E signature
8E80   compute checksum       data → MAC
00A2   verify checksum        80 data, 8E MAC
00BE   verify certificate     7F4E body, 5F37 signature
8680   encipher               data → padding indicator ‖ cryptogram
8086   decipher               padding indicator ‖ cryptogram → data
```

The padding indicator is 01, padding method 2, for a block cipher, and 02, none, for a public key. What has been set is
gone at reset, at selection, and whenever the key it names is no longer there. A digest is used up by the next command
of this kind, whatever its outcome. Keys never leave the card; a key works only for what its usage says.

Source: ISO/IEC 7816-4:2020, clause 11.6.11 (MANAGE SECURITY ENVIRONMENT); ISO/IEC 7816-8:2019, clauses 5.2 and 5.3
(PERFORM SECURITY OPERATION). The values of object 80 are our own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from card_os.hardware.work import Work
from card_os.iso7816 import tlv
from card_os.iso7816.errors import (
    AuthenticationFailed,
    ConditionsNotSatisfied,
    FunctionNotSupported,
    IncorrectP1P2,
    ReferenceDataNotFound,
    WrongData,
    WrongLength,
)
from card_os.security.access import NEVER, AccessRule
from card_os.security.certificates import choose_issuer, choose_terminal, forget_certificates, verify_certificate
from card_os.security.key_kinds import (
    SYMMETRIC,
    KeyAlgorithm,
    decipher,
    encipher,
    sign,
    spend_on_cryptogram,
    spend_on_signature,
    verify,
)
from card_os.security.keys import Key, KeyUsage, find_key, has_key
from card_os.security.rsa_encryption import RsaPadding
from card_os.security.sm2 import sm3

if TYPE_CHECKING:
    from card_os.applet_api import Context, Instruction
    from card_os.iso7816.apdu import CommandApdu

_SCRATCH: Final = "security environment"


class Template(IntEnum):
    """Control reference templates, P2 of MANAGE SECURITY ENVIRONMENT."""

    AUTHENTICATION = 0xA4
    HASH = 0xAA
    CHECKSUM = 0xB4
    SIGNATURE = 0xB6
    CONFIDENTIALITY = 0xB8


class _Set(IntEnum):
    """P1 of MANAGE SECURITY ENVIRONMENT."""

    COMPUTE = 0x41
    VERIFY = 0x81
    RESTORE = 0xF3


class _Tag(IntEnum):
    """Data objects of both commands."""

    ALGORITHM = 0x80
    PLAIN = 0x80
    PUBLIC_REFERENCE = 0x83
    PRIVATE_REFERENCE = 0x84
    CHECKSUM = 0x8E
    DIGEST = 0x9A
    SIGNATURE = 0x9E


class _Padding(IntEnum):
    """Padding indicators in front of a cryptogram."""

    METHOD_2 = 0x01
    NONE = 0x02


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sha384(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


_HASHES: Final[Mapping[int, Callable[[bytes], bytes]]] = MappingProxyType({1: _sha256, 2: _sha384, 3: sm3})
_USES: Final = MappingProxyType(
    {
        (_Set.COMPUTE, Template.SIGNATURE): KeyUsage.SIGN,
        (_Set.COMPUTE, Template.CHECKSUM): KeyUsage.SIGN,
        (_Set.COMPUTE, Template.CONFIDENTIALITY): KeyUsage.DECIPHER,
        (_Set.VERIFY, Template.SIGNATURE): KeyUsage.VERIFY,
        (_Set.VERIFY, Template.CHECKSUM): KeyUsage.VERIFY,
        (_Set.VERIFY, Template.CONFIDENTIALITY): KeyUsage.ENCIPHER,
    }
)
_DEFAULT_ENVIRONMENT: Final = 1
_DEFAULT_HASH: Final = 1
_HASH_BLOCK: Final = 64
_ALGORITHM_OBJECT: Final = 3
"""Bytes of an object 80 with one byte."""


class _Environment:
    """What MANAGE SECURITY ENVIRONMENT set on one channel, and the digest that waits to be signed."""

    __slots__ = ("digest", "hash_algorithm", "keys", "padding")

    def __init__(self) -> None:
        self.padding = RsaPadding.OAEP
        self.keys: dict[tuple[Template, KeyUsage], int] = {}
        self.hash_algorithm = _DEFAULT_HASH
        self.digest: bytes | None = None


def _environment(context: Context) -> _Environment:
    found = context.session.scratch.get(_SCRATCH)
    if not isinstance(found, _Environment):
        found = context.session.scratch[_SCRATCH] = _Environment()
    return found


def manage_security_environment(context: Context, command: CommandApdu) -> bytes:
    """MANAGE SECURITY ENVIRONMENT (INS 22): P1 41, 81 or F3, P2 template or environment.

    Raises:
        IncorrectP1P2: 6A86, another function or template.
        ReferenceDataNotFound: 6A88, no key of that reference for that use, or no such environment.
        WrongData: 6A80, not exactly the one object that the template takes.
    """
    if command.p1 == _Set.RESTORE:
        return _restore(context, command)
    match command.p1, command.p2:
        case _Set.COMPUTE, Template.HASH:
            (algorithm,) = _objects(command.data, (_Tag.ALGORITHM,))
            if len(algorithm) != 1 or algorithm[0] not in _HASHES:
                raise WrongData("no known hash algorithm")
            _environment(context).hash_algorithm = algorithm[0]
        case _Set.VERIFY, Template.AUTHENTICATION:
            (name,) = _objects(command.data, (_Tag.PUBLIC_REFERENCE,))
            choose_terminal(context, name)
        case _Set.VERIFY, Template.SIGNATURE if _names_issuer(context, command.data):
            pass
        case _:
            _set_key(context, command)
    return b""


def _restore(context: Context, command: CommandApdu) -> bytes:
    if command.data:
        raise WrongLength("RESTORE has no data")
    if command.p2 != _DEFAULT_ENVIRONMENT:
        raise ReferenceDataNotFound(f"no security environment {command.p2}")
    context.session.scratch.pop(_SCRATCH, None)
    forget_certificates(context)
    return b""


def _set_key(context: Context, command: CommandApdu) -> None:
    try:
        template = Template(command.p2)
        usage = _USES[_Set(command.p1), template]
    except (ValueError, KeyError):
        raise IncorrectP1P2("no such function or template") from None
    data, scheme = command.data, RsaPadding.OAEP
    if usage is KeyUsage.ENCIPHER and data[:1] == bytes((_Tag.ALGORITHM,)):
        scheme, data = _padding(data[:_ALGORITHM_OBJECT]), data[_ALGORITHM_OBJECT:]
    reference = _reference(data)
    if not has_key(context, reference, usage):
        raise ReferenceDataNotFound(f"no key {reference:02X} for that")
    environment = _environment(context)
    environment.keys[template, usage] = reference
    if usage is KeyUsage.ENCIPHER:
        environment.padding = scheme


def _names_issuer(context: Context, data: bytes) -> bool:
    """True when the template names the issuer of a certificate and no key of the card that verifies signatures too."""
    (reference,) = _objects(data, (_Tag.PUBLIC_REFERENCE,)) if data[:1] == bytes((_Tag.PUBLIC_REFERENCE,)) else (b"",)
    if not reference:
        return False
    chosen = choose_issuer(context, reference)
    return chosen and len(reference) > 1


def _padding(data: bytes) -> RsaPadding:
    (number,) = _objects(data, (_Tag.ALGORITHM,))
    try:
        return RsaPadding(int.from_bytes(number, "big"))
    except ValueError:
        raise WrongData("no known padding") from None


def _reference(data: bytes) -> int:
    """The key reference in an object 83 or 84."""
    tag = _Tag.PRIVATE_REFERENCE if data[:1] == bytes((_Tag.PRIVATE_REFERENCE,)) else _Tag.PUBLIC_REFERENCE
    (reference,) = _objects(data, (tag,))
    if len(reference) != 1:
        raise WrongData("a key reference has one byte")
    return reference[0]


def _objects(data: bytes, tags: tuple[int, ...]) -> list[bytes]:
    """The values of exactly these objects, in this order.

    Raises:
        WrongData: 6A80, malformed, or other objects.
    """
    try:
        objects = tlv.parse_all(data)
    except tlv.TlvError as error:
        raise WrongData(str(error)) from None
    if tuple(item.tag for item in objects) != tags:
        raise WrongData("other data objects than expected")
    return [item.value for item in objects]


def _key(context: Context, template: Template, usage: KeyUsage) -> tuple[Key, KeyAlgorithm]:
    """The key that was set; a signature takes no symmetric key and a checksum no other.

    Raises:
        ConditionsNotSatisfied: 6985, none is set, or it is of a kind that does not do this.
        ReferenceDataNotFound: 6A88, it has been deleted.
    """
    reference = _environment(context).keys.get((template, usage))
    if reference is None:
        raise ConditionsNotSatisfied("no key is set for this operation")
    key = find_key(context, reference, usage)
    algorithm = KeyAlgorithm(key.algorithm)
    if template is not Template.CONFIDENTIALITY and (algorithm in SYMMETRIC) is not (template is Template.CHECKSUM):
        raise ConditionsNotSatisfied(f"a key of kind {algorithm.name} does not do this")
    return key, algorithm


def _hash(context: Context, data: bytes) -> bytes:
    environment = _environment(context)
    context.clock.work(Work.HASH_BLOCK, len(data) // _HASH_BLOCK + 1)
    environment.digest = _HASHES[environment.hash_algorithm](data)
    return environment.digest


def _compute_signature(context: Context, data: bytes) -> bytes:
    digest = data or _take_digest(context)
    key, algorithm = _key(context, Template.SIGNATURE, KeyUsage.SIGN)
    spend_on_signature(context.clock, algorithm, key.value, len(digest))
    return sign(algorithm, key.value, digest, context.randomness)


def _verify_signature(context: Context, data: bytes) -> bytes:
    if data[:1] == bytes((_Tag.DIGEST,)):
        digest, signature = _objects(data, (_Tag.DIGEST, _Tag.SIGNATURE))
    else:
        (signature,) = _objects(data, (_Tag.SIGNATURE,))
        digest = _take_digest(context)
    key, algorithm = _key(context, Template.SIGNATURE, KeyUsage.VERIFY)
    spend_on_signature(context.clock, algorithm, key.value, len(digest))
    if not verify(algorithm, key.value, digest, signature):
        raise AuthenticationFailed("the signature is wrong")
    return b""


def _take_digest(context: Context) -> bytes:
    environment = _environment(context)
    digest, environment.digest = environment.digest, None
    if digest is None:
        raise ConditionsNotSatisfied("nothing has been hashed")
    return digest


def _compute_checksum(context: Context, data: bytes) -> bytes:
    key, algorithm = _key(context, Template.CHECKSUM, KeyUsage.SIGN)
    spend_on_signature(context.clock, algorithm, key.value, len(data))
    return sign(algorithm, key.value, data, context.randomness)


def _verify_checksum(context: Context, data: bytes) -> bytes:
    message, mac = _objects(data, (_Tag.PLAIN, _Tag.CHECKSUM))
    key, algorithm = _key(context, Template.CHECKSUM, KeyUsage.VERIFY)
    spend_on_signature(context.clock, algorithm, key.value, len(message))
    if not verify(algorithm, key.value, message, mac):
        raise AuthenticationFailed("the MAC is wrong")
    return b""


def _encipher(context: Context, data: bytes) -> bytes:
    key, algorithm = _key(context, Template.CONFIDENTIALITY, KeyUsage.ENCIPHER)
    padding = _environment(context).padding
    spend_on_cryptogram(context.clock, algorithm, key.value, len(data))
    return _indicator(algorithm) + encipher(algorithm, key.value, data, context.randomness, padding)


def _decipher(context: Context, data: bytes) -> bytes:
    key, algorithm = _key(context, Template.CONFIDENTIALITY, KeyUsage.DECIPHER)
    if data[:1] != _indicator(algorithm):
        raise WrongData("another padding indicator than the key has")
    spend_on_cryptogram(context.clock, algorithm, key.value, len(data))
    return decipher(algorithm, key.value, data[1:])


def _verify_certificate(context: Context, data: bytes) -> bytes:
    verify_certificate(context, data)
    return b""


def _indicator(algorithm: KeyAlgorithm) -> bytes:
    return bytes((_Padding.METHOD_2 if algorithm in SYMMETRIC else _Padding.NONE,))


class _Operation(IntEnum):
    """P1-P2 of PERFORM SECURITY OPERATION."""

    HASH = 0x9080
    COMPUTE_SIGNATURE = 0x9E9A
    VERIFY_SIGNATURE = 0x00A8
    COMPUTE_CHECKSUM = 0x8E80
    VERIFY_CHECKSUM = 0x00A2
    VERIFY_CERTIFICATE = 0x00BE
    ENCIPHER = 0x8680
    DECIPHER = 0x8086


_OPERATIONS: Final[Mapping[int, Callable[[Context, bytes], bytes]]] = MappingProxyType(
    {
        _Operation.HASH: _hash,
        _Operation.COMPUTE_SIGNATURE: _compute_signature,
        _Operation.VERIFY_SIGNATURE: _verify_signature,
        _Operation.COMPUTE_CHECKSUM: _compute_checksum,
        _Operation.VERIFY_CHECKSUM: _verify_checksum,
        _Operation.VERIFY_CERTIFICATE: _verify_certificate,
        _Operation.ENCIPHER: _encipher,
        _Operation.DECIPHER: _decipher,
    }
)
_TAKE_A_DIGEST: Final = frozenset({_Operation.COMPUTE_SIGNATURE, _Operation.VERIFY_SIGNATURE})


def perform_security_operation(context: Context, command: CommandApdu) -> bytes:
    """PERFORM SECURITY OPERATION (INS 2A): P1-P2 says what comes back and what goes in, as in the table above.

    Raises:
        FunctionNotSupported: 6A81, another operation.
        ConditionsNotSatisfied: 6985, no fitting key is set, or nothing was hashed.
        WrongData: 6A80, the data are not what the operation takes.
        AuthenticationFailed: 6300, a signature, a MAC or a certificate is wrong.
    """
    number = command.p1 << 8 | command.p2
    environment = _environment(context)
    if number not in _TAKE_A_DIGEST:
        environment.digest = None
    operation = _OPERATIONS.get(number)
    if operation is None:
        raise FunctionNotSupported(f"no security operation {number:04X}")
    try:
        return operation(context, command.data)
    except ValueError as error:
        raise WrongData(str(error)) from None
    finally:
        if number in _TAKE_A_DIGEST:
            environment.digest = None


def security_operation_instructions(
    access: AccessRule = NEVER, states: frozenset[int] | None = None
) -> tuple[Instruction, Instruction]:
    """The rows of MANAGE SECURITY ENVIRONMENT and PERFORM SECURITY OPERATION for an application's command table.

    Args:
        access: rule of both commands; never unless the application says so.
        states: application life-cycle states in which they are allowed; None = every selectable state.
    """
    from card_os.applet_api import Instruction

    return (
        Instruction(0x22, "MANAGE SECURITY ENVIRONMENT", manage_security_environment, access=access, states=states),
        Instruction(
            0x2A,
            "PERFORM SECURITY OPERATION",
            perform_security_operation,
            access=access,
            states=states,
            chaining=True,
        ),
    )
