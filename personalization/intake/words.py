"""Words for findings in English and Chinese, and the names of the columns in both."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final, Protocol

from personalization.intake.applicant import RESIDENCE_COLUMNS, Column
from personalization.intake.delivery import HEADINGS

LANGUAGES: Final = ("en", "zh")

_ENGLISH: Final[Mapping[Column, str]] = {
    Column.PERMIT_NUMBER: "permit number",
    Column.NAME: "name",
    Column.BIRTH_DATE: "date of birth",
    Column.SEX: "sex",
    Column.ETHNIC_GROUP: "ethnic group",
    Column.CITIZEN_NUMBER: "citizen number",
    Column.REGISTERED_ADDRESS: "household registration",
    Column.ISSUE_DATE: "issue date",
    Column.ISSUING_AUTHORITY: "issuing authority",
    Column.SERVICE_HOTLINE: "service hotline",
    Column.BANK_ACCOUNT: "bank account",
    Column.ENDORSEMENT_DUE: "validity",
    Column.AREA_CODE: "area code",
    Column.PRODUCTION_DATE: "production date",
    Column.CITIZEN_CARD_NUMBER: "citizen-card number",
    Column.CITIZEN_CARD_ACCOUNT: "citizen-card account",
    Column.RESIDENCE_CITIZEN_NUMBER: "citizen number",
    Column.CURRENT_ADDRESS: "current address",
    Column.REGISTRATION_NUMBER: "registration number",
    Column.REGISTRATION_DATE: "registration date",
    Column.REGISTERING_STATION: "registering station",
    Column.PORTRAIT: "picture",
    Column.ROW: "row",
}
_PLACE: Final = re.compile(r"\{\w+\}")
_NOT_IN_A_SHEET: Final = {Column.PORTRAIT: "照片", Column.ROW: "行"}


class Translator(Protocol):
    """Turns a code with parameters into a sentence of one language."""

    def __call__(self, code: str, **parameters: object) -> str:
        """The sentence for ``code``."""
        ...


class Words:
    """The catalogue of one language; codes are `rule.<code>.finding`, `rule.<code>.action`, `error.<code>`."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        self.templates = MappingProxyType(dict(templates))

    def __call__(self, code: str, **parameters: object) -> str:
        """The sentence for ``code``; a code or parameter that is missing is shown by its name."""
        return self.templates.get(code, code).format_map(_Facts(parameters))


class _Facts(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


@functools.cache
def words(language: str) -> Words:
    """The catalogue of ``language``, one of `LANGUAGES`."""
    text = resources.files("personalization.intake").joinpath("messages", f"{language}.toml").read_text("utf-8")
    return Words(dict(_flat("", tomllib.loads(text))))


def rule_title(code: str, language: str) -> str:
    """What a rule finds, with … for what it is about in a row; empty when intake has no such rule."""
    return _PLACE.sub("…", words(language).templates.get(f"rule.{code}.finding", ""))


def column_place(column: Column) -> str:
    """The number of a column in its sheet as a person counts; "" for what is in no sheet."""
    if column in RESIDENCE_COLUMNS:
        return str(column - RESIDENCE_COLUMNS[0] + 1)
    return "" if column in _NOT_IN_A_SHEET else str(int(column))


def column_title(column: Column, language: str = "en") -> str:
    """Number and Chinese heading of a column, which is that of the sheet; in English its English name, too."""
    chinese = HEADINGS.get(column) or _NOT_IN_A_SHEET[column]
    return f"{column_place(column)} {chinese} {_ENGLISH[column] if language == 'en' else ''}".strip()


def _flat(prefix: str, table: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value)
