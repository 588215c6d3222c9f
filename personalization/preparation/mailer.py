"""The PIN mailer file: who gets which PIN, for the printer of PIN letters and for nobody else.

One sealed record a row, under the mailer key (see `sealed_file`): JSON, UTF-8, the fields of `PinLetter`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from personalization.errors import PersonalizationError
from personalization.preparation.sealed_file import Purpose
from personalization.preparation.sealed_records import SealedRecords

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


@dataclass(frozen=True, slots=True, repr=False)
class PinLetter:
    """One letter.

    Attributes:
        row_number: row of the batch.
        name: the holder.
        address: where the letter goes: the current address, or the registered one where none was delivered.
        permit_number: so that the desk can hand the letter out with the card.
        pins: PIN by its name in the profile, decimal digits.
    """

    row_number: int
    name: str
    address: str
    permit_number: str
    pins: dict[str, str]

    def encode(self) -> bytes:
        """The record in plain."""
        return _encode({name: getattr(self, name) for name in self.__slots__}).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read an opened record.

        Raises:
            PersonalizationError: "record-malformed".
        """
        try:
            return cls(**json.loads(raw))
        except (ValueError, TypeError):
            # What a parser says may quote the record.
            raise PersonalizationError("record-malformed", length=len(raw)) from None

    def __repr__(self) -> str:
        return f"PinLetter(row_number={self.row_number}, …)"


class MailerFile(SealedRecords):
    """The letters of a batch, by row."""

    __slots__ = ()

    purpose: ClassVar[Purpose] = Purpose.MAILER

    def letter(self, row_number: int) -> PinLetter:
        """The letter of a row.

        Raises:
            PersonalizationError: "row-unknown", "sealed-data-refused", "record-malformed".
        """
        return PinLetter.decode(self._file.record_of_row(row_number))
