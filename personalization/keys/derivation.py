"""Key diversification on the issuing side: SP 800-108 in counter mode with AES-CMAC.

This is the host's own reading of the text; the card has another.

Source: NIST SP 800-108r1, clause 4.1 (counter mode), with an 8-bit counter in front and a 16-bit length at the end;
NIST SP 800-38B (CMAC).
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

_BLOCK: Final = 16
_MAX_COUNTER: Final = 255
MAX_DERIVED: Final = _BLOCK * _MAX_COUNTER
"""Longest output, bytes: the counter has one byte."""


def derivation_inputs(label: str, context: bytes, length: int) -> list[bytes]:
    """What the blocks of a derivation are MACs of: [i]_1 ‖ label ‖ 00 ‖ context ‖ [8 × length]_2, i from 1.

    Args:
        label: ASCII, not empty.
        context: what the key is bound to.
        length: bytes wanted, 1..4080.

    Raises:
        ValueError: ``length`` is out of range, or ``label`` is not ASCII or empty.
    """
    if not 1 <= length <= MAX_DERIVED:
        raise ValueError(f"1 to {MAX_DERIVED} bytes can be derived, not {length}")
    if not label:
        raise ValueError("a derivation has a label")
    fixed = label.encode("ascii") + b"\x00" + context + (8 * length).to_bytes(2, "big")
    return [counter.to_bytes(1, "big") + fixed for counter in range(1, -(-length // _BLOCK) + 1)]


class Deriver:
    """A master key that is ready to derive: the CMAC is keyed once and copied for each block."""

    __slots__ = ("_keyed",)

    def __init__(self, master: bytes) -> None:
        self._keyed = CMAC(AES(master))

    def derive(self, label: str, context: bytes, length: int) -> bytes:
        """Leftmost ``length`` bytes of CMAC(master, [i]_1 ‖ label ‖ 00 ‖ context ‖ [8 × length]_2), i from 1.

        Raises:
            ValueError: ``length`` is not in 1..4080, or ``label`` is not ASCII or empty.
        """
        output = b""
        for block in derivation_inputs(label, context, length):
            mac = self._keyed.copy()
            mac.update(block)
            output += mac.finalize()
        return output[:length]

    def __repr__(self) -> str:
        return "Deriver(hidden)"
