"""The readers that PC/SC knows, and which two of them are one reader for both interfaces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from reader_bridge.connection import Interface
from reader_bridge.contactless_atr import interface_of
from reader_bridge.pcsc import binding

_SLOT: Final = re.compile(r" [0-9A-F]{2} [0-9A-F]{2}$")
"""Number of the reader and of the slot, as pcsc-lite puts them behind a name."""
_CONTACTLESS_WORDS: Final = frozenset({"CONTACTLESS", "PICC", "CL", "NFC"})
_CONTACT_WORDS: Final = frozenset({"CONTACT", "ICC"})
_SAM_WORDS: Final = frozenset({"SAM"})
_WORD: Final = re.compile(r"[A-Za-z]+[0-9]*|[0-9]+")
"""So that "5422CL" is "5422" and "CL"."""
_BOTH: Final = 2


@dataclass(frozen=True, slots=True)
class PcscReader:
    """A reader as PC/SC lists it.

    Attributes:
        name: its full name.
        answer: ATR of the card in it; None without a card.
        interface: guessed from the ATR; None without a card.
    """

    name: str
    answer: bytes | None
    interface: Interface | None


@dataclass(frozen=True, slots=True)
class DualReader:
    """Two readers that are the two interfaces of one.

    Attributes:
        contact: name of the one with contacts.
        contactless: name of the other.
    """

    contact: str
    contactless: str


def list_pcsc_readers() -> list[PcscReader]:
    """The readers that the PC/SC service knows, with their cards.

    Raises:
        ReaderError: "no-service", no PC/SC service is running; "no-pcsc", no library for it.
    """
    scard = binding.load()
    with binding.service(scard) as context:
        found: list[PcscReader] = []
        for name in binding.reader_names(scard, context):
            state, atr = binding.look(scard, context, name)
            answer = atr if state & scard.SCARD_STATE_PRESENT and atr else None
            found.append(PcscReader(name, answer, interface_of(answer) if answer else None))
        return found


def find_dual(readers: list[PcscReader], wanted: str) -> DualReader | None:
    """The reader for both interfaces whose two names have ``wanted`` in them; None when that is one reader, or none.

    What is contact and what is not says the card in it, else a word in the name, else the order of the slots.
    """
    if any(reader.name == wanted for reader in readers):
        return None
    matching = [reader for reader in readers if wanted in reader.name and not _words(reader.name) & _SAM_WORDS]
    if len(matching) != _BOTH or len({_common(reader.name) for reader in matching}) != 1:
        return None
    first, second = matching
    sides = [_side(reader) for reader in matching]
    if sides[0] is Interface.CONTACTLESS or sides[1] is Interface.CONTACT:
        first, second = second, first
    return None if sides[0] is not None and sides[0] is sides[1] else DualReader(first.name, second.name)


def _words(name: str) -> set[str]:
    return {word.upper() for word in _WORD.findall(_SLOT.sub("", name))}


def _common(name: str) -> frozenset[str]:
    """What the names of both interfaces share: all words but those that tell them apart, without slot numbers."""
    return frozenset(_words(name) - _CONTACT_WORDS - _CONTACTLESS_WORDS)


def _side(reader: PcscReader) -> Interface | None:
    if reader.interface is not None:
        return reader.interface
    words = _words(reader.name)
    if words & _CONTACTLESS_WORDS:
        return Interface.CONTACTLESS
    return Interface.CONTACT if words & _CONTACT_WORDS else None
