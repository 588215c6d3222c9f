"""A centre that is given to a group: what is changed, who is refused, and what is told of wrong rights.

The group is that of whoever runs the tests; several accounts are in `tests/console/test_shared_centre.py`.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from permitcard import centre_group
from permitcard.centre import Centre
from permitcard.centre_group import Fault, findings, give, require_access, take_back
from permitcard.commands.keys import make_keys
from permitcard.system_accounts import account_name, group_name, whose
from personalization.errors import PersonalizationError
from personalization.folder_rights import GROUP_FILE, file_lock
from personalization.production.operators import Roster

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no groups of accounts")
GROUP = "" if sys.platform == "win32" else group_name(os.getegid())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A centre of one account with something of everything in it, made under a usual umask."""
    root = tmp_path / "centre"
    Centre(root).make_test_passphrase()
    (root / "cards" / "0001").mkdir(parents=True)
    (root / "cards" / "0001" / "1.card").write_bytes(b"card")
    (root / "journal.sqlite").write_bytes(b"")
    (root / "operators.toml").write_text("", encoding="utf-8")
    (root / "elsewhere").symlink_to("/etc/passwd")
    return root


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(work: Callable[[], object]) -> tuple[str, int]:
    with pytest.raises(PersonalizationError) as caught:
        work()
    return caught.value.code, caught.value.exit_code


def test_everything_of_a_centre_becomes_its_groups(root: Path) -> None:
    before = Path("/etc/passwd").stat()
    assert give(root, GROUP) == 6
    assert [mode(root / name) for name in (".", "cards", "cards/0001")] == [0o2770] * 3
    assert [mode(root / name) for name in ("cards/0001/1.card", "journal.sqlite")] == [0o660] * 2
    assert [mode(root / name) for name in ("operators.toml", GROUP_FILE)] == [0o640] * 2
    assert {path.lstat().st_gid for path in root.rglob("*") if not path.is_symlink()} == {os.getegid()}
    assert Path("/etc/passwd").stat() == before, "nothing that a link leads to"
    assert findings(root) == []
    assert give(root, GROUP) == 0, "safe to do again"
    require_access(root)


@pytest.mark.parametrize("interrupted_after", range(7))
def test_nobody_works_in_a_centre_that_is_half_given(
    root: Path, monkeypatch: pytest.MonkeyPatch, interrupted_after: int
) -> None:
    change, left = centre_group._set, [interrupted_after]

    def interrupted(path: Path, mode: int, group: int) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        change(path, mode, group)

    with monkeypatch.context() as patched:
        patched.setattr(centre_group, "_set", interrupted)
        with pytest.raises(KeyboardInterrupt):
            give(root, GROUP)
    assert refused(Centre(root).journal_place) == ("centre-group-differs", 3)
    assert refused(Centre(root).key_store) == ("centre-group-differs", 3)
    give(root, GROUP)
    assert findings(root) == []


def test_a_centre_is_taken_back(root: Path) -> None:
    give(root, GROUP)
    assert take_back(root) == 7
    assert not (root / GROUP_FILE).exists()
    assert {mode(path) for path in (root, *root.rglob("*")) if path.is_dir()} == {0o700}
    assert {mode(path) for path in root.rglob("*") if path.is_file() and not path.is_symlink()} == {0o600}
    assert findings(root) == []
    require_access(root)
    assert refused(lambda: take_back(root)) == ("centre-not-shared", 2)
    assert refused(lambda: take_back(root.parent / "missing")) == ("folder-missing", 2)


@pytest.mark.parametrize("interrupted_after", range(8))
def test_nobody_works_in_a_centre_that_is_half_taken_back(
    root: Path, monkeypatch: pytest.MonkeyPatch, interrupted_after: int
) -> None:
    give(root, GROUP)
    change, left = centre_group._set, [interrupted_after]

    def interrupted(path: Path, mode: int, group: int, owner: int) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        change(path, mode, group, owner)

    with monkeypatch.context() as patched:
        patched.setattr(centre_group, "_set", interrupted)
        with pytest.raises(KeyboardInterrupt):
            take_back(root)
    if interrupted_after:
        assert refused(Centre(root).key_store) == ("centre-group-differs", 3)
        assert findings(root), "what is still the group's is told"
    take_back(root)
    assert findings(root) == []


