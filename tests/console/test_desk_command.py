"""``permitcard desk`` at an issuing centre: its own cards, SAM, journal and bound."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from permitcard.job import Job
from permitcard.pass_office import read_trust, trust_bundle
from permitcard.products import open_simulated
from personalization.keys.authorities import split_certificates
from personalization.keys.keystore import KeyName
from personalization.permit.electronic.claims import CHINA
from personalization.permit.electronic.signed_message import TrustedSigners
from personalization.permit.electronic.status_list import (
    Kind,
    Standing,
    StatusList,
    apply_delta,
    read_status_list,
)
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
    the_pass_says_what_the_record_says(prompt, office, number, endorsed["due"])
    assert shown(prompt, "entitle", "--card", card, *base, "--points", "85", "--on", f"{window}")["status"] == "valid"
    active = shown(prompt, "activate-account", "--card", card, *base, "--on", f"{window}")
    assert (active["status"], active["mended"]) == ("valid", False)
    wrong = ("unlock-pin", "--card", card, "--unblocking", "00000000", "--new", "271828", *base, "--on", f"{window}")
    for language, secret in (("en", "The unblocking PIN is wrong; 9 more"), ("zh", "解锁码错误，还可尝试 8 次")):
        assert secret in prompt("--lang", language, "desk", *wrong, code=1).err
    lost = shown(prompt, "withdraw", "lost", "--permit", number, *base, "--on", f"{window}")
    assert (lost["status"], lost["waiting"]) == ("cancelled", [{"what": "lost", "day": f"{window}"}])
    assert Path(lost["status_list"]).is_file()
    none = prompt("--json", "pass", "issue", number, "late.txt", "--centre", office, code=1)
    assert none.error["code"] == "permit-cancelled"
    assert not (prompt.folder / "late.txt").exists()
    police = shown(prompt, "inspect", "--police", "--card", card, *base, "--on", f"{window}")
    assert (police["status"], police["waits"], police["mended"]) == ("cancelled", True, False)
    found = shown(prompt, "inspect", "--card", card, *base, "--on", f"{window}")
    assert (found["status"], found["mended"], found["waits"]) == ("cancelled", True, False)
    assert number not in (office / "journal.sqlite").read_bytes().decode("latin-1")


def the_pass_says_what_the_record_says(prompt: Prompt, office: Path, number: str, due: str) -> None:
    """An endorsement and a new residence of the desk, not what was delivered; and no day beyond them."""
    on = ("--centre", office)
    issue = ("--json", "pass", "issue", number, "pass.txt", *on)
    day = dt.date.fromisoformat(due)
    beyond = prompt(*issue, "--due", f"{day + dt.timedelta(days=1)}", code=2).error
    assert (beyond["code"], (prompt.folder / "pass.txt").exists()) == ("pass-due-beyond", False)
    earlier = f"{day - dt.timedelta(days=1)}"
    assert prompt(*issue, "--due", earlier).document["until"] == earlier
    assert prompt(*issue, "--sheet", "sheet.pdf").document["until"] == due
    text = subprocess.run(
        ["pdftotext", "-raw", "sheet.pdf", "-"], cwd=prompt.folder, check=True, capture_output=True
    ).stdout.decode()
    assert "现居住地址 瑞安市新路1号" in text


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


def test_a_new_clock_signs_the_bound_again(small_centre: SmallCentre) -> None:
    """Both keys sign until the former one is destroyed; a bound that somebody cut is told."""
    bound = small_centre.centre.root / "clock.bound"
    before: Any = small_centre("keys", "rotate", "clock").document
    assert not bound.exists(), "there was none"
    small_centre("desk", "bound", "2030-01-01")
    assert len(bound.read_bytes()) == 8 + 2 * 64
    again: Any = small_centre("keys", "rotate", "clock").document
    assert again["before"] == before["after"]
    assert len(bound.read_bytes()) == 8 + 3 * 64
    small_centre("keys", "destroy", "clock", str(before["before"]))
    assert len(bound.read_bytes()) == 8 + 2 * 64
    assert bound.read_bytes()[:8] == b"20300101"
    assert small_centre("keys", "destroy", "clock", str(again["after"]), code=2).error["code"] == "former-key-missing"
    bound.write_bytes(bound.read_bytes()[:-1])
    line = ("desk", "inspect", "--card", "sim:none.card", "--area", "330381")
    assert small_centre("keys", "rotate", "clock", code=3).error["code"] == "bound-unreadable"
    assert small_centre(*line, code=2).error["code"] == "image-missing"


def test_the_status_list_goes_on_under_a_new_signer(small_centre: SmallCentre) -> None:
    """What the former one signed is read as ever, also by who has the new bundle of trust only."""
    small_centre.make()
    root = small_centre.centre.root
    first, second = (permit_of(small_centre, f"sim:{card}") for card in sorted((root / "cards").glob("*.card"))[:2])
    withdraw = ("desk", "withdraw", "lost", "--area", "330381", "--permit")
    before: Any = small_centre(*withdraw, first).document
    small_centre("keys", "rotate", "document_signer")
    after: Any = small_centre(*withdraw, second).document
    assert Path(after["status_list"]) != Path(before["status_list"])
    with Job.open(small_centre.centre) as job:
        (small_centre.prompt.folder / "trust.pem").write_bytes(trust_bundle(job))
    signers = read_trust(small_centre.prompt.folder / "trust.pem", dt.datetime.now(dt.UTC))
    assert len(signers) == 2
    for listed in (before, after):
        path = small_centre.prompt.folder / str(listed["status_list"])
        assert read_status_list(path.read_bytes(), signers).standing(Kind.PERMIT, first.encode()) is Standing.LOST


def test_a_new_authority_certifies_what_the_former_one_is_trusted_for(small_centre: SmallCentre) -> None:
    """A batch under the new one, its records checked by who holds the former certificate, the trail over both."""
    folder = small_centre.prompt.folder
    small_centre("keys", "authority", "former.der")
    small_centre("audit", "checkpoint")
    rotated: Any = small_centre("keys", "rotate", "authority").document
    for name in ("document_signer", "audit"):
        record: Any = small_centre("keys", "rotate", name).document
    assert small_centre.make()["good"] == 4
    card = f"sim:{min((small_centre.centre.root / 'cards').glob('*.card'))}"
    small_centre("desk", "bound", "2099-01-01")
    small_centre("desk", "inspect", "--card", card, "--area", "330381")
    small_centre("keys", "authority", "all.der")
    assert len(split_certificates((folder / "all.der").read_bytes())) == 3
    verify = ("keys", "transcript", "verify", "--json", "--authority")
    for trusted in ("former.der", "all.der"):
        for one in (rotated, record):
            assert small_centre.prompt(*verify, trusted, str(one["record"])).document["trusted"] is True
    assert small_centre("audit", "verify").document["genuine"] is True
    small_centre("audit", "export", "trail.json")
    for trusted in ("former.der", "all.der"):
        told = small_centre.prompt("audit", "verify", "--export", "trail.json", "--authority", trusted, "--json")
        assert told.document["genuine"] is True


def permit_of(centre: SmallCentre, card: str) -> str:
    return _number(centre("card", "read", "--card", card).document)


def test_a_withdrawal_that_was_not_published_is_published_later(
    small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk after the decision: the record holds, and the list follows as soon as somebody asks again."""
    small_centre.make()
    root = small_centre.centre.root
    number = permit_of(small_centre, f"sim:{min((root / 'cards').glob('*.card'))}")
    line = ("desk", "withdraw", "lost", "--permit", number, "--area", "330381")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "status")

    with monkeypatch.context() as patched:
        patched.setattr("permitcard.desk_office.publish", full)
        assert small_centre(*line, code=3).error["code"] == "file-failure"
    assert not list(root.glob("status/*.list"))
    assert small_centre(*line, code=1).error["code"] == "permit-cancelled"
    assert len(list(root.glob("status/*.list"))) == 1
    assert small_centre(*line, code=1).error["code"] == "permit-cancelled"
    assert len(list(root.glob("status/*.list"))) == 1, "what is published is published once"


