"""Tear sweep: a run of a simulated card is recorded once, then power is cut at every programming unit of it.

What a cut leaves depends on the memory before the write and on the write alone, never on what the command would have
done next. So the run is not repeated: the recorded writes go through the memory of a chip again, power fails in each
unit at each of the four moments, and the card boots from what is left.

A card that has booted is what its memory says. A memory that equals, to the last byte, one that was examined before is
therefore not examined again: it is only judged against this command.

Source: docs/decisions/0001-architecture-of-the-main-job.md, clause 1.2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from card_os.hardware.chip import CellKind
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.power import CutMoment
from card_os.hardware.recording import RecordingNvm, repeat_write
from card_os.iso7816.errors import CardTorn, MemoryFailure
from card_os.storage.contents import ObjectName, StoredState, count_residue, read_state
from card_os.storage.counter_cells import CounterCells, cell_width
from card_os.storage.journal import MARK_BYTES
from card_os.storage.layout import StoreLayout, open_layout
from card_os.storage.memory import open_memory
from card_os.storage.store import ObjectStore
from reader_bridge.tear_recording import CommandRecord, TearRecording, units_of
from reader_bridge.tear_report import Problem, TearReport, Violation, ViolationKind

Examination = Callable[[NvmImage], Sequence[Problem]]
"""Uses a card that has booted after a cut, on an image that it may change, and says what does not work."""

Answers = Callable[[NvmImage], tuple[bytes, ...]]
"""Asks a card what anybody may ask, on an image that it may change; the same memory has to give the same answers."""

Advance = Callable[[int, int], None]
"""Is told programming units done and units in all."""

Counters = Mapping[ObjectName, bytes]
_Content = Mapping[ObjectName, bytes]


@dataclass(frozen=True, slots=True)
class _Memory:
    """A memory as a reboot left it.

    Attributes:
        cells: all bytes.
        state: its objects, None when it does not boot.
        problems: what is wrong with it, whichever command left it.
        answers: what it tells anybody.
    """

    cells: bytes = field(repr=False)
    state: StoredState | None
    problems: tuple[Problem, ...]
    answers: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a memory is to one command.

    Attributes:
        memory: the memory.
        problems: what is wrong with it, apart from counters.
        counters: the counters that the command leaves in place.
    """

    memory: _Memory
    problems: tuple[Problem, ...]
    counters: Counters = field(repr=False)


class TearSweep:
    """Cuts power at every programming unit of a recorded run.

    Args:
        recording: the run.
        examine: whether a card works.
        answers: what a card tells anybody.
        twice: cut also every boot after a cut, at every unit that it programs.
    """

    def __init__(
        self, recording: TearRecording, examine: Examination, answers: Answers, *, twice: bool = False
    ) -> None:
        self.twice = twice
        self._recording = recording
        self._examine = examine
        self._answers = answers
        self.report = TearReport()

    def run(self, advance: Advance | None = None) -> TearReport:
        """Cut everywhere; takes about 0.1 ms a cut."""
        report, commands = self.report, self._recording.commands
        with NvmImage.from_snapshot(self._recording.start) as image:
            word_size = image.chip.word_size
            report.commands = len(commands)
            report.units = sum(command.units(word_size) for command in commands)
            last: _Memory | None = None
            done = 0
            for command in commands:
                if command.writes:
                    report.writing += 1
                    last = _CommandSweep(self, command, image, last).run()
                    done += command.units(word_size)
                    if advance is not None:
                        advance(done, report.units)
        return report

    def look(self, image: NvmImage) -> _Memory:
        """Boot from a memory and examine it in full; ``image`` is left as booting leaves it."""
        self.report.memories += 1
        nvm = image.nvm()
        try:
            state = read_state(nvm)
        except Exception as error:  # noqa: BLE001 - a card that a cut has damaged may fail in any way
            return _Memory(nvm.read(0, nvm.size), None, (Problem(ViolationKind.NO_BOOT, _reason(error)),), ())
        cells = nvm.read(0, nvm.size)
        problems: list[Problem] = []
        if residue := count_residue(nvm, state):
            problems.append(Problem(ViolationKind.RESIDUE, f"{residue} bytes"))
        answers: tuple[bytes, ...] = ()
        try:
            answers = self._answers(image.fork())
            problems += self._examine(image.fork())
        except Exception as error:  # noqa: BLE001 - same
            problems.append(Problem(ViolationKind.NO_BOOT, _reason(error)))
        return _Memory(cells, state, tuple(problems), answers)


