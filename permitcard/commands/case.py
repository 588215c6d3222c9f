"""``permitcard case``: an application from its receipt to the permit that is handed over."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import CentreOption, console_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from permitcard.console import Console
    from personalization.intake.applicant import Finding
    from personalization.permit.casework.case import Case
    from personalization.permit.casework.office import Answered, Watched
    from personalization.permit.policy.library import PolicyLibrary

group = typer.Typer(
    help="Work on applications: receive, review, approve, put into a batch, hand over; watch deadlines.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_FAILURES: Final = 1
_DAY: Final = ["%Y-%m-%d"]

NumberArgument = Annotated[int, typer.Argument(min=1, help="Number of the case.", metavar="CASE")]
FileArgument = Annotated[Path, typer.Argument(help="What the applicant handed in, a TOML file.", metavar="FILE")]
DayOption = Annotated[
    dt.datetime | None, typer.Option("--on", formats=_DAY, help="Date of the office; today when absent.")
]
PoliciesOption = Annotated[
    Path | None, typer.Option("--policies", exists=True, file_okay=False, help="Folder with further policies.")
]
PolicyOption = Annotated[
    str, typer.Option("--policy", help="A policy by name, also a draft; by default that of the area and day.")
]
AuthorityOption = Annotated[str, typer.Option(help="Issuing authority, as it stands on the permit.")]
HotlineOption = Annotated[str, typer.Option(help="Service hotline, as it stands on the permit.")]
AreaOption = Annotated[str, typer.Option("--area", help="Area code of the office, six digits.")]


@group.command("open")
def open_(
    context: typer.Context,
    file: FileArgument,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    policy: PolicyOption = "",
    policies: PoliciesOption = None,
) -> None:
    """Take an application: a receipt, or the list of everything that is missing, with its clauses."""
    from permitcard.case_office import cases_at_work
    from personalization.permit.casework.case_file import read_case_file

    handed = read_case_file(file)
    with cases_at_work(centre, _library(policies)) as work:
        answered = work.office.open(handed, _day(on), policy)
    _answer(console_of(context), answered)


@group.command("supplement")
def supplement(
    context: typer.Context,
    number: NumberArgument,
    file: FileArgument,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    policies: PoliciesOption = None,
) -> None:
    """Take what was missing; the application is judged anew."""
    from permitcard.case_office import cases_at_work
    from personalization.permit.casework.case_file import read_case_file

    handed = read_case_file(file)
    with cases_at_work(centre, _library(policies)) as work:
        answered = work.office.supplement(number, handed, _day(on))
    _answer(console_of(context), answered)


@group.command("review")
def review(
    context: typer.Context, number: NumberArgument, centre: CentreOption = Path("centre"), on: DayOption = None
) -> None:
    """Give the reviewer's opinion that the permit be granted."""
    _step(context, number, "review", centre, on)


@group.command("approve")
def approve(
    context: typer.Context, number: NumberArgument, centre: CentreOption = Path("centre"), on: DayOption = None
) -> None:
    """Approve a case; who reviewed it does not, and in mutual recognition who accepted it neither."""
    _step(context, number, "approve", centre, on)


@group.command("refuse")
def refuse(
    context: typer.Context,
    number: NumberArgument,
    reason: Annotated[str, typer.Option(help="What the applicant is told.")],
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
) -> None:
    """Refuse a case with a reason, as its reviewer or its approver."""
    _step(context, number, "refuse", centre, on, reason)


@group.command("withdraw")
def withdraw(
    context: typer.Context, number: NumberArgument, centre: CentreOption = Path("centre"), on: DayOption = None
) -> None:
    """End a case because the applicant does not want it any more."""
    _step(context, number, "withdraw", centre, on)


@group.command("list")
def list_(
    context: typer.Context,
    centre: CentreOption = Path("centre"),
    everything: Annotated[bool, typer.Option("--all", help="Also what is finished.")] = False,
) -> None:
    """List cases in which something has to be done; nobody is named."""
    from permitcard.case_office import cases_at_work
    from personalization.permit.casework.states import OPEN_STATES, CaseState

    console = console_of(context)
    with cases_at_work(centre) as work:
        found = work.office.listed(frozenset(CaseState) if everything else OPEN_STATES)
    for one in found:
        _say_case(console, one.number, one.case)
    console.result({"cases": [_document(one.number, one.case) for one in found]})


@group.command("show")
def show(context: typer.Context, number: NumberArgument, centre: CentreOption = Path("centre")) -> None:
    """Show where a case is, and who did what on which day."""
    from permitcard.case_office import cases_at_work

    console = console_of(context)
    with cases_at_work(centre) as work:
        case = work.office.find(number)
    _say_case(console, number, case)
    for taken in case.steps:
        step = console.translate(f"case.step.{taken.step.value}")
        console.say("case.taken", day=taken.day, who=taken.who, step=step, note=taken.note)
    console.result(
        {
            **_document(number, case),
            "steps": [
                {"step": one.step, "who": one.who, "day": one.day, "opinion": one.opinion, "note": one.note}
                for one in case.steps
            ],
        }
    )


