"""What a reader can do besides exchanging APDUs, and the control codes that reach it.

Source: PC/SC part 10, clauses 2.2 (GET_FEATURE_REQUEST), 2.3 (features) and 2.6.14 (properties).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Final

_PCSCLITE_BASE: Final = 0x4200_0000
_WINDOWS_DEVICE: Final = 0x31_0000
_FEATURE_REQUEST_NUMBER: Final = 3400
_VENDOR_EXCHANGE_NUMBER: Final = 1
_WINDOWS_CCID_ESCAPE_NUMBER: Final = 3500
_ENTRY: Final = 6

Control = Callable[[int, bytes], bytes]
"""Sends a control code with data to a reader; empty when the reader does not know it."""


class Feature(IntEnum):
    """Tags of features (2.3)."""

    VERIFY_PIN_START = 0x01
    VERIFY_PIN_FINISH = 0x02
    MODIFY_PIN_START = 0x03
    MODIFY_PIN_FINISH = 0x04
    GET_KEY_PRESSED = 0x05
    VERIFY_PIN_DIRECT = 0x06
    MODIFY_PIN_DIRECT = 0x07
    MCT_READER_DIRECT = 0x08
    MCT_UNIVERSAL = 0x09
    IFD_PIN_PROPERTIES = 0x0A
    ABORT = 0x0B
    SET_SPE_MESSAGE = 0x0C
    WRITE_DISPLAY = 0x0F
    GET_KEY = 0x10
    IFD_DISPLAY_PROPERTIES = 0x11
    GET_TLV_PROPERTIES = 0x12
    CCID_ESC_COMMAND = 0x13
    EXECUTE_PACE = 0x20


class Property(IntEnum):
    """Tags of GET_TLV_PROPERTIES (2.6.14)."""

    LCD_LAYOUT = 0x01
    ENTRY_VALIDATION_CONDITION = 0x02
    TIME_OUT_2 = 0x03
    LCD_MAX_CHARACTERS = 0x04
    LCD_MAX_LINES = 0x05
    MIN_PIN_SIZE = 0x06
    MAX_PIN_SIZE = 0x07
    FIRMWARE_ID = 0x08
    PPDU_SUPPORT = 0x09
    MAX_APDU_DATA_SIZE = 0x0A
    ID_VENDOR = 0x0B
    ID_PRODUCT = 0x0C


def control_code(number: int) -> int:
    """SCARD_CTL_CODE of this system."""
    return _WINDOWS_DEVICE | number << 2 if sys.platform == "win32" else _PCSCLITE_BASE + number


def feature_request() -> int:
    """CM_IOCTL_GET_FEATURE_REQUEST."""
    return control_code(_FEATURE_REQUEST_NUMBER)


def escape_code() -> int:
    """Carries a command of the reader's own."""
    return control_code(_WINDOWS_CCID_ESCAPE_NUMBER if sys.platform == "win32" else _VENDOR_EXCHANGE_NUMBER)


def read_features(control: Control) -> dict[int, int]:
    """Control codes by feature: tag 1 ‖ length 1 (04) ‖ code 4, big-endian, repeated."""
    answer = control(feature_request(), b"")
    rows = range(0, len(answer) - _ENTRY + 1, _ENTRY)
    return {answer[at]: int.from_bytes(answer[at + 2 : at + _ENTRY], "big") for at in rows}


def read_properties(control: Control, features: dict[int, int]) -> dict[int, bytes]:
    """Values by property: tag 1 ‖ length 1 ‖ value, little-endian, repeated; empty when the reader tells none."""
    code = features.get(Feature.GET_TLV_PROPERTIES)
    answer = b"" if code is None else control(code, b"")
    found: dict[int, bytes] = {}
    at = 0
    while at + 2 <= len(answer):
        end = at + 2 + answer[at + 1]
        found[answer[at]] = answer[at + 2 : end]
        at = end
    return found
