"""Applications, clerks and a place for cases in memory."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from personalization.errors import PersonalizationError
from personalization.intake.sample.faces import draw_portrait
from personalization.permit.casework.case import Case, Numbered
from personalization.permit.casework.case_file import CaseFile, HandedIn
from personalization.permit.casework.delivery import IssuingOffice
from personalization.permit.casework.office import CaseOffice, Clerk
from personalization.permit.casework.states import CaseState, Step, Worker
from personalization.permit.policy.library import policies

AREA: Final = "330381"
RECOGNISING: Final = "331123"
"""Suichang has mutual recognition."""

APPLIED: Final = dt.date(2026, 6, 1)
ISSUER: Final = IssuingOffice("瑞安市公安局", "0577-12345")


@cache
def portrait() -> bytes:
    return draw_portrait(random.Random("case"))


def application(area: str = AREA, **changes: Any) -> dict[str, Any]:
    """Somebody who may have a permit: registered for a year, with a contract and a lease."""
    return {
        "area": area,
        "applied": "2026-06-01",
        "birth_date": "1949-12-31",
        "registrations": [{"area": area, "first": "2025-05-01"}],
        "contracts": [{"area": area, "first": "2025-05-10", "last": "2027-05-09", "working_since": "2025-05-10"}],
        **changes,
    }


def person(**changes: Any) -> dict[str, Any]:
    """The citizen number is the example of GB 11643-1999."""
    return {
        "name": "样𠮷卡",
        "sex": "02",
        "ethnic_group": "01",
        "citizen_number": "11010519491231002X",
        "registered_address": "北京市朝阳区样本路1号",
        "bank_account": "9999900000000000017",
        "portrait": "portrait.jpg",
        **changes,
    }


HOME: Final = {
    "address": "浙江省瑞安市样本街道样本路9号",
    "number": "330381202600001",
    "registered": "2025-06-01",
    "station": "样本派出所",
}


def handed(picture: bytes | None = None, **changes: Any) -> HandedIn:
    content = {"application": application(), "person": person(), "home": HOME, **changes}
    return HandedIn(CaseFile.model_validate(content), portrait() if picture is None else picture)


class MemoryCases:
    """Cases as bytes, as the journal keeps them."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[bytes, int]] = {}
        self.said: list[tuple[Step, list[int]]] = []

    def open(self, case: Case) -> int:
        number = len(self.kept) + 1
        self.kept[number] = (case.encode(), 1)
        return number

    def find(self, number: int) -> Numbered:
        if number not in self.kept:
            raise PersonalizationError("case-unknown", exit_code=2, number=number)
        raw, version = self.kept[number]
        return Numbered(number, Case.decode(raw), version)

    def in_states(self, states: frozenset[CaseState]) -> list[Numbered]:
        return [one for one in map(self.find, sorted(self.kept)) if one.case.state in states]

    def save(self, changed: list[Numbered], step: Step) -> None:
        for number, _, version in changed:
            if self.kept[number][1] != version:
                raise PersonalizationError("case-changed", number=number)
        for number, case, version in changed:
            self.kept[number] = (case.encode(), version + 1)
        self.said.append((step, [one.number for one in changed]))


def office(
    cases: MemoryCases, name: str, workers: Iterable[Worker] = tuple(Worker), *, alone: bool = False
) -> CaseOffice:
    granted = frozenset(workers)

    def require(worker: Worker) -> None:
        if worker not in granted:
            raise PersonalizationError("role-missing", exit_code=2, operator=name, role=worker.value)

    return CaseOffice(cases, Clerk(name, require, alone), policies())
