"""A process that holds keys leaves its memory to nobody: no core dump, no debugger of another user.

Source: setrlimit(2), RLIMIT_CORE; prctl(2), PR_SET_DUMPABLE.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4


def keep_memory_private() -> None:
    """Turn core dumps off for the rest of this process's life and of those that it starts; safe to call twice.

    A kernel that hands core dumps to a program heeds no limit of their size; on Linux the process is therefore marked
    as not to be dumped at all. Where the system has neither, nothing is done.
    """
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_memory_private() -> bool:
    """Whether this process would leave no core dump; True where the system has none."""
    if sys.platform == "win32":
        return True
    import resource

    private = resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    if sys.platform == "linux":
        private = private and ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
    return private
