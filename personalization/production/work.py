"""What production is handed: how a card is reached, made and inspected. It knows nothing else of what it makes.

The front door builds an `Equipment` in every station process from a picklable `Outfitter`: key stores, SAMs and
connections never travel between processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from personalization.production.fence import Fence
from personalization.production.results import Results
from reader_bridge.connection import CardConnection


class Condition(StrEnum):
    """What a card says of itself when it is looked at; nothing here is taken from the journal.

    UNTOUCHED: the factory keys answer and nothing of ours is on it. KEYED: our keys answer, no application yet.
    STARTED: the application is there, not personalized. PERSONALIZED: it is, but the card is not SECURED.
    FINISHED: SECURED. TERMINATED: out of service. FOREIGN: it answers, but neither key set is the one we derive.
    """

    UNTOUCHED = "untouched"
    KEYED = "keyed"
    STARTED = "started"
    PERSONALIZED = "personalized"
    FINISHED = "finished"
    TERMINATED = "terminated"
    FOREIGN = "foreign"


HALF_MADE = frozenset({Condition.KEYED, Condition.STARTED, Condition.PERSONALIZED})
"""Conditions of a card that was left between its first and its last write."""


class Look(NamedTuple):
    """What `Maker.look` found.

    Attributes:
        card_number: chip serial as the card tells it, 10 bytes; empty when it tells none.
        condition: how far the card is.
    """

    card_number: bytes
    condition: Condition


class KeysRefused(Exception):
    """The card and we do not hold the same keys.

    Args:
        step: where it was seen.
        tries_spent: attempts that the card has counted, 0 when only its cryptogram was looked at.
        untouched: True when we have changed nothing on that card.
    """

    def __init__(self, step: str, tries_spent: int, *, untouched: bool) -> None:
        super().__init__(step, tries_spent, untouched)
        self.step = step
        self.tries_spent = tries_spent
        self.untouched = untouched


class CardFault(Exception):
    """The card answered something else than the standard demands; it is spoiled.

    Args:
        step: where it was seen.
        reason: stable code such as "status-word", "response-mac".
        status: status word, None when it was not the status word.
    """

    def __init__(self, step: str, reason: str, status: int | None = None) -> None:
        super().__init__(step, reason, status)
        self.step = step
        self.reason = reason
        self.status = status


class WrongBlank(Exception):
    """The card in the reader is not the one that the journal claimed; it was not touched.

    Args:
        found: card number that was read, as hex.
    """

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


class Superseded(Exception):
    """The card carries the fence of a later claim: it is somebody else's now, and was not changed.

    Args:
        found: the fence on the card.
    """

    def __init__(self, found: Fence) -> None:
        super().__init__(found)
        self.found = found


EnterStep = Callable[[str], None]
"""Called with the name of a step as it begins, while nothing of it was sent.

It times the one before, and raises when the station may not go on, because it is not living any more for others.
"""


class Maker(Protocol):
    """Makes one card from one prepared record over a contact connection that has power."""

    def look(self, card: CardConnection) -> Look:
        """Read who the card is and how far it is; changes nothing on it and spends no tries in vain.

        Raises:
            KeysRefused: the key version is ours or the factory's, but the cryptogram is not.
        """
        ...

    def make(
        self,
        card: CardConnection,
        record: object,
        card_number: bytes | None,
        enter: EnterStep,
        fence: Fence | None = None,
    ) -> bytes:
        """Bring a card that is UNTOUCHED, KEYED, STARTED or PERSONALIZED to FINISHED; returns its card number.

        A half-made application is deleted first and everything begins again with this record.

        Args:
            card: contact connection with power.
            record: the prepared record.
            card_number: the chip that is expected, None when any blank will do.
            enter: step timer.
            fence: written to the card before anything else, and read again whenever a session with it was opened; it
                is gone from a finished card. None when nobody else could be at work on this card.

        Raises:
            WrongBlank: another chip than expected; nothing was changed.
            Superseded: the card carries a later fence; nothing was changed.
            KeysRefused: keys differ.
            CardFault: an answer that is not as it has to be.
            ReaderError: an exchange did not complete.
        """
        ...

    def terminate(self, card: CardConnection, card_number: bytes) -> bool:
        """Put a spoiled card out of service for good; False when it does not let itself be.

        Args:
            card: contact connection with power.
            card_number: the chip that is meant, 10 bytes; no other one is changed.

        Raises:
            WrongBlank: another chip is there.
            KeysRefused: it holds none of the keys that we have; no try was spent.
            PersonalizationError: ours; nothing is known of the card.
            ReaderError: an exchange did not complete.
        """
        ...


class Check(Protocol):
    """One thing that inspection looked at."""

    @property
    def name(self) -> str:
        """Stable code, such as "field.name" or "refused.read-without-authentication"."""
        ...

    @property
    def passed(self) -> bool:
        """Whether it was as it has to be."""
        ...

    @property
    def interface(self) -> str:
        """The interface, "contact" or "contactless"; empty for a check over both."""
        ...

    @property
    def shown(self) -> str:
        """What stands on the card or what it answered, masked; empty when there is nothing to show."""
        ...

    @property
    def expected(self) -> str:
        """What should be there, masked; empty when there is nothing to show."""
        ...


class Inspection(Protocol):
    """The result of one card."""

    @property
    def passed(self) -> bool:
        """True when every check passed."""
        ...

    @property
    def checks(self) -> Sequence[Check]:
        """In the order in which they were made."""
        ...


class Inspector(Protocol):
    """Reads a finished card as a terminal would and compares it with the source data."""

    def inspect(
        self, contact: CardConnection, contactless: CardConnection | None, row_number: int, enter: EnterStep
    ) -> Inspection:
        """Inspect one card; a card that is not as it should be is a result, not an exception.

        Args:
            contact: contact connection; the inspector powers it.
            contactless: contactless connection, None when the station has no such reader.
            row_number: row of the batch whose card this should be.
            enter: step timer.

        Raises:
            ReaderError: an exchange did not complete.
        """
        ...


class RecordSource(Protocol):
    """Prepared records by their index in the prepared file; each is decrypted when it is asked for, and not kept."""

    def record(self, index: int) -> object:
        """The prepared record at ``index``, 0 is the first."""
        ...


class Interfaces(NamedTuple):
    """The two interfaces of one card in one place."""

    contact: CardConnection
    contactless: CardConnection | None = None


Connector = Callable[[str], AbstractContextManager[Interfaces]]
"""Opens the card at an address such as ``sim:cards/0001.card``, without power yet; leaving the context lets go of it.

Raises `ReaderError` with the code "card-in-use" when another living process has it.
"""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What one station works with.

    Attributes:
        maker: makes cards.
        inspector: inspects cards.
        records: the batch's prepared records.
        connect: opens cards.
        results: seals what the inspector shows.
    """

    maker: Maker
    inspector: Inspector
    records: RecordSource
    connect: Connector
    results: Results


Outfitter = Callable[[], AbstractContextManager[Equipment]]
"""Picklable; called once in every station process: opens key store, SAM and prepared file there."""
