"""Power cut at every programming unit, before, in the middle and after: old or new, never between."""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from card_os.hardware.chip import CellKind, Chip, load_chips
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.power import CutMoment
from card_os.iso7816.errors import CardTorn, MemoryFailure
from card_os.storage import blocks, counter_cells, in_place, layout
from card_os.storage import memory as memory_module
from card_os.storage.blocks import HEADER_BYTES, BlockKind
from card_os.storage.counter_cells import CounterCells, encode_cell
from card_os.storage.in_place import InPlaceMemory
from card_os.storage.journal import Journal, WordJournal
from card_os.storage.mapped import MappedMemory
from card_os.storage.store import ObjectKind, ObjectStore
from tests.doubles.cut_points import cut_points

SIZE: Final = 16_384
WIDE: Final = Chip("wide", SIZE, 128, 8, 0xFF, 50_000, 100_000)
WIDE_FLASH: Final = Chip("wide-flash", SIZE, 128, 8, 0xFF, 50_000, 100_000, CellKind.FLASH, 2_000_000)
SMALL: Final = [dataclasses.replace(chip, size=SIZE) for chip in load_chips().values()]
CHIPS: Final = [*SMALL, WIDE, WIDE_FLASH]
IN_PLACE: Final = [chip for chip in CHIPS if chip.kind is CellKind.WORDS]
MAPPED: Final = [chip for chip in CHIPS if chip.kind is not CellKind.WORDS]
FIRST_FORM: Final = b"OBJ1"
SECRET: Final = b"\xc0\xde" * 12
MANY: Final = 100
State = dict[tuple[int, int, int], bytes]


def contents(store: ObjectStore) -> State:
    return {
        (item.owner, item.kind, item.identifier): store.read(item) for owner in range(4) for item in store.owned(owner)
    }


