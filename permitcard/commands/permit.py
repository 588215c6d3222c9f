"""``permitcard permit``: who may have a permit, until when it is good, and what a resident's points are."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import console_of
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from personalization.permit.evidence import Application
    from personalization.permit.policy.library import PolicyLibrary
    from personalization.permit.policy.model import Policy

group = typer.Typer(
    help="Judge applications, count terms and points under dated policies.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_FAILURES: Final = 1

ApplicationArgument = Annotated[Path, typer.Argument(help="The application, a TOML file.", metavar="APPLICATION")]
PoliciesOption = Annotated[
    Path | None,
    typer.Option("--policies", exists=True, file_okay=False, help="Folder with further policies; a city is a file."),
]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="A policy by name, also a draft; by default that of the area and day.")
]
Day = Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"])]
DayOption = Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"])]


@group.command("policies")
def policies(context: typer.Context, policies: PoliciesOption = None) -> None:
    """List the policies, after a search for gaps and contradictions."""
    from permitcard.eligibility_words import title_of

    console = console_of(context)
    library = _library(policies)
    for policy in library.policies:
        console.say(
            "permit.policy",
            name=policy.name,
            title=title_of(console, policy.title),
            valid_from=policy.valid_from,
            draft=console.translate("permit.draft") if policy.draft else "",
            document=policy.document,
        )
    console.say("permit.policies-sound", count=len(library.policies))
    console.result({"policies": [policy.model_dump(mode="json") for policy in library.policies]})


@group.command("check")
def check(
    context: typer.Context,
    application: ApplicationArgument,
    policy: PolicyOption = None,
    policies: PoliciesOption = None,
) -> None:
    """Say of every rule whether it is met, not met or not proven; everything at once."""
    from permitcard.eligibility_words import eligibility_document, say_eligibility
    from personalization.permit.eligibility import Verdict, decide
    from personalization.permit.evidence import read_application

    console = console_of(context)
    asked = read_application(application)
    answer = decide(_policy(_library(policies), policy, asked), asked)
    say_eligibility(console, asked, answer)
    console.result(eligibility_document(answer))
    if answer.verdict is not Verdict.ELIGIBLE:
        raise typer.Exit(_FAILURES)


@group.command("recognise")
def recognise(
    context: typer.Context,
    application: ApplicationArgument,
    accepted: DayOption = None,
    policy: PolicyOption = None,
    policies: PoliciesOption = None,
) -> None:
    """Judge a request for mutual recognition: route, deadline, and the permits that end with it."""
    from permitcard.eligibility_words import eligibility_document, say_deadline, say_eligibility
    from personalization.permit.evidence import read_application
    from personalization.permit.recognition import recognise as recognise_application

    console = console_of(context)
    asked = read_application(application)
    start = accepted.date() if accepted else asked.applied
    answer = recognise_application(_policy(_library(policies), policy, asked), asked, start)
    say_eligibility(console, asked, answer.eligibility)
    say_deadline(console, answer.decided_by)
    if answer.route is not None:
        console.say(f"permit.route.{answer.route.value}")
    if answer.cancels:
        console.say("permit.cancels", areas=", ".join(answer.cancels))
    console.result(
        {
            **eligibility_document(answer.eligibility),
            "route": answer.route,
            "decided_by": answer.decided_by.day,
            "provisional": answer.decided_by.provisional,
            "cancels": answer.cancels,
        }
    )
    if answer.route is None:
        raise typer.Exit(_FAILURES)


@group.command("term")
def term(
    context: typer.Context,
    area: Annotated[str, typer.Option(help="Area that issued the permit, six digits.")],
    issued: Day,
    on: Day,
    endorsed: Annotated[
        list[dt.datetime] | None, typer.Option(formats=["%Y-%m-%d"], help="Days of endorsements, in order.")
    ] = None,
    policy: PolicyOption = None,
    policies: PoliciesOption = None,
) -> None:
    """Say what a permit is worth on a day, when it is due, and which years of residence count."""
    from personalization.permit.endorsement import PermitStatus, PermitTerm

    console = console_of(context)
    library = _library(policies)
    day = on.date()
    found = library.named(policy) if policy else library.for_area(area, day)
    rule = library.complete(found, day).endorsement
    if rule is None:
        raise TypeError("the review lets no province without endorsement pass")
    known = PermitTerm.of_issue(issued.date(), area, rule)
    for past in endorsed or ():
        known = known.endorsed(past.date(), area, rule)
    status = known.status(day)
    window = known.window(rule)
    console.say(
        "permit.term",
        day=day,
        status=console.translate(f"permit.status.{status.value}"),
        due=known.due,
        first=window.first,
        years=known.residence_years(day),
    )
    console.result(
        {
            "status": status,
            "due": known.due,
            "window": [window.first, window.last],
            "residence_years": known.residence_years(day),
            "policy": found.name,
        }
    )
    if status is not PermitStatus.VALID:
        raise typer.Exit(_FAILURES)


@group.command("points")
def points(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="Name of a points table, or its file.", metavar="TABLE")],
    facts: Annotated[list[str] | None, typer.Argument(help="Facts as measure=number.", metavar="FACT...")] = None,
) -> None:
    """Add up a resident's points and say what each item gave."""
    from permitcard.eligibility_words import title_of
    from personalization.permit.points import points_tables, read_points_table, score

    console = console_of(context)
    tables = points_tables()
    if table in tables:
        chosen = tables[table]
    elif Path(table).suffix:
        chosen = read_points_table(Path(table))
    else:
        raise PersonalizationError("points-table-unknown", exit_code=2, name=table, known=", ".join(tables))
    answer = score(chosen, _facts(facts or []))
    for entry in answer.scores:
        value = console.translate("permit.absent") if entry.value is None else entry.value
        console.say("permit.points-item", points=entry.points, title=title_of(console, entry.item.title), value=value)
    if answer.vetoed_by:
        console.say("permit.points-veto", items=", ".join(answer.vetoed_by))
    console.say("permit.points-total", total=answer.total, title=title_of(console, chosen.title))
    if chosen.example:
        console.say("permit.points-example")
    console.result(
        {
            "total": answer.total,
            "vetoed_by": answer.vetoed_by,
            "items": [{"id": one.item.id, "value": one.value, "points": one.points} for one in answer.scores],
            "example": chosen.example,
        }
    )


def _facts(given: list[str]) -> dict[str, int]:
    facts: dict[str, int] = {}
    for text in given:
        name, _, value = text.partition("=")
        if not value.lstrip("-").isdecimal():
            raise PersonalizationError("points-fact-malformed", exit_code=2, text=text)
        facts[name] = int(value)
    return facts


def _library(folder: Path | None) -> PolicyLibrary:
    from personalization.permit.policy import library

    return library.policies_with(folder) if folder else library.policies()


def _policy(library: PolicyLibrary, name: str | None, application: Application) -> Policy:
    return library.named(name) if name else library.for_area(application.area, application.applied)
