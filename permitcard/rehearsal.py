"""A whole batch rehearsed before it is loaded: the same preparation, maker and inspector, on simulated cards in memory.

Nothing of the centre is opened: no key store, no journal, no stock. The keys are made for the rehearsal and live in
memory alone; so do cards, applicants and prepared records. Each card is made over its line protocol through a reader
model, so that time is the card's and the line's own, in virtual time, whatever machine rehearses.
"""

from __future__ import annotations

import datetime as dt
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.hardware.chip import DEFAULT_CHIP, load_chips
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.wear import measure_wear
from permitcard.blanks import make_blank
from permitcard.products import boot, permit_profile
from permitcard.recipes import permit_recipe
from permitcard.sams import new_sam, open_sam
from personalization.errors import PersonalizationError
from personalization.inspection.inspector import PermitInspector
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.keys.authorities import authorities_of
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyStore
from personalization.preparation.prepare import PreparedCard, Preparer
from personalization.production.card_kind import GuardedCard
from personalization.production.maker import GlobalPlatformMaker
from personalization.production.work import CardFault, KeysRefused
from reader_bridge.connection import CardConnection, Interface, Protocol7816, ReaderError
from reader_bridge.modelled import ModelledConnection
from reader_bridge.reader_models import IDEAL, ReaderModel, reader_model
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import Wrapper
from reader_bridge.wired import WiredConnection

if TYPE_CHECKING:
    from card_os.hardware.clock import VirtualClock
    from personalization.intake.applicant import Applicant
    from personalization.intake.receipt import Receipt
    from personalization.preparation.faces import CardFace
    from reader_bridge.simulated import CardPort

_BATCH: Final = 0xFFFE
"""IC batch of chips that exist in a rehearsal only."""

_FAST_SCRYPT: Final = 1024
_PROTOCOLS: Final = {"T=0": Protocol7816.T0, "T=1": Protocol7816.T1}
_MS_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Stage:
    """Making or inspecting one card, in virtual time.

    Attributes:
        card_ns: the card's own work.
        line_ns: bytes on the line, waiting times included.
        reader_ns: what the reader adds to each exchange.
        exchanges: commands.
    """

    card_ns: int = 0
    line_ns: int = 0
    reader_ns: int = 0
    exchanges: int = 0

    @property
    def total_ns(self) -> int:
        """All of it."""
        return self.card_ns + self.line_ns + self.reader_ns


@dataclass(frozen=True, slots=True)
class RehearsedCard:
    """What came of one row.

    Attributes:
        row: row in the delivered sheet.
        failed_at: "prepare", "blank", "make", "inspect"; empty for a good card.
        reason: code, empty for a good card.
        facts: what the code is about; nothing personal.
        make: time of making.
        inspect: time of inspection.
        cycles: programming cycles of the most used page.
        free: bytes of the largest object that still fits.
    """

    row: int
    failed_at: str = ""
    reason: str = ""
    facts: dict[str, object] = field(default_factory=dict[str, object])
    make: Stage = Stage()
    inspect: Stage = Stage()
    cycles: int = 0
    free: int = 0


