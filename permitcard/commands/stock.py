"""``permitcard stock``: blank cards in, their whereabouts, and how they leave other than as permits."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.commands.options import CentreOption, ChipOption, console_of, report_words
from permitcard.terminal_text import at_left, at_right
from personalization.errors import PersonalizationError
from personalization.production.states import BlankState

if TYPE_CHECKING:
    from permitcard.console import Console
    from personalization.production.account import Account, StepCount
    from personalization.production.journal.corrections import StockCard

group = typer.Typer(help="Receive, count, sample and destroy cards.", no_args_is_help=True, rich_markup_mode=None)

CardsArgument = Annotated[list[str], typer.Argument(help="Chip numbers.", metavar="CARD...")]
SamplesOption = Annotated[bool, typer.Option("--with-samples", help="Samples too, not only spoiled cards.")]
MomentFormats = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

_FAILURES = 1
_NAME = 28
_COUNT = 10
"""Columns of a name and of a count."""
_MICROSECONDS = 1_000_000
_LONGEST_LOT = 64


def _said(text: str) -> str:
    """Refuse a reason that is none: it is what an auditor reads years later."""
    if not text.strip():
        raise PersonalizationError("reason-missing", exit_code=2)
    return text.strip()


@group.command("receive")
def receive(
    context: typer.Context,
    count: Annotated[int | None, typer.Argument(min=1, help="How many simulated ones to make.", metavar="N")] = None,
    centre: CentreOption = Path("centre"),
    delivered: Annotated[
        Path | None,
        typer.Option("--list", help="CSV of a delivery: card_number, reader, place; see docs/production.md."),
    ] = None,
    lot: Annotated[str | None, typer.Option(help="Delivery lot; the list's name, or simulated, when absent.")] = None,
    chip: ChipOption = DEFAULT_CHIP,
) -> None:
    """Take the blank cards of a delivery into stock, or make N simulated ones, as a chip vendor would deliver them."""
    from permitcard import stockroom
    from permitcard.centre import Centre
    from permitcard.job import Job

    if (count is None) == (delivered is None):
        raise PersonalizationError("either-or", exit_code=2, one="N", other="--list")
    name = lot or ("simulated" if delivered is None else delivered.stem)
    if not 0 < len(name) <= _LONGEST_LOT:
        raise PersonalizationError("text-length", exit_code=2, option="--lot", limit=_LONGEST_LOT)
    console = console_of(context)
    with Job.open(Centre(centre)) as job, console.progress() as bar:
        if delivered is not None:
            total = stockroom.receive_delivered(job, delivered, name)
        else:
            wanted = count or 0
            total = job.receive_simulated(wanted, lot=name, chip=chip, progress=lambda done: bar("stock", done, wanted))
    console.say("stock.received", count=total)
    console.result({"received": total, "lot": name})


@group.command("show")
def show(context: typer.Context, centre: CentreOption = Path("centre")) -> None:
    """Count all blank cards by what became of them; the counts add up to what was received."""
    from permitcard.centre import Centre
    from permitcard.journal_view import look_at_journal
    from personalization.production.stock import count_stock

    console = console_of(context)
    with look_at_journal(Centre(centre)) as journal:
        stock = count_stock(journal)
    for state, number in stock.by_state.items():
        console.write(f"{at_left(console.translate('blank.' + state.value), _NAME)}{number:>8}")
    console.write(f"{at_left(console.translate('blank.received'), _NAME)}{stock.received:>8}")
    console.result({"received": stock.received, **{state.value: number for state, number in stock.by_state.items()}})


@group.command("cards")
def cards_of_stock(
    context: typer.Context,
    centre: CentreOption = Path("centre"),
    state: Annotated[list[BlankState] | None, typer.Option("--state", help="Only those; repeated for several.")] = None,
    lot: Annotated[str | None, typer.Option(help="Of this lot only.")] = None,
) -> None:
    """List cards of the stock by number, with their place, state and what is wrong with them."""
    from permitcard.centre import Centre
    from permitcard.journal_view import look_at_journal
    from personalization.production.journal.corrections import cards_in

    console = console_of(context)
    with look_at_journal(Centre(centre)) as journal, journal.reading() as connection:
        found = [card for card in cards_in(connection, state or list(BlankState)) if lot in {None, card.lot}]
    console.say("stock.cards", count=len(found))
    _show_cards(console, found, "cards", states=True)


@group.command("account")
def account(
    context: typer.Context,
    centre: CentreOption = Path("centre"),
    since: Annotated[dt.datetime | None, typer.Option(help="Begin, UTC.", formats=MomentFormats)] = None,
    until: Annotated[dt.datetime | None, typer.Option(help="End, UTC, not included.", formats=MomentFormats)] = None,
) -> None:
    """Count in, out, rejects and samples of each step and shift, and compare the trail with where the cards are."""
    from permitcard.centre import Centre
    from permitcard.journal_view import look_at_journal
    from personalization.production.account import take_account

    console = console_of(context)
    with look_at_journal(Centre(centre)) as journal:
        found = take_account(journal, _microseconds(since), _microseconds(until))
    _show_account(console, found)
    if not found.adds_up:
        raise typer.Exit(_FAILURES)


@group.command("sample")
def sample(
    context: typer.Context,
    count: Annotated[int, typer.Argument(min=1, help="How many blank cards.", metavar="N")],
    purpose: Annotated[str, typer.Option("--purpose", help="What for; kept in the audit trail.", callback=_said)],
    centre: CentreOption = Path("centre"),
    lot: Annotated[str | None, typer.Option(help="Of this lot only.")] = None,
) -> None:
    """Take blank cards out of the stock as samples."""
    from permitcard import stockroom
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        cards = stockroom.sample(job, count, purpose, lot)
    console.say("stock.sampled", count=len(cards))
    _show_cards(console, cards, "sampled")


@group.command("discard")
def discard(
    context: typer.Context,
    cards: CardsArgument,
    reason: Annotated[str, typer.Option("--reason", help="What is wrong; kept in the audit trail.", callback=_said)],
    centre: CentreOption = Path("centre"),
) -> None:
    """Give up blank cards that are damaged, in stock or barred; they wait to be destroyed."""
    from permitcard import stockroom
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        found = stockroom.discard(job, cards, reason)
    console.say("stock.discarded", count=len(found))
    _show_cards(console, found, "discarded")


@group.command("restore")
def restore(context: typer.Context, cards: CardsArgument, centre: CentreOption = Path("centre")) -> None:
    """Take barred cards back into the stock, once it is known why they were barred."""
    from permitcard import stockroom
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        found = stockroom.restore(job, cards)
    console.say("stock.restored", count=len(found))
    _show_cards(console, found, "restored")


@group.command("list")
def list_cards(
    context: typer.Context, centre: CentreOption = Path("centre"), with_samples: SamplesOption = False
) -> None:
    """List what waits to be destroyed, with the identifier that the witness approves."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.production.disposal import destruction_list

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        found = destruction_list(job.journal, samples=with_samples)
    console.say("stock.to-destroy", count=len(found.cards), list=found.identifier)
    _show_cards(console, found.cards, "cards", list=found.identifier)


