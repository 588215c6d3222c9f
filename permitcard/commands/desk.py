"""``permitcard desk``: what is done to a permit after it was issued, with its card or without."""

from __future__ import annotations

import datetime as dt
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import CentreOption, NewPinOption, UnblockingPinOption, asked, console_of
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from permitcard.console import Console
    from permitcard.desk_office import DeskAtWork
    from personalization.permit.desk.desk import Outcome

group = typer.Typer(
    help="Inspect, endorse, change and withdraw permits, with their cards or without.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_FAILURES: Final = 1
_DAY: Final = ["%Y-%m-%d"]

CardOption = Annotated[str, typer.Option("--card", help="sim:FILE, pcsc:NAME, …; the card at the desk.")]
DayOption = Annotated[
    dt.datetime | None, typer.Option("--on", formats=_DAY, help="Date of the desk; today when absent.")
]
AreaOption = Annotated[str, typer.Option("--area", help="Area code of the office, six digits.")]
NameOption = Annotated[str, typer.Option("--desk", help="Name of the desk, eight characters on the card.")]
PermitArgument = Annotated[str, typer.Argument(help="Permit number.", metavar="PERMIT")]


@group.command("inspect")
def inspect(
    context: typer.Context,
    card: CardOption,
    area: AreaOption,
    police: Annotated[
        bool, typer.Option("--police", help="As a police officer's terminal: look, and change nothing.")
    ] = False,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Bring card and record together, and say what the permit is worth."""
    from permitcard.desk_office import READING_ROLE
    from personalization.permit.desk.tap import DESK_ROLE

    role = READING_ROLE if police else DESK_ROLE
    with _opened(centre, on, area, desk) as office, office.tap(card, role) as tap:
        outcome = office.desk.inspect(tap, office.today)
    _show(console_of(context), outcome)


@group.command("endorse")
def endorse(
    context: typer.Context,
    area: AreaOption,
    card: Annotated[str | None, typer.Option("--card", help="The card at the desk.")] = None,
    permit: Annotated[str | None, typer.Option("--permit", help="Permit number, for one that is not here.")] = None,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Endorse a permit: in its window, or late, which restores it; with its card, or online by its number."""
    if (card is None) == (permit is None):
        raise PersonalizationError("either-or", exit_code=2, one="--card", other="--permit")
    with _opened(centre, on, area, desk) as office:
        if card is not None:
            with office.tap(card) as tap:
                outcome = office.desk.endorse(tap, office.today)
        else:
            office.adopt(permit or "")
            outcome = office.desk.endorse_online(permit or "", office.today)
    _show(console_of(context), outcome)


@group.command("withdraw")
def withdraw(
    context: typer.Context,
    why: Annotated[str, typer.Argument(help="cancelled, lost, replaced or revoked.", metavar="WHY")],
    area: AreaOption,
    card: Annotated[str | None, typer.Option("--card", help="The card at the desk.")] = None,
    permit: Annotated[str | None, typer.Option("--permit", help="Permit number, for one that is not here.")] = None,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Withdraw a permit; bank and partners keep their applications on the card."""
    from personalization.permit.desk.dossier import Withdrawal

    known = [item.value for item in Withdrawal]
    if why not in known:
        raise PersonalizationError("word-unknown", exit_code=2, word=why, known=", ".join(known))
    if (card is None) == (permit is None):
        raise PersonalizationError("either-or", exit_code=2, one="--card", other="--permit")
    with _opened(centre, on, area, desk) as office:
        outcome, listed = office.withdraw(card, permit or "", Withdrawal(why))
    console = console_of(context)
    console.say("desk.listed", sequence=listed.status.sequence, path=listed.whole)
    _show(console, outcome, status_list=str(listed.whole))


@group.command("move")
def move(
    context: typer.Context,
    card: CardOption,
    area: AreaOption,
    address: Annotated[str, typer.Option(help="Current address.")],
    number: Annotated[str, typer.Option(help="Number of the registration.")],
    station: Annotated[str, typer.Option(help="Registering station.")],
    registered: Annotated[dt.datetime, typer.Option(formats=_DAY, help="Day of the registration.")],
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Write a residence that was registered anew."""
    from personalization.permit.desk.desk import NewResidence

    residence = NewResidence(address, number, registered.date(), station)
    with _opened(centre, on, area, desk) as office, office.tap(card) as tap:
        outcome = office.desk.move(tap, office.today, residence)
    _show(console_of(context), outcome)


@group.command("correct")
def correct(
    context: typer.Context,
    card: CardOption,
    area: AreaOption,
    address: Annotated[str, typer.Option(help="Current address.")],
    number: Annotated[str, typer.Option(help="Number of the registration.")],
    station: Annotated[str, typer.Option(help="Registering station.")],
    registered: Annotated[dt.datetime, typer.Option(formats=_DAY, help="Day of the registration.")],
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Write a residence that stood wrongly on the card; a wrong name or number needs a new card."""
    from personalization.permit.desk.desk import NewResidence

    residence = NewResidence(address, number, registered.date(), station)
    with _opened(centre, on, area, desk) as office, office.tap(card) as tap:
        outcome = office.desk.correct(tap, office.today, residence)
    _show(console_of(context), outcome)


@group.command("link")
def link(
    context: typer.Context,
    card: CardOption,
    area: AreaOption,
    citizen_card: Annotated[str, typer.Option(help="Number of the citizen card: Z and 8 digits.")] = "",
    account: Annotated[str, typer.Option(help="Account of the citizen card, 16 to 20 digits.")] = "",
    social_card: Annotated[str, typer.Option(help="Number of the social-security card, 9 characters.")] = "",
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Write the numbers of the holder's other cards, in place of those that were there; none unlinks."""
    from personalization.permit.linked import LinkedNumbers

    with _opened(centre, on, area, desk) as office, office.tap(card) as tap:
        outcome = office.desk.link(tap, office.today, LinkedNumbers(citizen_card, account, social_card))
    _show(console_of(context), outcome)


@group.command("platform")
def platform(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON file to write; it is replaced.", metavar="FILE")],
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
) -> None:
    """Write the signed file for the residents' platform: each card's status and linked numbers, with their checks."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.platform_office import write_platform_file

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        written = write_platform_file(job, file, _today(on))
    console.say("platform.written", path=file, permits=written.permits, unnamed=written.unnamed)
    _say_faults(console, written.faults)
    console.result({"file": str(file), **written._asdict()})
    if written.faults:
        raise typer.Exit(_FAILURES)


@group.command("platform-check")
def platform_check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file for the platform.", metavar="FILE")],
    trust: Annotated[Path, typer.Option("--trust", help="Certificates of the authority and its signers, PEM.")],
) -> None:
    """As the platform: see that a file is genuine and whole, and how many of its lines have faults."""
    from permitcard.pass_office import read_authority
    from personalization.keys.signed_document import read_signed
    from personalization.permit.platform_file import read_platform_document

    console = console_of(context)
    document = read_signed(file, read_authority(trust))
    faults = read_platform_document(document, str(file))
    console.say("platform.genuine", path=file, permits=len(document["permits"]), day=document["day"])
    _say_faults(console, faults)
    console.result({"file": str(file), "permits": len(document["permits"]), "faults": faults})
    if faults:
        raise typer.Exit(_FAILURES)


def _say_faults(console: Console, faults: dict[str, int]) -> None:
    for fault, count in sorted(faults.items()):
        console.say("platform.fault", count=count, words=console.translate(f"platform.faults.{fault}"))


@group.command("unlock-pin")
def unlock_pin(
    context: typer.Context,
    card: CardOption,
    area: AreaOption,
    unblocking: UnblockingPinOption = None,
    new: NewPinOption = None,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Give the holder a new PIN against the unblocking PIN of the PIN letter, on either interface."""
    console = console_of(context)
    unblocking = asked(console, unblocking, "ask.unblocking")
    new = asked(console, new, "ask.new-pin", "ask.again")
    with _opened(centre, on, area, desk) as office, office.tap(card) as tap:
        outcome = office.desk.unlock(tap, office.today, unblocking, new)
    console.say("desk.unlocked")
    _show(console, outcome)


@group.command("activate-account")
def activate_account(
    context: typer.Context,
    card: CardOption,
    area: AreaOption,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "BRANCH",
) -> None:
    """At a branch of the bank, activate the account on a valid permit."""
    with _opened(centre, on, area, desk) as office, office.branch(card) as (tap, branch):
        outcome = office.desk.activate(tap, office.today, branch)
    console = console_of(context)
    console.say("desk.activated")
    _show(console, outcome)


@group.command("replace")
def replace(
    context: typer.Context,
    why: Annotated[str, typer.Argument(help="lost, damaged or wrong.", metavar="WHY")],
    area: AreaOption,
    card: Annotated[str | None, typer.Option("--card", help="The card at the desk.")] = None,
    permit: Annotated[str | None, typer.Option("--permit", help="Permit number, for one that is not here.")] = None,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Order a new card; the old one is barred at once, on the status list and on the chip when it is presented."""
    from permitcard.case_office import replace_permit
    from personalization.permit.casework.states import Replaced

    if why not in set(Replaced):
        raise PersonalizationError("word-unknown", exit_code=2, word=why, known=", ".join(Replaced))
    if (card is None) == (permit is None):
        raise PersonalizationError("either-or", exit_code=2, one="--card", other="--permit")
    with _opened(centre, on, area, desk) as office:
        ordered = replace_permit(office, Replaced(why), card, permit or "")
    console = console_of(context)
    console.say("desk.listed", sequence=ordered.listed.status.sequence, path=ordered.listed.whole)
    console.say("desk.ordered", number=ordered.number, due=ordered.due.day)
    console.result({"case": ordered.number, "due": ordered.due.day, "status_list": str(ordered.listed.whole)})


@group.command("entitle")
def entitle(
    context: typer.Context,
    card: CardOption,
    area: AreaOption,
    points: Annotated[int, typer.Option(min=0, max=99_999, help="Points in all; see: permitcard permit points.")],
    services: Annotated[str, typer.Option(help="Services that they give, short.")] = "",
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: NameOption = "DESK",
) -> None:
    """Write the summary of a resident's points."""
    with _opened(centre, on, area, desk) as office, office.tap(card) as tap:
        outcome = office.desk.entitle(tap, office.today, points, office.today, services)
    _show(console_of(context), outcome)


@group.command("correct-date")
def correct_date(
    context: typer.Context,
    card: CardOption,
    area: AreaOption,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
) -> None:
    """As the issuer, set the date that a card was told wrongly; the card counts and keeps the correction."""
    with _opened(centre, on, area, "ISSUER") as office, office.session(card, "issuer") as session:
        before, _ = session.clock()
        session.correct_date(office.today)
    console = console_of(context)
    console.say("desk.date-corrected", before=before or "-", after=office.today)
    console.result({"before": before, "after": office.today})


@group.command("bound")
def bound(
    context: typer.Context,
    until: Annotated[dt.datetime, typer.Argument(formats=_DAY, help="Latest date that terminals may tell.")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Sign how far terminals may tell cards the date; desks of the centre bring it to every card."""
    from permitcard.centre import Centre
    from permitcard.desk_office import write_bound
    from permitcard.job import Job

    with Job.open(Centre(centre)) as job:
        path = write_bound(job, until.date())
    console = console_of(context)
    console.say("desk.bound", until=until.date(), path=path)
    console.result({"until": until.date(), "bound": str(path)})


def _opened(centre: Path, on: dt.datetime | None, area: str, name: str) -> AbstractContextManager[DeskAtWork]:
    from permitcard.desk_office import desk_at_work

    return desk_at_work(centre, _today(on), area, name)


def _today(on: dt.datetime | None) -> dt.date:
    from personalization.permit.electronic.claims import CHINA

    return on.date() if on else dt.datetime.now(CHINA).date()


def _show(console: Console, outcome: Outcome, **more: object) -> None:
    from personalization.permit.endorsement import PermitStatus

    console.say(
        "desk.outcome",
        status=console.translate(f"permit.status.{outcome.status.value}"),
        due=outcome.due,
        years=outcome.residence_years,
    )
    if outcome.mended:
        console.say("desk.mended")
    if outcome.report_by is not None:
        console.say("desk.reported-late", day=outcome.report_by)
    for item in outcome.waiting:
        console.say("desk.waits", what=console.translate(f"desk.waiting.{item.what}"), day=item.day)
    console.result(
        {
            "status": outcome.status,
            "due": outcome.due,
            "residence_years": outcome.residence_years,
            "mended": outcome.mended,
            "waits": outcome.waits,
            "waiting": [{"what": item.what, "day": item.day} for item in outcome.waiting],
            "report_by": outcome.report_by,
            **more,
        }
    )
    if outcome.status is PermitStatus.SUSPENDED:
        raise typer.Exit(_FAILURES)
