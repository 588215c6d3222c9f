"""Preparation files of Chinese card bureaux ("DP files"): what a data preparer hands to a personalizer, card by card.

Big-endian throughout. No standard describes this file; the layout is what is found when a published one is decoded, and
the names are the ones that people who work with it use.

```
head    12  information about the file, free
        15  MIC, the code of the preparation module, text, padded with spaces
         8  LCCA, the number of cards, text of digits
         4  number of groupings of a card
    then each   2  length of its name ‖ name, text
a card   4  its number in the file, from 1
         2  length of its data
    then each   tag 86 ‖ BER length ‖ DGI (2) ‖ DGI length (1, or FF and 2) ‖ value
```

A name is that of a grouping in the order of the cards' data: its DGI in four digits in most files.

Source: a published sample of such a file, decoded; not a standard. Which groupings are encrypted, and under what, is
settled between the two sides and does not stand in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import construct

from card_os.iso7816 import tlv
from personalization.errors import PersonalizationError
from personalization.globalplatform.store_data import DataGrouping, encode_dgi
from personalization.preparation.dgi import parse_groupings

_INFORMATION: Final = 12
_MIC: Final = 15
_LCCA: Final = 8
_OBJECT_TAG: Final = 0x86

_NUMBER: Final[Any] = construct.Int32ub
_OFFSET: Final[Any] = construct.Tell
_HEAD: Final = construct.Struct(
    "information" / construct.Bytes(_INFORMATION),
    "mic" / construct.Bytes(_MIC),
    "lcca" / construct.Bytes(_LCCA),
    "names" / construct.PrefixedArray(construct.Int32ub, construct.Prefixed(construct.Int16ub, construct.GreedyBytes)),
)
_CARD: Final = construct.Struct(
    "number" / _NUMBER,
    "data" / construct.Prefixed(construct.Int16ub, construct.GreedyBytes),
)
_FILE: Final[Any] = construct.Struct("head" / _HEAD, "cards" / construct.GreedyRange(_CARD), "end" / _OFFSET)


@dataclass(frozen=True, slots=True)
class CardData:
    """The data of one card.

    Attributes:
        number: its number in the file, from 1.
        groupings: what it gets, in the order of the file's names.
    """

    number: int
    groupings: tuple[DataGrouping, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PreparationFile:
    """A DP file.

    Attributes:
        names: names of the groupings of each card, in their order.
        cards: the cards.
        mic: code of the preparation module, up to 15 characters.
        information: 12 free bytes.
    """

    names: tuple[str, ...]
    cards: tuple[CardData, ...] = field(repr=False)
    mic: str = ""
    information: bytes = bytes(_INFORMATION)

    @classmethod
    def of(
        cls, cards: Iterable[Sequence[DataGrouping]], *, mic: str = "", information: bytes = bytes(_INFORMATION)
    ) -> PreparationFile:
        """A file of cards that have the same groupings, named by their DGIs.

        Raises:
            PersonalizationError: "dp-file-unequal": a card has other groupings than the first.
        """
        made = tuple(CardData(number, tuple(groupings)) for number, groupings in enumerate(cards, start=1))
        names = tuple(f"{item.identifier:04X}" for item in made[0].groupings) if made else ()
        for card in made:
            if tuple(f"{item.identifier:04X}" for item in card.groupings) != names:
                raise PersonalizationError("dp-file-unequal", number=card.number)
        return cls(names, made, mic, information)

    def encode(self) -> bytes:
        """The bytes of the file.

        Raises:
            PersonalizationError: "dp-file-unfit": a field does not fit its place.
        """
        head = {
            "information": self.information,
            "mic": self.mic.encode("ascii", errors="replace").ljust(_MIC),
            "lcca": f"{len(self.cards):0{_LCCA}d}".encode(),
            "names": [name.encode() for name in self.names],
        }
        cards = [{"number": card.number, "data": _objects(card.groupings)} for card in self.cards]
        try:
            raw: bytes = _FILE.build({"head": head, "cards": cards})
        except construct.ConstructError as error:
            raise PersonalizationError("dp-file-unfit") from error
        return raw

    @classmethod
    def parse(cls, raw: bytes) -> PreparationFile:
        """Read a file; encrypted groupings are not marked in it, see `CardData`.

        Raises:
            PersonalizationError: "dp-file-malformed": it is cut short, or does not hold what its head tells.
        """
        try:
            told = _FILE.parse(raw)
            names = tuple(bytes(name).decode("utf-8") for name in told.head.names)
            count = int(bytes(told.head.lcca))
            cards = tuple(CardData(int(card.number), tuple(_groupings(bytes(card.data)))) for card in told.cards)
        except (construct.ConstructError, ValueError) as error:
            # The cause is not chained: it may quote data of a card.
            raise PersonalizationError("dp-file-malformed", reason=type(error).__name__) from None
        if told.end != len(raw) or len(cards) != count:
            raise PersonalizationError("dp-file-malformed", reason=f"{len(cards)} whole cards, {count} in the head")
        for card in cards:
            if len(card.groupings) != len(names):
                raise PersonalizationError(
                    "dp-file-malformed",
                    reason=f"card {card.number}: {len(card.groupings)} groupings, {len(names)} in the head",
                )
        mic = bytes(told.head.mic).decode("ascii", errors="replace").rstrip(" \x00")
        return cls(names, cards, mic, bytes(told.head.information))


def _objects(groupings: Iterable[DataGrouping]) -> bytes:
    return b"".join(tlv.encode(_OBJECT_TAG, encode_dgi(item.identifier, item.value)) for item in groupings)


def _groupings(data: bytes) -> Iterator[DataGrouping]:
    for item in tlv.iterate(data):
        found = parse_groupings(item.value)
        if item.tag != _OBJECT_TAG or len(found) != 1:
            raise tlv.TlvError("an object that is not one grouping")
        yield found[0]
