"""The main job: a batch file becomes verified cards, each exactly once.

What the parts do stands with the parts; here they are put together for the residence permit and an issuing centre.
"""

from __future__ import annotations

import datetime as dt
import getpass
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.blanks import make_blanks
from permitcard.centre import Centre
from permitcard.outfit import StationOutfit
from permitcard.products import permit_profile
from permitcard.translation import Translator
from personalization.errors import PersonalizationError
from personalization.intake.applicant import RESIDENCE_COLUMNS, Severity
from personalization.intake.receipt import Receipt, receive_batch
from personalization.intake.rejects import write_rejects
from personalization.keys.keystore import KeyStore
from personalization.preparation.mailer import MailerFile, PinLetter
from personalization.preparation.prepare import PreparedBatch, prepare_batch
from personalization.preparation.sealed_file import Purpose
from personalization.production.card_kind import refuse_other_kind
from personalization.production.journal.batches import (
    BatchEntry,
    BatchStatus,
    RejectedRow,
    RowEntry,
    batch_status,
    find_batch,
    list_batches,
    register_batch,
)
from personalization.production.journal.cards import find_card
from personalization.production.journal.database import Journal, open_journal
from personalization.production.journal.history import JournalHistory
from personalization.production.policy import Policy
from personalization.production.run import ProgressBar, RunResult, resume_batch, run_batch
from personalization.production.states import BlankState
from personalization.production.stock import count_stock, receive_blanks
from personalization.reports.words import catalogue
from personalization.reports.writer import write_report

_SPARE_BLANKS: Final = 0.02
"""Blanks made beyond the rows of a simulated run, for spoiled ones."""


