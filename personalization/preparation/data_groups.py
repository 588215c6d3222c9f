"""From an applicant to the content of the card's files, as the profile's rows lay it out.

A file whose section has nothing to say for an applicant (no residence was delivered, a child has no account) gets no
content: it is created, filled with 00, and read as empty.

Source: card specification, "Files"; ISO/IEC 7816-4:2020, clause 8.1 (padding with 00 in files).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from card_os.iso7816.tlv import encode_length, encode_tag
from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.preparation.ga_t_490 import encode_field
from personalization.profile import CardProfile
from personalization.profile_rows import FieldRow, FileRow, ObjectRow

_LONGEST_CHARACTER: Final = 4  # bytes of UTF-8
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


Value = str | bytes | None

FIXED: Final[Mapping[str, Value]] = MappingProxyType(
    {
        "social_card_number": None,
        "status": PermitStatus.VALID.value,
        "valid_until": UNLIMITED,
        "changes": bytes(2),
        "points": None,
        "points_date": None,
        "services": None,
        "reserved": "",
    }
)
"""Named fields of a profile that are the same on every card; None where no card has one yet."""


class FieldValues(NamedTuple):
    """The other named fields of a profile: text as it is written, None where the applicant has none."""

    name: str
    birth_date: str
    sex: str
    ethnic_group: str
    citizen_number: str
    household_address: str
    registered_address: str
    permit_number: str
    permit_type: str
    issuing_authority: str
    issue_date: str
    service_hotline: str
    area_code: str
    production_date: str
    current_address: str | None
    registration_number: str | None
    registration_date: str | None
    registering_station: str | None
    citizen_card_number: str | None
    citizen_card_account: str | None
    bank_name: str | None
    account_number: str | None
    product: str | None
    activation: bytes | None
    due_date: str
    status_date: str
    valid_from: str

    @classmethod
    def of(cls, applicant: Applicant, bank: BankProgramme) -> Self:
        """Of one applicant."""
        issued, residence, account = _written(applicant.issue_date), applicant.residence, applicant.bank_account
        return cls(
            name=applicant.name,
            birth_date=_written(applicant.birth_date),
            sex=applicant.sex,
            ethnic_group=applicant.ethnic_group,
            citizen_number=applicant.citizen_number,
            household_address=applicant.registered_address,
            registered_address=applicant.registered_address,
            permit_number=applicant.permit_number,
            permit_type=applicant.permit_type,
            issuing_authority=applicant.issuing_authority,
            issue_date=issued,
            service_hotline=applicant.service_hotline,
            area_code=applicant.area_code,
            production_date=_written(applicant.production_date),
            current_address=residence.current_address if residence else None,
            registration_number=residence.registration_number if residence else None,
            registration_date=_written(residence.registration_date) if residence else None,
            registering_station=residence.registering_station if residence else None,
            citizen_card_number=applicant.citizen_card_number,
            citizen_card_account=applicant.citizen_card_account,
            bank_name=bank.bank_name if account else None,
            account_number=account,
            product=bank.product if account else None,
            activation=Activation.INACTIVE.value if account else None,
            due_date=_written(applicant.endorsement_due),
            status_date=issued,
            valid_from=issued,
        )

    def __repr__(self) -> str:
        return "FieldValues(…)"


_PLACES: Final[Mapping[str, int]] = MappingProxyType({name: at for at, name in enumerate(FieldValues._fields)})


class _Object(NamedTuple):
    """A data object of a template, ready to be filled.

    Attributes:
        row: of the profile.
        place: of its value in `FieldValues`.
        maximum: characters of the value.
        heads: tag and length field, by the length of the value.
    """

    row: ObjectRow
    place: int
    maximum: int
    heads: tuple[bytes, ...]


class _Field(NamedTuple):
    """A field at a fixed place, ready to be filled.

    Attributes:
        row: of the profile.
        place: of its value in `FieldValues`.
        filler: as long as the field, for text that may be shorter; None where nothing is left to fill.
    """

    row: FieldRow
    place: int
    filler: bytes | None


class DataGroups:
    """Makes file contents under one profile; what is the same for all cards is worked out once.

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
                tuple(_object(row) for row in profile.objects_of(file.template) if not _is_on_no_card(row.name)),
            )
            for file in profile.files
            if file.template is not None
        )
        self._fixed = tuple(
            (file, tuple(_field(row) for row in profile.fields_of(file.content)))
            for file in profile.files
            if file.template is None and file.records is None and profile.fields_of(file.content)
        )

    def build(self, applicant: Applicant) -> dict[int, bytes]:
        """Content by FID of all files that are made of text; files without content are left out.

        Raises:
            PersonalizationError: "field-too-long" or "file-too-long", with the row and the name.
        """
        contents: dict[int, bytes] = {}
        values, number = FieldValues.of(applicant, self._bank), applicant.row_number
        for file, template, objects in self._templates:
            parts: list[bytes] = []
            for item in objects:
                if isinstance(item, bytes):
                    parts.append(item)
                    continue
                row, place, maximum, heads = item
                value = values[place]
                if value is None:
                    continue
                if isinstance(value, str):
                    if len(value) > maximum:
                        raise _too_long(number, row.name, len(value), maximum)
                    value = value.encode("utf-8")
                parts += (heads[len(value)], value)
            if parts:
                body = b"".join(parts)
                contents[file.fid] = _fitting(file, template + encode_length(len(body)) + body, applicant)
        for file, fields in self._fixed:
            content = b"".join(
                [
                    field if isinstance(field, bytes) else _filled(field.row, values[field.place], field.filler, number)
                    for field in fields
                ]
            )
            contents[file.fid] = _fitting(file, content, applicant)
        return contents


