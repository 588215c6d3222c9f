"""One of every defect that intake knows, as a table: rule, column, and how to bring it about.

Left out are two rules that no workbook of its own can break: `permit-number-seen` needs an earlier batch, and an
unpaired surrogate cannot be written in UTF-8.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from personalization.errors import PersonalizationError
from personalization.intake.applicant import RESIDENCE_COLUMNS, Column, PermitType, Severity
from personalization.intake.cells import CellFlaw, FlawedCell
from personalization.intake.check_digits import citizen_check_character, luhn_check_digit
from personalization.intake.limits import ArchiveLimits
from personalization.intake.sample.residents import Draft

_C = Column
_BIRTH: Final = slice(6, 14)
_RESIDENCE: Final = RESIDENCE_COLUMNS[0]
_DECLARED_TOO_MANY: Final = 3


@dataclass(frozen=True, slots=True)
class Planted:
    """A defect and the finding that it must give, see `Finding`."""

    rule: str
    row: int
    column: Column
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class Damage:
    """What was planted in a batch.

    Args:
        planted: every finding that is to come.
        declared_count: the count for the file's name, which is one of the defects.
    """

    planted: tuple[Planted, ...]
    declared_count: int


Spoil = Callable[[Sequence[Draft]], None]


@dataclass(frozen=True, slots=True)
class Defect:
    """One row of the table.

    Args:
        rule: that is broken.
        column: at which the finding stands.
        spoil: changes the drafts; each of them gets the finding.
        suits: drafts that the defect can be planted in.
        rows: how many drafts are spoiled.
        loose: the finding belongs to no row of the first sheet and stands at row 0.
        severity: of the finding.
    """

    rule: str
    column: Column
    spoil: Spoil
    suits: Callable[[Draft], bool] = lambda _: True
    rows: int = 1
    loose: bool = False
    severity: Severity = Severity.ERROR


def _kind(draft: Draft) -> str:
    return draft.text(_C.PERMIT_NUMBER)[8]


def _is_child(draft: Draft) -> bool:
    return _kind(draft) == PermitType.CHILD


def _is_adult(draft: Draft) -> bool:
    return not _is_child(draft)


def _is_citizen_card(draft: Draft) -> bool:
    return _kind(draft) == PermitType.CITIZEN_CARD


def _is_plain(draft: Draft) -> bool:
    return _is_adult(draft) and not _is_citizen_card(draft)


def _has_residence(draft: Draft) -> bool:
    return draft.residence is not None


def _put(column: Column, text: str) -> Spoil:
    return lambda drafts: drafts[0].put(column, text)


def _change(column: Column, change: Callable[[str], str]) -> Spoil:
    return lambda drafts: drafts[0].put(column, change(drafts[0].text(column)))


def _flaw(column: Column, flaw: CellFlaw) -> Spoil:
    return lambda drafts: drafts[0].put(column, FlawedCell(flaw, drafts[0].text(column)))


def _put_residence(column: Column, text: str) -> Spoil:
    def spoil(drafts: Sequence[Draft]) -> None:
        residence = drafts[0].residence
        if residence is not None:
            residence[column - _RESIDENCE] = text

    return spoil


def _rename(drafts: Sequence[Draft], number: str) -> None:
    """Give the applicant another citizen number everywhere it stands."""
    draft = drafts[0]
    old = draft.text(_C.CITIZEN_NUMBER)
    draft.put(_C.CITIZEN_NUMBER, number)
    draft.pictures = [(name.replace(old, number), content) for name, content in draft.pictures]
    if draft.residence is not None:
        draft.residence[0] = number


def _renumber(change: Callable[[str], str]) -> Spoil:
    """Change the first 17 characters of the citizen number and make its check character right again."""

    def spoil(drafts: Sequence[Draft]) -> None:
        body = change(drafts[0].text(_C.CITIZEN_NUMBER)[:-1])
        _rename(drafts, body + citizen_check_character(body))

    return spoil


def _wrong_check_character(drafts: Sequence[Draft]) -> None:
    number = drafts[0].text(_C.CITIZEN_NUMBER)
    _rename(drafts, number[:-1] + ("1" if number[-1] != "1" else "2"))


def _late_birth_under_old_code(drafts: Sequence[Draft]) -> None:
    # 330325 was the county of Rui'an until it became a city: last listed in 1986.
    body = f"3303252012{drafts[0].text(_C.CITIZEN_NUMBER)[10:17]}"
    drafts[0].put(_C.BIRTH_DATE, body[_BIRTH])
    _rename(drafts, body + citizen_check_character(body))


def _early_birth(drafts: Sequence[Draft]) -> None:
    number = drafts[0].text(_C.CITIZEN_NUMBER)
    body = f"33032718990101{number[14:17]}"
    drafts[0].put(_C.BIRTH_DATE, body[_BIRTH])
    _rename(drafts, body + citizen_check_character(body))


def _birth_after_issue(drafts: Sequence[Draft]) -> None:
    draft = drafts[0]
    body = f"330327{draft.text(_C.PRODUCTION_DATE)}{draft.text(_C.CITIZEN_NUMBER)[14:17]}"
    draft.put(_C.BIRTH_DATE, body[_BIRTH])
    _rename(drafts, body + citizen_check_character(body))


def _same(column: Column) -> Spoil:
    return lambda drafts: drafts[1].put(column, drafts[0].text(column))


def _same_citizen(drafts: Sequence[Draft]) -> None:
    first, second = drafts
    for column in (_C.CITIZEN_NUMBER, _C.BIRTH_DATE, _C.SEX):
        second.put(column, first.text(column))
    second.pictures, second.residence = [], None


def _same_residence(drafts: Sequence[Draft]) -> None:
    first, second = drafts
    if first.residence is not None:
        second.residence = list(first.residence)


def _other_account(text: str) -> str:
    return text[:-1] + str((int(text[-1]) + 1) % 10)


def _picture(make: Callable[[bytes], bytes]) -> Spoil:
    def spoil(drafts: Sequence[Draft]) -> None:
        drafts[0].pictures = [(name, make(content)) for name, content in drafts[0].pictures]

    return spoil


def _redrawn(width: int, height: int) -> Callable[[bytes], bytes]:
    def make(content: bytes) -> bytes:
        stream = io.BytesIO()
        Image.open(io.BytesIO(content)).resize((width, height)).save(stream, "JPEG")
        return stream.getvalue()

    return make


def _blank(width: int, height: int) -> Callable[[bytes], bytes]:
    def make(_: bytes) -> bytes:
        stream = io.BytesIO()
        Image.new("1", (width, height), 1).save(stream, "PNG")
        return stream.getvalue()

    return make


def _no_picture(drafts: Sequence[Draft]) -> None:
    drafts[0].pictures = []


def _second_picture(drafts: Sequence[Draft]) -> None:
    name, content = drafts[0].pictures[0]
    drafts[0].pictures.append((name.replace(".jpg", ".jpeg"), content))


def _stray_picture(drafts: Sequence[Draft]) -> None:
    drafts[0].pictures.append(("110101190001010000.jpg", drafts[0].pictures[0][1]))


def _stray_residence(drafts: Sequence[Draft]) -> None:
    if drafts[0].residence is not None:
        drafts[0].residence[0] = "11010519491231002X"  # the example of GB 11643


def _long_fields(drafts: Sequence[Draft]) -> None:
    # Each within its own limit, together more than EF.IDENTITY holds: characters of four bytes.
    for column, length in ((_C.NAME, 50), (_C.REGISTERED_ADDRESS, 100), (_C.ISSUING_AUTHORITY, 100)):
        drafts[0].put(column, "𠮷" * length)


def _long_residence(drafts: Sequence[Draft]) -> None:
    if drafts[0].residence is not None:
        drafts[0].residence[1] = "𠮷" * 100
        drafts[0].residence[4] = "𠮷" * 100


def _surplus_cell(drafts: Sequence[Draft]) -> None:
    drafts[0].cells.append("备注")


_WARNING: Final = Severity.WARNING
_TALL: Final = 300

DEFECTS: Final[tuple[Defect, ...]] = (
    Defect("cell-formula", _C.CITIZEN_NUMBER, _flaw(_C.CITIZEN_NUMBER, CellFlaw.FORMULA)),
    Defect("cell-number", _C.BANK_ACCOUNT, _flaw(_C.BANK_ACCOUNT, CellFlaw.NUMBER), _is_adult),
    Defect("cell-number", _C.ISSUE_DATE, _flaw(_C.ISSUE_DATE, CellFlaw.NUMBER)),
    Defect("cell-not-text", _C.SERVICE_HOTLINE, _flaw(_C.SERVICE_HOTLINE, CellFlaw.OTHER)),
    Defect("cell-empty", _C.NAME, _put(_C.NAME, "")),
    Defect("row-columns", _C.ROW, _surplus_cell),
    Defect("text-control", _C.NAME, _change(_C.NAME, lambda text: f"{text}\N{ZERO WIDTH SPACE}")),
    Defect("text-noncharacter", _C.NAME, _change(_C.NAME, lambda text: f"{text}\N{REPLACEMENT CHARACTER}")),
    Defect("text-private-use", _C.NAME, _change(_C.NAME, lambda text: f"{text}\ue863")),
    Defect("text-spaces", _C.NAME, _change(_C.NAME, lambda text: f"{text}\N{IDEOGRAPHIC SPACE}")),
    Defect("text-not-composed", _C.NAME, _change(_C.NAME, lambda text: f"{text}\uf9dd")),
    Defect("text-too-long", _C.NAME, _put(_C.NAME, "阿" * 51)),
    Defect("text-too-long", _C.REGISTERED_ADDRESS, _put(_C.REGISTERED_ADDRESS, "村" * 101)),
    Defect("identity-too-long", _C.REGISTERED_ADDRESS, _long_fields),
    Defect("permit-number-format", _C.PERMIT_NUMBER, _change(_C.PERMIT_NUMBER, lambda text: f"{text[:-1]}X")),
    Defect(
        "permit-type-two-digits",
        _C.PERMIT_NUMBER,
        _change(_C.PERMIT_NUMBER, lambda text: f"{text[:8]}0{text[9:]}"),
        _is_plain,
        severity=_WARNING,
    ),
    Defect(
        "citizen-number-format",
        _C.CITIZEN_NUMBER,
        lambda drafts: _rename(drafts, "330327900101123"),
        lambda draft: draft.residence is None,
    ),
    Defect("citizen-number-check-digit", _C.CITIZEN_NUMBER, _wrong_check_character),
    Defect("citizen-number-birth-date", _C.CITIZEN_NUMBER, _renumber(lambda body: f"{body[:10]}0230{body[14:]}")),
    Defect("division-unknown", _C.CITIZEN_NUMBER, _renumber(lambda body: f"339999{body[6:]}")),
    Defect("division-abolished", _C.CITIZEN_NUMBER, _late_birth_under_old_code),
    Defect("sex-code", _C.SEX, _put(_C.SEX, "男")),
    Defect("sex-mismatch", _C.SEX, _change(_C.SEX, lambda text: "02" if text == "01" else "01")),
    Defect("birth-date-mismatch", _C.BIRTH_DATE, _put(_C.BIRTH_DATE, "19011213")),
    Defect("birth-date-implausible", _C.BIRTH_DATE, _early_birth),
    Defect("ethnic-group-code", _C.ETHNIC_GROUP, _put(_C.ETHNIC_GROUP, "57")),
    Defect("date-format", _C.ISSUE_DATE, _change(_C.ISSUE_DATE, lambda text: f"{text[:4]}-{text[4:6]}-{text[6:]}")),
    Defect("date-not-real", _C.PRODUCTION_DATE, _put(_C.PRODUCTION_DATE, "20260931")),
    Defect("issue-date-implausible", _C.ISSUE_DATE, _put(_C.ISSUE_DATE, "20150901"), _is_adult),
    Defect("issue-before-birth", _C.ISSUE_DATE, _birth_after_issue),
    Defect("endorsement-before-issue", _C.ENDORSEMENT_DUE, _put(_C.ENDORSEMENT_DUE, "20260801")),
    Defect("production-before-issue", _C.PRODUCTION_DATE, _put(_C.PRODUCTION_DATE, "20260801")),
    Defect("production-after-endorsement", _C.ENDORSEMENT_DUE, _change(_C.PRODUCTION_DATE, lambda _: "20280101")),
    Defect("area-mismatch", _C.AREA_CODE, _put(_C.AREA_CODE, "330105")),
    Defect("bank-account-missing", _C.BANK_ACCOUNT, _put(_C.BANK_ACCOUNT, ""), _is_adult),
    Defect(
        "bank-account-on-child",
        _C.BANK_ACCOUNT,
        _put(_C.BANK_ACCOUNT, "999933038199999900" + luhn_check_digit("999933038199999900")),
        _is_child,
    ),
    Defect("bank-account-format", _C.BANK_ACCOUNT, _change(_C.BANK_ACCOUNT, lambda text: text[:14]), _is_adult),
    Defect(
        "bank-account-check-digit",
        _C.BANK_ACCOUNT,
        _change(_C.BANK_ACCOUNT, _other_account),
        _is_adult,
        severity=_WARNING,
    ),
    Defect("citizen-card-missing", _C.CITIZEN_CARD_NUMBER, _put(_C.CITIZEN_CARD_NUMBER, ""), _is_citizen_card),
    Defect("citizen-card-not-allowed", _C.CITIZEN_CARD_NUMBER, _put(_C.CITIZEN_CARD_NUMBER, "Z00000001"), _is_plain),
    Defect(
        "citizen-card-number-format",
        _C.CITIZEN_CARD_NUMBER,
        _put(_C.CITIZEN_CARD_NUMBER, "A00000001"),
        _is_citizen_card,
    ),
    Defect(
        "citizen-card-account-format",
        _C.CITIZEN_CARD_ACCOUNT,
        _change(_C.CITIZEN_CARD_ACCOUNT, lambda text: text[:15]),
        _is_citizen_card,
    ),
    Defect("duplicate-permit-number", _C.PERMIT_NUMBER, _same(_C.PERMIT_NUMBER), _is_plain, rows=2),
    Defect("duplicate-citizen-number", _C.CITIZEN_NUMBER, _same_citizen, rows=2),
    Defect("duplicate-bank-account", _C.BANK_ACCOUNT, _same(_C.BANK_ACCOUNT), _is_adult, rows=2),
    Defect("portrait-missing", _C.PORTRAIT, _no_picture),
    Defect("portrait-several", _C.PORTRAIT, _second_picture),
    Defect("portrait-without-row", _C.PORTRAIT, _stray_picture, loose=True),
    Defect("portrait-unreadable", _C.PORTRAIT, _picture(lambda content: content[: len(content) // 2])),
    Defect("portrait-unreadable", _C.PORTRAIT, _picture(lambda _: b"%PDF-1.7 no picture at all")),
    Defect("portrait-too-small", _C.PORTRAIT, _picture(_redrawn(50, 70))),
    Defect("portrait-too-large", _C.PORTRAIT, _picture(_blank(3000, 4200))),
    Defect("portrait-aspect", _C.PORTRAIT, _picture(_redrawn(_TALL, _TALL))),
    Defect(
        "portrait-file-too-large",
        _C.PORTRAIT,
        _picture(lambda content: content + bytes(ArchiveLimits().picture_bytes + 1 - len(content))),
    ),
    Defect("cell-empty", _C.CURRENT_ADDRESS, _put_residence(_C.CURRENT_ADDRESS, ""), _has_residence),
    Defect("date-not-real", _C.REGISTRATION_DATE, _put_residence(_C.REGISTRATION_DATE, "20250229"), _has_residence),
    Defect("residence-too-long", _C.CURRENT_ADDRESS, _long_residence, _has_residence),
    Defect("residence-without-row", _C.RESIDENCE_CITIZEN_NUMBER, _stray_residence, _has_residence),
    Defect("duplicate-residence", _C.RESIDENCE_CITIZEN_NUMBER, _same_residence, _has_residence, rows=2),
)


def plant_defects(drafts: Sequence[Draft], seed: int, first_row: int) -> Damage:
    """Plant every defect of the table, each in drafts of its own.

    Args:
        drafts: good ones; those chosen are changed.
        seed: chooses the drafts.
        first_row: row of the first draft, and of the first residence, in their sheets.

    Raises:
        PersonalizationError: `sample-too-small` when the drafts have no room for a defect.
    """
    order = list(range(len(drafts)))
    random.Random(f"{seed}/defects").shuffle(order)
    chosen: list[tuple[Defect, list[int]]] = []
    # Defects that few drafts suit come first; the sort is stable, so the choice is the same each time.
    for defect in sorted(DEFECTS, key=lambda defect: (sum(map(defect.suits, drafts)), -defect.rows)):
        places = [place for place in order if defect.suits(drafts[place])][: defect.rows]
        if len(places) < defect.rows:
            raise PersonalizationError("sample-too-small", exit_code=2, count=len(drafts), rule=defect.rule)
        order = [place for place in order if place not in places]
        chosen.append((defect, sorted(places)))
    for defect, places in chosen:
        defect.spoil([drafts[place] for place in places])
    residence_places = [place for place, draft in enumerate(drafts) if draft.residence is not None]
    planted = [
        Planted("row-count", 0, Column.ROW),
        *(
            Planted(defect.rule, first_row + _place_of(defect, place, residence_places), defect.column, defect.severity)
            for defect, places in chosen
            if not defect.loose
            for place in places
        ),
        *(Planted(defect.rule, 0, defect.column, defect.severity) for defect, _ in chosen if defect.loose),
    ]
    planted.sort(key=lambda entry: (entry.column in RESIDENCE_COLUMNS, entry.row, entry.column, entry.rule))
    return Damage(tuple(planted), len(drafts) + _DECLARED_TOO_MANY)


def _place_of(defect: Defect, place: int, residence_places: list[int]) -> int:
    """Where the finding stands in its sheet, counted from 0."""
    return residence_places.index(place) if defect.column in RESIDENCE_COLUMNS else place
