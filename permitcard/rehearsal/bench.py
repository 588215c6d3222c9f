"""One station of a rehearsal: the same preparation, maker and inspector as in production, on cards in memory.

Nothing of the centre is opened: no key store, no journal, no stock. The keys are made for the bench and live in memory
alone; so do cards, applicants and prepared records. Each card is made over its line protocol through a reader model, so
that time is the card's and the line's own, in virtual time, whatever machine rehearses.
"""

from __future__ import annotations

import datetime as dt
import secrets
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from card_os.iso7816.errors import MemoryFailure
from card_os.storage.wear import measure_wear
from permitcard.blanks import make_blank
from permitcard.products import boot, permit_profile
from permitcard.recipes import permit_recipe
from permitcard.rehearsal.findings import RehearsedCard, Setting
from permitcard.rehearsal.place import Place
from permitcard.sams import new_sam, open_sam
from personalization.errors import PersonalizationError
from personalization.inspection.inspector import PermitInspector
from personalization.keys.authorities import authorities_of
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyStore
from personalization.preparation.prepare import PreparedCard, Preparer
from personalization.production.maker import GlobalPlatformMaker
from personalization.production.work import CardFault, KeysRefused
from reader_bridge.connection import ReaderError
from reader_bridge.reader_models import ReaderModel, reader_model
from reader_bridge.simulated import SimulatedCard

if TYPE_CHECKING:
    from personalization.intake.applicant import Applicant
    from personalization.preparation.faces import CardFace

_BATCH: Final = 0xFFFE
"""IC batch of chips that exist in a rehearsal only."""

_FAST_SCRYPT: Final = 1024


@contextmanager
def open_bench(setting: Setting) -> Generator[Bench]:
    """Keys, SAM, maker and inspector of a rehearsal; the keys' file is gone before the first card is made.

    Raises:
        ReaderError: "reader-model-unknown".
    """
    model = reader_model(setting.reader)
    with ExitStack() as held:
        with tempfile.TemporaryDirectory(prefix="permitcard-rehearsal-") as folder:
            keys = FileKeyStore.create(Path(folder) / "keys.json", secrets.token_bytes(32), scrypt_n=_FAST_SCRYPT)
        held.callback(keys.close)
        sam = held.enter_context(open_sam(new_sam(keys, 1), keys))
        people = _People()
        authority = authorities_of(keys)
        inspector = PermitInspector(sam, permit_profile(), authority, people, faces=people)
        yield Bench(setting, model, keys, people, inspector)


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


class Bench:
    """What makes and inspects one row after the other.

    Attributes:
        room: bytes of the largest object that fits on a blank; 0 before the first one.
    """

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
        place = Place(card, self._setting, self._model)
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


def _without_row(parameters: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in parameters.items() if name != "row"}
