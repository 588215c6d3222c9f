"""A station's equipment with hooks around it: the engine works with it as with any other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from personalization.errors import PersonalizationError
from personalization.production.fence import Fence
from personalization.production.hooks import Act, HookFailed, Hooks
from personalization.production.work import (
    CardFault,
    Connector,
    EnterStep,
    Equipment,
    Inspection,
    Inspector,
    Interfaces,
    KeysRefused,
    Look,
    Maker,
    WrongBlank,
)
from reader_bridge.connection import CardConnection

PRINT: Final = "print"
"""Step at which a card is printed, and reason of a card that was spoiled by it."""

INTERRUPTED: Final = "interrupted"
"""Outcome of a card that is neither made nor lost: it is looked at when the batch goes on."""

_CARDS_OWN: Final = (CardFault, KeysRefused, WrongBlank)


class Prints(Protocol):
    """Remembers durably on which bodies a print was begun."""

    def begin(self, card_number: bytes) -> bool:
        """Write that a print begins; False when one was begun before."""
        ...

    def withdraw(self, card_number: bytes) -> None:
        """Write that it did not take place."""
        ...


@dataclass(slots=True)
class _State:
    """What became of the card that is in the station."""

    location: str = ""
    outcome: str = INTERRUPTED


def with_hooks(
    equipment: Equipment,
    hooks: Hooks,
    *,
    batch: str,
    face: Callable[[object], Mapping[str, object]],
    prints: Prints,
    print_before: str = "secure",
) -> Equipment:
    """The same equipment, with the hooks of a centre around it.

    Args:
        equipment: of one station.
        hooks: the centre's.
        batch: batch identifier, told to hooks.
        face: what a print hook gets of a prepared record.
        prints: where begun prints are remembered.
        print_before: step of the maker before which a card is printed; a card past it counts as printed.
    """
    if not hooks:
        return equipment
    state = _State()
    maker: Maker = equipment.maker
    if hooks.prints:
        maker = _PrintingMaker(maker, hooks, batch, face, prints, print_before, state)
    return replace(
        equipment,
        maker=_WatchedMaker(maker, state),
        inspector=_WatchedInspector(equipment.inspector, state),
        connect=_connector(equipment.connect, hooks, batch, state),
    )


def _connector(connect: Connector, hooks: Hooks, batch: str, state: _State) -> Connector:
    @contextmanager
    def connected(location: str) -> Generator[Interfaces]:
        told: dict[str, object] = {"batch": batch, "location": location}
        state.location, state.outcome = location, INTERRUPTED
        _or_stop(hooks, "before", Act.POSITION, told)
        try:
            with connect(location) as card:
                _or_stop(hooks, "after", Act.POSITION, told)
                yield card
        except BaseException as error:
            told["outcome"] = "failed" if isinstance(error, _CARDS_OWN) else INTERRUPTED
            with suppress(HookStopped):  # what happened first is what is told
                _eject(hooks, told)
            raise
        told["outcome"] = state.outcome
        _eject(hooks, told)

    return connected


def _eject(hooks: Hooks, told: Mapping[str, object]) -> None:
    _or_stop(hooks, "before", Act.EJECT, told)
    _or_stop(hooks, "after", Act.EJECT, told)


class HookStopped(PersonalizationError):
    """A machine around the station failed: the station stops, and the card is looked at when the batch goes on."""

    def __init__(self, hook: str, cause: str) -> None:
        super().__init__("hook-failed", exit_code=3, hook=hook, cause=cause)


def _or_stop(hooks: Hooks, moment: str, act: Act, document: Mapping[str, object]) -> None:
    try:
        hooks.run(moment, act, document)
    except HookFailed as failure:
        raise HookStopped(failure.hook, failure.cause) from None


class _WatchedMaker:
    """Notes whether a card was made."""

    def __init__(self, inner: Maker, state: _State) -> None:
        self._inner = inner
        self._state = state

    def look(self, card: CardConnection) -> Look:
        self._state.outcome = "looked-at"
        return self._inner.look(card)

    def make(
        self,
        card: CardConnection,
        record: object,
        card_number: bytes | None,
        enter: EnterStep,
        fence: Fence | None = None,
    ) -> bytes:
        number = self._inner.make(card, record, card_number, enter, fence)
        self._state.outcome = "made"
        return number

    def terminate(self, card: CardConnection, card_number: bytes) -> bool:
        self._state.outcome = "failed"
        return self._inner.terminate(card, card_number)


class _PrintingMaker:
    """Prints a card between its data and its last step."""

    def __init__(
        self,
        inner: Maker,
        hooks: Hooks,
        batch: str,
        face: Callable[[object], Mapping[str, object]],
        prints: Prints,
        print_before: str,
        state: _State,
    ) -> None:
        self._inner = inner
        self._hooks = hooks
        self._batch = batch
        self._face = face
        self._prints = prints
        self._print_before = print_before
        self._state = state

    def look(self, card: CardConnection) -> Look:
        return self._inner.look(card)

    def make(
        self,
        card: CardConnection,
        record: object,
        card_number: bytes | None,
        enter: EnterStep,
        fence: Fence | None = None,
    ) -> bytes:
        def stepping(step: str) -> None:
            if step == self._print_before:
                enter(PRINT)
                self._print(record, card_number)
            enter(step)

        return self._inner.make(card, record, card_number, stepping, fence)

    def terminate(self, card: CardConnection, card_number: bytes) -> bool:
        return self._inner.terminate(card, card_number)

    def _print(self, record: object, card_number: bytes | None) -> None:
        if card_number is None or not self._prints.begin(card_number):
            raise CardFault(PRINT, "printed-before")
        told = {"batch": self._batch, "location": self._state.location, **self._face(record)}
        try:
            self._hooks.run("before", Act.PRINT, told)
            self._hooks.run("after", Act.PRINT, told)
        except HookFailed as failure:
            if failure.ready or failure.hook.startswith("after"):
                raise CardFault(PRINT, f"{failure.hook} {failure.cause}") from None
            self._prints.withdraw(card_number)
            raise HookStopped(failure.hook, failure.cause) from None


class _WatchedInspector:
    """Notes whether a card passed."""

    def __init__(self, inner: Inspector, state: _State) -> None:
        self._inner = inner
        self._state = state

    def inspect(
        self, contact: CardConnection, contactless: CardConnection | None, row_number: int, enter: EnterStep
    ) -> Inspection:
        found = self._inner.inspect(contact, contactless, row_number, enter)
        self._state.outcome = "passed" if found.passed else "failed"
        return found