class _CommandSweep:
    """The cuts of one command.

    Args:
        sweep: looks at memories and has the report.
        command: the command.
        image: the memory before the command; it is brought to what it is after the command.
        before: the memory before, None when it was not looked at.
    """

    def __init__(self, sweep: TearSweep, command: CommandRecord, image: NvmImage, before: _Memory | None) -> None:
        self._sweep = sweep
        self._command = command
        self._image = image
        self._units = command.units(image.chip.word_size)
        self._before = before or sweep.look(image.fork())
        self._after, self._counters = self._replayed()
        layout = open_layout(image.nvm()) if image.chip.kind is CellKind.WORDS else None
        self._in_place = [layout is None or offset >= layout.table for offset, _ in command.writes]
        self._alone = [True] * len(command.writes) if layout is None else self._find_alone(layout)
        self._verdicts = [self._verdict(self._before), self._verdict(self._after)]

    def run(self) -> _Memory:
        """Cut at every unit of every write; returns the memory afterwards."""
        self._check_spending()
        self._check_residue()
        nvm = self._image.nvm()
        done = 0
        for number, (offset, data) in enumerate(self._command.writes):
            allowed = self._allowed(number)
            units = units_of(nvm.word_size, offset, len(data))
            for unit in range(1, units + 1):
                for moment in CutMoment:
                    for verdict in self._cut(offset, data, unit, moment):
                        self._judge(verdict, allowed, done + unit, moment)
            done += units
            repeat_write(nvm, offset, data)
        return self._after

    def _replayed(self) -> tuple[_Memory, list[Counters]]:
        """The memory after the command, and the counters in place before its first write and after each.

        Objects that the command makes, removes or moves have none: they are old or new as a whole.
        """
        fork = self._image.fork()
        nvm = fork.nvm()
        for offset, data in self._command.writes:
            repeat_write(nvm, offset, data)
        after = self._sweep.look(fork)
        places: dict[ObjectName, _CounterPlace] = {}
        if self._before.state is not None and after.state is not None:
            old, new = self._before.state, after.state
            for name, value in old.counters.items():
                if len(new.counters.get(name, b"")) == len(value) and new.extents[name] == old.extents[name]:
                    places[name] = _CounterPlace(old.extents[name][0], len(value), apart=name in old.cells)
        fork = self._image.fork()
        nvm = fork.nvm()
        counters = [_counters_at(fork, places)]
        for offset, data in self._command.writes:
            repeat_write(nvm, offset, data)
            try:
                counters.append(_counters_at(fork, places))
            except MemoryFailure:  # a boot after a cut here says so
                counters.append(counters[-1])
        return after, counters

    def _find_alone(self, layout: StoreLayout) -> list[bool]:
        """Which writes make their own change: cells of counters, unless a journal with its mark has them too."""
        state, marked, cells = self._before.state, False, set[int]()
        if state is not None:
            width = cell_width(self._image.chip.word_size)
            cells = {at + more for at in state.cells.values() for more in (0, width)}
        alone: list[bool] = []
        for (offset, data), in_place in zip(self._command.writes, self._in_place, strict=True):
            if not in_place:
                marked = offset == layout.journal and len(data) == MARK_BYTES
            alone.append(in_place and not marked and offset in cells)
        return alone

    def _allowed(self, number: int) -> list[Counters]:
        """What counters may be after a cut in a write: as they stand in memory, or as its journal makes them.

        What a journal makes is done by the writes in place that follow it in one run. Once one of a run is done, there
        is no way back. A cell makes its own change, and so does each write of a log.
        """
        if self._alone[number]:
            return [self._counters[number], self._counters[number + 1]]
        end = number
        while end < len(self._in_place) and not self._in_place[end]:
            end += 1
        while end < len(self._in_place) and self._in_place[end]:
            end += 1
        begun = number > 0 and self._in_place[number - 1] and self._in_place[number]
        return [self._counters[end]] if begun else [self._counters[number], self._counters[end]]

    def _check_spending(self) -> None:
        """Whether a command that compares a secret spends a try for it, also when the secret is right."""
        first = self._counters[0]
        if self._command.compares and not any(
            values[name] < first[name] for values in self._counters for name in values
        ):
            self._report(Problem(ViolationKind.TRY_NOT_SPENT, ""), 0, None)

    def _check_residue(self) -> None:
        """Whether the command leaves free memory and journals blank, also before the next boot cleans up."""
        fork = self._image.fork()
        nvm = fork.nvm()
        for offset, data in self._command.writes:
            repeat_write(nvm, offset, data)
        if self._after.state is not None and (residue := count_residue(nvm, self._after.state)):
            self._report(Problem(ViolationKind.RESIDUE, f"{residue} bytes"), 0, None)

    def _cut(self, offset: int, data: bytes, unit: int, moment: CutMoment) -> Iterator[_Verdict]:
        """Cut once, boot, and judge what is left; with ``twice`` cut each unit of the boot too, and boot again."""
        torn = self._image.fork()
        nvm = torn.nvm()
        nvm.power.arm(unit, moment)
        with contextlib.suppress(CardTorn):
            repeat_write(nvm, offset, data)
        if self._sweep.twice:
            yield from self._cut_boots(torn)
        yield self._boot(torn)

    def _cut_boots(self, torn: NvmImage) -> Iterator[_Verdict]:
        """Cut the boot from a torn memory at every unit that it programs; blank over blank cannot be torn."""
        whole = torn.fork().nvm_as(RecordingNvm)
        with contextlib.suppress(Exception):  # a memory that does not boot is reported where it boots whole
            ObjectStore(whole)
        base = torn.fork()
        nvm = base.nvm()
        for offset, data in whole.writes:
            for unit in range(1, units_of(nvm.word_size, offset, len(data)) + 1):
                if _moves_no_bit(nvm, offset, data, unit):
                    continue
                for moment in CutMoment:
                    again = base.fork()
                    cut = again.nvm()
                    cut.power.arm(unit, moment)
                    with contextlib.suppress(CardTorn):
                        repeat_write(cut, offset, data)
                    yield self._boot(again)
            repeat_write(nvm, offset, data)

    def _boot(self, torn: NvmImage) -> _Verdict:
        """Boot after a cut, and recognise the memory or examine it."""
        self._sweep.report.cuts += 1
        nvm = torn.nvm()
        try:
            ObjectStore(nvm)
        except Exception:  # noqa: BLE001 - same; looking at it says what it is
            return self._verdict(self._sweep.look(torn))
        cells = nvm.read(0, nvm.size)
        for verdict in self._verdicts:
            if verdict.memory.cells == cells:
                return verdict
        verdict = self._verdict(self._sweep.look(torn))
        self._verdicts.append(verdict)
        return verdict

    def _verdict(self, memory: _Memory) -> _Verdict:
        """Old or new, and what it tells."""
        problems = list(memory.problems)
        before, after, state = self._before, self._after, memory.state
        if state is None or before.state is None or after.state is None:
            return _Verdict(memory, tuple(problems), counters={})
        if memory.answers not in (before.answers, after.answers):
            problems.append(Problem(ViolationKind.EXPOSED, _different_answers(memory, before, after)))
        found, old, new = self._whole(state), self._whole(before.state), self._whole(after.state)
        if found not in (old, new):
            problems.append(Problem(ViolationKind.BETWEEN, _between(found, old, new)))
        counters = {name: state.counters[name] for name in self._counters[0] if name in state.counters}
        return _Verdict(memory, tuple(problems), counters=counters)

    def _whole(self, state: StoredState) -> dict[ObjectName, bytes]:
        """Everything but the counters that are judged apart."""
        counted = self._counters[0]
        return {
            name: content if name in counted else state.counters.get(name, b"") + content
            for name, content in state.fixed.items()
        }

    def _judge(self, verdict: _Verdict, allowed: Sequence[Counters], unit: int, moment: CutMoment) -> None:
        for problem in verdict.problems:
            self._report(problem, unit, moment)
        if verdict.memory.state is None or verdict.counters in allowed:
            return
        values = allowed[0]
        names = [str(name) for name in values if verdict.counters.get(name) != values[name]]
        self._report(Problem(ViolationKind.COUNTER_BACK, ", ".join(names)), unit, moment)

    def _report(self, problem: Problem, unit: int, moment: CutMoment | None) -> None:
        command = self._command
        self._sweep.report.add(
            Violation(problem, command.number, command.step, command.header, unit, self._units, moment)
        )


