"""Access rules: what has to be proved before a command may touch an object.

A rule is a disjunction of conjunctions over proofs. Proofs are bits, so that the check on the hot path is one AND and
one compare for each alternative. No alternative means never; a missing rule means never; an empty conjunction means
always.

Source: ISO/IEC 7816-4:2020, clause 9.3 (security conditions); the encoding in tag 86 is our own (clause 7.4.3).
"""

from __future__ import annotations

import functools
from enum import IntFlag
from typing import Final, NamedTuple

_MASK_BYTES: Final = 4
_KEY_SHIFT: Final = 16
_PIN_SHIFT: Final = 8


class Proof(IntFlag):
    """What a session can have proved; bits 8-15 are PINs 1-8, bits 16-31 are key roles 1-16.

    CONTACT and CONTACTLESS name the interface of the command. SECURE_MESSAGING holds for one command: its cryptogram
    and MAC were verified. SECURE_CHANNEL is a GlobalPlatform session with at least C-MAC that covered this command.

    Masks are kept and combined as plain numbers: ``~`` of a proof without a name would lose the bits above it.
    """

    CONTACT = 1 << 0
    CONTACTLESS = 1 << 1
    SECURE_MESSAGING = 1 << 2
    SECURE_CHANNEL = 1 << 3

    @classmethod
    def pin(cls, number: int) -> Proof:
        """The proof that PIN ``number`` (1..8) was verified."""
        return cls(1 << (_PIN_SHIFT + number - 1))

    @classmethod
    def key(cls, number: int) -> Proof:
        """The proof that key role ``number`` (1..16) authenticated."""
        return cls(1 << (_KEY_SHIFT + number - 1))


ALL_KEY_ROLES: Final = 0xFFFF << _KEY_SHIFT
"""The proofs of every key role, as a plain number."""


class AccessRule(NamedTuple):
    """Alternatives of proofs that are needed together; empty = never.

    Attributes:
        alternatives: masks of `Proof` bits; the rule holds when all bits of one mask are proved.
    """

    alternatives: tuple[int, ...] = ()

    def allows(self, proofs: int) -> bool:
        """True when all bits of at least one alternative are in ``proofs``."""
        for mask in self.alternatives:  # noqa: SIM110 - a plain loop is twice as fast as any() here
            if proofs & mask == mask:
                return True
        return False

    def missing(self, proofs: int) -> tuple[int, ...]:
        """For each alternative the proofs that are not there; () when the rule is "never"."""
        return tuple(mask & ~proofs for mask in self.alternatives)

    def encode(self) -> bytes:
        """Count (1) ‖ masks of 4 bytes, big-endian."""
        return bytes((len(self.alternatives),)) + b"".join(m.to_bytes(_MASK_BYTES, "big") for m in self.alternatives)

    @classmethod
    def decode(cls, raw: bytes, offset: int = 0) -> tuple[AccessRule, int]:
        """Read an encoded rule; returns it and the offset after it.

        Raises:
            ValueError: cut short.
        """
        if offset >= len(raw):
            raise ValueError("access rule is missing")
        count = raw[offset]
        offset += 1
        end = offset + count * _MASK_BYTES
        if end > len(raw):
            raise ValueError("access rule is cut short")
        masks = tuple(int.from_bytes(raw[at : at + _MASK_BYTES], "big") for at in range(offset, end, _MASK_BYTES))
        return cls(masks), end


ALWAYS: Final = AccessRule((0,))
NEVER: Final = AccessRule(())


@functools.lru_cache(maxsize=1024)
def explain(rule: AccessRule, proofs: int) -> str:
    """Why ``rule`` refuses ``proofs``, in words for a trace.

    Remembered, for a card has few rules and a refusal must not cost many times what a granted command costs.
    """
    if rule.allows(proofs):
        return "granted"
    if not rule.alternatives:
        return "the rule is never"
    return "missing " + ", or ".join(_names(mask) for mask in rule.missing(proofs))


def _names(mask: int) -> str:
    return " and ".join([name for bit, name in _NAMED if mask & bit])


# Plain numbers, because a refused command names its missing proofs and arithmetic with flags is slow.
_NAMED: Final = (
    (int(Proof.CONTACT), "the contact interface"),
    (int(Proof.CONTACTLESS), "the contactless interface"),
    (int(Proof.SECURE_MESSAGING), "secure messaging"),
    (int(Proof.SECURE_CHANNEL), "a secure channel"),
    *((int(Proof.pin(number)), f"PIN {number}") for number in range(1, 9)),
    *((int(Proof.key(number)), f"key role {number}") for number in range(1, 17)),
)
