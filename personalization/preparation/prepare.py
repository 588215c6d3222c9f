"""From accepted applicants to the files that production, the printers and inspection work with.

Rows are taken one by one and written as they are done, so that a batch of any size needs the memory of one row.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import DataGrouping
from personalization.intake.applicant import Applicant, Batch
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.data_groups import BankProgramme, DataGroups
from personalization.preparation.dgi import FILE_CHUNK, file_groupings
from personalization.preparation.document_signature import DocumentSigner
from personalization.preparation.faces import CardFace, FaceMaker
from personalization.preparation.mailer import PinLetter
from personalization.preparation.portrait import make_portrait
from personalization.preparation.record import PreparedRecord
from personalization.preparation.sealed_file import Purpose, create_sealed
from personalization.preparation.source_file import encode_applicant
from personalization.profile import CardProfile
from personalization.profile_rows import PinRow
from personalization.terminal.holder import pin_block

RandomSource = Callable[[int], bytes]
"""Gives as many random bytes as asked for."""

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_CURVE: Final = ec.SECP256R1()
_EC_PRIVATE_KEY: Final = struct.Struct("7s32s17s65s")
"""ECPrivateKey of P-256 with its public point. Source: RFC 5915, clause 3."""
# 64 bits more than the order has, so that the remainder is uniform (FIPS 186-5, A.2.1).
_PRIVATE_KEY_RANDOM: Final = 40
_PIN_RANDOM: Final = 16
_DIGITS: Final = "0123456789"
_ASCENDING: Final = 2 * _DIGITS
_TEMPLATES: Final = 4096
_AT_THE_START: Final = bytes(2)
_PORTRAIT: Final = "jpeg"
_POINT: Final = "point"

FIRST_BOUND: Final = dt.timedelta(days=60)
"""How far after its production a card lets terminals tell the date before they bring it a signed bound."""


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """What preparation made of a batch.

    Attributes:
        identifier: batch identifier.
        count: rows prepared.
        prepared: records for the stations; appears last, so that it stands for all of them.
        faces: card-face data for the printer.
        mailer: PIN letters.
        source: the accepted applicants, for inspection.
        portraits_unchanged: portraits that went to the card as they were delivered.
    """

    identifier: str
    count: int
    prepared: Path
    faces: Path
    mailer: Path
    source: Path
    portraits_unchanged: int


@dataclass(frozen=True, slots=True)
class PreparedCard:
    """What preparation made of one row."""

    record: PreparedRecord
    face: CardFace
    letter: PinLetter


class Recognition(NamedTuple):
    """By what a row's numbers are known again without being kept.

    Attributes:
        permit: of the permit number, 32 bytes.
        citizen: of the citizen number, 32 bytes.
    """

    permit: bytes
    citizen: bytes

    @classmethod
    def of(cls, applicant: Applicant, keystore: KeyStore) -> Self:
        """Of one applicant."""
        return cls(
            keystore.recognise(applicant.permit_number.encode("ascii")),
            keystore.recognise(applicant.citizen_number.encode("ascii")),
        )


class Preparer:
    """Prepares one applicant after the other under one profile.

    Args:
        profile: the permit's profile.
        keystore: signer, recognition and transport keys.
        bank: what the bank writes on every card.
        randomness: source of PINs and chip keys.
        first_bound: from the day of production to the first bound of the date.

    Raises:
        PersonalizationError: exit 2, the profile is none of a permit.
    """

    __slots__ = (
        "_chip_key_fid",
        "_clock",
        "_clock_of",
        "_creation",
        "_faces",
        "_files",
        "_first_bound",
        "_groups",
        "_identification",
        "_keystore",
        "_portrait_fid",
        "_profile",
        "_randomness",
        "_signer",
        "_template",
    )

    def __init__(
        self,
        profile: CardProfile,
        keystore: KeyStore,
        *,
        bank: BankProgramme | None = None,
        randomness: RandomSource = os.urandom,
        first_bound: dt.timedelta = FIRST_BOUND,
    ) -> None:
        self._first_bound = first_bound
        self._profile = profile
        self._keystore = keystore
        self._randomness = randomness
        self._groups = DataGroups(profile, bank)
        self._signer = DocumentSigner(profile, keystore)
        self._faces = FaceMaker()
        self._portrait_fid = _fid_of(profile, _PORTRAIT)
        self._chip_key_fid = _fid_of(profile, _POINT)
        dgis = {row.kind: row for row in profile.dgis}
        self._creation = dgis["files"].number
        self._clock = _clock_grouping(dgis["clock"].number, keystore)
        self._identification = DataGrouping(dgis["identification"].number, profile.identification)
        # Few sizes occur, and writing out a template's access rules takes longer than all else that is done in Python.
        self._template = functools.lru_cache(_TEMPLATES)(self._file_template)
        self._clock_of = functools.lru_cache(_TEMPLATES)(self._bounded_clock)
        self._files = tuple(
            (row.fid, None if row.size is None else self._file_template(row.fid, row.size)) for row in profile.files
        )

    def prepare(self, applicant: Applicant) -> PreparedCard:
        """One row.

        Raises:
            PersonalizationError: "portrait-unreadable", "field-too-long", "file-too-long", with the row.
        """
        portrait = make_portrait(applicant.portrait, row=applicant.row_number)
        recognition = Recognition.of(applicant, self._keystore)
        record, letter = self.complete(applicant, portrait, recognition)
        return PreparedCard(record, self.face(applicant, portrait), letter)

    def face(self, applicant: Applicant, portrait: bytes) -> CardFace:
        """What is printed on one card; nothing of it is secret or drawn at random."""
        return self._faces.make(applicant, portrait)

    def complete(
        self, applicant: Applicant, portrait: bytes, recognition: Recognition
    ) -> tuple[PreparedRecord, PinLetter]:
        """What is signed and drawn for one row: the record for the stations, and the letter with its PINs.

        Args:
            applicant: the row.
            portrait: the card's portrait, see `make_portrait`.
            recognition: of the row's numbers.

        Raises:
            PersonalizationError: "field-too-long", "file-too-long", with the row.
        """
        private, point = self._chip_key()
        contents = self._groups.build(applicant)
        contents[self._portrait_fid] = portrait
        contents[self._chip_key_fid] = point
        portrait_digest = hashlib.sha256(portrait).digest()
        contents[self._signer.fid] = self._signer.sign(contents, {self._portrait_fid: portrait_digest})
        pins = [(row, self._pin(row)) for row in self._profile.pins]
        record = PreparedRecord(
            applicant.row_number,
            recognition.permit,
            recognition.citizen,
            portrait_digest,
            tuple((row.number, pin_block(pin)) for row, pin in pins),
            private,
            self._groupings(contents, applicant.production_date),
        )
        return record, _letter(applicant, pins)

    def _groupings(self, contents: dict[int, bytes], made: dt.date) -> tuple[DataGrouping, ...]:
        templates: list[bytes] = []
        groupings: list[DataGrouping] = [self._identification]  # its place is taken by the creation of files
        for fid, template in self._files:
            content = contents.get(fid, b"")
            length = len(content)
            templates.append(template or self._template(fid, length))
            if length > FILE_CHUNK:
                groupings += file_groupings(fid, content)
            elif length:
                groupings.append(DataGrouping(fid, _AT_THE_START + content))
        groupings[0] = DataGrouping(self._creation, b"".join(templates))
        groupings += (self._clock_of(made), self._identification)
        return tuple(groupings)

    def _bounded_clock(self, made: dt.date) -> DataGrouping:
        bound = f"{made + self._first_bound:%Y%m%d}".encode("ascii")
        return DataGrouping(self._clock.identifier, self._clock.value + bound)

    def _file_template(self, fid: int, size: int) -> bytes:
        return self._profile.fcp(self._profile.file(fid), size)

    def _chip_key(self) -> tuple[bytes, bytes]:
        """A key pair of a chip: its private half in 32 bytes, and its public point, uncompressed."""
        if self._randomness is os.urandom:
            key = ec.generate_private_key(_CURVE)  # draws from the same source, and needs half the time
        else:
            number = int.from_bytes(self._randomness(_PRIVATE_KEY_RANDOM), "big") % (_P256_ORDER - 1) + 1
            key = ec.derive_private_key(number, _CURVE)
        # Both halves come out of one encoding, in which all lengths are fixed.
        raw = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        _, private, _, point = _EC_PRIVATE_KEY.unpack(raw)
        return private, point

    def _pin(self, row: PinRow) -> str:
        """A random PIN of the least number of digits; one that anybody would try first is drawn again."""
        digits = max(row.digits[0], 1)
        while True:
            number = int.from_bytes(self._randomness(_PIN_RANDOM), "big") % 10**digits
            pin = f"{number:0{digits}d}"
            if not is_obvious(pin):
                return pin


def _clock_grouping(identifier: int, keystore: KeyStore) -> DataGrouping:
    """The clock authority's public key, the same on every card; the first bound follows it."""
    key = x509.load_der_x509_certificate(keystore.certificate(KeyName.CLOCK)).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return DataGrouping(identifier, point)