def _moves_no_bit(nvm: Nvm, offset: int, data: bytes, unit: int) -> bool:
    """True when a unit of a write makes blank what is blank."""
    if not data:  # the erase of a page
        return nvm.read(offset, nvm.page_size).count(nvm.erased) == nvm.page_size
    start = (offset // nvm.word_size + unit - 1) * nvm.word_size
    blank = bytes((nvm.erased,)) * nvm.word_size
    part = data[max(start - offset, 0) : start + nvm.word_size - offset]
    return nvm.read(start, nvm.word_size) == blank and part == blank[: len(part)]


class _CounterPlace(NamedTuple):
    """Where a counter stands.

    Attributes:
        at: address of its bytes, or of its cells.
        size: bytes of its value.
        apart: it has cells.
    """

    at: int
    size: int
    apart: bool


def _counters_at(image: NvmImage, places: Mapping[ObjectName, _CounterPlace]) -> Counters:
    """Counters as a card that boots from the image now would find them."""
    nvm = image.nvm()
    read = nvm.read if nvm.kind is CellKind.WORDS else open_memory(image.fork().nvm()).read
    return {
        name: CounterCells(place.at, nvm, cell_width(nvm.word_size)).value
        if place.apart
        else read(place.at, place.size)
        for name, place in places.items()
    }


def _reason(error: Exception) -> str:
    """What a report may say of an error: values of a card stay out of it."""
    return error.reason if isinstance(error, MemoryFailure) else type(error).__name__


def _between(
    found: Mapping[ObjectName, bytes], old: Mapping[ObjectName, bytes], new: Mapping[ObjectName, bytes]
) -> str:
    """Names of the objects that are not as before, and how they are."""
    parts: list[str] = []
    for name in sorted(found.keys() | old.keys() | new.keys()):
        value = found.get(name)
        if old.get(name) == new.get(name) == value:
            continue
        form = "new" if value == new.get(name) else "old" if value == old.get(name) else "broken"
        parts.append(f"{name}: {form}")
    return ", ".join(parts)


def _different_answers(memory: _Memory, before: _Memory, after: _Memory) -> str:
    """Which questions are answered as neither before nor after."""
    numbers = [
        str(number)
        for number, (found, old, new) in enumerate(
            zip(memory.answers, before.answers, after.answers, strict=False), start=1
        )
        if found not in (old, new)
    ]
    return ", ".join(numbers)
