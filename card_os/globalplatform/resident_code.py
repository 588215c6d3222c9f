"""Code that runs applications: what of it is resident, what it knows, and what stands in where there is none.

Source: GlobalPlatform Card Specification 2.3.1, clause 5.1.1.1 (load files in immutable memory are registered).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

from card_os.applet_api import Applet, Context, Instruction, Versioned
from card_os.files.spec import Tag
from card_os.globalplatform.registry import ISSUER_DOMAIN, LoadFile, LoadFileLifeCycle
from card_os.globalplatform.registry_entry import FIRST_SCHEMA, FIRST_VERSION
from card_os.iso7816 import tlv
from card_os.iso7816.aid import Aid
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.storage.store import ObjectStore

OPAQUE_SCHEMA: Final = 0
"""Schema of an application that was installed without code."""
_REMEMBERED_CLASSES: Final = 256


def state_schema(applet: Applet) -> int:
    """Schema of the objects that an applet makes."""
    return _declared(type(applet))[0]


@lru_cache(maxsize=_REMEMBERED_CLASSES)
def _declared(code: type) -> tuple[int, bytes]:
    """Schema and version that a class declares; remembered, for every boot asks and the question costs 20 µs."""
    if isinstance(code, Versioned):
        return code.state_schema, bytes(code.package_version)
    return FIRST_SCHEMA, FIRST_VERSION


def resident_files(applets: Iterable[Applet]) -> list[LoadFile]:
    """The load files of code in read-only memory; they belong to the issuer domain until they are extradited."""
    packages: dict[bytes, list[Applet]] = {}
    for applet in applets:
        packages.setdefault(applet.package_aid, []).append(applet)
    return [
        LoadFile(
            0,
            Aid(aid),
            ISSUER_DOMAIN,
            LoadFileLifeCycle.LOADED,
            resident=True,
            version=_version(code[0]),
            modules=tuple(Aid(module) for module in sorted(applet.module_aid for applet in code)),
        )
        for aid, code in packages.items()
    ]


def _version(applet: Applet) -> bytes:
    return _declared(type(applet))[1]


class OpaqueApplet:
    """Stands in for code that is not there: the instance can be selected, personalized and deleted; see `Applet`.

    What it is given is kept as an object for each grouping, so that the memory counts, and is never told.
    """

    package_aid: ClassVar[bytes] = b""
    module_aid: ClassVar[bytes] = b""
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = {}

    def install(self, context: Context, parameters: bytes) -> None:
        """Keep the parameters."""
        if parameters:
            _keep(context.store, context.application.owner, _PARAMETERS, parameters)

    def select(self, context: Context) -> bytes:
        """FCI with the AID."""
        return tlv.encode(Tag.FCI, tlv.encode(Tag.DF_NAME, context.application.aid))

    def deselect(self, context: Context) -> None:
        """Nothing is held."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """Keep a grouping, the last one of each identifier."""
        del last
        _keep(context.store, context.application.owner, identifier, value)


_PARAMETERS: Final = 0x0100_0000


def _keep(store: ObjectStore, owner: int, identifier: int, value: bytes) -> None:
    with store.transaction():
        item = store.find(owner, ObjectKind.DATA, identifier)
        if item is not None:
            store.delete(item)
        store.create(owner, ObjectKind.DATA, identifier, len(value), value)
