"""Security conditions of ISO/IEC 7816-4, compiled into the masks of `AccessRule`.

A condition is written as one security condition byte, or as data objects. Whatever its form, it becomes a disjunction
of conjunctions over `Proof` bits, so that asking it costs one AND and one compare for each alternative.

Security condition byte: 00 always, FF never, else

```
b8     1 = all of the conditions below, 0 = at least one
b7     secure messaging
b6     external authentication
b5     user authentication
b4-b1  security environment 1..14 that says how, 0 = none
```

Security condition data objects:

```
90 00            always
97 00            never
9E 01 byte       security condition byte
A4 { 83 95 }     authentication: 95 08 user authentication, 95 80 or C0 external (mutual) authentication; 83 reference
B4 { 95 [83] }   secure messaging (95 10, 20 or 30), with 83 in a session that this key opened
B8 { 95 [83] }   the same
A0 { … }         at least one of the conditions inside
AF { … }         all of the conditions inside
C0 01 byte       private: 01 contact interface, 02 contactless interface, 03 GlobalPlatform secure channel
```

References are those of the application (b8 = 1): 81 to 88 are PINs 1 to 8, 81 to 90 are key roles 1 to 16.

Deviates: A7 (not), B6 (digital signature template), 9C and references of the whole card (b8 = 0) are refused. A negated
condition would take a right away from who proves more.

Source: ISO/IEC 7816-4:2020, clauses 9.3 (security conditions in compact and expanded format) and 10.3 (control
reference templates, security environments).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Final

from card_os.iso7816 import tlv
from card_os.security.access import ALWAYS, NEVER, AccessRule, Proof

MAX_ALTERNATIVES: Final = 16
"""A rule that compiles to more is refused: every alternative is a compare on each command."""
MAX_DEPTH: Final = 4
MAX_ENVIRONMENT: Final = 14

_BOTH_INTERFACES: Final = int(Proof.CONTACT | Proof.CONTACTLESS)
_NUMBER_BITS: Final = 0x1F
_SPECIFIC: Final = 0x80
_ENVIRONMENT_BITS: Final = 0x0F
_MAX_PIN: Final = 8
_MAX_ROLE: Final = 16
_ALWAYS_BYTE: Final = 0x00
_NEVER_BYTE: Final = 0xFF


class ConditionTag(IntEnum):
    """Tags of security condition data objects; OWN is of the private class."""

    ALWAYS = 0x90
    NEVER = 0x97
    BYTE = 0x9E
    AUTHENTICATION = 0xA4
    CHECKSUM = 0xB4
    CONFIDENTIALITY = 0xB8
    ANY = 0xA0
    ALL = 0xAF
    OWN = 0xC0


class ReferenceTag(IntEnum):
    """Data objects of control reference templates and of a security environment template."""

    ENVIRONMENT_NUMBER = 0x80
    KEY = 0x83
    USAGE = 0x95
    ENVIRONMENT = 0x7B


class OwnCondition(IntEnum):
    """Values of the private condition object."""

    CONTACT = 1
    CONTACTLESS = 2
    SECURE_CHANNEL = 3


class _Needs(IntFlag):
    """Bits of the security condition byte."""

    USER = 0x10
    EXTERNAL = 0x20
    SECURE_MESSAGING = 0x40
    ALL = 0x80


class UsageQualifier(IntFlag):
    """Usage qualifier byte of a control reference template."""

    USER = 0x08
    SM_COMMAND = 0x10
    SM_RESPONSE = 0x20
    INTERNAL = 0x40
    EXTERNAL = 0x80


_SM_USAGES: Final = frozenset({int(UsageQualifier.SM_COMMAND), int(UsageQualifier.SM_RESPONSE), 0x30})
_EXTERNAL_USAGES: Final = frozenset({int(UsageQualifier.EXTERNAL), 0xC0})
_OWN_PROOFS: Final = MappingProxyType(
    {
        OwnCondition.CONTACT: int(Proof.CONTACT),
        OwnCondition.CONTACTLESS: int(Proof.CONTACTLESS),
        OwnCondition.SECURE_CHANNEL: int(Proof.SECURE_CHANNEL),
    }
)


@dataclass(frozen=True, slots=True)
class SecurityEnvironment:
    """What the three bits of a security condition byte mean in one environment; never unless it says so.

    Attributes:
        secure_messaging: what satisfies bit 7.
        external_authentication: what satisfies bit 6.
        user_authentication: what satisfies bit 5.
    """

    secure_messaging: AccessRule = NEVER
    external_authentication: AccessRule = NEVER
    user_authentication: AccessRule = NEVER


IMPLICIT: Final = SecurityEnvironment(
    secure_messaging=AccessRule((int(Proof.SECURE_MESSAGING),)),
    user_authentication=AccessRule((int(Proof.pin(1)),)),
)
"""What a condition byte without an environment means: any secure messaging, PIN 1, and no key, for none is implied."""

Environments = Mapping[int, SecurityEnvironment]
"""Environments by number, 1..14; number 0 replaces `IMPLICIT`. One that is not there satisfies nothing."""
NO_ENVIRONMENTS: Final[Environments] = MappingProxyType({})


def any_of(rules: Iterable[AccessRule]) -> AccessRule:
    """The rule that holds when one of ``rules`` holds; never when there are none.

    Raises:
        ValueError: more than `MAX_ALTERNATIVES` alternatives.
    """
    return _minimal(mask for rule in rules for mask in rule.alternatives)


def all_of(rules: Iterable[AccessRule]) -> AccessRule:
    """The rule that holds when all of ``rules`` hold; always when there are none.

    Raises:
        ValueError: more than `MAX_ALTERNATIVES` alternatives.
    """
    result = ALWAYS
    for rule in rules:
        result = _minimal(left | right for left in result.alternatives for right in rule.alternatives)
    return result


def _minimal(masks: Iterable[int]) -> AccessRule:
    """Drop what cannot be proved (both interfaces at once) and what another alternative includes."""
    kept: list[int] = []
    for mask in sorted(set(masks), key=lambda mask: (mask.bit_count(), mask)):
        possible = mask & _BOTH_INTERFACES != _BOTH_INTERFACES
        if possible and not any(mask & fewer == fewer for fewer in kept):
            kept.append(mask)
    if len(kept) > MAX_ALTERNATIVES:
        raise ValueError(f"an access rule of more than {MAX_ALTERNATIVES} alternatives")
    return AccessRule(tuple(kept))


def condition_byte(byte: int, environments: Environments = NO_ENVIRONMENTS) -> AccessRule:
    """Compile a security condition byte.

    Args:
        byte: 00..FF as in the table above.
        environments: what the environments mean; an unknown one satisfies nothing.

    Raises:
        ValueError: a value that is reserved: environment 15, or no condition at all beside an environment.
    """
    if byte == _ALWAYS_BYTE:
        return ALWAYS
    if byte == _NEVER_BYTE:
        return NEVER
    number = byte & _ENVIRONMENT_BITS
    if number > MAX_ENVIRONMENT:
        raise ValueError("security environment 15 is reserved")
    environment = environments.get(number, SecurityEnvironment() if number else IMPLICIT)
    needed = [
        rule
        for bit, rule in (
            (_Needs.SECURE_MESSAGING, environment.secure_messaging),
            (_Needs.EXTERNAL, environment.external_authentication),
            (_Needs.USER, environment.user_authentication),
        )
        if byte & bit
    ]
    if not needed:
        raise ValueError("a security condition byte without a condition")
    return all_of(needed) if byte & _Needs.ALL else any_of(needed)


def condition_object(item: tlv.Tlv, environments: Environments = NO_ENVIRONMENTS, depth: int = 0) -> AccessRule:
    """Compile one security condition data object.

    Args:
        item: one of the objects in the table above.
        environments: what condition bytes inside mean.
        depth: how many templates it stands in.

    Raises:
        ValueError: unknown, malformed, nested more than `MAX_DEPTH` deep, or too many alternatives.
    """
    match item.tag:
        case ConditionTag.ALWAYS | ConditionTag.NEVER:
            if item.value:
                raise ValueError("the conditions always and never have no value")
            return ALWAYS if item.tag == ConditionTag.ALWAYS else NEVER
        case ConditionTag.BYTE:
            return condition_byte(_one_byte(item), environments)
        case ConditionTag.OWN:
            return AccessRule((_OWN_PROOFS[OwnCondition(_one_byte(item))],))
        case ConditionTag.AUTHENTICATION | ConditionTag.CHECKSUM | ConditionTag.CONFIDENTIALITY:
            return AccessRule((_reference_template(item)[1],))
        case ConditionTag.ANY | ConditionTag.ALL:
            if depth == MAX_DEPTH:
                raise ValueError("security conditions are nested too deep")
            inside = [condition_object(child, environments, depth + 1) for child in item.children()]
            if not inside:
                raise ValueError("a template without security conditions")
            return any_of(inside) if item.tag == ConditionTag.ANY else all_of(inside)
        case _:
            raise ValueError(f"unknown security condition {item.tag:02X}")


def environment(template: bytes) -> tuple[int, SecurityEnvironment]:
    """Read a security environment template: 7B { 80 number, A4 or B4 or B8 … }.

    Several templates of one kind are alternatives.

    Returns:
        The number, 1..14, and what the condition byte means there.

    Raises:
        ValueError: malformed, or an object that is not known.
    """
    outer = tlv.parse_one(template)
    if outer.tag != ReferenceTag.ENVIRONMENT:
        raise ValueError("not a security environment template")
    numbers = [_one_byte(item) for item in outer.children() if item.tag == ReferenceTag.ENVIRONMENT_NUMBER]
    if len(numbers) != 1 or not 1 <= numbers[0] <= MAX_ENVIRONMENT:
        raise ValueError("a security environment has one number, 1 to 14")
    found: dict[_Needs, list[AccessRule]] = {_Needs.SECURE_MESSAGING: [], _Needs.EXTERNAL: [], _Needs.USER: []}
    for item in outer.children():
        if item.tag != ReferenceTag.ENVIRONMENT_NUMBER:
            need, mask = _reference_template(item)
            found[need].append(AccessRule((mask,)))
    return numbers[0], SecurityEnvironment(
        any_of(found[_Needs.SECURE_MESSAGING]), any_of(found[_Needs.EXTERNAL]), any_of(found[_Needs.USER])
    )


def _reference_template(item: tlv.Tlv) -> tuple[_Needs, int]:
    """What a control reference template asks for, and the proofs that satisfy it."""
    children = item.children()
    objects = {child.tag: child for child in children}
    if len(objects) != len(children) or not objects.keys() <= {ReferenceTag.KEY, ReferenceTag.USAGE}:
        raise ValueError(f"template {item.tag:02X} has repeated or unknown objects")
    if ReferenceTag.USAGE not in objects:
        raise ValueError(f"template {item.tag:02X} does not say its usage")
    usage = _one_byte(objects[ReferenceTag.USAGE])
    key = objects.get(ReferenceTag.KEY)
    reference = None if key is None else _one_byte(key)
    if item.tag in {ConditionTag.CHECKSUM, ConditionTag.CONFIDENTIALITY} and usage in _SM_USAGES:
        return _Needs.SECURE_MESSAGING, int(Proof.SECURE_MESSAGING) | (_role(reference) if reference is not None else 0)
    if item.tag == ConditionTag.AUTHENTICATION and reference is not None:
        if usage == UsageQualifier.USER:
            return _Needs.USER, int(Proof.pin(_number(reference, _MAX_PIN)))
        if usage in _EXTERNAL_USAGES:
            return _Needs.EXTERNAL, _role(reference)
    raise ValueError(f"template {item.tag:02X} of that usage is no condition")


def _role(reference: int) -> int:
    return int(Proof.key(_number(reference, _MAX_ROLE)))


def _number(reference: int, most: int) -> int:
    """The number in a reference of the application: b8 = 1, b5-b1 the number."""
    number = reference & _NUMBER_BITS
    if reference & ~_NUMBER_BITS != _SPECIFIC or not 1 <= number <= most:
        raise ValueError(f"reference {reference:02X} names no reference data of the application")
    return number


def _one_byte(item: tlv.Tlv) -> int:
    if len(item.value) != 1:
        raise ValueError(f"object {item.tag:02X} has one byte")
    return item.value[0]


def encode_condition(rule: AccessRule) -> bytes:
    """The security condition data object of a rule; `condition_object` gives the rule back.

    Raises:
        ValueError: a proof that no condition object expresses.
    """
    if not rule.alternatives:
        return tlv.encode(ConditionTag.NEVER)
    alternatives = [_encode_mask(mask) for mask in rule.alternatives]
    return alternatives[0] if len(alternatives) == 1 else tlv.encode(ConditionTag.ANY, *alternatives)


def encode_condition_byte(rule: AccessRule) -> int:
    """The security condition byte of a rule, without an environment: secure messaging and PIN 1.

    Raises:
        ValueError: the rule needs an environment or the expanded format.
    """
    for byte in _PLAIN_BYTES:
        if set(condition_byte(byte).alternatives) == set(rule.alternatives):
            return byte
    raise ValueError("the rule does not fit a security condition byte")


_PLAIN_BYTES: Final = (
    _ALWAYS_BYTE,
    _NEVER_BYTE,
    int(_Needs.SECURE_MESSAGING),
    int(_Needs.USER),
    int(_Needs.SECURE_MESSAGING | _Needs.USER),
    int(_Needs.ALL | _Needs.SECURE_MESSAGING | _Needs.USER),
)


def _encode_mask(mask: int) -> bytes:
    if not mask:
        return tlv.encode(ConditionTag.ALWAYS)
    parts = [encoded for bit, encoded in _ENCODED if mask & bit]
    if sum(bit for bit, _ in _ENCODED if mask & bit) != mask:
        raise ValueError("a proof that no security condition names")
    return parts[0] if len(parts) == 1 else tlv.encode(ConditionTag.ALL, *parts)


def _authentication(reference: int, usage: UsageQualifier) -> bytes:
    return tlv.encode(
        ConditionTag.AUTHENTICATION,
        tlv.encode(ReferenceTag.KEY, bytes((reference,))),
        tlv.encode(ReferenceTag.USAGE, bytes((usage,))),
    )


_ENCODED: Final = (
    *((proof, tlv.encode(ConditionTag.OWN, bytes((own,)))) for own, proof in _OWN_PROOFS.items()),
    (
        int(Proof.SECURE_MESSAGING),
        tlv.encode(
            ConditionTag.CHECKSUM,
            tlv.encode(ReferenceTag.USAGE, bytes((UsageQualifier.SM_COMMAND | UsageQualifier.SM_RESPONSE,))),
        ),
    ),
    *(
        (int(Proof.pin(number)), _authentication(_SPECIFIC | number, UsageQualifier.USER))
        for number in range(1, _MAX_PIN + 1)
    ),
    *(
        (int(Proof.key(number)), _authentication(_SPECIFIC | number, UsageQualifier.EXTERNAL))
        for number in range(1, _MAX_ROLE + 1)
    ),
)
