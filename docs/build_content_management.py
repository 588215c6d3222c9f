"""Builds docs/content-management.md from test_vectors/tables/content_management.toml and the template beside it.

Usage: python docs/build_content_management.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from card_os.globalplatform.privileges import Privilege
from test_vectors.expected import read_table

HERE: Final = Path(__file__).resolve().parent
PAGE: Final = HERE / "content-management.md"
TEMPLATE: Final = "content-management.template.md"

_CARD_STATES: Final = ("OP_READY", "INITIALIZED", "SECURED", "CARD_LOCKED", "TERMINATED")
_DOMAIN_STATES: Final = ("SELECTABLE", "LOCKED")


def build() -> str:
    """The whole page."""
    # The page is Markdown and not HTML: escaping would spoil it, and nothing in it comes from outside.
    environment = Environment(  # noqa: S701 - see above
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, keep_trailing_newline=True
    )
    table = read_table("content_management")
    return environment.get_template(TEMPLATE).render(
        actors=table["actors"],
        operations=table["operation"],
        card_states=_CARD_STATES,
        domain_states=_DOMAIN_STATES,
        names=_names,
    )


def _names(privileges: str) -> str:
    """Privileges in words, without that of being a domain."""
    value = Privilege.decode(bytes.fromhex(privileges)) & ~Privilege.SECURITY_DOMAIN
    return ", ".join(str(member.name).lower().replace("_", " ") for member in Privilege if member and member in value)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` tell by the exit code whether it is up to date."""
    page = build()
    if arguments == ["--check"]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
