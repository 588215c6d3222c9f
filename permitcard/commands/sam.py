"""``permitcard sam``: the security modules of stations and desks."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import CentreOption, console_of
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from permitcard.console import Console
    from permitcard.sam_keeping import ShownSam
    from personalization.production.journal.sams import SamEntry
    from personalization.sams.office import ChangedKeys

group = typer.Typer(help="Make, show, list and retire SAMs.", no_args_is_help=True, rich_markup_mode=None)

ReaderOption = Annotated[
    str, typer.Option("--reader", help="pcsc:NAME, serial:PORT, …; where the SAM lies.", metavar="ADDRESS")
]

_LONGEST_REASON: Final = 64
_FAILURES: Final = 1
_MICROSECONDS: Final = 1_000_000


@group.command("make")
def make(
    context: typer.Context,
    centre: CentreOption = Path("centre"),
    reader: Annotated[
        str | None,
        typer.Option(
            "--reader",
            help="pcsc:NAME, serial:PORT, …; in a rehearsal sim:FILE, or nothing for a new simulated chip.",
            metavar="ADDRESS",
        ),
    ] = None,
) -> None:
    """Make the chip in a reader a SAM of this centre, from what its vendor delivered or where it was left.

    A load key that is in it is never deleted; pulled or without power in between, it is made by the same command again.
    """
    from permitcard import sam_keeping
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        made = sam_keeping.make(job, reader)
    condition = made.before.condition.value
    number = made.facts.card_number.upper()
    console.say(
        "sam.made", card_id=number, reader=made.reader, condition=console.translate(f"sam.condition.{condition}")
    )
    console.result(
        {
            "card_id": number,
            "reader": made.reader,
            "found": condition,
            "profile": made.facts.profile,
            "authentications_left": made.facts.authentications,
            "wrong_cards_left": made.facts.wrong_cards,
        }
    )


@group.command("show")
def show(context: typer.Context, reader: ReaderOption, centre: CentreOption = Path("centre")) -> None:
    """Show the SAM in a reader: number, profile, generation, uses left, and what the journal knows of it."""
    from permitcard import sam_keeping
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        shown = sam_keeping.show(job, reader)
    number, facts, entry = shown.card_number.upper() or "-", shown.facts, shown.entry
    if facts is not None:
        console.say(
            "sam.facts",
            card_id=number,
            profile=facts.profile,
            authentications=facts.authentications,
            wrong_cards=facts.wrong_cards,
        )
    condition = "finished" if shown.look is None else shown.look.condition.value
    if facts is None:
        console.say("sam.chip", card_id=number, condition=console.translate(f"sam.condition.{condition}"))
    if entry is None:
        console.say("sam.not-known", card_id=number)
    else:
        console.say(
            "sam.known",
            state=console.translate(f"sam.state.{entry.state.value}"),
            generation=entry.generation,
            who=entry.made_by,
            at=_iso(entry.made_at or entry.begun_at),
        )
    _say_changed(console, shown.changed)
    console.result(_document(shown, condition))
    if facts is not None and facts.used_up:
        console.say("sam.no-uses")
        raise typer.Exit(_FAILURES)


def _document(shown: ShownSam, condition: str) -> dict[str, object]:
    facts = shown.facts
    return {
        "card_id": shown.card_number.upper() or None,
        "condition": condition,
        "profile": None if facts is None else facts.profile,
        "authentications_left": None if facts is None else facts.authentications,
        "wrong_cards_left": None if facts is None else facts.wrong_cards,
        "known": None if shown.entry is None else _entry(shown.entry, shown.changed),
    }


@group.command("list")
def list_sams(context: typer.Context, centre: CentreOption = Path("centre")) -> None:
    """List the SAMs of the centre: who made each when, and which may not be used any more."""
    from permitcard import sam_keeping
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        found = sam_keeping.all_sams(job)
    for entry, changed in found:
        state = console.translate(f"sam.state.{entry.state.value}")
        at = _iso(entry.made_at or entry.begun_at)
        console.say("sam.row", card_id=entry.card_number.upper(), state=state, who=entry.made_by, at=at)
        _say_changed(console, changed)
    console.result({"sams": [_entry(entry, changed) for entry, changed in found]})


@group.command("retire")
def retire(
    context: typer.Context,
    card: Annotated[str, typer.Argument(help="Chip number, as sam list shows it.", metavar="CARD")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
    centre: CentreOption = Path("centre"),
    reader: Annotated[
        str | None,
        typer.Option("--reader", help="Where it lies, to be put out of service for good.", metavar="ADDRESS"),
    ] = None,
) -> None:
    """Never use a SAM again, with a signed record; in a reader its chip is put out of service too."""
    from permitcard import sam_keeping
    from permitcard.centre import Centre
    from permitcard.job import Job

    if len(reason) > _LONGEST_REASON:
        raise PersonalizationError("text-length", exit_code=2, option="--reason", limit=_LONGEST_REASON)
    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        terminated, record = sam_keeping.retire(job, card, reason, reader)
    console.say("sam.retired" if terminated else "sam.retired-alive", card_id=card.upper(), path=record)
    console.result({"card_id": card.upper(), "terminated": terminated, "record": str(record)})


def _say_changed(console: Console, changed: ChangedKeys) -> None:
    if changed.destroyed:
        console.say("sam.lost", keys=", ".join(changed.destroyed))
    elif changed.replaced:
        console.say("sam.stale", keys=", ".join(changed.replaced))


def _entry(entry: SamEntry, changed: ChangedKeys) -> dict[str, object]:
    return {
        "card_id": entry.card_number.upper(),
        "state": entry.state.value,
        "profile": entry.profile,
        "generation": entry.generation,
        "keys": {name: value.upper() for name, value in entry.keys.items()},
        "stale_keys": changed.replaced,
        "destroyed_keys": changed.destroyed,
        "begun_at": _iso(entry.begun_at),
        "made_at": None if entry.made_at is None else _iso(entry.made_at),
        "made_by": entry.made_by,
        "retired_at": None if entry.retired_at is None else _iso(entry.retired_at),
        "reason": entry.reason,
        "disposal": entry.disposal,
    }


def _iso(at_us: int) -> str:
    return dt.datetime.fromtimestamp(at_us / _MICROSECONDS, dt.UTC).isoformat(timespec="seconds")
