"""``permitcard keys component`` and ``ceremony``: keys that no one person knows, and how they were made."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.keys import make_hsm_keys, make_keys, refuse_second
from permitcard.commands.options import CentreOption, GroupOption, console_of, report_words
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName

if TYPE_CHECKING:
    from permitcard.centre import Centre
    from permitcard.console import Console
    from personalization.keys.ceremony import Component

group = typer.Typer(rich_markup_mode=None)
transcripts = typer.Typer(help="Look at transcripts.", no_args_is_help=True, rich_markup_mode=None)
group.add_typer(transcripts, name="transcript")

_ATTEMPTS: Final = 3
_USAGE: Final = 2


@group.command("component")
def component(
    context: typer.Context,
    key: Annotated[KeyName, typer.Argument(help="The key that it is a part of.")],
    custodian: Annotated[str, typer.Argument(help="Whose part it is.")],
    file: Annotated[Path, typer.Argument(help="File to write, for the custodian's own medium.")],
) -> None:
    """Draw one custodian's component at random; nobody else may be in the room."""
    from personalization.keys.ceremony import new_component, write_component

    console = console_of(context)
    drawn = new_component(key, custodian)
    write_component(file, drawn)
    value = drawn.check_value.hex().upper()
    console.say("ceremony.component", key=key.value, custodian=custodian, path=file, check_value=value)
    console.result({"key": key.value, "custodian": custodian, "file": str(file), "check_value": value})


@group.command("ceremony")
def ceremony(
    context: typer.Context,
    custodians: Annotated[
        list[str], typer.Option("--custodian", help="Name of a custodian; two or more, all of them are needed.")
    ],
    keys: Annotated[list[KeyName], typer.Option("--key", help="A key that comes in components; may be given again.")],
    centre: CentreOption = Path("centre"),
    components: Annotated[
        Path | None,
        typer.Option(help="Folder of component files KEY.CUSTODIAN.txt; without it, components are typed in, hidden."),
    ] = None,
    witnesses: Annotated[list[str] | None, typer.Option("--witness", help="Name of a witness.")] = None,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="Draw the components here, to practise; the transcript says so.")
    ] = False,
    hsm: Annotated[bool, typer.Option("--hsm", help="Make the store in the PKCS#11 token.")] = False,
    production: Annotated[bool, typer.Option("--production", help="For real cards; needs --hsm.")] = False,
    name: GroupOption = None,
) -> None:
    """Make a key store from components of several custodians, and sign a transcript of how."""
    from permitcard.centre import Centre
    from personalization.keys.ceremony import combine

    console = console_of(context)
    place = Centre(centre)
    refuse_second(place)
    if production and (rehearsal or not hsm):
        raise PersonalizationError("production-needs-hsm", exit_code=_USAGE)
    parts = {
        name: [_component(console, name, custodian, components, rehearsal=rehearsal) for custodian in custodians]
        for name in dict.fromkeys(keys)
    }
    given = {name: combine(name, of_name) for name, of_name in parts.items()}
    if hsm:
        where = make_hsm_keys(centre, production=production, given=given, group=name)
    else:
        where = str(make_keys(centre, try_out=False, given=given, group=name))
    path = _write_transcript(console, place, parts, witnesses or [], rehearsal=rehearsal, where=where)
    console.say("ceremony.done", path=where, transcript=path)
    console.result({"keys": where, "production": production, "rehearsal": rehearsal, "transcript": str(path)})


def _component(console: Console, key: KeyName, custodian: str, folder: Path | None, *, rehearsal: bool) -> Component:
    """One component: drawn, from its file, or typed in by its custodian."""
    from personalization.keys.ceremony import new_component, read_component

    if rehearsal:
        return new_component(key, custodian)
    if folder is None:
        return _typed(console, key, custodian)
    path = folder / f"{key.value}.{custodian}.txt"
    found = read_component(path)
    if (found.key, found.custodian) != (key, custodian):
        raise PersonalizationError("component-file-malformed", exit_code=_USAGE, file=str(path))
    return found


def _typed(console: Console, key: KeyName, custodian: str) -> Component:
    """Ask a custodian, who sees nothing of what is typed; a slip of the finger may be mended."""
    from personalization.keys.ceremony import entered

    for attempt in range(1, _ATTEMPTS + 1):
        question = console.translate("ceremony.ask-component", key=key.value, custodian=custodian)
        value = typer.prompt(question, hide_input=True, err=True)
        check_value = typer.prompt(console.translate("ceremony.ask-check-value"), err=True)
        try:
            return entered(key, custodian, value, check_value)
        except PersonalizationError as error:
            if attempt == _ATTEMPTS:
                raise
            console.complain(error.code, **error.parameters)
    raise AssertionError("the last attempt returns or raises")


def _write_transcript(
    console: Console,
    place: Centre,
    parts: dict[KeyName, list[Component]],
    witnesses: list[str],
    *,
    rehearsal: bool,
    where: str,
) -> Path:
    from permitcard.system_accounts import system_user
    from personalization.atomic_file import write_atomically
    from personalization.folder_rights import make_folder
    from personalization.keys.ceremony import transcript
    from personalization.keys.signed_document import sign_document, written
    from personalization.reports.signed_page import signed_page

    language = console.translate.language.value
    store = place.key_store().open()
    try:
        document = transcript(store, parts, [*witnesses, system_user()], rehearsal=rehearsal, place=where)
        signed = sign_document(document, store)
    finally:
        store.close()
    make_folder(place.transcripts)
    path = place.transcripts / f"ceremony-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.json"
    write_atomically(path, written(signed))
    write_atomically(path.with_suffix(".html"), signed_page(document, console.translate, language=language).encode())
    return path


@transcripts.command("verify")
def verify(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Signed JSON: a transcript, a certificate, a record.", metavar="FILE")],
    authority: Annotated[
        Path | None, typer.Option(help="Certificates (DER) of the authority that you trust; else the one inside.")
    ] = None,
) -> None:
    """Check the signature of a transcript, certificate or record, and show what it says."""
    from personalization.keys.signed_document import read_signed
    from personalization.reports.signed_page import document_rows

    console = console_of(context)
    document = read_signed(file, None if authority is None else authority.read_bytes())
    console.write(console.translate(f"document.{str(document['kind']).replace(' ', '-')}"))
    for name, value in document_rows(document, report_words(console)):
        console.write(f"    {name}: {value}")
    console.say("ceremony.genuine" if authority else "ceremony.genuine-by-itself", path=file)
    console.result({"genuine": True, "trusted": authority is not None, "document": document})
