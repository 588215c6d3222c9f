"""ATR and ATS that a card profile asks for: what the chip vendor puts into the blanks.

Source: ISO/IEC 7816-3:2006, clause 8; ISO/IEC 14443-4:2018, clause 5.2.
"""

from __future__ import annotations

from typing import Final

from card_os.iso7816.atr import FRAME_SIZES, Atr, Ats, InterfaceGroup
from personalization.profile_rows import ContactLine, Interfaces

_NUMBERS: Final = {"T=0": 0, "T=1": 1}
_T1: Final = 1
_GLOBAL: Final = 15
"""Stands for interface bytes that hold for every protocol."""
_CLASSES: Final = {"A": 0x01, "B": 0x02, "C": 0x04}
"""Class indicator, the low six bits of the first TA for T=15 (ISO/IEC 7816-3, 8.3)."""
_DEFAULT: Final = ContactLine()


def answer_to_reset(interfaces: Interfaces) -> bytes:
    """The ATR: the contact protocols in their order, with those interface bytes that differ from the defaults."""
    line = interfaces.contact
    groups = [InterfaceGroup(ta=None if line.rates == _DEFAULT.rates else line.rates)]
    for name in interfaces.protocols:
        if name not in _NUMBERS:
            continue
        number = _NUMBERS[name]
        sizes = line.ifsc if number == _T1 and line.ifsc != _DEFAULT.ifsc else None
        waiting = (line.bwi, line.cwi) != (_DEFAULT.bwi, _DEFAULT.cwi)
        times = line.bwi << 4 | line.cwi if number == _T1 and waiting else None
        if number == _T1 and len(groups) == 1:
            # What is special for T=1 stands in the third group: the second is for all protocols.
            groups.append(InterfaceGroup(protocol=_T1))
        groups.append(InterfaceGroup(protocol=number, ta=sizes, tb=times))
    groups.append(InterfaceGroup(protocol=_GLOBAL, ta=sum(_CLASSES[name] for name in set(line.classes))))
    return Atr(tuple(groups), interfaces.historical_bytes).encode()


def answer_to_select(interfaces: Interfaces) -> bytes:
    """The ATS."""
    line = interfaces.contactless
    return Ats(
        fsci=FRAME_SIZES.index(line.frame_size),
        rates=line.rates,
        fwi=line.fwi,
        sfgi=line.sfgi,
        cid=line.cid,
        nad=line.nad,
        historical=interfaces.historical_bytes,
    ).encode()