class Setting(NamedTuple):
    """What a batch is rehearsed on.

    Attributes:
        chip: name of the chip geometry.
        reader: name of the reader model.
        protocol: "T=0" or "T=1" over contact.
        handling_ms: time that a station needs to put a card in and out.
        stations: stations of the line.
    """

    chip: str = DEFAULT_CHIP
    reader: str = IDEAL
    protocol: str = "T=1"
    handling_ms: int = 0
    stations: int = 2


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of a batch.

    Attributes:
        file: name of the delivered file.
        setting: what it was rehearsed on.
        delivered: rows in the file.
        refused: rows that intake refuses, by the first rule that they break.
        cards: one for each row that was rehearsed.
        endurance: cycles that a page of the chip is good for.
        room: bytes of the largest object that fits on a blank.
    """

    file: str
    setting: Setting
    delivered: int
    refused: dict[str, int]
    cards: Sequence[RehearsedCard]
    endurance: int
    room: int

    @property
    def good(self) -> list[RehearsedCard]:
        """Rows that became good cards."""
        return [card for card in self.cards if not card.failed_at]

    @property
    def failures(self) -> dict[str, int]:
        """Failed rows by stage and reason."""
        found = Counter(f"{card.failed_at}: {card.reason}" for card in self.cards if card.failed_at)
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def station_ns(self) -> int:
        """Time of one station over all good cards, handling included, once for making and once for inspection."""
        handling = 2 * self.setting.handling_ms * _MS_NS
        return sum(card.make.total_ns + card.inspect.total_ns + handling for card in self.good)


def check_setting(setting: Setting) -> ReaderModel:
    """The reader model of a setting.

    Raises:
        ReaderError: "chip-unknown", "reader-model-unknown".
        PersonalizationError: "rehearsal-protocol", exit 2.
    """
    chips = load_chips()
    if setting.chip not in chips:
        raise ReaderError("chip-unknown", chip=setting.chip, known=", ".join(chips))
    if setting.protocol not in _PROTOCOLS:
        raise PersonalizationError("rehearsal-protocol", exit_code=2, protocol=setting.protocol)
    return reader_model(setting.reader)


def rehearse(
    file: Path,
    setting: Setting,
    *,
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Rehearsal:
    """Rehearse a delivered file.

    Args:
        file: the delivery.
        setting: chip, reader and line.
        most: rehearse at most so many rows, spread over the batch; all when absent.
        progress: told rows done and rows to do.

    Raises:
        PersonalizationError: the file as a whole cannot be used; "rehearsal-protocol".
        ReaderError: "chip-unknown", "reader-model-unknown".
    """
    model = check_setting(setting)
    receipt = receive_batch(file, RememberedBatches(), dt.datetime.now(dt.UTC))
    applicants = _spread(receipt.applicants, most)
    cards: list[RehearsedCard] = []
    with _bench(setting, model) as bench:
        for applicant in applicants:
            cards.append(bench.rehearse(applicant))
            if progress:
                progress(len(cards), len(applicants))
        room = bench.room
    endurance = load_chips()[setting.chip].endurance
    return Rehearsal(file.name, setting, receipt.row_count, _refused(receipt), cards, endurance, room)


def _spread(applicants: Sequence[Applicant], most: int | None) -> Sequence[Applicant]:
    if most is None or most >= len(applicants):
        return applicants
    return [applicants[place * len(applicants) // most] for place in range(most)]


def _refused(receipt: Receipt) -> dict[str, int]:
    """Refused rows by the first rule that they break."""
    from permitcard.job import rejected_rows

    return dict(sorted(Counter(row.reason for row in rejected_rows(receipt)).items()))


@contextmanager
def _bench(setting: Setting, model: ReaderModel) -> Generator[_Bench]:
    """Keys, SAM, maker and inspector of a rehearsal; the keys' file is gone before the first card is made."""
    with ExitStack() as held:
        with tempfile.TemporaryDirectory(prefix="permitcard-rehearsal-") as folder:
            keys = FileKeyStore.create(Path(folder) / "keys.json", secrets.token_bytes(32), scrypt_n=_FAST_SCRYPT)
        held.callback(keys.close)
        sam = held.enter_context(open_sam(new_sam(keys, 1), keys))
        people = _People()
        authority = authorities_of(keys)
        inspector = PermitInspector(sam, permit_profile(), authority, people, faces=people)
        yield _Bench(setting, model, keys, people, inspector)


class _People:
    """Applicant and face of the row at work, and of no other."""

    def __init__(self) -> None:
        self._at_work: tuple[Applicant, CardFace] | None = None

    def sit(self, applicant: Applicant, face: CardFace) -> None:
        self._at_work = (applicant, face)

    def applicant(self, row_number: int) -> Applicant:
        return self._of(row_number)[0]

    def face(self, row_number: int) -> CardFace:
        return self._of(row_number)[1]

    def _of(self, row_number: int) -> tuple[Applicant, CardFace]:
        if self._at_work is None or self._at_work[0].row_number != row_number:
            raise PersonalizationError("row-unknown", row=row_number, file="rehearsal")
        return self._at_work


