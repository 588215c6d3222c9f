"""Production keys stay away from simulated cards, and rehearsal keys from real ones.

A simulated card's memory is a file that anybody may read, and a real card under rehearsal keys is one that everybody
can make: both mistakes are refused as soon as the card has answered to power, before it receives a command.
"""

from __future__ import annotations

from typing import Final

from personalization.errors import PersonalizationError
from reader_bridge.connection import CardConnection
from reader_bridge.stack import Wrapper

_USAGE: Final = 2

OTHER_KIND: Final = frozenset({"production-keys-simulated-card", "rehearsal-keys-real-card", "wrong-stock"})
"""Codes of a card that should not be at this station: another kind, or another product; it was not changed."""


class GuardedCard(Wrapper):
    """A connection that gives power to cards of one kind only.

    Args:
        inner: the connection.
        production: whether the keys are for real cards.
    """

    __slots__ = ("_production",)

    def __init__(self, inner: CardConnection, *, production: bool) -> None:
        super().__init__(inner)
        self._production = production

    def power_on(self) -> bytes:
        """Power the card, and refuse one of the other kind.

        Raises:
            PersonalizationError: a code of `OTHER_KIND`, exit 2; the power is off again.
        """
        answer = self.inner.power_on()
        self._check()
        return answer

    def reset(self) -> bytes:
        """Reset the card, and refuse one of the other kind; see `power_on`."""
        answer = self.inner.reset()
        self._check()
        return answer

    def _check(self) -> None:
        simulated = self.inner.description.simulated
        if simulated is not self._production:
            return
        self.inner.power_off()
        refuse_other_kind(production=self._production, simulated=simulated, card=self.inner.description.name)


def refuse_other_kind(*, production: bool, simulated: bool, card: str) -> None:
    """Raise unless production keys meet a real card, or rehearsal keys a simulated one.

    Raises:
        PersonalizationError: a code of `OTHER_KIND`, exit 2.
    """
    if production and simulated:
        raise PersonalizationError("production-keys-simulated-card", exit_code=_USAGE, card=card)
    if not production and not simulated:
        raise PersonalizationError("rehearsal-keys-real-card", exit_code=_USAGE, card=card)
