"""``permitcard centre``: whose an issuing centre's folder is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import CentreOption, console_of

group = typer.Typer(
    help="Give a centre to a group of system accounts, and check its rights.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@group.command("share")
def share(
    context: typer.Context,
    name: Annotated[str, typer.Option("--group", help="Group of the operating system.", metavar="NAME")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Give a centre to a group, whose accounts then work in it, each under its own name; or mend its rights."""
    from permitcard.centre_group import give

    console = console_of(context)
    changed = give(centre, name)
    console.say("centre.shared", path=centre, group=name, changed=changed)
    console.result({"centre": str(centre), "group": name, "changed": changed})


@group.command("unshare")
def unshare(context: typer.Context, centre: CentreOption = Path("centre")) -> None:
    """Take a centre back from its group: it is its owner's alone again, by its owner or the system's administrator."""
    from permitcard.centre_group import take_back

    console = console_of(context)
    changed = take_back(centre)
    console.say("centre.taken-back", path=centre, changed=changed)
    console.result({"centre": str(centre), "changed": changed})


@group.command("check")
def check(context: typer.Context, centre: CentreOption = Path("centre")) -> int:
    """List files and folders of a centre that are more open, or more closed, than they ought to be."""
    from permitcard.centre_group import findings

    console = console_of(context)
    found = findings(centre)
    for finding in found:
        console.say(f"centre.fault.{finding.fault.value}", **finding.document())
    console.say("centre.wrong" if found else "centre.right", path=centre, count=len(found))
    console.result({"centre": str(centre), "findings": [finding.document() for finding in found]})
    return 1 if found else 0
