"""Access rules: alternatives of proofs, their encoding and their explanation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.security.access import ALWAYS, NEVER, AccessRule, Proof, explain

MASKS = st.integers(0, 2**32 - 1)
RULES = st.builds(AccessRule, st.lists(MASKS, max_size=6).map(tuple))
TERMINAL = int(Proof.key(1) | Proof.SECURE_MESSAGING)
HOLDER = int(Proof.pin(1) | Proof.CONTACT)
RULE = AccessRule((TERMINAL, HOLDER))


@pytest.mark.parametrize(
    ("proofs", "allowed"),
    [
        (0, False),
        (TERMINAL, True),
        (HOLDER, True),
        (TERMINAL | HOLDER, True),
        (Proof.key(1), False),
        (Proof.SECURE_MESSAGING, False),
        (Proof.key(1) | Proof.CONTACT, False),
        (Proof.key(2) | Proof.SECURE_MESSAGING, False),
        (Proof.pin(1) | Proof.CONTACTLESS, False),
        (Proof.pin(2) | Proof.CONTACT, False),
    ],
)
def test_one_whole_alternative_has_to_be_proved(proofs: int, allowed: bool) -> None:
    assert RULE.allows(proofs) is allowed


@given(MASKS)
def test_never_and_always(proofs: int) -> None:
    assert not NEVER.allows(proofs)
    assert not AccessRule().allows(proofs)
    assert ALWAYS.allows(proofs)


@given(RULES, MASKS, MASKS)
def test_more_proofs_never_take_a_right_away(rule: AccessRule, proofs: int, more: int) -> None:
    assert not rule.allows(proofs) or rule.allows(proofs | more)


@given(RULES, MASKS)
def test_a_rule_holds_when_nothing_is_missing_in_one_alternative(rule: AccessRule, proofs: int) -> None:
    assert rule.allows(proofs) is (0 in rule.missing(proofs))


@given(RULES, st.binary(max_size=4), st.binary(max_size=4))
def test_encoding_round_trip(rule: AccessRule, before: bytes, after: bytes) -> None:
    encoded = rule.encode()
    assert AccessRule.decode(before + encoded + after, len(before)) == (rule, len(before) + len(encoded))


@given(RULES, st.data())
def test_a_rule_that_is_cut_short_is_refused(rule: AccessRule, data: st.DataObject) -> None:
    encoded = rule.encode()
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with pytest.raises(ValueError, match="access rule is"):
        AccessRule.decode(cut)


def test_bits_do_not_overlap() -> None:
    bits = [Proof.CONTACT, Proof.CONTACTLESS, Proof.SECURE_MESSAGING, Proof.SECURE_CHANNEL]
    bits += [Proof.pin(number) for number in range(1, 9)] + [Proof.key(number) for number in range(1, 17)]
    assert len({int(bit) for bit in bits}) == len(bits)
    assert all(int(bit).bit_count() == 1 for bit in bits)


def test_a_decision_explains_itself() -> None:
    assert explain(RULE, TERMINAL) == "granted"
    assert explain(NEVER, TERMINAL) == "the rule is never"
    assert explain(RULE, int(Proof.CONTACT)) == "missing secure messaging and key role 1, or PIN 1"
