"""Cards with one fault each, as a vendor's first samples have them, and the tests of the suite that have to notice.

A fault is put into the firmware while a test runs; the image is that of a sound specimen. `FAULTS` is the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from applet.permit import commands
from applet.permit.applet import PermitApplet
from card_os.iso7816.errors import (
    CardError,
    SmObjectIncorrect,
)
from card_os.security.access import ALWAYS
from card_os.security.secure_messaging import IsoSecureMessaging

Patch = pytest.MonkeyPatch
Handler = Callable[[Any, Any], bytes]
EVERYTHING: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        name: what is wrong with the card.
        found_by: names of the tests of the suite that fail on it.
        put: puts it into the firmware.
    """

    name: str
    found_by: tuple[str, ...]
    put: Callable[[Patch], None]


FAULTS: Final[list[Fault]] = []


def fault(*found_by: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Enter a function into the table, by its name."""

    def enter(put: Callable[[Patch], None]) -> Callable[[Patch], None]:
        FAULTS.append(Fault(put.__name__, found_by, put))
        return put

    return enter


# --------------------------------------------------------------------------------------------------- how faults are put


def handler(patch: Patch, name: str, change: Callable[[Handler], Handler]) -> None:
    """Change what the permit does for the commands of a name."""
    table = {
        key: replace(row, handler=change(row.handler)) if row.name == name else row
        for key, row in PermitApplet.instructions.items()
    }
    assert table != PermitApplet.instructions, name
    patch.setattr(PermitApplet, "instructions", table)


def open_command(patch: Patch, name: str) -> None:
    """Let anybody give the commands of a name."""
    table = {
        key: replace(row, access=ALWAYS) if row.name == name else row for key, row in PermitApplet.instructions.items()
    }
    assert table != PermitApplet.instructions, name
    patch.setattr(PermitApplet, "instructions", table)


def writable(patch: Patch, tag: int, **changed: object) -> None:
    """Change a row of the table of PUT DATA."""
    rows: dict[int, Any] = dict(commands._WRITABLE)
    patch.setattr(commands, "_WRITABLE", {**rows, tag: rows[tag]._replace(**changed)})


def around(patch: Patch, owner: Any, name: str, change: Callable[..., Any]) -> None:
    """Replace a function by one that gets the former one before its arguments."""
    former = getattr(owner, name)
    patch.setattr(owner, name, lambda *arguments, **named: change(former, *arguments, **named))


def with_every_proof(inner: Handler, when: Callable[[Any], bool]) -> Handler:
    """A handler that asks no rule when a command is of a kind."""

    def changed(context: Any, command: Any) -> bytes:
        if when(command):
            context.proofs = EVERYTHING
        return inner(context, command)

    return changed


def told_only(_store: object, _item: object, left: int) -> int:
    """Stands for `spend_try`: the try is told, and not spent."""
    return left - 1


def nothing(*_: object) -> None:
    """Stands for what a faulty card leaves out."""


def yes(*_: object) -> bool:
    """Stands for a check that a faulty card does not make."""
    return True


def without_tries(patch: Patch, module: Any) -> None:
    """A wrong authentication is told to cost a try, and costs none."""
    patch.setattr(module, "spend_try", told_only)


def retrying(patch: Patch, steps: tuple[int, ...]) -> None:
    """A card that takes commands under other values of the counter too."""

    def unwrap(former: Any, self: Any, command: Any) -> Any:
        begun, first = self._counter, None
        for step in steps:
            self._counter = begun + step & self._counter_mask
            try:
                return former(self, command)
            except CardError as error:
                first = first or error
        assert first is not None
        raise first

    around(patch, IsoSecureMessaging, "unwrap", unwrap)


def blind(patch: Patch, field: str, values: range) -> None:
    """A card whose MAC does not cover a byte of the header."""

    def unwrap(former: Any, self: Any, command: Any) -> Any:
        begun = self._counter
        sent = getattr(command, field)
        for value in (sent, *values):
            self._counter = begun
            try:
                return former(self, command._replace(**{field: value}))._replace(**{field: sent})
            except SmObjectIncorrect:
                continue
        raise SmObjectIncorrect("MAC does not match")

    around(patch, IsoSecureMessaging, "unwrap", unwrap)


class HalfMac:
    """A MAC of which some bytes are compared only."""

    def __init__(self, inner: Any, part: slice) -> None:
        self._inner, self._part = inner, part

    def compute(self, message: bytes) -> bytes:
        computed: bytes = self._inner.compute(message)
        return computed

    def verify(self, message: bytes, mac: bytes, length: int) -> bool:
        return len(mac) == length and self.compute(message)[self._part] == mac[self._part]


def comparing(patch: Patch, part: slice) -> None:
    """Secure messaging that compares a part of the MAC."""

    def unwrap(former: Any, self: Any, command: Any) -> Any:
        if not isinstance(self._mac, HalfMac):
            self._mac = HalfMac(self._mac, part)
        return former(self, command)

    around(patch, IsoSecureMessaging, "unwrap", unwrap)
