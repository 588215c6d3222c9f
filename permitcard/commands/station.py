"""``permitcard station``: one more station for a batch, and orders to those at work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import CentreOption, SamOption, console_of
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from personalization.production.journal.stations import StationFacts
    from personalization.production.states import Order

group = typer.Typer(help="Work on a batch, and steer the stations.", no_args_is_help=True, rich_markup_mode=None)

BatchArgument = Annotated[str | None, typer.Argument(help="Batch identifier; the latest when absent.", metavar="BATCH")]
BatchOption = Annotated[
    str | None, typer.Option("--batch", help="Batch identifier; the latest when absent.", metavar="BATCH")
]
NameArgument = Annotated[str, typer.Argument(help="The station's name, as station list shows it.", metavar="STATION")]

_SECOND_US: Final = 1_000_000


@group.command("run")
def run(
    context: typer.Context,
    batch: BatchArgument = None,
    centre: CentreOption = Path("centre"),
    name: Annotated[
        str | None, typer.Option("--name", help="The station's name; machine and process when absent.", metavar="NAME")
    ] = None,
    sam: SamOption = None,
) -> None:
    """Join a running batch as one more station, on this or another machine; Ctrl-C drains it."""
    from permitcard.centre import Centre
    from permitcard.floor import LONGEST_NAME, join_batch
    from permitcard.job import Job

    if name is not None and not 0 < len(name) <= LONGEST_NAME:
        raise PersonalizationError("text-length", exit_code=2, option="--name", limit=LONGEST_NAME)
    console = console_of(context)
    with Job.open(Centre(centre), sam or ()) as job:
        shift = join_batch(job, batch or job.latest(), name)
    done = shift.done
    console.say(
        "station.ended", name=shift.station, made=done.made, good=done.good, spoiled=done.spoiled, failed=done.failed
    )
    console.result(
        {"batch": shift.batch, "station": shift.station, "ending": shift.ending.value, **shift.done._asdict()}
    )


@group.command("list")
def show(
    context: typer.Context,
    batch: BatchArgument = None,
    centre: CentreOption = Path("centre"),
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended or were given up.")] = False,
) -> None:
    """Show the stations of a batch: where they are, what they were told, what they did."""
    from permitcard.centre import Centre
    from permitcard.floor import stations_of
    from permitcard.journal_view import latest_batch, look_at_journal

    console, place = console_of(context), Centre(centre)
    with look_at_journal(place) as journal:
        identifier = batch or latest_batch(journal, place)
        stations = stations_of(journal, identifier, everything=everything)
    for one in stations:
        done = one.done
        state = console.translate("station.state." + one.state.value)
        order = "" if one.order is None else console.translate("station.order." + one.order.value)
        console.say(
            "station.row", name=one.name, host=one.host, state=state, order=order, made=done.made, good=done.good,
            spoiled=done.spoiled, failed=done.failed, rate=_rate(one),
        )  # fmt: skip
    if not stations:
        console.say("station.none-ever" if everything else "station.none", batch=identifier)
    console.result({"batch": identifier, "stations": [_document(one) for one in stations]})


def _rate(one: StationFacts) -> float:
    """Cards made and inspected by the time in which the station had cards in hand; 0 before there are any."""
    return (one.done.made + one.done.good) * _SECOND_US / one.busy_us if one.busy_us else 0.0


def _document(one: StationFacts) -> dict[str, object]:
    return {
        "name": one.name,
        "host": one.host,
        "state": one.state.value,
        "order": None if one.order is None else one.order.value,
        **one.done._asdict(),
        "cards_per_second": round(_rate(one), 1),
        "joined_at": one.joined_at,
        "seen_at": one.seen_at,
        "ended_at": one.ended_at,
        "ending": one.ending,
        "lease_left_s": max(0.0, round(-one.over_us / _SECOND_US, 1)),
    }


@group.command("pause")
def pause(
    context: typer.Context, name: NameArgument, batch: BatchOption = None, centre: CentreOption = Path("centre")
) -> None:
    """Let a station finish the card in hand, give the others back, and wait."""
    from personalization.production.states import Order

    _tell(context, centre, batch, name, Order.PAUSE)


@group.command("resume")
def resume(
    context: typer.Context, name: NameArgument, batch: BatchOption = None, centre: CentreOption = Path("centre")
) -> None:
    """Let a station that was paused go on."""
    _tell(context, centre, batch, name, None)


@group.command("drain")
def drain(
    context: typer.Context, name: NameArgument, batch: BatchOption = None, centre: CentreOption = Path("centre")
) -> None:
    """Let a station finish the card in hand, give the others back, and end."""
    from personalization.production.states import Order

    _tell(context, centre, batch, name, Order.DRAIN)


def _tell(context: typer.Context, centre: Path, batch: str | None, name: str, order: Order | None) -> None:
    from permitcard.centre import Centre
    from permitcard.floor import tell_station
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        tell_station(job, identifier, name, order)
    console.say("station.told", name=name)
    console.result({"batch": identifier, "station": name, "order": None if order is None else order.value})
