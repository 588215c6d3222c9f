"""A simulated card with a fault plan: faults of its memory and of its answers, beside the card's own code.

A card without a plan is made without any of this, so that it costs nothing there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Final

from card_os.hardware.nvm import Nvm
from card_os.port import PortMute
from card_os.storage.store import ObjectStore
from reader_bridge.connection import Interface, ReaderError
from reader_bridge.fault_plan import COMMAND_FAULTS, FaultKind, FaultPlan, PlannedFault
from reader_bridge.simulated import CardMaker, CardPort, DualInterfaceCard

_NS_A_MS: Final = 1_000_000
_MS_A_SECOND: Final = 1_000
_INS_AT: Final = 1
_BITS: Final = 8


class _Occasions:
    """When a planned fault happens.

    Args:
        fault: the row.

    Attributes:
        fault: the row.
    """

    __slots__ = ("_lock", "_passed", "fault")

    def __init__(self, fault: PlannedFault) -> None:
        self.fault = fault
        self._passed = 0
        self._lock = Lock()  # both interfaces may be served by threads of their own

    def happens(self) -> bool:
        """Count one occasion; True when the fault happens at it."""
        with self._lock:
            self._passed += 1
            number = self._passed - self.fault.after
        return number > 0 and (self.fault.count == 0 or number <= self.fault.count)


class _Place:
    """A memory fault and the addresses at which it happens."""

    __slots__ = ("end", "fault", "occasions", "start")

    def __init__(self, fault: PlannedFault, start: int, end: int) -> None:
        self.fault = fault
        self.start = start
        self.end = end
        self.occasions = _Occasions(fault)

    def overlap(self, offset: int, length: int) -> range:
        """Which of ``length`` bytes from ``offset`` it can touch, as indexes."""
        return range(max(self.start - offset, 0), max(min(self.end - offset, length), 0))


class FaultyNvm(Nvm):
    """A memory in front of another that goes wrong as planned.

    Args:
        inner: the memory with cells, wear and power.
        plan: what goes wrong.

    Raises:
        ReaderError: "fault-plan-site", the plan names what is not there.
    """

    __slots__ = ("_inner", "_places", "_random")

    def __init__(self, inner: Nvm, plan: FaultPlan) -> None:
        self._inner = inner
        self.size = inner.size
        self.page_size = inner.page_size
        self.word_size = inner.word_size
        self.erased = inner.erased
        self.kind = inner.kind
        self.wear = inner.wear
        self.clock = inner.clock
        self.power = inner.power
        self._random = random.Random(plan.seed)
        self._places = [
            place for fault in plan.faults if fault.kind not in COMMAND_FAULTS for place in _places(fault, inner)
        ]

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, as the faults let them be seen."""
        data = self._inner.read(offset, length)
        for place in self._places:
            kind = place.fault.kind
            if kind is FaultKind.STUCK_BIT or (kind is FaultKind.BIT_FLIP and place.fault.on_read):
                data = self._spoilt(place, offset, data)
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Program ``data`` at ``offset``, as the faults let it be stored."""
        for place in self._places:
            fault = place.fault
            match fault.kind:
                case FaultKind.SKIPPED_WRITE:
                    if place.overlap(offset, len(data)) and place.occasions.happens():
                        data = self._inner.read(offset, len(data))
                case FaultKind.SLOW_WRITE:
                    if place.overlap(offset, len(data)) and place.occasions.happens():
                        self.clock.spend(fault.milliseconds * _NS_A_MS)
                case FaultKind.BIT_FLIP if fault.on_read:
                    pass
                case _:
                    data = self._spoilt(place, offset, data)
        self._inner.write(offset, data)

    def write_unit(self, offset: int, data: bytes) -> None:
        """Program one unit, as the faults let it be stored."""
        self.write(offset, data)

    def write_each(self, writes: Sequence[tuple[int, bytes]]) -> None:
        """Program one piece after the other, each with its faults."""
        for offset, data in writes:
            self.write(offset, data)

    def erase(self, page: int) -> None:
        """Erase a page; no planned fault comes between."""
        self._inner.erase(page)

    @property
    def cells(self) -> memoryview:
        """All cells, as the faults of reading let them be seen."""
        return memoryview(self.read(0, self.size))

    def _spoilt(self, place: _Place, offset: int, data: bytes) -> bytes:
        """``data`` with what the fault makes of the part that it can touch."""
        fault = place.fault
        touched = place.overlap(offset, len(data))
        if fault.kind is FaultKind.STUCK_BIT and offset > place.start:
            return data  # the bit stands in the first byte of the site
        if not touched or not place.occasions.happens():
            return data
        changed = bytearray(data)
        if fault.kind is FaultKind.STUCK_BIT:
            mask = 1 << (fault.bit or 0)
            changed[touched.start] = changed[touched.start] & ~mask | (mask if fault.value else 0)
            return bytes(changed)
        at = self._random.choice(touched) if fault.kind is FaultKind.WORN_PAGE else touched.start
        changed[at] ^= 1 << (self._random.randrange(_BITS) if fault.bit is None else fault.bit)
        return bytes(changed)


def _places(fault: PlannedFault, nvm: Nvm) -> list[_Place]:
    """Where a memory fault happens.

    Raises:
        ReaderError: "fault-plan-site".
    """
    if fault.site:
        return _object_places(fault, nvm)
    if fault.page is not None:
        start, end = fault.page * nvm.page_size, (fault.page + 1) * nvm.page_size
    elif fault.address is not None:
        start, end = fault.address, fault.address + fault.length
    else:
        start, end = 0, nvm.size
    if end > nvm.size:
        raise ReaderError("fault-plan-site", site=f"page {fault.page}" if fault.page is not None else start)
    return [_Place(fault, start, end)]


def _object_places(fault: PlannedFault, nvm: Nvm) -> list[_Place]:
    """The objects of that kind and identifier, of whichever application; those that come later are not meant.

    Where pages move, the places are those at which the objects stand when the card is made.
    """
    kind, number = fault.site.split()
    store = ObjectStore(nvm)
    found = [
        _Place(fault, start, end)
        for item in store.objects()
        if (item.kind.name, item.identifier) == (kind, int(number, 16))
        for start, end in store.places(item)
    ]
    if not found:
        raise ReaderError("fault-plan-site", site=fault.site)
    return found


class FaultyPort:
    """An interface whose answers go wrong as planned.

    Args:
        port: the card's own.
        faults: the rows for this interface.
    """

    __slots__ = ("_occasions", "_port")

    def __init__(self, port: CardPort, faults: Iterable[_Occasions]) -> None:
        self._port = port
        self._occasions = tuple(faults)

    @property
    def powered(self) -> bool:
        """True between `power_on` and `power_off`, a cut or a planned silence."""
        return self._port.powered

    def power_on(self) -> bytes:
        """Give power; returns ATR or ATS."""
        return self._port.power_on()

    def process(self, command: bytes) -> bytes:
        """Execute one command APDU, unless a fault comes between.

        Raises:
            PortMute: the port has no power, or the plan says so.
        """
        ins = command[_INS_AT] if len(command) > _INS_AT else None
        status: PlannedFault | None = None
        for occasions in self._occasions:
            fault = occasions.fault
            if (fault.ins is not None and fault.ins != ins) or not occasions.happens():
                continue
            match fault.kind:
                case FaultKind.DELAY:
                    time.sleep(fault.milliseconds / _MS_A_SECOND)
                case FaultKind.MUTE:
                    self._port.power_off()
                    raise PortMute("planned")
                case _:
                    status = fault
        if status is None:
            return self._port.process(command)
        if status.execute:
            self._port.process(command)
        return status.status

    def reset(self) -> bytes:
        """Reset; returns ATR or ATS."""
        return self._port.reset()

    def power_off(self) -> None:
        """Take power away."""
        self._port.power_off()


class FaultyCard:
    """A card with both interfaces behind a plan.

    Args:
        card: the card, on a `FaultyNvm`.
        plan: what goes wrong with its answers.

    Attributes:
        contact: the contact port.
        contactless: the contactless port.
    """

    __slots__ = ("contact", "contactless")

    def __init__(self, card: DualInterfaceCard, plan: FaultPlan) -> None:
        occasions = [_Occasions(fault) for fault in plan.faults if fault.kind in COMMAND_FAULTS]

        def of(interface: Interface) -> Iterable[_Occasions]:
            return (item for item in occasions if item.fault.interface in (None, interface))

        self.contact: CardPort = FaultyPort(card.contact, of(Interface.CONTACT))
        self.contactless: CardPort = FaultyPort(card.contactless, of(Interface.CONTACTLESS))


def with_faults(make: CardMaker, plan: FaultPlan) -> CardMaker:
    """A maker of cards that go wrong as planned; counting begins anew for each card."""

    def make_faulty(nvm: Nvm) -> DualInterfaceCard:
        return FaultyCard(make(FaultyNvm(nvm, plan)), plan)

    return make_faulty
