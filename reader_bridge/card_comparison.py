"""What differs between two cards: which application, file, record or counter. Contents are never shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

from card_os.files.directory import File, FileTable
from card_os.globalplatform.registry import CARD_OWNER, CARD_STATE_LIFE_CYCLE, CardObject, Registry
from card_os.hardware.image import NvmImage
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.objects import counter_bytes
from card_os.storage.store import ObjectKind, ObjectStore, StoredObject
from reader_bridge.connection import ReaderError

_CARD: Final = ""


class DifferenceKind(StrEnum):
    """What is different about an object."""

    ADDED = "added"
    REMOVED = "removed"
    LIFE_CYCLE = "life-cycle"
    COUNTER = "counter"
    HEADER = "header"
    BYTES = "bytes"
    RECORDS = "records"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference from the first card to the second.

    Attributes:
        application: AID in hex; empty for what belongs to the card itself.
        item: kind of the object: "file", "key", "pin", …
        identifier: FID of a file, reference of a key or PIN, else the number in the store.
        kind: what is different.
        detail: byte or record numbers, or two counters or states; empty for the rest.
    """

    application: str
    item: str
    identifier: int
    kind: DifferenceKind
    detail: str = ""

    def document(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "application": self.application,
            "object": self.item,
            "identifier": f"{self.identifier:04X}",
            "difference": self.kind.value,
            "detail": self.detail,
        }


_Name = tuple[str, ObjectKind, int]


class _CardContents:
    """The objects of one card by the names that two cards share: owner numbers may differ, AIDs do not.

    Args:
        image: the card; a copy is looked at.
    """

    def __init__(self, image: NvmImage) -> None:
        self._store = ObjectStore(image.fork().nvm())
        self._files = FileTable(self._store)
        registry = Registry(self._store)
        aids = {application.owner: application.aid.hex().upper() for application in registry}
        self.objects: dict[_Name, StoredObject] = {}
        for item in self._store.objects():
            application = item.kind is ObjectKind.APPLICATION
            owner = aids.get(item.identifier if application else item.owner, _CARD)
            self.objects[owner, item.kind, 0 if application else item.identifier] = item

    def content(self, item: StoredObject) -> bytes:
        """All bytes."""
        return self._store.read(item)

    def file(self, item: StoredObject) -> File:
        """The file that an object is."""
        return self._files.directory(item.owner).files[item.identifier]

    def shown(self, name: _Name) -> int:
        """The identifier that people know: of a file its FID."""
        item = self.objects[name]
        return self.file(item).spec.fid if item.kind is ObjectKind.FILE else name[2]


def compare_cards(first: NvmImage, second: NvmImage) -> list[Difference]:
    """What differs, in the order of applications and objects.

    Raises:
        ReaderError: "card-damaged", one of them holds no card that boots.
    """
    try:
        old, new = _CardContents(first), _CardContents(second)
    except MemoryFailure as error:
        raise ReaderError("card-damaged", path="", reason=error.reason) from error
    return list(_differences(old, new))


def _differences(old: _CardContents, new: _CardContents) -> Iterator[Difference]:
    for name in sorted(old.objects.keys() | new.objects.keys()):
        application, kind, _ = name
        if name not in new.objects:
            yield Difference(application, kind.name.lower(), old.shown(name), DifferenceKind.REMOVED)
        elif name not in old.objects:
            yield Difference(application, kind.name.lower(), new.shown(name), DifferenceKind.ADDED)
        else:
            for part, detail in _parts(old, new, name):
                yield Difference(application, kind.name.lower(), old.shown(name), part, detail)


def _parts(old: _CardContents, new: _CardContents, name: _Name) -> Iterator[tuple[DifferenceKind, str]]:
    """What differs within one object."""
    item, other = old.objects[name], new.objects[name]
    before, after = old.content(item), new.content(other)
    if before == after:
        return
    if item.kind is ObjectKind.FILE:
        yield from _file_parts(old.file(item), before, new.file(other), after)
        return
    at = _life_cycle_at(item)
    if at is not None and before[at] != after[at]:
        yield DifferenceKind.LIFE_CYCLE, f"{before[at]:02X} -> {after[at]:02X}"
        before, after = before[:at] + before[at + 1 :], after[:at] + after[at + 1 :]
    count = counter_bytes(item.kind, item.identifier, item.size)
    if before[:count] != after[:count]:
        yield (
            DifferenceKind.COUNTER,
            f"{int.from_bytes(before[:count], 'big')} -> {int.from_bytes(after[:count], 'big')}",
        )
    if before[count:] != after[count:]:
        yield DifferenceKind.CONTENT, ""


def _life_cycle_at(item: StoredObject) -> int | None:
    """Where the life cycle stands in the card's state and in a registry entry."""
    if item.kind is ObjectKind.APPLICATION or (item.owner, item.identifier) == (CARD_OWNER, CardObject.STATE):
        return CARD_STATE_LIFE_CYCLE
    return None


def _file_parts(old: File, before: bytes, new: File, after: bytes) -> Iterator[tuple[DifferenceKind, str]]:
    if before[: old.body] != after[: new.body]:
        yield DifferenceKind.HEADER, ""
    left, right = before[old.body :], after[new.body :]
    if left == right:
        return
    if old.spec.record_length and old.stride == new.stride:
        step = old.stride
        numbers = [
            at // step + 1
            for at in range(0, max(len(left), len(right)), step)
            if left[at : at + step] != right[at : at + step]
        ]
        yield DifferenceKind.RECORDS, _ranges(numbers)
    else:
        length = max(len(left), len(right))
        yield DifferenceKind.BYTES, _ranges([at for at in range(length) if left[at : at + 1] != right[at : at + 1]])


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as "1, 3-5"."""
    parts: list[str] = []
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        values = [number for _, number in run]
        parts.append(str(values[0]) if len(values) == 1 else f"{values[0]}-{values[-1]}")
    return ", ".join(parts)
