"""Opening prepared batches and judging them: every signature, every PIN letter, and what two of them have in common."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from personalization.inspection.checks import CheckList
from personalization.inspection.signature_check import SIGNED_FILES, SignatureVerifier
from personalization.intake.applicant import Applicant
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.faces import CardFace, FaceFile
from personalization.preparation.mailer import MailerFile, PinLetter
from personalization.preparation.prepared_file import PreparedFile
from personalization.preparation.record import PreparedRecord
from personalization.preparation.source_file import SourceFile
from personalization.terminal.holder import pin_block

SIGNATURE = 0x0104
CHIP_KEY = 0x0105
DRAWN = frozenset({SIGNATURE, CHIP_KEY})
"""Files in which two preparations of one row differ: the chip's key, and what signs it."""


@dataclass(frozen=True, slots=True)
class Row:
    """All that preparation made of one row."""

    index: int
    record: PreparedRecord
    applicant: Applicant
    face: CardFace
    letter: PinLetter

    def files(self) -> dict[int, bytes]:
        """Content of the card's files by FID."""
        found: dict[int, bytes] = {}
        for grouping in self.record.groupings:
            if grouping.identifier in range(0x0100, 0x0400):
                found[grouping.identifier] = found.get(grouping.identifier, b"") + grouping.value[2:]
        return found

    def without_what_is_drawn(self) -> object:
        """What every preparation of the row has to give."""
        files = {fid: content for fid, content in self.files().items() if fid not in DRAWN}
        record, letter = self.record, self.letter
        recognised = (record.row_number, record.permit_recognition, record.citizen_recognition)
        return (*recognised, files, self.applicant, self.face, letter.name, letter.address, letter.permit_number)


def rows_of(manifest: Path, keys: KeyStore, batch: str) -> Iterator[Row]:
    """Every row of a batch, opened."""
    with ExitStack() as held:
        records = held.enter_context(PreparedFile(manifest, keys, batch=batch))
        sources = held.enter_context(SourceFile(manifest, keys, batch=batch))
        faces = held.enter_context(FaceFile(manifest, keys, batch=batch))
        letters = held.enter_context(MailerFile(manifest, keys, batch=batch))
        assert len(records) == len(sources) == len(faces) == len(letters)
        for index in range(len(records)):
            row = records.row_number(index)
            yield Row(index, records.record(index), sources.applicant(row), faces.face(row), letters.letter(row))


def judge(manifest: Path, keys: KeyStore, batch: str) -> int:
    """Verify every signature and every letter of a batch; returns its rows."""
    verifier = SignatureVerifier(keys.certificate(KeyName.AUTHORITY))
    today = dt.datetime.now(dt.UTC).date()
    count = 0
    for row in rows_of(manifest, keys, batch):
        checks, files = CheckList(), row.files()
        verifier.verify(checks, files[SIGNATURE], {fid: files[fid] for fid in SIGNED_FILES}, today)
        assert checks.result(row.record.row_number).passed, row.index
        assert row.record.portrait_digest == hashlib.sha256(row.face.portrait).digest()
        assert files[0x0103] == row.face.portrait
        blocks = {block for _, block in row.record.pin_blocks}
        assert {pin_block(pin) for pin in row.letter.pins.values()} == blocks
        assert row.record.row_number == row.applicant.row_number == row.letter.row_number == row.face.row_number
        count += 1
    return count
