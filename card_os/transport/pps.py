"""Protocol and parameters selection, both sides.

Source: ISO/IEC 7816-3:2006, clause 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Final, Self

from card_os.transport.parameters import LineParameters, rates
from card_os.transport.timing import DEFAULT_D, DEFAULT_F

PPSS: Final = 0xFF
_MIN_LENGTH: Final = 3
_PROTOCOL: Final = 0x0F
_PPS1: Final = 0x10
_PPS2: Final = 0x20
_PPS3: Final = 0x40
_RESERVED: Final = 0x80
_DEFAULT_RATES: Final = 0x11


class PpsError(ValueError):
    """The bytes are no PPS, or the card answered what the request does not allow; the card has to be reset."""


@dataclass(frozen=True, slots=True)
class Pps:
    """A request or a response.

    Attributes:
        protocol: T, 0..14.
        pps1: F and D as in TA1; None = absent, F and D stay at 372 and 1.
        pps2: use of contact C6; None = absent.
        pps3: reserved; None = absent.
    """

    protocol: int
    pps1: int | None = None
    pps2: int | None = None
    pps3: int | None = None

    def encode(self) -> bytes:
        """PPSS ‖ PPS0 ‖ PPS1 ‖ PPS2 ‖ PPS3 ‖ PCK."""
        fields = (self.pps1, self.pps2, self.pps3)
        pps0 = self.protocol | sum(
            bit for bit, field in zip((_PPS1, _PPS2, _PPS3), fields, strict=True) if field is not None
        )
        raw = bytes((PPSS, pps0, *(field for field in fields if field is not None)))
        return raw + bytes((reduce(xor, raw),))

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a request or a response.

        Raises:
            PpsError: PPSS, length or PCK is wrong.
        """
        length = pps_length(raw)
        if length is None or len(raw) != length or raw[0] != PPSS or reduce(xor, raw) or raw[1] & _RESERVED:
            raise PpsError("PPSS, PPS0, the length or PCK is wrong")
        values = iter(raw[2:-1])
        fields = [next(values) if raw[1] & bit else None for bit in (_PPS1, _PPS2, _PPS3)]
        return cls(raw[1] & _PROTOCOL, *fields)


def pps_length(raw: bytes) -> int | None:
    """Length of the request or response that begins with ``raw``; None while PPS0 is missing."""
    return None if len(raw) <= 1 else _MIN_LENGTH + (raw[1] & (_PPS1 | _PPS2 | _PPS3)).bit_count()


@dataclass(frozen=True, slots=True)
class Selection:
    """What both sides use after PPS, or without one.

    Attributes:
        protocol: T.
        f: clock rate conversion integer.
        d: baud rate adjustment integer.
    """

    protocol: int
    f: int = DEFAULT_F
    d: int = DEFAULT_D


def without_pps(parameters: LineParameters) -> Selection:
    """What is used when the reader sends no PPS.

    In specific mode TA2's protocol and TA1's rates, else the first protocol offered at the default rates.
    """
    mode = parameters.specific
    if mode is None:
        return Selection(parameters.protocols[0])
    return Selection(mode.protocol) if mode.implicit else Selection(mode.protocol, *rates(parameters.rate_byte))


def check_response(request: Pps, raw: bytes) -> Selection:
    """Reader: judge the card's response (9.3).

    The card echoes T, and echoes or leaves out each of PPS1 to PPS3.

    Raises:
        PpsError: anything else; the reader resets or deactivates the card.
    """
    response = Pps.parse(raw)
    pairs = ((request.pps1, response.pps1), (request.pps2, response.pps2), (request.pps3, response.pps3))
    if response.protocol != request.protocol or any(got is not None and got != asked for asked, got in pairs):
        raise PpsError("the card answers another protocol or other parameters")
    if response.pps1 is None:
        return Selection(response.protocol)
    return Selection(response.protocol, *rates(response.pps1))


def answer_request(parameters: LineParameters, raw: bytes) -> tuple[bytes, Selection] | None:
    """Card: the response to a request, with what is used after it; None = the card stays mute.

    A protocol that the ATR does not offer or a damaged request is not answered (9.3). Rates are accepted when they are
    those of TA1 or the default ones; any other PPS1 is left out of the response, so that the default rates stay.
    """
    if parameters.specific is not None:
        return None
    try:
        request = Pps.parse(raw)
    except PpsError:
        return None
    if request.protocol not in parameters.protocols:
        return None
    pps1 = request.pps1 if request.pps1 in {parameters.rate_byte, _DEFAULT_RATES} else None
    selection = Selection(request.protocol) if pps1 is None else Selection(request.protocol, *rates(pps1))
    return Pps(request.protocol, pps1).encode(), selection
