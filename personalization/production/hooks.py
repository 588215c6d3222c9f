"""Hooks: what machines around a station do before and after a card is positioned, printed and ejected.

``hooks.toml`` of the centre::

    [position]
    before = ["/usr/local/lib/feeder", "load"]      # a command: its arguments, no shell
    after = "camera"                                # or the name of an entry point in the group permitcard.hooks
    timeout_s = 30                                  # of each command, 1..600

    [print]
    before = ["/usr/local/lib/print-card"]

    [eject]
    before = ["/usr/local/lib/feeder", "eject"]

A hook gets one JSON object on its standard input, and nothing of a card on its command line or in its environment,
which other users of the machine can read; no secret of ours is in its environment either. Exit code 0: done. 75: the
machine is not ready, and nothing was done to the card. Anything else, a signal or the end of its time: failed.

Position and eject get hook, batch and location; ejecting also the outcome: "made", "looked-at", "passed", "failed" or
"interrupted". When one fails, its station stops, and the card is looked at when the batch goes on. Print gets row and
face of the card beside. When it fails, the card is spoiled; when it is not ready, the station stops, and the card goes
on later.

A card is printed when its chip has all its data, and SECURED afterwards: a SECURED card is a printed one, also after a
crash. That a print begins is in the audit trail before it does, so that no body is ever printed twice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from shutil import which
from typing import Any, Final, Self, cast

from personalization.errors import PersonalizationError
from personalization.folder_rights import read_settings

ENTRY_POINTS: Final = "permitcard.hooks"
"""Group of Python hooks: callables that take the JSON object as a mapping, and raise when they fail."""

NOT_READY: Final = 75
"""Exit code of a machine that is not ready. Source: EX_TEMPFAIL of BSD sysexits.h."""

_USAGE: Final = 2
_TIMEOUT_S: Final = 30
_MAX_TIMEOUT_S: Final = 600
_OWN_VARIABLES: Final = ("PERMITCARD_", "PGPASSWORD")
"""How names of variables begin that may hold a secret of the centre; the second is libpq's, for the journal."""

_MOMENTS: Final = ("before", "after")


class Act(StrEnum):
    """What a hook stands before or after."""

    POSITION = "position"
    PRINT = "print"
    EJECT = "eject"


class MachineNotReady(Exception):
    """A hook says that nothing was done to the card; raise it in a Python hook."""


