"""``permitcard desk`` at an issuing centre: its own cards, SAM, journal and bound."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pytest

from permitcard.products import open_simulated
from personalization.permit.electronic.claims import CHINA
from personalization.permit.spans import add_months
from reader_bridge.serving import CardServer
from tests.console.command_line import CommandLine, Prompt
from tests.console.conftest import MadeCentre, SmallCentre


@pytest.fixture(scope="module")
def office(made_centre: MadeCentre, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A centre whose cards and journal tests may change, beside one that others only look at."""
    root = tmp_path_factory.mktemp("desk") / "centre"
    shutil.copytree(made_centre.centre.root, root)
    return root


def shown(command: CommandLine | Prompt, *line: str | Path, code: int = 0) -> dict[str, Any]:
    return command("--json", "desk", *line, code=code).document


def test_a_permit_from_its_desk_to_its_end(made_centre: MadeCentre, office: Path, prompt: Prompt) -> None:
    card = f"sim:{next(iter(sorted((office / 'cards').glob('*.card'))))}"
    base = ("--centre", office, "--area", "330381")
    read = prompt("--json", "card", "read", "--card", card, "--centre", office).document
    number = _number(read)
    applicant = next(one for one in made_centre.applicants if one.permit_number == number)
    due = applicant.endorsement_due
    window = add_months(due, -1) + dt.timedelta(days=3)
    far = f"{due + dt.timedelta(days=800)}"
    early = prompt("--json", "desk", "inspect", "--card", card, *base, "--on", f"{window}", code=1)
    assert early.error["code"] == "terminal-date", "without a signed bound a card takes no date so far ahead"
    prompt("desk", "bound", far, "--centre", office)
    first = shown(prompt, "inspect", "--card", card, *base, "--on", f"{window}")
    assert (first["status"], first["due"]) == ("valid", f"{due}")
    endorsed = shown(prompt, "endorse", "--card", f"{card}:contactless", *base, "--on", f"{window}", "--desk", "7")
    assert endorsed["due"] > first["due"]
    again = prompt("--json", "desk", "endorse", "--card", card, *base, "--on", f"{window}", code=1)
    assert again.error["code"] == "endorsement-too-early"
    move = ("--address", "瑞安市新路1号", "--number", "1", "--station", "仙降派出所", "--registered", f"{window}")
    assert shown(prompt, "move", "--card", card, *base, *move, "--on", f"{window}")["status"] == "valid"
    assert shown(prompt, "entitle", "--card", card, *base, "--points", "85", "--on", f"{window}")["status"] == "valid"
    active = shown(prompt, "activate-account", "--card", card, *base, "--on", f"{window}")
    assert (active["status"], active["mended"]) == ("valid", False)
    wrong = ("unlock-pin", "--card", card, "--unblocking", "00000000", "--new", "271828", *base, "--on", f"{window}")
    assert prompt("--json", "desk", *wrong, code=1).error["code"] == "pin-wrong"
    lost = shown(prompt, "withdraw", "lost", "--permit", number, *base, "--on", f"{window}")
    assert (lost["status"], lost["waiting"]) == ("cancelled", [{"what": "lost", "day": f"{window}"}])
    assert Path(lost["status_list"]).is_file()
    found = shown(prompt, "inspect", "--card", card, *base, "--on", f"{window}")
    assert (found["status"], found["mended"], found["waits"]) == ("cancelled", True, False)
    assert number not in (office / "journal.sqlite").read_bytes().decode("latin-1")


def test_the_issuer_corrects_a_date(office: Path, prompt: Prompt) -> None:
    card = f"sim:{sorted((office / 'cards').glob('*.card'))[1]}"
    line = ("--card", card, "--centre", office, "--area", "330381")
    assert shown(prompt, "correct-date", *line, "--on", "2020-01-02")["after"] == "2020-01-02"
    assert shown(prompt, "correct-date", *line, "--on", "2019-01-02")["before"] == "2020-01-02"


def test_the_commands_on_a_dual_reader_through_pcsc(small_centre: SmallCentre) -> None:
    """The real PC/SC service: contact and contactless slot of one reader, the card of a centre."""
    small_centre.make()
    root = small_centre.centre.root
    on = ("--on", f"{dt.datetime.now(CHINA).date()}", "--centre", root, "--area", "330381")
    with open_simulated(min((root / "cards").glob("*.card"))) as card, CardServer(card) as server:
        server.offer_own_pcsc()
        command = CommandLine(small_centre.prompt.folder, server.client_variables)
        seen = shown(command, "inspect", "--card", "pcsc:Virtual PCD 00 00", *on)
        active = shown(command, "activate-account", "--card", "pcsc:Virtual PCD 00 01", *on)
        line = ("desk", "activate-account", "--card", "pcsc:Virtual PCD 00 00", *on)
        again = command("--json", *line, code=1).error
    assert (seen["status"], active["status"], active["mended"]) == ("valid", "valid", False)
    assert again["code"] == "account-active"


def test_mistakes_of_usage(office: Path, prompt: Prompt) -> None:
    base = ("--centre", office, "--area", "330381")
    prompt("desk", "endorse", *base, code=2)
    prompt("desk", "withdraw", "stolen", "--permit", "1", *base, code=2)
    none = prompt("--json", "desk", "withdraw", "lost", "--permit", "330381300000000099", *base, code=1)
    assert none.error["code"] == "dossier-none"
    early = ("desk", "inspect", "--card", "sim:none.card", "--centre", office, "--area", "330381", "--on", "2015-01-01")
    assert prompt("--json", *early, code=1).error["code"] == "policy-none"
    assert (
        prompt("--json", "desk", "inspect", "--card", "sim:none.card", *base, code=2).error["code"] == "image-missing"
    )


def _number(document: dict[str, Any]) -> str:
    for view in document["views"]:
        for file in view["files"]:
            for record in file["records"]:
                for item in record:
                    if item["name"] == "permit_number" and item["value"]:
                        return str(item["value"])
    raise AssertionError("the card shows no permit number")
