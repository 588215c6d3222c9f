"""What ``permitcard trace`` does: record a card, and hold traces against cards and each other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from card_os.hardware.clock import VirtualClock
from permitcard.products import boot, permit_profile, sam_profile
from permitcard.reaching import card_factory
from permitcard.trace_choices import Keep, Level
from personalization.errors import PersonalizationError
from reader_bridge.addresses import AddressKind, CardAddress
from reader_bridge.connection import CardConnection, Interface
from reader_bridge.simulated import open_card
from reader_bridge.stack import standard_stack
from reader_bridge.trace.keys import FileKeys, TraceKeys
from reader_bridge.trace.listings import ScriptLineError, commands_of
from reader_bridge.trace.record import Entry, Hidden, Kind, Trace
from reader_bridge.trace.recorder import TraceRecorder
from reader_bridge.wired import WiredConnection

if TYPE_CHECKING:
    from personalization.profile import CardProfile
    from reader_bridge.trace.decode import Decoded

_SELECT_BY_NAME: Final = b"\x00\xa4\x04"


_HIDDEN: Final = {
    Keep.SAFE: Hidden.SECRETS | Hidden.CONTENT,
    Keep.CONTENT: Hidden.SECRETS,
    Keep.EVERYTHING: Hidden.NOTHING,
}


def hidden_by(keep: Keep) -> Hidden:
    """What is hidden by that choice."""
    return _HIDDEN[keep]


@dataclass(frozen=True, slots=True)
class Recording:
    """A connection to use, and the recorder behind it.

    Attributes:
        connection: what a program talks to.
        recorder: what writes down.
    """

    connection: CardConnection
    recorder: TraceRecorder

    def trace(self) -> Trace:
        """What was heard, with the profile of the application that was selected."""
        trace = self.recorder.trace()
        return self.recorder.trace(_profile_of(trace.entries))


def _profile_of(entries: tuple[Entry, ...]) -> str:
    """Name and version of the profile whose application was selected first."""
    profiles: dict[bytes, CardProfile] = {
        profile.application.instance: profile for profile in (permit_profile(), sam_profile())
    }
    for entry in entries:
        raw = entry.sent.data
        if entry.kind in {Kind.APDU, Kind.TPDU} and raw[:3] == _SELECT_BY_NAME and len(raw) > 5:  # noqa: PLR2004 - Lc
            profile = profiles.get(raw[5 : 5 + raw[4]])
            if profile is not None:
                return f"{profile.name} {profile.version}"
    return ""


@contextmanager
def recording(address: str, level: Level, keep: Keep) -> Generator[Recording]:
    """A card at an address, heard by a recorder; not powered yet.

    Args:
        address: sim:FILE, pcsc:NAME or remote:HOST:PORT.
        level: how deep.
        keep: what of data in plain.

    Raises:
        ReaderError: no card there.
        PersonalizationError: "trace-level", bytes are heard on a simulated line only.
    """
    target = CardAddress.parse(address)
    if level is not Level.BYTES:
        recorder = TraceRecorder(hidden_by(keep))
        connection = card_factory().connect(target)
        try:
            yield Recording(_heard(connection, recorder, level), recorder)
        finally:
            connection.__exit__(None, None, None)
        return
    if target.kind is not AddressKind.SIMULATED:
        raise PersonalizationError("trace-level", exit_code=2, card=address)
    clock = VirtualClock()
    recorder = TraceRecorder(hidden_by(keep), clock)
    with open_card(target.place, boot) as card:
        port = card.card.contact if target.interface is Interface.CONTACT else card.card.contactless
        line = WiredConnection(
            port, target.interface, card.name, clock=clock, disturbance=recorder.disturbance(), watch=recorder.line_seen
        )
        yield Recording(_heard(line, recorder, level), recorder)


def _heard(connection: CardConnection, recorder: TraceRecorder, level: Level) -> CardConnection:
    if level is Level.APDU:
        return recorder.watch(connection)
    return recorder.watch(standard_stack(recorder.watch(connection, Kind.TPDU)))


def read_commands(path: Path) -> tuple[list[bytes], int]:
    """Commands of a script, a listing or a trace, and how many of a trace are left out because their data are hidden.

    Raises:
        PersonalizationError: "commands-unreadable", "commands-malformed" or "commands-empty", exit 2.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PersonalizationError("commands-unreadable", exit_code=2, path=str(path)) from error
    if text.startswith("permitcard-trace"):
        from reader_bridge.trace.text import parse

        sent = [entry.sent for entry in parse(text, str(path)).exchanges() if entry.sent.data]
        found = [octets.data for octets in sent if not octets.hidden]
        hidden = len(sent) - len(found)
    else:
        hidden = 0
        try:
            found = commands_of(text)
        except ScriptLineError as error:
            raise PersonalizationError("commands-malformed", exit_code=2, path=str(path), row=error.number) from error
    if not found:
        raise PersonalizationError("commands-empty", exit_code=2, path=str(path))
    return found, hidden


