"""``permitcard demo``: the main job on the example batch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.commands.options import ChipOption, console_of

_ALL: Final = 200


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("demo")(demo)


def demo(
    context: typer.Context,
    cards: Annotated[int, typer.Option(min=1, help="Size of the batch; the example batch has 200.")] = _ALL,
    centre: Annotated[Path, typer.Option("--centre", help="Folder to make; it is emptied first.")] = Path("build/demo"),
    stations: Annotated[int, typer.Option(min=1, max=64, help="Stations, one process each.")] = 2,
    chip: ChipOption = DEFAULT_CHIP,
) -> None:
    """Make the example batch: keys, blanks, 200 verified simulated cards, and a report."""
    from permitcard.centre import Centre
    from permitcard.commands import batch
    from permitcard.commands.keys import make_keys
    from permitcard.examples import example_batch
    from personalization.errors import PersonalizationError

    console = console_of(context)
    place = Centre(centre)
    if centre.exists():
        if any(centre.iterdir()) and not place.test_passphrase.exists():
            raise PersonalizationError("demo-folder-in-use", exit_code=2, path=str(centre))
        shutil.rmtree(centre)
    console.say("keys.made", path=make_keys(centre, try_out=True))
    file = example_batch(cards, centre)
    batch.run(context, file, centre, stations, accept_good=False, simulate=True, chip=chip, html=None)
