"""A centre of a group: several system accounts work in one folder, each under its own name.

`GROUP_FILE` in the centre's folder names the group; whoever owns the folder administers the centre. What is made in the
centre gets the group's rights by itself (`personalization.folder_rights`). Here a centre is given to a group and taken
back, whoever is not let in is told why, and what has other rights than it ought to have is found.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from permitcard.system_accounts import (
    ADMINISTRATOR,
    account_name,
    acts_for,
    belongs,
    group_name,
    group_number,
    is_member,
    primary_group,
    system_user,
    whose,
)
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import GROUP_FILE, OWNER_ALONE, WHOLE_GROUP, WRITTEN_BY_ONE, is_locked

SETTINGS: Final = frozenset({GROUP_FILE, "operators.toml", "hooks.toml", "hsm.toml", "journal.toml", "sams.toml"})
"""Files in the centre's folder that its owner alone may write, see `folder_rights.read_settings`."""

_BY_OTHERS: Final = 0o007
_BY_GROUP: Final = stat.S_ISGID | 0o070
_WRITABLE: Final = 0o022
_AS_IT_IS: Final = -1
_LOCKS: Final = ".lock"
_USAGE: Final = 2
_ENVIRONMENT: Final = 3


class Fault(StrEnum):
    """What is wrong with the rights of a file or folder of a centre."""

    OPEN = "open"
    OTHER_GROUP = "other-group"
    CLOSED = "closed"
    STRANGER = "stranger"
    WRITABLE = "writable"


@dataclass(frozen=True, slots=True)
class Finding:
    """A file or folder with wrong rights.

    Attributes:
        path: of it.
        fault: what is wrong.
        owner: account that owns it.
        group: its group.
        mode: its rights, octal.
    """

    path: str
    fault: Fault
    owner: str
    group: str
    mode: str

    def document(self) -> dict[str, str]:
        """For programs, and for messages."""
        return asdict(self)


def require_access(root: Path) -> None:
    """Refuse a caller whom a centre is closed to, before anything is begun; where no folder is, others have to say so.

    Raises:
        PersonalizationError: exit 3: "centre-read-only"; "centre-closed", it is its owner's alone;
            "centre-not-member", the caller is not of its group; "centre-group-differs", the folder has other rights
            than its group's; "group-unknown", "group-file-malformed", "group-not-here".
    """
    try:
        status = root.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(status.st_mode):
        return
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        if sys.platform != "win32" and os.statvfs(root).f_flag & os.ST_RDONLY:
            raise PersonalizationError("centre-read-only", exit_code=_ENVIRONMENT, path=str(root))
        raise _closed(root, status)
    if not (root / GROUP_FILE).exists():
        return
    _require_groups()
    name = group_of(root)
    number = _number(name, _ENVIRONMENT)
    if _rights(status) != (WHOLE_GROUP.folder, number):
        raise PersonalizationError("centre-group-differs", exit_code=_ENVIRONMENT, path=str(root), group=name)
    if not is_member(number):
        raise _closed(root, status)


def require_owner(root: Path) -> None:
    """Refuse who does not administer a centre of a group.

    Raises:
        PersonalizationError: "centre-not-owner", exit 2.
    """
    if (root / GROUP_FILE).exists() and not acts_for(owner := root.stat().st_uid):
        raise PersonalizationError("centre-not-owner", exit_code=_USAGE, path=str(root), owner=account_name(owner))


def require_group(name: str) -> int:
    """Number of a group that this process may give a centre to.

    Raises:
        PersonalizationError: "group-unknown", "group-not-joined" (exit 2); "group-not-here" (exit 3), on Windows.
    """
    _require_groups()
    number = _number(name, _USAGE)
    if not is_member(number):
        raise PersonalizationError("group-not-joined", exit_code=_USAGE, group=name, account=system_user())
    return number