@dataclass(slots=True)
class Job:
    """An issuing centre at work.

    Attributes:
        centre: its folder.
        keys: its open key store.
        journal: its open journal.
    """

    centre: Centre
    keys: KeyStore
    journal: Journal

    @classmethod
    def open(cls, centre: Centre) -> Self:
        """Open key store and journal.

        Raises:
            PersonalizationError: no such centre, no passphrase or a wrong one, journal unreadable.
        """
        keys = centre.key_store().open()
        try:
            return cls(centre, keys, open_journal(centre.journal))
        except BaseException:
            keys.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The keys stay open: who asked for them may hold them longer than the job, and they end with the process.
        self.journal.close()

    def check(self, file: Path) -> Receipt:
        """Read and check a delivered file; writes nothing.

        Raises:
            PersonalizationError: the file as a whole cannot be used, or was accepted before.
        """
        history = JournalHistory(self.journal, self._recognise, self._recognise)
        return receive_batch(file, history, dt.datetime.now(dt.UTC))

    def _recognise(self, number: str) -> bytes:
        return self.keys.recognise(number.encode())

    def load(
        self, receipt: Receipt, *, accept_good: bool = False, progress: Callable[[int], None] | None = None
    ) -> PreparedBatch:
        """Prepare what was accepted, seal what was refused, and enter the batch in the journal; nothing is made yet.

        Raises:
            PersonalizationError: "batch-rejected", or what preparation met; nothing is left behind then.
        """
        batch = receipt.batch(accept_good=accept_good)
        folder = self.centre.batch(batch.identifier)
        folder.mkdir(parents=True)
        with _removed_on(folder, BaseException):
            prepared = prepare_batch(batch, self.keys, permit_profile(), folder, progress=progress)
            # Before the journal knows the batch: afterwards a crash would leave refused rows that nobody has.
            write_rejects(receipt, self.rejects(batch.identifier), self.keys)
        rows = [
            RowEntry(
                applicant.row_number,
                index,
                self._recognise(applicant.permit_number),
                self._recognise(applicant.citizen_number),
            )
            for index, applicant in enumerate(batch.applicants)
        ]
        entry = BatchEntry(
            identifier=batch.identifier,
            source_hash=receipt.source_sha256,
            area=batch.area_code,
            delivered=receipt.row_count,
            prepared=str(prepared.prepared.relative_to(self.centre.root)),
            source=str(prepared.source.relative_to(self.centre.root)),
            rows=rows,
            rejected=_rejected(receipt),
        )
        with _removed_on(folder, PersonalizationError):
            register_batch(self.journal, entry, operator())
        return prepared

    def receive_simulated(
        self,
        count: int,
        *,
        lot: str = "simulated",
        chip: str = DEFAULT_CHIP,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Make ``count`` simulated blanks on chips of that name and take them into stock; returns how many.

        Raises:
            PersonalizationError: "production-keys-simulated-card"; "blank-known".
        """
        refuse_other_kind(production=self.keys.production, simulated=True, card=str(self.centre.cards))
        taken = {int(path.name[:4], 16) for path in self.centre.cards.glob("????-*.card")}
        number = max(taken, default=0) + 1
        today = dt.datetime.now(dt.UTC).date()
        blanks = make_blanks(self.centre.cards, self.keys, number, count, today, chip=chip)
        return receive_blanks(self.journal, blanks, lot=lot, who=operator(), progress=progress)

    def stock_up(self, rows: int, *, chip: str = DEFAULT_CHIP, progress: Callable[[int], None] | None = None) -> int:
        """Make simulated blanks until there is one for each of ``rows`` rows and some to spare; returns how many."""
        wanted = rows + max(1, int(rows * _SPARE_BLANKS))
        missing = wanted - count_stock(self.journal).by_state[BlankState.IN_STOCK]
        return self.receive_simulated(missing, chip=chip, progress=progress) if missing > 0 else 0

    def run(self, identifier: str, policy: Policy, progress: ProgressBar | None = None) -> RunResult:
        """Make and inspect every row of a loaded batch."""
        return run_batch(self.journal, identifier, self.outfit(identifier), policy, who=operator(), progress=progress)

    def resume(self, identifier: str, policy: Policy, progress: ProgressBar | None = None) -> RunResult:
        """Go on with a batch where it was, also after a crash."""
        return resume_batch(
            self.journal, identifier, self.outfit(identifier), policy, who=operator(), progress=progress
        )

    def status(self, identifier: str) -> BatchStatus:
        """Where a batch stands."""
        return batch_status(self.journal, identifier)

    def rejects(self, identifier: str) -> Path:
        """Sealed file of a batch's refused rows; it is there when rows were refused."""
        return self.centre.batch(identifier) / f"{identifier}.rejects"

    def report(self, identifier: str, translate: Translator) -> Path:
        """Write the report of a batch with a page for each card; returns the batch's page."""
        language = translate.language.value
        words = translate.extended(catalogue(language))
        files = write_report(self.journal, identifier, self.centre.report(identifier), words, language=language)
        return files.page

    def pin_letter(self, card_number: bytes) -> PinLetter:
        """The PIN letter of a finished card.

        Raises:
            PersonalizationError: "card-unknown", or the sealed file cannot be opened.
        """
        place = find_card(self.journal, card_number)
        path = self.centre.batch(place.batch) / f"{place.batch}.{Purpose.MAILER.label}"
        with MailerFile(path, self.keys, batch=place.batch) as letters:
            return letters.letter(place.row)

    def latest(self) -> str:
        """The batch that came last.

        Raises:
            PersonalizationError: "no-batch", exit 2.
        """
        batches = list_batches(self.journal)
        if not batches:
            raise PersonalizationError("no-batch", exit_code=2, path=str(self.centre.root))
        return batches[-1]

    def outfit(self, identifier: str) -> StationOutfit:
        """What a station needs to work on a batch; it travels to the station's process."""
        facts = find_batch(self.journal, identifier)
        return StationOutfit(
            identifier,
            self.centre.root,
            self.centre.key_store(),
            self.centre.root / facts.prepared,
            self.centre.root / facts.source,
            self.centre.batch(identifier) / f"{identifier}.{Purpose.FACES.label}",
        )


@contextmanager
def _removed_on(folder: Path, failure: type[BaseException]) -> Generator[None]:
    """Remove ``folder`` when the block ends with ``failure``."""
    try:
        yield
    except failure:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def operator() -> str:
    """Who is at work: the operating system's user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def _rejected(receipt: Receipt) -> list[RejectedRow]:
    """Each refused row with the first rule that it, or its row of the second sheet, breaks."""
    own: dict[int, str] = {}
    of_residence: dict[int, str] = {}
    for finding in receipt.findings:
        if finding.severity is Severity.ERROR:
            rules = of_residence if finding.column in RESIDENCE_COLUMNS else own
            rules.setdefault(finding.row, finding.rule)
    rejected: list[RejectedRow] = []
    for row in receipt.rejected:
        if row.source is not None:
            broken = [
                of_residence[residence.number] for residence in row.residences if residence.number in of_residence
            ]
            rejected.append(RejectedRow(row.source.number, own.get(row.source.number) or broken[0]))
    return rejected