@group.command("destroy")
def destroy(
    context: typer.Context,
    identifier: Annotated[str, typer.Argument(help="Identifier of the list: stock list.", metavar="LIST")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Record that the cards of a list were destroyed, and certify it; takes two, the second is the witness."""
    from permitcard import stockroom
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        done = stockroom.destroy(job, identifier, console.translate)
    code = "stock.destroyed" if done.witness else "stock.destroyed-alone"
    console.say(code, count=done.cards, witness=done.witness, path=done.certificate.with_suffix(".html"))
    console.result({"destroyed": done.cards, "witness": done.witness, "certificate": str(done.certificate)})


@group.command("certificate")
def certificate(
    context: typer.Context,
    identifier: Annotated[str, typer.Argument(help="Identifier of the list.", metavar="LIST")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Write the certificate of a destruction again."""
    from permitcard import stockroom
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        path = stockroom.certify_destruction(job, identifier, console.translate)
    console.say("stock.certificate", path=path.with_suffix(".html"))
    console.result({"certificate": str(path)})


def _show_cards(console: Console, cards: list[StockCard], name: str, *, states: bool = False, **more: object) -> None:
    said = report_words(console)
    for card in cards:
        more_of_it = f"{card.lot}  {console.translate('blank.' + card.state.value)}  " if states else ""
        disposal = said.label("disposals", card.disposal)
        told = f"{card.card_number.upper()}  {card.location}  {more_of_it}{said.reason(card.reason)}  {disposal}"
        console.write(f"    {told}".rstrip())
    rows = [
        {
            "card_id": card.card_number.upper(),
            "location": card.location,
            "lot": card.lot,
            "state": card.state.value,
            "reason": card.reason,
            "disposal": card.disposal,
        }
        for card in cards
    ]
    console.result({**more, name: rows})


def _show_account(console: Console, found: Account) -> None:
    heads = [console.translate(f"account.{name}") for name in ("before", "came", "out", "reject", "back", "sample")]
    heads.append(console.translate("account.after"))
    console.write(" " * _NAME + "".join(at_right(head, _COUNT) for head in heads))
    for place, count in found.steps.items():
        console.write(_account_line(console.translate(f"place.{place.value}"), count))
    for shift in found.shifts:
        started = _iso(shift.started_at)
        console.say("account.shift", batch=shift.batch, operator=shift.operator, started=started)
        for place, count in shift.steps.items():
            console.write(_account_line("    " + console.translate(f"place.{place.value}"), count))
    console.say("account.adds-up" if found.adds_up else "account.does-not-add-up")
    for (trail, state), cards in found.differences.items():
        names = {"trail": console.translate(f"place.{trail.value}"), "state": console.translate(f"place.{state.value}")}
        console.say("account.difference", count=cards, **names)
    for number in found.irregular:
        console.say("account.irregular", number=number)
    console.result(
        {
            "adds_up": found.adds_up,
            "steps": {place.value: count._asdict() for place, count in found.steps.items()},
            "places": {place.value: count for place, count in found.places.items()},
            "differences": [
                {"trail": trail.value, "state": state.value, "cards": cards}
                for (trail, state), cards in found.differences.items()
            ],
            "irregular": list(found.irregular),
            "shifts": [
                {
                    "batch": shift.batch,
                    "operator": shift.operator,
                    "started_at": _iso(shift.started_at),
                    "ended_at": _iso(shift.ended_at),
                    "steps": {place.value: count._asdict() for place, count in shift.steps.items()},
                }
                for shift in found.shifts
            ],
        }
    )


def _account_line(name: str, count: StepCount) -> str:
    return at_left(name, _NAME) + "".join(f"{number:>{_COUNT}}" for number in count)


def _microseconds(moment: dt.datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=dt.UTC).timestamp() * _MICROSECONDS)


def _iso(at_us: int) -> str | None:
    return dt.datetime.fromtimestamp(at_us / _MICROSECONDS, dt.UTC).isoformat(timespec="seconds") if at_us else None
