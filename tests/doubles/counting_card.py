"""A card that counts sessions which were begun and not finished, as some in the field do, and locks for ever."""

from __future__ import annotations

from card_os.port import Port
from tests.doubles.issuer_card import PortConnection

INS_INITIALIZE_UPDATE, INS_EXTERNAL_AUTHENTICATE = 0x50, 0x82
LIMIT = 10


class CountingConnection(PortConnection):
    """A connection to such a card: every INITIALIZE UPDATE takes one of ``left``, a session that opens gives all back.

    Attributes:
        left: sessions that may still be begun; at 0 the card answers 6983 to all of them.
    """

    def __init__(self, port: Port, *, limit: int = LIMIT) -> None:
        super().__init__(port)
        self.limit = self.left = limit

    @property
    def locked(self) -> bool:
        return self.left == 0

    def transmit(self, command: bytes) -> bytes:
        if command[1] == INS_INITIALIZE_UPDATE:
            if self.locked:
                self.sent.append(command)
                return b"\x69\x83"
            self.left -= 1
        answer = super().transmit(command)
        if command[1] == INS_EXTERNAL_AUTHENTICATE and answer == b"\x90\x00":
            self.left = self.limit
        return answer

    def asked_versions(self) -> list[int]:
        """Key versions of the INITIALIZE UPDATE commands that were sent."""
        return [command[2] for command in self.sent if command[1] == INS_INITIALIZE_UPDATE]

    @property
    def authentications(self) -> int:
        """EXTERNAL AUTHENTICATE commands that were sent."""
        return sum(command[1] == INS_EXTERNAL_AUTHENTICATE for command in self.sent)
