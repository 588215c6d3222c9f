"""From an applicant to the content of the card's files, as the profile's rows lay it out.

A file whose section has nothing to say for an applicant (no residence was delivered, a child has no account) gets no
content: it is created, filled with 00, and read as empty.

Source: card specification, "Files"; ISO/IEC 7816-4:2020, clause 8.1 (padding with 00 in files).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Final

from card_os.iso7816.tlv import encode_length, encode_tag
from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.preparation.ga_t_490 import encode_field
from personalization.profile import CardProfile
from personalization.profile_rows import FieldRow, FileRow, ObjectRow

_DAYS: Final = 1 << 16
"""Days that are kept in writing: every day of a person's life, and of a permit's."""

UNLIMITED: Final = "长期"
"""Validity end in a GA/T 490 record: the permit itself does not expire, its endorsement does (see EF.STATUS)."""


class PermitStatus(Enum):
    """First byte of EF.STATUS."""

    VALID = b"\x01"
    SUSPENDED = b"\x02"
    CANCELLED = b"\x03"


class Activation(Enum):
    """Activation state of the bank account; a branch of the bank activates it."""

    INACTIVE = b"\x00"
    ACTIVE = b"\x01"


@dataclass(frozen=True, slots=True)
class BankProgramme:
    """What the bank that takes part writes on every card.

    Attributes:
        bank_name: at most 20 characters.
        product: at most 20 characters.
    """

    bank_name: str = "中国邮政储蓄银行"
    product: str = "居住证联名借记卡"


Value = str | date | bytes | None
Source = Callable[[Applicant, BankProgramme], Value]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value that every card has; its bytes are made once.

    Attributes:
        content: the value.
    """

    content: Value


SOURCES: Final[Mapping[str, Source | Fixed]] = MappingProxyType(
    {
        "name": lambda a, _: a.name,
        "birth_date": lambda a, _: a.birth_date,
        "sex": lambda a, _: a.sex,
        "ethnic_group": lambda a, _: a.ethnic_group,
        "citizen_number": lambda a, _: a.citizen_number,
        "household_address": lambda a, _: a.registered_address,
        "registered_address": lambda a, _: a.registered_address,
        "permit_number": lambda a, _: a.permit_number,
        "permit_type": lambda a, _: a.permit_type,
        "issuing_authority": lambda a, _: a.issuing_authority,
        "issue_date": lambda a, _: a.issue_date,
        "service_hotline": lambda a, _: a.service_hotline,
        "area_code": lambda a, _: a.area_code,
        "production_date": lambda a, _: a.production_date,
        "current_address": lambda a, _: a.residence.current_address if a.residence else None,
        "registration_number": lambda a, _: a.residence.registration_number if a.residence else None,
        "registration_date": lambda a, _: a.residence.registration_date if a.residence else None,
        "registering_station": lambda a, _: a.residence.registering_station if a.residence else None,
        "citizen_card_number": lambda a, _: a.citizen_card_number,
        "citizen_card_account": lambda a, _: a.citizen_card_account,
        "social_card_number": Fixed(None),
        "bank_name": lambda a, bank: bank.bank_name if a.bank_account else None,
        "account_number": lambda a, _: a.bank_account,
        "product": lambda a, bank: bank.product if a.bank_account else None,
        "activation": lambda a, _: Activation.INACTIVE.value if a.bank_account else None,
        "status": Fixed(PermitStatus.VALID.value),
        "due_date": lambda a, _: a.endorsement_due,
        "status_date": lambda a, _: a.issue_date,
        "valid_from": lambda a, _: a.issue_date,
        "valid_until": Fixed(UNLIMITED),
        "changes": Fixed(bytes(2)),
        "points": Fixed(None),
        "points_date": Fixed(None),
        "services": Fixed(None),
        "reserved": Fixed(""),
    }
)
"""Where each named field of a profile takes its value from; None where the applicant has none."""


