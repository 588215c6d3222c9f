"""From an ATR to a protocol: what the host's side of every serial reader for cards with contacts does.

Source: ISO/IEC 7816-3:2006, clauses 6.3.1 (protocol selection) and 9 (PPS).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from card_os.iso7816.atr import AnswerError, Atr
from card_os.transport.parameters import LineParameters, rates
from card_os.transport.pps import Pps, PpsError, Selection, check_response, without_pps
from card_os.transport.timing import ContactTiming
from reader_bridge.connection import Protocol7816, ReaderError

NUMBERS: Final = {Protocol7816.T0: 0, Protocol7816.T1: 1}
PROTOCOLS: Final = {number: protocol for protocol, number in NUMBERS.items()}
_DEFAULT_RATES: Final = 0x11


@dataclass(frozen=True, slots=True)
class Negotiation:
    """What is to be agreed on with a card.

    Attributes:
        parameters: what its ATR says.
        convention: TS of the ATR.
        request: the PPS request to send; None goes on without one.
    """

    parameters: LineParameters
    convention: int
    request: Pps | None

    @classmethod
    def plan(cls, atr: bytes, wanted: Protocol7816 | None, *, fast: bool, reader: str) -> Negotiation:
        """Choose protocol and rates: T=1 when the card has it and nothing else is wanted.

        Args:
            atr: answer to reset.
            wanted: T=0 or T=1; None leaves it to us.
            fast: ask for the rates of TA1, else for the default ones.
            reader: name for messages.

        Raises:
            ReaderError: "mute", the bytes are no ATR; "protocol-mismatch", the card does not have the protocol.
        """
        try:
            answer = Atr.parse(atr)
            parameters = LineParameters.from_atr(answer)
        except AnswerError as error:
            raise ReaderError("mute", reader=reader, reason=str(error)) from error
        mode = parameters.specific
        offered = parameters.protocols if mode is None else (mode.protocol,)
        known = [PROTOCOLS[number] for number in offered if number in PROTOCOLS]
        preferred = [
            protocol for protocol in (wanted or Protocol7816.T1, wanted or Protocol7816.T0) if protocol in known
        ]
        if not preferred:
            names = ", ".join(f"T={number}" for number in offered)
            raise ReaderError("protocol-mismatch", reader=reader, reason=f"the card offers {names}")
        number = NUMBERS[preferred[0]]
        rate = parameters.rate_byte if fast else _DEFAULT_RATES
        needed = mode is None and (number != offered[0] or rate != _DEFAULT_RATES)
        request = Pps(number, rate if rate != _DEFAULT_RATES else None) if needed else None
        return cls(parameters, int(answer.convention), request)

    def conclude(self, response: bytes, reader: str) -> Selection:
        """What is used from now on.

        Args:
            response: the card's PPS response; ignored when none was asked for.
            reader: name for messages.

        Raises:
            ReaderError: "protocol-mismatch", the card does not agree; it has to be reset.
        """
        if self.request is None:
            return without_pps(self.parameters)
        try:
            return check_response(self.request, response)
        except (PpsError, AnswerError) as error:
            raise ReaderError("protocol-mismatch", reader=reader, reason=str(error)) from error

    def timing(self, selection: Selection) -> ContactTiming:
        """Times at the rates that were agreed on."""
        return self.parameters.timing(selection.f, selection.d)


def rate_byte(selection: Selection) -> int:
    """F and D as TA1 codes them."""
    for value in range(0x100):
        try:
            if rates(value) == (selection.f, selection.d):
                return value
        except AnswerError:
            continue
    return _DEFAULT_RATES
