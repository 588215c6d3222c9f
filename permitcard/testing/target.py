"""What the suite has to know of the card it tests: names, keys, PINs, identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from personalization.keys.keystore import KeyStore

ISSUER_DOMAIN_AID: Final = bytes.fromhex("A000000151000000")
PERMIT_AID: Final = bytes.fromhex("F05A4A4A5A0101")


@dataclass(frozen=True, slots=True)
class Target:
    """A card under test.

    Attributes:
        keys: store with the masters from which the card's keys are derived.
        card_number: 10 bytes, the card's own id; its hex text is what ``--card-id`` must repeat.
        holder_pin_block: holder PIN as ISO 9564 format 2 block, 8 bytes.
        unblocking_pin_block: unblocking PIN in the same form.
        issuer_domain_aid: AID of the issuer security domain.
        permit_aid: AID of the permit.
    """

    keys: KeyStore
    card_number: bytes
    holder_pin_block: bytes
    unblocking_pin_block: bytes
    issuer_domain_aid: bytes = ISSUER_DOMAIN_AID
    permit_aid: bytes = PERMIT_AID

    def __repr__(self) -> str:
        """The card's id only."""
        return f"Target({self.card_number.hex().upper()})"
