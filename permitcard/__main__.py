"""Entry point of the ``permitcard`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code: 0 done, 1 found failures, 2 usage, 3 environment."""
    from permitcard.commands.application import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
