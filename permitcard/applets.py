"""Applications that a card can carry: ours, and those that other packages bring.

A package brings an application by an entry point of the group `permitcard.applets`:

    [project.entry-points."permitcard.applets"]
    visitor-counter = "visitor_counter:VisitorCounter"

Ours are there under the same names from a wheel; from a checkout, which has no metadata, the table here stands for
them. Code of other packages is loaded for cards that a user makes or opens, never for production.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from card_os.applet_api import Applet

GROUP: Final = "permitcard.applets"
BUILT_IN: Final[Mapping[str, str]] = {
    "permit": "applet.permit.applet:PermitApplet",
    "sam": "applet.sam.applet:SamApplet",
    "file-system": "applet.file_system.applet:FileSystemApplet",
}
OWN_PACKAGE: Final = "permitcard"

_PARTS: Final = ("package_aid", "module_aid", "instructions", "install", "select", "deselect", "store_data")


@dataclass(frozen=True, slots=True)
class KnownApplet:
    """An application by its name.

    Attributes:
        name: of the entry point.
        package: the distribution that brings it.
        code: its class; None when there is a problem with it.
        problem: why it cannot be used, in words; empty when it can.
    """

    name: str
    package: str
    code: type[Applet] | None
    problem: str = ""


@cache
def built_in_applets() -> tuple[type[Applet], ...]:
    """The code of our own applications."""
    return tuple(_load(EntryPoint(name, value, GROUP)) for name, value in BUILT_IN.items())


@cache
def known_applets() -> tuple[KnownApplet, ...]:
    """Our own, then those of other packages by name."""
    known = [KnownApplet(name, OWN_PACKAGE, code) for name, code in zip(BUILT_IN, built_in_applets(), strict=True)]
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        package = point.dist.name if point.dist is not None else "?"
        if package != OWN_PACKAGE:
            known.append(_examined(point, package, known))
    return tuple(known)


def foreign_applets() -> tuple[type[Applet], ...]:
    """The code that other packages bring, what cannot be used left out."""
    return tuple(item.code for item in known_applets() if item.package != OWN_PACKAGE and item.code is not None)


def applet_named(name: str) -> type[Applet]:
    """The code of an application.

    Raises:
        PersonalizationError: "applet-unknown" with the names that there are, "applet-broken" with the reason.
    """
    found = [item for item in known_applets() if item.name == name]
    if not found:
        names = ", ".join(item.name for item in known_applets())
        raise PersonalizationError("applet-unknown", exit_code=2, name=name, known=names)
    for item in found:
        if item.code is not None:
            return item.code
    raise PersonalizationError(
        "applet-broken", exit_code=3, name=name, package=found[0].package, reason=found[0].problem
    )


def _examined(point: EntryPoint, package: str, known: list[KnownApplet]) -> KnownApplet:
    """An application of another package, once it is loaded and its names are free."""
    try:
        code = _load(point)
    except Exception as error:  # noqa: BLE001 - code of others may fail in any way
        return KnownApplet(point.name, package, None, f"{type(error).__name__}: {error}")
    problem = "; ".join(_problems(point.name, code, known))
    return KnownApplet(point.name, package, None if problem else code, problem)


def _load(point: EntryPoint) -> type[Applet]:
    code: type[Applet] = point.load()
    return code


def _problems(name: str, code: type[Applet], known: list[KnownApplet]) -> Iterator[str]:
    from card_os.globalplatform.registry import DOMAIN_MODULE_AID
    from card_os.iso7816.aid import Aid

    missing = [part for part in _PARTS if not hasattr(code, part)]
    if missing:
        yield f"has no {', '.join(missing)}"
        return
    for part in (code.package_aid, code.module_aid):
        try:
            Aid(part)
        except (ValueError, TypeError) as error:
            yield str(error)
    if any(item.name == name for item in known):
        yield f"the name {name} is taken"
    taken = {DOMAIN_MODULE_AID, *(item.code.module_aid for item in known if item.code is not None)}
    if code.module_aid in taken:
        yield f"the module name {bytes(code.module_aid).hex().upper()} is taken"
