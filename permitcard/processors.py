"""How many processors there are for us."""

from __future__ import annotations

import os
import sys


def usable_processors() -> int:
    """Processors that this process may use, 1 or more; a container or ``taskset`` may leave it fewer than there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
