"""``permitcard case``: from what an applicant hands in to the card at the desk, and a new card in its place."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pytest

from personalization.intake.sample.faces import draw_portrait
from personalization.permit.electronic.claims import CHINA
from tests.console.conftest import SmallCentre

NAME, CITIZEN = "样𠮷卡", "11010519491231002X"
AREA = "330381"
RECOGNISING = "331123"
"""Suichang has mutual recognition."""

ISSUER = ("--authority", "瑞安市公安局", "--hotline", "0577-12345")


@pytest.fixture
def today() -> dt.date:
    return dt.datetime.now(CHINA).date()


def handed_in(folder: Path, today: dt.date, *, contract: bool = True, portrait: bool = True) -> Path:
    year = dt.timedelta(days=366)
    (folder / "portrait.jpg").write_bytes(draw_portrait(random.Random("case")))
    path = folder / "case.toml"
    path.write_text(
        f"""
[application]
area = "{AREA}"
applied = {today}
birth_date = 1949-12-31
registrations = [{{ area = "{AREA}", first = {today - year} }}]
{f'contracts = [{{ area = "{AREA}", first = {today - year}, working_since = {today - year} }}]' if contract else ""}

[person]
name = "{NAME}"
sex = "2"
ethnic_group = "01"
citizen_number = "{CITIZEN}"
registered_address = "北京市朝阳区样本路1号"
bank_account = "9999900000000000017"
{'portrait = "portrait.jpg"' if portrait else ""}

