"""What the kernel knows of a process, for the report of a failure."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def process_state(process_id: int) -> list[str]:
    """A line for each thread: its name and state, what it waits for, seconds at work and seconds kept waiting.

    A thread that was kept waiting for seconds while it could have run says that the machine was too slow.
    """
    lines = [f"process {process_id}, load {os.getloadavg()[0]:.1f}"]
    for task in sorted(Path(f"/proc/{process_id}/task").glob("*")):
        with suppress(OSError):  # it may end while we look
            state = next(line for line in (task / "status").read_text().splitlines() if line.startswith("State:"))
            ran, kept, slices = (task / "schedstat").read_text().split()
            name, waits = (task / "comm").read_text().strip(), (task / "wchan").read_text()
            lines.append(
                f"  {name}: {state.split(maxsplit=1)[1]} in {waits}, ran {int(ran) / 1e9:.1f} s, "
                f"kept waiting {int(kept) / 1e9:.1f} s, {slices} turns"
            )
    return lines