def keys_for(keys: Path | None, centre: Path | None, *, specimen: bool) -> TraceKeys:
    """Who opens a trace: a file of keys, a centre's store, the published keys of specimens, or nobody.

    Raises:
        ReaderError: the file of keys cannot be read.
        PersonalizationError: more than one is named, or the centre's keys cannot be opened.
    """
    if sum((keys is not None, centre is not None, specimen)) > 1:
        raise PersonalizationError("trace-keys-choice", exit_code=2)
    if keys is not None:
        return FileKeys.load(keys)
    if centre is None and not specimen:
        return FileKeys()
    from permitcard.trace_names import StoreKeys

    if specimen:
        from permitcard.specimen import specimen_keys

        return StoreKeys(specimen_keys())
    from permitcard.centre import Centre
    from permitcard.operator_login import open_store
    from personalization.production.acts import Role

    return StoreKeys(open_store(Centre(Path(centre or ".")), Role.KEYS))


def decoded_text(decoded: list[Decoded], *, long: bool) -> str:
    """Decoded entries for people: a line each, or with data objects and bytes."""
    lines: list[str] = []
    for item in decoded:
        mark = {Kind.TPDU: "    ", Kind.TO_CARD: "      > ", Kind.TO_READER: "      < "}.get(item.entry.kind, "")
        tail = "  ".join(part for part in (item.status, f"({item.protection})" if item.protection else "") if part)
        lines.append(f"{mark}{item.title}" + (f"  → {tail}" if tail else ""))
        if long:
            lines += _long(item)
    return "\n".join(lines)


def _long(item: Decoded) -> Iterator[str]:
    from reader_bridge.trace.text import command_text, digits, response_text

    show: Callable[[str], str] = lambda text: f"        {text}"  # noqa: E731 - one indent for all
    if item.entry.kind in {Kind.APDU, Kind.TPDU}:
        yield show(f"> {command_text(item.entry.sent)}")
        if item.plain_command is not None:
            yield show(f"> {item.plain_command.hex().upper()} (plain)")
    elif item.entry.sent.data:
        yield show(digits(item.entry.sent))
    yield from (show(f"  {line}") for line in item.command)
    if item.entry.received.data:
        text = response_text if item.entry.kind in {Kind.APDU, Kind.TPDU} else digits
        yield show(f"< {text(item.entry.received)}")
    if item.plain_response is not None:
        yield show(f"< {item.plain_response.hex().upper()} (plain)")
    yield from (show(f"  {line}") for line in item.response)


def decoded_document(decoded: list[Decoded]) -> list[dict[str, object]]:
    """The same for programs."""
    from reader_bridge.trace.text import digits

    return [
        {
            "kind": item.entry.kind.value,
            "title": item.title,
            "sent": digits(item.entry.sent),
            "received": digits(item.entry.received),
            "failure": item.entry.failure or None,
            "status": item.status or None,
            "protection": item.protection or None,
            "command": list(item.command),
            "response": list(item.response),
            "plain_command": None if item.plain_command is None else item.plain_command.hex().upper(),
            "plain_response": None if item.plain_response is None else item.plain_response.hex().upper(),
        }
        for item in decoded
    ]
