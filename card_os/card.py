"""The card: it boots from its image, and has a contact and a contactless port.

Source: docs/decisions/0001-architecture-of-the-main-job.md, clause 1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock
from typing import TYPE_CHECKING

from card_os.answers import default_atr, default_ats
from card_os.arbitration import Arbitration, Event, decide
from card_os.dispatch import Dispatcher
from card_os.globalplatform.registry import CARD_OWNER, CARD_STATE_ARBITRATION, CardObject
from card_os.globalplatform.security_domain import SecurityDomain
from card_os.hardware.randomness import Randomness, SystemRandomness
from card_os.port import Port, PortMute
from card_os.runtime import FaultLog, Runtime
from card_os.security.access import Proof
from card_os.storage.store import ObjectKind, ObjectStore

if TYPE_CHECKING:
    from card_os.applet_api import Applet, Platform
    from card_os.hardware.clock import VirtualClock
    from card_os.hardware.nvm import Nvm


class Card:
    """A card on a memory.

    The card boots when an interface gets power while the other has none: all that lasts is in the memory. Commands
    are executed one at a time, whichever thread brings them.

    Args:
        nvm: the memory with its power supply.
        applets: code in read-only memory: applet classes, or objects without state.
        randomness: source of all random bytes; the operating system's when none is given.
        clock: virtual time; the memory's when none is given.
        security_domain: makes the code of security domains for the platform; None leaves the card without.
        loadable: code that runs once a load file with its package's AID was loaded.

    Attributes:
        contact: the contact port.
        contactless: the contactless port.
        randomness: the injected source.
        clock: virtual time.
    """

    def __init__(
        self,
        nvm: Nvm,
        applets: Iterable[Applet | type[Applet]] = (),
        *,
        randomness: Randomness | None = None,
        clock: VirtualClock | None = None,
        security_domain: Callable[[Platform], Applet] | None = SecurityDomain,
        loadable: Iterable[Applet | type[Applet]] = (),
    ) -> None:
        self.nvm = nvm
        self.randomness: Randomness = SystemRandomness() if randomness is None else randomness
        self.clock = nvm.clock if clock is None else clock
        self._applets = tuple(applets)
        self._loadable = tuple(loadable)
        self._security_domain = security_domain
        self._faults = FaultLog()
        self._lock = RLock()
        self.contact = Port(self, Proof.CONTACT)
        self.contactless = Port(self, Proof.CONTACTLESS)
        self._runtime: Runtime | None = None

    def _boot(self) -> Runtime:
        runtime = Runtime(ObjectStore(self.nvm), self.randomness, self.clock, self._faults)
        resident = [_object(applet) for applet in self._applets]
        if self._security_domain is not None:
            resident.append(self._security_domain(runtime))
        runtime.load(resident, [_object(applet) for applet in self._loadable])
        return runtime

    @property
    def faults(self) -> int:
        """Exceptions other than `CardError` in applets so far; each was answered 6F00 and is a bug."""
        return self._faults.count

    @property
    def last_fault(self) -> Exception | None:
        """The last of them."""
        return self._faults.last

    @property
    def lock(self) -> RLock:
        """Held while a command is executed or power changes."""
        return self._lock

    @property
    def platform(self) -> Platform:
        """What the security domains see, for manufacture and tests; boots a card that has not booted."""
        return self._booted()

    def _booted(self) -> Runtime:
        if self._runtime is None:
            self._runtime = self._boot()
        return self._runtime

    def activate(self, port: Port, event: Event, *, powered: bool) -> None:
        """A port gets power or a reset: arbitrate, and boot when the card was without power.

        Args:
            port: the port, which has ended its own sessions.
            event: what happened to it.
            powered: it had power before.

        Raises:
            PortMute: the other interface has the card.
            CardTorn: power was cut while the card booted.
            MemoryFailure: the memory holds no sound object store.
        """
        other = self.contactless if port is self.contact else self.contact
        # Without power at the other interface there is nobody to arbitrate with, and perhaps no sound store to ask.
        mode = self._arbitration() if other.powered else Arbitration.CONCURRENT
        decision = decide(mode, event, powered=powered, other_powered=other.powered)
        if not decision.answers:
            raise PortMute(decision.reason)
        if not decision.boots:
            return
        if not self.nvm.power.on:
            self.nvm.power.restore()
        self._runtime = self._boot()

    def _arbitration(self) -> Arbitration:
        store = self._booted().store
        item = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.STATE)
        return Arbitration.CONCURRENT if item is None else Arbitration(store.read(item, CARD_STATE_ARBITRATION, 1)[0])

    def new_dispatcher(self, interface: Proof) -> Dispatcher:
        """A dispatcher with the basic channel open and its default application selected."""
        return Dispatcher(self._booted(), interface)

    def answer(self, interface: Proof, service_data: int) -> bytes:
        """ATR or ATS: the one in the image, else the one that says what this card can do.

        Args:
            interface: `Proof.CONTACT` or `Proof.CONTACTLESS`.
            service_data: card service data byte of what is selected by default.
        """
        contact = interface is Proof.CONTACT
        store = self._booted().store
        item = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.ATR if contact else CardObject.ATS)
        if item is not None:
            return store.read(item)
        return default_atr(service_data) if contact else default_ats(service_data)

    def tear(self) -> None:
        """Power was cut: both ports are without power until they get it again."""
        self.contact.power_off()
        self.contactless.power_off()
        self._runtime = None


def _object(applet: Applet | type[Applet]) -> Applet:
    return applet() if isinstance(applet, type) else applet
