"""APDUs that a user writes down, sent one after another.

A line is a command APDU in hexadecimal, after ``=>`` the status words that are no failure (9000 when absent; ``x``
stands for any digit), and after ``#`` a comment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import typer

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.errors import CardError
from permitcard.console import Console
from permitcard.gp_access import GpAccess
from personalization.errors import PersonalizationError
from personalization.globalplatform.session import SecureSession, exchange_plain

_STATUS: Final = re.compile(r"[0-9A-FXx]{4}", re.IGNORECASE)
_DONE: Final = "9000"


class ScriptLine(NamedTuple):
    """One APDU and what it may be answered with."""

    command: CommandApdu
    accepted: tuple[str, ...]
    number: int

    def accepts(self, response: ResponseApdu) -> bool:
        """True when the status word is one of those."""
        told = f"{response.sw:04X}"
        return any(
            all(wanted in ("X", digit) for wanted, digit in zip(pattern.upper(), told, strict=True))
            for pattern in self.accepted
        )


def parse_line(text: str, number: int) -> ScriptLine:
    """Read one line.

    Raises:
        PersonalizationError: "gp-script-malformed", exit 2.
    """
    apdu, _, statuses = text.partition("#")[0].partition("=>")
    accepted = tuple(statuses.split()) or (_DONE,)
    if not all(_STATUS.fullmatch(item) for item in accepted):
        raise PersonalizationError("gp-script-malformed", exit_code=2, row=number)
    try:
        return ScriptLine(CommandApdu.parse(bytes.fromhex(apdu)), accepted, number)
    except (ValueError, CardError) as error:
        raise PersonalizationError("gp-script-malformed", exit_code=2, row=number) from error


def read_script(path: Path) -> list[ScriptLine]:
    """Read a file of lines; empty ones and comments are left out.

    Raises:
        PersonalizationError: "gp-script-malformed", exit 2.
        OSError: it cannot be read.
    """
    lines = path.read_text("utf-8", errors="replace").splitlines()
    return [parse_line(line, number) for number, line in enumerate(lines, start=1) if line.partition("#")[0].strip()]


def run_lines(console: Console, access: GpAccess, lines: Sequence[ScriptLine], *, plain: bool) -> None:
    """Send all lines, and show what came back; stops at the first that is not answered as it says, with exit 1."""
    if plain:
        with access.connection() as connection:
            _run(console, lines, lambda command: exchange_plain(connection, command))
    else:
        with access.session() as session:
            _run(console, lines, lambda command: _protected(session, command))


def _protected(session: SecureSession, command: CommandApdu) -> ResponseApdu:
    try:
        return session.exchange(command)
    except ValueError as error:
        raise PersonalizationError(
            "gp-apdu-too-long", exit_code=2, length=len(command.data), limit=session.max_data
        ) from error


def _run(console: Console, lines: Sequence[ScriptLine], send: Callable[[CommandApdu], ResponseApdu]) -> None:
    answers: list[dict[str, object]] = []
    failed = None
    for line in lines:
        response = send(line.command)
        console.write(f"{line.number:>4}  {response.data.hex().upper()}{' ' if response.data else ''}{response.sw}")
        answers.append({"line": line.number, "data": response.data.hex().upper(), "sw": f"{response.sw:04X}"})
        if not line.accepts(response):
            failed = line.number
            console.say("gp.script-stopped", row=line.number, sw=str(response.sw), wanted=" ".join(line.accepted))
            break
    console.result({"answers": answers, "failed": failed})
    if failed is not None:
        raise typer.Exit(1)
