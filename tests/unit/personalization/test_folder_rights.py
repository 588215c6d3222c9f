"""POSIX.1-2017, 4.5 and `umask`: who may use what the product makes is decided by the folder, not by a umask."""

from __future__ import annotations

import ast
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from card_os.hardware.image import LOCK_SUFFIX, NvmImage
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import (
    GROUP_FILE,
    OWNER_ALONE,
    WHOLE_GROUP,
    file_lock,
    make_file,
    make_folder,
    read_settings,
    rights_in,
    settle,
)
from personalization.production.journal.database import open_journal
from personalization.production.journal.events import Entry, What, record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no folders of a group")
ROOT = Path(__file__).resolve().parents[3]
SOMEBODY = 65534


@pytest.fixture(params=(0o022, 0o077, 0o000), ids=("umask 022", "umask 077", "umask 000"))
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder that its owner gave to the group of whoever runs the tests."""
    folder = tmp_path / "given"
    folder.mkdir()
    folder.chmod(WHOLE_GROUP.folder)
    (folder / GROUP_FILE).write_text('[group]\nname = "operators"\n', encoding="utf-8")
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_all_that_is_made_has_the_rights_of_the_groups_folder(given: Path, umask: int) -> None:
    make_folder(given / "a" / "b")
    make_file(given / "a" / "b" / "empty")
    write_atomically(given / "a" / "b" / "content", b"content")
    write_atomically(given / "hsm.toml", b"", settings=True)
    with file_lock(given / "a" / "held.lock"):
        pass
    assert [mode(given / "a" / name) for name in (".", "b")] == [0o2770, 0o2770]
    assert [mode(given / "a" / name) for name in ("b/empty", "b/content", "held.lock")] == [0o660] * 3
    assert mode(given / "hsm.toml") == 0o640


def test_elsewhere_all_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    """Also in a folder that was given to a group, but not by this program."""
    tmp_path.chmod(WHOLE_GROUP.folder)
    make_folder(tmp_path / "a" / "b")
    make_file(tmp_path / "empty")
    write_atomically(tmp_path / "content", b"content")
    with file_lock(tmp_path / "held.lock"):
        pass
    assert all(mode(tmp_path / name) & 0o777 == 0o700 for name in ("a", "a/b"))
    assert all(mode(tmp_path / name) == 0o600 for name in ("empty", "content", "held.lock"))


def test_what_is_closed_below_a_groups_folder_stays_closed(given: Path) -> None:
    (given / "own").mkdir(mode=0o700)
    assert rights_in(given / "own") is OWNER_ALONE


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only the administrator gives files away")
def test_a_member_cannot_open_anothers_folder_by_putting_the_groups_file_into_it(given: Path) -> None:
    assert rights_in(given) is WHOLE_GROUP
    os.chown(given, SOMEBODY, -1)
    assert rights_in(given) is WHOLE_GROUP, "the administrator may"
    os.chown(given / GROUP_FILE, SOMEBODY - 1, -1)
    assert rights_in(given) is OWNER_ALONE


def test_a_link_in_place_of_the_groups_file_says_nothing(given: Path) -> None:
    (given / GROUP_FILE).rename(given / "elsewhere.toml")
    (given / GROUP_FILE).symlink_to(given / "elsewhere.toml")
    assert rights_in(given) is OWNER_ALONE


def test_a_folder_that_appears_whole_is_settled_with_all_that_is_in_it(given: Path, umask: int) -> None:
    attempt = given / "attempt"
    attempt.mkdir(mode=0o700)
    (attempt / "part").mkdir()
    (attempt / "part" / "file").write_bytes(b"by a library")
    settle(attempt, given)
    assert [mode(attempt), mode(attempt / "part"), mode(attempt / "part" / "file")] == [0o2770, 0o2770, 0o660]


def test_a_card_and_its_lock_take_the_rights_that_they_are_made_with(given: Path, umask: int) -> None:
    card = given / "a.card"
    NvmImage.create(card, mode=rights_in(given).file).close()
    assert [mode(card), mode(Path(f"{card}{LOCK_SUFFIX}"))] == [0o660, 0o660]
    Path(f"{card}{LOCK_SUFFIX}").unlink()
    NvmImage.open(card).close()
    assert mode(Path(f"{card}{LOCK_SUFFIX}")) == 0o660, "a copied card brings no lock"


def test_the_journal_and_its_log_are_the_groups(given: Path, umask: int) -> None:
    """SQLite gives write-ahead log and index of it the rights of the database, whatever the umask."""
    with open_journal(given / "journal.sqlite") as journal:
        with journal.transaction() as connection:
            record(connection, "li", [Entry(What.CHECKPOINT)])
        made = {path.name: mode(path) for path in given.rglob("journal.sqlite*")}
        assert {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "journal.sqlite.locks"} <= set(made)
        assert made.pop("journal.sqlite.locks") == 0o2770
        assert set(made.values()) == {0o660}
    with closing(sqlite3.connect(given / "journal.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone()[0] == 1


def test_settings_that_others_may_write_are_not_used(given: Path) -> None:
    settings = given / "hooks.toml"
    settings.write_text("[print]", encoding="utf-8")
    settings.chmod(0o644)
    assert read_settings(settings) == "[print]"
    settings.chmod(0o660)
    with pytest.raises(PersonalizationError, match="settings-not-owners") as refused:
        read_settings(settings)
    assert refused.value.exit_code == 3


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only the administrator gives files away")
def test_settings_of_another_member_are_not_used(given: Path) -> None:
    os.chown(given, SOMEBODY - 1, -1)
    settings = given / "operators.toml"
    write_atomically(settings, b"", settings=True)
    for owner in (0, SOMEBODY - 1):
        os.chown(settings, owner, -1)
        assert read_settings(settings) == ""
    os.chown(settings, SOMEBODY, -1)
    with pytest.raises(PersonalizationError, match="settings-not-owners"):
        read_settings(settings)


def test_settings_behind_a_link_are_not_used(given: Path) -> None:
    (given / "real.toml").write_text("", encoding="utf-8")
    (given / "hooks.toml").symlink_to(given / "real.toml")
    with pytest.raises(OSError, match="symbolic links"):
        read_settings(given / "hooks.toml")


MAKERS = {"mkdir", "makedirs", "mkstemp", "mkdtemp", "touch", "FileLock", "write_text", "write_bytes", "chmod"}
"""Calls that make a file or a folder, or say who may use it."""

ELSEWHERE = {
    "personalization/folder_rights.py": "the one place",
    "personalization/atomic_file.py": "mkstemp, and the rights at once",
    "personalization/intake/sample/batch.py": "deliveries as a bureau would send them",
    "personalization/intake/sample/unpacked.py": "the same",
    "personalization/preparation/bulk/layout.py": "the folder is settled before it appears",
    "personalization/preparation/bulk/checking.py": "in such a folder",
    "personalization/preparation/bulk/findings.py": "in such a folder",
    "personalization/preparation/bulk/making.py": "in such a folder",
    "personalization/reports/writer.py": "in such a folder",
    "permitcard/centre.py": "the centre's folder itself",
    "permitcard/release_images.py": "images that travel with a release",
    "permitcard/commands/batch.py": "a page where the caller wants it",
    "permitcard/commands/matrix.py": "a page where the caller wants it",
    "permitcard/commands/rehearse.py": "a page where the caller wants it",
    "permitcard/preparing.py": "findings where the caller wants them",
    "permitcard/testing/suite_report.py": "a page where the caller wants it",
}
"""Modules that make files by themselves, and why they may."""


def opens_to_write(call: ast.Call) -> bool:
    """Whether one of the first two arguments is a mode that makes a file."""
    modes = [each.value for each in call.args[:2] if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return any(mode[:1] in "wax" and set(mode) <= set("waxbt+") for mode in modes if mode)


def test_files_are_made_in_one_place() -> None:
    """A centre of a group works for all its accounts only if nobody makes files past `folder_rights`."""
    found: dict[str, set[str]] = {}
    for package in ("personalization", "permitcard"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if name in MAKERS or (name == "open" and opens_to_write(node)):
                        found.setdefault(path.relative_to(ROOT).as_posix(), set()).add(name)
    assert set(found) == set(ELSEWHERE), found
