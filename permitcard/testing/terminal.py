"""Terminal sessions as the suite needs them, whole or stopped before the last step."""

from __future__ import annotations

from permitcard.products import permit_profile
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.laboratory_sam import ROLE_KEYS, LaboratorySam
from personalization.terminal.session import TerminalSession


def terminal(card: CardUnderTest, reference: int) -> TerminalSession:
    """Authenticate with the role key ``reference`` (81..84) and open secure messaging."""
    role = ROLE_KEYS[reference].value
    return TerminalSession.open(card.connection, LaboratorySam(card.target.keys), permit_profile(), role)


def prepare_mutual(card: CardUnderTest, reference: int) -> bytes:
    """The right command data of MUTUAL AUTHENTICATE for a challenge that the card has just given."""
    sam = LaboratorySam(card.target.keys)
    concealed = card.ok(0x00, 0xCA, 0xDF, 0x20, ne=256)
    return sam.prepare(concealed, reference, card.ok(0x00, 0x84, 0x00, 0x00, ne=16)).data
