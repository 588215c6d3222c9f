"""The accepted applicants, sealed: what inspection compares a finished card with, on any station and after any restart.

It holds what intake accepted, untouched by preparation. One record a row, under the transport key (see `sealed_file`)::

    offset 0  4  length of the text part
           4     text part: JSON, UTF-8, the fields of `Applicant` but the portrait, dates as YYYY-MM-DD
                 the portrait as delivered
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any, ClassVar, Final

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant, Residence
from personalization.preparation.sealed_file import Purpose
from personalization.preparation.sealed_records import SealedRecords

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_LENGTH: Final = 4
_PORTRAIT: Final = "portrait"
_RESIDENCE: Final = "residence"
_APPLICANT_DATES: Final = ("birth_date", "issue_date", "endorsement_due", "production_date")
_RESIDENCE_DATES: Final = ("registration_date",)
_APPLICANT_FIELDS: Final = tuple(name for name in Applicant._fields if name not in {_PORTRAIT, _RESIDENCE})
_RESIDENCE_FIELDS: Final = Residence._fields


def encode_applicant(applicant: Applicant) -> bytes:
    """The record in plain; see the module."""
    document = _values(applicant, _APPLICANT_FIELDS, _APPLICANT_DATES)
    if applicant.residence is not None:
        document[_RESIDENCE] = _values(applicant.residence, _RESIDENCE_FIELDS, _RESIDENCE_DATES)
    text = _encode(document).encode()
    return len(text).to_bytes(_LENGTH, "big") + text + applicant.portrait


def decode_applicant(raw: bytes) -> Applicant:
    """Read an opened record.

    Raises:
        PersonalizationError: "record-malformed".
    """
    end = _LENGTH + int.from_bytes(raw[:_LENGTH], "big")
    try:
        document = json.loads(raw[_LENGTH:end].decode())
        residence = document.pop(_RESIDENCE, None)
        _read_dates(document, _APPLICANT_DATES)
        if residence is not None:
            _read_dates(residence, _RESIDENCE_DATES)
            residence = Residence(**residence)
        return Applicant(**document, portrait=raw[end:], residence=residence)
    except (ValueError, KeyError, TypeError, AttributeError):
        # What a parser says may quote the record.
        raise PersonalizationError("record-malformed", length=len(raw)) from None


class SourceFile(SealedRecords):
    """The applicants of a batch, by row."""

    __slots__ = ()

    purpose: ClassVar[Purpose] = Purpose.SOURCE

    def applicant(self, row_number: int) -> Applicant:
        """The applicant of a row.

        Raises:
            PersonalizationError: "row-unknown", "sealed-data-refused", "record-malformed".
        """
        return decode_applicant(self._file.record_of_row(row_number))


def _values(record: Applicant | Residence, names: tuple[str, ...], dates: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in names}
    for name in dates:
        values[name] = values[name].isoformat()
    return values


def _read_dates(document: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        document[name] = date.fromisoformat(document[name])