[home]
address = "浙江省瑞安市样本街道样本路9号"
number = "330381202600001"
registered = {today - year}
station = "样本派出所"
""",
        "utf-8",
    )
    return path


def shown(centre: SmallCentre, *line: str | Path, code: int = 0) -> dict[str, Any]:
    return centre(*line, code=code).document


def made(centre: SmallCentre, delivery: str) -> None:
    centre("stock", "receive", "1", "--lot", f"L{random.Random(delivery).randrange(10**6)}")
    centre("batch", "run", delivery, "--stations", "1")


def card_of(centre: SmallCentre, number: int) -> str:
    return f"sim:{sorted((centre.centre.root / 'cards').glob('*.card'))[number]}"


def test_from_the_application_to_the_card_and_its_replacement(small_centre: SmallCentre, today: dt.date) -> None:
    centre, on = small_centre, ("--on", f"{today}")
    folder = centre.prompt.folder
    lacking = shown(centre, "case", "open", handed_in(folder, today, contract=False, portrait=False), *on, code=1)
    assert (lacking["state"], lacking["case"], lacking["due"]) == ("incomplete", 1, None)
    assert [item["rule"] for item in lacking["faults"]] == ["portrait-missing"]
    assert {item["rule"] for item in lacking["rules"] if item["outcome"] == "proof-missing"} >= {"employment.contract"}
    receipt = shown(centre, "case", "supplement", "1", handed_in(folder, today), *on)
    assert (receipt["state"], receipt["due"]) == ("accepted", f"{today + dt.timedelta(days=15)}")
    assert shown(centre, "case", "batch", *ISSUER, "--area", AREA, *on)["delivery"] is None
    centre("case", "review", "1", *on)
    assert centre("case", "review", "1", *on, code=2).error["code"] == "case-state"
    assert shown(centre, "case", "approve", "1", *on)["state"] == "approved"
    late = ("--on", f"{today + dt.timedelta(days=16)}")
    overdue = shown(centre, "case", "deadlines", *late, code=1)
    assert [(one["case"], one["left"]) for one in overdue["cases"]] == [(1, -1)]
    delivered = shown(centre, "case", "batch", *ISSUER, "--area", AREA, *on)
    assert delivered["cases"] == [1]
    first = Path(folder / delivered["delivery"])
    content = first.read_bytes()
    first.unlink()
    centre("case", "batch", *ISSUER, "--area", AREA, "--again", first.stem)
    assert first.read_bytes() == content
    made(centre, delivered["delivery"])
    assert centre("case", "return", "1", *on, code=1).error["code"] == "case-in-production"
    assert shown(centre, "case", "follow", *on)["made"] == [1]
    desk = ("--area", AREA, *on)
    given = shown(centre, "case", "hand-over", "1", "--card", card_of(centre, 0), *desk)
    assert (given["state"], given["status"], given["residence_years"]) == ("handed-over", "valid", 0)
    replaced(centre, desk, today)
    told_to_the_platform(centre, today)
    nobody_is_named(centre, today)


def replaced(centre: SmallCentre, desk: tuple[str, ...], today: dt.date) -> None:
    """Lost: barred at once, ordered once, made, handed over; the old card is cancelled when it turns up."""
    number = f"{AREA}{today:%y}15{1:08}"
    ordered = shown(centre, "desk", "replace", "lost", "--permit", number, *desk)
    assert ordered["case"] == 2
    assert Path(centre.prompt.folder / ordered["status_list"]).is_file()
    again = centre("desk", "replace", "lost", "--permit", number, *desk, code=1)
    assert again.error["code"] == "replacement-ordered"
    delivered = shown(centre, "case", "batch", *ISSUER, *desk)
    assert delivered["cases"] == [2]
    made(centre, delivered["delivery"])
    centre("case", "follow", *desk[2:])
    wrong = centre("case", "hand-over", "2", "--card", card_of(centre, 0), *desk, code=1)
    assert wrong.error["code"] == "card-other-permit"
    assert shown(centre, "case", "hand-over", "2", "--card", card_of(centre, 1), *desk)["state"] == "handed-over"
    found = shown(centre, "desk", "inspect", "--card", card_of(centre, 0), *desk)
    assert (found["status"], found["mended"]) == ("cancelled", True)


def told_to_the_platform(centre: SmallCentre, today: dt.date) -> None:
    """One signed file: the replaced permit has ended, the new one is good, and both are of desks and production."""
    written = shown(centre, "desk", "platform", "platform.json", "--on", f"{today}")
    assert (written["permits"], written["faults"], written["unnamed"]) == (2, {}, 0)
    told = json.loads((centre.prompt.folder / "platform.json").read_bytes())["document"]["permits"]
    assert [(row["permit_number"][-8:], row["status"], row["why"]) for row in told] == [
        ("00000001", "cancelled", "lost"),
        ("00000002", "valid", None),
    ]
    centre("pass", "trust", "trust.pem")
    checked = centre.prompt("--json", "desk", "platform-check", "platform.json", "--trust", "trust.pem").document
    assert checked["permits"] == 2


def nobody_is_named(centre: SmallCentre, today: dt.date) -> None:
    """Sealed at rest; the audit trail holds and refers to cases by their numbers."""
    raw = b"".join(path.read_bytes() for path in centre.centre.root.glob("journal.sqlite*") if path.is_file())
    for personal in (NAME.encode(), CITIZEN.encode(), "样本路9号".encode(), f"{AREA}{today:%y}15{1:08}".encode()):
        assert personal not in raw
    listed = shown(centre, "case", "list", "--all")
    assert [one["state"] for one in listed["cases"]] == ["handed-over", "handed-over"]
    assert NAME not in json.dumps(listed, ensure_ascii=False)
    steps = shown(centre, "case", "show", "1")["steps"]
    assert [one["step"] for one in steps] == [
        "open", "supplement", "review", "approve", "deliver", "make", "hand-over",
    ]  # fmt: skip
    centre("audit", "verify")


def test_mutual_recognition_ends_the_older_permit(small_centre: SmallCentre, today: dt.date) -> None:
    """An electronic permit in another area, verified offline; the older one ends on the list, then on its chip."""
    centre, on, folder = small_centre, ("--on", f"{today}"), small_centre.prompt.folder
    centre.make()
    held = read_number(centre, card_of(centre, 0))
    path = handed_in(folder, today)
    text = path.read_text("utf-8").replace(AREA, RECOGNISING)
    asked = f'kind = "recognition"\nheld = ["{held}"]\n{text}'.replace(
        "\n[person]", f'\npermit = {{ area = "{AREA}", issued = {today}, status = "valid" }}\n\n[person]'
    )
    path.write_text(asked, "utf-8")
    receipt = shown(centre, "case", "open", path, *on)
    assert (receipt["kind"], receipt["state"]) == ("recognition", "accepted")
    desk = ("--area", RECOGNISING, *on)
    centre("pass", "issue", held, "old.txt")
    early = centre("case", "issue", "1", "pass.txt", *ISSUER, *desk, code=2)
    assert early.error["code"] == "case-state"
    centre("case", "review", "1", *on)
    centre("case", "approve", "1", *on)
    issued = shown(centre, "case", "issue", "1", "pass.txt", *ISSUER, *desk)
    assert (issued["state"], issued["ended"]) == ("handed-over", 1)
    centre("pass", "trust", "trust.pem")
    listed = max((centre.centre.root / "status").glob("*.list"))
    verify = ("pass", "verify", "pass.txt", "--trust", "trust.pem", "--status", listed)
    assert centre.prompt("--json", *verify).document["good"] is True
    assert centre("pass", "issue", held, "new.txt", code=1).error["code"] == "permit-cancelled"
    old = ("pass", "verify", "old.txt", "--trust", "trust.pem", "--status", listed)
    assert "replaced" in json.dumps(centre.prompt("--json", *old, code=1).document)
    found = shown(centre, "desk", "inspect", "--card", card_of(centre, 0), "--area", AREA, *on)
    assert (found["status"], found["mended"]) == ("cancelled", True)


def read_number(centre: SmallCentre, card: str) -> str:
    views: Any = shown(centre, "card", "read", "--card", card)["views"]
    items = [item for view in views for file in view["files"] for record in file["records"] for item in record]
    return next(str(item["value"]) for item in items if item["name"] == "permit_number" and item["value"])


def test_mistakes_of_usage(small_centre: SmallCentre, today: dt.date) -> None:
    assert small_centre("case", "show", "9", code=2).error["code"] == "case-unknown"
    assert small_centre("case", "open", "none.toml", code=2).error["code"] == "application-unreadable"
    small_centre("case", "supplement", "9", handed_in(small_centre.prompt.folder, today), code=2)
    replace = ("desk", "replace", "lost", "--permit", "330381300000000099", "--area", AREA)
    assert small_centre(*replace, code=2).error["code"] == "permit-unknown"
    small_centre("desk", "replace", "stolen", "--permit", "1", "--area", AREA, code=2)