def test_two_desks_that_publish_at_once_lose_nothing(
    small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one finds the number of its issue taken, and begins again from that issue."""
    from permitcard import pass_office

    raced: list[int] = []
    now = dt.datetime.now(dt.UTC)

    def late(job: Job, moment: dt.datetime) -> StatusList | None:
        found = newest(job, moment)
        if not raced:
            raced.append(1)
            pass_office.publish(job, now, {(Kind.PERMIT, b"first"): Standing.LOST})
        return found

    newest = pass_office.latest_list
    monkeypatch.setattr(pass_office, "latest_list", late)
    with Job.open(small_centre.centre) as job:
        issued = pass_office.publish(job, now, {(Kind.PERMIT, b"second"): Standing.LOST})
        assert issued.delta is not None
        content = issued.delta.read_bytes()
        issued.delta.unlink()  # as if the desk had been interrupted between issue and delta
        pass_office.publish(job, now, {})
        signers = TrustedSigners(
            job.keys.certificate(KeyName.AUTHORITY), [job.keys.certificate(KeyName.DOCUMENT_SIGNER)], now
        )
        first = read_status_list((issued.whole.parent / "000002.list").read_bytes(), signers)
        assert apply_delta(first, issued.delta.read_bytes(), signers) == apply_delta(first, content, signers)
    status = issued.status
    assert status.standing(Kind.PERMIT, b"first") is status.standing(Kind.PERMIT, b"second") is Standing.LOST


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
