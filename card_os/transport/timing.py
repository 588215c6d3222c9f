"""Times of the transmission protocols, in etu or carrier cycles and in nanoseconds.

Source: ISO/IEC 7816-3:2006, clauses 7.1 and 8.3 (etu, F and D), 8.3 (guard time), 10.2 (waiting time of T=0), 11.4.3
(times of T=1); ISO/IEC 14443-4:2018, clauses 5.2.5 and 7.2 (SFGT, FWT).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FREQUENCY_HZ: Final = 3_571_200
"""Clock at which the default etu gives 9,600 bit/s."""
CARRIER_HZ: Final = 13_560_000
CLOCK_RATE_CONVERSION: Final = (
    372,
    372,
    558,
    744,
    1116,
    1488,
    1860,
    None,
    None,
    512,
    768,
    1024,
    1536,
    2048,
    None,
    None,
)
"""F by its index Fi (table 7); None is reserved."""
BAUD_RATE_ADJUSTMENT: Final = (None, 1, 2, 4, 8, 16, 32, 64, 12, 20, None, None, None, None, None, None)
"""D by its index Di (table 8); None is reserved."""
DEFAULT_F: Final = 372
DEFAULT_D: Final = 1
CHARACTER_ETU: Final = 12
"""Start, eight bits, parity and two etu of guard time."""
BLOCK_GUARD_ETU: Final = 22
_BASE_ETU: Final = 11
_WAITING_UNIT: Final = 960
_NO_EXTRA_GUARD: Final = 255
_NS: Final = 1_000_000_000
_FRAME_CYCLES: Final = 4096
_ACTIVATION_CYCLES: Final = 65_536
_MAX_FWI: Final = 14
MAX_WTXM: Final = 59


def _cycles_ns(cycles: int, frequency_hz: int) -> int:
    """Nanoseconds of so many clock cycles, rounded up: a limit is never shortened."""
    return -(-cycles * _NS // frequency_hz)


@dataclass(frozen=True, slots=True)
class ContactTiming:
    """Times on the contact interface.

    Attributes:
        f: clock rate conversion integer F.
        d: baud rate adjustment integer D.
        frequency_hz: clock given to the card.
        extra_guard: N of TC1, 0..255.
        wi: waiting time integer of T=0, 1..255.
        bwi: block waiting time integer, 0..9.
        cwi: character waiting time integer, 0..15.
    """

    f: int = DEFAULT_F
    d: int = DEFAULT_D
    frequency_hz: int = FREQUENCY_HZ
    extra_guard: int = 0
    wi: int = 10
    bwi: int = 4
    cwi: int = 13

    def etu_ns(self, etu: int) -> int:
        """Nanoseconds of so many etu; 1 etu is F / (D × f)."""
        return -(-etu * self.f * _NS // (self.d * self.frequency_hz))

    @property
    def cwt_etu(self) -> int:
        """Character waiting time of T=1: 11 + 2^CWI."""
        return _BASE_ETU + (1 << self.cwi)

    @property
    def cwt_ns(self) -> int:
        """Character waiting time of T=1."""
        return self.etu_ns(self.cwt_etu)

    @property
    def bwt_ns(self) -> int:
        """Block waiting time: 11 etu + 2^BWI × 960 × 372 / f; the long part does not shrink with the bit rate."""
        return self.etu_ns(_BASE_ETU) + _cycles_ns((1 << self.bwi) * _WAITING_UNIT * DEFAULT_F, self.frequency_hz)

    @property
    def bwt_etu(self) -> int:
        """Block waiting time in etu, rounded up."""
        return _BASE_ETU + -(-(1 << self.bwi) * _WAITING_UNIT * DEFAULT_F * self.d // self.f)

    @property
    def bgt_ns(self) -> int:
        """Block guard time: 22 etu."""
        return self.etu_ns(BLOCK_GUARD_ETU)

    @property
    def wwt_etu(self) -> int:
        """Waiting time of T=0 in etu: WI × 960 × D."""
        return self.wi * _WAITING_UNIT * self.d

    @property
    def wwt_ns(self) -> int:
        """Waiting time of T=0: WI × 960 × Fi / f."""
        return _cycles_ns(self.wi * _WAITING_UNIT * self.f, self.frequency_hz)

    def character_etu(self, *, block_protocol: bool) -> int:
        """Least time between two characters of the reader; N = 255 means 12 etu under T=0 and 11 under T=1."""
        if self.extra_guard == _NO_EXTRA_GUARD:
            return _BASE_ETU if block_protocol else CHARACTER_ETU
        return CHARACTER_ETU + self.extra_guard


@dataclass(frozen=True, slots=True)
class ContactlessTiming:
    """Times over the field.

    Attributes:
        fwi: frame waiting time integer, 0..14.
        sfgi: start-up frame guard time integer, 0..14.
    """

    fwi: int = 4
    sfgi: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.fwi <= _MAX_FWI or not 0 <= self.sfgi <= _MAX_FWI:
            raise ValueError("FWI and SFGI are 0 to 14")

    @property
    def fwt_ns(self) -> int:
        """Frame waiting time: 4096 / fc × 2^FWI."""
        return _cycles_ns(_FRAME_CYCLES << self.fwi, CARRIER_HZ)

    @property
    def sfgt_ns(self) -> int:
        """Start-up frame guard time: 4096 / fc × 2^SFGI; SFGI 0 needs none."""
        return _cycles_ns(_FRAME_CYCLES << self.sfgi, CARRIER_HZ) if self.sfgi else 0

    def extended_ns(self, multiplier: int) -> int:
        """Temporary frame waiting time, FWT × WTXM, never above the FWT of FWI 14."""
        return min(self.fwt_ns * multiplier, _cycles_ns(_FRAME_CYCLES << _MAX_FWI, CARRIER_HZ))

    @property
    def activation_ns(self) -> int:
        """Waiting time for the answers to RATS, PPS, ATTRIB and DESELECT: 65,536 / fc."""
        return _cycles_ns(_ACTIVATION_CYCLES, CARRIER_HZ)
