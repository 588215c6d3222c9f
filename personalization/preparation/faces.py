"""Card-face data: what the printer puts on which card.

One sealed record a row, under the transport key (see `sealed_file`)::

    offset 0  4  length of the text part
           4     text part: JSON, UTF-8, the fields of `CardFace` but the portrait
                 the portrait: the JPEG that is on the chip

The barcode is Code 128 of the permit number: symbology and content have not been published, so this is our choice.

Source: the card's description of 2016: front photo, personal data, bank number, UnionPay mark; back title, barcode,
permit number. State Council decree 663, article 4 (items on the face).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Final, Self

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.intake.code_tables import CodeTables, code_tables
from personalization.preparation.sealed_file import Purpose
from personalization.preparation.sealed_records import SealedRecords

TITLE: Final = "浙江省居住证"
BARCODE_SYMBOLOGY: Final = "Code 128"
PAYMENT_MARK: Final = "UnionPay"

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_LENGTH: Final = 4
_GROUP: Final = 4
_SHORT_SEX: Final = {"1": "男", "2": "女"}


@dataclass(frozen=True, slots=True, repr=False)
class CardFace:
    """What is printed on one card.

    Attributes:
        row_number: row of the batch.
        front: text by field name: name, sex, ethnic_group, birth_date, citizen_number, registered_address,
            current_address, issuing_authority, issue_date, bank_account; a field that is not printed is missing.
        back: title, permit_number, service_hotline.
        barcode: content of the barcode.
        payment_mark: mark of the payment scheme, None on a card without account.
        portrait: JPEG, 71 × 99 pixels.
    """

    row_number: int
    front: Mapping[str, str]
    back: Mapping[str, str]
    barcode: str
    payment_mark: str | None
    portrait: bytes

    def encode(self) -> bytes:
        """The record in plain; see the module."""
        document = {
            "row": self.row_number,
            "front": dict(self.front),
            "back": dict(self.back),
            "barcode": {"symbology": BARCODE_SYMBOLOGY, "content": self.barcode},
            "payment_mark": self.payment_mark,
        }
        text = _encode(document).encode()
        return len(text).to_bytes(_LENGTH, "big") + text + self.portrait

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read an opened record.

        Raises:
            PersonalizationError: "record-malformed".
        """
        end = _LENGTH + int.from_bytes(raw[:_LENGTH], "big")
        try:
            document = json.loads(raw[_LENGTH:end])
            return cls(
                document["row"],
                document["front"],
                document["back"],
                document["barcode"]["content"],
                document["payment_mark"],
                raw[end:],
            )
        except (ValueError, KeyError, TypeError):
            # What a parser says may quote the record.
            raise PersonalizationError("record-malformed", length=len(raw)) from None

    def __repr__(self) -> str:
        return f"CardFace(row_number={self.row_number}, …)"


def face_portrait(raw: bytes) -> bytes:
    """The portrait in an opened record."""
    return raw[_LENGTH + int.from_bytes(raw[:_LENGTH], "big") :]


class FaceMaker:
    """Makes card faces; code tables are read once.

    Args:
        tables: names of codes.
    """

    __slots__ = ("_tables",)

    def __init__(self, tables: CodeTables | None = None) -> None:
        self._tables = tables or code_tables()

    def make(self, applicant: Applicant, portrait: bytes) -> CardFace:
        """The face of one applicant's card, with the portrait that is on the chip."""
        front = {
            "name": applicant.name,
            "sex": _SHORT_SEX.get(applicant.sex) or self._tables.sexes.get(applicant.sex, applicant.sex),
            "ethnic_group": self._tables.ethnic_groups.get(applicant.ethnic_group, applicant.ethnic_group),
            "birth_date": written_date(applicant.birth_date),
            "citizen_number": applicant.citizen_number,
            "registered_address": applicant.registered_address,
            "issuing_authority": applicant.issuing_authority,
            "issue_date": written_date(applicant.issue_date),
        }
        if applicant.residence is not None:
            front["current_address"] = applicant.residence.current_address
        if applicant.bank_account:
            front["bank_account"] = grouped(applicant.bank_account)
        back = {
            "title": TITLE,
            "permit_number": applicant.permit_number,
            "service_hotline": applicant.service_hotline,
        }
        mark = PAYMENT_MARK if applicant.bank_account else None
        return CardFace(applicant.row_number, front, back, applicant.permit_number, mark, portrait)


class FaceFile(SealedRecords):
    """The face data of a batch, by row."""

    __slots__ = ()

    purpose: ClassVar[Purpose] = Purpose.FACES

    def face(self, row_number: int) -> CardFace:
        """The face of a row.

        Raises:
            PersonalizationError: "row-unknown", "sealed-data-refused", "record-malformed".
        """
        return CardFace.decode(self._file.record_of_row(row_number))


def written_date(day: date) -> str:
    """A date as documents print it, such as 2016年9月1日."""
    return f"{day.year}年{day.month}月{day.day}日"


def grouped(number: str) -> str:
    """Digits in groups of four, as bank cards show them."""
    return " ".join(number[start : start + _GROUP] for start in range(0, len(number), _GROUP))
