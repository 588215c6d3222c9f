"""Entry point of the ``permitcard`` command."""

from __future__ import annotations

import os
import sys
from typing import TextIO, cast


def main() -> None:
    """Run the command line and exit with its code: 0 done, 1 found failures, 2 usage, 3 environment."""
    _open_closed_streams()
    try:
        from permitcard.commands.application import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before a command was known
        code = 1
    sys.exit(code)


def _open_closed_streams() -> None:
    """Whoever closed a standard stream gets the null device in its place.

    Otherwise the next file that is opened takes its number, and what a library prints would go into the journal.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if cast("TextIO | None", getattr(sys, name)) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end


if __name__ == "__main__":
    main()