def group_of(root: Path) -> str:
    """Name of the group that a centre was given to.

    Raises:
        PersonalizationError: "group-file-malformed", exit 3.
    """
    path = root / GROUP_FILE
    try:
        return str(tomllib.loads(path.read_text("utf-8"))["group"]["name"])
    except (ValueError, KeyError, TypeError):
        raise PersonalizationError("group-file-malformed", exit_code=_ENVIRONMENT, file=str(path)) from None


def give(root: Path, group: str) -> int:
    """Give a centre to a group; returns how many files and folders were changed. Safe to do again, also after a kill.

    Until its last step the centre refuses everybody ("centre-group-differs"), so that nobody works in one half given.

    Args:
        root: the centre's folder.
        group: its name at the operating system.

    Raises:
        PersonalizationError: as `require_group`; "folder-missing", "centre-not-owner" (exit 2); exit 3, nothing was
            changed: "centre-file-of-other", a file is another account's; "centre-at-work".
    """
    number = require_group(group)
    status = _own_folder(root)
    changes: list[tuple[Path, int]] = []
    for path, mode, found in _entries(root):
        if _rights(found) != (mode, number):
            _require_mine(path, found)
            changes.append((path, mode))
    if changes or _rights(status) != (WHOLE_GROUP.folder, number):
        _require_rest(root)
    content = f"[group]\nname = {json.dumps(group, ensure_ascii=False)}\n"
    write_atomically(root / GROUP_FILE, content.encode(), settings=True)
    for path, mode in (*changes, (root / GROUP_FILE, WRITTEN_BY_ONE), (root, WHOLE_GROUP.folder)):
        _set(path, mode, number)
    return len(changes)


def take_back(root: Path) -> int:
    """Make a centre its owner's alone again; returns how many files and folders were changed.

    The centre's folder is closed first and its group's file goes last, so that it refuses everybody in between. Safe to
    do again, also after a kill. What accounts of the group have copied, they keep.

    Args:
        root: the centre's folder.

    Raises:
        PersonalizationError: "folder-missing", "centre-not-owner", "centre-not-shared" (exit 2); exit 3, nothing was
            changed: "centre-file-of-other", whose owner only the administrator can change; "centre-at-work";
            "group-not-here".
    """
    _require_groups()
    status = _own_folder(root)
    if not (root / GROUP_FILE).exists():
        raise PersonalizationError("centre-not-shared", exit_code=_USAGE, path=str(root))
    owner, group = status.st_uid, primary_group(status.st_uid, status.st_gid)
    changes: list[tuple[Path, int]] = []
    for path, _, found in _entries(root):
        mode = OWNER_ALONE.folder if stat.S_ISDIR(found.st_mode) else OWNER_ALONE.file
        if (*_rights(found), found.st_uid) != (mode, group, owner):
            _require_mine(path, found)
            if found.st_uid != owner and not acts_for(ADMINISTRATOR):
                raise _of_other(path)
            changes.append((path, mode))
    _require_rest(root)
    for path, mode in ((root, OWNER_ALONE.folder), *changes):
        _set(path, mode, group, owner)
    (root / GROUP_FILE).unlink()
    return len(changes)


def findings(root: Path) -> list[Finding]:
    """Files and folders of a centre with other rights than they ought to have.

    Raises:
        PersonalizationError: "folder-missing" (exit 2); exit 3: "group-unknown", "group-file-malformed",
            "group-not-here".
        OSError: a folder cannot be read.
    """
    _require_groups()
    own = _folder(root)
    number = _number(group_of(root), _ENVIRONMENT) if (root / GROUP_FILE).exists() else None
    found: list[Finding] = []
    for path, mode, status in ((root, WHOLE_GROUP.folder, own), *_entries(root)):
        fault = _fault_alone(path == root, status, own) if number is None else _fault(mode, status, own, number)
        if fault is not None:
            shown = f"{stat.S_IMODE(status.st_mode):04o}"
            found.append(Finding(str(path), fault, account_name(status.st_uid), group_name(status.st_gid), shown))
    return found


