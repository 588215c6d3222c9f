"""The checks: what has to work between any reader and any card that does what its ATR or ATS says.

Source: the clauses in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import xor
from statistics import median
from time import perf_counter_ns
from typing import Final

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.atr import AnswerError, Atr, Ats, HistoricalBytes
from card_os.iso7816.status import SW
from permitcard.matrix.subject import CheckFailed, CheckSkipped, Subject
from reader_bridge.connection import Protocol7816

_ROUNDS: Final = 40
_LONG: Final = 512
_EXTENDED_READ: Final = 1000
_WHOLE: Final = 256
_PROTOCOL_NUMBERS: Final = {Protocol7816.T0: 0, Protocol7816.T1: 1}
_NOT_OPEN: Final = frozenset({0x6881, 0x6882})
_BUG: Final = 0x6F00
_ENVELOPE: Final = 0xC2


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        code: key of its words, below "matrix.check".
        clause: what it holds against.
        run: does it; returns facts for the page, such as a time.
    """

    code: str
    clause: str
    run: Callable[[Subject], str]


def _answer(subject: Subject) -> str:
    """ATR or ATS is well formed, with a right TCK or TL."""
    raw = subject.answer
    try:
        if raw[:1] == bytes((len(raw),)):
            return f"ATS, FSC {Ats.parse(raw).frame_size}"
        atr = Atr.parse(raw)
    except AnswerError as error:
        raise CheckFailed("answer", reason=str(error)) from error
    if atr.has_check_byte and reduce(xor, raw[1:]):
        raise CheckFailed("answer", reason="TCK")
    return "ATR, " + ", ".join(f"T={number}" for number in atr.protocols)


def _protocol(subject: Subject) -> str:
    """The reader speaks a protocol that the card offers."""
    protocol = subject.raw.description.protocol
    number = _PROTOCOL_NUMBERS.get(protocol)
    if number is None:
        return protocol.value
    offered = Atr.parse(subject.answer).protocols
    if number not in offered:
        raise CheckFailed("protocol", protocol=protocol.value, offered=", ".join(f"T={one}" for one in offered))
    return protocol.value


def _historical(subject: Subject) -> str:
    """Historical bytes are compact data objects."""
    raw = subject.historical
    if not raw or raw[0] not in {0x00, 0x80}:
        raise CheckSkipped("no-compact")
    try:
        objects = HistoricalBytes.parse(raw).objects
    except AnswerError as error:
        raise CheckFailed("answer", reason=str(error)) from error
    return ", ".join(f"{item.tag:X}{len(item.value):X}" for item in objects)


def _header_only(subject: Subject) -> str:
    """A command of case 1 gets an answer."""
    answer = subject.raw.transmit(bytes((0x00, 0x20, 0x00, 0x80)))
    return str(ResponseApdu.parse(answer).sw)


def _select(subject: Subject) -> str:
    """SELECT by name, with and without Le."""
    data = subject.need(subject.select())
    subject.need(subject.send(0x00, 0xA4, 0x04, 0x0C, subject.aid))
    return f"{len(data)} B"


def _unknown(subject: Subject) -> str:
    """An instruction that nobody has gets a status word of its own, and the card goes on."""
    word = subject.send(0x00, 0xFB, 0x00, 0x00).sw
    if word.ok or word == _BUG:
        raise CheckFailed("status", sw=str(word), meaning=word.text)
    subject.need(subject.select())
    return str(word)


def _right_length(subject: Subject) -> str:
    """A response that is longer than Le is told by 61xx or 6Cxx, or is there whole."""
    whole = subject.need(subject.select())
    if not whole:
        raise CheckSkipped("no-fci")
    short = subject.send(0x00, 0xA4, 0x04, 0x00, subject.aid, 1)
    if subject.need(short)[: len(whole)] not in {whole, whole[:1]}:
        raise CheckFailed("length", length=len(short.data), expected=len(whole))
    return f"{len(short.data)} B"


def _same_answers(subject: Subject) -> str:
    """The same command gets the same answer, many times; the time is told."""
    command = CommandApdu(0x00, 0xA4, 0x04, 0x00, subject.aid, 256).encode()
    expected = subject.host.transmit(command)
    times: list[float] = []
    for _ in range(_ROUNDS):
        start = perf_counter_ns()
        answer = subject.host.transmit(command)
        times.append((perf_counter_ns() - start) / 1e6)
        if answer != expected:
            raise CheckFailed("another-answer", round=len(times))
    return f"{median(times):.2f} ms"


def _long_command(subject: Subject) -> str:
    """A command with 512 bytes of data arrives whole, extended or as a chain."""
    capabilities = subject.capabilities
    if not capabilities.extended and not capabilities.chaining:
        raise CheckSkipped("short-only")
    word = subject.send(0x00, 0xA4, 0x04, 0x00, bytes(_LONG), 256, extended=True).sw
    if word.ok or word == _BUG:
        raise CheckFailed("status", sw=str(word), meaning=word.text)
    subject.need(subject.select())
    return str(word)


