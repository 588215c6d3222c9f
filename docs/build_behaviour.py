"""Builds docs/card-behaviour.md from the tables in test_vectors/tables and the template beside it.

Usage: python docs/build_behaviour.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from test_vectors.expected import APPLICATIONS, CARD, INTERFACES, read_table

HERE: Final = Path(__file__).resolve().parent
PAGE: Final = HERE / "card-behaviour.md"
TEMPLATE: Final = "card-behaviour.template.md"

_CARD_STATES: Final = ("01", "07", "0F", "7F", "FF")
_FILE_STATES: Final = ("01", "03", "04", "05", "0C")
_EVENTS: Final = {"44": "ACTIVATE", "04": "DEACTIVATE", "E8": "TERMINATE", "E4": "DELETE"}
_RUNS: Final = {
    "File commands": "file_commands",
    "File management": "file_management",
    "Channels, chaining and ENVELOPE": "transport",
}
_NOTE: Final = "the files on it are told in tests/doubles/file_card.py and tests/doubles/recording_applet.py."


def build() -> str:
    """The whole page."""
    # The page is Markdown and not HTML: escaping would spoil it, and nothing in it comes from outside.
    environment = Environment(  # noqa: S701 - see above
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template(TEMPLATE).render(
        classes=read_table("class_bytes"),
        cases=read_table("apdu_cases"),
        life=read_table("card_life_cycle"),
        files=read_table("file_life_cycle"),
        card=read_table(f"commands/{CARD}"),
        applications=[read_table(f"commands/{name}") for name in APPLICATIONS],
        runs=[(title, read_table(name)["run"]) for title, name in _RUNS.items()],
        interfaces=INTERFACES,
        card_states=_CARD_STATES,
        file_states=_FILE_STATES,
        events=_EVENTS,
        note=_NOTE,
        commands=_commands,
    )


def _commands(table: Mapping[str, Any]) -> str:
    """The commands of an application, each as a table of P1-P2."""
    lines: list[str] = []
    for command in table["command"]:
        head = f"{'80' if command.get('class') == 'proprietary' else '00'} {command['ins']}"
        lines += ["", f"**{command['name']}** `{head}` ({command['clause']})", ""]
        lines += ["| P1 | P2 | data | answer | why |", "|---|---|---|---|---|"]
        for p1, p2, data, answer, why in command["rows"]:
            shown = data.replace("{aid}", "its name").replace(" ", "")
            lines.append(f"| {p1} | {p2} | {f'`{shown}`' if shown else '–'} | {answer} | {why} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` tell by the exit code whether it is up to date."""
    page = build()
    if arguments == ["--check"]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
