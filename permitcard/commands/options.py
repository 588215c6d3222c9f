"""Options that several commands share."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permitcard.console import Console

if TYPE_CHECKING:
    from personalization.reports.reasons import ReportWords
    from personalization.returns.envelope import RecipientCertificate

CentreOption = Annotated[
    Path,
    typer.Option(
        "--centre",
        envvar="PERMITCARD_CENTRE",
        help="The issuing centre's folder (keys, journal, cards, reports).",
        readable=False,  # or the parser says that it is not, and neither why nor what to do
    ),
]

GroupOption = Annotated[
    str | None,
    typer.Option(
        "--group",
        help="Group of system accounts that the centre is given to; its owner's alone when absent.",
        metavar="NAME",
    ),
]

RecipientOption = Annotated[
    Path | None,
    typer.Option(
        "--recipient",
        help="Certificate of whoever alone may open what is written (RSA); a CMS message instead of a file in clear.",
        metavar="CERTIFICATE",
    ),
]

ChipOption = Annotated[
    str,
    typer.Option(
        "--chip",
        help="Chip of new cards, by name or the TOML file of another; those named mapped erase pages and level wear.",
        metavar="NAME|FILE",
    ),
]


SamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sam",
        help="Reader with a SAM (pcsc:NAME, serial:PORT, …), given again for each station; sams.toml when absent.",
        metavar="ADDRESS",
    ),
]

ReaderModelOption = Annotated[
    str | None,
    typer.Option("--reader-model", help="Reader between card and program; its limits hold.", metavar="NAME"),
]


UnblockingPinOption = Annotated[
    str | None,
    typer.Option("--unblocking", envvar="PERMITCARD_UNBLOCKING_PIN", help="Unblocking PIN; asked for when absent."),
]

NewPinOption = Annotated[
    str | None, typer.Option("--new", envvar="PERMITCARD_NEW_PIN", help="New PIN; asked for, twice, when absent.")
]


def console_of(context: typer.Context) -> Console:
    """The console that the frame made for this command."""
    console = context.find_root().obj
    if not isinstance(console, Console):
        raise TypeError("the frame has made no console")
    return console


def asked(console: Console, given: str | None, question: str, again: str = "") -> str:
    """A secret as it was given, else as somebody types it at the terminal, unseen.

    Args:
        console: in whose language it is asked for; on standard error, for the output may be a document.
        given: by an option or a variable.
        question: code of the words.
        again: code of the words for a second time, of what must not be mistyped.
    """
    while given is None:
        typed = str(typer.prompt(console.translate(question), hide_input=True, err=True))
        if not again or typer.prompt(console.translate(again), hide_input=True, err=True) == typed:
            return typed
        console.warn("ask.differ")
    return given


def report_words(console: Console) -> ReportWords:
    """Words for reasons of the journal, in the console's language."""
    from personalization.reports.reasons import ReportWords

    return ReportWords(console.translate, console.translate.language.value)


def recipient_of(certificate: Path | None) -> RecipientCertificate | None:
    """The recipient whom `RecipientOption` names.

    Raises:
        PersonalizationError: as `RecipientCertificate.load`.
    """
    if certificate is None:
        return None
    from personalization.returns.envelope import RecipientCertificate

    return RecipientCertificate.load(certificate, dt.datetime.now(dt.UTC))
