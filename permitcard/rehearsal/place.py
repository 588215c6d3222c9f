"""A simulated card in a modelled reader, on its line protocol, and the virtual time that this takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from permitcard.rehearsal.findings import Setting, Stage
from personalization.production.card_kind import GuardedCard
from reader_bridge.connection import CardConnection, Interface, Protocol7816
from reader_bridge.modelled import ModelledConnection
from reader_bridge.reader_models import IDEAL, ReaderModel, reader_model
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import Wrapper
from reader_bridge.wired import WiredConnection

if TYPE_CHECKING:
    from card_os.hardware.clock import VirtualClock
    from reader_bridge.simulated import CardPort

PROTOCOLS: Final = {"T=0": Protocol7816.T0, "T=1": Protocol7816.T1}
"""Protocols of a contact interface, as a setting names them."""

_MS_NS: Final = 1_000_000


class Place:
    """One card in one reader.

    Args:
        card: the card.
        setting: protocol over contact.
        model: the reader.
    """

    def __init__(self, card: SimulatedCard, setting: Setting, model: ReaderModel) -> None:
        booted = card.card
        self._card = card
        self._clock: VirtualClock = booted.clock  # type: ignore[attr-defined]  # cards of ours have one
        self._setting = setting
        self._delay_ns = model.delay_ms * _MS_NS
        self._model = replace(model, delay_ms=0)  # counted, not slept
        self._counters: list[_Counter] = []
        self._ports: list[_TimedPort] = []
        self._since = self._clock.now_ns

    def contact(self) -> CardConnection:
        """The contact interface."""
        return self._connect(Interface.CONTACT, self._model)

    def contactless(self) -> CardConnection:
        """The contactless interface, in a reader without limits where the model has contacts only."""
        speaks = self._model.speaks(Protocol7816.TCL)
        return self._connect(Interface.CONTACTLESS, self._model if speaks else reader_model(IDEAL))

    def _connect(self, interface: Interface, model: ReaderModel) -> CardConnection:
        port = self._card.card.contact if interface is Interface.CONTACT else self._card.card.contactless
        timed = _TimedPort(port, self._clock) if interface is Interface.CONTACT else _TimedRadio(port, self._clock)
        protocol = PROTOCOLS[self._setting.protocol]
        wired = WiredConnection(timed, interface, self._card.name, protocol=protocol, clock=self._clock)
        counter = _Counter(ModelledConnection(wired, model))
        self._ports.append(timed)
        self._counters.append(counter)
        return GuardedCard(counter, production=False)

    def read(self) -> Stage:
        """Time since the last reading."""
        spent, card = self._clock.now_ns - self._since, sum(port.spent_ns for port in self._ports)
        exchanges = sum(counter.exchanges for counter in self._counters)
        self._since, self._ports, self._counters = self._clock.now_ns, [], []
        return Stage(card, spent - card, exchanges * self._delay_ns, exchanges)


class _Counter(Wrapper):
    """Counts exchanges."""

    __slots__ = ("exchanges",)

    def __init__(self, inner: CardConnection) -> None:
        super().__init__(inner)
        self.exchanges = 0

    def transmit(self, command: bytes) -> bytes:
        self.exchanges += 1
        return self.inner.transmit(command)


class _TimedPort:
    """A port that says how long the card itself worked."""

    def __init__(self, port: CardPort, clock: VirtualClock) -> None:
        self._port = port
        self._clock = clock
        self.spent_ns = 0

    @property
    def powered(self) -> bool:
        return self._port.powered

    def power_on(self) -> bytes:
        return self._timed(self._port.power_on)

    def reset(self) -> bytes:
        return self._timed(self._port.reset)

    def process(self, command: bytes) -> bytes:
        return self._timed(lambda: self._port.process(command))

    def power_off(self) -> None:
        self._port.power_off()

    def _timed(self, act: Callable[[], bytes]) -> bytes:
        before = self._clock.now_ns
        try:
            return act()
        finally:
            self.spent_ns += self._clock.now_ns - before


class _TimedRadio(_TimedPort):
    """The same over the field."""

    @property
    def uid(self) -> bytes:
        uid: bytes = self._port.uid  # type: ignore[attr-defined]  # a contactless port of ours
        return uid