def prepare_batch(
    batch: Batch,
    keystore: KeyStore,
    profile: CardProfile,
    directory: Path,
    *,
    bank: BankProgramme | None = None,
    progress: Callable[[int], None] | None = None,
) -> PreparedBatch:
    """Prepare all rows of a batch.

    Args:
        batch: what intake accepted.
        keystore: signer, recognition, transport and mailer keys.
        profile: the permit's profile.
        directory: where the four files go; it is there.
        bank: what the bank writes on every card.
        progress: called with the number of rows done, after each.

    Raises:
        PersonalizationError: "batch-prepared-already" (exit 2), for a second preparation would give a permit another
            PIN and another chip key; what `Preparer.prepare` refuses; "directory-unwritable" (exit 3). Nothing
            is left behind then.
    """
    paths = {purpose: directory / f"{batch.identifier}.{purpose.label}" for purpose in Purpose}
    if paths[Purpose.PREPARED].exists():
        raise PersonalizationError("batch-prepared-already", exit_code=2, batch=batch.identifier)
    preparer = Preparer(profile, keystore, bank=bank)
    try:
        count, unchanged = _write(batch.identifier, batch.applicants, preparer, keystore, paths, progress)
    except OSError as error:
        raise PersonalizationError(
            "directory-unwritable", exit_code=3, directory=str(directory), reason=error.strerror
        ) from error
    return PreparedBatch(
        batch.identifier,
        count,
        paths[Purpose.PREPARED],
        paths[Purpose.FACES],
        paths[Purpose.MAILER],
        paths[Purpose.SOURCE],
        unchanged,
    )


