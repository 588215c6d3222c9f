"""``permitcard test``: the shared conformance suite against any card."""

from __future__ import annotations

import contextlib
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import ReaderModelOption, console_of

if TYPE_CHECKING:
    from permitcard.testing.access import CardAccess

_PYTEST_EXIT_CODES: Final = {0: 0, 1: 1, 2: 1, 5: 2}
"""pytest's code → ours; everything else is the environment."""

_ENVIRONMENT: Final = 3


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("test")(run_suite)


def suite_folder() -> Path:
    """Where the suite lies: inside the installed wheel, or in the checkout."""
    installed = Path(str(files("permitcard"))) / "conformance"
    return installed if installed.is_dir() else installed.parent.parent / "tests" / "conformance"


def run_suite(
    context: typer.Context,
    card: Annotated[str, typer.Option(help="sim, wire, sim:FILE, pcsc:NAME, serial:PORT or remote:HOST:PORT")] = "sim",
    contactless: Annotated[str | None, typer.Option(help="Contactless interface of the same card.")] = None,
    centre: Annotated[
        Path | None, typer.Option(help="Issuing centre that made the card; published test keys when absent.")
    ] = None,
    destructive: Annotated[bool, typer.Option("--destructive", help="Also tests that can lock the card.")] = False,
    card_id: Annotated[str | None, typer.Option(help="The card's own id, for --destructive.")] = None,
    faults: Annotated[
        Path | None, typer.Option(help="Fault plan (TOML) for a simulated card: the suite has to notice.")
    ] = None,
    model: ReaderModelOption = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write an HTML report with the clauses.")] = None,
    select: Annotated[str | None, typer.Option("-k", help="Only tests whose name matches.")] = None,
) -> None:
    """Run the conformance suite against a simulated or a real card."""
    import pytest

    from permitcard.testing.access import SIMULATED, open_card_access
    from permitcard.testing.tally import Tally

    console = console_of(context)
    _check_faults(card, faults)
    if model is not None:
        from reader_bridge.reader_models import reader_model

        reader_model(model)
    if card != SIMULATED or faults is not None:
        # A card that is not there is one message here, and one error a test there.
        with open_card_access(
            card, contactless, None if centre is None else str(centre), None if faults is None else str(faults)
        ) as access:
            _check_card_id(access, card_id, destructive=destructive)
    arguments = [str(suite_folder()), "-p", "permitcard.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:randomly"]
    arguments += ["--import-mode=importlib", "-c", str(suite_folder() / "suite.ini"), "-ra", "--card", card]
    for name, value in (
        ("--contactless", contactless),
        ("--centre", centre),
        ("--card-id", card_id),
        ("--faults", faults),
        ("--reader-model", model),
        ("--junitxml", junit),
        ("--suite-html", html),
        ("-k", select),
    ):
        if value is not None:
            arguments += [name, str(value)]
    if destructive:
        arguments.append("--destructive")
    tally = Tally()
    with contextlib.redirect_stdout(sys.stderr) if console.as_json else contextlib.nullcontext():
        code = int(pytest.main(arguments, plugins=[tally]))
    console.result({"card": card, **tally.document()})
    raise typer.Exit(_PYTEST_EXIT_CODES.get(code, _ENVIRONMENT))


def _check_card_id(access: CardAccess, given: str | None, *, destructive: bool) -> None:
    """Nobody loses a card to a mistyped reader name: what can lock it runs when its own id was repeated.

    Raises:
        PersonalizationError: "card-id-missing" or "card-id-other", exit 2; the card is as it was.
    """
    from personalization.errors import PersonalizationError

    own = access.target.card_number.hex().upper()
    if not destructive or access.throw_away:
        return
    if given is None:
        raise PersonalizationError("card-id-missing", exit_code=2, card_id=own)
    if given.upper() != own:
        raise PersonalizationError("card-id-other", exit_code=2, given=given, card_id=own)


def _check_faults(card: str, faults: Path | None) -> None:
    """Refuse a plan that makes no sense before the suite starts, and one for a card that nobody can plan for."""
    if faults is None:
        return
    from permitcard.products import card_maker
    from personalization.errors import PersonalizationError

    card_maker(faults)
    if card.partition(":")[0] != "sim":
        raise PersonalizationError("faults-simulated-only", exit_code=2, card=card)
