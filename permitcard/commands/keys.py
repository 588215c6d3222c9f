"""``permitcard keys``: the centre's key store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import CentreOption, GroupOption, console_of
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from permitcard.centre import Centre
    from personalization.keys.keystore import KeyName

_ISSUER: Final = "Residence permit issuing centre"
"""Organization in the certificates of a production store."""

group = typer.Typer(help="Make and show the centre's keys.", no_args_is_help=True, rich_markup_mode=None)


@group.command("init")
def init(
    context: typer.Context,
    centre: CentreOption = Path("centre"),
    try_out: Annotated[
        bool,
        typer.Option(
            "--try-out", help="Where no passphrase is given, make one and leave it in a file beside the keys."
        ),
    ] = False,
    hsm: Annotated[
        bool,
        typer.Option("--hsm", help="Make the keys in the PKCS#11 token that PERMITCARD_PKCS11_MODULE and _TOKEN name."),
    ] = False,
    production: Annotated[
        bool, typer.Option("--production", help="For real cards; such a store refuses simulated ones. Needs --hsm.")
    ] = False,
    name: GroupOption = None,
) -> None:
    """Make all keys of a centre: masters, transport keys, authority, document and audit signer."""
    console = console_of(context)
    if production and not hsm:
        raise PersonalizationError("production-needs-hsm", exit_code=2)
    if hsm:
        where = make_hsm_keys(centre, production=production, group=name)
    else:
        where = str(make_keys(centre, try_out=try_out, group=name))
    console.say("keys.made-production" if production else "keys.made", path=where)
    console.result({"keys": where, "production": production})


def make_keys(
    centre: Path, *, try_out: bool, given: Mapping[KeyName, bytes] | None = None, group: str | None = None
) -> Path:
    """Make a centre's key store; returns its file.

    Args:
        centre: the centre's folder.
        try_out: make a passphrase where none is given, and leave it beside the keys.
        given: keys that a ceremony has put together.
        group: of system accounts, which the centre is given to.
    """
    from permitcard.centre import Centre
    from personalization.keys.file_store import FileKeyStore

    place = Centre(centre)
    refuse_second(place)
    if try_out and not (place.passphrase_is_given or place.test_passphrase.exists()):
        place.make_root(group)
        place.make_test_passphrase()
    passphrase = place.passphrase_source().read()
    place.make_root(group)
    FileKeyStore.create(place.keys, passphrase, given=given)
    return place.keys


def make_hsm_keys(
    centre: Path, *, production: bool, given: Mapping[KeyName, bytes] | None = None, group: str | None = None
) -> str:
    """Make a centre's keys in a token; returns the token's label.

    Args:
        centre: the centre's folder.
        production: for real cards.
        given: keys that a ceremony has put together.
        group: of system accounts, which the centre is given to.
    """
    from permitcard.centre import OFFICER_PIN_VARIABLE, PIN_VARIABLE, Centre

    place = Centre(centre)
    refuse_second(place)
    token = place.token()
    from personalization.keys.certificates import REHEARSAL_LABEL
    from personalization.keys.hsm.making import Maker, create_hsm_store

    maker = Maker(token, place.pin_source(PIN_VARIABLE), place.pin_source(OFFICER_PIN_VARIABLE))
    place.make_root(group)
    create_hsm_store(maker, production=production, given=given, organization=_ISSUER if production else REHEARSAL_LABEL)
    place.name_token(token)
    return token.label


def refuse_second(place: Centre) -> None:
    """A centre has one store; which one it is must never be a question.

    Raises:
        PersonalizationError: "key-store-exists", exit 2; "centre-keys-gone", exit 3.
    """
    for file in (place.hsm, place.keys):
        if file.exists():
            raise PersonalizationError("key-store-exists", exit_code=2, file=str(file))
    place.require_never_used()


@group.command("show")
def show(context: typer.Context, centre: CentreOption = Path("centre")) -> None:
    """Show the check value of each key, and of former ones that were not destroyed; a key itself is never shown."""
    from permitcard.centre import Centre
    from personalization.keys.keystore import KEY_LENGTHS, KeyName

    console = console_of(context)
    store = Centre(centre).key_store().open()
    try:
        values = {name.value: store.check_value(name).hex().upper() for name in KeyName}
        former = {name.value: [value.hex().upper() for value in store.check_values(name)[1:]] for name in KEY_LENGTHS}
        production = store.production
    finally:
        store.close()
    for name, value in values.items():
        before = ", ".join(former.get(name, ()))
        line = f"{name:<18} {value}  {console.translate(f'key-name.{name}')}"
        console.write(line + (console.translate("keys.former", values=before) if before else ""))
    kept = {name: found for name, found in former.items() if found}
    console.result({"production": production, "check_values": values, "former": kept})
