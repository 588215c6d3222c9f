"""Cases in the journal: sealed, in the audit trail by number, all or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from permitcard.case_office import SealedCases
from permitcard.specimen import specimen_keys
from personalization.errors import PersonalizationError
from personalization.permit.casework.case import Case
from personalization.permit.casework.states import OPEN_STATES, CaseState, Step
from personalization.production.audit import read_trail, verify_trail
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.cases import find_case
from tests.unit.personalization.casework.case_bench import handed


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture
def cases(journal: Journal) -> SealedCases:
    return SealedCases(journal, specimen_keys(), "li")


def new_case() -> Case:
    given = handed()
    return Case(given.file.kind, given.file, given.portrait, CaseState.ACCEPTED)


def test_a_case_is_kept_sealed_and_comes_back(journal: Journal, cases: SealedCases) -> None:
    case = new_case()
    number = cases.open(case)
    assert cases.find(number) == (number, case, 1)
    sealed = find_case(journal, number).sealed
    assert case.file.person.name.encode() not in sealed
    assert b"citizen" not in sealed
    assert [one.number for one in cases.in_states(OPEN_STATES)] == [number]
    assert cases.in_states(frozenset({CaseState.MADE})) == []


def test_a_sealed_case_is_that_of_its_number_only(journal: Journal, cases: SealedCases) -> None:
    """Whoever swaps two rows of the database is found."""
    first, second = cases.open(new_case()), cases.open(new_case())
    one, other = find_case(journal, first), find_case(journal, second)
    from personalization.production.journal.cases import save_cases

    save_cases(journal, [one._replace(sealed=other.sealed)], "li", "swap")
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        cases.find(first)


def test_the_trail_names_cases_by_number_and_nobody(journal: Journal, cases: SealedCases) -> None:
    number = cases.open(new_case())
    cases.save([cases.find(number)], Step.REVIEW)
    entries, head = read_trail(journal)
    assert verify_trail(entries, [], head).findings == ()
    facts = [json.loads(str(entry["facts"])) for entry in entries if entry["what"] == "case-changed"]
    assert facts == [
        {"case": number, "step": "open", "state": "accepted"},
        {"case": number, "step": "review", "state": "accepted"},
    ]


def test_several_cases_are_saved_all_or_none(journal: Journal, cases: SealedCases) -> None:
    first, second = cases.open(new_case()), cases.open(new_case())
    stale = cases.find(second)
    cases.save([stale], Step.REVIEW)
    before = len(read_trail(journal)[0])
    with pytest.raises(PersonalizationError, match=f"case-changed: number={second}"):
        cases.save([cases.find(first), stale], Step.DELIVER)
    assert cases.find(first).version == 1
    assert len(read_trail(journal)[0]) == before
    with pytest.raises(PersonalizationError, match="case-unknown"):
        cases.find(99)
