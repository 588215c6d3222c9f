"""The command line's frame: global options, exit codes, errors in words.

Exit codes: 0 done, 1 found failures, 2 usage, 3 environment.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from permitcard import __version__
from permitcard.commands.table import CommandTable
from permitcard.console import Console
from permitcard.foreign_words import in_own_words
from permitcard.help_pages import help_pages
from permitcard.translation import Language, Translator


class ExitCode(IntEnum):
    """What a shell script can rely on."""

    DONE = 0
    FAILURES = 1
    USAGE = 2
    ENVIRONMENT = 3


application = typer.Typer(
    name="permitcard",
    cls=CommandTable,
    help="Simulate, personalize and test the Zhejiang IC-card residence permit.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_FLAGS: Final = frozenset({"--json"})
_MISTYPED: Final = frozenset(
    {
        "bad-address",
        "chip-too-small",
        "chip-unknown",
        "chip-wrong",
        "fault-plan-invalid",
        "fault-plan-site",
        "fault-plan-unreadable",
        "image-exists",
        "image-missing",
        "import-empty",
        "import-order",
        "import-readers",
        "reader-model-unknown",
        "relay-rules-invalid",
        "relay-rules-unreadable",
        "token-missing",
        "token-too-short",
        "trace-empty",
        "trace-exists",
        "trace-hidden",
        "trace-keys-invalid",
        "trace-keys-unreadable",
        "trace-malformed",
        "trace-unreadable",
        "trace-version",
    }
)
"""Reader errors that another command line mends."""

_VALUED: Final = frozenset({"--lang"})
_PAGE_IN_PLACE_OF_AN_ERROR: Final = "NoArgsIsHelpError"
"""Where a command is missing; the library knows it by this name, too, and does not export it."""

_INTERRUPTED: Final = 130
"""What newer parsers return in place of KeyboardInterrupt."""


def _tell_versions(context: typer.Context, wanted: bool) -> None:
    """Print what a report of a fault should name, and end."""
    if not wanted:
        return
    from cryptography.hazmat.backends.openssl import backend

    versions = {
        "permitcard": __version__,
        "python": platform.python_version(),
        "openssl": backend.openssl_version_text().removeprefix("OpenSSL "),
        "platform": platform.platform(terse=True),
    }
    console = Console(Translator.load(Language.from_environment()), bool(context.params.get("as_json")))
    console.write("permitcard {permitcard} (Python {python}, OpenSSL {openssl}, {platform})".format(**versions))
    console.result(versions)
    raise typer.Exit


@application.callback()
def frame(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of text.", is_eager=True)
    ] = False,
    version: Annotated[  # noqa: ARG001 - the callback does it
        bool,
        typer.Option(
            "--version",
            help="Print the versions that a report of a fault should name.",
            is_eager=True,
            callback=_tell_versions,
        ),
    ] = False,
    language: Annotated[
        Language | None, typer.Option("--lang", help="Language of texts; the locale's when absent.")
    ] = None,
) -> None:
    """Take the options that every command has; they may stand anywhere on the line."""
    translator = Translator.load(language or Language.from_environment())
    context.obj = Console(translator, as_json)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    from permitcard.system_accounts import whose
    from personalization.errors import PersonalizationError
    from reader_bridge.connection import ReaderError

    line = _globals_first(arguments)
    console = _console_for(line)
    # SIGTERM ends a run the way Ctrl-C does: what is open is closed in order.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        with help_pages(console.translate.language, line):
            result = cast("object", application(args=line, standalone_mode=False, prog_name="permitcard"))
    except typer.TyperException as error:
        if type(error).__name__ == _PAGE_IN_PLACE_OF_AN_ERROR:
            console.teach(error.format_message())
        else:
            console.complain("usage", text=in_own_words(error.format_message(), console.translate))
        return ExitCode.USAGE
    except (typer.Abort, KeyboardInterrupt):
        console.complain("interrupted")
        return ExitCode.FAILURES
    except PersonalizationError as error:
        console.complain(error.code, **error.parameters)
        return error.exit_code
    except ReaderError as error:
        console.complain(error.code, **error.parameters)
        return ExitCode.USAGE if error.code in _MISTYPED else ExitCode.ENVIRONMENT
    except OSError as error:
        code = "file-failure" if error.filename is not None else "system-failure"
        told = {"path": error.filename, "cause": error.strerror or type(error).__name__}
        if isinstance(error, PermissionError) and isinstance(error.filename, str | os.PathLike):
            code, told = "file-forbidden", told | whose(Path(error.filename))
        console.complain(code, **told)
        return ExitCode.ENVIRONMENT
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug of ours never shows a traceback
        console.complain("internal-error", kind=type(error).__name__, path=_write_crash(error))
        return ExitCode.ENVIRONMENT
    if result == _INTERRUPTED:
        console.complain("interrupted")
        return ExitCode.FAILURES
    return result if isinstance(result, int) else ExitCode.DONE


def _globals_first(arguments: Sequence[str]) -> list[str]:
    """Move the global options to the front, where the parser expects them."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in _FLAGS or argument.startswith("--lang="):
            front.append(argument)
        elif argument in _VALUED:
            front += [argument, next(waiting, "")]
        else:
            rest.append(argument)
    return front + rest


def _console_for(line: Sequence[str]) -> Console:
    """The console for errors that come before the parser has run."""
    language = Language.from_environment()
    for position, argument in enumerate(line):
        if argument == "--lang" and position + 1 < len(line) and line[position + 1] in set(Language):
            language = Language(line[position + 1])
    return Console(Translator.load(language), "--json" in line)


def _interrupt(number: int, frame_: object) -> None:
    del number, frame_
    raise KeyboardInterrupt


def _write_crash(error: Exception) -> str:
    """Write where a bug happened, without any value that was in play; returns the file's path."""
    frames = traceback.format_list(traceback.extract_tb(error.__traceback__))
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="permitcard-crash-", suffix=".txt", delete=False
    ) as file:
        file.write("".join(frames) + type(error).__name__ + "\n" + sys.version + "\n")
        return file.name