class _Bench:
    """One station of a rehearsal."""

    def __init__(
        self, setting: Setting, model: ReaderModel, keys: KeyStore, people: _People, inspector: PermitInspector
    ) -> None:
        self._setting = setting
        self._model = model
        self._keys = keys
        self._people = people
        self._inspector = inspector
        self._preparer = Preparer(permit_profile(), keys)
        self._maker = GlobalPlatformMaker(permit_recipe(keys))
        self._day = dt.datetime.now(dt.UTC).date()
        self._serial = 0
        self.room = 0

    def rehearse(self, applicant: Applicant) -> RehearsedCard:
        """Prepare, make and inspect one row; what fails is a result."""
        row = applicant.row_number
        try:
            prepared = self._preparer.prepare(applicant)
        except PersonalizationError as error:
            return RehearsedCard(row, "prepare", error.code, _without_row(error.parameters))
        self._people.sit(applicant, prepared.face)
        try:
            card, number = self._blank()
        except (ReaderError, MemoryFailure) as error:
            return RehearsedCard(row, "blank", error.code if isinstance(error, ReaderError) else "card-damaged")
        with card:
            return self._work(card, number, prepared, row)

    def _blank(self) -> tuple[SimulatedCard, bytes]:
        self._serial += 1
        image, number = make_blank(None, self._keys, _BATCH, self._serial, self._day, chip=self._setting.chip)
        if not self.room:
            self.room = measure_wear(image).free
        return SimulatedCard(image, boot, f"rehearsal {self._serial}"), number

    def _work(self, card: SimulatedCard, number: bytes, prepared: PreparedCard, row: int) -> RehearsedCard:
        place = _Place(card, self._setting, self._model)
        result = RehearsedCard(row)
        failed_at = "make"
        try:
            with place.contact() as contact:
                self._maker.make(contact, prepared.record, number, lambda _step: None)
            result = replace(result, make=place.read())
            failed_at = "inspect"
            contact, contactless = place.contact(), place.contactless()
            try:
                inspection = self._inspector.inspect(contact, contactless, row, lambda _step: None)
            finally:
                contact.power_off()
                contactless.power_off()
            result = replace(result, inspect=place.read())
            failed = [check.name for check in inspection.checks if not check.passed]
            if failed:
                result = replace(result, failed_at=failed_at, reason=failed[0], facts={"checks": failed})
        except (CardFault, KeysRefused) as fault:
            reason = fault.reason if isinstance(fault, CardFault) else "keys-refused"
            result = replace(result, failed_at=failed_at, reason=reason, facts={"step": fault.step})
        except ReaderError as error:
            result = replace(result, failed_at=failed_at, reason=error.code, facts=dict(error.parameters))
        wear = measure_wear(card.image)
        return replace(result, cycles=max(page.cycles for page in wear.pages), free=wear.free)


class _Place:
    """A simulated card in a modelled reader, on its line protocol, and the time that this takes."""

    def __init__(self, card: SimulatedCard, setting: Setting, model: ReaderModel) -> None:
        booted = card.card
        self._card = card
        self._clock: VirtualClock = booted.clock  # type: ignore[attr-defined]  # cards of ours have one
        self._setting = setting
        self._delay_ns = model.delay_ms * _MS_NS
        self._model = replace(model, delay_ms=0)  # counted, not slept
        self._counters: list[_Counter] = []
        self._ports: list[_TimedPort] = []
        self._since = self._clock.now_ns

    def contact(self) -> CardConnection:
        """The contact interface."""
        return self._connect(Interface.CONTACT, self._model)

    def contactless(self) -> CardConnection:
        """The contactless interface, in a reader without limits where the model has contacts only."""
        speaks = self._model.speaks(Protocol7816.TCL)
        return self._connect(Interface.CONTACTLESS, self._model if speaks else reader_model(IDEAL))

    def _connect(self, interface: Interface, model: ReaderModel) -> CardConnection:
        port = self._card.card.contact if interface is Interface.CONTACT else self._card.card.contactless
        timed = _TimedPort(port, self._clock) if interface is Interface.CONTACT else _TimedRadio(port, self._clock)
        protocol = _PROTOCOLS[self._setting.protocol]
        wired = WiredConnection(timed, interface, self._card.name, protocol=protocol, clock=self._clock)
        counter = _Counter(ModelledConnection(wired, model))
        self._ports.append(timed)
        self._counters.append(counter)
        return GuardedCard(counter, production=False)

    def read(self) -> Stage:
        """Time since the last reading."""
        spent, card = self._clock.now_ns - self._since, sum(port.spent_ns for port in self._ports)
        exchanges = sum(counter.exchanges for counter in self._counters)
        self._since, self._ports, self._counters = self._clock.now_ns, [], []
        return Stage(card, spent - card, exchanges * self._delay_ns, exchanges)


