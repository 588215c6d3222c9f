"""``permitcard gp keys``: key sets of a security domain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permitcard.commands.gp_options import CardOption, DomainOption, version_of, with_access
from permitcard.commands.options import console_of
from permitcard.gp_access import GpAccess, KeyChoice, domain_of
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from personalization.globalplatform.key_loading import KeyType

group = typer.Typer(help="Show, find, put, delete and rotate keys.", no_args_is_help=True, rich_markup_mode=None)

NewKey = Annotated[
    str | None, typer.Option("--new-key", help="New keys: hexadecimal or @FILE; or PERMITCARD_GP_NEW_KEY.")
]
NewEnc = Annotated[str | None, typer.Option("--new-enc", help="New Key-ENC, where the three differ.")]
NewMac = Annotated[str | None, typer.Option("--new-mac", help="New Key-MAC.")]
NewDek = Annotated[str | None, typer.Option("--new-dek", help="New Key-DEK.")]
NewVersion = Annotated[str, typer.Option("--new-version", help="Version of the new set, hexadecimal, 01 to 7F.")]
NewKdf = Annotated[str | None, typer.Option("--new-kdf", help="Diversification of the new keys.")]
NewCentre = Annotated[Path | None, typer.Option("--new-centre", help="Take the new keys from this centre's key store.")]
TypeOption = Annotated[str, typer.Option("--type", help="aes, or des for a set of SCP02.")]

_VARIABLE = "PERMITCARD_GP_NEW_KEY"


@group.command("list")
def list_keys(context: typer.Context, card: CardOption, domain: DomainOption = None) -> None:
    """List the keys that the card tells; no authentication."""
    from permitcard.gp_report import key_report

    report = key_report(GpAccess(card, domain=domain_of(domain)))
    console = console_of(context)
    console.write(report.text(console.translate))
    console.result(report.document())


@group.command("find")
@with_access
def find(context: typer.Context, access: GpAccess) -> None:
    """Find which key set and diversification fits; no EXTERNAL AUTHENTICATE is sent."""
    console = console_of(context)
    with access.connection() as connection:
        found = access.guard.identify(connection, access.keys.candidates(), access.keys.version)
    asked = [f"{version:02X}" for version in found.asked]
    if found.candidate is None:
        console.say("gp.keys-not-found", tried=", ".join(found.tried), versions=", ".join(asked) or "-")
    else:
        console.say("gp.keys-found", version=f"{found.key_version:02X}", kdf=found.candidate.name)
    console.result(
        {
            "found": found.candidate is not None,
            "kdf": None if found.candidate is None else found.candidate.name,
            "key_version": None if found.candidate is None else f"{found.key_version:02X}",
            "asked": asked,
            "tried": list(found.tried),
            "card": found.facts.identity,
        }
    )
    if found.candidate is None:
        raise typer.Exit(1)


@group.command("put")
@with_access
def put(
    context: typer.Context,
    access: GpAccess,
    new_version: NewVersion,
    new_key: NewKey = None,
    new_enc: NewEnc = None,
    new_mac: NewMac = None,
    new_dek: NewDek = None,
    new_kdf: NewKdf = None,
    new_centre: NewCentre = None,
    replace: Annotated[str, typer.Option(help="Version that it replaces; 00 adds a set.")] = "00",
    type_: TypeOption = "aes",
) -> None:
    """Add a key set, or replace one."""
    choice = _new(new_key, new_enc, new_mac, new_dek, new_kdf, new_version, new_centre)
    kind = _kind(type_)
    keys = choice.set_of_cards("new", kind)
    with access.session() as session:
        session.put_keys(keys.derive(session.card), replace=version_of(replace) or 0, kind=kind)
    console = console_of(context)
    console.say("gp.keys-put", version=f"{keys.version:02X}")
    console.result({"key_version": f"{keys.version:02X}", "replaced": replace.upper()})


@group.command("delete")
@with_access
def delete(
    context: typer.Context,
    access: GpAccess,
    version: Annotated[str, typer.Argument(help="Key version number, hexadecimal.", metavar="VERSION")],
    identifier: Annotated[str | None, typer.Option(help="One key of it, hexadecimal.")] = None,
) -> None:
    """Delete the keys of a version."""
    from personalization.globalplatform.key_loading import delete_key

    number, key = version_of(version), version_of(identifier)
    with access.session() as session:
        session.transmit(delete_key(version=number, identifier=key))
    console = console_of(context)
    console.say("gp.keys-deleted", version=f"{number or 0:02X}")
    console.result({"deleted": f"{number or 0:02X}"})


@group.command("rotate")
@with_access
def rotate(
    context: typer.Context,
    access: GpAccess,
    new_version: NewVersion,
    new_key: NewKey = None,
    new_enc: NewEnc = None,
    new_mac: NewMac = None,
    new_dek: NewDek = None,
    new_kdf: NewKdf = None,
    new_centre: NewCentre = None,
    type_: TypeOption = "aes",
    finish: Annotated[bool, typer.Option("--finish", help="Go on where a rotation of this card stopped.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Go back, as long as the card has the old set.")] = False,
) -> None:
    """Put a new set in, prove it in a session of its own, take the old set out.

    Stopped anywhere, it can be finished or undone. In place of the factory set (version FF) the one PUT KEY is the
    point of no return.
    """
    from personalization.globalplatform.key_rotation import KeyRotation

    if finish and undo:
        raise PersonalizationError("either-or", exit_code=2, one="--finish", other="--undo")
    kind = _kind(type_)
    old = access.keys.set_of_cards("old", kind, published=True)
    new = _new(new_key, new_enc, new_mac, new_dek, new_kdf, new_version, new_centre).set_of_cards("new", kind)
    rotation = KeyRotation(access.guard, access.journal, access.domain)
    with access.connection() as connection:
        act = rotation.finish if finish else rotation.undo if undo else rotation.rotate
        done = act(connection, old, new)
    console = console_of(context)
    for step in done.steps:
        console.say("gp-rotation." + step.value)
    console.say("gp.rotated", version=f"{done.key_version:02X}")
    console.result({"key_version": f"{done.key_version:02X}", "steps": [step.value for step in done.steps]})


def _new(
    key: str | None,
    enc: str | None,
    mac: str | None,
    dek: str | None,
    kdf: str | None,
    version: str,
    centre: Path | None,
) -> KeyChoice:
    schemes = () if kdf is None else (kdf,)
    return KeyChoice(key, enc, mac, dek, schemes, version_of(version), centre, _VARIABLE)


def _kind(name: str) -> KeyType:
    from personalization.globalplatform.key_loading import KeyType

    known = {"aes": KeyType.AES, "des": KeyType.DES}
    if name.lower() not in known:
        raise PersonalizationError("word-unknown", exit_code=2, word=name, known="aes, des")
    return known[name.lower()]
