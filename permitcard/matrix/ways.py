"""The cards and readers of a matrix: simulated ones in all ways, and whatever is connected."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import StatusWord
from permitcard.products import boot, permit_profile
from permitcard.specimen import HOLDER_PIN, SPECIMEN_BATCH, make_specimen
from permitcard.testing.access import read_card_number
from permitcard.testing.target import ISSUER_DOMAIN_AID, PERMIT_AID
from personalization.errors import PersonalizationError
from personalization.terminal.holder import HolderSession
from reader_bridge.addresses import CardAddress, ConnectionFactory
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.simulated import SimulatedCard, open_card
from reader_bridge.stack import Wrapper
from reader_bridge.trace.names import WELL_KNOWN
from reader_bridge.wired import wired_connection

_SHORT_DATA: Final = 255
_SHORT_ANSWER: Final = 256
_BATCH: Final = slice(4, 6)

Opener = Callable[[CardConnection], int]


@dataclass(frozen=True, slots=True)
class Way:
    """A card in a reader.

    Attributes:
        card: name of the card.
        reader: name of the reader.
        connect: makes the connection, not powered yet.
        aid: an application that is on the card; empty to look for one whose AID is published.
        open_file: makes a long file readable; None when nobody knows how.
    """

    card: str
    reader: str
    connect: Callable[[], CardConnection]
    aid: bytes = b""
    open_file: Opener | None = None


class ShortReader(Wrapper):
    """A reader that carries short APDUs only, as many of the CCID list do; what is longer never reaches the card."""

    __slots__ = ()

    @property
    def description(self) -> ConnectionDescription:
        """What the connection inside is, with short limits."""
        found = self.inner.description
        return ConnectionDescription(
            f"{found.name} (short APDUs)",
            found.interface,
            found.protocol,
            found.answer,
            _SHORT_DATA,
            _SHORT_ANSWER,
            found.simulated,
        )

    def transmit(self, command: bytes) -> bytes:
        """Send a short command.

        Raises:
            ReaderError: "transmission-failed", the command is extended.
        """
        if len(command) > _SHORT_DATA + 6 or (len(command) > 5 and not command[4]):  # noqa: PLR2004 - length fields
            raise ReaderError("transmission-failed", reason="the reader carries short APDUs only")
        return self.inner.transmit(command)


def known_application(connection: CardConnection) -> bytes:
    """AID of an application on the card: ours, or one whose AID is published; empty when there is none of them."""
    for aid in (PERMIT_AID, ISSUER_DOMAIN_AID, *(row.aid for row in WELL_KNOWN)):
        selected = connection.transmit(CommandApdu(0x00, 0xA4, 0x04, 0x00, aid, 256).encode())
        if StatusWord.parse(selected).ok:
            return aid
    return b""


def open_portrait(connection: CardConnection) -> int:
    """As the holder of a specimen: published PIN, then the portrait can be read."""
    HolderSession.open(connection, permit_profile()).verify(HOLDER_PIN)
    return permit_profile().file_named("EF.PORTRAIT").sfi


def simulated_ways(card: SimulatedCard, name: str) -> Iterator[Way]:
    """One simulated card in all readers that are simulated."""
    opener = open_portrait if _is_specimen(card) else None
    aid = PERMIT_AID if opener is not None else ISSUER_DOMAIN_AID

    def way(reader: str, connect: Callable[[], CardConnection], *, contact: bool) -> Way:
        return Way(name, reader, connect, aid, opener if contact else None)

    yield way("in process, contact", lambda: card.connect(Interface.CONTACT), contact=True)
    yield way("in process, contactless", lambda: card.connect(Interface.CONTACTLESS), contact=False)
    yield way("short APDUs only", lambda: ShortReader(card.connect(Interface.CONTACT)), contact=True)
    for protocol in (Protocol7816.T0, Protocol7816.T1):
        yield way(
            f"line, {protocol.value}",
            lambda protocol=protocol: wired_connection(card, Interface.CONTACT, protocol),  # type: ignore[misc] # bound
            contact=True,
        )
    yield way("line, T=CL", lambda: wired_connection(card, Interface.CONTACTLESS), contact=False)


def _is_specimen(card: SimulatedCard) -> bool:
    with card.connect() as connection:
        try:
            number = read_card_number(connection)
            connection.reset()
            ours = int.from_bytes(number[_BATCH], "big") == SPECIMEN_BATCH
            selected = connection.transmit(bytes((0, 0xA4, 4, 0, len(PERMIT_AID))) + PERMIT_AID)
        except (PersonalizationError, ReaderError):
            return False
    return ours and StatusWord.parse(selected).ok


def connected_ways() -> list[Way]:
    """Cards in the readers that PC/SC knows; none without a service."""
    from reader_bridge.readers import list_readers

    try:
        readers = list_readers()
    except ReaderError:
        return []
    return [addressed_way(f"pcsc:{reader.name}") for reader in readers if reader.answer]


def addressed_way(address: str) -> Way:
    """The card at an address."""
    factory = ConnectionFactory(make=boot, token=os.environ.get("PERMITCARD_TOKEN"))
    target = CardAddress.parse(address)
    return Way(str(target), target.kind.value, lambda: factory.connect(target))


class Cards:
    """The simulated cards of a matrix, open until it is done.

    Args:
        files: card files; a fresh specimen when there are none.
    """

    def __init__(self, files: list[str]) -> None:
        self._files = files
        self._open: list[SimulatedCard] = []

    def ways(self) -> list[Way]:
        """All simulated cards in all simulated readers.

        Raises:
            ReaderError: a card file cannot be used.
        """
        if not self._files:
            card, _ = make_specimen()
            self._open.append(card)
            return list(simulated_ways(card, "specimen"))
        found: list[Way] = []
        for path in self._files:
            card = open_card(path, boot)
            self._open.append(card)
            found += simulated_ways(card, path)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for card in self._open:
            card.close()
