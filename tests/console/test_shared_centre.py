"""Several accounts of one machine work in one centre, each under its own name; nobody else does.

``li`` takes the batch in, is killed once and makes the first article, a guest of the group makes the rest, ``wang``
inspects and approves, ``zhao`` releases and erases. Their umasks are 077, 000, 000 and 022.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from permitcard.centre import Centre
from personalization.intake.sample import write_sample
from personalization.keys.file_store import FileKeyStore
from tests.console.accounts import Account, Team, team

CARDS = 3
PATIENCE_S = 120
ON = ("--centre", "centre", "--json")
SETTINGS = {"group.toml", "operators.toml"}


@dataclass(frozen=True, slots=True)
class Story:
    """What a team did, and what was seen meanwhile.

    Attributes:
        team: the accounts.
        centre: its paths.
        batch: identifier of the batch.
        owners: whose files and folders were in the centre when the cards were made, and how many.
        wrong: files and folders that had other rights than they ought to have: group, mode.
        erased: what had been there and was gone after the batch was erased: owners, and how many.
        said: what commands printed, by a name.
    """

    team: Team
    centre: Centre
    batch: str
    owners: Counter[str]
    wrong: dict[str, tuple[int, str]]
    erased: Counter[str]
    said: dict[str, Any]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with team() as found:
        centre = Centre(found.folder / "centre")
        li, wang, zhao = found.members[0].masked(0o077), found.members[1].masked(0o000), found.members[2]
        guest = found.guest.masked(0o000)
        delivered = write_sample(found.folder / "delivered", CARDS, 7)
        said: dict[str, Any] = {}

        open_centre(centre, li, found)
        li("centre", "share", "--group", found.group, *ON)
        li("stock", "receive", str(CARDS + 1), *ON)
        batch = str(li("batch", "prepare", delivered, "--workers", "0", *ON).document["batch"])
        said["busy"], said["ordered"] = steer_and_kill(guest, li, centre, batch)
        log = centre.journal.with_name("journal.sqlite-wal").stat()
        said["log of the killed"] = (log.st_uid, log.st_size > 0)
        said["article"] = li("batch", "resume", batch, "--stations", "1", *ON, code=1).error
        said["read"] = wang("card", "read", "--card", f"sim:{used_card(centre)}", *ON).document
        wang("approve", "first-article", batch, *ON)
        said["resumed"] = guest("batch", "resume", batch, "--stations", "1", *ON).document
        said["report"] = wang("batch", "report", batch, *ON).document
        said["too early"] = zhao("batch", "release", batch, *ON, code=2).error
        said["maker"] = guest("approve", "release", batch, *ON, code=2).error
        wang("approve", "release", batch, *ON)
        said["released"] = zhao("batch", "release", batch, *ON).document
        owners, wrong = look(centre.root, found.number)
        said["check"] = wang("centre", "check", *ON, code=1).document
        put_in_closed(li, delivered, centre.root / "delivered")
        wang("approve", "erase", batch, *ON)
        before = owned(centre.root)
        said["kept"] = zhao("batch", "erase", batch, *ON, code=3).error
        said["closed"] = found.members[0]("centre", "check", *ON, code=1).document
        said["mended"] = li("centre", "share", "--group", found.group, *ON).document
        said["erased"] = zhao("batch", "erase", batch, *ON).document
        gone = Counter(owner for path, owner in before.items() if not path.exists())
        wang("audit", "verify", *ON)
        li("audit", "export", "export.json", *ON)
        said["not alone"] = li("centre", "unshare", *ON, code=3).error
        yield Story(found, centre, batch, owners, wrong, gone, said)


def open_centre(centre: Centre, owner: Account, team: Team) -> None:
    """A centre of one account, whose keys open fast. Who makes does not inspect, and who inspects does not release."""
    FileKeyStore.create(centre.keys, centre.make_test_passphrase().read(), scrypt_n=1024)
    li, wang, zhao = team.members
    roles = {
        li.name: ["receive", "prepare", "run"],
        team.guest.name: ["run", "inspect"],
        wang.name: ["inspect", "keys"],
        zhao.name: ["release"],
    }
    lines = (f"[operators.{json.dumps(name)}]\nroles = {json.dumps(found)}\n" for name, found in roles.items())
    centre.operators.write_text("".join(lines), encoding="utf-8")
    for path in (centre.root, *centre.root.iterdir()):
        os.chown(path, owner.person.user, owner.person.group)


def steer_and_kill(account: Account, other: Account, centre: Centre, batch: str) -> tuple[Any, Any]:
    """What an account hears that would go on with another's batch while the coordinator lives; and its order to end."""
    with other.start("batch", "resume", batch, "--stations", "0", "--first-article", *ON) as process:
        end = time.monotonic() + PATIENCE_S
        while not shifts(centre) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        busy = account("batch", "resume", batch, *ON, code=3).error
        ordered = account("batch", "drain", batch, *ON).document
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return busy, ordered


