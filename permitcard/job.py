"""The main job: a batch file becomes verified cards, each exactly once.

What the parts do stands with the parts; here they are put together for the residence permit and an issuing centre.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.blanks import make_blanks
from permitcard.centre import Centre
from permitcard.first_article import admit, hold, require_article, told
from permitcard.journal_view import latest_batch
from permitcard.operator_login import operator_of
from permitcard.outfit import StationOutfit
from permitcard.products import permit_profile
from permitcard.rejected_rows import rejected_rows
from permitcard.sams import require_sams
from permitcard.signer_dates import require_signer_of_today
from permitcard.translation import Translator
from permitcard.wear_report import hottest_page
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from personalization.intake.receipt import Receipt, receive_batch
from personalization.intake.rejects import write_rejects
from personalization.keys.authorities import authorities_of
from personalization.keys.changes import KeyAct
from personalization.keys.keystore import KeyName, KeyStore
from personalization.keys.signed_document import sign_document, written
from personalization.preparation.bulk.delivered import DeliveredFiles
from personalization.preparation.mailer import MailerFile, PinLetter
from personalization.preparation.manifest import MANIFEST_ENDING, Manifest
from personalization.preparation.prepare import PreparedBatch, prepare_batch
from personalization.preparation.sealed_file import Purpose
from personalization.production.acts import Act, Role
from personalization.production.audit import make_checkpoint, require_journal_of
from personalization.production.card_kind import refuse_other_kind
from personalization.production.disposal import require_list
from personalization.production.erasure import Premises, erase_batch
from personalization.production.hooks import Hooks
from personalization.production.journal.batches import (
    BatchEntry,
    RowEntry,
    find_batch,
    register_batch,
    release_batch,
    require_releasable,
)
from personalization.production.journal.cards import find_card
from personalization.production.journal.database import Journal, open_journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.history import JournalHistory
from personalization.production.journal.ownership import require_keys_of
from personalization.production.operators import Approval, Operator, Roster, approve, approved, require_two
from personalization.production.policy import Policy
from personalization.production.remake import require_old_cards_dead, require_row
from personalization.production.results import Results
from personalization.production.run import ProgressBar, RunResult, resume_batch, run_batch
from personalization.production.states import BlankState
from personalization.production.stock import count_stock, places_beginning, receive_blanks

_MAKING_KEYS: Final = (KeyName.FACTORY, KeyName.CARD, KeyName.DOCUMENT_SIGNER)
"""Keys that the audit trail names by check value when a batch is run."""

_SERIES_LENGTH: Final = 5
_SERIES: Final = re.compile(r"([0-9A-F]{4})-")
"""How the file of a simulated blank is named at its beginning."""

_SPARE_BLANKS: Final = 0.02
"""Blanks made beyond the rows of a simulated run, for spoiled ones."""


@dataclass(slots=True)
class Job:
    """An issuing centre at work.

    Attributes:
        centre: its folder.
        keys: its open key store.
        journal: its open journal.
        roster: who may do what.
        operator: who is at work.
        named: addresses of readers with SAMs that were named on the command line.
    """

    centre: Centre
    keys: KeyStore
    journal: Journal
    roster: Roster
    operator: Operator
    named: tuple[str, ...] = ()

    @classmethod
    def open(cls, centre: Centre, sams: Sequence[str] = (), *, any_journal: bool = False) -> Self:
        """Open key store and journal.

        Args:
            centre: its folder.
            sams: addresses of readers with SAMs; the centre's own list when there are none.
            any_journal: also one that is not the centre's of today, for auditors.

        Raises:
            PersonalizationError: no such centre, no passphrase or a wrong one, journal unreadable, an operator whom
                the centre does not know; exit 3: "journal-behind", "journal-of-other-keys".
        """
        keys = centre.key_store().open()
        try:
            roster = Roster.load(centre.operators, production=keys.production)
            operator = operator_of(roster)
            journal = open_journal(centre.journal_place())
            try:
                if not any_journal:
                    require_journal_of(journal, centre.checkpoints)
                    require_keys_of(journal, keys.check_value(KeyName.RECOGNITION), keys.check_value(KeyName.AUDIT))
            except BaseException:
                journal.close()
                raise
        except BaseException:
            keys.close()
            raise
        return cls(centre, keys, journal, roster, operator, tuple(sams))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The keys stay open: who asked for them may hold them longer than the job, and they end with the process.
        self.journal.close()

    @property
    def sams(self) -> tuple[str, ...]:
        """Addresses of readers with SAMs: those that were named, else the centre's own list.

        Raises:
            PersonalizationError: "sam-file-malformed", exit 3.
        """
        return self.named or self.centre.sams()

    def require_sams(self, stations: int) -> None:
        """Refuse, before anything is begun, a run whose stations could not have a SAM each; see `sams.require_sams`."""
        require_sams(self.sams, stations, production=self.keys.production)

    def check(self, file: Path) -> Receipt:
        """Read and check a delivered file; writes nothing.

        Raises:
            PersonalizationError: the file as a whole cannot be used, or was accepted before.
        """
        history = JournalHistory(self.journal, self.recognise, self.recognise)
        return receive_batch(file, history, dt.datetime.now(dt.UTC))

    def recognise(self, number: str) -> bytes:
        """Value by which a permit or citizen number is known again."""
        return self.keys.recognise(number.encode())

    def load(
        self, receipt: Receipt, *, accept_good: bool = False, progress: Callable[[int], None] | None = None
    ) -> PreparedBatch:
        """Prepare what was accepted, seal what was refused, and enter the batch in the journal; nothing is made yet.

        Raises:
            PersonalizationError: "batch-rejected", "role-missing", "approval-missing", or what preparation met; nothing
                is left behind then.
        """
        self.operator.require(Role.PREPARE)
        approval = None
        if accept_good and receipt.error_count:
            subject = receipt.source_sha256.hex()
            approval = require_two(self.journal, self.roster, self.operator, Act.ACCEPT_GOOD, subject)
        batch = receipt.batch(accept_good=accept_good)
        folder = self.centre.batch(batch.identifier)
        make_folder(folder, exist_ok=False)
        with _removed_on(folder, BaseException), self._keys_destroyed_on(batch.identifier, BaseException):
            self.keys.make_batch_keys(batch.identifier)
            sealed = self.keys.of_batch(batch.identifier)
            prepared = prepare_batch(batch, sealed, permit_profile(), folder, progress=progress)
            # Before the journal knows the batch: afterwards a crash would leave refused rows that nobody has.
            write_rejects(receipt, self.rejects(batch.identifier), sealed)
        rows = [
            RowEntry(
                applicant.row_number,
                index,
                self.recognise(applicant.permit_number),
                self.recognise(applicant.citizen_number),
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
            rejected=rejected_rows(receipt),
        )
        with _removed_on(folder, PersonalizationError), self._keys_destroyed_on(batch.identifier, PersonalizationError):
            register_batch(self.journal, entry, self.operator.name, facts=approved(approval) if approval else None)
        return prepared

    @contextmanager
    def _keys_destroyed_on(self, identifier: str, failure: type[BaseException]) -> Generator[None]:
        """Destroy the batch's keys when the block ends with ``failure``."""
        try:
            yield
        except failure:
            with contextlib.suppress(PersonalizationError):  # a token that is gone has said so already
                self.keys.destroy_batch_keys(identifier)
            raise

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
        self.operator.require(Role.RECEIVE)
        refuse_other_kind(production=self.keys.production, simulated=True, card=str(self.centre.cards))
        today = dt.datetime.now(dt.UTC).date()
        blanks = make_blanks(self.centre.cards, self.keys, self._next_series(), count, today, chip=chip)
        return receive_blanks(self.journal, blanks, lot=lot, who=self.operator.name, progress=progress)

    def _next_series(self) -> int:
        """Number of the next simulated cards: none whose card files are there, or are in the journal and gone."""
        place = f"sim:{self.centre.cards.name}/"
        names = places_beginning(self.journal, place, _SERIES_LENGTH)
        names |= {path.name[:_SERIES_LENGTH] for path in self.centre.cards.glob("*.card")}
        return max((int(found[1], 16) for name in names if (found := _SERIES.fullmatch(name))), default=0) + 1

    def stock_up(self, rows: int, *, chip: str = DEFAULT_CHIP, progress: Callable[[int], None] | None = None) -> int:
        """Make simulated blanks until there is one for each of ``rows`` rows and some to spare; returns how many."""
        wanted = rows + max(1, int(rows * _SPARE_BLANKS))
        missing = wanted - count_stock(self.journal).by_state[BlankState.IN_STOCK]
        return self.receive_simulated(missing, chip=chip, progress=progress) if missing > 0 else 0

    def checkpoint(self) -> Path:
        """Sign the end of the audit trail; returns the file."""
        return make_checkpoint(self.journal, self.centre.checkpoints, self.keys, self.operator.name)

    def key_values(self) -> dict[str, str]:
        """Check values of the keys that make cards, for the audit trail."""
        return {name.value: self.keys.check_value(name).hex() for name in _MAKING_KEYS}

    def run(
        self, identifier: str, policy: Policy, progress: ProgressBar | None = None, *, first_article: bool = False
    ) -> RunResult:
        """Make and inspect every row of a loaded batch; with ``first_article`` one, until somebody has approved it."""
        self.operator.require(Role.RUN)
        if first_article:
            hold(self, identifier)
        return self._work(run_batch, identifier, policy, progress)

    def resume(
        self, identifier: str, policy: Policy, progress: ProgressBar | None = None, *, first_article: bool = False
    ) -> RunResult:
        """Go on with a batch where it was, also after a crash; a rejected card that still answers stands in its way."""
        self.operator.require(Role.RUN)
        batch = find_batch(self.journal, identifier)
        if first_article:
            hold(self, identifier)
        admit(self, identifier)
        require_old_cards_dead(self.journal, batch.id, self.operator.name, self.outfit(identifier)())
        return self._work(resume_batch, identifier, policy, progress)

    def _work(
        self, work: Callable[..., RunResult], identifier: str, policy: Policy, progress: ProgressBar | None
    ) -> RunResult:
        require_signer_of_today(self.keys)
        try:
            return work(
                self.journal,
                identifier,
                self.outfit(identifier),
                policy,
                who=self.operator.name,
                keys=self.key_values(),
                progress=progress,
            )
        except PersonalizationError as error:
            raise told(self, identifier, error) from error
        finally:
            self.checkpoint_if_possible()

    def checkpoint_if_possible(self) -> None:
        """Sign what has been recorded; a key store that is gone leaves it uncovered, which `audit verify` tells.

        Raises:
            PersonalizationError: "checkpoint-not-of-trail": the trail was changed.
        """
        try:
            self.checkpoint()
        except PersonalizationError as error:
            if error.code == "checkpoint-not-of-trail":
                raise

    def approve(self, act: Act, subject: str) -> str:
        """Approve an act of somebody else; returns what it is about.

        That is a batch; for accept-good the SHA-256 of a delivery, for re-make ``BATCH/ROW``, for destroy the
        identifier of the destruction list, for keys a `KeyAct`.

        Raises:
            PersonalizationError: exit 2: "role-missing", "maker-inspects", "batch-unknown", "batch-not-complete",
                "batch-released", "subject-malformed", "destruction-list-other", "key-unknown", "key-act-malformed".
        """
        if act is Act.ACCEPT_GOOD:
            subject = DeliveredFiles.of(Path(subject)).digests()[0].hex()
        elif act is Act.KEYS:
            subject = str(KeyAct.parse(subject))
        elif act is Act.FIRST_ARTICLE:
            require_article(self, subject)
        elif act is Act.DESTROY:
            require_list(self.journal, subject)
        elif act is Act.REMAKE:
            require_row(self.journal, subject)
        elif act is Act.RELEASE:
            require_releasable(self.journal, subject)
        else:
            find_batch(self.journal, subject)
        approve(self.journal, self.operator, act, subject)
        return subject

    def changed_key(self, name: KeyName, change: str, facts: Mapping[str, object], approval: Approval | None) -> Path:
        """Record a change of a key in the audit trail and as a signed record; returns the record."""
        with self.journal.transaction() as connection:
            entry = Entry(What.KEYS_CHANGED, facts={"key": name.value, "change": change, **facts, **approved(approval)})
            record(connection, self.operator.name, [entry])
        now = dt.datetime.now(dt.UTC)
        document = {
            "kind": "permitcard key record",
            "version": 1,
            "at": now.isoformat(timespec="seconds"),
            "key": name.value,
            "change": change,
            **facts,
            "by": self.operator.name,
            "approved_by": approved(approval)["approved_by"],
        }
        folder = self.centre.certificates
        make_folder(folder)
        path = folder / f"{now:%Y%m%dT%H%M%S%f}-{name.value}-{change}.json"
        write_atomically(path, written(sign_document(document, self.keys)))
        self.checkpoint_if_possible()
        return path

    def two_for_keys(self, act: KeyAct) -> Approval | None:
        """Let the operator change a key when a second one has approved that change; see `require_two`."""
        return require_two(self.journal, self.roster, self.operator, Act.KEYS, str(act))

    def release(self, identifier: str) -> str | None:
        """Give a complete batch out of the centre; returns who approved, None in a rehearsal of one person.

        Raises:
            PersonalizationError: exit 2: "batch-unknown", "batch-not-complete", "batch-released", "role-missing",
                "approval-missing", "maker-inspects".
        """
        require_releasable(self.journal, identifier)
        approval = require_two(self.journal, self.roster, self.operator, Act.RELEASE, identifier)
        release_batch(self.journal, identifier, self.operator.name, approved(approval))
        self.checkpoint_if_possible()
        return None if approval is None else approval.by

    def erase(self, identifier: str, inputs: Sequence[Path], translate: Translator) -> Path:
        """Erase a batch and certify it; returns the certificate's page.

        Args:
            identifier: the batch.
            inputs: files and folders in which the delivered file may lie, beside the centre's own.
            translate: words for the page.

        Raises:
            PersonalizationError: exit 2: "batch-unknown", "batch-at-work", "batch-erased", "role-missing",
                "approval-missing"; exit 3: key store or journal fail, and erasing may be begun again.
        """
        approval = require_two(self.journal, self.roster, self.operator, Act.ERASE, identifier)
        premises = Premises(
            self.centre.root,
            (self.centre.batch(identifier), self.centre.report(identifier)),
            (self.centre.root / "delivered", *inputs),
            self._delivered(identifier),
        )
        certificate = erase_batch(self.journal, self.keys, identifier, premises, self.operator.name, approval)
        folder = self.centre.certificates
        make_folder(folder)
        write_atomically(folder / f"{identifier}-erased.json", written(certificate))
        document = certificate["document"]
        if not isinstance(document, dict):
            raise TypeError("a certificate has a document")
        from personalization.reports.signed_page import signed_page

        page = folder / f"{identifier}-erased.html"
        write_atomically(page, signed_page(document, translate, language=translate.language.value).encode())
        self.checkpoint_if_possible()
        return page

    def _delivered(self, identifier: str) -> frozenset[bytes]:
        """SHA-256 of the files of a delivery, as far as the batch's manifest lists them."""
        path = self.centre.batch(identifier) / f"{identifier}{MANIFEST_ENDING}"
        if not path.exists():
            return frozenset()
        manifest = Manifest.read(path, authorities_of(self.keys))
        return frozenset(bytes.fromhex(digest) for digest in manifest.delivered_sha256)

    def sealed(self, identifier: str, purpose: Purpose) -> Path:
        """Where a batch's sealed records of one purpose are: the manifest of a batch in chunks, or their own file."""
        folder = self.centre.batch(identifier)
        manifest = folder / f"{identifier}{MANIFEST_ENDING}"
        return manifest if manifest.exists() else folder / f"{identifier}.{purpose.label}"

    def rejects(self, identifier: str) -> Path:
        """Sealed file of a batch's refused rows; it is there when rows were refused."""
        return self.centre.batch(identifier) / f"{identifier}.rejects"

    def report(self, identifier: str, translate: Translator) -> Path:
        """Write the report of a batch with a page for each card; returns the batch's page."""
        language = translate.language.value
        from personalization.reports.writer import write_report  # its charts and templates are for the end of a batch

        folder = self.centre.report(identifier)
        results = Results.of_batch(self.keys, identifier)
        files = write_report(
            self.journal, identifier, folder, translate, results=results, language=language, wear=self._wear
        )
        return files.page

    def _wear(self, location: str) -> int | None:
        """Programming cycles of the most used page of a simulated card; None where there is no such file."""
        path = self.centre.root / location.removeprefix("sim:")
        return hottest_page(path) if location.startswith("sim:") and path.exists() else None

    def pin_letter(self, card_number: bytes) -> PinLetter:
        """The PIN letter of a finished card, for who inspects it.

        Raises:
            PersonalizationError: "role-missing", "card-unknown" (exit 2), or the sealed file cannot be opened.
        """
        self.operator.require(Role.INSPECT)
        place = find_card(self.journal, card_number)
        path = self.sealed(place.batch, Purpose.MAILER)
        with MailerFile(path, self.keys.of_batch(place.batch), batch=place.batch) as letters:
            return letters.letter(place.row)

    def latest(self) -> str:
        """The batch that came last.

        Raises:
            PersonalizationError: "no-batch", exit 2.
        """
        return latest_batch(self.journal, self.centre)

    def outfit(self, identifier: str) -> StationOutfit:
        """What a station needs to work on a batch; it travels to the station's process."""
        facts = find_batch(self.journal, identifier)
        return StationOutfit(
            identifier,
            self.centre.root,
            self.centre.key_store(),
            self.centre.root / facts.prepared,
            self.centre.root / facts.source,
            self.sealed(identifier, Purpose.FACES),
            self.centre.journal_place(),
            Hooks.load(self.centre.hooks),
            self.sams,
        )


@contextmanager
def _removed_on(folder: Path, failure: type[BaseException]) -> Generator[None]:
    """Remove ``folder`` when the block ends with ``failure``."""
    try:
        yield
    except failure:
        shutil.rmtree(folder, ignore_errors=True)
        raise
