"""``permitcard keys``: the centre's key store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import CentreOption, console_of

group = typer.Typer(help="Make and show the centre's keys.", no_args_is_help=True, rich_markup_mode=None)


@group.command("init")
def init(
    context: typer.Context,
    centre: CentreOption = Path("centre"),
    try_out: Annotated[
        bool, typer.Option("--try-out", help="Also make a random passphrase and leave it in a file beside the keys.")
    ] = False,
) -> None:
    """Make all keys of a centre: masters, transport keys, test authority and document signer."""
    console = console_of(context)
    path = make_keys(centre, try_out=try_out)
    console.say("keys.made", path=path)
    console.result({"keys": str(path), "production": False})


def make_keys(centre: Path, *, try_out: bool) -> Path:
    """Make a centre's key store; returns its file."""
    from permitcard.centre import Centre
    from personalization.keys.file_store import FileKeyStore

    place = Centre(centre)
    if try_out and not place.keys.exists() and not place.test_passphrase.exists():
        place.make_test_passphrase()
    passphrase = place.passphrase_source().read()
    place.make_root()
    FileKeyStore.create(place.keys, passphrase)
    return place.keys


@group.command("show")
def show(context: typer.Context, centre: CentreOption = Path("centre")) -> None:
    """Show the check value of each key; a key itself is never shown."""
    from permitcard.centre import Centre
    from personalization.keys.keystore import KeyName

    console = console_of(context)
    store = Centre(centre).key_store().open()
    values = {name.value: store.check_value(name).hex().upper() for name in KeyName}
    for name, value in values.items():
        console.write(f"{name:<18} {value}")
    console.result({"production": store.production, "check_values": values})
