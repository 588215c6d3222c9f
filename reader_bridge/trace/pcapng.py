"""A trace as a pcapng file that Wireshark opens and dissects.

What was on the line of a contactless card goes out as ISO 14443 (link type 264), with field on and off. APDUs of a
contactless card go out the same way, each in one I-block that is made up for the purpose and has no CRC. There is no
link type for contacts: their APDUs go out as GSMTAP over UDP (type SIM), command and response in one packet. The ATR or
ATS stands in the description of the capture's interface.

```
ISO 14443   version 00 ‖ event 1 ‖ length 2, big-endian ‖ frame
            event FF card to reader, FE reader to card, FD field off, FC field on, FB and FA as FF and FE without CRC
GSMTAP      version 02 ‖ length in words 04 ‖ type 04 ‖ timeslot ‖ ARFCN 2 ‖ signal ‖ SNR ‖ frame number 4 ‖
            subtype 1 (00 APDU) ‖ antenna ‖ sub-slot ‖ reserved ‖ payload
```

Source: pcapng, draft-ietf-opsawg-pcapng, clauses 4.1 to 4.3; tcpdump.org, LINKTYPE_ISO_14443 and LINKTYPE_IPV4; Osmocom
GSMTAP, header version 2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import IntEnum
from typing import Final

from reader_bridge.connection import Interface
from reader_bridge.trace.record import EXCHANGES, LINE, STARTS, Entry, Kind, Trace

LINK_ISO_14443: Final = 264
LINK_IPV4: Final = 228
GSMTAP_PORT: Final = 4729

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_ORDER: Final = 0x1A2B3C4D
_OPTION_COMMENT: Final = 1
_OPTION_NAME: Final = 2
_OPTION_DESCRIPTION: Final = 3
_OPTION_RESOLUTION: Final = 9
_OPTION_APPLICATION: Final = 4
_NANOSECONDS: Final = b"\x09"
_NS_PER_US: Final = 1000
_LONGEST_FRAME: Final = 0xFFFF
_LOOPBACK: Final = bytes((127, 0, 0, 1))
_TTL: Final = 64
_UDP: Final = 17
_IP_LENGTH: Final = 20
_UDP_LENGTH: Final = 8
_MOST_PAYLOAD: Final = 65_535 - _IP_LENGTH - _UDP_LENGTH - 16
_GSMTAP: Final = struct.Struct(">BBBBHbbIBBBB")
_SIM: Final = 0x04
_APDU: Final = 0x00


class FieldEvent(IntEnum):
    """Events of link type 264."""

    CARD_TO_READER = 0xFF
    READER_TO_CARD = 0xFE
    FIELD_OFF = 0xFD
    FIELD_ON = 0xFC
    CARD_TO_READER_NO_CRC = 0xFB
    READER_TO_CARD_NO_CRC = 0xFA


_LINE_EVENTS: Final = {Kind.TO_CARD: FieldEvent.READER_TO_CARD, Kind.TO_READER: FieldEvent.CARD_TO_READER}


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _section() -> bytes:
    body = struct.pack("<IHHq", _ORDER, 1, 0, -1)
    return _block(_SECTION, body + _option(_OPTION_APPLICATION, b"permitcard") + _option(0, b""))


def _interface(link: int, name: str, description: str) -> bytes:
    options = (
        _option(_OPTION_NAME, name.encode())
        + _option(_OPTION_DESCRIPTION, description.encode())
        + _option(_OPTION_RESOLUTION, _NANOSECONDS)
        + _option(0, b"")
    )
    return _block(_INTERFACE, struct.pack("<HHI", link, 0, 0) + options)


def _packet(interface: int, time_ns: int, data: bytes, comment: str) -> bytes:
    body = struct.pack("<IIIII", interface, time_ns >> 32, time_ns & 0xFFFFFFFF, len(data), len(data))
    options = _option(_OPTION_COMMENT, comment.encode()) + _option(0, b"") if comment else b""
    return _block(_PACKET, body + data + bytes(-len(data) % 4) + options)


def field_frame(event: FieldEvent, frame: bytes = b"") -> bytes:
    """A frame with the pseudo header of link type 264."""
    return struct.pack(">BBH", 0, event, len(frame)) + frame


def sim_datagram(payload: bytes, number: int) -> bytes:
    """IPv4 ‖ UDP ‖ GSMTAP ‖ command and response, from loopback to loopback."""
    gsmtap = _GSMTAP.pack(2, 4, _SIM, 0, 0, 0, 0, number & 0xFFFFFFFF, _APDU, 0, 0, 0) + payload
    udp = struct.pack(">HHHH", GSMTAP_PORT, GSMTAP_PORT, _UDP_LENGTH + len(gsmtap), 0) + gsmtap
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, _IP_LENGTH + len(udp), 0, 0, _TTL, _UDP, 0, _LOOPBACK, _LOOPBACK)
    return head[:10] + _checksum(head).to_bytes(2, "big") + head[12:] + udp


def _checksum(head: bytes) -> int:
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, len(head), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def to_pcapng(trace: Trace, comment_of: Callable[[Entry], str] | None = None) -> bytes:
    """The whole file.

    Args:
        trace: the trace; hidden bytes go out as 00.
        comment_of: a packet comment for an entry, such as its name in the decoder.
    """
    contactless = trace.header.interface is Interface.CONTACTLESS
    name = trace.header.reader or "card"
    answer = trace.header.answer.hex().upper()
    description = f"{trace.header.protocol.value}, {'ATS' if contactless else 'ATR'} {answer}"
    parts = [_section(), _interface(LINK_ISO_14443 if contactless else LINK_IPV4, name, description)]
    begin = _begin_ns(trace.header.begun)
    packets = _contactless(trace) if contactless else _contact(trace)
    latest = 0
    for entry, at_us, data in packets:
        latest = max(latest, at_us)  # a dissector wants time to run forward
        comment = comment_of(entry) if comment_of is not None else ""
        if entry.has_hidden:
            comment = f"{comment}; hidden bytes are 00".removeprefix("; ")
        parts.append(_packet(0, begin + latest * _NS_PER_US, data, comment))
    return b"".join(parts)


def _begin_ns(begun: str) -> int:
    return 0 if not begun else int(datetime.fromisoformat(begun).timestamp()) * 1_000_000_000


def _times(entry: Entry) -> tuple[int, int]:
    """Beginning and end, in microseconds."""
    moment = entry.moment
    return (0, 0) if moment is None else (moment.wall_start, moment.wall_start + moment.wall_length)


def _contactless(trace: Trace) -> Iterator[tuple[Entry, int, bytes]]:
    """Frames of the line where they were recorded, else an I-block for each command and each response."""
    has_line = any(entry.kind in LINE for entry in trace.entries)
    number = 0
    for entry in trace.entries if has_line else trace.exchanges():
        start, end = _times(entry)
        if entry.kind in STARTS:
            number = 0
            if entry.kind is Kind.RESET:
                yield entry, start, field_frame(FieldEvent.FIELD_OFF)
            yield entry, start, field_frame(FieldEvent.FIELD_ON)
        elif entry.kind is Kind.POWER_OFF:
            yield entry, start, field_frame(FieldEvent.FIELD_OFF)
        elif entry.kind in _LINE_EVENTS:
            yield entry, start, field_frame(_LINE_EVENTS[entry.kind], entry.sent.data[:_LONGEST_FRAME])
        elif not has_line:
            pcb = bytes((0x02 | number,))
            number ^= 1
            yield entry, start, field_frame(FieldEvent.READER_TO_CARD_NO_CRC, (pcb + entry.sent.data)[:_LONGEST_FRAME])
            if not entry.failure:
                answer = (pcb + entry.received.data)[:_LONGEST_FRAME]
                yield entry, end, field_frame(FieldEvent.CARD_TO_READER_NO_CRC, answer)


def _contact(trace: Trace) -> Iterator[tuple[Entry, int, bytes]]:
    """Commands with their responses."""
    for number, entry in enumerate(entry for entry in trace.exchanges() if entry.kind in EXCHANGES):
        payload = (entry.sent.data + entry.received.data)[:_MOST_PAYLOAD]
        yield entry, _times(entry)[0], sim_datagram(payload, number)