class HookFailed(Exception):
    """A hook failed, and what became of the card is not known.

    Args:
        hook: such as "before-print".
        cause: "exit-N", "signal-N", "time-out", or the name of a Python error.
        ready: False when the machine was not ready and did nothing.
    """

    def __init__(self, hook: str, cause: str, *, ready: bool = True) -> None:
        super().__init__(hook, cause)
        self.hook = hook
        self.cause = cause
        self.ready = ready

    def stop(self) -> PersonalizationError:
        """The error that stops a station; exit 3."""
        return PersonalizationError("hook-failed", exit_code=3, hook=self.hook, cause=self.cause)


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook.

    Attributes:
        name: such as "before-print".
        command: its arguments; empty for an entry point.
        entry_point: its name; empty for a command.
        timeout_s: of a command.
    """

    name: str
    command: tuple[str, ...] = ()
    entry_point: str = ""
    timeout_s: int = _TIMEOUT_S

    def run(self, document: Mapping[str, object]) -> None:
        """Run it and wait for its end.

        Raises:
            HookFailed: it failed, or is not ready.
        """
        told = {"hook": self.name, **document}
        if self.entry_point:
            self._call(told)
        else:
            self._execute(json.dumps(told, ensure_ascii=False).encode())

    def _call(self, document: Mapping[str, object]) -> None:
        try:
            _load(self.entry_point)(document)
        except MachineNotReady:
            raise HookFailed(self.name, "not-ready", ready=False) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the card is accounted for; its text may be personal
            raise HookFailed(self.name, type(error).__name__) from None

    def _execute(self, document: bytes) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
        try:
            process = subprocess.Popen(  # noqa: S603 - the centre's own configuration names it; no shell
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise HookFailed(self.name, type(error).__name__, ready=False) from None
        with process:
            try:
                process.communicate(document, self.timeout_s)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise HookFailed(self.name, "time-out") from None
            except BaseException:
                _kill(process)
                raise
        code = process.returncode
        if code == NOT_READY:
            raise HookFailed(self.name, "not-ready", ready=False)
        if code:
            raise HookFailed(self.name, f"exit-{code}" if code > 0 else f"signal-{-code}")


@dataclass(frozen=True, slots=True)
class Hooks:
    """All hooks of a centre; picklable.

    Attributes:
        by_name: hooks by name, such as "before-print".
    """

    by_name: Mapping[str, Hook] = field(default_factory=dict[str, Hook])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``hooks.toml``; none when there is no such file.

        Raises:
            PersonalizationError: exit 2: "hooks-malformed"; "hook-unusable", a command or entry point is not there.
        """
        if not path.exists():
            return cls()
        try:
            document = tomllib.loads(read_settings(path))
        except (OSError, ValueError):
            raise _malformed(path, "-") from None
        hooks: dict[str, Hook] = {}
        for act, table in document.items():
            if act not in set(Act) or not isinstance(table, dict):
                raise _malformed(path, act)
            rows = cast("dict[str, object]", table)
            if set(rows) - {*_MOMENTS, "timeout_s"}:
                raise _malformed(path, act)
            timeout = rows.get("timeout_s", _TIMEOUT_S)
            if type(timeout) is not int or not 1 <= timeout <= _MAX_TIMEOUT_S:
                raise _malformed(path, f"{act}.timeout_s")
            for moment in _MOMENTS:
                if moment in rows:
                    name = f"{moment}-{act}"
                    hooks[name] = _usable(_hook(path, name, rows[moment], timeout))
        return cls(hooks)

    def __bool__(self) -> bool:
        return bool(self.by_name)

    @property
    def prints(self) -> bool:
        """Whether anything is printed."""
        return any(hook.endswith(Act.PRINT.value) for hook in self.by_name)

    def run(self, moment: str, act: Act, document: Mapping[str, object]) -> None:
        """Run the hook of a moment, if there is one.

        Args:
            moment: "before" or "after".
            act: what it stands before or after.
            document: what it is told.

        Raises:
            HookFailed: see `Hook.run`.
        """
        hook = self.by_name.get(f"{moment}-{act.value}")
        if hook is not None:
            hook.run(document)


def _hook(path: Path, name: str, value: object, timeout: int) -> Hook:
    if isinstance(value, str) and value:
        return Hook(name, entry_point=value, timeout_s=timeout)
    words = cast("list[object]", value) if isinstance(value, list) else []
    if not words or not all(isinstance(word, str) for word in words):
        raise _malformed(path, name)
    return Hook(name, tuple(str(word) for word in words), timeout_s=timeout)


def _usable(hook: Hook) -> Hook:
    """The hook, when its command or entry point is there."""
    if hook.entry_point:
        if not entry_points(group=ENTRY_POINTS, name=hook.entry_point):
            raise PersonalizationError("hook-unusable", exit_code=_USAGE, hook=hook.name, what=hook.entry_point)
    elif which(hook.command[0]) is None:
        raise PersonalizationError("hook-unusable", exit_code=_USAGE, hook=hook.name, what=hook.command[0])
    return hook


def _load(name: str) -> Callable[[Mapping[str, object]], object]:
    found = next(iter(entry_points(group=ENTRY_POINTS, name=name)))
    loaded: Any = found.load()
    return cast("Callable[[Mapping[str, object]], object]", loaded)


def _malformed(path: Path, place: str) -> PersonalizationError:
    return PersonalizationError("hooks-malformed", exit_code=_USAGE, file=str(path), place=place)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the command and whatever it started."""
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
    else:
        process.kill()
    process.wait()
