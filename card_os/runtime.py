"""What a booted card keeps in RAM: store, registry, decoded files, code; and what security domains may do with it.

Everything here is rebuilt from the image at boot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from card_os.applet_api import Applet, Context, Session
from card_os.files.directory import FileTable
from card_os.files.system import FileSystem
from card_os.globalplatform.card_policy import MissingCode, load_card_policy
from card_os.globalplatform.cardholder_verification import GlobalPin
from card_os.globalplatform.life_cycle import activate
from card_os.globalplatform.production_data import CARD_NUMBER_LENGTH, card_number
from card_os.globalplatform.registry import (
    CARD_OWNER,
    Application,
    CardLifeCycle,
    CardObject,
    ContactlessState,
    LoadFileLifeCycle,
    Privilege,
    Registry,
)
from card_os.globalplatform.registry_entry import NO_DATA
from card_os.globalplatform.resident_code import OPAQUE_SCHEMA, OpaqueApplet, resident_files, state_schema
from card_os.iso7816.aid import Aid
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    MemoryFailure,
    NotEnoughMemory,
    ReferenceDataNotFound,
    SecurityStatusNotSatisfied,
    WrongData,
)
from card_os.security.pin import standing_proofs
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.channels import Channel
    from card_os.globalplatform.registry import Memory, RegistryData
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
        global_pin: the PIN that all applications share.
        card_number: the chip's own number, 10 bytes; zeros when the card holds no CPLC.
        files: decoded files of all applications.
        modules: all code by module AID.
        channels: open channels of both interfaces.
        running: the channel whose command is being executed.
        answers_without_le: see `CardPolicy`; False where the policy cannot be read.
    """

    __slots__ = (
        "_code",
        "_opaque",
        "_standing",
        "answers_without_le",
        "card_number",
        "channels",
        "clock",
        "faults",
        "files",
        "global_pin",
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
        self.registry.recover()
        self.global_pin = GlobalPin(store)
        self._opaque = OpaqueApplet()
        cplc = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.PRODUCTION_DATA)
        self.card_number = bytes(CARD_NUMBER_LENGTH) if cplc is None else card_number(store.read(cplc))
        self.answers_without_le = _answers_without_le(store)
        self.files = FileTable(store)
        self.modules: Mapping[bytes, Applet] = {}
        self.channels: set[Channel] = set()
        self.running: Channel | None = None
        self._standing: dict[int, int] = {}  # proofs that need no verification, by owner
        self._code: dict[int, Applet | None] = {}  # what runs an application, by owner, until the registry changes

    def load(self, resident: Iterable[Applet], loadable: Iterable[Applet] = ()) -> None:
        """Take the code that is there: in read-only memory, or to be run once its load file is loaded."""
        code = list(resident)
        self.registry.announce(resident_files(code))
        self.modules = {applet.module_aid: applet for applet in (*code, *loadable)}
        self._code.clear()

    def new_context(self, application: Application) -> Context:
        """A context with a new session and no proofs."""
        owner = application.owner
        standing = self._standing.get(owner)
        if standing is None:
            standing = self._standing[owner] = standing_proofs(self.store, owner)
        session = Session(standing)
        return Context(
            application,
            session,
            0,
            self.store,
            FileSystem(self.files, owner, session),
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
        applet = self.runs(application)
        if applet is None:
            raise ReferenceDataNotFound("the code of this application is not on this card")
        return applet

    def runs(self, application: Application) -> Applet | None:
        """The code that runs an application, None when it is missing or knows another schema of its objects."""
        if self.registry.changed:
            return self._find_code(application)
        try:
            return self._code[application.owner]
        except KeyError:
            applet = self._code[application.owner] = self._find_code(application)
            return applet

    def _find_code(self, application: Application) -> Applet | None:
        schema = application.data.state_schema
        if schema == OPAQUE_SCHEMA:
            return self._opaque
        applet = self.modules.get(application.module_aid)
        if applet is None or state_schema(applet) != schema:
            return None
        return applet if self.registry.load_file(application.package_aid) is not None else None

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
        data: RegistryData = NO_DATA,
    ) -> Application:
        """See `Platform.install`."""
        applet, data = self._code_for(package_aid, module_aid, data)
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
                data=data,
            )
            self._require_memory(data.memory)
            applet.install(self.new_context(application), parameters)
        return application

    def _code_for(self, package_aid: bytes, module_aid: bytes, data: RegistryData) -> tuple[Applet, RegistryData]:
        """The code of a module, and the registry data that says which it is."""
        file, applet = self.registry.load_file(package_aid), self.modules.get(module_aid)
        if file is None or module_aid not in file.modules or file.life_cycle is not LoadFileLifeCycle.LOADED:
            raise ReferenceDataNotFound("no such module in that package")
        if applet is not None and applet.package_aid == package_aid:
            return applet, data._replace(package_version=file.version, state_schema=state_schema(applet))
        if load_card_policy(self.store).missing_code is MissingCode.REFUSE:
            raise ReferenceDataNotFound("no code runs here for this module")
        return self._opaque, data._replace(package_version=file.version, state_schema=OPAQUE_SCHEMA)

    def _require_memory(self, memory: Memory) -> None:
        """What a new application reserves has to be there (9.7)."""
        store = self.store
        if memory.reserved and store.free_in_all < store.grants.outstanding(store.used_by):
            raise NotEnoughMemory("less memory is free than is reserved")
        volatile = sum(entry.data.memory.volatile_reserved or 0 for entry in self.registry)
        if memory.volatile_reserved and volatile > load_card_policy(store).volatile_memory:
            raise NotEnoughMemory("less volatile memory is free than is reserved")

    def remove(self, application: Application) -> None:
        """See `Platform.remove`."""
        if any(
            channel is not self.running and channel.context is not None and channel.context.application is application
            for channel in self.channels
        ):
            raise ConditionsNotSatisfied("the application is selected on another channel")
        self.registry.remove(application)
        self._standing.pop(application.owner, None)
        self.files.change(application.owner)
        running = self.running
        if running is not None and running.context is not None and running.context.application is application:
            running.clear_application()

    def terminate(self, application: Application) -> None:
        """See `CardControl.terminate`."""
        if not application.privileges & Privilege.CARD_TERMINATE:
            raise SecurityStatusNotSatisfied("the application may not terminate the card")
        self.registry.set_card_life_cycle(CardLifeCycle.TERMINATED)

    def activate_contactless(self, application: Application, *, active: bool) -> None:
        """See `CardControl.activate_contactless`."""
        if not application.privileges & Privilege.CONTACTLESS_SELF_ACTIVATION:
            raise SecurityStatusNotSatisfied("the application may not activate itself")
        activate(self.registry, application, ContactlessState.ACTIVATED if active else ContactlessState.DEACTIVATED)

    def end_sessions(self, application: Application) -> None:
        """See `Platform.end_sessions`."""
        for channel in self.channels:
            context = channel.context
            if channel is not self.running and context is not None and context.application is application:
                channel.clear_application()

    def settle(self, *, failed: bool) -> None:
        """After a command that changed the registry or file headers: decode again what may have been rolled back."""
        if self.registry.changed:
            self._standing.clear()
            self._code.clear()
            if failed:
                self.registry.reload()
        self.registry.changed = False
        for owner in self.store.touched:
            self._standing.pop(owner, None)
        if self.files.changed or self.store.touched:
            self.files.settle(failed=failed)

    def count_fault(self, fault: Exception) -> None:
        """Count an exception that was no `CardError`."""
        self.faults.add(fault)


def _answers_without_le(store: ObjectStore) -> bool:
    try:
        return load_card_policy(store).answers_without_le
    except MemoryFailure:
        return False
