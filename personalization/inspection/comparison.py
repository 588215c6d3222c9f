"""Contents of the permit's files against the source data.

Inspection decodes on its own, by the published card specification and not by the rows that preparation worked with:
what one side reads wrong, the other finds.

Source: card specification, "Files" and "Data objects"; GA/T 490-2019 (text record of 256 bytes).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from card_os.iso7816.tlv import TlvError, iterate
from personalization.inspection.checks import CheckList
from personalization.inspection.masking import Masking, masked
from personalization.intake.applicant import Applicant
from personalization.preparation.data_groups import BankProgramme

_DATE: Final = "%Y%m%d"
_UNIT: Final = 2
_VALID: Final = 1
_INACTIVE: Final = "00"


@dataclass(frozen=True, slots=True)
class TextObject:
    """A data object of a TLV file: tag, name of the check, what it should hold, how it is shown."""

    tag: int
    name: str
    expected: Callable[[Applicant, BankProgramme], str | None]
    masking: Masking


@dataclass(frozen=True, slots=True)
class TlvFile:
    """A TLV file: its name, its template, the prefix of its checks, its objects."""

    name: str
    template: int
    prefix: str
    objects: tuple[TextObject, ...]


IDENTITY: Final = TlvFile(
    "EF.IDENTITY",
    0x7F01,
    "field",
    (
        TextObject(0x5F20, "name", lambda a, _: a.name, Masking.NAME),
        TextObject(0x5F2B, "birth_date", lambda a, _: a.birth_date.strftime(_DATE), Masking.BIRTH_DATE),
        TextObject(0x5F35, "sex", lambda a, _: a.sex, Masking.HIDDEN),
        TextObject(0xDF01, "ethnic_group", lambda a, _: a.ethnic_group, Masking.HIDDEN),
        TextObject(0xDF02, "citizen_number", lambda a, _: a.citizen_number, Masking.NUMBER),
        TextObject(0x5F42, "registered_address", lambda a, _: a.registered_address, Masking.PLACE),
        TextObject(0xDF03, "permit_number", lambda a, _: a.permit_number, Masking.NUMBER),
        TextObject(0xDF04, "permit_type", lambda a, _: a.permit_number[8], Masking.OPEN),
        TextObject(0xDF05, "issuing_authority", lambda a, _: a.issuing_authority, Masking.OPEN),
        TextObject(0x5F26, "issue_date", lambda a, _: a.issue_date.strftime(_DATE), Masking.OPEN),
        TextObject(0xDF06, "service_hotline", lambda a, _: a.service_hotline, Masking.OPEN),
        TextObject(0xDF07, "area_code", lambda a, _: a.area_code, Masking.OPEN),
        TextObject(0xDF08, "production_date", lambda a, _: a.production_date.strftime(_DATE), Masking.OPEN),
    ),
)
RESIDENCE: Final = TlvFile(
    "EF.RESIDENCE",
    0x7F02,
    "residence",
    (
        TextObject(
            0xDF11, "current_address", lambda a, _: a.residence.current_address if a.residence else None, Masking.PLACE
        ),
        TextObject(
            0xDF12,
            "registration_number",
            lambda a, _: a.residence.registration_number if a.residence else None,
            Masking.NUMBER,
        ),
        TextObject(
            0xDF13,
            "registration_date",
            lambda a, _: a.residence.registration_date.strftime(_DATE) if a.residence else None,
            Masking.OPEN,
        ),
        TextObject(
            0xDF14,
            "registering_station",
            lambda a, _: a.residence.registering_station if a.residence else None,
            Masking.OPEN,
        ),
    ),
)
ENTITLEMENTS: Final = TlvFile("EF.ENTITLEMENTS", 0x7F03, "entitlements", ())
LINKED: Final = TlvFile(
    "EF.LINKED",
    0x7F04,
    "linked",
    (
        TextObject(0xDF31, "citizen_card_number", lambda a, _: a.citizen_card_number, Masking.NUMBER),
        TextObject(0xDF32, "citizen_card_account", lambda a, _: a.citizen_card_account, Masking.NUMBER),
    ),
)
BANK: Final = TlvFile(
    "EF.BANK",
    0x7F05,
    "bank",
    (
        TextObject(0xDF41, "bank_name", lambda a, b: b.bank_name if a.bank_account else None, Masking.OPEN),
        TextObject(0x5A, "account_number", lambda a, _: a.bank_account, Masking.NUMBER),
        TextObject(0xDF42, "product", lambda a, b: b.product if a.bank_account else None, Masking.OPEN),
        TextObject(0xDF43, "activation", lambda a, _: _INACTIVE if a.bank_account else None, Masking.OPEN),
    ),
)
_CODED: Final = frozenset({0xDF43})


@dataclass(frozen=True, slots=True)
class RecordField:
    """A field of the GA/T 490 record: offset and length in bytes, name, what it should begin with, how it is shown."""

    offset: int
    length: int
    name: str
    expected: Callable[[Applicant], str]
    masking: Masking


GA490_LENGTH: Final = 256
GA490: Final = (
    RecordField(0, 30, "name", lambda a: a.name, Masking.NAME),
    RecordField(30, 2, "sex", lambda a: a.sex, Masking.HIDDEN),
    RecordField(32, 4, "ethnic_group", lambda a: a.ethnic_group, Masking.HIDDEN),
    RecordField(36, 16, "birth_date", lambda a: a.birth_date.strftime(_DATE), Masking.BIRTH_DATE),
    RecordField(52, 70, "registered_address", lambda a: a.registered_address, Masking.PLACE),
    RecordField(122, 36, "citizen_number", lambda a: a.citizen_number, Masking.NUMBER),
    RecordField(158, 30, "issuing_authority", lambda a: a.issuing_authority, Masking.OPEN),
    RecordField(188, 16, "valid_from", lambda a: a.issue_date.strftime(_DATE), Masking.OPEN),
    RecordField(204, 16, "valid_until", lambda _: "长期", Masking.OPEN),
    RecordField(220, 36, "reserved", lambda _: "", Masking.OPEN),
)

STATUS_LENGTH: Final = 32


def objects_of(file: TlvFile, content: bytes) -> dict[int, bytes] | None:
    """The data objects in a file by tag, {} for a file without template; None when it is malformed or repeats a tag."""
    try:
        templates = list(iterate(content, padding=True))
        if not templates:
            return {}
        if len(templates) != 1 or templates[0].tag != file.template:
            return None
        objects = templates[0].children()
    except TlvError:
        return None
    found = {item.tag: item.value for item in objects}
    return found if len(found) == len(objects) else None


def compare_tlv(checks: CheckList, file: TlvFile, content: bytes, applicant: Applicant, bank: BankProgramme) -> None:
    """Every object that should be there, and no other one."""
    found = objects_of(file, content)
    if found is None:
        checks.add(f"{file.prefix}.form", False)
        return
    checks.add(f"{file.prefix}.form", found.keys() <= {row.tag for row in file.objects})
    if not found and all(row.expected(applicant, bank) is None for row in file.objects):
        checks.add(f"empty.{file.name}", not any(content))
        return
    for row in file.objects:
        value = found.get(row.tag)
        checks.compare(
            f"{file.prefix}.{row.name}", _decoded(row.tag, value), row.expected(applicant, bank), row.masking
        )


def compare_record(checks: CheckList, content: bytes, applicant: Applicant) -> None:
    """The GA/T 490 record: every field holds as much of the full text as goes in, cut between characters."""
    if not checks.add("record.length", len(content) == GA490_LENGTH, str(len(content)), str(GA490_LENGTH)):
        return
    for row in GA490:
        expected = row.expected(applicant)
        try:
            found = content[row.offset : row.offset + row.length].decode("utf-16-le")
        except UnicodeDecodeError:
            checks.add(f"record.{row.name}", False, "", masked(expected, row.masking))
            continue
        passed = is_well_cut(found, expected, row.length // _UNIT)
        shown = found.rstrip(" ")
        checks.add(f"record.{row.name}", passed, masked(shown, row.masking), masked(expected, row.masking))


def is_well_cut(found: str, full: str, units: int) -> bool:
    """True when ``found`` is ``full``, or its beginning up to the last character that goes in, padded with spaces."""
    kept = len(found.rstrip(" "))
    while kept < len(full) and found[kept : kept + 1] == full[kept] == " ":
        kept += 1
    if found[:kept] != full[:kept] or found[kept:].strip(" "):
        return False
    if kept == len(full):
        return True
    end = kept + 1
    while end < len(full) and unicodedata.category(full[end]).startswith("M"):
        end += 1
    whole = not unicodedata.category(full[kept]).startswith("M")
    return whole and len(full[:end].encode("utf-16-le")) // _UNIT > units


def compare_status(checks: CheckList, content: bytes, applicant: Applicant) -> None:
    """EF.STATUS: valid, due as delivered, since the day of issue."""
    if not checks.add("status.length", len(content) == STATUS_LENGTH, str(len(content)), str(STATUS_LENGTH)):
        return
    checks.add("status.status", content[0] == _VALID, f"{content[0]:02X}", f"{_VALID:02X}")
    fields = (
        ("due_date", content[1:9], applicant.endorsement_due.strftime(_DATE)),
        ("status_date", content[9:17], applicant.issue_date.strftime(_DATE)),
        ("area_code", content[17:23], applicant.area_code),
    )
    for name, found, expected in fields:
        checks.compare(f"status.{name}", found.decode("ascii", errors="replace"), expected, Masking.OPEN)
    checks.add("status.reserved", not any(content[23:]))


def _decoded(tag: int, value: bytes | None) -> str | None:
    if value is None:
        return None
    return value.hex() if tag in _CODED else value.decode("utf-8", errors="replace")
