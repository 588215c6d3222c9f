"""Sweeps a script over a simulated card: for the command line and for tests.

A test calls `assert_tear_safe` with the text of a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from card_os.hardware.chip import DEFAULT_CHIP
from card_os.hardware.image import ImageError, NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from permitcard.products import boot, permit_profile, sam_profile
from permitcard.specimen import make_blank_specimen, make_specimen, specimen_target
from permitcard.tearing.script import ScriptStep, TearScript
from permitcard.tearing.script_run import ScriptRun, StepFailed
from permitcard.testing.access import find_target
from permitcard.testing.target import ISSUER_DOMAIN_AID, Target
from personalization.errors import PersonalizationError
from reader_bridge.connection import Interface, ReaderError
from reader_bridge.simulated import SimulatedCard, SimulatedConnection
from reader_bridge.tear_recording import TearRecording
from reader_bridge.tear_report import Problem, TearReport, ViolationKind
from reader_bridge.tear_sweep import Advance, TearSweep

if TYPE_CHECKING:
    from card_os.applet_api import Applet
    from card_os.card import Card
    from card_os.hardware.nvm import Nvm

SPECIMEN: Final = "specimen"
BLANK: Final = "blank"
_FILE: Final = "sim:"
_SEED: Final = 1
_SHORT_IDENTIFIERS: Final = range(1, 31)
_DOMAIN_TAGS: Final = (0x0042, 0x0045, 0x0066, 0x00CF, 0x00E0, 0x9F7F)
_APPLICATION_TAGS: Final = (0xDF20, 0xDF21, 0xDF22, 0xDF23)


@dataclass(frozen=True, slots=True)
class CardToTear:
    """A card before the script.

    Attributes:
        image: its image; never changed.
        target: its keys and PINs.
        foreign: code of other packages that its chip carries.
    """

    image: NvmImage
    target: Target
    foreign: tuple[type[Applet], ...] = ()

    def boot(self, nvm: Nvm) -> Card:
        """Boot it so that it draws the same random bytes each time: the same memory then gives the same answers."""
        return boot(nvm, SeededRandomness(_SEED), foreign=self.foreign)


def open_card_to_tear(card: str, centre: Path | None = None, *, chip: str = DEFAULT_CHIP) -> CardToTear:
    """A copy of a card.

    Args:
        card: "specimen", "blank" or "sim:FILE"; the file is read and let alone.
        centre: the issuing centre that made a file; published keys when None.
        chip: name of the chip of a specimen or blank.

    Raises:
        ReaderError: no such file, or no card.
        PersonalizationError: "tear-card", no such kind of card; or the keys are not to be had.
    """
    if card == SPECIMEN:
        made, target = make_specimen(chip=chip)
        return CardToTear(made.image, target)
    if card == BLANK:
        made, number = make_blank_specimen(chip=chip)
        return CardToTear(made.image, specimen_target(number))
    if not card.startswith(_FILE):
        raise PersonalizationError("tear-card", exit_code=2, card=card)
    try:
        with NvmImage.open(card.removeprefix(_FILE)) as file:
            image = file.fork()
    except ImageError as error:
        raise ReaderError(error.code, **error.parameters) from error
    with SimulatedCard(image.fork(), boot).connect(Interface.CONTACT) as connection:
        return CardToTear(image, find_target(connection, centre))


def sweep_script(
    script: TearScript, card: CardToTear, advance: Advance | None = None, *, twice: bool = False
) -> TearReport:
    """Run a script once and cut power at every programming unit of it.

    Args:
        script: what the card does.
        card: what it is before.
        advance: is told how far the sweep is.
        twice: cut also the boots after each cut.

    Raises:
        PersonalizationError: "script-failed": the script does not work without cuts either.
    """
    start = _prepared(script, card)
    recording = TearRecording(start, card.boot)
    run = ScriptRun(card.target, recording.connect, recording.begin)
    _run(run, script.run)
    _run(ScriptRun(card.target, SimulatedCard(recording.memory(), card.boot).connect), script.then)
    names = dict.fromkeys((*_OUR_NAMES, *_names(card, start), *_names(card, recording.memory())))
    questions = tuple(_questions(names))

    def examine(image: NvmImage) -> Sequence[Problem]:
        return _examine(image, script, card)

    def answers(image: NvmImage) -> tuple[bytes, ...]:
        return _answers(card.boot(image.nvm()), questions)

    return TearSweep(recording, examine, answers, twice=twice).run(advance)


def assert_tear_safe(script: str, card: str | CardToTear = SPECIMEN, *, twice: bool = False) -> TearReport:
    """For tests: sweep a script and fail with what was found.

    Args:
        script: text of the script.
        card: "specimen", "blank", "sim:FILE" or an opened one.
        twice: cut also the boots after each cut.

    Raises:
        AssertionError: the card breaks an invariant; the message names cut and command.
    """
    opened = open_card_to_tear(card) if isinstance(card, str) else card
    report = sweep_script(TearScript.parse(script), opened, twice=twice)
    if report.found:
        first = report.violations[0].document()
        raise AssertionError(f"{report.found} violations in {report.cuts} cuts; the first: {first}")
    if not report.cuts:
        raise AssertionError("the script programs nothing, so nothing was cut")
    return report


def _prepared(script: TearScript, card: CardToTear) -> NvmImage:
    image = card.image.fork()
    simulated = SimulatedCard(image, card.boot)
    _run(ScriptRun(card.target, simulated.connect), script.setup)
    return image


def _run(run: ScriptRun, steps: Sequence[ScriptStep]) -> None:
    try:
        run.run(steps)
    except StepFailed as failure:
        raise PersonalizationError(
            "script-failed", line=failure.step.line, step=str(failure.step), reason=failure.reason
        ) from failure


def _names(card: CardToTear, image: NvmImage) -> list[bytes]:
    """Names of the applications on an image."""
    return [bytes(entry.aid) for entry in card.boot(image.fork().nvm()).platform.registry]


def _examine(image: NvmImage, script: TearScript, torn: CardToTear) -> Sequence[Problem]:
    """Boot on both interfaces, run the next script, and count faults of the card's code."""
    card = torn.boot(image.nvm())

    def connect(interface: Interface) -> SimulatedConnection:
        port = card.contact if interface is Interface.CONTACT else card.contactless
        return SimulatedConnection(port, interface)

    problems: list[Problem] = []
    for interface in Interface:
        with connect(interface):
            pass
    try:
        ScriptRun(torn.target, connect).run(script.then)
    except StepFailed as failure:
        problems.append(Problem(ViolationKind.NEXT_SCRIPT, str(failure)))
    if card.faults:
        problems.append(Problem(ViolationKind.FAULT, type(card.last_fault).__name__))
    return problems


def _answers(card: Card, questions: Sequence[bytes]) -> tuple[bytes, ...]:
    """What anybody is told: FCI, data objects, the start of every file and record, on both interfaces."""
    answers: list[bytes] = []
    for port in (card.contact, card.contactless):
        answers.append(port.power_on())
        answers += [port.process(question) for question in questions]
        port.power_off()
    return tuple(answers)


def _questions(names: Iterable[bytes]) -> Iterator[bytes]:
    for aid in names:
        yield CommandApdu(0x00, 0xA4, 0x04, 0x00, aid, 256).encode()
        for tag in _DOMAIN_TAGS if aid == ISSUER_DOMAIN_AID else _APPLICATION_TAGS:
            yield CommandApdu(0x00, 0xCA, *divmod(tag, 256), b"", 256).encode()
        for short in _SHORT_IDENTIFIERS:
            yield CommandApdu(0x00, 0xB0, 0x80 | short, 0x00, b"", 256).encode()
            yield CommandApdu(0x00, 0xB2, 0x01, short << 3 | 0x04, b"", 256).encode()


_OUR_NAMES: Final = (ISSUER_DOMAIN_AID, *(bytes(load().application.instance) for load in (permit_profile, sam_profile)))