@group.command("deadlines")
def deadlines(
    context: typer.Context,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    within: Annotated[int, typer.Option(min=0, help="Also what is due in so many days.")] = 3,
    policies: PoliciesOption = None,
) -> None:
    """Report cases that are overdue, or due soon; ends with 1 when one is overdue."""
    from permitcard.case_office import cases_at_work

    console = console_of(context)
    with cases_at_work(centre, _library(policies)) as work:
        watched = work.office.deadlines(_day(on))
    urgent = [one for one in watched if one.left <= within]
    for one in urgent:
        _say_watched(console, one)
    overdue = sum(one.left < 0 for one in watched)
    console.say("case.watched", running=len(watched), urgent=len(urgent), overdue=overdue)
    console.result(
        {
            "running": len(watched),
            "overdue": overdue,
            "cases": [
                {
                    "case": one.number,
                    "kind": one.kind,
                    "state": one.state,
                    "due": one.due.day,
                    "provisional": one.due.provisional,
                    "left": one.left,
                }
                for one in urgent
            ],
        }
    )
    if overdue:
        raise typer.Exit(_FAILURES)


@group.command("batch")
def batch(
    context: typer.Context,
    area: AreaOption,
    authority: AuthorityOption,
    hotline: HotlineOption,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    again: Annotated[
        str | None, typer.Option("--again", help="Write this delivery once more, with the same bytes.")
    ] = None,
) -> None:
    """Put the approved cases of an area into a delivery for `permitcard batch`; what intake would refuse stays out."""
    from permitcard.case_office import cases_at_work
    from personalization.permit.casework.delivery import IssuingOffice

    console = console_of(context)
    with cases_at_work(centre) as work:
        if again is not None:
            delivered, path = work.again(again)
            _say_delivery(console, path, delivered.numbers, left_out={})
            return
        found, written = work.deliver(area, _day(on), IssuingOffice(authority, hotline))
    for one in found.left_out:
        console.say("case.left-out", number=one.number)
        _say_faults(console, one.findings)
    left_out = {one.number: [item.rule for item in one.findings] for one in found.left_out}
    _say_delivery(console, written, found.delivered.numbers if found.delivered else (), left_out)
    if found.left_out:
        raise typer.Exit(_FAILURES)


@group.command("follow")
def follow(context: typer.Context, centre: CentreOption = Path("centre"), on: DayOption = None) -> None:
    """Note which cases have a finished card now."""
    from permitcard.case_office import cases_at_work

    console = console_of(context)
    with cases_at_work(centre) as work:
        made = work.follow(_day(on))
    console.say("case.made", count=len(made), numbers=", ".join(map(str, made)) or "-")
    console.result({"made": made})


@group.command("return")
def return_(
    context: typer.Context, number: NumberArgument, centre: CentreOption = Path("centre"), on: DayOption = None
) -> None:
    """Take a case out of a delivery that was never made; it goes into the next one."""
    from permitcard.case_office import cases_at_work

    console = console_of(context)
    with cases_at_work(centre) as work:
        case = work.take_back(number, _day(on))
    _say_case(console, number, case)
    console.result(_document(number, case))


@group.command("hand-over")
def hand_over(
    context: typer.Context,
    number: NumberArgument,
    card: Annotated[str, typer.Option("--card", help="sim:FILE, pcsc:NAME, …; the new card.")],
    area: AreaOption,
    given_in: Annotated[
        str, typer.Option("--given-in", help="Number of the permit of introduced talent that is given in exchange.")
    ] = "",
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
    desk: Annotated[str, typer.Option("--desk", help="Name of the desk.")] = "DESK",
) -> None:
    """Give out the card of a case, after it has proved to be the one that was ordered."""
    from permitcard.case_office import casework_of
    from permitcard.desk_office import desk_at_work

    console, today = console_of(context), _day(on)
    with desk_at_work(centre, today, area, desk) as office:
        work = casework_of(office.job)
        outcome = work.hand_over(number, today, office, card, given_in)
        case = work.office.find(number)
    _say_case(console, number, case)
    console.result({**_document(number, case), "status": outcome.status, "residence_years": outcome.residence_years})


