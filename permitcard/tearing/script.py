"""The text form of a tear script.

A line is a command APDU in hex, or a step by its name; ``#`` begins a comment. What stands before ``run:`` prepares the
card and is not cut; what follows ``then:`` is the next script, which has to work on every card that a cut leaves.

```
setup:
    make permit
run:
    terminal service_desk                   # the commands that follow go through this session
    00 D6 8D 00 01 02                       # UPDATE BINARY; must end with 9000
    pin holder
    0020 0081 08 26246802FFFFFFFF => 9000 63Cx
then:
    reset
    00A4 0400 07 F05A4A4A5A0101 00
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import CardError
from card_os.iso7816.status import StatusWord
from personalization.errors import PersonalizationError


class Section(StrEnum):
    """Parts of a script."""

    SETUP = "setup"
    RUN = "run"
    THEN = "then"


PRODUCTS: Final = ("permit", "sam", "file-system")
MADE: Final = ("permit", "sam")
"""What production makes."""
ROLES: Final = ("inspection", "service_desk", "bank_branch", "issuer")

STEPS: Final[dict[str, tuple[str, ...]]] = {
    "contact": (),
    "contactless": (),
    "reset": (),
    "plain": (),
    "scp03": ("factory", "card"),
    "terminal": ROLES,
    "pin": ("holder", "unblocking"),
    "put-keys": ("card",),
    "install": PRODUCTS,
    "personalize": PRODUCTS,
    "make": MADE,
    "finish": MADE,
    "delete": PRODUCTS,
    "card-state": ("initialized", "secured", "terminated"),
}
"""Steps by name, and the words that may follow; none means that nothing follows."""

DONE: Final = ("9000",)
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}\s*){4,}")
_STATUS: Final = re.compile(r"[0-9A-Fa-f]{3}[0-9A-Fa-fxX]|[0-9A-Fa-f]{2}[xX]{2}")


@dataclass(frozen=True, slots=True)
class Expected:
    """Status words that a line takes, such as 9000, 63Cx or 61xx.

    Attributes:
        patterns: four characters each; x stands for any digit.
    """

    patterns: tuple[str, ...] = DONE

    def __contains__(self, status: object) -> bool:
        return isinstance(status, int) and any(
            all(want in ("X", have) for want, have in zip(pattern, f"{status:04X}", strict=True))
            for pattern in self.patterns
        )

    def __iter__(self) -> Iterator[StatusWord]:
        """All of them that are not patterns."""
        return (StatusWord(int(pattern, 16)) for pattern in self.patterns if "X" not in pattern)

    def __str__(self) -> str:
        return " ".join(self.patterns)


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """One line.

    Attributes:
        line: number in the file, from 1.
        name: name of the step; empty for an APDU.
        word: what follows the name.
        command: the APDU's bytes; empty for a step.
        expected: status words of an APDU.
    """

    line: int
    name: str = ""
    word: str = ""
    command: bytes = b""
    expected: Expected = Expected()

    def __str__(self) -> str:
        """For reports: an APDU with its header only."""
        return f"{self.name} {self.word}".strip() if self.name else self.command[:4].hex(" ").upper()

    def __repr__(self) -> str:
        return f"ScriptStep({self.line}, {self})"


@dataclass(frozen=True, slots=True)
class TearScript:
    """A script.

    Attributes:
        setup: before the run, not cut.
        run: cut at every programming unit.
        then: has to work after every cut.
    """

    setup: tuple[ScriptStep, ...]
    run: tuple[ScriptStep, ...]
    then: tuple[ScriptStep, ...]

    @classmethod
    def parse(cls, text: str) -> TearScript:
        """Read a script.

        Raises:
            PersonalizationError: "script-line" with line and reason, "script-empty".
        """
        parts: dict[Section, list[ScriptStep]] = {section: [] for section in Section}
        section = Section.RUN
        for number, raw in enumerate(text.splitlines(), start=1):
            line = raw.partition("#")[0].strip()
            if line.endswith(":") and line[:-1] in set(Section):
                section = Section(line[:-1])
            elif line:
                parts[section].append(_step(number, line))
        if not parts[Section.RUN]:
            raise PersonalizationError("script-empty", exit_code=2)
        return cls(*(tuple(parts[name]) for name in (Section.SETUP, Section.RUN, Section.THEN)))


def _step(number: int, line: str) -> ScriptStep:
    body, arrow, statuses = (part.strip() for part in line.partition("=>"))
    if _HEX.fullmatch(body):
        patterns = tuple(status.upper() for status in statuses.split()) if arrow else DONE
        if not patterns or not all(_STATUS.fullmatch(pattern) for pattern in patterns):
            raise _wrong(number, f"no status words: {statuses or '(nothing)'}")
        command = bytes.fromhex(body)
        try:
            CommandApdu.parse(command)
        except CardError as error:
            raise _wrong(number, f"no command APDU: {error.reason}") from error
        return ScriptStep(number, command=command, expected=Expected(patterns))
    name, _, word = body.partition(" ")
    if name not in STEPS or arrow:
        raise _wrong(number, f"neither an APDU nor one of: {', '.join(STEPS)}")
    words = STEPS[name]
    if word.strip() not in (words or ("",)):
        raise _wrong(number, f"after {name} comes {' or '.join(words) or 'nothing'}")
    return ScriptStep(number, name, word.strip())


def _wrong(number: int, reason: str) -> PersonalizationError:
    return PersonalizationError("script-line", exit_code=2, line=number, reason=reason)