class _Counter(Wrapper):
    """Counts exchanges."""

    __slots__ = ("exchanges",)

    def __init__(self, inner: CardConnection) -> None:
        super().__init__(inner)
        self.exchanges = 0

    def transmit(self, command: bytes) -> bytes:
        self.exchanges += 1
        return self.inner.transmit(command)


class _TimedPort:
    """A port that says how long the card itself worked."""

    def __init__(self, port: CardPort, clock: VirtualClock) -> None:
        self._port = port
        self._clock = clock
        self.spent_ns = 0

    @property
    def powered(self) -> bool:
        return self._port.powered

    def power_on(self) -> bytes:
        return self._timed(self._port.power_on)

    def reset(self) -> bytes:
        return self._timed(self._port.reset)

    def process(self, command: bytes) -> bytes:
        return self._timed(lambda: self._port.process(command))

    def power_off(self) -> None:
        self._port.power_off()

    def _timed(self, act: Callable[[], bytes]) -> bytes:
        before = self._clock.now_ns
        try:
            return act()
        finally:
            self.spent_ns += self._clock.now_ns - before


class _TimedRadio(_TimedPort):
    """The same over the field."""

    @property
    def uid(self) -> bytes:
        uid: bytes = self._port.uid  # type: ignore[attr-defined]  # a contactless port of ours
        return uid


def _without_row(parameters: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in parameters.items() if name != "row"}


def rehearsal_document(found: Rehearsal) -> dict[str, object]:
    """For programs and for the page."""
    good = found.good
    count = len(good)
    setting = found.setting
    seconds = found.station_ns / 1e9
    hours = seconds / 3600
    return {
        "version": 1,
        "file": found.file,
        "chip": setting.chip,
        "reader": setting.reader,
        "protocol": setting.protocol,
        "stations": setting.stations,
        "handling_ms": setting.handling_ms,
        "delivered": found.delivered,
        "refused": sum(found.refused.values()),
        "refused_by_rule": found.refused,
        "rehearsed": len(found.cards),
        "good": count,
        "yield_percent": round(100 * count / len(found.cards), 2) if found.cards else 0.0,
        "failures": found.failures,
        "failed_rows": [
            {"row": card.row, "stage": card.failed_at, "reason": card.reason, "facts": card.facts}
            for card in found.cards
            if card.failed_at
        ],
        "make": _stage_document([card.make for card in good]),
        "inspect": _stage_document([card.inspect for card in good]),
        "seconds_a_card": round(seconds / count, 3) if count else 0.0,
        "cards_an_hour": round(setting.stations * count / hours, 1) if hours else 0.0,
        "hours_for_the_batch": round(hours / setting.stations * _scale(found), 3),
        "endurance": found.endurance,
        "highest_cycles": max((card.cycles for card in good), default=0),
        "room_bytes": found.room,
        "least_free_bytes": min((card.free for card in good), default=0),
        "cycles": sorted(card.cycles for card in good),
    }


def _scale(found: Rehearsal) -> float:
    """From the rows that were rehearsed to those that intake accepts."""
    accepted = found.delivered - sum(found.refused.values())
    return accepted / len(found.cards) if found.cards else 0.0


def _stage_document(stages: Sequence[Stage]) -> dict[str, float]:
    count = len(stages) or 1

    def mean_ms(total: int) -> float:
        return round(total / count / _MS_NS, 3)

    return {
        "card_ms": mean_ms(sum(stage.card_ns for stage in stages)),
        "line_ms": mean_ms(sum(stage.line_ns for stage in stages)),
        "reader_ms": mean_ms(sum(stage.reader_ns for stage in stages)),
        "exchanges": round(sum(stage.exchanges for stage in stages) / count, 1),
    }
