"""What the card says of itself when it gets power: ATR and ATS, with historical bytes that tell the truth.

The card service data byte tells of the MF, EF.DIR and EF.ATR/INFO, which come and go with the application that is
selected by default: the answers are made for what is there.

Source: ISO/IEC 7816-3:2006, clause 8; ISO/IEC 14443-4:2018, clause 5.2; ISO/IEC 7816-4:2020, clause 12.1.1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from card_os.channels import CHANNEL_COUNT
from card_os.hardware.voltage import ALL_CLASSES, class_indicator
from card_os.iso7816.atr import (
    Atr,
    Ats,
    Capabilities,
    CompactObject,
    CompactTag,
    HistoricalBytes,
    InterfaceGroup,
)

_SELECTION: Final = 0b1101_1110
"""Full and partial DF name, FID, implicit selection, SFI, record number; no path, and no record identifier: these are
of single files, whose descriptor bytes tell of them."""
_DATA_CODING: Final = 0x21
"""Write functions proprietary, data unit one byte."""
MOST_CHANNELS: Final = 8
"""What the capabilities can say: 8 stands for 8 or more (table 119)."""
SERVICE_DATA: Final = 0b1100_0001
"""Card service data (12.1.1.7): applications are selected by full and by partial DF name, and there is no MF."""
_FI_DI: Final = 0x96
"""Fi 512, Di 32: 78 kbit/s at 5 MHz after PPS."""
_IFSC: Final = 0xFE
_BWI_CWI: Final = 0x45
_T1: Final = 1
_T0: Final = 0
_GLOBAL: Final = 15
"""Stands for interface bytes that hold for every protocol."""
_RATES: Final = 0x77
"""212, 424 and 848 kbit/s, each direction on its own."""

CAPABILITIES: Final = Capabilities(
    selection=_SELECTION,
    data_coding=_DATA_CODING,
    chaining=True,
    extended=True,
    assigned_by_card=True,
    assigned_by_interface=True,
    channels=min(CHANNEL_COUNT, MOST_CHANNELS),
)


def historical_bytes(service_data: int = SERVICE_DATA) -> bytes:
    """Card service data and card capabilities."""
    return HistoricalBytes(
        (
            CompactObject(CompactTag.SERVICE_DATA, bytes((service_data,))),
            CompactObject(CompactTag.CAPABILITIES, CAPABILITIES.encode()),
        )
    ).encode()


@lru_cache
def default_atr(service_data: int = SERVICE_DATA) -> bytes:
    """ATR of a card that speaks T=0 and T=1 (IFSC 254, BWI 4, CWI 5) at all classes of voltage."""
    return Atr(
        groups=(
            InterfaceGroup(ta=_FI_DI),
            InterfaceGroup(protocol=_T0),
            InterfaceGroup(protocol=_T1, ta=_IFSC, tb=_BWI_CWI),
            InterfaceGroup(protocol=_GLOBAL, ta=class_indicator(ALL_CLASSES)),
        ),
        historical=historical_bytes(service_data),
    ).encode()


@lru_cache
def default_ats(service_data: int = SERVICE_DATA) -> bytes:
    """ATS with frames of 256 bytes, all bit rates and CID."""
    historical = historical_bytes(service_data)
    return Ats(fsci=8, rates=_RATES, fwi=8, sfgi=0, cid=True, nad=False, historical=historical).encode()


DEFAULT_ATR: Final = default_atr()
DEFAULT_ATS: Final = default_ats()
"""Of a card without an MF."""
