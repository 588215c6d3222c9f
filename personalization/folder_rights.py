"""Rights of what is made in a folder: those of the folder itself, whatever the operator's umask says.

| the folder belongs to | its files | folders in it |
|---|---|---|
| its owner alone | 0600 | 0700 |
| a group: rights 2770, at or below a folder whose owner has put a `GROUP_FILE` into it | 0660 | 2770 |

The set-group-id bit hands the group on to all that is made in such a folder; the system does that by itself, and here
the rights follow. The file is asked for because a folder that was given to a group for other reasons is none of ours:
what has keys stays its owner's there. Rights are set once, by whoever makes a file, for nobody else could. Whatever
writes into a centre makes its files by `atomic_file` or by a function of this module. Windows has no such folders.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from filelock import FileLock

GROUP_FILE: Final = "group.toml"
"""Stands in a folder that was given to a group, and names the group."""


class Rights(NamedTuple):
    """Mode bits of what is made in a folder."""

    file: int
    folder: int


OWNER_ALONE: Final = Rights(0o600, 0o700)
WHOLE_GROUP: Final = Rights(0o660, stat.S_ISGID | 0o770)
WRITTEN_BY_ONE: Final = 0o640
"""Of a file that the group reads and its owner alone may write."""

_BY_OTHERS: Final = 0o022
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)


def rights_in(folder: Path) -> Rights:
    """Rights of what is made in a folder; of one that is not there too, which whoever makes something there is told."""
    place = folder.absolute()
    for each in (place, *place.parents):
        try:
            status = each.stat()
        except OSError:
            return OWNER_ALONE
        if stat.S_IMODE(status.st_mode) != WHOLE_GROUP.folder:
            return OWNER_ALONE
        if _gave(each, status.st_uid):
            return WHOLE_GROUP
    return OWNER_ALONE


def _gave(folder: Path, owner: int) -> bool:
    """Whether the folder's owner has said that it is a group's; anybody of a group can put files into its folders."""
    try:
        status = (folder / GROUP_FILE).lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid in {0, owner}


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Make a folder with the rights of the one around it, and that one too where it is missing.

    Raises:
        FileExistsError: something else has the name, or ``exist_ok`` is False.
        OSError: it cannot be made.
    """
    if exist_ok and folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    rights = rights_in(folder.parent)
    try:
        folder.mkdir(OWNER_ALONE.folder)
    except FileExistsError:
        if exist_ok and folder.is_dir():
            return  # somebody was faster
        raise
    if rights is WHOLE_GROUP:
        folder.chmod(rights.folder)


def make_file(path: Path) -> None:
    """Make an empty file with the rights of its folder, unless it is there.

    Raises:
        OSError: it cannot be made.
    """
    rights = rights_in(path.parent)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, rights.file)
    except FileExistsError:
        return
    try:
        grant(descriptor, rights)
    finally:
        os.close(descriptor)


def grant(descriptor: int, rights: Rights, *, settings: bool = False) -> None:
    """Give a file that was just made the rights of its folder, where they are more than its owner's.

    Args:
        descriptor: the open file.
        rights: of its folder, see `rights_in`.
        settings: nobody but its owner is to write it, see `read_settings`.
    """
    if sys.platform != "win32" and rights is not OWNER_ALONE:
        os.fchmod(descriptor, WRITTEN_BY_ONE if settings else rights.file)


def settle(tree: Path, around: Path) -> None:
    """Give a folder that is about to appear, and all in it, the rights of the folder around.

    What has them already is let alone: a file may have been taken over from somebody else by a link.

    Raises:
        OSError: a file is another account's and has other rights.
    """
    rights = rights_in(around)
    if rights is OWNER_ALONE:
        return
    for place, _, names in os.walk(tree):
        for path, mode in [(Path(place), rights.folder), *((Path(place, name), rights.file) for name in names)]:
            if stat.S_IMODE(path.lstat().st_mode) != mode:
                path.chmod(mode)


def file_lock(path: Path, *, timeout: float = -1) -> FileLock:
    """A lock that the operating system frees when its holder dies; its file is made when it is taken.

    Args:
        path: the lock file.
        timeout: seconds to wait for it; -1 waits for ever.
    """
    from filelock import FileLock  # takes 50 ms, which who writes files only need not wait for

    return FileLock(path, timeout=timeout, mode=rights_in(path.parent).file)


def is_locked(path: Path) -> bool:
    """Whether a living process holds a lock of `file_lock`; asks for no more than others may hold at the same time.

    Raises:
        OSError: the file cannot be read.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_settings(path: Path) -> str:
    """The text of a file that says what is run, or who may do what.

    In a folder of a group, everybody of the group can put a file there, and who runs the next command would do what it
    says. So it has to be a file of the folder's owner (or the system's administrator), and nobody else may write it.

    Raises:
        PersonalizationError: "settings-not-owners", exit 3.
        OSError: it cannot be read.
        ValueError: it is no UTF-8.
    """
    if rights_in(path.parent) is OWNER_ALONE:
        return path.read_text("utf-8")
    with os.fdopen(os.open(path, os.O_RDONLY | _NO_LINK), "rb") as stream:
        status = os.fstat(stream.fileno())
        if status.st_uid not in {0, path.parent.stat().st_uid} or status.st_mode & _BY_OTHERS:
            raise PersonalizationError("settings-not-owners", exit_code=3, file=str(path))
        return stream.read().decode("utf-8")
