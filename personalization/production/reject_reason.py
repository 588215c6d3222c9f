"""Why a card that production called good is rejected afterwards."""

from __future__ import annotations

from enum import StrEnum


class RejectReason(StrEnum):
    """Why a good card is rejected; the card has to be at hand for all of them.

    PRINTING: print fault. BODY: card body damaged. CHIP: the chip does not answer any more, or answers wrongly.
    RETURNED: the police station or the bank sent it back.
    """

    PRINTING = "printing"
    BODY = "body"
    CHIP = "chip"
    RETURNED = "returned"
