"""Reader models: what a reader can carry, as its descriptor says, put between any card and any program.

Source: USB Device Class: Smart Card CCID, revision 1.1, clause 5.1 (descriptor); the descriptors that the public CCID
driver project lists.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Final

from reader_bridge.connection import Protocol7816, ReaderError

IDEAL: Final = "ideal"
_HEADER: Final = 10
_EXCHANGE_LEVEL: Final = 0x0007_0000
_PROTOCOL_BITS: Final = {Protocol7816.T0: 0x01, Protocol7816.T1: 0x02, Protocol7816.TCL: 0x02}
_VERIFICATION: Final = 0x01
_MODIFICATION: Final = 0x02
_SHORT_COMMAND: Final = 261
_SHORT_DATA: Final = 255
_AROUND_DATA: Final = 6
"""Header, Lc and Le of a short command."""
_SHORT_RESPONSE: Final = 256
_EXTENDED_DATA: Final = 65_535
_EXTENDED_RESPONSE: Final = 65_536


class ExchangeLevel(Enum):
    """What a reader exchanges with its host: bits 16 to 18 of dwFeatures."""

    CHARACTER = 0x0000_0000
    TPDU = 0x0001_0000
    SHORT = 0x0002_0000
    EXTENDED = 0x0004_0000


@dataclass(frozen=True, slots=True)
class ReaderModel:
    """A reader as its descriptor describes it.

    Attributes:
        name: how users call it.
        title: for people.
        features: dwFeatures.
        protocols: dwProtocols: bit 1 T=0, bit 2 T=1.
        max_message: dwMaxCCIDMessageLength, bytes.
        max_ifsd: dwMaxIFSD, bytes.
        pin_support: bPINSupport: bit 1 verification, bit 2 modification.
        contactless: it has a field, and no contacts.
        max_response: greatest number of response data bytes that pass; None = no limit of its own.
        delay_ms: time that it adds to each exchange.
        descriptor: file of the descriptor in the public list; empty for a model that is nobody's.
    """

    name: str
    title: str
    features: int
    protocols: int
    max_message: int
    max_ifsd: int
    pin_support: int = 0
    contactless: bool = False
    max_response: int | None = None
    delay_ms: int = 0
    descriptor: str = ""

    @property
    def level(self) -> ExchangeLevel:
        """What it exchanges with its host."""
        return ExchangeLevel(self.features & _EXCHANGE_LEVEL)

    @property
    def verifies_pins(self) -> bool:
        """A PIN can be typed at it."""
        return bool(self.pin_support & _VERIFICATION)

    @property
    def changes_pins(self) -> bool:
        """A PIN can be changed at it."""
        return bool(self.pin_support & _MODIFICATION)

    def speaks(self, protocol: Protocol7816) -> bool:
        """The reader has the protocol."""
        return bool(self.protocols & _PROTOCOL_BITS[protocol])

    def extended(self, protocol: Protocol7816) -> bool:
        """Commands with extended length pass: as APDUs, or in blocks that the host makes."""
        if self.level is ExchangeLevel.EXTENDED:
            return True
        return self.level in {ExchangeLevel.TPDU, ExchangeLevel.CHARACTER} and protocol is not Protocol7816.T0

    def max_command(self, protocol: Protocol7816) -> int:
        """Longest command in bytes, header and length fields included."""
        if self.extended(protocol):
            return _EXTENDED_DATA + 9  # CLA to P2, three bytes of Lc, two of Le
        if self.level is ExchangeLevel.CHARACTER:
            return _SHORT_COMMAND
        return min(_SHORT_COMMAND, self.max_message - _HEADER)

    def max_command_data(self, protocol: Protocol7816) -> int:
        """Greatest Nc that is told to programs: with header, Lc and Le it fits the buffer."""
        return (
            _EXTENDED_DATA if self.extended(protocol) else min(_SHORT_DATA, self.max_command(protocol) - _AROUND_DATA)
        )

    def max_response_data(self, protocol: Protocol7816) -> int:
        """Greatest number of response data bytes."""
        most = _EXTENDED_RESPONSE if self.extended(protocol) else _SHORT_RESPONSE
        return most if self.max_response is None else min(most, self.max_response)


@cache
def reader_models() -> Mapping[str, ReaderModel]:
    """All models by name."""
    text = files("reader_bridge").joinpath("reader_models.toml").read_text("utf-8")
    return {name: ReaderModel(name=name, **row) for name, row in tomllib.loads(text).items()}


def reader_model(name: str) -> ReaderModel:
    """The model of a name.

    Raises:
        ReaderError: "reader-model-unknown".
    """
    model = reader_models().get(name)
    if model is None:
        raise ReaderError("reader-model-unknown", model=name, known=", ".join(reader_models()))
    return model
