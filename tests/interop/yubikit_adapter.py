"""The package yubikey-manager on a `CardConnection`: its connection, and its security domain session as GPC speaks."""

from __future__ import annotations

from yubikit.core import TRANSPORT
from yubikit.core.smartcard import SmartCardConnection
from yubikit.securitydomain import SecurityDomainSession

from reader_bridge.connection import CardConnection

_STORE_DATA = 0xE2
_LAST_BLOCK_OF_OBJECTS = 0x90


class YubikitConnection(SmartCardConnection):
    """A powered `CardConnection` as that package's connection.

    Args:
        card: the connection; who made it closes it.
        transport: USB lets the package send extended length; over NFC it chains short commands.
    """

    def __init__(self, card: CardConnection, transport: TRANSPORT = TRANSPORT.USB) -> None:
        self._card = card
        self._transport = transport

    @property
    def transport(self) -> TRANSPORT:
        return self._transport

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        answer = self._card.transmit(apdu)
        return answer[:-2], int.from_bytes(answer[-2:], "big")

    def close(self) -> None:
        pass


class DomainSession(SecurityDomainSession):
    """Its session, but STORE DATA with the class byte that the card specification gives it (table 11-88)."""

    def store_data(self, data: bytes) -> None:
        self.protocol.send_apdu(0x80, _STORE_DATA, _LAST_BLOCK_OF_OBJECTS, 0, data)
