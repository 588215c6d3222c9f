"""``permitcard pass``: electronic permits, their verification without a network, and the status list."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import CentreOption, console_of
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from permitcard.console import Console
    from personalization.permit.electronic.passes import VerifiedPass
    from personalization.permit.electronic.status_list import StatusList

group = typer.Typer(
    help="Issue and verify electronic permits; publish the status list.", no_args_is_help=True, rich_markup_mode=None
)

_FAILURES: Final = 1
_HOURS: Final = 24
_MOMENT: Final = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]

MomentOption = Annotated[dt.datetime | None, typer.Option("--on", formats=_MOMENT, help="Time; now when absent.")]
TrustOption = Annotated[Path, typer.Option("--trust", help="Certificates of the authority and its signers, PEM.")]


@group.command("trust")
def trust(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the certificates go.", metavar="FILE")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Write the certificates that a verifier needs."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.pass_office import trust_bundle
    from personalization.atomic_file import write_atomically

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        write_atomically(file, trust_bundle(job))
    console.say("pass.written", path=file)
    console.result({"trust": str(file)})


@group.command("issue")
def issue(
    context: typer.Context,
    permit: Annotated[str, typer.Argument(help="Permit number.", metavar="PERMIT")],
    file: Annotated[Path, typer.Argument(help="Where the text for the QR code goes.", metavar="FILE")],
    centre: CentreOption = Path("centre"),
    due: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Good until then; until the next endorsement when absent."),
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also write the confirmation sheet, PDF.")] = None,
    font: Annotated[Path | None, typer.Option(help="TrueType font of the sheet.")] = None,
) -> None:
    """Issue the electronic permit of a card that the centre made; a new one for every endorsement."""
    from permitcard import pass_office
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.atomic_file import write_atomically
    from personalization.permit.electronic.sheet import confirmation_sheet

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        issued = pass_office.issue(job, permit, dt.datetime.now(dt.UTC), due.date() if due else None)
    if sheet is not None:
        write_atomically(sheet, confirmation_sheet(issued.permit, issued.text, issued.portrait, font))
        console.say("pass.written", path=sheet)
    write_atomically(file, issued.text.encode("ascii"))
    console.say("pass.issued", path=file, until=issued.permit.endorsement_due, length=len(issued.text))
    console.result(
        {
            "pass": str(file),
            "identifier": issued.permit.identifier.hex(),
            "until": issued.permit.endorsement_due,
            "length": len(issued.text),
            "sheet": str(sheet) if sheet else None,
        }
    )


@group.command("verify")
def verify(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="What the QR code said.", metavar="FILE")],
    trust: TrustOption,
    status: Annotated[Path | None, typer.Option(help="The newest status list.")] = None,
    max_age: Annotated[int, typer.Option("--max-age", min=1, help="Hours that the list may be old.")] = _HOURS,
    portrait: Annotated[Path | None, typer.Option(help="The portrait that is shown with it, JPEG.")] = None,
    on: MomentOption = None,
) -> None:
    """Verify a pass offline and show what it says."""
    from permitcard.pass_office import read_trust
    from personalization.permit.electronic.passes import LONGEST, verify_pass
    from personalization.permit.electronic.status_list import read_status_list

    console = console_of(context)
    now = _moment(on)
    signers = read_trust(trust, now)
    listed: StatusList | None = read_status_list(status.read_bytes(), signers) if status else None
    with file.open("rb") as source:
        text = source.read(LONGEST + 2).decode("ascii", "replace")
    found = verify_pass(
        text,
        signers,
        now,
        listed,
        age=dt.timedelta(hours=max_age),
        portrait=portrait.read_bytes() if portrait else None,
    )
    _show(console, found)
    if not found.good:
        raise typer.Exit(_FAILURES)


@group.command("revoke")
def revoke(
    context: typer.Context,
    standing: Annotated[str, typer.Argument(help="cancelled, lost, replaced or revoked.", metavar="WHY")],
    permit: Annotated[list[str] | None, typer.Option("--permit", help="Permit number; may be repeated.")] = None,
    passes: Annotated[
        list[str] | None, typer.Option("--pass", help="Identifier of a pass, hex; may be repeated.")
    ] = None,
    centre: CentreOption = Path("centre"),
) -> None:
    """Publish the next status list with permits or passes that are not good any more; a delta comes with it."""
    from permitcard import pass_office
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.permit.electronic.status_list import Kind, Standing

    console = console_of(context)
    names = {item.name.lower(): item for item in Standing}
    if standing not in names:
        raise PersonalizationError("word-unknown", exit_code=2, word=standing, known=", ".join(names))
    added = {(Kind.PERMIT, number.encode("ascii", "replace")): names[standing] for number in permit or ()}
    added |= {(Kind.PASS, _identifier(text)): names[standing] for text in passes or ()}
    with Job.open(Centre(centre)) as job:
        issued = pass_office.publish(job, dt.datetime.now(dt.UTC), added)
    console.say(
        "pass.published", sequence=issued.status.sequence, entries=len(issued.status.entries), path=issued.whole
    )
    console.result(
        {
            "sequence": issued.status.sequence,
            "entries": len(issued.status.entries),
            "list": str(issued.whole),
            "delta": str(issued.delta) if issued.delta else None,
        }
    )


@group.command("update")
def update(
    context: typer.Context,
    status: Annotated[Path, typer.Argument(help="The status list that the verifier has.", metavar="LIST")],
    deltas: Annotated[list[Path], typer.Argument(help="Deltas, in order.", metavar="DELTA...")],
    trust: TrustOption,
    on: MomentOption = None,
) -> None:
    """Check that deltas lead from a status list to what the office signed, and say what comes out."""
    from permitcard.pass_office import read_trust
    from personalization.permit.electronic.status_list import apply_delta, read_status_list

    console = console_of(context)
    signers = read_trust(trust, _moment(on))
    listed = read_status_list(status.read_bytes(), signers)
    for delta in deltas:
        listed = apply_delta(listed, delta.read_bytes(), signers)
    console.say("pass.updated", sequence=listed.sequence, entries=len(listed.entries), issued=listed.issued_at)
    console.result({"sequence": listed.sequence, "entries": len(listed.entries), "issued": listed.issued_at})


def _moment(on: dt.datetime | None) -> dt.datetime:
    from personalization.permit.electronic.claims import CHINA

    if on is None:
        return dt.datetime.now(dt.UTC)
    return on if on.tzinfo is not None else on.replace(tzinfo=CHINA)


def _identifier(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise PersonalizationError("pass-identifier-malformed", exit_code=2, text=text) from None


def _show(console: Console, found: VerifiedPass) -> None:
    permit = found.permit
    if permit is not None:
        console.say(
            "pass.says",
            permit_number=permit.permit_number,
            name=permit.name,
            citizen_number=permit.citizen_number,
            until=permit.endorsement_due,
            area=permit.area,
        )
    for fault in found.faults:
        console.say(f"pass.fault.{fault.value}")
    if found.good:
        console.say("pass.good")
    console.result(
        {
            "good": found.good,
            "faults": found.faults,
            "permit": None
            if permit is None
            else {
                "permit_number": permit.permit_number,
                "name": permit.name,
                "citizen_number": permit.citizen_number,
                "area": permit.area,
                "until": permit.endorsement_due,
                "identifier": permit.identifier.hex(),
            },
        }
    )
