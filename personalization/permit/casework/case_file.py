"""What an applicant hands in: the application with its proofs, the person, the home, and the picture; a TOML file.

```
kind = "first"                      # or "recognition", "exchange"

[application]                       # the form of `evidence.Application`

[person]
name = "…"                          # the columns of a delivery that describe the person
portrait = "portrait.jpg"           # beside the file

[home]                              # current residence, as it was registered
```
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator

from personalization.errors import PersonalizationError
from personalization.permit.casework.states import CaseKind
from personalization.permit.evidence import Application, Record

_MAX_BYTES: Final = 1_000_000
_MAX_PORTRAIT: Final = 2_000_000
_Text = Annotated[str, Field(max_length=200)]
PermitNumber = Annotated[str, Field(pattern=r"^\d{18}$")]


class Person(Record):
    """The columns of a delivery that describe the person; intake's rules check them."""

    name: _Text = ""
    sex: _Text = ""
    ethnic_group: _Text = ""
    citizen_number: _Text = ""
    registered_address: _Text = ""
    bank_account: _Text = ""
    citizen_card_number: _Text = ""
    citizen_card_account: _Text = ""
    permit_type: Annotated[str, Field(pattern=r"^\d?$")] = ""
    portrait: _Text = ""


class Home(Record):
    """The current residence: the columns of a delivery's second sheet."""

    address: _Text
    number: _Text
    registered: date
    station: _Text


class CaseFile(Record):
    """One file.

    Attributes:
        held: numbers of permits of other areas that end with mutual recognition.
        talent_permit_number: number of the permit of introduced talent that is given in exchange.
    """

    kind: CaseKind = CaseKind.FIRST
    application: Application
    person: Person
    home: Home | None = None
    held: tuple[PermitNumber, ...] = ()
    talent_permit_number: _Text = ""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if self.kind is CaseKind.EXCHANGE and not (self.talent_permit_number and self.application.talent_permit):
            raise ValueError("an exchange needs talent_permit_number and application.talent_permit")
        if self.kind is CaseKind.RECOGNITION and self.application.permit and not self.held:
            raise ValueError("held is missing: the number of the permit that ends with the recognition")
        return self


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A file with its picture; empty where none came."""

    file: CaseFile = field(repr=False)
    portrait: bytes = field(repr=False)


def read_case_file(path: Path) -> HandedIn:
    """Read what an applicant handed in.

    Raises:
        PersonalizationError: "application-unreadable" (exit 2) with the cause, "application-invalid" (exit 1) with the
            places that are wrong; values are not shown, for they are personal. "case-ordered" (exit 2): a replacement
            is ordered at a desk.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise PersonalizationError("application-unreadable", exit_code=2, path=path, cause="too large")
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PersonalizationError("application-unreadable", exit_code=2, path=path, cause=error.strerror) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise PersonalizationError("application-unreadable", exit_code=2, path=path, cause="no TOML in UTF-8") from None
    try:
        file = CaseFile.model_validate(content)
        if file.kind is CaseKind.REPLACEMENT:
            raise PersonalizationError("case-ordered", exit_code=2)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise PersonalizationError("application-invalid", path=path, places=places) from None
    return HandedIn(file, _portrait(path, file.person.portrait))


def _portrait(path: Path, name: str) -> bytes:
    if not name:
        return b""
    picture = path.parent / name
    try:
        if picture.stat().st_size > _MAX_PORTRAIT:
            raise PersonalizationError("application-unreadable", exit_code=2, path=picture, cause="too large")
        return picture.read_bytes()
    except OSError as error:
        raise PersonalizationError("application-unreadable", exit_code=2, path=picture, cause=error.strerror) from error