class DataGroups:
    """Makes file contents under one profile.

    Args:
        profile: the card profile.
        bank: what the bank writes on every card.

    Raises:
        PersonalizationError: "profile-field-unknown" (exit 2): the profile names a field that nothing fills.
    """

    __slots__ = ("_bank", "_fixed", "_templates")

    def __init__(self, profile: CardProfile, bank: BankProgramme | None = None) -> None:
        self._bank = bank or BankProgramme()
        self._templates = tuple(
            (
                file,
                encode_tag(file.template),
                tuple(
                    (row, encode_tag(row.tag), source)
                    for row, source in _sources(profile.objects_of(file.template))
                    if source is not None
                ),
            )
            for file in profile.files
            if file.template is not None
        )
        self._fixed = tuple(
            (file, tuple(_place(row) for row in profile.fields_of(file.content)))
            for file in profile.files
            if file.template is None and file.records is None and profile.fields_of(file.content)
        )

    def build(self, applicant: Applicant) -> dict[int, bytes]:
        """Content by FID of all files that are made of text; files without content are left out.

        Raises:
            PersonalizationError: "field-too-long" or "file-too-long", with the row and the name.
        """
        contents: dict[int, bytes] = {}
        bank, number = self._bank, applicant.row_number
        for file, template, objects in self._templates:
            parts: list[bytes] = []
            for row, tag, source in objects:
                value = source(applicant, bank)
                if value is not None:
                    encoded = value if isinstance(value, bytes) else _object_text(row, value, applicant)
                    parts += (tag, encode_length(len(encoded)), encoded)
            if parts:
                body = b"".join(parts)
                contents[file.fid] = _fitting(file, template + encode_length(len(body)) + body, applicant)
        for file, fields in self._fixed:
            content = b"".join(
                [
                    field if isinstance(field, bytes) else _field_value(field[0], field[1](applicant, bank), number)
                    for field in fields
                ]
            )
            contents[file.fid] = _fitting(file, content, applicant)
        return contents


def _source(name: str) -> Source | Fixed:
    source = SOURCES.get(name)
    if source is None:
        raise PersonalizationError("profile-field-unknown", exit_code=2, field=name)
    return source


def _sources(rows: Iterable[ObjectRow]) -> Iterator[tuple[ObjectRow, Source | None]]:
    """Where each object of a template takes its value from; None for one that no card has yet."""
    for row in rows:
        source = _source(row.name)
        if not isinstance(source, Fixed):
            yield row, source
        elif source.content is not None:
            yield row, functools.partial(_fixed_value, source.content)
        else:
            yield row, None


def _fixed_value(value: Value, applicant: Applicant, bank: BankProgramme) -> Value:
    del applicant, bank
    return value


def _place(row: FieldRow) -> bytes | tuple[FieldRow, Source]:
    """A field at a fixed place: its bytes where they are the same on every card, else where they come from."""
    source = _source(row.name)
    return _field_value(row, source.content, 0) if isinstance(source, Fixed) else (row, source)


def _fitting(file: FileRow, content: bytes, applicant: Applicant) -> bytes:
    limit = file.size if file.size is not None else file.maximum
    if limit is not None and len(content) > limit:
        raise PersonalizationError(
            "file-too-long", row=applicant.row_number, file=file.name, length=len(content), limit=limit
        )
    return content


@functools.lru_cache(_DAYS)
def _written(day: date) -> str:
    return day.isoformat().replace("-", "")


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    return _written(value) if isinstance(value, date) else ""


def _object_text(row: ObjectRow, value: str | date, applicant: Applicant) -> bytes:
    text = value if isinstance(value, str) else _written(value)
    if len(text) > row.maximum:
        raise PersonalizationError(
            "field-too-long", row=applicant.row_number, field=row.name, length=len(text), limit=row.maximum
        )
    return text.encode("utf-8")


def _field_value(row: FieldRow, value: Value, number: int) -> bytes:
    """A field at a fixed place: exactly as long as its row."""
    if row.kind == "utf16":
        return encode_field(_text(value), row.length)
    if row.kind == "reserved":
        return bytes(row.length)
    encoded = value if isinstance(value, bytes) else _text(value).encode("utf-8")
    if len(encoded) > row.length or (row.kind != "text" and len(encoded) != row.length):
        raise PersonalizationError("field-too-long", row=number, field=row.name, length=len(encoded), limit=row.length)
    return encoded + bytes(row.length - len(encoded))