def _write(
    identifier: str,
    applicants: Iterable[Applicant],
    preparer: Preparer,
    keystore: KeyStore,
    paths: dict[Purpose, Path],
    progress: Callable[[int], None] | None,
) -> tuple[int, int]:
    """Write the four files; returns the rows done and the portraits that were left as they are."""
    count = unchanged = 0
    with ExitStack() as stack:
        # The first to be opened is the last to appear.
        writers = {
            purpose: stack.enter_context(create_sealed(paths[purpose], purpose, identifier, keystore))
            for purpose in (Purpose.PREPARED, Purpose.SOURCE, Purpose.FACES, Purpose.MAILER)
        }
        for applicant in applicants:
            card = preparer.prepare(applicant)
            row = applicant.row_number
            writers[Purpose.PREPARED].append(row, card.record.encode())
            writers[Purpose.FACES].append(row, card.face.encode())
            writers[Purpose.MAILER].append(row, card.letter.encode())
            writers[Purpose.SOURCE].append(row, encode_applicant(applicant))
            count += 1
            unchanged += card.face.portrait == applicant.portrait
            if progress is not None:
                progress(count)
    return count, unchanged


def is_obvious(pin: str) -> bool:
    """True for one repeated digit and for digits that count up or down."""
    return pin in _obvious(len(pin))


@functools.cache
def _obvious(digits: int) -> frozenset[str]:
    """All such PINs of a length."""
    rising = [_ASCENDING[at : at + digits] for at in range(len(_ASCENDING) - digits + 1)]
    return frozenset([digit * digits for digit in _DIGITS] + rising + [run[::-1] for run in rising])


def _letter(applicant: Applicant, pins: list[tuple[PinRow, str]]) -> PinLetter:
    residence = applicant.residence
    address = residence.current_address if residence is not None else applicant.registered_address
    named = {row.name: pin for row, pin in pins}
    return PinLetter(applicant.row_number, applicant.name, address, applicant.permit_number, named)


def _fid_of(profile: CardProfile, content: str) -> int:
    fid = next((row.fid for row in profile.files if row.content == content), None)
    if fid is None:
        raise PersonalizationError("profile-file-missing", exit_code=2, content=content)
    return fid