@pytest.mark.parametrize("name", ["batches/.preparing.lock", "journal.sqlite.locks/batch-1.lock", "keys.lock"])
def test_nothing_is_changed_while_somebody_works(root: Path, name: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    lock = file_lock(root / name)
    with lock:
        assert refused(lambda: give(root, GROUP)) == ("centre-at-work", 3)
    assert not (root / GROUP_FILE).exists()
    give(root, GROUP)
    before = {path: mode(path) for path in root.rglob("*")}
    with lock:
        assert give(root, GROUP) == 0, "nothing has to be changed"
        assert refused(lambda: take_back(root)) == ("centre-at-work", 3)
    assert {path: mode(path) for path in root.rglob("*")} == before
    take_back(root)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only the administrator gives files away")
def test_the_administrator_makes_files_of_others_the_owners(root: Path) -> None:
    give(root, GROUP)
    os.chown(root / "cards" / "0001" / "1.card", 65534, -1)
    os.chown(root, 65533, -1)
    take_back(root)
    assert {path.lstat().st_uid for path in (root, *root.rglob("*")) if not path.is_symlink()} == {65533}


def open_to_others(root: Path) -> None:
    (root / "journal.sqlite").chmod(0o664)


def closed_to_the_group(root: Path) -> None:
    (root / "cards").chmod(0o2700)


def group_is_not_handed_on(root: Path) -> None:
    (root / "cards").chmod(0o770)


def settings_of_everybody(root: Path) -> None:
    (root / "operators.toml").chmod(0o660)


WRONG = [
    (open_to_others, "journal.sqlite", Fault.OPEN),
    (closed_to_the_group, "cards", Fault.CLOSED),
    (group_is_not_handed_on, "cards", Fault.CLOSED),
    (settings_of_everybody, "operators.toml", Fault.WRITABLE),
]


@pytest.mark.parametrize(("spoil", "name", "fault"), WRONG, ids=lambda value: getattr(value, "__name__", None))
def test_wrong_rights_are_told_and_mended(root: Path, spoil: Callable[[Path], None], name: str, fault: Fault) -> None:
    give(root, GROUP)
    spoil(root)
    assert [(each.path, each.fault) for each in findings(root)] == [(str(root / name), fault)]
    give(root, GROUP)
    assert findings(root) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only the administrator gives files away")
def test_a_file_of_a_foreign_group_or_of_a_stranger_is_told(root: Path) -> None:
    give(root, GROUP)
    os.chown(root / "journal.sqlite", -1, 65534)
    os.chown(root / "cards" / "0001", 65534, -1)
    found = {(Path(each.path).name, each.fault) for each in findings(root)}
    assert found == {("journal.sqlite", Fault.OTHER_GROUP), ("0001", Fault.STRANGER)}
    os.chown(root, -1, 65534)
    assert refused(lambda: require_access(root)) == ("centre-group-differs", 3)


def test_a_centre_of_one_account_is_looked_at_too(root: Path) -> None:
    assert findings(root) == []
    root.chmod(0o755)
    assert [(each.path, each.fault) for each in findings(root)] == [(str(root), Fault.OPEN)]


def test_a_restored_copy_without_its_rights_is_refused(root: Path) -> None:
    give(root, GROUP)
    root.chmod(0o755)
    assert refused(Centre(root).key_store) == ("centre-group-differs", 3)


def test_a_group_that_the_system_does_not_know_is_refused_before_anything_is_done(root: Path) -> None:
    assert refused(lambda: give(root, "no such group")) == ("group-unknown", 2)
    assert not (root / GROUP_FILE).exists()
    assert refused(lambda: Centre(root.parent / "new").make_root("no such group")) == ("group-unknown", 2)
    assert not (root.parent / "new").exists()
    assert refused(lambda: give(root.parent / "missing", GROUP)) == ("folder-missing", 2)


@pytest.mark.parametrize("text", ["", "[group]", "group = 1", "\xff"])
def test_a_group_file_that_says_nothing_lets_nobody_in(root: Path, text: str) -> None:
    give(root, GROUP)
    (root / GROUP_FILE).write_text(text, encoding="latin-1")
    assert refused(Centre(root).key_store) == ("group-file-malformed", 3)


def test_a_centre_of_a_group_has_a_roster(root: Path) -> None:
    """Whoever may put files into the folder could take it away, and one person alone may do everything without."""
    (root / "operators.toml").unlink()
    assert Roster.load(root / "operators.toml", production=False).alone
    give(root, GROUP)
    assert refused(lambda: Roster.load(root / "operators.toml", production=False)) == ("operators-missing", 2)


def test_numbers_without_a_name_are_shown_as_numbers(tmp_path: Path) -> None:
    assert (account_name(4_000_000_000), group_name(4_000_000_000)) == ("uid-4000000000", "gid-4000000000")
    assert whose(tmp_path / "a" / "b" / "c")["owner"] == "?"
    assert whose(tmp_path / "missing")["owner"] == account_name(tmp_path.stat().st_uid)


def test_a_new_centre_is_made_for_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("PERMITCARD_")]:
        monkeypatch.delenv(variable)
    place = Centre(tmp_path / "new")
    assert make_keys(place.root, try_out=True, group=GROUP) == place.keys
    assert [mode(path) for path in (place.root, place.keys, place.test_passphrase)] == [0o2770, 0o660, 0o660]
    assert findings(place.root) == []
    assert place.key_store().open().production is False
