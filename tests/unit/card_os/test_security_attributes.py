"""Security attributes of files: 8C, AB, 8B with EF.ARR, by state and interface (ISO/IEC 7816-4, clause 9.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.tlv import Tlv, TlvError, parse_all
from card_os.security.access import ALWAYS, NEVER, AccessRule, Proof
from card_os.security.attributes import (
    EfAccess,
    LifeCycle,
    SecurityAttributes,
    compile_attributes,
    encode_compact,
    encode_expanded,
)
from card_os.security.conditions import SecurityEnvironment

SM = AccessRule((int(Proof.SECURE_MESSAGING),))
PIN_1 = AccessRule((int(Proof.pin(1)),))
KEY_3 = AccessRule((int(Proof.key(3)),))
CONTACT = int(Proof.CONTACT)
CONTACTLESS = int(Proof.CONTACTLESS)
RECORDS = {
    (None, 1): bytes.fromhex("8001019000"),
    (0x2F06, 1): bytes.fromhex("8001019000 800102A406830181950108"),
    (0x2F06, 2): bytes.fromhex("80010397 00 FFFFFF"),
    (0x2F06, 3): bytes.fromhex("800101A406830183950180 FFFF"),
}


def records(file: int | None, record: int) -> bytes | None:
    return RECORDS.get((file, record))


def compiled(hexadecimal: str, state: LifeCycle = LifeCycle.ACTIVATED, environment: int = 1) -> SecurityAttributes:
    objects = parse_all(bytes.fromhex(hexadecimal))
    environments = {2: SecurityEnvironment(external_authentication=KEY_3)}
    return compile_attributes(objects, state, records=records, environments=environments, environment=environment)


@pytest.mark.parametrize(
    ("encoded", "modes"),
    [
        ("8C02 01 00", {EfAccess.READ: ALWAYS}),
        ("8C03 03 10 00", {EfAccess.UPDATE: PIN_1, EfAccess.READ: ALWAYS}),
        (
            "8C08 7F FF 22 22 22 50 10 00",
            {
                EfAccess.DELETE: NEVER,
                EfAccess.TERMINATE: KEY_3,
                EfAccess.ACTIVATE: KEY_3,
                EfAccess.DEACTIVATE: KEY_3,
                EfAccess.WRITE: AccessRule((int(Proof.SECURE_MESSAGING), int(Proof.pin(1)))),
                EfAccess.UPDATE: PIN_1,
                EfAccess.READ: ALWAYS,
            },
        ),
        (
            "8C04 01 10 01 22",
            {EfAccess.READ: AccessRule((int(Proof.pin(1)), int(Proof.key(3))))},
        ),
        ("8C03 C1 00 10", {EfAccess.READ: PIN_1}),
        ("8C02 01 00 8C02 02 10", {EfAccess.READ: ALWAYS, EfAccess.UPDATE: PIN_1}),
        ("8C00", {}),
        ("", {}),
        ("82 01 01", {}),
    ],
)
def test_compact_format(encoded: str, modes: dict[int, AccessRule]) -> None:
    assert dict(compiled(encoded).modes) == modes


@pytest.mark.parametrize(
    ("encoded", "modes"),
    [
        ("AB05 800101 9000", {EfAccess.READ: ALWAYS}),
        ("AB0B 800101 9000 800102 9E0110", {EfAccess.READ: ALWAYS, EfAccess.UPDATE: PIN_1}),
        ("AB06 800103 9E0110", {EfAccess.READ: PIN_1, EfAccess.UPDATE: PIN_1}),
        ("AB09 800101 9E0140 9E0110", {EfAccess.READ: AccessRule((int(Proof.SECURE_MESSAGING), int(Proof.pin(1))))}),
        ("AB06 8001C1 9E0110", {EfAccess.READ: PIN_1}),
        ("AB00", {}),
    ],
)
def test_expanded_format(encoded: str, modes: dict[int, AccessRule]) -> None:
    assert dict(compiled(encoded).modes) == modes


@pytest.mark.parametrize(
    ("encoded", "environment", "modes"),
    [
        ("8B01 01", 1, {EfAccess.READ: ALWAYS}),
        ("8B03 2F06 01", 1, {EfAccess.READ: ALWAYS, EfAccess.UPDATE: PIN_1}),
        ("8B03 2F06 02", 1, {EfAccess.READ: NEVER, EfAccess.UPDATE: NEVER}),
        ("8B06 2F06 01 01 02 03", 1, {EfAccess.READ: ALWAYS, EfAccess.UPDATE: PIN_1}),
        ("8B06 2F06 01 01 02 03", 2, {EfAccess.READ: KEY_3}),
        ("8B06 2F06 01 01 02 03", 3, {}),
        ("8B03 2F06 09", 1, {}),
        ("8B03 2F07 01", 1, {}),
        ("8B01 07", 1, {}),
    ],
)
def test_reference_to_ef_arr(encoded: str, environment: int, modes: dict[int, AccessRule]) -> None:
    """A record or file that is not there grants nothing, and is no error: it may be made later."""
    assert dict(compiled(encoded, environment=environment).modes) == modes


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("8C01 01", "no condition byte"),
        ("8C02 03 00", "one condition byte for two modes"),
        ("8C01 00", "no mode"),
        ("8C01 80", "no mode"),
        ("8C03 01 00 02", "second rule is cut short"),
        ("8C02 01 0F", "environment 15"),
        ("AB02 9000", "condition without a mode"),
        ("AB03 800101", "mode without a condition"),
        ("AB08 800101 800102 9000", "first mode without a condition"),
        ("AB05 800100 9000", "no mode"),
        ("AB04 8000 9000", "no mode byte"),
        ("AB06 80020101 9000", "two mode bytes"),
        ("AB05 800101 A700", "not"),
        ("AB06 8702B000 9000", "header of another length"),
        ("AB04 8400 9000", "no header"),
        ("AB05 9C0101 9000", "proprietary state machine"),
        ("8B00", "no reference"),
        ("8B02 2F06", "no record"),
        ("8B05 2F06 01 01 02", "odd length"),
        ("A106 8A0105 800101", "unknown object"),
        ("A106 8C020100 9000", "unknown object"),
        ("A107 910103 8C020100", "both interfaces are no condition"),
        ("A107 910100 8C020100", "no interface"),
        ("A106 9100 8C020100", "no interface"),
        ("A107 8A0102 8C020100", "reserved life-cycle status"),
        ("A104 A1028C00", "template in a template"),
        ("A106 8A0103 8C01 01", "also in a state that the file is not in"),
    ],
)
def test_malformed_attributes_are_refused(encoded: str, why: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - each has its own words; what counts is the class
        compiled(encoded)
    assert refusal.type is not TlvError, why


@pytest.mark.parametrize(
    ("state", "read", "update"),
    [
        (LifeCycle.CREATION, NEVER, ALWAYS),
        (LifeCycle.INITIALISATION, NEVER, ALWAYS),
        (LifeCycle.ACTIVATED, PIN_1, NEVER),
        (LifeCycle.DEACTIVATED, NEVER, NEVER),
        (LifeCycle.TERMINATED, NEVER, NEVER),
    ],
)
def test_rules_by_life_cycle_state(state: LifeCycle, read: AccessRule, update: AccessRule) -> None:
    attributes = compiled("A108 8A020103 8C020200 A107 8A0105 8C020110", state)
    assert (attributes.rule(EfAccess.READ), attributes.rule(EfAccess.UPDATE)) == (read, update)


@pytest.mark.parametrize(
    ("proofs", "allowed"),
    [
        (CONTACT, True),
        (CONTACTLESS, False),
        (CONTACTLESS | int(Proof.SECURE_MESSAGING), True),
        (CONTACT | int(Proof.SECURE_MESSAGING), True),
        (int(Proof.SECURE_MESSAGING), False),
        (0, False),
    ],
)
def test_rules_by_interface(proofs: int, allowed: bool) -> None:
    attributes = compiled("A107 910101 8C020100 A107 910102 8C020140")
    assert attributes.rule(EfAccess.READ).allows(proofs) is allowed


def test_rules_for_everybody_and_for_an_interface_are_alternatives() -> None:
    attributes = compiled("8C020110 A10A 910101 AB05800101 9000")
    assert set(attributes.rule(EfAccess.READ).alternatives) == {CONTACT, int(Proof.pin(1))}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0x01, LifeCycle.CREATION),
        (0x03, LifeCycle.INITIALISATION),
        (0x04, LifeCycle.DEACTIVATED),
        (0x06, LifeCycle.DEACTIVATED),
        (0x05, LifeCycle.ACTIVATED),
        (0x07, LifeCycle.ACTIVATED),
        (0x0C, LifeCycle.TERMINATED),
        (0x0D, LifeCycle.TERMINATED),
        (0x0E, LifeCycle.TERMINATED),
        (0x0F, LifeCycle.TERMINATED),
    ],
)
def test_life_cycle_status_byte(status: int, state: LifeCycle) -> None:
    assert LifeCycle.of(status) is state


@pytest.mark.parametrize("status", [0x00, 0x02, 0x08, 0x0B, 0x10, 0x1C, 0x80, 0xFF])
def test_reserved_life_cycle_status_bytes_are_refused(status: int) -> None:
    with pytest.raises(ValueError, match="LifeCycle"):
        LifeCycle.of(status)


def test_rules_by_command_header() -> None:
    """Objects 81 to 8F: the low bits of the tag say which of CLA, INS, P1 and P2 stand in the value."""
    attributes = compiled("AB14 8402B0B1 9E0110 8703D60000 A406830183950180")
    assert attributes.command_rule(0x00, 0xB0, 0x12, 0x34) == PIN_1
    assert attributes.command_rule(0x0C, 0xB1, 0x00, 0x00) == PIN_1
    assert attributes.command_rule(0x00, 0xD6, 0x00, 0x00) == KEY_3
    assert attributes.command_rule(0x00, 0xD6, 0x00, 0x01) is None
    assert attributes.command_rule(0x00, 0xD0, 0x00, 0x00) is None
    assert attributes.rule(EfAccess.READ) == NEVER


def test_two_rules_for_one_command_are_alternatives() -> None:
    attributes = compiled("AB12 8401B0 9E0110 8C0200B0 9E0140 800101 9000")
    assert attributes.command_rule(0x00, 0xB0, 0, 0) == AccessRule((int(Proof.SECURE_MESSAGING), int(Proof.pin(1))))
    assert attributes.command_rule(0x80, 0xB0, 0, 0) == PIN_1


@pytest.mark.parametrize(
    ("mode", "proofs", "why"),
    [
        (EfAccess.READ, 0, "missing PIN 1"),
        (EfAccess.READ, int(Proof.pin(1)), "granted"),
        (EfAccess.UPDATE, int(Proof.pin(1)), "the rule is never"),
        (EfAccess.DELETE, int(Proof.pin(1)), "no access rule for it in this life-cycle state"),
    ],
)
def test_a_refusal_says_why(mode: EfAccess, proofs: int, why: str) -> None:
    assert compiled("8C03 03 FF 10").why(mode, proofs) == why


RULES = st.sampled_from([ALWAYS, NEVER, SM, PIN_1, AccessRule((SM.alternatives[0] | PIN_1.alternatives[0],))])
MODES = st.dictionaries(st.sampled_from(list(EfAccess)), RULES, min_size=1)


@given(MODES)
def test_encoded_rules_come_back(modes: dict[int, AccessRule]) -> None:
    for tag, value in ((0x8C, encode_compact(modes)), (0xAB, encode_expanded(modes))):
        assert dict(compile_attributes([Tlv(tag, value)]).modes) == modes


def test_the_compact_format_cannot_hold_every_rule() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_compact({EfAccess.READ: KEY_3})


def test_no_rules_have_no_compact_form() -> None:
    with pytest.raises(ValueError, match="no access rules"):
        encode_compact({})


@given(st.sampled_from([0x8B, 0x8C, 0xA1, 0xAB]), st.binary(max_size=24), st.sampled_from(list(LifeCycle)))
def test_any_bytes_compile_or_are_refused(tag: int, value: bytes, state: LifeCycle) -> None:
    try:
        attributes = compile_attributes([Tlv(tag, value)], state, records=records)
    except ValueError:
        return
    assert all(mode in set(EfAccess) for mode in attributes.modes)