def _fault(mode: int, found: os.stat_result, root: os.stat_result, group: int) -> Fault | None:
    """What is wrong in a centre of a group, the worst first."""
    has, number = _rights(found)
    if has & _BY_OTHERS:
        return Fault.OPEN
    if number != group:
        return Fault.OTHER_GROUP
    if mode == WRITTEN_BY_ONE and (has & _WRITABLE or found.st_uid not in {ADMINISTRATOR, root.st_uid}):
        return Fault.WRITABLE
    if mode & ~has & _BY_GROUP:
        return Fault.CLOSED
    return None if belongs(found.st_uid, group) else Fault.STRANGER


def _fault_alone(is_root: bool, found: os.stat_result, root: os.stat_result) -> Fault | None:
    """What is wrong in a centre of one account; what lies in a folder that is closed is closed."""
    if is_root and _rights(found)[0] & ~OWNER_ALONE.folder & (_BY_GROUP | _BY_OTHERS) & ~stat.S_ISGID:
        return Fault.OPEN
    return None if found.st_uid == root.st_uid else Fault.STRANGER


def _rights(status: os.stat_result) -> tuple[int, int]:
    """Mode bits and group."""
    return stat.S_IMODE(status.st_mode), status.st_gid


def _entries(root: Path) -> Iterator[tuple[Path, int, os.stat_result]]:
    """Everything below a centre's folder, folders before what is in them: path, a group's rights, what it is."""
    for place, folders, files in os.walk(root, onerror=_raise):
        for name in (*folders, *files):
            path = Path(place, name)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                yield path, WHOLE_GROUP.folder, status
            elif stat.S_ISREG(status.st_mode):
                yield path, WRITTEN_BY_ONE if path.parent == root and name in SETTINGS else WHOLE_GROUP.file, status


def _set(path: Path, mode: int, group: int, owner: int = _AS_IT_IS) -> None:
    """Give one file or folder its owner, group and rights; nothing that a link leads to."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchown(descriptor, owner, group)
            os.fchmod(descriptor, mode)  # after the group, whose change takes bits away
        finally:
            os.close(descriptor)


def _closed(root: Path, status: os.stat_result) -> PersonalizationError:
    if status.st_mode & stat.S_ISGID and status.st_mode & 0o070:
        return PersonalizationError("centre-not-member", exit_code=_ENVIRONMENT, path=str(root), **whose(root))
    return PersonalizationError("centre-closed", exit_code=_ENVIRONMENT, path=str(root), **whose(root))


def _own_folder(root: Path) -> os.stat_result:
    """What a centre's folder is, whose owner this process acts for."""
    status = _folder(root)
    if not acts_for(status.st_uid):
        owner = account_name(status.st_uid)
        raise PersonalizationError("centre-not-owner", exit_code=_USAGE, path=str(root), owner=owner)
    return status


def _require_mine(path: Path, found: os.stat_result) -> None:
    if not acts_for(found.st_uid):
        raise _of_other(path)


def _of_other(path: Path) -> PersonalizationError:
    return PersonalizationError("centre-file-of-other", exit_code=_ENVIRONMENT, path=str(path), **whose(path))


def _require_rest(root: Path) -> None:
    """Refuse while a station, a coordinator or a preparation works here: each holds a lock for as long as it lives."""
    for path, _, status in _entries(root):
        if path.name.endswith(_LOCKS) and stat.S_ISREG(status.st_mode) and is_locked(path):
            raise PersonalizationError("centre-at-work", exit_code=_ENVIRONMENT, path=str(root), lock=path.name)


def _folder(root: Path) -> os.stat_result:
    if not root.is_dir():
        raise PersonalizationError("folder-missing", exit_code=_USAGE, path=str(root))
    return root.stat()


def _number(group: str, exit_code: int) -> int:
    number = group_number(group)
    if number is None:
        raise PersonalizationError("group-unknown", exit_code=exit_code, group=group)
    return number


def _require_groups() -> None:
    if sys.platform == "win32":
        raise PersonalizationError("group-not-here", exit_code=_ENVIRONMENT)


def _raise(error: OSError) -> None:
    raise error