def put_in_closed(account: Account, file: Path, folder: Path) -> None:
    """As with ``umask 077; mkdir; cp``."""
    for words in (("mkdir", "-m", "700", str(folder)), ("install", "-m", "600", str(file), str(folder))):
        assert account.may(*words)


def shifts(centre: Centre) -> int:
    return int(ask(centre, "SELECT count(*) FROM shifts"))


def used_card(centre: Centre) -> Path:
    return centre.root / str(ask(centre, "SELECT location FROM blanks WHERE state = 'good'")).removeprefix("sim:")


def ask(centre: Centre, question: str) -> Any:
    with contextlib.closing(sqlite3.connect(f"{centre.journal.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(question).fetchone()[0]


def parameters(error: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = error["parameters"]
    return found


def look(root: Path, group: int) -> tuple[Counter[str], dict[str, tuple[int, str]]]:
    """Owners of all that is in a centre, and what has other rights than it ought to have."""
    owners: Counter[str] = Counter()
    wrong: dict[str, tuple[int, str]] = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        ought = 0o2770 if stat.S_ISDIR(status.st_mode) else 0o640 if path.name in SETTINGS else 0o660
        if (status.st_gid, stat.S_IMODE(status.st_mode)) != (group, ought):
            wrong[str(path.relative_to(root))] = status.st_gid, oct(status.st_mode)
        owners[path.owner()] += 1
    return owners, wrong


def owned(root: Path) -> dict[Path, str]:
    return {path: path.owner() for path in root.rglob("*") if path.is_file()}


def test_what_anybody_makes_is_the_groups_and_nobody_elses_whatever_the_umask(story: Story) -> None:
    """POSIX.1-2017, 4.5 file access permissions: 2770 for folders, 0660 for files, none for others."""
    li, wang, zhao = (member.name for member in story.team.members)
    assert story.wrong == {}
    assert set(story.owners) == {li, wang, zhao, story.team.guest.name}
    assert story.owners[story.team.guest.name] >= CARDS, "the guest made what the killed process had not"


def test_a_process_of_another_account_is_alive_and_takes_orders(story: Story) -> None:
    assert story.said["busy"]["code"] == "batch-busy"
    assert story.said["ordered"]["order"] == "drain"


def test_another_account_goes_on_where_a_killed_one_left_the_log(story: Story) -> None:
    assert story.said["log of the killed"] == (story.team.members[0].person.user, True)
    assert story.said["article"]["code"] == "first-article"
    assert story.said["resumed"]["good"] == CARDS


def test_an_account_inspects_cards_and_writes_the_report_that_others_made(story: Story) -> None:
    assert story.said["read"]
    assert story.said["report"]


def test_two_accounts_release_and_who_made_is_none_of_them(story: Story) -> None:
    assert story.said["too early"]["code"] == "approval-missing"
    assert story.said["maker"]["code"] == "maker-inspects"
    assert story.said["released"]["batch"] == story.batch


def test_files_of_every_owner_are_erased_by_two_accounts(story: Story) -> None:
    """Images of cards and the delivery are overwritten, which takes the right to write them, not to own them."""
    assert not story.centre.batch(story.batch).exists()
    assert not story.centre.report(story.batch).exists()
    assert list((story.centre.root / "delivered").iterdir()) == []
    assert {member.name for member in story.team.members[:2]} <= set(story.erased)
    certificate = story.team.folder / story.said["erased"]["certificate"]
    removed = json.loads(certificate.read_text("utf-8"))["document"]["removed"]
    assert (removed["cards"], removed["inputs"]) == (CARDS, 1)


def test_what_an_account_has_closed_to_the_others_is_told_and_mended_by_it(story: Story) -> None:
    li, _, zhao = story.team.members
    kept = story.said["kept"]
    assert (kept["code"], kept["parameters"]["account"], kept["parameters"]["owner"]) == (
        "file-forbidden",
        zhao.name,
        li.name,
    )
    closed = {Path(each["path"]).name for each in story.said["closed"]["findings"] if each["fault"] == "closed"}
    assert "delivered" in closed
    assert len(closed) == story.said["mended"]["changed"] == 2


def test_the_trail_names_the_accounts(story: Story) -> None:
    entries = json.loads((story.team.folder / "export.json").read_text("utf-8"))["entries"]
    li, wang, zhao = (member.name for member in story.team.members)
    who = {(entry["what"], entry["who"]) for entry in entries}
    expected = {
        ("blanks-received", li),
        ("batch-loaded", li),
        ("batch-running", li),
        ("batch-running", story.team.guest.name),
        ("approved", wang),
        ("batch-released", zhao),
        ("batch-erased", zhao),
    }
    assert expected <= who, who


def test_the_check_tells_of_whoever_is_not_of_the_group(story: Story) -> None:
    """The guest had the group for one login; the system's tables do not know it."""
    found = story.said["check"]["findings"]
    assert {(each["fault"], each["owner"]) for each in found} == {("stranger", story.team.guest.name)}


def test_an_account_outside_reads_nothing_and_is_told_why(story: Story) -> None:
    outsider, root = story.team.outsider, story.centre.root
    told = {"account": outsider.name, "group": story.team.group, "path": "centre"}
    for line in (("batch", "status"), ("keys", "show")):
        error = outsider(*line, *ON, code=3).error
        assert error["code"] == "centre-not-member"
        assert all(parameters(error)[name] == value for name, value in told.items())
    assert outsider("centre", "check", *ON, code=3).error["code"] == "file-forbidden"
    assert not outsider.may("ls", str(root))
    files = [str(path) for path in root.rglob("*") if path.is_file()]
    assert len(files) > CARDS
    assert not outsider.may("sh", "-c", 'for file; do test -r "$file" && exit 0; done; exit 1', "sh", *files)


def test_an_owner_does_not_take_what_others_made(story: Story) -> None:
    """POSIX.1-2017, chown(): who is not the administrator gives no file another owner."""
    told = story.said["not alone"]
    assert (told["code"], parameters(told)["account"]) == ("centre-file-of-other", story.team.members[0].name)
    foreign = story.team.members[2]("centre", "unshare", *ON, code=2).error
    assert foreign["code"] == "centre-not-owner"
    assert (story.centre.root / "group.toml").exists()


def test_an_account_gives_nothing_to_a_group_that_it_is_not_of(story: Story) -> None:
    outsider, own = story.team.outsider, ("--centre", "tmp/own", "--json")
    refused = outsider("keys", "init", "--try-out", "--group", story.team.group, *own, code=2).error
    assert refused["code"] == "group-not-joined"
    assert not (story.team.folder / "tmp/own").exists()
    foreign = story.team.members[2]("centre", "share", "--group", story.team.group, *ON, code=2).error
    assert (foreign["code"], parameters(foreign)["owner"]) == ("centre-not-owner", story.team.members[0].name)
