"""What every command line loads before it knows what it has to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from permitcard.commands.table import TABLE, load

ROOT: Final = Path(__file__).parents[3]
HEAVY: Final = frozenset(
    {"PIL", "alembic", "construct", "cryptography", "filelock", "jinja2", "pydantic", "reportlab", "rich", "serial"}
    | {"smartcard", "sqlalchemy", "ssl", "yaml"}
)
"""Libraries that take longer to load than the parser of the command line."""


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    program = "import sys, permitcard.commands.application as main; main.run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    shown, loaded = done.stdout.rpartition("\n  desk ")[0], set(done.stdout.splitlines()[-1].split())
    assert all(f"\n  {name} " in shown for name in TABLE if name != "desk")
    assert "permitcard.commands.table" in loaded
    assert not any(name.startswith("permitcard.commands.batch") for name in loaded)
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("reader_bridge.")} == {"reader_bridge.connection"}
    assert not {name for name in loaded if name.startswith(("card_os.card", "applet."))}


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_commands_says_what_each_says_of_itself(name: str) -> None:
    entry = TABLE[name]
    assert load(entry.modules).get_short_help_str(200) == entry.words


def test_every_module_of_commands_is_in_the_table() -> None:
    """But those that the modules of the table bring themselves."""
    folder = ROOT / "permitcard" / "commands"
    named = {module for entry in TABLE.values() for module in entry.modules}
    frame = {"__init__", "application", "options", "table"}
    brought = {"gp_keys", "gp_options", "snapshot", "wear", "why"}
    assert {path.stem for path in folder.glob("*.py")} == named | frame | brought
