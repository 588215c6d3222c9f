"""Snapshots of a card file: whole clones beside it, in the order in which they were saved.

    CARD.snapshots/0001-first.card, 0002-personalized.card, …

A snapshot is a card file of its own and holds keys: nobody reads it who may not read the card's folder.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from card_os.hardware.image import ImageError, NvmImage
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from reader_bridge.card_comparison import Difference, compare_cards
from reader_bridge.connection import ReaderError

_FOLDER_SUFFIX: Final = ".snapshots"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_FILE: Final = re.compile(r"(\d{4,})-(.+)\.card")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One saved state.

    Attributes:
        number: place in the order, from 1.
        name: given or made up.
        path: the clone.
    """

    number: int
    name: str
    path: Path

    def document(self) -> dict[str, object]:
        """For programs."""
        return {"number": self.number, "name": self.name, "path": str(self.path)}


class CardSnapshots:
    """The snapshots of one card file.

    Args:
        card: the card file.
    """

    def __init__(self, card: Path) -> None:
        self._card = card
        self._folder = card.with_name(card.name + _FOLDER_SUFFIX)

    def list(self) -> tuple[Snapshot, ...]:
        """All of them, the oldest first."""
        if not self._folder.is_dir():
            return ()
        found = ((_FILE.fullmatch(path.name), path) for path in self._folder.iterdir())
        return tuple(sorted((Snapshot(int(m[1]), m[2], path) for m, path in found if m), key=lambda item: item.number))

    def save(self, name: str | None = None) -> Snapshot:
        """Save the card as it is.

        Args:
            name: letters, digits and ``_.-``, up to 40; None takes the number.

        Raises:
            ReaderError: no card file, or it is in use.
            PersonalizationError: "snapshot-name", "snapshot-exists".
        """
        with self._owned() as image:
            saved = self.list()
            number = saved[-1].number + 1 if saved else 1
            name = str(number) if name is None else name
            if not _NAME.fullmatch(name):
                raise PersonalizationError("snapshot-name", exit_code=2, name=name)
            if any(item.name == name for item in saved):
                raise PersonalizationError("snapshot-exists", exit_code=2, name=name)
            make_folder(self._folder)
            snapshot = Snapshot(number, name, self._folder / f"{number:04d}-{name}.card")
            write_atomically(snapshot.path, image.snapshot(), replace=False)
            return snapshot

    def load(self, name: str) -> Snapshot:
        """Make the card what it was at a snapshot; what it is now is lost unless it was saved.

        Raises:
            ReaderError: no card file, in use, or the snapshot is damaged.
            PersonalizationError: "snapshot-missing".
        """
        with self._owned():
            return self._restore(self.find(name))

    def step_back(self) -> Snapshot:
        """Make the card what it was at the last snapshot, or at the one before when it is just that.

        Raises:
            ReaderError: as `load`.
            PersonalizationError: "snapshot-none", there is nothing to go back to.
        """
        with self._owned() as image:
            saved, now = list(self.list()), image.snapshot()
            same = [place for place, item in enumerate(saved) if item.path.read_bytes() == now]
            earlier = saved[: same[-1]] if same else saved
            if not earlier:
                raise PersonalizationError("snapshot-none", card=str(self._card))
            return self._restore(earlier[-1])

    def fork(self, name: str, target: Path) -> Snapshot:
        """Make a new card file from a snapshot; it goes its own way.

        Raises:
            ReaderError: "image-exists", or the snapshot is damaged.
            PersonalizationError: "snapshot-missing".
        """
        snapshot = self.find(name)
        content = _sound(snapshot.path)
        try:
            write_atomically(target, content, replace=False)
        except FileExistsError as error:
            raise ReaderError("image-exists", path=str(target)) from error
        return snapshot

    def compare(self, other: str) -> tuple[Difference, ...]:
        """What differs from a snapshot, or from another card file, to the card as it is.

        Args:
            other: name of a snapshot, or path of a card file.

        Raises:
            ReaderError: one of them cannot be opened.
            PersonalizationError: "snapshot-missing".
        """
        named = [item.path for item in self.list() if item.name == other]
        path = named[0] if named else Path(other)
        if not path.is_file():
            raise self._missing(other)
        with self._owned() as image:
            return tuple(compare_cards(NvmImage.from_snapshot(_sound(path)), image))

    def find(self, name: str) -> Snapshot:
        """The snapshot of a name.

        Raises:
            PersonalizationError: "snapshot-missing".
        """
        for item in self.list():
            if item.name == name:
                return item
        raise self._missing(name)

    def _missing(self, name: str) -> PersonalizationError:
        return PersonalizationError("snapshot-missing", exit_code=2, name=name, card=str(self._card))

    def _restore(self, snapshot: Snapshot) -> Snapshot:
        write_atomically(self._card, _sound(snapshot.path))
        return snapshot

    @contextmanager
    def _owned(self) -> Generator[NvmImage]:
        """The card file, locked: nobody uses the card while it is copied or replaced."""
        try:
            image = NvmImage.open(self._card)
        except ImageError as error:
            raise ReaderError(error.code, **error.parameters) from error
        with image:
            yield image


def _sound(path: Path) -> bytes:
    """The bytes of a card file whose header holds."""
    raw = path.read_bytes()
    try:
        NvmImage.from_snapshot(raw).close()
    except ImageError as error:
        raise ReaderError(error.code, **{**error.parameters, "path": str(path)}) from error
    return raw
