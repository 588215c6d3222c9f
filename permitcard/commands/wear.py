"""``permitcard card wear``: which pages and objects of a card are worn, and how long it lasts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import console_of

if TYPE_CHECKING:
    from card_os.storage.wear import LifeProjection, MemoryWear
    from permitcard.console import Console

_SHOWN: Final = 8


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("wear")(wear)


def wear(
    context: typer.Context,
    card: Annotated[Path, typer.Argument(help="Card file.", metavar="CARD")],
    day: Annotated[
        Path | None,
        typer.Option("--day", help="File with the APDUs of one day, a line each; projects the life.", metavar="APDUS"),
    ] = None,
) -> None:
    """Show the wear of a card's memory by page and by object, and its life for a day of given use."""
    from permitcard.wear_report import examine_wear, read_day, wear_document

    console = console_of(context)
    measured, life = examine_wear(card, read_day(day) if day else ())
    _show(console, measured)
    if life is not None:
        _show_life(console, life)
    console.result(wear_document(measured, life))


def _show(console: Console, measured: MemoryWear) -> None:
    chip = measured.chip
    console.say(
        "wear.chip",
        chip=chip.name,
        pages=chip.pages,
        bytes=chip.page_size,
        endurance=chip.endurance,
        free=measured.free,
        spares=measured.spares,
    )
    for page in measured.hottest(_SHOWN):
        use = console.translate(f"wear.use.{page.use.value}")
        console.say("wear.page", page=page.page, cycles=page.cycles, use=use)
    for item in measured.objects[:_SHOWN]:
        console.say(
            "wear.object",
            owner=item.owner,
            kind=item.kind,
            identifier=f"{item.identifier:04X}",
            size=item.size,
            pages=len(item.pages),
            cycles=item.cycles,
        )


def _show_life(console: Console, life: LifeProjection) -> None:
    if life.days is None:
        console.say("wear.life-none", run=life.days_run)
        return
    console.say(
        "wear.life",
        run=life.days_run,
        cycles=f"{life.cycles_a_day:.2f}",
        page=life.hottest_page,
        days=life.days,
        levelled=life.days_levelled,
    )
