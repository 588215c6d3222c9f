"""A trace in words: commands, data objects and status words by name, protection taken off where keys are known.

What a card says is data: nothing here trusts it. A field that is not what its standard says is shown as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from card_os.iso7816.apdu import CLASS_BYTES, CommandApdu, ResponseApdu
from card_os.iso7816.errors import WrongLength
from card_os.iso7816.status import StatusWord
from reader_bridge.trace import fields
from reader_bridge.trace.commands import PROPRIETARY, READER_CLASS, CommandRow, Form, command_row
from reader_bridge.trace.keys import FileKeys, TraceKeys
from reader_bridge.trace.line import LineNames
from reader_bridge.trace.names import CardNames
from reader_bridge.trace.opening import Opener, Protection
from reader_bridge.trace.record import EXCHANGES, LINE, STARTS, Entry, Kind, Trace
from reader_bridge.trace.status_words import status_text
from reader_bridge.trace.tags import TagContext
from reader_bridge.trace.titles import Places, binary_offset

_GET_RESPONSE: Final = 0xC0
_MORE: Final = 0x61
_HEADER: Final = 4
_STATUS_LENGTH: Final = 2
_HIDDEN: Final = "hidden"
_RECORD_TEMPLATE: Final = b"\x70"


@dataclass(frozen=True, slots=True)
class Decoded:
    """One entry in words.

    Attributes:
        entry: the entry.
        title: what it is.
        command: the command data field, a line each.
        response: the response data field, a line each.
        status: the status word and its meaning; empty for what has none.
        protection: what was around it, empty for nothing.
        plain_command: the command without protection, None when it had none or was not opened.
        plain_response: same of the response.
    """

    entry: Entry
    title: str
    command: tuple[str, ...] = field(default=(), repr=False)
    response: tuple[str, ...] = field(default=(), repr=False)
    status: str = ""
    protection: str = ""
    plain_command: bytes | None = field(default=None, repr=False)
    plain_response: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Open:
    """A command whose response is not whole yet."""

    sent: CommandApdu = field(repr=False)
    plain: CommandApdu = field(repr=False)
    protection: Protection
    hidden: bool
    data: bytes = field(default=b"", repr=False)


def decode(trace: Trace, names: CardNames | None = None, keys: TraceKeys | None = None) -> list[Decoded]:
    """All entries of a trace in words.

    Args:
        trace: the trace.
        names: what the card calls its files; the standards' names when absent.
        keys: who opens secure messaging; nobody when absent.
    """
    decoder = Decoder(trace, names or CardNames(), keys or FileKeys())
    return [decoder.entry(entry) for entry in trace.entries]


class Decoder:
    """Decodes entries in their order.

    Args:
        trace: for its header, and for the level at which sessions are followed.
        names: what the card calls its files.
        keys: who opens secure messaging.
    """

    def __init__(self, trace: Trace, names: CardNames, keys: TraceKeys) -> None:
        self._places = Places(names)
        self._opener = Opener(keys)
        self._line = LineNames(trace.header.protocol)
        kinds = {entry.kind for entry in trace.entries}
        # Sessions are followed at one level: at two, every command would count twice.
        self._level = Kind.TPDU if Kind.TPDU in kinds and Kind.APDU not in kinds else Kind.APDU
        self._open: _Open | None = None
        self._chained = b""

    def entry(self, entry: Entry) -> Decoded:
        """One entry in words."""
        if entry.kind in STARTS or entry.kind is Kind.POWER_OFF:
            return self._power(entry)
        if entry.kind in LINE:
            return Decoded(entry, self._line.name(entry.kind, entry.sent), status=entry.failure)
        if entry.kind is self._level:
            return self._exchange(entry)
        name = _name(entry.sent.data)
        return Decoded(entry, name, status=_plain_status(entry))

    def _power(self, entry: Entry) -> Decoded:
        self._opener.reset()
        self._line.restart()
        self._places.reset()
        self._open, self._chained = None, b""
        titles = {Kind.POWER_ON: "power on", Kind.RESET: "reset", Kind.POWER_OFF: "power off"}
        return Decoded(entry, titles[entry.kind], status=entry.failure)

    def _exchange(self, entry: Entry) -> Decoded:
        raw = entry.sent.data
        if len(raw) < _HEADER:
            return Decoded(entry, "no command APDU", status=_plain_status(entry))
        try:
            sent = CommandApdu.parse(raw)
        except WrongLength as error:
            return Decoded(entry, f"{_name(raw)}, malformed: {error}", status=_plain_status(entry))
        if sent.ins == _GET_RESPONSE and sent.cla < PROPRIETARY and self._open is not None:
            return self._more(entry, sent, self._open)
        return self._command(entry, sent)

    def _command(self, entry: Entry, sent: CommandApdu) -> Decoded:
        hidden = bool(entry.sent.hidden)
        if sent.cla == READER_CLASS:
            return Decoded(entry, command_row(sent.cla, sent.ins).name, status=_plain_status(entry))
        plain, protection = self._opener.command(sent, hidden=hidden)
        decoded = CLASS_BYTES[sent.cla]
        chained = decoded is not None and decoded.chained
        if chained or self._opener.collecting:
            self._chained += plain.data if chained else b""
            title = f"{self._places.title(plain)}, more follows"
            return Decoded(entry, title, status=_plain_status(entry), protection=str(protection))
        if self._chained:
            plain, self._chained = plain._replace(data=self._chained + plain.data), b""
        open_ = _Open(sent, plain, protection, hidden)
        if entry.failure or not entry.received.data:
            self._open = None
            return self._finish(entry, open_, None)
        return self._answer(entry, open_)

    def _more(self, entry: Entry, sent: CommandApdu, open_: _Open) -> Decoded:
        if entry.failure:
            self._open = None
            return Decoded(entry, f"GET RESPONSE {sent.ne}", status=_plain_status(entry))
        done = self._answer(entry, open_)
        return Decoded(
            entry,
            f"GET RESPONSE, {self._places.title(open_.plain)}",
            (),
            done.response,
            done.status,
            done.protection,
            None,
            done.plain_response,
        )

    def _answer(self, entry: Entry, open_: _Open) -> Decoded:
        """Take a part of the response; interpret it when it is whole."""
        received = ResponseApdu.parse(entry.received.data)
        if entry.received.hidden:
            open_.hidden = True
        open_.data += received.data
        if received.sw.sw1 == _MORE:
            self._open = open_
            return self._finish(entry, open_, None, partial=True)
        self._open = None
        return self._finish(entry, open_, ResponseApdu(open_.data, received.sw))

    def _finish(self, entry: Entry, open_: _Open, response: ResponseApdu | None, *, partial: bool = False) -> Decoded:
        protection = open_.protection
        opened = protection.opened and open_.plain != open_.sent
        row = command_row(open_.plain.cla, open_.plain.ins)
        title = self._places.title(open_.plain)
        lines = [_HIDDEN] if entry.sent.hidden else self._command_lines(open_.plain, row, protection)
        plain_command = open_.plain.encode() if opened and not entry.sent.hidden else None
        if response is None:
            status = _plain_status(entry)
            if partial:
                status = f"{StatusWord.parse(entry.received.data)} {StatusWord.parse(entry.received.data).text}"
            return Decoded(entry, title, tuple(lines), (), status, str(protection), plain_command)
        hidden = bool(entry.received.hidden)
        plain, around = self._opener.response(open_.sent, open_.plain, response, hidden=hidden or open_.hidden)
        if plain.sw.ok or plain.sw.warning:
            self._places.follow(open_.plain, plain)
        answered = self._response_lines(open_.plain, row, plain, around) if not hidden else [_HIDDEN]
        words = [str(protection)] if str(protection) else []
        if around.name:
            words.append(f"response {around.mac.value if around.opened else around.reason}")
        return Decoded(
            entry,
            title,
            tuple(lines),
            tuple(answered),
            f"{plain.sw} {status_text(open_.plain.cla >= PROPRIETARY, open_.plain.ins, plain.sw)}",
            "; ".join(words),
            plain_command,
            plain.encode() if around.opened and not hidden else None,
        )

    def _command_lines(self, command: CommandApdu, row: CommandRow, protection: Protection) -> list[str]:
        data = command.data
        if not data:
            return []
        if protection.name and not protection.opened:
            return fields.objects(data, TagContext.MESSAGING)
        match row.command:
            case Form.TLV:
                return fields.objects(data, TagContext.TOP)
            case Form.CONTENT:
                return self._content(command, data)
            case Form.INSTALL:
                return fields.install(command.p1, data)
            case Form.GROUPINGS:
                application = self._places.of(command).application
                return fields.store_data(command.p1, data, None if application is None else application.objects)
            case Form.CHALLENGE:
                return [f"challenge: {fields.value_text(data)}"]
            case Form.CRYPTOGRAM:
                return [f"cryptogram: {fields.value_text(data)}"]
            case Form.PIN:
                return [f"reference data: {len(data)} bytes"]
            case _:
                return [fields.value_text(data)]

    def _response_lines(
        self, command: CommandApdu, row: CommandRow, response: ResponseApdu, around: Protection
    ) -> list[str]:
        data = response.data
        if not data:
            return []
        if around.name and not around.opened:
            return fields.objects(data, TagContext.MESSAGING)
        match row.response:
            case Form.TLV:
                return self._objects(command, data)
            case Form.CONTENT:
                return self._content(command, data)
            case Form.INITIALIZE_UPDATE:
                known = ["keys known"] if self._opener.channel_known else []
                return fields.initialize_update(data) + known
            case Form.CHALLENGE:
                return [f"challenge: {fields.value_text(data)}"]
            case Form.CRYPTOGRAM:
                return [f"cryptogram: {fields.value_text(data)}"]
            case _:
                return self._objects(command, data) if fields.is_tlv(data) else [fields.value_text(data)]

    def _objects(self, command: CommandApdu, data: bytes) -> list[str]:
        application = self._places.of(command).application
        names: Mapping[int, str] | None = None if application is None else application.objects
        return fields.objects(data, TagContext.TOP, names)

    def _content(self, command: CommandApdu, data: bytes) -> list[str]:
        """Data objects by the names of the file, fields by their places, else bytes."""
        file = self._places.file(command)
        context = TagContext.EMV if data[:1] == _RECORD_TEMPLATE else TagContext.TOP
        if file is not None and file.fields:
            offset = binary_offset(command)
            lines = [
                f"{row.name}: {fields.value_text(data[row.offset - offset : row.offset - offset + row.length])}"
                for row in file.fields
                if offset <= row.offset < offset + len(data)
            ]
            if lines:
                return lines
        return fields.objects(data, context, None if file is None else file.objects, padding=True)


def _name(raw: bytes) -> str:
    if len(raw) < _HEADER:
        return "no command APDU"
    return command_row(raw[0], raw[1]).name or f"INS {raw[1]:02X}"


def _plain_status(entry: Entry) -> str:
    if entry.failure:
        return f"no answer: {entry.failure}"
    if entry.kind not in EXCHANGES or len(entry.received.data) < _STATUS_LENGTH:
        return ""
    word = StatusWord.parse(entry.received.data)
    raw = entry.sent.data
    if len(raw) < _HEADER:
        return f"{word} {word.text}"
    return f"{word} {status_text(raw[0] >= PROPRIETARY, raw[1], word)}"
