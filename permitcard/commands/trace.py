"""``permitcard trace``: what passes between a reader and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import console_of
from permitcard.trace_choices import Keep, Level, OfferAs, Source

group = typer.Typer(
    help="Record, show, decode, replay, export, import and compare what passes between reader and card.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


TraceArgument = Annotated[Path, typer.Argument(help="Trace file.", metavar="TRACE")]
OutOption = Annotated[Path, typer.Option("--out", help="New file to write.", metavar="FILE")]
KeepOption = Annotated[
    Keep,
    typer.Option(
        help="Of data in plain: safe keeps no PIN, key or stored content; content keeps what the card stores; "
        "everything keeps PINs and keys too, at your own risk."
    ),
]
KeysOption = Annotated[Path | None, typer.Option(help="File of keys (TOML) that opens secure messaging.")]
CentreOption = Annotated[Path | None, typer.Option(help="Issuing centre whose keys open secure messaging.")]
SpecimenOption = Annotated[bool, typer.Option("--specimen", help="Open with the published keys of specimens.")]
TimesOption = Annotated[bool, typer.Option("--times/--no-times", help="Write times; without them files compare well.")]
WayOption = Annotated[OfferAs | None, typer.Option("--as", help="Offer to other programs: vpcd or tcp.")]
PortOption = Annotated[
    int | None, typer.Option(min=1, max=65_535, help="Port of the vpcd driver, or of the TCP server.")
]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on, for tcp; 127.0.0.1 if absent.")]
OwnServiceOption = Annotated[
    bool, typer.Option("--own-pcscd", help="Start a PC/SC service of our own instead of using the machine's.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Nothing may differ, not even what is random.")]


@group.command("record")
def record(
    context: typer.Context,
    out: OutOption,
    card: Annotated[str, typer.Option(help="sim:FILE, pcsc:NAME or remote:HOST:PORT")],
    commands: Annotated[
        Path | None, typer.Option(help="Send these commands: a script, a listing, or another trace.")
    ] = None,
    way: WayOption = None,
    level: Annotated[Level, typer.Option(help="apdu; tpdu: what the reader carries too; bytes: the line too.")] = (
        Level.APDU
    ),
    keep: KeepOption = Keep.SAFE,
    times: TimesOption = True,
    port: PortOption = None,
    host: HostOption = None,
    own_service: OwnServiceOption = False,
) -> None:
    """Record a card: while it answers a list of commands, or while another program uses it (--as) until Ctrl-C."""
    from permitcard import tracing
    from permitcard.serving import Offer, require_fitting, serve
    from personalization.errors import PersonalizationError
    from reader_bridge.trace.recorder import require_new, save

    console = console_of(context)
    if (commands is None) == (way is None):
        raise PersonalizationError("trace-record-what", exit_code=2)
    if way is not None:
        require_fitting(way.value, port=port, host=host, own_pcscd=own_service)
    require_new(out)
    if keep is Keep.EVERYTHING:
        console.warn("trace.everything")
    to_send, hidden = tracing.read_commands(commands) if commands is not None else ([], 0)
    with tracing.recording(card, level, keep) as heard:
        try:
            if way is not None:
                serve([heard.connection], Offer(card, way.value, port, host, own_service), console)
            else:
                with heard.connection as connection:
                    for command in to_send:
                        connection.transmit(command)
        finally:
            trace = heard.trace()
            if trace.entries:
                save(trace, out, times=times)
    console.say("trace.recorded", path=out, entries=len(trace.entries))
    if hidden:
        console.say("trace.left-out", count=hidden, path=commands)
    if way is None:
        console.result({"trace": str(out), "entries": len(trace.entries), "left_out": hidden})


@group.command("show")
def show(context: typer.Context, trace: TraceArgument) -> None:
    """Print a trace, one line an entry, each command by its name."""
    from permitcard.trace_names import card_names
    from permitcard.tracing import decoded_document, decoded_text
    from reader_bridge.trace.decode import decode
    from reader_bridge.trace.text import load

    console = console_of(context)
    decoded = decode(load(trace), card_names())
    console.write(decoded_text(decoded, long=False))
    console.result({"trace": str(trace), "entries": decoded_document(decoded)})


@group.command("decode")
def decode_trace(
    context: typer.Context,
    trace: TraceArgument,
    keys: KeysOption = None,
    centre: CentreOption = None,
    specimen: SpecimenOption = False,
) -> None:
    """Print a trace with all data objects and status words by name, secure messaging opened where keys are given."""
    from permitcard.trace_names import card_names
    from permitcard.tracing import decoded_document, decoded_text, keys_for
    from reader_bridge.trace.decode import decode
    from reader_bridge.trace.text import load

    console = console_of(context)
    loaded = load(trace)
    decoded = decode(loaded, card_names(), keys_for(keys, centre, specimen=specimen))
    console.write(decoded_text(decoded, long=True))
    console.result({"trace": str(trace), "entries": decoded_document(decoded)})


@group.command("replay")
def replay(
    context: typer.Context,
    trace: TraceArgument,
    card: Annotated[
        str | None, typer.Option(help="Be the reader: send the commands to this card and compare its answers.")
    ] = None,
    way: WayOption = None,
    strict: StrictOption = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after the first difference.")] = False,
    port: PortOption = None,
    host: HostOption = None,
    own_service: OwnServiceOption = False,
) -> None:
    """Be the reader of a trace (--card), or be its card (--as), until Ctrl-C."""
    from permitcard.serving import Offer, require_fitting, serve
    from personalization.errors import PersonalizationError
    from reader_bridge.trace.replay import ReplayConnection
    from reader_bridge.trace.text import load

    console = console_of(context)
    loaded = load(trace)
    if (card is None) == (way is None):
        raise PersonalizationError("trace-replay-what", exit_code=2)
    if way is not None:
        require_fitting(way.value, port=port, host=host, own_pcscd=own_service)
    if card is not None:
        from permitcard.trace_replay import replay_against

        raise typer.Exit(replay_against(loaded, card, console, strict=strict, keep_going=keep_going))
    if way is not None:
        connection = ReplayConnection(loaded, strict=strict)
        serve([connection], Offer(trace, way.value, port, host, own_service), console)


@group.command("diff")
def diff(
    context: typer.Context,
    one: TraceArgument,
    other: Annotated[Path, typer.Argument(help="The other trace.", metavar="OTHER")],
    strict: StrictOption = False,
) -> None:
    """Compare two traces; times never count, and what is random only with --strict."""
    from reader_bridge.trace.comparison import trace_difference
    from reader_bridge.trace.text import load

    console = console_of(context)
    lines = list(trace_difference(load(one), load(other), strict=strict))
    if lines:
        console.write("\n".join(lines))
    else:
        console.say("trace.same")
    console.result({"same": not lines, "lines": lines})
    if lines:
        raise typer.Exit(1)


@group.command("export")
def export(
    context: typer.Context,
    trace: TraceArgument,
    out: OutOption,
    name_packets: Annotated[
        bool, typer.Option("--comments/--no-comments", help="Name each packet in a comment.")
    ] = True,
) -> None:
    """Write a pcapng file that Wireshark opens: ISO 14443 for the field, GSMTAP SIM for contacts."""
    from permitcard.trace_names import card_names
    from personalization.atomic_file import write_atomically
    from reader_bridge.connection import ReaderError
    from reader_bridge.trace.decode import decode
    from reader_bridge.trace.pcapng import to_pcapng
    from reader_bridge.trace.text import load

    console = console_of(context)
    loaded = load(trace)
    titles = {id(item.entry): item.title for item in decode(loaded, card_names())} if name_packets else {}
    raw = to_pcapng(loaded, lambda entry: titles.get(id(entry), ""))
    try:
        write_atomically(out, raw, replace=False)
    except FileExistsError:
        raise ReaderError("trace-exists", path=str(out)) from None
    console.say("trace.exported", path=out, bytes=len(raw))
    console.result({"file": str(out), "bytes": len(raw)})


@group.command("import")
def import_trace(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="Log of pcsc-spy, or what another tool printed.", metavar="FILE")],
    out: OutOption,
    form: Annotated[Source, typer.Option("--from", help="What the file is.")] = Source.AUTO,
    reader: Annotated[str | None, typer.Option(help="Which reader, when a log tells of several.")] = None,
    keep: KeepOption = Keep.SAFE,
) -> None:
    """Make a trace of a pcsc-spy log or an APDU listing (GlobalPlatformPro, scriptor, opensc-tool, > and < lines)."""
    from permitcard.tracing import hidden_by
    from personalization.errors import PersonalizationError
    from reader_bridge.trace.listings import from_listing
    from reader_bridge.trace.pcsc_spy import from_spy, looks_like_spy
    from reader_bridge.trace.recorder import require_new, save

    console = console_of(context)
    require_new(out)
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PersonalizationError("commands-unreadable", exit_code=2, path=str(source)) from error
    hidden = hidden_by(keep)
    if keep is Keep.EVERYTHING:
        console.warn("trace.everything")
    spy = form is Source.PCSC_SPY or (form is Source.AUTO and looks_like_spy(text))
    found = from_spy(text, hidden, str(source), reader) if spy else from_listing(text, hidden, str(source))
    save(found, out)
    console.say("trace.recorded", path=out, entries=len(found.entries))
    console.result({"trace": str(out), "entries": len(found.entries)})
