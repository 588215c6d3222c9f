"""What a booted card keeps in RAM: store, registry, decoded files, code; and what security domains may do with it.

Everything here is rebuilt from the image at boot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from card_os.applet_api import Applet, Context, Session
from card_os.files.directory import FileTable
from card_os.files.system import FileSystem
from card_os.globalplatform.production_data import CARD_NUMBER_LENGTH, card_number
from card_os.globalplatform.registry import CARD_OWNER, Application, CardLifeCycle, CardObject, Privilege, Registry
from card_os.iso7816.aid import Aid
from card_os.iso7816.errors import ConditionsNotSatisfied, ReferenceDataNotFound, SecurityStatusNotSatisfied, WrongData
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.channels import Channel
    from card_os.hardware.clock import VirtualClock
    from card_os.hardware.randomness import Randomness
    from card_os.storage.store import ObjectStore


class FaultLog:
    """Exceptions other than `CardError` that left an applet; outlives a boot.

    Attributes:
        count: how many there were.
        last: the last one.
    """

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last: Exception | None = None

    def add(self, fault: Exception) -> None:
        """Count one more."""
        self.count += 1
        self.last = fault


class Runtime:
    """A booted card; the `Platform` of its security domains.

    Args:
        store: the card's objects.
        randomness: injected random source.
        clock: virtual time.
        faults: where faults of applets are counted.

    Attributes:
        registry: applications and life cycles.
        card_number: the chip's own number, 10 bytes; zeros when the card holds no CPLC.
        files: decoded files of all applications.
        modules: code by module AID.
        channels: open channels of both interfaces.
        running: the channel whose command is being executed.
    """

    __slots__ = (
        "card_number",
        "channels",
        "clock",
        "faults",
        "files",
        "modules",
        "randomness",
        "registry",
        "running",
        "store",
    )

    def __init__(self, store: ObjectStore, randomness: Randomness, clock: VirtualClock, faults: FaultLog) -> None:
        self.store = store
        self.randomness = randomness
        self.clock = clock
        self.faults = faults
        self.registry = Registry(store)
        cplc = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.PRODUCTION_DATA)
        self.card_number = bytes(CARD_NUMBER_LENGTH) if cplc is None else card_number(store.read(cplc))
        self.files = FileTable(store)
        self.modules: Mapping[bytes, Applet] = {}
        self.channels: set[Channel] = set()
        self.running: Channel | None = None

    def load(self, applets: Iterable[Applet]) -> None:
        """Take the code that is on the card."""
        self.modules = {applet.module_aid: applet for applet in applets}

    def new_context(self, application: Application) -> Context:
        """A context with a new session and no proofs."""
        session = Session()
        return Context(
            application,
            session,
            0,
            self.store,
            FileSystem(self.files, application.owner, session),
            self.randomness,
            self.clock,
            self.card_number,
            self,
        )

    def context_of(self, application: Application) -> Context:
        """See `Platform.context_of`."""
        return self.new_context(application)

    def code_of(self, application: Application) -> Applet:
        """See `Platform.code_of`."""
        applet = self.modules.get(application.module_aid)
        if applet is None:
            raise ReferenceDataNotFound("the module is not on this card")
        return applet

    def install(
        self,
        *,
        package_aid: bytes,
        module_aid: bytes,
        aid: bytes,
        privileges: Privilege,
        domain: int,
        life_cycle: int,
        parameters: bytes = b"",
    ) -> Application:
        """See `Platform.install`."""
        applet = self.modules.get(module_aid)
        if applet is None or applet.package_aid != package_aid:
            raise ReferenceDataNotFound("no such module in that package")
        try:
            names = Aid(aid), Aid(package_aid), Aid(module_aid)
        except ValueError as error:
            raise WrongData(str(error)) from error
        with self.store.transaction():
            application = self.registry.add(
                aid=names[0],
                package_aid=names[1],
                module_aid=names[2],
                life_cycle=life_cycle,
                privileges=privileges,
                domain=domain,
            )
            applet.install(self.new_context(application), parameters)
        return application

    def remove(self, application: Application) -> None:
        """See `Platform.remove`."""
        if any(
            channel is not self.running and channel.context is not None and channel.context.application is application
            for channel in self.channels
        ):
            raise ConditionsNotSatisfied("the application is selected on another channel")
        self.registry.remove(application)
        self.files.change(application.owner)
        running = self.running
        if running is not None and running.context is not None and running.context.application is application:
            running.clear_application()

    def terminate(self, application: Application) -> None:
        """See `CardControl.terminate`."""
        if not application.privileges & Privilege.CARD_TERMINATE:
            raise SecurityStatusNotSatisfied("the application may not terminate the card")
        self.registry.set_card_life_cycle(CardLifeCycle.TERMINATED)

    def end_sessions(self, application: Application) -> None:
        """See `Platform.end_sessions`."""
        for channel in self.channels:
            context = channel.context
            if channel is not self.running and context is not None and context.application is application:
                channel.clear_application()

    def settle(self, *, failed: bool) -> None:
        """After a command that changed the registry or file headers: decode again what may have been rolled back."""
        if failed and self.registry.changed:
            self.registry.reload()
        self.registry.changed = False
        if self.files.changed or self.store.touched:
            self.files.settle(failed=failed)

    def count_fault(self, fault: Exception) -> None:
        """Count an exception that was no `CardError`."""
        self.faults.add(fault)
