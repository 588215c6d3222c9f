"""From an applicant to the content of the card's files, as the profile's rows lay it out.

A file whose section has nothing to say for an applicant (no residence was delivered, a child has no account) gets no
content: it is created, filled with 00, and read as empty.

Source: card specification, "Files"; ISO/IEC 7816-4:2020, clause 8.1 (padding with 00 in files).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Final

from card_os.iso7816.tlv import encode
from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.preparation.ga_t_490 import encode_field
from personalization.profile import CardProfile
from personalization.profile_rows import FieldRow, FileRow, ObjectRow

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

SOURCES: Final[Mapping[str, Source]] = MappingProxyType(
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
        "bank_name": lambda a, bank: bank.bank_name if a.bank_account else None,
        "account_number": lambda a, _: a.bank_account,
        "product": lambda a, bank: bank.product if a.bank_account else None,
        "activation": lambda a, _: Activation.INACTIVE.value if a.bank_account else None,
        "status": lambda _, __: PermitStatus.VALID.value,
        "due_date": lambda a, _: a.endorsement_due,
        "status_date": lambda a, _: a.issue_date,
        "valid_from": lambda a, _: a.issue_date,
        "valid_until": lambda _, __: UNLIMITED,
        "changes": lambda _, __: bytes(2),
        "points": lambda _, __: None,
        "points_date": lambda _, __: None,
        "services": lambda _, __: None,
        "reserved": lambda _, __: "",
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
            (file, file.template, tuple((row, _source(row.name)) for row in profile.objects_of(file.template)))
            for file in profile.files
            if file.template is not None
        )
        self._fixed = tuple(
            (file, tuple((row, _source(row.name)) for row in profile.fields_of(file.content)))
            for file in profile.files
            if file.template is None and file.records is None and profile.fields_of(file.content)
        )

    def build(self, applicant: Applicant) -> dict[int, bytes]:
        """Content by FID of all files that are made of text; files without content are left out.

        Raises:
            PersonalizationError: "field-too-long" or "file-too-long", with the row and the name.
        """
        contents: dict[int, bytes] = {}
        for file, template, objects in self._templates:
            values = ((row, source(applicant, self._bank)) for row, source in objects)
            body = b"".join(
                encode(row.tag, _object_value(row, value, applicant)) for row, value in values if value is not None
            )
            if body:
                contents[file.fid] = _fitting(file, encode(template, body), applicant)
        for file, fields in self._fixed:
            content = b"".join(_field_value(row, source(applicant, self._bank), applicant) for row, source in fields)
            contents[file.fid] = _fitting(file, content, applicant)
        return contents


def _source(name: str) -> Source:
    source = SOURCES.get(name)
    if source is None:
        raise PersonalizationError("profile-field-unknown", exit_code=2, field=name)
    return source


def _fitting(file: FileRow, content: bytes, applicant: Applicant) -> bytes:
    limit = file.size if file.size is not None else file.maximum
    if limit is not None and len(content) > limit:
        raise PersonalizationError(
            "file-too-long", row=applicant.row_number, file=file.name, length=len(content), limit=limit
        )
    return content


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    return value.isoformat().replace("-", "") if isinstance(value, date) else ""


def _object_value(row: ObjectRow, value: Value, applicant: Applicant) -> bytes:
    if isinstance(value, bytes):
        return value
    text = _text(value)
    if len(text) > row.maximum:
        raise PersonalizationError(
            "field-too-long", row=applicant.row_number, field=row.name, length=len(text), limit=row.maximum
        )
    return text.encode("utf-8")


def _field_value(row: FieldRow, value: Value, applicant: Applicant) -> bytes:
    """A field at a fixed place: exactly as long as its row."""
    if row.kind == "utf16":
        return encode_field(_text(value), row.length)
    if row.kind == "reserved":
        return bytes(row.length)
    encoded = value if isinstance(value, bytes) else _text(value).encode("utf-8")
    if len(encoded) > row.length or (row.kind != "text" and len(encoded) != row.length):
        raise PersonalizationError(
            "field-too-long", row=applicant.row_number, field=row.name, length=len(encoded), limit=row.length
        )
    return encoded + bytes(row.length - len(encoded))
