"""Opening the card under test, wherever it is."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from card_os.iso7816.apdu import ResponseApdu
from permitcard.products import card_maker
from permitcard.reaching import card_factory
from permitcard.specimen import make_specimen, require_specimen, specimen_target
from permitcard.testing.target import ISSUER_DOMAIN_AID, Target
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import initialize_update, select
from personalization.globalplatform.scp03 import parse_initialize_update
from personalization.terminal.holder import pin_block
from reader_bridge.connection import CardConnection, Interface
from reader_bridge.modelled import ModelledConnection
from reader_bridge.reader_models import reader_model
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import CommandFit
from reader_bridge.wired import wired_connection

SIMULATED: Final = "sim"
"""Address of a fresh specimen in memory."""
WIRED: Final = "wire"
"""Address of a fresh specimen in memory behind T=1 and T=CL: every byte goes through both sides of the protocol."""

_HOST_CHALLENGE: Final = bytes(8)


@dataclass(slots=True)
class CardAccess:
    """Both interfaces of the card under test.

    Attributes:
        contact: contact connection.
        contactless: contactless connection, None when it is not there.
        target: what is known of the card.
        throw_away: True when nobody will miss the card.
    """

    contact: CardConnection
    contactless: CardConnection | None
    target: Target
    throw_away: bool = False
    _held: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.close()


def open_card_access(
    card: str, contactless: str | None, centre: str | None, faults: str | None = None, model: str | None = None
) -> CardAccess:
    """Open the card at an address.

    Args:
        card: "sim" for a fresh specimen in memory, "wire" for one behind T=1 and T=CL, else an address.
        contactless: address of the contactless interface, where ``card`` does not reach both.
        centre: folder of the issuing centre that made the card; None for a specimen.
        faults: file with a fault plan for a simulated card; None for none.
        model: reader model between the card and the tests, by name. Commands are fitted to what it carries.

    Raises:
        ReaderError: the address leads to no card, there is no such model, or the plan makes no sense.
        PersonalizationError: the centre's keys cannot be opened, or the centre does not know the card.
    """
    if model is not None:
        access = open_card_access(card, contactless, centre, faults)
        chosen = reader_model(model)
        access.contact = CommandFit(ModelledConnection(access.contact, chosen))
        if access.contactless is not None:
            access.contactless = CommandFit(ModelledConnection(access.contactless, chosen))
        return access
    held = ExitStack()
    make = card_maker(None if faults is None else Path(faults))
    if card in {SIMULATED, WIRED}:
        made, target = make_specimen()
        specimen = made if faults is None else SimulatedCard(made.image, make)
        held.callback(specimen.close)
        both = [held.enter_context(_connection(specimen, interface, wired=card == WIRED)) for interface in Interface]
        return CardAccess(both[0], both[1], target, throw_away=True, _held=held)
    known: Target | None = None
    if faults is not None:  # whose card it is, is read before anything goes wrong
        with open_card_access(card, None, centre) as sound:
            known = sound.target
    factory = card_factory(make)
    with ExitStack() as opening:
        first, other = factory.connect_both(card)
        opening.enter_context(first)
        if contactless is not None:
            other = factory.connect(contactless)
        if other is not None:
            opening.enter_context(other)
        target = known or find_target(first, centre)
        held = opening.pop_all()
    return CardAccess(first, other, target, _held=held)


def _connection(specimen: SimulatedCard, interface: Interface, *, wired: bool) -> CardConnection:
    return wired_connection(specimen, interface) if wired else specimen.connect(interface)


def find_target(connection: CardConnection, centre: str | Path | None) -> Target:
    """Read the card's own id over contact and find its keys and PINs.

    Args:
        connection: the card, powered.
        centre: folder of the issuing centre that made it; None for a specimen.

    Raises:
        PersonalizationError: not our card, the keys cannot be opened, or the centre does not know the card.
    """
    card_number = read_card_number(connection)
    if centre is None:
        require_specimen(card_number)
        return specimen_target(card_number)
    from permitcard.centre import Centre
    from permitcard.job import Job

    with Job.open(Centre(Path(centre))) as job:
        letter = job.pin_letter(card_number)
        return Target(job.keys, card_number, pin_block(letter.pins["holder"]), pin_block(letter.pins["unblocking"]))


def read_card_number(connection: CardConnection) -> bytes:
    """The card number, 10 bytes, as the issuer domain tells it over contact; spends no try.

    Raises:
        PersonalizationError: "not-our-card", there is no issuer domain that answers.
    """
    for command in (select(ISSUER_DOMAIN_AID), initialize_update(0, _HOST_CHALLENGE)):
        response = ResponseApdu.parse(connection.transmit(command.encode()))
        if not response.sw.ok:
            raise PersonalizationError("not-our-card", sw=str(response.sw))
    return parse_initialize_update(response.data).diversification
