"""Every policy at its boundaries, and every rule of it shown to matter."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import resources
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from personalization.errors import PersonalizationError
from personalization.permit.eligibility import Eligibility, decide
from personalization.permit.evidence import Application, read_application
from personalization.permit.policy.library import policies
from personalization.permit.policy.model import Policy

TABLE: Final = tomllib.loads(Path(__file__).with_name("eligibility_cases.toml").read_text("utf-8"))
DOCUMENTS: Final = {
    policy.name: tomllib.loads(
        resources.files("personalization.permit.policy").joinpath(f"{policy.name}.toml").read_text("utf-8")
    )
    for policy in policies().policies
}


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    policy: str
    application: Application
    verdict: str
    rules: dict[str, str]

    @classmethod
    def read(cls, row: dict[str, Any]) -> Case:
        base: dict[str, Any] = TABLE["base"][row["base"]]
        fields = {key: value for key, value in base.items() if key != "policy"} | row.get("with", {})
        application = Application.model_validate(fields)
        return cls(row["name"], base["policy"], application, row["verdict"], row.get("rules", {}))

    def holds(self, answer: Eligibility) -> bool:
        outcomes = {finding.rule: finding.outcome.code for finding in answer.findings()}
        return answer.verdict == self.verdict and all(
            outcomes.get(rule) == outcome for rule, outcome in self.rules.items()
        )


CASES: Final = [Case.read(row) for row in TABLE["cases"]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_application_is_judged_as_the_documents_say(case: Case) -> None:
    answer = decide(policies().named(case.policy), case.application)
    outcomes = {finding.rule: finding.outcome.code for finding in answer.findings()}
    assert {rule: outcomes.get(rule) for rule in case.rules} == case.rules
    assert answer.verdict == case.verdict


def test_the_table_is_large_and_each_policy_has_its_cases() -> None:
    assert len(CASES) >= 150
    assert {case.policy for case in CASES} == set(DOCUMENTS)


Document = dict[str, Any]
Place = tuple[str | int, ...]
Change = Callable[[Document], None]
KEPT: Final = frozenset({"id", "source", "evidence", "ground", "counting", "scope", "waives"})


def at_place(document: Document, place: Place) -> Any:
    found: Any = document
    for step in place:
        found = found[step]
    return found


def put(place: Place, value: object, document: Document) -> None:
    at_place(document, place[:-1])[place[-1]] = value


def leave_out(place: Place, document: Document) -> None:
    del at_place(document, place[:-1])[place[-1]]


def mutations(document: Document) -> Iterator[tuple[str, Change]]:
    """Each rule left out, each condition of a rule left out or turned, each number one more and one less."""
    rows: list[Place] = [("residence",)]
    rows += [(kind, at) for kind in ("ways", "minors", "exemptions") for at in range(len(document.get(kind, ())))]
    for row in rows:
        fields: dict[str, Any] = at_place(document, row)
        if len(row) > 1:
            yield f"without {fields['id']}", partial(leave_out, row)
        for key in fields.keys() - KEPT:
            yield from changed(f"{fields['id']}.{key}", (*row, key), fields[key])


def changed(name: str, place: Place, value: object) -> Iterator[tuple[str, Change]]:
    match value:
        case bool():
            yield f"not {name}", partial(put, place, not value)
        case int():
            yield f"{name} one less", partial(put, place, value - 1)
            yield f"{name} one more", partial(put, place, value + 1)
        case list():
            for at in range(len(value)):
                yield f"{name} without item {at}", partial(leave_out, (*place, at))
        case _:
            yield f"without {name}", partial(leave_out, place)


MUTANTS: Final = [
    (name, *mutant) for name in DOCUMENTS for mutant in sorted(mutations(DOCUMENTS[name]), key=itemgetter(0))
]


@pytest.mark.parametrize(("name", "what", "change"), MUTANTS, ids=[f"{name} {what}" for name, what, _ in MUTANTS])
def test_each_rule_matters(name: str, what: str, change: Change) -> None:
    document = copy.deepcopy(DOCUMENTS[name])
    change(document)
    try:
        mutant = Policy.model_validate(document)
    except ValidationError:
        return  # the form of a policy refuses it
    own = [case for case in CASES if case.policy == name]
    assert not all(case.holds(decide(mutant, case.application)) for case in own), f"no case notices: {what}"


def test_an_area_without_a_policy_of_its_own_has_the_provinces() -> None:
    library = policies()
    day = CASES[0].application.applied
    assert library.for_area("330782", day).name == "zhejiang-2016"
    assert library.for_area("330381", day).name == "ruian-2016"


def test_a_draft_is_used_by_name_only() -> None:
    library = policies()
    assert library.for_area("330105", library.named("gongshu-2022-draft").valid_from).name == "zhejiang-2016"


FORM = 'area = "330381"\napplied = 2017-06-30\nbirth_date = 1988-04-12\n'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("area = ", "application-unreadable"),
        ('area = "330381"\napplied = 2017-06-30\n', "application-invalid"),
        ('area = "110101"\napplied = 2017-06-30\nbirth_date = 1988-04-12\n', "application-invalid"),
        ('area = "330381"\napplied = 2017-06-30\nbirth_date = 2017-07-01\n', "application-invalid"),
        (
            f"{FORM}registrations = [{{ area = '330381', first = 2017-02-01, last = 2017-01-01 }}]\n",
            "application-invalid",
        ),
        (f"{FORM}shoe_size = 42\n", "application-invalid"),
    ],
)
def test_an_application_that_is_wrong_is_refused_with_the_place(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "application.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(PersonalizationError) as raised:
        read_application(path)
    assert raised.value.code == code
    assert "1988" not in str(raised.value)


def test_a_file_that_is_not_there_is_a_mistake_of_the_line(tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError) as raised:
        read_application(tmp_path / "none.toml")
    assert (raised.value.code, raised.value.exit_code) == ("application-unreadable", 2)
