"""A fault plan: what goes wrong with a simulated card, where, and how often; a TOML file.

```toml
seed = 1                        # which bits, where a row names none

[[fault]]
kind = "stuck-bit"              # bit-flip, stuck-bit, skipped-write, worn-page, slow-write
object = "FILE 0203"            # or address = 4711 (with length), or page = 3; without any: the whole memory
bit = 0                         # 0 is the lowest
value = 1

[[fault]]
kind = "status"                 # status, delay, mute
ins = 0xB0                      # without: every command
interface = "contactless"       # without: both
status = "6581"
after = 2                       # lets two pass
count = 3                       # then three times; 0 = from then on always
```

| kind | what it does | own keys | count |
|---|---|---|---|
| bit-flip | turns a bit of what is written, or with ``on = "read"`` of what is read, over | bit, on | 1 |
| stuck-bit | a bit reads and stores as one value | bit, value | 0 |
| skipped-write | a write takes its time and changes nothing | | 1 |
| worn-page | every write leaves one wrong bit | | 0 |
| slow-write | a write takes more virtual time | milliseconds | 1 |
| status | a status word for an answer; with ``execute = true`` after the command was executed | status, execute | 1 |
| delay | the answer comes late, by the wall clock | milliseconds | 1 |
| mute | the card does not answer and is without power | | 1 |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from reader_bridge.connection import Interface
from reader_bridge.toml_rows import RowFile, check_keys, choice, interface, number


class FaultKind(StrEnum):
    """What goes wrong."""

    BIT_FLIP = "bit-flip"
    STUCK_BIT = "stuck-bit"
    SKIPPED_WRITE = "skipped-write"
    WORN_PAGE = "worn-page"
    SLOW_WRITE = "slow-write"
    STATUS = "status"
    DELAY = "delay"
    MUTE = "mute"


COMMAND_FAULTS: Final = frozenset({FaultKind.STATUS, FaultKind.DELAY, FaultKind.MUTE})
"""Kinds that happen to commands; the others happen to the memory."""

_ALWAYS: Final = frozenset({FaultKind.STUCK_BIT, FaultKind.WORN_PAGE})
_EVERY: Final = {"kind": str, "after": int, "count": int}
_SITE: Final = {"object": str, "address": int, "length": int, "page": int}
_COMMAND: Final = {"ins": int, "interface": str}
_KEYS: Final[Mapping[FaultKind, Mapping[str, type]]] = {
    FaultKind.BIT_FLIP: {**_SITE, "bit": int, "on": str},
    FaultKind.STUCK_BIT: {**_SITE, "bit": int, "value": int},
    FaultKind.SKIPPED_WRITE: _SITE,
    FaultKind.WORN_PAGE: _SITE,
    FaultKind.SLOW_WRITE: {**_SITE, "milliseconds": int},
    FaultKind.STATUS: {**_COMMAND, "status": str, "execute": bool},
    FaultKind.DELAY: {**_COMMAND, "milliseconds": int},
    FaultKind.MUTE: _COMMAND,
}
_NEEDED: Final[Mapping[FaultKind, frozenset[str]]] = {
    FaultKind.STUCK_BIT: frozenset({"bit", "value"}),
    FaultKind.SLOW_WRITE: frozenset({"milliseconds"}),
    FaultKind.STATUS: frozenset({"status"}),
    FaultKind.DELAY: frozenset({"milliseconds"}),
}
_LIMITS: Final = {"bit": 7, "value": 1, "ins": 0xFF, "milliseconds": 600_000}
_STATUS: Final = re.compile(r"(6[1-9A-Fa-f]|9[0-9A-Fa-f])[0-9A-Fa-f]{2}")
_OBJECT: Final = re.compile(r"[A-Z]+ [0-9A-Fa-f]{1,8}")


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One row; see the module for what the keys mean.

    Attributes:
        kind: what goes wrong.
        after: how many occasions pass first.
        count: how often it happens then, 0 = always.
        site: kind and identifier of an object; empty for an address or page.
        address: first byte, None for no address.
        length: bytes from it.
        page: page number, None for no page.
        bit: 0..7, None draws one.
        value: of a stuck bit.
        on_read: a bit flips in what is read.
        ins: instruction byte, None for all.
        interface: None for both.
        status: SW1 SW2.
        execute: the command is executed before its status is replaced.
        milliseconds: how long.
    """

    kind: FaultKind
    after: int = 0
    count: int = 1
    site: str = ""
    address: int | None = None
    length: int = 1
    page: int | None = None
    bit: int | None = None
    value: int = 0
    on_read: bool = False
    ins: int | None = None
    interface: Interface | None = None
    status: bytes = b""
    execute: bool = False
    milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A plan.

    Attributes:
        faults: the rows.
        seed: where bits are drawn from.
    """

    faults: tuple[PlannedFault, ...]
    seed: int = 0

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan.

        Raises:
            ReaderError: "fault-plan-unreadable", or "fault-plan-invalid" with the row and the reason.
        """
        return cls.parse(_FILE.text(path), str(path))

    @classmethod
    def parse(cls, text: str, name: str = "plan") -> Self:
        """Read the text of a plan; ``name`` is for messages.

        Raises:
            ReaderError: "fault-plan-invalid".
        """
        faults, settings = _FILE.parse(text, name, _fault)
        return cls(faults, settings["seed"])


_FILE: Final = RowFile("fault", "fault-plan-unreadable", "fault-plan-invalid", {"seed": 0})


def _fault(row: Mapping[str, object]) -> PlannedFault:
    kind = choice(row, "kind", FaultKind)
    check_keys(row, kind.value, {**_EVERY, **_KEYS[kind]}, _NEEDED.get(kind, frozenset()), _LIMITS.get)
    if sum(key in row for key in ("object", "address", "page")) > 1:
        raise ValueError("one site a row: object, address or page")
    return PlannedFault(
        kind,
        after=number(row, "after", 0),
        count=number(row, "count", 0 if kind in _ALWAYS else 1),
        site=_text(row, "object", _OBJECT),
        address=_optional(row, "address"),
        length=number(row, "length", 1),
        page=_optional(row, "page"),
        bit=_optional(row, "bit"),
        value=number(row, "value", 0),
        on_read=_choice(row, "on", ("write", "read")) == "read",
        ins=_optional(row, "ins"),
        interface=interface(row),
        status=bytes.fromhex(_text(row, "status", _STATUS)),
        execute=row.get("execute") is True,
        milliseconds=number(row, "milliseconds", 0),
    )


def _optional(row: Mapping[str, object], key: str) -> int | None:
    value = row.get(key)
    return value if isinstance(value, int) else None


def _text(row: Mapping[str, object], key: str, form: re.Pattern[str]) -> str:
    value = str(row.get(key, ""))
    if value and not form.fullmatch(value):
        raise ValueError(f"{key} is malformed")
    return value


def _choice(row: Mapping[str, object], key: str, choices: tuple[str, ...]) -> str:
    value = str(row.get(key, choices[0]))
    if value not in choices:
        raise ValueError(f"{key} is one of {', '.join(choices)}")
    return value
