"""The cards and readers of a matrix: simulated ones in all ways, and whatever is connected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import StatusWord
from permitcard.products import boot, permit_profile
from permitcard.reaching import card_factory
from permitcard.specimen import HOLDER_PIN, SPECIMEN_BATCH, make_specimen
from permitcard.testing.access import read_card_number
from permitcard.testing.target import ISSUER_DOMAIN_AID, PERMIT_AID
from personalization.errors import PersonalizationError
from personalization.terminal.holder import HolderSession
from reader_bridge.addresses import CardAddress
from reader_bridge.connection import CardConnection, Interface, Protocol7816, ReaderError
from reader_bridge.modelled import ModelledConnection
from reader_bridge.reader_models import ReaderModel, reader_model, reader_models
from reader_bridge.simulated import SimulatedCard, open_card
from reader_bridge.trace.names import WELL_KNOWN
from reader_bridge.wired import wired_connection

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


def simulated_ways(card: SimulatedCard, name: str, models: Sequence[ReaderModel] = ()) -> Iterator[Way]:
    """One simulated card in process, behind the lines of its protocols, and in readers of these models."""
    opener = open_portrait if _is_specimen(card) else None
    aid = PERMIT_AID if opener is not None else ISSUER_DOMAIN_AID

    def way(reader: str, connect: Callable[[], CardConnection], interface: Interface) -> Way:
        return Way(name, reader, connect, aid, opener if interface is Interface.CONTACT else None)

    for interface in Interface:
        yield way(f"in process, {interface.value}", partial(card.connect, interface), interface)
    for protocol in (Protocol7816.T0, Protocol7816.T1):
        line = partial(wired_connection, card, Interface.CONTACT, protocol)
        yield way(f"line, {protocol.value}", line, Interface.CONTACT)
    yield way("line, T=CL", partial(wired_connection, card, Interface.CONTACTLESS), Interface.CONTACTLESS)
    for model in models:
        interface = Interface.CONTACTLESS if model.contactless else Interface.CONTACT
        yield way(model.title, partial(_behind, card, interface, model), interface)


def _behind(card: SimulatedCard, interface: Interface, model: ReaderModel) -> CardConnection:
    return ModelledConnection(card.connect(interface), model)


def models_of(names: Sequence[str]) -> list[ReaderModel]:
    """The reader models that are meant: those named, or all that are of a real reader.

    Raises:
        ReaderError: "reader-model-unknown".
    """
    return [reader_model(name) for name in names] or [model for model in reader_models().values() if model.descriptor]


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


def connected_ways(named: Sequence[str] = ()) -> list[Way]:
    """Cards in the readers that PC/SC knows, but those that were named by address; none without a service."""
    from reader_bridge.readers import list_readers

    try:
        readers = list_readers()
    except ReaderError:
        return []
    addresses = [f"pcsc:{reader.name}" for reader in readers if reader.answer]
    return [addressed_way(address) for address in addresses if address not in named]


def addressed_way(address: str) -> Way:
    """The card at an address."""
    factory = card_factory()
    target = CardAddress.parse(address)
    return Way(str(target), target.kind.value, lambda: factory.connect(target))


class Cards:
    """The simulated cards of a matrix, open until it is done.

    Args:
        files: card files; a fresh specimen when there are none.
        models: readers that they are put into, beside the lines of their protocols.
    """

    def __init__(self, files: Sequence[str], models: Sequence[ReaderModel] = ()) -> None:
        self._files = files
        self._models = models
        self._open: list[SimulatedCard] = []

    def ways(self) -> list[Way]:
        """All simulated cards in all simulated readers.

        Raises:
            ReaderError: a card file cannot be used.
        """
        if not self._files:
            card, _ = make_specimen()
            self._open.append(card)
            return list(simulated_ways(card, "specimen", self._models))
        found: list[Way] = []
        for path in self._files:
            card = open_card(path, boot)
            self._open.append(card)
            found += simulated_ways(card, path, self._models)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for card in self._open:
            card.close()