@group.command("issue")
def issue(
    context: typer.Context,
    number: NumberArgument,
    file: Annotated[Path, typer.Argument(help="Where the text for the QR code goes.", metavar="FILE")],
    area: AreaOption,
    authority: AuthorityOption,
    hotline: HotlineOption,
    sheet: Annotated[Path | None, typer.Option(help="Also write the confirmation sheet, PDF.")] = None,
    font: Annotated[Path | None, typer.Option(help="TrueType font of the sheet.")] = None,
    centre: CentreOption = Path("centre"),
    on: DayOption = None,
) -> None:
    """Issue the electronic permit of mutual recognition; the permits that it replaces end at once."""
    from permitcard.case_office import casework_of
    from permitcard.desk_office import desk_at_work
    from personalization.atomic_file import write_atomically
    from personalization.permit.casework.delivery import IssuingOffice
    from personalization.permit.electronic.sheet import confirmation_sheet

    console, today = console_of(context), _day(on)
    with desk_at_work(centre, today, area, "ONLINE") as office:
        work = casework_of(office.job)
        issued = work.issue(number, today, IssuingOffice(authority, hotline), office)
        case = work.office.find(number)
    if sheet is not None:
        write_atomically(sheet, confirmation_sheet(issued.permit, issued.text, issued.portrait, font))
        console.say("pass.written", path=sheet)
    write_atomically(file, issued.text.encode("ascii"))
    console.say("pass.issued", path=file, until=issued.permit.endorsement_due, length=len(issued.text))
    console.result(
        {
            **_document(number, case),
            "pass": str(file),
            "until": issued.permit.endorsement_due,
            "ended": len(case.file.held),
            "sheet": str(sheet) if sheet else None,
        }
    )


def _step(context: typer.Context, number: int, step: str, centre: Path, on: dt.datetime | None, note: str = "") -> None:
    from permitcard.case_office import cases_at_work
    from personalization.permit.casework.states import Step

    console = console_of(context)
    with cases_at_work(centre) as work:
        case = work.office.step(number, Step(step), _day(on), note)
    _say_case(console, number, case)
    console.result(_document(number, case))


def _day(on: dt.datetime | None) -> dt.date:
    from personalization.permit.electronic.claims import CHINA

    return on.date() if on else dt.datetime.now(CHINA).date()


def _library(folder: Path | None) -> PolicyLibrary | None:
    from personalization.permit.policy.library import policies_with

    return policies_with(folder) if folder else None


def _answer(console: Console, answered: Answered) -> None:
    """The receipt, or everything that is missing."""
    from permitcard.eligibility_words import eligibility_document, say_deadline, say_eligibility
    from personalization.permit.casework.states import CaseState

    number, case, judgement = answered
    say_eligibility(console, case.file.application, judgement.eligibility)
    _say_faults(console, judgement.faults)
    _say_case(console, number, case)
    if case.due is not None:
        say_deadline(console, case.due)
    console.result(
        {
            **_document(number, case),
            **eligibility_document(judgement.eligibility),
            "verdict": judgement.verdict,
            "faults": [
                {"rule": item.rule, "column": item.column.name.lower(), **item.parameters} for item in judgement.faults
            ],
        }
    )
    if case.state is not CaseState.ACCEPTED:
        raise typer.Exit(_FAILURES)


def _say_faults(console: Console, faults: Iterable[Finding]) -> None:
    from personalization.intake.words import column_title, words

    language = console.translate.language.value
    say = words(language)
    for item in faults:
        console.say(
            "case.fault",
            column=column_title(item.column, language),
            finding=say(f"rule.{item.rule}.finding", **item.parameters),
            action=say(f"rule.{item.rule}.action", **item.parameters),
        )


def _say_case(console: Console, number: int, case: Case) -> None:
    console.say(
        "case.is",
        number=number,
        kind=console.translate(f"case.kind.{case.kind.value}"),
        state=console.translate(f"case.state.{case.state.value}"),
    )


def _say_watched(console: Console, one: Watched) -> None:
    console.say(
        "case.overdue" if one.left < 0 else "case.due",
        number=one.number,
        kind=console.translate(f"case.kind.{one.kind.value}"),
        state=console.translate(f"case.state.{one.state.value}"),
        day=one.due.day,
        days=abs(one.left),
        provisional=console.translate("permit.provisional") if one.due.provisional else "",
    )


def _say_delivery(
    console: Console, path: Path | None, numbers: tuple[int, ...], left_out: dict[int, list[str]]
) -> None:
    if path is not None:
        console.say("case.delivered", count=len(numbers), path=path)
    else:
        console.say("case.nothing-to-deliver")
    console.result({"delivery": str(path) if path else None, "cases": numbers, "left_out": left_out})


def _document(number: int, case: Case) -> dict[str, object]:
    return {
        "case": number,
        "kind": case.kind,
        "state": case.state,
        "area": case.area,
        "due": case.due.day if case.due else None,
        "provisional": case.due.provisional if case.due else False,
        "delivery": case.delivery or None,
    }
