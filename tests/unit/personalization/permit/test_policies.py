"""The review of policies: gaps, contradictions, and rules that decide nothing; a new city is a new file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from personalization.errors import PersonalizationError
from personalization.permit.evidence import School
from personalization.permit.policy.library import PolicyLibrary, policies, policies_with, read_policy
from personalization.permit.policy.model import Counting, Evidence, Policy
from personalization.permit.policy.review import review

ALL = policies().policies
RUIAN = policies().named("ruian-2016")
PROVINCE = policies().named("zhejiang-2016")

YIWU = """
name = "yiwu-2018"
title = { zh = "义乌市", en = "Yiwu" }
document = "…"
valid_from = 2018-01-01
areas = ["330782"]

[residence]
id = "residence.registered"
months = 6
source = { clause = "1", quote = "半年以上" }

[[ways]]
id = "employment.business"
evidence = "businesses"
source = { clause = "2", quote = "经商" }

[[ways]]
id = "dwelling.rental"
evidence = "rental"
source = { clause = "2", quote = "租赁" }

[[ways]]
id = "study.enrolled"
evidence = "enrolments"
source = { clause = "2", quote = "就读" }
"""


def test_the_policies_that_come_with_the_product_are_sound() -> None:
    assert review(ALL) == []
    assert {policy.name for policy in ALL} == {
        "zhejiang-2016",
        "ruian-2016",
        "zhoushan-2016",
        "gongshu-2022-draft",
        "suichang-2023",
    }


def with_way(policy: Policy, at: int, **changes: object) -> Policy:
    ways = list(policy.ways)
    ways[at] = ways[at].model_copy(update=changes)
    return policy.model_copy(update={"ways": tuple(ways)})


def way(policy: Policy, evidence: Evidence) -> int:
    return next(at for at, rule in enumerate(policy.ways) if rule.evidence is evidence)


MINOR = policies().named("gongshu-2022-draft").minors[0]
ASKS_NOTHING = MINOR.model_copy(update={"guardians_permits": False, "insurance_months": None})
FAULTS: list[tuple[str, Callable[[], list[Policy]]]] = [
    ("rule-twice", lambda: [PROVINCE, RUIAN.model_copy(update={"ways": (*RUIAN.ways, RUIAN.ways[0])})]),
    (
        "ground-without-rule",
        lambda: [PROVINCE, RUIAN.model_copy(update={"ways": tuple(r for r in RUIAN.ways if r.ground != "study")})],
    ),
    ("rule-asks-nothing", lambda: [PROVINCE, RUIAN.model_copy(update={"minors": (ASKS_NOTHING,)})]),
    ("rule-of-another-ground", lambda: [PROVINCE, with_way(RUIAN, 0, id="dwelling.insurance")]),
    ("nothing-with-a-term", lambda: [PROVINCE, with_way(RUIAN, way(RUIAN, Evidence.OWN_HOME), term_months=6)]),
    ("nothing-with-a-time", lambda: [PROVINCE, with_way(RUIAN, way(RUIAN, Evidence.RENTAL), held_months=6)]),
    (
        "break-without-insurance",
        lambda: [PROVINCE, with_way(RUIAN, way(RUIAN, Evidence.CONTRACT), longest_break_months=1)],
    ),
    (
        "school-without-enrolment",
        lambda: [PROVINCE, with_way(RUIAN, way(RUIAN, Evidence.CONTRACT), schools=(School.PRIMARY,))],
    ),
    (
        "use-without-rental",
        lambda: [PROVINCE, with_way(RUIAN, way(RUIAN, Evidence.OWN_HOME), shown_for_commodity_housing=("filed",))],
    ),
    ("policy-twice", lambda: [PROVINCE, RUIAN, RUIAN.model_copy(update={"areas": ("330382",)})]),
    ("two-policies-at-once", lambda: [PROVINCE, RUIAN, from_day(date(2020, 1, 1))]),
    ("days-without-policy", lambda: [PROVINCE, until(date(2019, 12, 30)), from_day(date(2020, 1, 1))]),
    ("ends-before-it-begins", lambda: [PROVINCE, until(date(2016, 1, 1))]),
    ("no-policy-of-the-province", lambda: [RUIAN]),
    ("province-incomplete", lambda: [PROVINCE.model_copy(update={"endorsement": None})]),
    ("area-in-two-groups", lambda: [PROVINCE, grouped((("330381", "330302"), ("330302", "330303")))]),
    ("cumulated-in-one-county", lambda: [PROVINCE, residence_of(counting=Counting.CUMULATED)]),
]


def from_day(valid_from: date) -> Policy:
    return RUIAN.model_copy(update={"name": "ruian-2020", "valid_from": valid_from})


def until(valid_until: date) -> Policy:
    return RUIAN.model_copy(update={"valid_until": valid_until})


def grouped(groups: tuple[tuple[str, ...], ...]) -> Policy:
    return RUIAN.model_copy(update={"residence": RUIAN.residence.model_copy(update={"same_area": groups})})


def residence_of(**changes: object) -> Policy:
    return RUIAN.model_copy(update={"residence": RUIAN.residence.model_copy(update=changes)})


@pytest.mark.parametrize(("code", "faulty"), FAULTS, ids=[code for code, _ in FAULTS])
def test_each_fault_is_found(code: str, faulty: Callable[[], list[Policy]]) -> None:
    found = review(faulty())
    assert code in {finding.code for finding in found}
    with pytest.raises(PersonalizationError, match="policies-faulty"):
        PolicyLibrary(faulty())


def test_one_policy_after_another_is_no_fault() -> None:
    earlier = RUIAN.model_copy(update={"valid_until": date(2019, 12, 31)})
    library = PolicyLibrary([PROVINCE, earlier, from_day(date(2020, 1, 1))])
    assert library.for_area("330381", date(2019, 12, 31)).name == "ruian-2016"
    assert library.for_area("330381", date(2020, 1, 1)).name == "ruian-2020"


def test_a_new_city_is_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "yiwu.toml").write_text(YIWU, "utf-8")
    library = policies_with(tmp_path)
    found = library.for_area("330782", date(2018, 1, 1))
    assert found.name == "yiwu-2018"
    assert library.for_area("330782", date(2017, 12, 31)).name == "zhejiang-2016"
    assert library.complete(found, date(2018, 1, 1)).endorsement == PROVINCE.endorsement


def test_a_file_of_the_same_name_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(YIWU.replace("yiwu-2018", "ruian-2016").replace("330782", "330381"), "utf-8")
    assert policies_with(tmp_path).named("ruian-2016").residence.months == 6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("months = 6", "months = 6\ndays = 180"),
        ("months = 6", "months = 0"),
        ('areas = ["330782"]', "areas = []"),
        ('areas = ["330782"]', 'areas = ["310000"]'),
        ("valid_from = 2018-01-01", 'valid_from = "soon"'),
        ('evidence = "rental"', 'evidence = "hearsay"'),
        ('source = { clause = "1", quote = "半年以上" }', ""),
        ("[residence]", "[residence]\ngap = 30"),
        ("[residence]", "[residence]\nspring_festival = { longest_gap_days = 60 }\nlongest_gap_days = 60"),
        ("[residence]", '[residence]\ncounting = "cumulated"\nscope = "province"\nlongest_gap_days = 3'),
        ("[residence]", "[residence"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_the_place(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "yiwu.toml"
    path.write_text(YIWU.replace(old, new, 1), "utf-8")
    with pytest.raises(PersonalizationError) as raised:
        read_policy(path)
    assert (raised.value.code, raised.value.parameters["path"]) == ("policy-invalid", "yiwu.toml")


def test_names_that_nobody_knows() -> None:
    with pytest.raises(PersonalizationError) as raised:
        policies().named("atlantis-2016")
    assert (raised.value.code, raised.value.exit_code) == ("policy-unknown", 2)


def test_a_day_before_every_policy() -> None:
    with pytest.raises(PersonalizationError, match="policy-none"):
        policies().for_area("330381", date(2016, 6, 30))


def test_an_exemption_has_one_reason() -> None:
    exemption = policies().named("zhoushan-2016").exemptions[0]
    with pytest.raises(ValueError, match="one of designations"):
        type(exemption).model_validate(exemption.model_dump() | {"talent_permit": True})
