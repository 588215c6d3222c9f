"""SAMs of several generations in one terminal: each card is met with the one that it belongs to.

Whose keys a card has is said by its concealed number, which one generation opens and no other. A number of another one
costs a SAM an authentication and the card nothing. The SAM that opened the last card is asked first.
"""

from __future__ import annotations

from collections.abc import Sequence

from card_os.iso7816.status import SW
from personalization.terminal.channel import CardRefused
from personalization.terminal.sam import CardAuthenticator, PreparedAuthentication
from personalization.terminal.secure_messaging import SessionKeys


class SamsOfGenerations:
    """Some SAMs as one; implements `CardAuthenticator`.

    Args:
        sams: at least one, each of another generation, the one that is likeliest to be needed first.
    """

    __slots__ = ("_sams",)

    def __init__(self, sams: Sequence[CardAuthenticator]) -> None:
        self._sams = list(sams)

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        """See `CardAuthenticator`.

        Raises:
            CardRefused: 6300, the number is of none of the generations; as the SAM that opened it.
        """
        *others, last = self._sams
        for sam in others:
            try:
                prepared = sam.prepare(concealed, reference, challenge)
            except CardRefused as refusal:
                if refusal.status != SW.AUTHENTICATION_FAILED:
                    raise
            else:
                self._move_to_front(sam)
                return prepared
        prepared = last.prepare(concealed, reference, challenge)
        self._move_to_front(last)
        return prepared

    def complete(self, response: bytes) -> SessionKeys:
        """See `CardAuthenticator`; by the SAM that opened the card's number."""
        return self._sams[0].complete(response)

    def _move_to_front(self, sam: CardAuthenticator) -> None:
        self._sams.remove(sam)
        self._sams.insert(0, sam)

    def __repr__(self) -> str:
        return f"SamsOfGenerations({len(self._sams)})"
