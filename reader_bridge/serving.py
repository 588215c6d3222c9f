"""One simulated card for everybody: as virtual readers for PC/SC programs, and over TCP."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from reader_bridge.connection import CardConnection, Interface, Protocol7816, ReaderError
from reader_bridge.modelled import ModelledConnection
from reader_bridge.offering import ConnectionServer
from reader_bridge.pin_entry import Keypad
from reader_bridge.reader_models import IDEAL, reader_model
from reader_bridge.simulated import SimulatedCard

_KNOWN_SECONDS: Final = 30.0
_PROTOCOLS: Final = {Interface.CONTACT: Protocol7816.T1, Interface.CONTACTLESS: Protocol7816.TCL}


class _CcidName(NamedTuple):
    reader: str
    tail: str


_CCID_NAMES: Final = {
    Interface.CONTACT: _CcidName("Virtual CCID", ""),
    Interface.CONTACTLESS: _CcidName("Virtual CCID contactless", "-contactless"),
}


_NAMEABLE: Final = re.compile(r"[A-Za-z0-9/._@=\\-]+")
"""Characters that pcscd takes in a DEVICENAME, but for the colon, behind which it wants the kind of reader."""


def _nameable(link: str | os.PathLike[str]) -> str:
    """The whole path of a device file, for a service has another working folder.

    Raises:
        ReaderError: "link-unnameable".
    """
    path = str(Path(link).absolute())
    if _NAMEABLE.fullmatch(path) is None:
        raise ReaderError("link-unnameable", path=path)
    return path


class DriverEntry(NamedTuple):
    """A reader as the configuration of a PC/SC service names it.

    Attributes:
        name: FRIENDLYNAME.
        device: DEVICENAME.
    """

    name: str
    device: str


class CardServer(ConnectionServer):
    """Offers a card until it is closed.

    An interface offered both ways has one state: who resets it resets it for the other too.

    Args:
        card: the card; the caller closes it afterwards.
        model: reader model between the card and its users, by name; None offers it to PC/SC programs through a reader
            without limits, and to others as it is.
        keypad: where a PIN is typed, for models with PIN entry and at the contact slot of serial CCID readers.
        atr: ATR that the contact slot of the first card shows instead of the card's own.
        more: further cards, for the TCP server and for a PC/SC service of our own.

    Attributes:
        card: the card.
    """

    def __init__(
        self,
        card: SimulatedCard,
        model: str | None = None,
        keypad: Keypad | None = None,
        *,
        atr: bytes | None = None,
        more: Sequence[SimulatedCard] = (),
    ) -> None:
        super().__init__(atr=atr)
        self.card = card
        self._more = tuple(more)
        self._model = None if model is None else reader_model(model)
        self._keypad = keypad

    @property
    def _interfaces(self) -> list[Interface]:
        """Those whose protocols the reader has."""
        model = self._model
        return [interface for interface in Interface if model is None or model.speaks(_PROTOCOLS[interface])]

    def _connect(self, card: SimulatedCard, interface: Interface, default: str | None = IDEAL) -> CardConnection:
        """One interface of a card, behind the model; class FF is the reader's."""
        connection = card.connect(interface)
        model = self._model or (None if default is None else reader_model(default))
        return connection if model is None else ModelledConnection(connection, model, self._keypad)

    def _in_slots(self) -> Sequence[CardConnection]:
        return [self._connect(self.card, interface) for interface in self._interfaces]

    def _further_cards(self) -> Sequence[Sequence[CardConnection]]:
        return [[self._connect(card, interface) for interface in self._interfaces] for card in self._more]

    def _over_tcp(self) -> Sequence[Mapping[Interface, CardConnection]]:
        return [
            {interface: self._connect(card, interface, None) for interface in Interface}
            for card in (self.card, *self._more)
        ]

    def offer_ccid_serial(
        self, link: str | os.PathLike[str] | None = None, *, own_service: bool = False
    ) -> list[DriverEntry]:
        """Put the card into two serial CCID readers on pseudo terminals, contact and contactless.

        Args:
            link: device file of the contact reader to make; that of the other has ``-contactless`` behind it.
            own_service: start a PC/SC service of our own with both.

        Returns:
            Both readers as a PC/SC service has to be told of them.

        Raises:
            ReaderError: a device file cannot be made, or no service could be told of it; packages are missing, or the
                service does not come up.
        """
        from reader_bridge.pcscd import CLIENT_VARIABLE, PcscService, SerialReader  # on POSIX systems only
        from reader_bridge.virtual_ccid import VirtualCcidReader

        lock = threading.Lock()
        readers: list[VirtualCcidReader] = []
        for interface, name in _CCID_NAMES.items():
            place = None if link is None else f"{_nameable(link)}{name.tail}"
            pad = self._keypad if interface is Interface.CONTACT else None
            reader = VirtualCcidReader(self._connect(self.card, interface), place, keypad=pad, lock=lock)
            readers.append(self._offer(reader))
        entries = [
            DriverEntry(name.reader, reader.device_name)
            for name, reader in zip(_CCID_NAMES.values(), readers, strict=True)
        ]
        if own_service:
            serial = [SerialReader(entry.name, entry.device) for entry in entries]
            service = self._offer(PcscService(slots=0, serial=serial))
            self.client_variables = {CLIENT_VARIABLE: service.socket_path}
            for reader in readers:
                if not reader.wait_until_known(_KNOWN_SECONDS):
                    raise ReaderError("pcscd-failed", reason=f"{reader.device_name} was not opened")
        return entries

    def offer_phoenix(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Put the card into a plain asynchronous reader whose port is offered by RFC 2217; returns the port's place.

        Raises:
            ReaderError: "port-in-use" or "address-unusable".
        """
        from reader_bridge.virtual_phoenix import VirtualPhoenixReader

        return self._offer(VirtualPhoenixReader(self._connect(self.card, Interface.CONTACT, None), host, port)).place

    def offer_pn532(self, link: str | os.PathLike[str] | None = None) -> str:
        """Put the card into the field of a PN532 on a pseudo terminal; returns the device file.

        Raises:
            ReaderError: the device file cannot be made.
        """
        from reader_bridge.virtual_pn532 import VirtualPn532  # on POSIX systems only

        return self._offer(VirtualPn532(self._connect(self.card, Interface.CONTACTLESS, None), link)).path
