"""Accounts and groups of the operating system: who runs this process, whose a file is, who is of a group.

Windows has neither, as far as this program is concerned; there everybody is alone.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path
from typing import Final

ADMINISTRATOR: Final = 0
"""Number of the account whom no rights stop."""


def system_user() -> str:
    """Name of the user whom the process runs as; environment variables, which anybody sets, do not count."""
    return getpass.getuser() if sys.platform == "win32" else account_name(os.getuid())


def account_name(number: int) -> str:
    """Name of an account, its number where it has none."""
    if sys.platform == "win32":
        return str(number)
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid-{number}"


def group_name(number: int) -> str:
    """Name of a group, its number where it has none."""
    if sys.platform == "win32":
        return str(number)
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return f"gid-{number}"


def group_number(name: str) -> int | None:
    """Number of a group; None when there is none of that name."""
    if sys.platform == "win32":
        return None
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def primary_group(account: int, unknown: int) -> int:
    """Number of the group that an account logs in with; ``unknown`` where the system does not know the account."""
    if sys.platform == "win32":
        return unknown
    import pwd

    try:
        return pwd.getpwuid(account).pw_gid
    except KeyError:
        return unknown


def acts_for(owner: int) -> bool:
    """Whether this process may do what the owner of a file may."""
    return sys.platform == "win32" or os.geteuid() in {ADMINISTRATOR, owner}


def is_member(group: int) -> bool:
    """Whether this process may do what a group may."""
    return sys.platform == "win32" or os.geteuid() == ADMINISTRATOR or group in {os.getegid(), *os.getgroups()}


def belongs(account: int, group: int) -> bool:
    """Whether an account is of a group, or the administrator's."""
    if sys.platform == "win32" or account == ADMINISTRATOR:
        return True
    import grp
    import pwd

    try:
        user, members = pwd.getpwuid(account), grp.getgrgid(group).gr_mem
    except KeyError:
        return False
    return user.pw_gid == group or user.pw_name in members


def whose(path: Path) -> dict[str, str]:
    """For messages: who runs this process, and owner, group and rights (octal) of a file, or of the folder it is in.

    Returns:
        "account", "owner", "group" and "mode"; "?" for what nobody may know.
    """
    told = {"account": system_user(), "owner": "?", "group": "?", "mode": "?"}
    for place in (path, path.parent):
        try:
            status = place.lstat()
        except OSError:
            continue
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        return {**told, "owner": account_name(status.st_uid), "group": group_name(status.st_gid), "mode": mode}
    return told
