"""The dossier of a permit: what the record says, and what of it the card has.

The record decides; the card follows. A change is decided in the dossier first, which also says what is about to be
written. The card takes it in one command, and the dossier notes that it did. A card that is pulled away in between has
taken it or not: its counter of changes says which at the next tap, and what it lacks is written then. What was decided
while the card was away (an endorsement online, a cancellation) waits in the same way.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from personalization.errors import PersonalizationError
from personalization.permit.endorsement import PermitStatus, PermitTerm
from personalization.permit.linked import LinkedNumbers


class Withdrawal(StrEnum):
    """Why a permit is not good any more."""

    CANCELLED = "cancelled"
    LOST = "lost"
    REPLACED = "replaced"
    REVOKED = "revoked"


class Endorsed(NamedTuple):
    """One endorsement of the record."""

    day: date
    due: date
    area: str
    desk: str


class Account(NamedTuple):
    """The bank account on the card, as far as branches worked on it here.

    Attributes:
        asked: the day on which a branch last set out to activate it.
        active: the day on which the card was seen active, None while it was not.
    """

    asked: date
    active: date | None = None


class OnCard(NamedTuple):
    """What of the record a card has.

    Attributes:
        changes: its counter of changes.
        term: the term that it shows.
        endorsements: how many of the record's endorsements it has.
    """

    changes: int
    term: PermitTerm
    endorsements: int


class Waiting(NamedTuple):
    """One thing that was decided and that the card has not taken yet: an endorsement, or why it was withdrawn."""

    what: str
    day: date


_ENDORSEMENT: Final = "endorsement"


@dataclass(frozen=True, slots=True)
class Dossier:
    """What the record says of one permit.

    Attributes:
        term: issue, due day, area, years of residence, cancellation.
        on_card: what of it the card has, as far as the record knows.
        endorsements: all endorsements, in order.
        withdrawal: why it is not good any more, None while it is.
        writing: what the card has once it has taken the change that is on its way, None when none is.
        account: what branches did to the bank account, None before they did anything.
        linked: numbers of other cards as a desk wrote them last, None before one did.
        address: of the residence, as a desk wrote it last; empty before one did.
        number: permit number, 18 digits; empty in a dossier of before numbers were kept, until the card's next tap.
    """

    term: PermitTerm
    on_card: OnCard
    endorsements: tuple[Endorsed, ...] = ()
    withdrawal: Withdrawal | None = None
    writing: OnCard | None = None
    account: Account | None = field(default=None, repr=False)
    number: str = field(default="", repr=False)
    linked: LinkedNumbers | None = None
    address: str = field(default="", repr=False)

    @classmethod
    def of_card(cls, term: PermitTerm, changes: int, number: str) -> Dossier:
        """The first dossier of a permit: it says what its card says."""
        return cls(term, OnCard(changes, term, 0), number=number)

    @property
    def waits(self) -> bool:
        """Whether something was decided that the card has not taken yet."""
        return self.on_card.term != self.term or self.on_card.endorsements != len(self.endorsements)

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """What was decided that the card has not taken yet, in order."""
        listed = [Waiting(_ENDORSEMENT, row.day) for row in self.endorsements[self.on_card.endorsements :]]
        if self.withdrawal is not None and self.term.cancelled is not None and self.on_card.term.cancelled is None:
            listed.append(Waiting(self.withdrawal.value, self.term.cancelled))
        return tuple(listed)

    def status(self, day: date) -> PermitStatus:
        """What the permit is worth on ``day``."""
        return self.term.status(day)

    def seen(self, changes: int) -> Dossier:
        """The dossier after the card showed its counter.

        Raises:
            PersonalizationError: "card-out-of-step" (exit 1): it is neither before nor after what was being written, so
                it is an older copy of the card, or was changed past the record.
        """
        if self.writing is not None and changes == self.writing.changes:
            return replace(self, on_card=self.writing, writing=None)
        if changes == self.on_card.changes:
            return replace(self, writing=None)
        raise PersonalizationError("card-out-of-step", card=changes, record=self.on_card.changes)

    def encode(self) -> bytes:
        """JSON, UTF-8."""
        document = {
            "term": _term(self.term),
            "on_card": _on_card(self.on_card),
            "endorsements": [
                [row.day.isoformat(), row.due.isoformat(), row.area, row.desk] for row in self.endorsements
            ],
            "withdrawal": self.withdrawal,
            "writing": _on_card(self.writing) if self.writing else None,
            "account": [_day(day) for day in self.account] if self.account else None,
            "number": self.number,
            "linked": asdict(self.linked) if self.linked else None,
            "address": self.address,
        }
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Dossier:
        """Read a dossier.

        Raises:
            PersonalizationError: "dossier-malformed" (exit 3).
        """
        try:
            document: dict[str, Any] = json.loads(raw)
            withdrawal = document["withdrawal"]
            writing = document["writing"]
            account = document.get("account")  # dossiers of before branches had a place have none
            return cls(
                _read_term(document["term"]),
                _read_on_card(document["on_card"]),
                tuple(
                    Endorsed(date.fromisoformat(day), date.fromisoformat(due), area, desk)
                    for day, due, area, desk in document["endorsements"]
                ),
                Withdrawal(withdrawal) if withdrawal else None,
                _read_on_card(writing) if writing else None,
                Account(date.fromisoformat(account[0]), _read_day(account[1])) if account else None,
                document.get("number", ""),
                LinkedNumbers(**linked) if (linked := document.get("linked")) else None,
                document.get("address", ""),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise PersonalizationError("dossier-malformed", exit_code=3) from error


class Dossiers(Protocol):
    """Where dossiers are kept: by the recognition value of the permit number, with a version against lost updates."""

    def find(self, permit: bytes) -> tuple[Dossier, int] | None:
        """A dossier and its version, None when there is none."""
        ...

    def save(self, permit: bytes, dossier: Dossier, version: int, what: str) -> int:
        """Keep a dossier; ``version`` is that which was found, 0 for a new one. Returns the new version.

        Raises:
            PersonalizationError: "dossier-changed" (exit 1), somebody else saved it since.
        """
        ...


class MemoryDossiers:
    """Dossiers in memory, for simulations."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[Dossier, int]] = {}

    def find(self, permit: bytes) -> tuple[Dossier, int] | None:
        """See `Dossiers`."""
        return self._kept.get(permit)

    def save(self, permit: bytes, dossier: Dossier, version: int, what: str) -> int:
        """See `Dossiers`."""
        del what
        found = self._kept.get(permit)
        if (found[1] if found else 0) != version:
            raise PersonalizationError("dossier-changed")
        self._kept[permit] = (dossier, version + 1)
        return version + 1


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _read_day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _term(term: PermitTerm) -> dict[str, object]:
    return {
        "counted_from": term.counted_from.isoformat(),
        "due": term.due.isoformat(),
        "area": term.area,
        "resident_since": term.resident_since.isoformat(),
        "cancelled": _day(term.cancelled),
    }


def _read_term(document: dict[str, Any]) -> PermitTerm:
    return PermitTerm(
        date.fromisoformat(document["counted_from"]),
        date.fromisoformat(document["due"]),
        document["area"],
        date.fromisoformat(document["resident_since"]),
        _read_day(document["cancelled"]),
    )


def _on_card(state: OnCard) -> dict[str, object]:
    return {"changes": state.changes, "term": _term(state.term), "endorsements": state.endorsements}


def _read_on_card(document: dict[str, Any]) -> OnCard:
    return OnCard(document["changes"], _read_term(document["term"]), document["endorsements"])
