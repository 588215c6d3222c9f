"""``permitcard card snapshot``: save, load and compare states of a card file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permitcard.commands.options import console_of

if TYPE_CHECKING:
    from permitcard.console import Console
    from permitcard.snapshots import CardSnapshots


class SnapshotAction(StrEnum):
    """What is done with snapshots."""

    SAVE = "save"
    LOAD = "load"
    LIST = "list"
    STEP_BACK = "step-back"
    COMPARE = "compare"
    FORK = "fork"


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("snapshot")(snapshot)


def snapshot(
    context: typer.Context,
    card: Annotated[Path, typer.Argument(help="Card file.", metavar="CARD")],
    action: Annotated[SnapshotAction, typer.Argument(help="What to do.")],
    name: Annotated[
        str | None, typer.Argument(help="Name of the snapshot; for compare also another card file.", metavar="NAME")
    ] = None,
    target: Annotated[Path | None, typer.Argument(help="For fork: the new card file.", metavar="NEW")] = None,
) -> None:
    """Save a card file's state, bring it back, go one step back, compare, or fork a new card from it."""
    from permitcard.snapshots import CardSnapshots
    from personalization.errors import PersonalizationError

    console = console_of(context)
    snapshots = CardSnapshots(card)
    needs_name = action in (SnapshotAction.LOAD, SnapshotAction.COMPARE, SnapshotAction.FORK)
    if (needs_name and name is None) or ((action is SnapshotAction.FORK) != (target is not None)):
        raise PersonalizationError("snapshot-usage", exit_code=2, action=action.value)
    match action:
        case SnapshotAction.LIST:
            _list(console, snapshots)
            return
        case SnapshotAction.COMPARE:
            _compare(console, snapshots, name or "")
            return
        case SnapshotAction.SAVE:
            found = snapshots.save(name)
        case SnapshotAction.LOAD:
            found = snapshots.load(name or "")
        case SnapshotAction.STEP_BACK:
            found = snapshots.step_back()
        case SnapshotAction.FORK:
            found = snapshots.fork(name or "", target or card)
    console.say(f"snapshot.{action.value}", name=found.name, path=found.path, card=card, target=target)
    console.result({"card": str(card), "action": action.value, "snapshot": found.document()})


def _list(console: Console, snapshots: CardSnapshots) -> None:
    found = snapshots.list()
    if not found:
        console.say("snapshot.none")
    for item in found:
        console.write(f"{item.number:4d}  {item.name}")
    console.result({"snapshots": [item.document() for item in found]})


def _compare(console: Console, snapshots: CardSnapshots, other: str) -> None:
    """Ends with 1 where the cards differ."""
    differences = snapshots.compare(other)
    for item in differences:
        console.say(
            f"difference.{item.kind.value}",
            application=item.application or console.translate("difference.card"),
            object=console.translate(f"difference.object.{item.item}"),
            identifier=f"{item.identifier:04X}",
            detail=item.detail,
        )
    if not differences:
        console.say("snapshot.same")
    console.result({"differences": [item.document() for item in differences]})
    if differences:
        raise typer.Exit(1)
