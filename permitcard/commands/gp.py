"""``permitcard gp``: a GlobalPlatform card manager that never bricks a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from permitcard.commands import gp_keys
from permitcard.commands.gp_options import CardOption, DomainOption, with_access
from permitcard.commands.options import console_of
from permitcard.gp_access import GpAccess, aid_of, domain_of, hexadecimal
from personalization.errors import PersonalizationError

group = typer.Typer(help="Manage a GlobalPlatform card.", no_args_is_help=True, rich_markup_mode=None)
group.add_typer(gp_keys.group, name="keys")

AidArgument = Annotated[str, typer.Argument(help="AID, hexadecimal.", metavar="AID")]
LoadFileArgument = Annotated[Path, typer.Argument(help="CAP or IJC file.", metavar="FILE")]
_CARD_ITSELF: Final = "card"


@group.command("info")
def info(context: typer.Context, card: CardOption, domain: DomainOption = None) -> None:
    """Show what the card tells to anybody; no authentication."""
    from permitcard.gp_report import card_report

    access = GpAccess(card, domain=domain_of(domain))
    report = card_report(access)
    console = console_of(context)
    console.write(report.text(console.translate))
    console.result(report.document())


@group.command("list")
@with_access
def list_content(context: typer.Context, access: GpAccess) -> None:
    """List the registry: the card, its applications and security domains, its packages."""
    from permitcard.gp_report import registry_report

    with access.session() as session:
        report = registry_report(session)
    console = console_of(context)
    console.write(report.text(console.translate))
    console.result(report.document())


@group.command("load")
@with_access
def load(
    context: typer.Context,
    access: GpAccess,
    file: LoadFileArgument,
    into: Annotated[
        str | None, typer.Option("--into", help="AID of the security domain that it shall belong to.")
    ] = None,
    digest: Annotated[str, typer.Option("--hash", help="sha1, sha256, sha384, sha512 or none.")] = "sha256",
) -> None:
    """Load a package from a CAP or IJC file."""
    from permitcard.gp_content import load_package
    from personalization.globalplatform.load_file import LoadFile

    package = LoadFile.read(file)
    console = console_of(context)
    with access.session() as session, console.progress() as bar:
        blocks = load_package(
            session,
            package,
            domain=b"" if into is None else aid_of(into),
            digest=digest,
            progress=lambda done, total: bar("gp-load", done, total),
        )
    console.say("gp.loaded", package=package.aid.hex().upper(), blocks=blocks)
    console.result({"package": package.aid.hex().upper(), "blocks": blocks, "version": list(package.version)})


@group.command("install")
@with_access
def install(
    context: typer.Context,
    access: GpAccess,
    file: Annotated[
        Path | None, typer.Argument(help="CAP or IJC file; without one the package is there.", metavar="FILE")
    ] = None,
    package: Annotated[str | None, typer.Option(help="AID of the package, when there is no file.")] = None,
    module: Annotated[str | None, typer.Option(help="AID of the module; the only one of the file when absent.")] = None,
    instance: Annotated[str | None, typer.Option(help="AID of the application; the module's when absent.")] = None,
    privilege: Annotated[list[str] | None, typer.Option(help="Privilege by name, such as cvm-management.")] = None,
    parameters: Annotated[str, typer.Option(help="Application specific parameters, hexadecimal.")] = "",
    into: Annotated[
        str | None, typer.Option("--into", help="AID of the security domain that the package goes to.")
    ] = None,
    combined: Annotated[
        bool, typer.Option("--combined", help="Package and application in one process: both are there, or neither.")
    ] = False,
) -> None:
    """Install an application, after loading its package when a file is named, and make it selectable."""
    from permitcard.gp_content import Installation, install_application, load_package
    from personalization.globalplatform.load_file import LoadFile

    if combined and file is None:
        raise PersonalizationError("gp-combined-without-file", exit_code=2)
    loaded = None if file is None else LoadFile.read(file)
    wanted = Installation.of(loaded, package, module, instance, privilege or [], hexadecimal(parameters, "parameters"))
    console = console_of(context)
    with access.session() as session:
        if loaded is not None:
            load_package(session, loaded, domain=b"" if into is None else aid_of(into), combined=combined)
        install_application(session, wanted, combined=combined)
    console.say("gp.installed", instance=wanted.instance.hex().upper(), package=wanted.package.hex().upper())
    console.result(
        {
            "package": wanted.package.hex().upper(),
            "module": wanted.module.hex().upper(),
            "instance": wanted.instance.hex().upper(),
        }
    )


@group.command("delete")
@with_access
def delete(
    context: typer.Context,
    access: GpAccess,
    aid: AidArgument,
    related: Annotated[bool, typer.Option("--related", help="With everything that came from the package.")] = False,
) -> None:
    """Delete an application, or a package."""
    target = aid_of(aid)
    with access.session() as session:
        session.delete(target, related=related)
    console = console_of(context)
    console.say("gp.deleted", aid=target.hex().upper())
    console.result({"deleted": target.hex().upper(), "related": related})


@group.command("lock")
@with_access
def lock(
    context: typer.Context,
    access: GpAccess,
    aid: Annotated[str, typer.Argument(help="AID, or the word card for the whole card.", metavar="AID")],
) -> None:
    """Lock an application, or the card; unlock takes it back."""
    _set_lock(context, access, aid, locked=True)


@group.command("unlock")
@with_access
def unlock(
    context: typer.Context,
    access: GpAccess,
    aid: Annotated[str, typer.Argument(help="AID, or the word card for the whole card.", metavar="AID")],
) -> None:
    """Unlock an application, or the card."""
    _set_lock(context, access, aid, locked=False)


def _set_lock(context: typer.Context, access: GpAccess, aid: str, *, locked: bool) -> None:
    from personalization.globalplatform.commands import CardState

    console = console_of(context)
    target = b"" if aid == _CARD_ITSELF else aid_of(aid)
    with access.session() as session:
        if target:
            session.set_application_state(target, 0x80 if locked else 0x00)
        else:
            session.set_card_state(CardState.CARD_LOCKED if locked else CardState.SECURED)
    name = target.hex().upper() or _CARD_ITSELF
    if locked:
        console.say("gp.locked", aid=name)
    else:
        console.say("gp.unlocked", aid=name)
    console.result({"aid": name, "locked": locked})


@group.command("store")
@with_access
def store(
    context: typer.Context,
    access: GpAccess,
    data: Annotated[str, typer.Argument(help="Hexadecimal, or @FILE with it.", metavar="DATA")],
    application: Annotated[
        str | None, typer.Option("--for", help="AID of the application that is personalized.")
    ] = None,
    form: Annotated[str, typer.Option("--form", help="dgi, tlv or free.")] = "dgi",
    encrypt: Annotated[list[str] | None, typer.Option("--encrypt", help="DGI that travels encrypted.")] = None,
    padding: Annotated[str, typer.Option(help="Of encrypted DGIs: always, needed or none.")] = "always",
) -> None:
    """Send STORE DATA to the security domain, or to an application."""
    from permitcard.gp_content import read_data, store_content

    raw = read_data(data)
    with access.session() as session:
        blocks = store_content(
            session,
            raw,
            application=None if application is None else aid_of(application),
            form=form,
            encrypted=encrypt or [],
            padding=padding,
        )
    console = console_of(context)
    console.say("gp.stored", blocks=blocks)
    console.result({"blocks": blocks})


@group.command("send")
@with_access
def send(
    context: typer.Context,
    access: GpAccess,
    apdus: Annotated[list[str], typer.Argument(help="Command APDUs, hexadecimal.", metavar="APDU…")],
    plain: Annotated[bool, typer.Option("--plain", help="Outside any session.")] = False,
) -> None:
    """Send command APDUs through a session, or as they are."""
    from permitcard.gp_script import parse_line, run_lines

    lines = [parse_line(apdu, number) for number, apdu in enumerate(apdus, start=1)]
    run_lines(console_of(context), access, lines, plain=plain)


@group.command("script")
@with_access
def script(
    context: typer.Context,
    access: GpAccess,
    file: Annotated[Path, typer.Argument(help="APDU => SW …, one a line; # begins a comment.", metavar="FILE")],
    plain: Annotated[bool, typer.Option("--plain", help="Outside any session.")] = False,
) -> None:
    """Send the APDUs of a file, and stop at the first that is not answered as it says."""
    from permitcard.gp_script import read_script, run_lines

    run_lines(console_of(context), access, read_script(file), plain=plain)


@group.command("forgive")
def forgive(context: typer.Context, card: CardOption, domain: DomainOption = None) -> None:
    """Let the key guard forget what failed on this card, because a person has looked."""
    access = GpAccess(card, domain=domain_of(domain))
    with access.connection() as connection:
        forgotten = access.guard.forget(connection)
    console = console_of(context)
    if forgotten is None:
        console.say("gp.nothing-to-forgive")
    else:
        console.say("gp.forgiven", card=forgotten)
    console.result({"forgiven": forgotten})
