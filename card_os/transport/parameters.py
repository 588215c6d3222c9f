"""What an ATR says about the line, read once: rates, guard and waiting times, block sizes, check code.

Source: ISO/IEC 7816-3:2006, clauses 8.3 (global interface bytes), 10.2 (TC2) and 11.4 (bytes for T=1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from card_os.iso7816.atr import AnswerError, Atr
from card_os.transport.timing import (
    BAUD_RATE_ADJUSTMENT,
    CLOCK_RATE_CONVERSION,
    DEFAULT_D,
    DEFAULT_F,
    FREQUENCY_HZ,
    ContactTiming,
)

DEFAULT_IFS: Final = 32
MAX_IFS: Final = 254
_DEFAULT_RATES: Final = 0x11
_DEFAULT_WI: Final = 10
_DEFAULT_BWI_CWI: Final = 0x4D
_MAX_BWI: Final = 9
_GLOBAL: Final = 15
_T1: Final = 1
_NIBBLE: Final = 0x0F
_IMPLICIT: Final = 0x10
_CANNOT_CHANGE: Final = 0x80
_CLASS_BITS: Final = 0x3F
_SECOND_GROUP: Final = 1


def rates(value: int) -> tuple[int, int]:
    """F and D of TA1 or PPS1.

    Raises:
        AnswerError: a reserved index.
    """
    f, d = CLOCK_RATE_CONVERSION[value >> 4], BAUD_RATE_ADJUSTMENT[value & _NIBBLE]
    if f is None or d is None:
        raise AnswerError("TA1 has a reserved index")
    return f, d


@dataclass(frozen=True, slots=True)
class SpecificMode:
    """TA2: the card speaks one protocol at once, without PPS.

    Attributes:
        protocol: the protocol.
        fixed: the card cannot change to negotiable mode by a warm reset.
        implicit: F and D are not those of TA1 but known otherwise.
    """

    protocol: int
    fixed: bool
    implicit: bool


@dataclass(frozen=True, slots=True)
class LineParameters:
    """Interface bytes as values, with the defaults for those that are absent.

    Attributes:
        protocols: offered protocols in their order.
        rate_byte: TA1.
        extra_guard: N of TC1, 0..255.
        specific: TA2, None in negotiable mode.
        wi: waiting time integer of T=0.
        ifsc: greatest information field that the card takes, 1..254.
        bwi: block waiting time integer, 0..9.
        cwi: character waiting time integer, 0..15.
        crc: T=1 blocks end with a CRC, else with an LRC.
        clock_stop: X of the first TA for T=15: 0 not supported, 1 low, 2 high, 3 either.
        classes: U of it: bits for operating classes A (1), B (2), C (4).
        spu: first TB for T=15, use of contact C6; None = not used.
    """

    protocols: tuple[int, ...]
    rate_byte: int = _DEFAULT_RATES
    extra_guard: int = 0
    specific: SpecificMode | None = None
    wi: int = _DEFAULT_WI
    ifsc: int = DEFAULT_IFS
    bwi: int = _DEFAULT_BWI_CWI >> 4
    cwi: int = _DEFAULT_BWI_CWI & _NIBBLE
    crc: bool = False
    clock_stop: int = 0
    classes: int = 1
    spu: int | None = None

    @classmethod
    def from_atr(cls, atr: Atr) -> Self:
        """Read the interface bytes.

        Raises:
            AnswerError: a reserved or forbidden value.
        """
        first = atr.groups[0]
        second = atr.groups[_SECOND_GROUP] if len(atr.groups) > _SECOND_GROUP else None
        specific, wi = None, _DEFAULT_WI
        if second is not None:
            if second.ta is not None:
                specific = SpecificMode(
                    second.ta & _NIBBLE, bool(second.ta & _CANNOT_CHANGE), bool(second.ta & _IMPLICIT)
                )
            wi = _DEFAULT_WI if second.tc is None else second.tc
        later = atr.groups[_SECOND_GROUP + 1 :]
        block = next((group for group in later if group.protocol == _T1), None)
        common = next((group for group in later if group.protocol == _GLOBAL), None)
        ifsc = DEFAULT_IFS if block is None or block.ta is None else block.ta
        waiting = _DEFAULT_BWI_CWI if block is None or block.tb is None else block.tb
        if not wi or not 1 <= ifsc <= MAX_IFS or waiting >> 4 > _MAX_BWI:
            raise AnswerError("WI, IFSC or BWI is reserved")
        rate_byte = _DEFAULT_RATES if first.ta is None else first.ta
        rates(rate_byte)
        stop = 1 if common is None or common.ta is None else common.ta
        return cls(
            protocols=atr.protocols,
            rate_byte=rate_byte,
            extra_guard=first.tc or 0,
            specific=specific,
            wi=wi,
            ifsc=ifsc,
            bwi=waiting >> 4,
            cwi=waiting & _NIBBLE,
            crc=bool(block is not None and block.tc and block.tc & 1),
            clock_stop=stop >> 6,
            classes=stop & _CLASS_BITS,
            spu=None if common is None else common.tb,
        )

    def timing(self, f: int = DEFAULT_F, d: int = DEFAULT_D, frequency_hz: int = FREQUENCY_HZ) -> ContactTiming:
        """The times of this card at the negotiated F and D."""
        return ContactTiming(f, d, frequency_hz, self.extra_guard, self.wi, self.bwi, self.cwi)
