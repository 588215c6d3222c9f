"""What a tear sweep found: counts, and violations with the exact cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from card_os.hardware.power import CutMoment

MAX_VIOLATIONS: Final = 100
"""Violations that a report names; all are counted."""


class ViolationKind(StrEnum):
    """What a card must not do.

    NO_BOOT: it does not start. BETWEEN: objects are neither all as before nor all as after the command. COUNTER_BACK: a
    try or sequence counter has a value that it had left behind. TRY_NOT_SPENT: a secret was compared and no try was
    spent for it. RESIDUE: bytes are left in journals or free memory. EXPOSED: it tells anybody something that it told
    neither before nor after. NEXT_SCRIPT: the next script does not work. FAULT: its own code failed.
    """

    NO_BOOT = "no-boot"
    BETWEEN = "between"
    COUNTER_BACK = "counter-back"
    TRY_NOT_SPENT = "try-not-spent"
    RESIDUE = "residue"
    EXPOSED = "exposed"
    NEXT_SCRIPT = "next-script"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a card.

    Attributes:
        kind: which invariant.
        detail: which object, file or step; never a value.
    """

    kind: ViolationKind
    detail: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A problem and the cut that brought it about.

    Attributes:
        problem: what is wrong.
        command: number of the command in the run, from 1.
        step: where it comes from, such as a line of the script.
        header: CLA INS P1 P2 of the command; empty for a reset.
        unit: programming unit of the command at which power was cut, from 1; 0 when no cut is needed.
        units: programming units of the command.
        moment: where in the unit; None when no cut is needed.
    """

    problem: Problem
    command: int
    step: str
    header: bytes
    unit: int
    units: int
    moment: CutMoment | None

    def document(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "kind": self.problem.kind.value,
            "detail": self.problem.detail,
            "command": self.command,
            "step": self.step,
            "header": self.header.hex().upper(),
            "unit": self.unit,
            "units": self.units,
            "moment": self.moment.value if self.moment else None,
        }


@dataclass(slots=True)
class TearReport:
    """What a sweep found.

    Attributes:
        commands: commands of the run, power and resets included.
        writing: those of them that write.
        units: programming units of the run.
        cuts: cuts that were made, each with a reboot and a check.
        memories: different memories that reboots left; each was examined in full, next script included.
        found: number of violations.
        violations: the first `MAX_VIOLATIONS` of them.
    """

    commands: int = 0
    writing: int = 0
    units: int = 0
    cuts: int = 0
    memories: int = 0
    found: int = 0
    violations: list[Violation] = field(default_factory=list[Violation])

    def add(self, violation: Violation) -> None:
        """Count a violation, and keep it while there is room."""
        self.found += 1
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(violation)

    def document(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "commands": self.commands,
            "writing_commands": self.writing,
            "units": self.units,
            "cuts": self.cuts,
            "memories": self.memories,
            "violations_found": self.found,
            "violations": [violation.document() for violation in self.violations],
        }
