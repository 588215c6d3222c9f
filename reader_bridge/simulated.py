"""Simulated cards: a card file or an image in memory, with one connection for each interface.

What code a card runs is the caller's business: it hands in a function that boots a card on a memory.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

from card_os.hardware.chip import DEFAULT_CHIP, Chip
from card_os.hardware.image import ImageError, NvmImage
from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import MemoryFailure
from card_os.port import PortMute
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError

_PROTOCOLS: Final = {Interface.CONTACT: Protocol7816.T1, Interface.CONTACTLESS: Protocol7816.TCL}


class CardPort(Protocol):
    """One interface of a card, as `card_os.port.Port` has it."""

    @property
    def powered(self) -> bool:
        """True between `power_on` and `power_off` or a cut."""
        ...

    def power_on(self) -> bytes:
        """Give power; returns ATR or ATS."""
        ...

    def process(self, command: bytes) -> bytes:
        """Execute one command APDU."""
        ...

    def reset(self) -> bytes:
        """Reset; returns ATR or ATS."""
        ...

    def power_off(self) -> None:
        """Take power away."""
        ...


@runtime_checkable
class RadioPort(Protocol):
    """A contactless port that says which UID this activation has."""

    @property
    def uid(self) -> bytes:
        """4, 7 or 10 bytes."""
        ...


class DualInterfaceCard(Protocol):
    """A card with its two ports, as `card_os.card.Card` is one."""

    @property
    def contact(self) -> CardPort:
        """The contact port."""
        ...

    @property
    def contactless(self) -> CardPort:
        """The contactless port."""
        ...


CardMaker = Callable[[Nvm], DualInterfaceCard]
"""Boots a card on a memory, with the applications that the caller wants."""


class SimulatedCard:
    """A card on its image, which it owns.

    Args:
        image: where everything lasting is.
        make: boots the card.
        name: for descriptions and messages.

    Attributes:
        card: the booted card.
        image: its image.
        name: for descriptions and messages.

    Raises:
        ReaderError: "card-damaged", the image holds no card that boots.
    """

    def __init__(self, image: NvmImage, make: CardMaker, name: str = "sim") -> None:
        self.image = image
        self.name = name
        try:
            self.card = make(image.nvm())
        except MemoryFailure as error:
            image.close()
            raise ReaderError("card-damaged", path=name, reason=error.reason) from error

    def connect(self, interface: Interface = Interface.CONTACT, *, owned: bool = False) -> SimulatedConnection:
        """A connection to one interface; both may be connected at once.

        Args:
            interface: which one.
            owned: leaving the connection closes the card too.
        """
        port = self.card.contact if interface is Interface.CONTACT else self.card.contactless
        return SimulatedConnection(port, interface, self.name, self.close if owned else None)

    def close(self) -> None:
        """Take power away and give the image back; safe to call twice."""
        self.card.contact.power_off()
        self.card.contactless.power_off()
        self.image.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def create_card(
    path: str | PathLike[str] | None,
    make: CardMaker,
    chip: Chip | str = DEFAULT_CHIP,
    manufacture: Callable[[Nvm], None] | None = None,
) -> SimulatedCard:
    """A card on a blank image, in a new file or in memory.

    Args:
        path: the new card file; None for a card in memory.
        make: boots the card.
        chip: geometry, or the name of one that comes with the product.
        manufacture: what a factory does to the erased memory before the card first boots.

    Raises:
        ReaderError: the file exists or cannot be made, or no such chip.
    """
    try:
        image = NvmImage.create(path, chip)
    except ImageError as error:
        raise ReaderError(error.code, **error.parameters) from error
    try:
        if manufacture is not None:
            manufacture(image.nvm())
    except BaseException:
        image.close()
        if path is not None:
            Path(path).unlink()
        raise
    return SimulatedCard(image, make, "sim" if path is None else f"sim:{path}")


def open_card(path: str | PathLike[str], make: CardMaker) -> SimulatedCard:
    """The card in a card file, which stays locked until the card is closed.

    Raises:
        ReaderError: missing, in use, damaged, or of a later version.
    """
    try:
        image = NvmImage.open(path)
    except ImageError as error:
        raise ReaderError(error.code, **error.parameters) from error
    return SimulatedCard(image, make, f"sim:{path}")


class SimulatedConnection:
    """A `CardConnection` to one port of a simulated card.

    Args:
        port: the port.
        interface: which it is.
        name: for the description.
        release: called when the connection is left.
    """

    __slots__ = ("_answer", "_interface", "_name", "_port", "_release")

    def __init__(
        self, port: CardPort, interface: Interface, name: str = "sim", release: Callable[[], None] | None = None
    ) -> None:
        self._port = port
        self._interface = interface
        self._name = name
        self._release = release
        self._answer = b""

    @property
    def description(self) -> ConnectionDescription:
        """What this connection is."""
        return ConnectionDescription(
            self._name, self._interface, _PROTOCOLS[self._interface], self._answer, simulated=True
        )

    @property
    def uid(self) -> bytes:
        """UID of this activation; empty over contact."""
        return self._port.uid if isinstance(self._port, RadioPort) else b""

    def power_on(self) -> bytes:
        """Power the card; returns ATR or ATS."""
        return self._answer if self._answer and self._port.powered else self._activate(self._port.power_on)

    def reset(self) -> bytes:
        """Reset the card, or power it when it is off; returns ATR or ATS."""
        return self._activate(self._port.reset if self._port.powered else self._port.power_on)

    def _activate(self, start: Callable[[], bytes]) -> bytes:
        try:
            self._answer = start()
        except PortMute as error:
            raise ReaderError("mute", reader=self._name, reason=str(error)) from error
        return self._answer

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word."""
        try:
            return self._port.process(command)
        except PortMute as error:
            raise ReaderError("mute", reader=self._name, reason=str(error)) from error

    def power_off(self) -> None:
        """Take power away; safe to call twice."""
        self._port.power_off()

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()
        if self._release is not None:
            self._release()
            self._release = None
