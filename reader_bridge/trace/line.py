"""Bytes on the line: which of them carry the data of a command, and what the blocks and frames are called.

Source: ISO/IEC 7816-3:2006, clauses 9 to 11; ISO/IEC 14443-3:2018, clause 6; ISO/IEC 14443-4:2018, clauses 5 and 7.
"""

from __future__ import annotations

from typing import Final

from card_os.transport import t1_blocks, tcl_blocks
from card_os.transport.pps import PPSS, PpsError
from card_os.transport.pps import Pps as PpsBytes
from card_os.transport.type_a_frames import (
    HLTA,
    NVB_SELECT,
    PPS_START,
    RATS,
    REQA,
    SAK_BLOCK_PROTOCOL,
    SAK_CASCADE,
    SELECT_CODES,
    WUPA,
    Frame,
)
from card_os.transport.wire import Direction
from reader_bridge.connection import ConnectionDescription, Protocol7816
from reader_bridge.trace.hiding import Cover
from reader_bridge.trace.record import Kind, Octets

_T1_INFORMATION: Final = 0x80
_TCL_MASK: Final = 0xE2
_TCL_INFORMATION: Final = 0x02
_TCL_CID: Final = 0x08
_TCL_NAD: Final = 0x04
_STATUS_LENGTH: Final = 2
_ATQA_LENGTH: Final = 2
_UID_LENGTH: Final = 5
_SHORT: Final = 1


class LineHiding:
    """Hides on the line what `hiding` hides of the command: the information fields of I-blocks, the data of T=0."""

    __slots__ = ("_protocol", "_seen")

    def __init__(self) -> None:
        self._protocol = Protocol7816.T1
        self._seen = False

    def restart(self, description: ConnectionDescription) -> None:
        """A protocol begins."""
        self._protocol = description.protocol
        self._seen = False

    def begin_exchange(self) -> None:
        """A command begins; by T=0 its header comes first and is not hidden."""
        self._seen = False

    def hide(self, direction: Direction, data: bytes, cover: Cover) -> Octets:
        """``data`` without what ``cover`` covers."""
        first, self._seen = not self._seen, True
        covered = cover.command if direction is Direction.TO_CARD else cover.response
        if not covered:
            return Octets(data)
        start = self._information_at(direction, data, first=first)
        return Octets(data) if start is None else Octets.hiding(data, start, len(data))

    def _information_at(self, direction: Direction, data: bytes, *, first: bool) -> int | None:
        """Where the information field begins; None when there is none."""
        if self._protocol is Protocol7816.T1:
            carries = len(data) > t1_blocks.PROLOGUE and not data[1] & _T1_INFORMATION
            return t1_blocks.PROLOGUE if carries else None
        if self._protocol is Protocol7816.TCL:
            if not data or data[0] & _TCL_MASK != _TCL_INFORMATION:
                return None
            return 1 + bool(data[0] & _TCL_CID) + bool(data[0] & _TCL_NAD)
        if direction is Direction.TO_CARD:
            return None if first else 0
        return 0 if len(data) > _STATUS_LENGTH else None

    @staticmethod
    def like(sent: Octets, arrived: bytes) -> Octets:
        """What arrived, hidden from where the sent bytes were: a damaged control byte must not open the rest."""
        return Octets.hiding(arrived, sent.hidden[0][0], len(arrived)) if sent.hidden else Octets(arrived)


class LineNames:
    """Names what goes over one line, in order.

    Args:
        protocol: what the line speaks once it is activated.
    """

    __slots__ = ("_activating", "_codec", "_protocol", "_request")

    def __init__(self, protocol: Protocol7816) -> None:
        self._protocol = protocol
        self._codec = tcl_blocks.BlockCodec(tcl_blocks.ContactlessType.A)
        self.restart()

    def restart(self) -> None:
        """Power or reset."""
        self._activating = True
        self._request = ""

    def name(self, kind: Kind, octets: Octets) -> str:
        """What one transmission is."""
        data = octets.data
        match self._protocol:
            case Protocol7816.TCL:
                return self._frame(kind, octets)
            case Protocol7816.T1:
                return _pps(data) or _t1_block(octets)
            case Protocol7816.T0:
                return _pps(data) or _t0(kind, octets)

    def _frame(self, kind: Kind, octets: Octets) -> str:
        if self._activating:
            name = self._request_name(octets.data) if kind is Kind.TO_CARD else self._answer_name(octets.data)
            if name:
                return name
        if octets.hidden:
            return "I-block"
        try:
            return repr(self._codec.decode(octets.data))
        except tcl_blocks.InvalidBlock:
            return "no valid frame"

    def _request_name(self, data: bytes) -> str:
        self._request = _type_a_request(data)
        return self._request

    def _answer_name(self, data: bytes) -> str:
        match self._request:
            case "REQA" | "WUPA":
                return "ATQA" if len(data) == _ATQA_LENGTH else ""
            case "ANTICOLLISION":
                return "UID, BCC" if len(data) == _UID_LENGTH else "part of a UID"
            case "SELECT":
                payload = Frame.standard(data).payload
                if payload is None or len(payload) != 1:
                    return ""
                if payload[0] & SAK_CASCADE:
                    return "SAK, UID not complete"
                return "SAK, ISO/IEC 14443-4" if payload[0] & SAK_BLOCK_PROTOCOL else "SAK"
            case "RATS":
                self._activating = False
                return "ATS"
            case "PPS":
                return "PPS response"
            case _:
                return ""


def _type_a_request(data: bytes) -> str:
    if len(data) == _SHORT:
        return {REQA: "REQA", WUPA: "WUPA"}.get(data[0], "")
    if data[0] in SELECT_CODES:
        return "SELECT" if data[1] == NVB_SELECT else "ANTICOLLISION"
    payload = Frame.standard(data).payload
    if payload is None:
        return ""
    if payload == HLTA:
        return "HLTA"
    if payload[0] == RATS:
        return "RATS"
    return "PPS" if payload[0] & 0xF0 == PPS_START else ""


def _pps(data: bytes) -> str:
    if not data or data[0] != PPSS:
        return ""
    try:
        pps = PpsBytes.parse(data)
    except PpsError:
        return ""
    rates = "" if pps.pps1 is None else f", PPS1 {pps.pps1:02X}"
    return f"PPS T={pps.protocol}{rates}"


def _t1_block(octets: Octets) -> str:
    data = octets.data
    if octets.hidden:
        return f"I({data[1] >> 6 & 1},{data[1] >> 5 & 1})"
    for crc in (False, True):
        for nad in {0, data[0]} if data else {0}:
            try:
                return repr(t1_blocks.Framing(crc=crc, nad=nad >> 4 | (nad & 0x07) << 4).decode(data))
            except (t1_blocks.InvalidBlock, ValueError):
                continue
    return "no valid block"


def _t0(kind: Kind, octets: Octets) -> str:
    data = octets.data
    if kind is Kind.TO_CARD:
        return "header or data" if len(data) == t1_blocks.PROLOGUE + 2 else "data"
    if len(data) == 1:
        return "NULL" if data[0] == 0x60 else "procedure byte"  # noqa: PLR2004 - 10.3.3
    return "status" if len(data) == _STATUS_LENGTH else "procedure byte, data, status"