def _chaining(subject: Subject) -> str:
    """A chain of two commands is one command: SELECT, or ENVELOPE on a card that takes no chain of SELECT."""
    if not subject.capabilities.chaining:
        raise CheckSkipped("no-chaining")
    whole = CommandApdu(0x00, 0xA4, 0x04, 0x00, subject.aid, 256)
    for ins, p1, data in ((whole.ins, whole.p1, whole.data), (_ENVELOPE, 0x00, whole.encode())):
        middle = len(data) // 2
        first = subject.send(0x10, ins, p1, 0x00, data[:middle])
        if first.sw != SW.CHAINING_NOT_SUPPORTED:
            subject.need(first)
            return f"{len(subject.need(subject.send(0x00, ins, p1, 0x00, data[middle:], 256)))} B"
    raise CheckFailed("status", sw=str(SW.CHAINING_NOT_SUPPORTED), meaning=SW.CHAINING_NOT_SUPPORTED.text)


def _channels(subject: Subject) -> str:
    """A logical channel opens, selects, and closes."""
    if subject.capabilities.channels < 2:  # noqa: PLR2004 - the basic channel alone
        raise CheckSkipped("no-channels")
    number = subject.need(subject.send(0x00, 0x70, 0x00, 0x00, b"", 1))[0]
    subject.need(subject.select(cla=number if number < 4 else 0x40 | number - 4))  # noqa: PLR2004 - 5.4.1
    subject.need(subject.send(0x00, 0x70, 0x80, number))
    return f"channel {number}"


def _reset(subject: Subject) -> str:
    """A reset closes channels, and the ATR or ATS is the same."""
    if subject.capabilities.channels >= 2:  # noqa: PLR2004 - more than the basic one
        subject.need(subject.send(0x00, 0x70, 0x00, 0x01))
    again = subject.raw.reset()
    if again != subject.answer:
        raise CheckFailed("another-answer", round=1)
    word = subject.select(cla=0x01).sw
    if word not in _NOT_OPEN:
        raise CheckFailed("survived", sw=str(word))
    return f"{len(again)} B"


def _read(subject: Subject, length: int, *, extended: bool) -> str:
    if subject.open_file is None:
        raise CheckSkipped("nothing-to-read")
    short = subject.open_file(subject.host)
    response = subject.send(0x00, 0xB0, 0x80 | short, 0x00, b"", length, extended=extended)
    data = subject.need(response)
    if len(data) != length:
        raise CheckFailed("length", length=len(data), expected=length)
    return f"{len(data)} B"


def _whole_answer(subject: Subject) -> str:
    """256 bytes come with one short command."""
    return _read(subject, _WHOLE, extended=False)


def _extended_answer(subject: Subject) -> str:
    """1,000 bytes come with one extended command."""
    if not subject.capabilities.extended:
        raise CheckSkipped("short-only")
    if subject.raw.description.protocol is Protocol7816.T0:
        raise CheckSkipped("byte-protocol")
    if subject.raw.description.max_response_data < _EXTENDED_READ:
        raise CheckSkipped("reader-short-only")
    return _read(subject, _EXTENDED_READ, extended=True)


def _powered_again(subject: Subject) -> str:
    """Power off and on: the same card is there."""
    subject.raw.power_off()
    again = subject.raw.power_on()
    if again != subject.answer:
        raise CheckFailed("another-answer", round=1)
    return f"{len(subject.need(subject.select()))} B"


CHECKS: Final = (
    Check("answer", "ISO/IEC 7816-3:2006, 8.2; ISO/IEC 14443-4:2018, 5.2", _answer),
    Check("protocol", "ISO/IEC 7816-3:2006, 9", _protocol),
    Check("historical", "ISO/IEC 7816-4:2020, 12.1.1", _historical),
    Check("header-only", "ISO/IEC 7816-3:2006, 12.1.2", _header_only),
    Check("select", "ISO/IEC 7816-4:2020, 11.2.2", _select),
    Check("unknown", "ISO/IEC 7816-4:2020, 5.6", _unknown),
    Check("right-length", "ISO/IEC 7816-4:2020, 5.3.4; ISO/IEC 7816-3:2006, 12.2", _right_length),
    Check("whole-answer", "ISO/IEC 7816-4:2020, 5.2", _whole_answer),
    Check("extended-answer", "ISO/IEC 7816-4:2020, 5.2", _extended_answer),
    Check("long-command", "ISO/IEC 7816-4:2020, 5.2 and 5.3.3", _long_command),
    Check("chaining", "ISO/IEC 7816-4:2020, 5.3.3", _chaining),
    Check("channels", "ISO/IEC 7816-4:2020, 11.1.2", _channels),
    Check("same-answers", "ISO/IEC 7816-4:2020, 5.1", _same_answers),
    Check("reset", "ISO/IEC 7816-3:2006, 6.2.3", _reset),
    Check("powered-again", "ISO/IEC 7816-3:2006, 6.2.1", _powered_again),
)
