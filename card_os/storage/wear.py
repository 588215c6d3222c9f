"""Wear of a card's memory, by page and by object, and how long it lasts at a given use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from card_os.hardware.chip import CellKind, Chip
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.storage.blocks import block_bytes_of, survey_blocks
from card_os.storage.mapped import MappedMemory
from card_os.storage.store import ObjectStore, StoredObject

_ENOUGH_CYCLES: Final = 400  # of all pages together, so that the share of each is known
_MOST_DAYS: Final = 2_000


class PageUse(Enum):
    """What a physical page is for now."""

    CONTENT = "content"
    LOG = "log"
    FREE = "free"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class PageWear:
    """One physical page.

    Attributes:
        page: its number.
        cycles: endurance cycles so far.
        use: what it is for now.
    """

    page: int
    cycles: int
    use: PageUse


@dataclass(frozen=True, slots=True)
class ObjectWear:
    """One object and the pages that hold it now.

    Attributes:
        owner: number of the application.
        kind: name of the object's kind.
        identifier: name within owner and kind; of a file its FID.
        size: bytes.
        pages: physical pages, ascending.
        cycles: of the most worn of them.
    """

    owner: int
    kind: str
    identifier: int
    size: int
    pages: tuple[int, ...]
    cycles: int


@dataclass(frozen=True, slots=True)
class MemoryWear:
    """The memory of a card.

    Attributes:
        chip: its geometry.
        pages: all physical pages.
        objects: all objects, the most worn first.
        free: bytes of the largest object that can be made.
        spares: blocks left to replace worn ones; 0 where pages have no erase.
    """

    chip: Chip
    pages: tuple[PageWear, ...]
    objects: tuple[ObjectWear, ...]
    free: int
    spares: int

    def hottest(self, count: int) -> list[PageWear]:
        """The most worn pages, the most worn first."""
        return sorted(self.pages, key=lambda page: (-page.cycles, page.page))[:count]


@dataclass(frozen=True, slots=True)
class LifeProjection:
    """How long a memory lasts when every day is like the one that was run.

    Attributes:
        days_run: how often the day was run to know.
        cycles_a_day: of all pages together.
        hottest_page: the page that took most of them.
        days: until the first page is past its endurance when pages take turns as on those days; None when a day wears
            nothing.
        days_levelled: until all pages are, when all take their share.
    """

    days_run: int
    cycles_a_day: float
    hottest_page: int
    days: int | None
    days_levelled: int | None


def measure_wear(image: NvmImage) -> MemoryWear:
    """Wear of a card; the image is not changed.

    Raises:
        MemoryFailure: it holds no sound store.
    """
    with image.fork() as fork:
        nvm = fork.nvm()
        store = ObjectStore(nvm)
        memory = store.mapped_memory
        uses = _uses(nvm)
        wear = image.nvm().wear
        pages = tuple(PageWear(page, cycles, uses(page)) for page, cycles in enumerate(wear))
        objects = [_object_wear(item, memory, nvm, wear) for item in store.objects()]
        objects.sort(key=lambda item: (-item.cycles, item.owner, item.identifier))
        return MemoryWear(image.chip, pages, tuple(objects), store.free, memory.spares if memory else 0)


def _object_wear(item: StoredObject, memory: MappedMemory | None, nvm: Nvm, wear: Sequence[int]) -> ObjectWear:
    if not item.size:
        pages: list[int] = []
    elif memory is None:
        start, size = item.extent
        pages = list(range(start // nvm.page_size, (start + size - 1) // nvm.page_size + 1))
    else:
        pages = memory.pages_of(item.address, item.size)
    cycles = max((wear[page] for page in pages), default=0)
    return ObjectWear(item.owner, item.kind.name, item.identifier, item.size, tuple(pages), cycles)


def _uses(nvm: Nvm) -> Callable[[int], PageUse]:
    if nvm.kind is CellKind.WORDS:
        return lambda _: PageUse.CONTENT
    size = block_bytes_of(nvm)
    survey = survey_blocks(nvm.cells[: nvm.size // size * size], size, nvm.erased)
    content, log, retired = set(survey.pages.values()), {block for _, block in survey.log}, survey.retired
    pages_a_block = size // nvm.page_size

    def use(page: int) -> PageUse:
        block = page // pages_a_block
        if block in content:
            return PageUse.CONTENT
        if block in log:
            return PageUse.LOG
        return PageUse.RETIRED if block in retired else PageUse.FREE

    return use


def project_life(image: NvmImage, day: Callable[[Nvm], object]) -> LifeProjection:
    """Run a day on a copy until its wear is known, and say how long the memory lasts.

    Args:
        image: the card; not changed.
        day: boots a card on the memory and uses it for a day.
    """
    chip = image.chip
    before = list(image.nvm().wear)
    with image.fork() as fork:
        days = 0
        while days < _MOST_DAYS:
            days += 1
            nvm = fork.nvm()
            day(nvm)
            if sum(nvm.wear) - sum(before) >= _ENOUGH_CYCLES:
                break
        taken = [after - first for after, first in zip(fork.nvm().wear, before, strict=True)]
    total = sum(taken)
    if not total:
        return LifeProjection(days, 0.0, 0, None, None)
    left = [max(chip.endurance - cycles, 0) for cycles in before]
    until = [rest * days // cycles for rest, cycles in zip(left, taken, strict=True) if cycles]
    return LifeProjection(days, total / days, taken.index(max(taken)), min(until), sum(left) * days // total)