def free_memory_is_blank(nvm: Nvm, store: ObjectStore) -> bool:
    """Outside objects, rows and superblock nothing but erased bytes: no secret stays behind."""
    blank = bytes((nvm.erased,))
    memory, gaps = store._memory, list(store._heap.gaps())
    if isinstance(memory, InPlaceMemory):
        gaps.append((memory._scrub, memory.table))
        return all(nvm.read(start, end - start) == blank * (end - start) for start, end in gaps)
    assert isinstance(memory, MappedMemory)
    size = memory._block_bytes
    used = {*memory._map.values(), *memory._log}
    return all(memory.read(start, end - start) == blank * (end - start) for start, end in gaps) and all(
        nvm.read(block * size, size) == blank * size for block in range(nvm.size // size) if block not in used
    )


@pytest.fixture(params=CHIPS, ids=lambda chip: chip.name)
def image(request: pytest.FixtureRequest) -> NvmImage:
    return filled(request.param)


def filled(chip: Chip) -> NvmImage:
    image = NvmImage.create(chip=chip)
    store = ObjectStore(image.nvm())
    store.create(1, ObjectKind.FILE, 0x0101, 61, b"first")
    store.create(1, ObjectKind.KEY, 0x81, 24, SECRET)
    store.create(1, ObjectKind.PIN, 0x81, 10, b"\x03\x03pinblock")
    store.create(1, ObjectKind.COUNTER, 1, 3, b"\x00\x01\xff")
    store.create(2, ObjectKind.FILE, 0x0101, 33, b"second", fill=0x20)
    return image


def create(store: ObjectStore) -> None:
    store.create(3, ObjectKind.FILE, 1, 37, b"content", fill=0x11)


def create_blank(store: ObjectStore) -> None:
    store.create(3, ObjectKind.FILE, 1, 37, fill=store.nvm.erased)


def write(store: ObjectStore) -> None:
    item = store.find(1, ObjectKind.FILE, 0x0101)
    assert item
    with store.transaction():
        store.write(item, 3, b"a change that is not aligned")


def write_many(store: ObjectStore) -> None:
    first = store.find(1, ObjectKind.FILE, 0x0101)
    second = store.find(2, ObjectKind.FILE, 0x0101)
    assert first
    assert second
    with store.transaction():
        store.write(first, 0, b"1" * 9)
        store.write(second, 1, b"2" * 9)
        store.write(first, 5, b"3" * 9)


def delete(store: ObjectStore) -> None:
    item = store.find(1, ObjectKind.KEY, 0x81)
    assert item
    store.delete(item)


def replace(store: ObjectStore) -> None:
    item = store.find(1, ObjectKind.KEY, 0x81)
    first = store.find(1, ObjectKind.FILE, 0x0101)
    assert item
    assert first
    with store.transaction():
        store.delete(item)
        store.create(1, ObjectKind.KEY, 0x81, 40, b"\xab" * 40)
        store.write(first, 60, b"!")


def write_through(store: ObjectStore) -> None:
    item = store.find(1, ObjectKind.PIN, 0x81)
    assert item
    store.write_through(item, 0, b"\x02")


def count(store: ObjectStore) -> None:
    item = store.find(1, ObjectKind.PIN, 0x81)
    assert item
    store.count(item, b"\x02")


def advance(store: ObjectStore) -> None:
    """A counter of three bytes."""
    item = store.find(1, ObjectKind.COUNTER, 1)
    assert item
    store.write_through(item, 0, b"\x00\x02\x00")


def renew(store: ObjectStore) -> None:
    """A counter and what follows it, in one transaction."""
    item = store.find(1, ObjectKind.PIN, 0x81)
    assert item
    with store.transaction():
        store.write(item, 0, b"\x05\x05another")


def roll_back(store: ObjectStore) -> None:
    with contextlib.suppress(LookupError), store.transaction():
        replace(store)
        raise LookupError


OPERATIONS: Final = [
    create,
    create_blank,
    write,
    write_many,
    delete,
    replace,
    write_through,
    count,
    advance,
    renew,
    roll_back,
]


def cuts(image: NvmImage, change: Callable[[ObjectStore], None]) -> Iterator[tuple[NvmImage, int, CutMoment]]:
    """Every cut of ``change``: a fork of the image after it, the unit and the moment."""
    whole = image.fork().nvm()
    store = ObjectStore(whole)
    begin = whole.power.count
    change(store)
    units = whole.power.count - begin
    for unit, moment in cut_points(units):
        copy = image.fork()
        nvm = copy.nvm()
        store = ObjectStore(nvm)
        nvm.power.arm(unit, moment)
        with pytest.raises(CardTorn):
            change(store)
        yield copy, unit, moment


def old_and_new(image: NvmImage, change: Callable[[ObjectStore], None]) -> tuple[State, State]:
    store = ObjectStore(image.fork().nvm())
    old = contents(store)
    change(store)
    return old, contents(store)


def violations(image: NvmImage, change: Callable[[ObjectStore], None], most: int = MANY) -> list[str]:
    """What a sweep finds wrong, up to a cut with which there are so many; empty when the law holds."""
    old, new = old_and_new(image, change)
    found: list[str] = []
    seen_new = False
    for copy, unit, moment in cuts(image, change):
        nvm = copy.nvm()
        store = ObjectStore(nvm)
        state = contents(store)
        if state not in (old, new):
            found.append(f"between at {unit} {moment.name}")
        if seen_new and state != new:
            found.append(f"went back at {unit} {moment.name}")
        seen_new = seen_new or (state == new != old)
        if not free_memory_is_blank(nvm, store):
            found.append(f"left bytes behind at {unit} {moment.name}")
        again = contents(ObjectStore(nvm))
        if again != state:
            found.append(f"another boot changed it at {unit} {moment.name}")
        if len(found) >= most:
            break
    return found


@pytest.mark.parametrize("change", OPERATIONS, ids=lambda change: change.__name__)
def test_a_cut_at_any_unit_leaves_the_old_or_the_new_state(
    image: NvmImage, change: Callable[[ObjectStore], None]
) -> None:
    assert violations(image, change) == []


@pytest.mark.parametrize("change", OPERATIONS, ids=lambda change: change.__name__)
def test_a_cut_on_a_memory_of_the_first_form_leaves_the_old_or_the_new_state(
    change: Callable[[ObjectStore], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_MAGIC", FIRST_FORM)
    image = filled(IN_PLACE[0])
    monkeypatch.undo()
    assert image.nvm().read(0, 4) == FIRST_FORM
    assert violations(image, change) == []


@pytest.mark.parametrize("change", OPERATIONS, ids=lambda change: change.__name__)
def test_the_change_happens_and_leaves_nothing_behind(image: NvmImage, change: Callable[[ObjectStore], None]) -> None:
    nvm = image.nvm()
    store = ObjectStore(nvm)
    old = contents(store)
    change(store)
    assert free_memory_is_blank(nvm, store)
    assert (contents(store) != old) == (change is not roll_back)
    assert contents(ObjectStore(nvm)) == contents(store)


def test_a_deleted_key_is_nowhere_in_the_memory(image: NvmImage) -> None:
    delete(ObjectStore(image.nvm()))
    assert SECRET[:8] not in image.snapshot()


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_a_cut_while_formatting_or_booting_is_made_good(chip: Chip) -> None:
    image = NvmImage.create(chip=dataclasses.replace(chip, size=8_192))
    whole = image.fork().nvm()
    ObjectStore(whole)
    last = whole.power.count
    for unit in [*range(1, last - 8, 3), *range(max(1, last - 8), last + 1)]:
        for moment in CutMoment:
            copy = image.fork()
            nvm = copy.nvm()
            nvm.power.arm(unit, moment)
            with pytest.raises(CardTorn):
                ObjectStore(nvm)
            nvm = copy.nvm()
            store = ObjectStore(nvm)
            assert contents(store) == {}
            assert free_memory_is_blank(nvm, store)


def test_a_second_cut_during_the_recovery_is_made_good(image: NvmImage) -> None:
    old, new = old_and_new(image, replace)
    for copy, unit, _ in cuts(image, replace):
        if unit % 5:
            continue
        probe = copy.fork().nvm()
        ObjectStore(probe)
        for second in range(1, probe.power.count + 1, 3):
            fork = copy.fork()
            nvm = fork.nvm()
            nvm.power.arm(second, CutMoment.PROGRAMMING)
            with pytest.raises(CardTorn):
                ObjectStore(nvm)
            nvm = fork.nvm()
            store = ObjectStore(nvm)
            assert contents(store) in (old, new)
            assert free_memory_is_blank(nvm, store)


def test_a_spent_try_never_comes_back_by_the_open_transaction(image: NvmImage) -> None:
    """The transaction holds the counter's word; the counter is spent; the cut may come anywhere."""

    def change(store: ObjectStore) -> None:
        item = store.find(1, ObjectKind.PIN, 0x81)
        assert item
        with store.transaction():
            store.write(item, 1, b"\x05newpin!!")
            store.write_through(item, 0, b"\x02")

    spent = False
    for copy, _, _ in cuts(image, change):
        store = ObjectStore(copy.nvm())
        item = store.find(1, ObjectKind.PIN, 0x81)
        assert item
        counter = store.read(item, 0, 1)
        assert counter in (b"\x03", b"\x02")
        assert not (spent and counter == b"\x03")
        spent = spent or counter == b"\x02"
    assert spent


# Planted bugs: each has to be found by the same sweep, or the sweep is worth nothing.


class MarkFirst(Journal):
    """Marks before the records are there, and trusts the mark."""

    def commit(self, writes, wipes=()):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a planted bug
        self._nvm.write(self._start, b"\x00\x00\x00\x01")
        super().commit(writes, wipes)

    def _parse(self, raw: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a planted bug
        body = raw[self._nvm.word_size :]
        length = int.from_bytes(body[:4], "big")
        if raw[:4] == bytes((self._nvm.erased,)) * 4 or length > self.capacity:
            return None
        checksum = zlib.crc32(body[: 4 + length]).to_bytes(4, "big")
        return super()._parse(checksum + raw[4:])


class AppliesBeforeMark(Journal):
    def commit(self, writes, wipes=()):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a planted bug
        self._nvm.write_each(self._changes(writes, wipes))
        super().commit(writes, wipes)


class ForgetsBeforeApplying(Journal):
    def _changes(self, writes, wipes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - a planted bug
        return [self._erasure(64), *super()._changes(writes, wipes)]


class NoWordJournal(WordJournal):
    def write(self, address: int, word: bytes) -> None:
        self._nvm.write(address, word)


@pytest.mark.parametrize("bug", [MarkFirst, AppliesBeforeMark, ForgetsBeforeApplying])
def test_a_planted_bug_in_the_journal_is_found(bug: type[Journal], monkeypatch: pytest.MonkeyPatch) -> None:
    image = NvmImage.create(chip="eeprom-80k")
    write_target = ObjectStore(image.nvm())
    write_target.create(1, ObjectKind.FILE, 0x0101, 61, b"first")
    monkeypatch.setattr(in_place, "Journal", bug)
    assert violations(image, write, 1)


@pytest.mark.parametrize("chip", IN_PLACE, ids=lambda chip: chip.name)
def test_a_planted_bug_in_write_through_is_found(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_place, "WordJournal", NoWordJournal)
    assert violations(filled(chip), advance, 1)


@pytest.mark.parametrize("chip", IN_PLACE, ids=lambda chip: chip.name)
def test_a_counter_that_is_written_over_is_found(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(cells: CounterCells, value: bytes) -> None:
        cells._nvm.write(cells.address, encode_cell(value[0], 0))

    monkeypatch.setattr(CounterCells, "write", write)
    try:
        found = violations(filled(chip), count, 1)
    except MemoryFailure:
        found = ["no cell is valid"]
    assert found


@pytest.mark.parametrize("chip", IN_PLACE, ids=lambda chip: chip.name)
def test_a_torn_cell_that_is_trusted_is_found(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its complement a torn cell is a counter."""

    def decode(raw: bytes, at: int) -> tuple[int, int] | None:
        blank = raw[at : at + 2] in (b"\x00\x00", b"\xff\xff")
        return None if blank else (raw[at], raw[at + 1])

    monkeypatch.setattr(counter_cells, "_decode", decode)
    try:
        found = violations(filled(chip), write_through, 1)
    except MemoryFailure:
        found = ["the cells do not follow each other"]
    assert found


@pytest.mark.parametrize("chip", IN_PLACE, ids=lambda chip: chip.name)
def test_a_counter_is_old_or_new_also_where_its_sequence_begins_again(chip: Chip) -> None:
    image = filled(chip)
    store = ObjectStore(image.nvm())
    item = store.find(1, ObjectKind.PIN, 0x81)
    assert item
    for _ in range(250):
        store.write_through(item, 0, b"\x03")
    value = 3
    for _ in range(8):
        following = 3 if value == 1 else value - 1
        for moment in CutMoment:
            copy = image.fork()
            nvm = copy.nvm()
            torn = ObjectStore(nvm)
            counter = torn.find(1, ObjectKind.PIN, 0x81)
            assert counter
            nvm.power.arm(1, moment)
            with pytest.raises(CardTorn):
                torn.write_through(counter, 0, bytes((following,)))
            again = ObjectStore(copy.nvm())
            found = again.find(1, ObjectKind.PIN, 0x81)
            assert found
            assert again.read(found, 0, 1) == bytes((following if moment is CutMoment.AFTER else value,))
        store.write_through(item, 0, bytes((following,)))
        value = following


@pytest.mark.parametrize("chip", IN_PLACE, ids=lambda chip: chip.name)
def test_a_planted_bug_in_the_scrubbing_is_found(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InPlaceMemory, "announce", lambda _: None)
    assert any(found.startswith("left bytes behind") for found in violations(filled(chip), create))


class ErasesTooEarly(MappedMemory):
    """Erases the old page before its successor is there."""

    __slots__ = ()

    def _write_page(self, page: int) -> None:
        old = self._map.pop(page, None)
        if old is not None:
            self._pool.release(old)
        super()._write_page(page)


class ErasesLogFirst(MappedMemory):
    """Erases the log before the pages that it changed are written."""

    __slots__ = ()

    def flush(self) -> bool:
        log, self._log = self._log, []
        for block in log:
            self._pool.release(block)
        return super().flush()


class HeaderFirst(MappedMemory):
    """Makes a page valid before its content is there."""

    __slots__ = ()

    def _write_page(self, page: int) -> None:
        old = self._map.get(page)
        self._map[page] = block = self._pool.take()
        self._pool.mark(block, BlockKind.PAGE, page, self._next())
        size = self._page_bytes
        self._nvm.write(block * self._block_bytes + HEADER_BYTES, bytes(self._ram[page * size : (page + 1) * size]))
        if old is not None:
            self._pool.release(old)


class KeepsUncommittedContent(MappedMemory):
    __slots__ = ()

    def clean(self, gaps: object) -> None:
        pass


class KeepsOldSecrets(MappedMemory):
    __slots__ = ()

    def commit(self, writes, wipes, secret) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a planted bug
        writes = [*writes, *((start, self._blank[:1] * length) for start, length in wipes)]
        super().commit(writes, [], secret=False)


@pytest.mark.parametrize("chip", MAPPED, ids=lambda chip: chip.name)
@pytest.mark.parametrize(
    ("bug", "change"),
    [
        (ErasesTooEarly, delete),
        (ErasesLogFirst, delete),
        (HeaderFirst, delete),
        (KeepsUncommittedContent, create),
    ],
)
def test_a_planted_bug_in_the_mapping_is_found(
    chip: Chip, bug: type[MappedMemory], change: Callable[[ObjectStore], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = filled(chip)
    monkeypatch.setattr(memory_module, "MappedMemory", bug)
    try:
        found = violations(image, change, 1)
    except MemoryFailure:
        found = ["does not boot"]
    assert found


@pytest.mark.parametrize("chip", MAPPED, ids=lambda chip: chip.name)
def test_trust_in_blocks_without_header_is_found(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    image = filled(chip)
    monkeypatch.setattr(blocks, "_doubt", lambda *_: None)
    try:
        found = violations(image, delete, 1)
    except ValueError:
        found = ["programs what is not blank"]
    assert found


@pytest.mark.parametrize("chip", MAPPED, ids=lambda chip: chip.name)
def test_a_planted_bug_in_the_wiping_is_found(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    image = filled(chip)
    monkeypatch.setattr(memory_module, "MappedMemory", KeepsOldSecrets)
    delete(ObjectStore(image.nvm()))
    assert SECRET in image.snapshot()


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_after_a_cut_a_replaced_secret_is_old_and_whole_or_nowhere(chip: Chip) -> None:
    def change_key(store: ObjectStore) -> None:
        item = store.find(1, ObjectKind.KEY, 0x81)
        assert item
        with store.transaction():
            store.write(item, 0, bytes(24))

    image = filled(chip)
    for copy, _, _ in cuts(image, change_key):
        store = ObjectStore(copy.nvm())
        item = store.find(1, ObjectKind.KEY, 0x81)
        assert item
        assert store.read(item) == SECRET or SECRET[:8] not in copy.snapshot()


@pytest.mark.parametrize("chip", MAPPED, ids=lambda chip: chip.name)
def test_a_cut_while_the_log_is_full_leaves_old_or_new(chip: Chip) -> None:
    image = filled(chip)
    store = ObjectStore(image.nvm())
    memory = store._memory
    assert isinstance(memory, MappedMemory)
    big = store.create(1, ObjectKind.FILE, 0x0102, 2_500)
    while True:
        log = memory.log_pages
        with store.transaction():
            store.write(big, len(log) * 7, bytes((len(log) + 1,)) * 900)
        if len(memory.log_pages) < len(log):
            break
        image_before = image.fork()

    def change(store: ObjectStore) -> None:
        item = store.find(1, ObjectKind.FILE, 0x0102)
        assert item
        with store.transaction():
            store.write(item, 3, b"\xee" * 900)

    old, new = old_and_new(image_before, change)
    whole = image_before.fork().nvm()
    booted = ObjectStore(whole)
    begin = whole.power.count
    change(booted)
    units = whole.power.count - begin
    assert sum(whole.wear) > sum(image_before.nvm().wear)
    for unit, moment in cut_points(units, 3):
        copy = image_before.fork()
        nvm = copy.nvm()
        store = ObjectStore(nvm)
        nvm.power.arm(unit, moment)
        with pytest.raises(CardTorn):
            change(store)
        assert contents(ObjectStore(copy.nvm())) in (old, new)
