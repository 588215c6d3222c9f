"""``permitcard card``: one card in hand."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.commands import snapshot, wear, why
from permitcard.commands.options import ChipOption, ReaderModelOption, console_of
from personalization.errors import PersonalizationError

group = typer.Typer(help="Make, show, read and serve single cards.", no_args_is_help=True, rich_markup_mode=None)
snapshot.register(group)
wear.register(group)
why.register(group)

CardArgument = Annotated[Path, typer.Argument(help="Card file.", metavar="CARD")]
CentreOrSpecimen = Annotated[
    Path | None,
    typer.Option("--centre", help="The centre that made the card; the published specimen keys when absent."),
]


_CARDS_IN_A_SERVICE = 8
"""A PC/SC service has room for 16 slots, two a card."""


class ServeAs(StrEnum):
    """Ways to offer a card."""

    VPCD = "vpcd"
    CCID_SERIAL = "ccid-serial"
    PHOENIX = "phoenix"
    PN532 = "pn532"
    TCP = "tcp"


@group.command("new")
def new(
    context: typer.Context,
    card: CardArgument,
    blank: Annotated[bool, typer.Option("--blank", help="A blank card as a chip vendor delivers it.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            help="A card after a card profile (TOML), by file or by name: test-keys is for GlobalPlatform programs."
        ),
    ] = None,
    sam: Annotated[
        bool, typer.Option("--sam", help="A SAM with the published keys, for who writes a terminal.")
    ] = False,
    letter_pin: Annotated[
        bool, typer.Option("--letter-pin", help="The holder's PIN has to be changed first, as on a citizen's card.")
    ] = False,
    serial: Annotated[int, typer.Option(min=1, help="Serial number of the chip.")] = 1,
    chip: ChipOption = DEFAULT_CHIP,
    applets: Annotated[
        list[str] | None,
        typer.Option(
            "--applet", help="Install this application too; NAME=HEX gives install parameters.", metavar="NAME"
        ),
    ] = None,
) -> None:
    """Make a specimen permit with published keys and PINs, its SAM, a blank card, or the card of a profile."""
    from permitcard.applet_installation import WantedApplet, install_applets
    from permitcard.specimen import make_blank_specimen, make_profile_specimen, make_specimen
    from personalization.keys.keystore import KeyName

    console = console_of(context)
    wanted = [WantedApplet.parse(text) for text in applets or ()]
    if profile is not None and (blank or wanted):
        raise PersonalizationError("profile-alone", exit_code=2)
    if letter_pin and (profile is not None or blank or sam):
        raise PersonalizationError("letter-pin-alone", exit_code=2)
    if sam and (profile is not None or blank or wanted):
        raise PersonalizationError("sam-alone", exit_code=2)
    if sam:
        from permitcard.sams import make_sam_specimen

        card_number = make_sam_specimen(card, serial, chip=chip)
        console.say("card.made", card_id=card_number.hex().upper(), path=card)
        console.result({"card": str(card), "card_id": card_number.hex().upper(), "sam": True})
        return
    if profile is not None:
        made, card_number = make_profile_specimen(profile, card, serial, chip=chip)
    elif blank:
        made, card_number = make_blank_specimen(card, serial, chip=chip)
    else:
        made, target = make_specimen(card, serial, chip=chip, letter_pin=letter_pin)
        card_number = target.card_number
    try:
        with made:
            if profile is None:
                install_applets(made, wanted, card_number, KeyName.FACTORY if blank else KeyName.CARD)
    except PersonalizationError:
        card.unlink()
        raise
    console.say("card.made", card_id=card_number.hex().upper(), path=card)
    for each in wanted:
        console.say("card.applet-installed", name=each.name, aid=each.instance.hex().upper())
    installed = [{"name": each.name, "aid": each.instance.hex().upper()} for each in wanted]
    console.result({"card": str(card), "card_id": card_number.hex().upper(), "blank": blank, "applets": installed})


@group.command("applets")
def applets_known(context: typer.Context) -> None:
    """List the applications that a card can be made with: ours, and those that installed packages bring."""
    from permitcard.applets import known_applets

    console = console_of(context)
    known = known_applets()
    for item in known:
        if item.code is None:
            console.say("card.applet-broken", name=item.name, package=item.package, reason=item.problem)
        else:
            aid = bytes(item.code.module_aid).hex().upper()
            console.say("card.applet", name=item.name, aid=aid, package=item.package)
    console.result(
        {
            "applets": [
                {
                    "name": item.name,
                    "package": item.package,
                    "aid": bytes(item.code.module_aid).hex().upper() if item.code else None,
                    "problem": item.problem or None,
                }
                for item in known
            ]
        }
    )
    if any(item.code is None for item in known):
        raise typer.Exit(1)


@group.command("show")
def show(
    context: typer.Context,
    card: CardArgument,
    centre: CentreOrSpecimen = None,
    portrait: Annotated[Path | None, typer.Option(help="Write the portrait to this file.")] = None,
) -> None:
    """Print the card: its face and files, as its holder and as an inspection terminal see them."""
    _show(context, f"sim:{card}", centre, portrait)


@group.command("read")
def read(
    context: typer.Context,
    card: Annotated[str, typer.Option("--card", help="sim:FILE, pcsc:NAME, serial:PORT or remote:HOST:PORT")],
    centre: CentreOrSpecimen = None,
    portrait: Annotated[Path | None, typer.Option(help="Write the portrait to this file.")] = None,
    pin_pad: Annotated[
        bool, typer.Option("--pinpad", help="The holder types the PIN at the reader, which has keys.")
    ] = False,
) -> None:
    """Read a card at any address, as its holder (over contact) and as an inspection terminal."""
    _show(context, card, centre, portrait, pin_pad=pin_pad)


def _show(
    context: typer.Context, address: str, centre: Path | None, portrait: Path | None, *, pin_pad: bool = False
) -> None:
    from permitcard.card_in_hand import read_card
    from personalization.atomic_file import write_atomically

    console = console_of(context)

    def ask_holder(reader: str) -> None:
        console.say("card.type-pin", reader=reader)

    view = read_card(address, centre, console.translate.language.value, ask_holder if pin_pad else None)
    if portrait is not None and view.portrait:
        write_atomically(portrait, view.portrait)
    console.write(view.text(console.translate))
    console.result(view.document())


@group.command("serve")
def serve(
    context: typer.Context,
    card: Annotated[list[Path], typer.Argument(help="Card file; several for tcp and --own-pcscd.", metavar="CARD…")],
    way: Annotated[
        ServeAs,
        typer.Option(
            "--as",
            help="vpcd: two slots of a PC/SC reader; ccid-serial: two serial CCID readers; "
            "phoenix: a plain asynchronous reader behind RFC 2217; pn532: a serial contactless module; "
            "tcp: our own protocol.",
        ),
    ] = ServeAs.VPCD,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port of the vpcd driver, or to listen on.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, for tcp and phoenix; 127.0.0.1 if absent.")
    ] = None,
    own_service: Annotated[
        bool, typer.Option("--own-pcscd", help="Start a PC/SC service of our own instead of using the machine's.")
    ] = False,
    link: Annotated[
        Path | None,
        typer.Option(help="Device file to make, for ccid-serial and pn532; the system names one if absent."),
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="Fault plan (TOML): what goes wrong with the card.")] = None,
    model: ReaderModelOption = None,
    atr: Annotated[
        str | None,
        typer.Option(
            help="ATR that the contact slot of vpcd, of the first card, shows instead of the card's: hexadecimal, or "
            "t0 or t1 for the card's own with that protocol alone."
        ),
    ] = None,
    keypad: Annotated[
        str | None,
        typer.Option(
            help="Where a PIN is typed, for ccid-serial and for reader models with keys: terminal asks without "
            "showing it, fd:N reads lines from an open file descriptor; an empty line cancels."
        ),
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM), for tcp.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM), where it is not in the same file.")] = None,
) -> None:
    """Offer card files to other programs until Ctrl-C: as virtual readers, contact and contactless, or over TCP."""
    from contextlib import ExitStack

    from permitcard.keypads import open_keypad, require_keys
    from permitcard.products import open_simulated
    from permitcard.serving import Offer, offer_card, require_fitting, shown_atr, wait
    from reader_bridge.serving import CardServer

    console = console_of(context)
    require_fitting(way.value, port=port, host=host, own_pcscd=own_service, link=link, atr=atr)
    require_fitting(way.value, certificate=certificate, key=key)
    in_own_service = way is ServeAs.VPCD and own_service and len(card) <= _CARDS_IN_A_SERVICE
    if len(card) > 1 and way is not ServeAs.TCP and not in_own_service:
        raise PersonalizationError("several-cards", exit_code=2, most=_CARDS_IN_A_SERVICE)
    with ExitStack() as stack:
        first, *more = [stack.enter_context(open_simulated(path, faults, foreign=True)) for path in card]
        shown = None if atr is None else shown_atr(atr, first)
        pad = None
        if keypad is not None:
            require_keys(way.value, model)
            pad = stack.enter_context(open_keypad(keypad, console.translate))
        server = stack.enter_context(CardServer(first, model, pad, atr=shown, more=more))
        if pad is not None:
            stack.callback(pad.stop)  # before the readers end, which wait for whoever types
        tls = None if certificate is None else (certificate, key or certificate)
        what = ", ".join(str(path) for path in card)
        offer = Offer(what, way.value, port, host, own_service, link, tls)
        devices = offer_card(server, offer, console.say)
        console.result(
            {
                "card": what,
                "as": way.value,
                "port": server.remote_port,
                "devices": devices,
                "environment": server.client_variables,
            }
        )
        wait(server)
