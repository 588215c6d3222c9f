"""What every command line loads before it knows what it has to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
HEAVY: Final = frozenset(
    {"PIL", "alembic", "construct", "cryptography", "filelock", "jinja2", "pydantic", "reportlab", "rich", "serial"}
    | {"smartcard", "sqlalchemy", "ssl", "yaml"}
)
"""Libraries that take longer to load than the parser of the command line."""


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    program = "import sys, permitcard.commands.application; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "permitcard.commands.batch" in loaded
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.startswith(("card_os.card", "reader_bridge.", "applet."))}
