"""Security conditions become masks: bytes, data objects, environments (ISO/IEC 7816-4, clause 9.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.tlv import TlvError, parse_one
from card_os.security.access import ALWAYS, NEVER, AccessRule, Proof
from card_os.security.conditions import (
    MAX_ALTERNATIVES,
    SecurityEnvironment,
    all_of,
    any_of,
    condition_byte,
    condition_object,
    encode_condition,
    encode_condition_byte,
    environment,
)

SM = int(Proof.SECURE_MESSAGING)
PIN_1 = int(Proof.pin(1))
PIN_2 = int(Proof.pin(2))
KEY_3 = int(Proof.key(3))
CONTACT = int(Proof.CONTACT)
CONTACTLESS = int(Proof.CONTACTLESS)
ENVIRONMENTS = {
    3: SecurityEnvironment(AccessRule((SM | KEY_3,)), AccessRule((KEY_3,)), AccessRule((PIN_2,))),
    4: SecurityEnvironment(user_authentication=AccessRule((PIN_1, PIN_2))),
}
PROOFS = [Proof.CONTACT, Proof.CONTACTLESS, Proof.SECURE_MESSAGING, Proof.SECURE_CHANNEL]
PROOFS += [Proof.pin(number) for number in range(1, 9)] + [Proof.key(number) for number in range(1, 17)]
MASKS = st.sets(st.sampled_from(PROOFS), max_size=4).map(lambda bits: sum(int(bit) for bit in bits))
RULES = st.lists(MASKS, max_size=4).map(lambda masks: AccessRule(tuple(masks)))


def compiled(hexadecimal: str) -> AccessRule:
    return condition_object(parse_one(bytes.fromhex(hexadecimal)), ENVIRONMENTS)


@pytest.mark.parametrize(
    ("byte", "alternatives"),
    [
        (0x00, (0,)),
        (0xFF, ()),
        (0x40, (SM,)),
        (0x10, (PIN_1,)),
        (0x50, (SM, PIN_1)),
        (0xD0, (SM | PIN_1,)),
        (0x90, (PIN_1,)),
        (0x13, (PIN_2,)),
        (0x23, (KEY_3,)),
        (0x33, (PIN_2, KEY_3)),
        (0xB3, (PIN_2 | KEY_3,)),
        (0x43, (SM | KEY_3,)),
        (0xF3, (SM | KEY_3 | PIN_2,)),
        (0x73, (PIN_2, KEY_3)),
        (0x14, (PIN_1, PIN_2)),
    ],
)
def test_condition_byte(byte: int, alternatives: tuple[int, ...]) -> None:
    assert condition_byte(byte, ENVIRONMENTS).alternatives == alternatives


@pytest.mark.parametrize(
    ("byte", "why"),
    [
        (0x20, "no key is implied"),
        (0xA0, "no key is implied"),
        (0x24, "the environment has no external authentication"),
        (0xB4, "all, and one of them is not there"),
        (0x15, "the environment is not there"),
        (0x7E, "the environment is not there"),
    ],
)
def test_what_is_not_defined_is_never(byte: int, why: str) -> None:
    assert condition_byte(byte, ENVIRONMENTS) == NEVER, why


@pytest.mark.parametrize("byte", [0x01, 0x0E, 0x80, 0x8E, 0x0F, 0x1F, 0xEF, 0x7F])
def test_reserved_condition_bytes_are_refused(byte: int) -> None:
    with pytest.raises(ValueError, match=r"reserved|without a condition"):
        condition_byte(byte, ENVIRONMENTS)


@pytest.mark.parametrize(
    ("encoded", "alternatives"),
    [
        ("9000", (0,)),
        ("9700", ()),
        ("9E0110", (PIN_1,)),
        ("9E01F3", (SM | KEY_3 | PIN_2,)),
        ("A406 830181 950108", (PIN_1,)),
        ("A406 950108 830188", (int(Proof.pin(8)),)),
        ("A406 830183 950180", (KEY_3,)),
        ("A406 830190 9501C0", (int(Proof.key(16)),)),
        ("B403 950130", (SM,)),
        ("B406 830183 950110", (SM | KEY_3,)),
        ("B803 950120", (SM,)),
        ("C00101", (CONTACT,)),
        ("C00102", (CONTACTLESS,)),
        ("C00103", (int(Proof.SECURE_CHANNEL),)),
        ("A00B A406830181950108 C00103", (int(Proof.SECURE_CHANNEL), PIN_1)),
        ("AF0B A406830181950108 C00101", (CONTACT | PIN_1,)),
        ("AF0D A0089E0110A0039E0140 C00101", (CONTACT | SM, CONTACT | PIN_1)),
        ("A005 9E0110 9000", (0,)),
        ("A005 9E0110 9700", (PIN_1,)),
        ("AF05 9E0110 9700", ()),
        ("AF06 C00101 C00102", ()),
    ],
)
def test_condition_object(encoded: str, alternatives: tuple[int, ...]) -> None:
    assert compiled(encoded).alternatives == alternatives


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("900100", "always has no value"),
        ("970100", "never has no value"),
        ("9E00", "no byte"),
        ("9E021010", "two bytes"),
        ("9E010F", "environment 15"),
        ("A700", "not is no grant"),
        ("A7039E0110", "not is no grant"),
        ("A000", "empty or"),
        ("AF00", "empty and: an empty conjunction would be always"),
        ("A400", "neither reference nor usage"),
        ("A403 830181", "no usage"),
        ("A403 950108", "no reference"),
        ("A406 830101 950108", "reference of the whole card"),
        ("A406 830180 950108", "number 0"),
        ("A406 830189 950108", "PIN 9"),
        ("A406 8301A1 950108", "reserved bits"),
        ("A406 830191 950180", "role 17"),
        ("A406 830181 950188", "two usages"),
        ("A406 830181 950140", "internal authentication proves nothing of the outside"),
        ("A406 830181 950130", "secure messaging in a template for authentication"),
        ("A409 830181 830182 950108", "two references"),
        ("A409 830181 950108 840100", "unknown object"),
        ("B403 950180", "verification of a checksum"),
        ("B606 830181 950180", "digital signature"),
        ("C00100", "unknown"),
        ("C00104", "unknown"),
        ("C000", "no byte"),
        ("5300", "no condition"),
        ("A00F A00D A00B A009 A007 A005 A003 9E0110", "too deep"),
    ],
)
def test_malformed_conditions_are_refused(encoded: str, why: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - each has its own words; what counts is the class
        compiled(encoded)
    assert refusal.type is not TlvError, why


def test_too_many_alternatives_are_refused() -> None:
    with pytest.raises(ValueError, match="alternatives"):
        any_of(AccessRule((1 << bit,)) for bit in range(2, MAX_ALTERNATIVES + 3))


@given(st.lists(RULES, max_size=3), MASKS)
def test_or_and_and_mean_what_they_say(rules: list[AccessRule], proofs: int) -> None:
    """Both interfaces at once never happen in a session, so that the law holds for one of them at most."""
    proofs &= ~CONTACTLESS
    assert any_of(rules).allows(proofs) == any(rule.allows(proofs) for rule in rules)
    try:
        joined = all_of(rules)
    except ValueError:
        return
    assert joined.allows(proofs) == all(rule.allows(proofs) for rule in rules)


@given(RULES)
def test_an_encoded_condition_comes_back(rule: AccessRule) -> None:
    expected = any_of([rule])
    assert condition_object(parse_one(encode_condition(expected))) == expected


@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x40, 0x10, 0x50, 0xD0])
def test_an_encoded_condition_byte_comes_back(byte: int) -> None:
    assert encode_condition_byte(condition_byte(byte)) == byte


@pytest.mark.parametrize("mask", [KEY_3, CONTACT, PIN_2, SM | KEY_3])
def test_what_does_not_fit_a_condition_byte_is_refused(mask: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_condition_byte(AccessRule((mask,)))


def test_a_proof_without_a_name_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="names"):
        encode_condition(AccessRule((1 << 5,)))


def test_environment_template() -> None:
    """Clause 10.3: number, then what authenticates and protects; templates of one kind are alternatives."""
    raw = "7B23 800103 A406830182950108 A406830181950108 A406830183950180 B406830183950130"
    assert environment(bytes.fromhex(raw)) == (
        3,
        SecurityEnvironment(AccessRule((SM | KEY_3,)), AccessRule((KEY_3,)), AccessRule((PIN_1, PIN_2))),
    )


def test_an_empty_environment_satisfies_nothing() -> None:
    number, empty = environment(bytes.fromhex("7B03800105"))
    assert (number, condition_byte(0x75, {5: empty})) == (5, NEVER)
    assert condition_byte(0x00, {5: empty}) == ALWAYS


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("7B00", "no number"),
        ("7B03800100", "number 0"),
        ("7B0380010F", "number 15"),
        ("7B06800101800102", "two numbers"),
        ("7B0480020101", "number of two bytes"),
        ("7B06800101AC0100", "mechanism identifier"),
        ("7B0B800101B606830181950180", "digital signature"),
        ("7C03800101", "another template"),
        ("7B", "cut short"),
        ("7B038001017B03800102", "two of them"),
    ],
)
def test_malformed_environments_are_refused(raw: str, why: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words; what counts is the class
        environment(bytes.fromhex(raw))
    assert why


@given(st.binary(max_size=24))
def test_any_bytes_compile_or_are_refused(raw: bytes) -> None:
    try:
        item = parse_one(raw)
    except TlvError:
        return
    try:
        rule = condition_object(item)
    except ValueError:
        return
    assert len(rule.alternatives) <= MAX_ALTERNATIVES