def _is_on_no_card(name: str) -> bool:
    return name in FIXED and FIXED[name] is None


def _object(row: ObjectRow) -> _Object | bytes:
    """A data object: its bytes where they are the same on every card."""
    tag, (place, value) = encode_tag(row.tag), _source(row.name)
    if place is None:
        if isinstance(value, str) and len(value) > row.maximum:
            raise _too_long(0, row.name, len(value), row.maximum)
        encoded = value.encode("utf-8") if isinstance(value, str) else value or b""
        return tag + encode_length(len(encoded)) + encoded
    heads = tuple(tag + encode_length(length) for length in range(_LONGEST_CHARACTER * row.maximum + 1))
    return _Object(row, place, row.maximum, heads)


def _field(row: FieldRow) -> _Field | bytes:
    """A field at a fixed place: its bytes where they are the same on every card."""
    place, value = _source(row.name)
    if row.kind == "reserved":
        return bytes(row.length)
    filler = bytes(row.length) if row.kind == "text" else None
    return _filled(row, value, filler, 0) if place is None else _Field(row, place, filler)


def _source(name: str) -> tuple[int | None, Value]:
    """The place of a value in `FieldValues`, or None and the value that every card has."""
    if name in FIXED:
        return None, FIXED[name]
    if name not in _PLACES:
        raise PersonalizationError("profile-field-unknown", exit_code=2, field=name)
    return _PLACES[name], None


def _filled(row: FieldRow, value: Value, filler: bytes | None, number: int) -> bytes:
    """A field at a fixed place: exactly as long as its row."""
    if row.kind == "utf16":
        return encode_field(value if isinstance(value, str) else "", row.length)
    encoded = value.encode("utf-8") if isinstance(value, str) else value or b""
    if len(encoded) > row.length or (filler is None and len(encoded) != row.length):
        raise _too_long(number, row.name, len(encoded), row.length)
    return encoded if filler is None else encoded + filler[len(encoded) :]


def _too_long(number: int, name: str, length: int, limit: int) -> PersonalizationError:
    return PersonalizationError("field-too-long", row=number, field=name, length=length, limit=limit)


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
