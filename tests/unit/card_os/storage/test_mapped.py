"""Logical memory over physical blocks: rotation, spares, failing pages, and what it says when none are left."""

from __future__ import annotations

import random

import pytest

from card_os.hardware.chip import CellKind, Chip, load_chips
from card_os.hardware.image import NvmImage
from card_os.iso7816.errors import MemoryFailure, NotEnoughMemory
from card_os.storage.mapped import MappedMemory
from card_os.storage.store import ObjectKind, ObjectStore, StoredObject

FILE = ObjectKind.FILE
WEAK_FLASH = Chip("weak-flash", 24_576, 512, 4, 0xFF, 1, 12, CellKind.FLASH, 1)
WEAK_EEPROM = Chip("weak-eeprom", 24_576, 64, 4, 0x00, 1, 12, CellKind.EEPROM, 1)
WEAK = pytest.mark.parametrize("chip", [WEAK_FLASH, WEAK_EEPROM], ids=lambda chip: chip.name)
MAPPED = [chip for chip in load_chips().values() if chip.kind is not CellKind.WORDS]
CHIPS = pytest.mark.parametrize("chip", MAPPED, ids=lambda chip: chip.name)


def mapped(store: ObjectStore) -> MappedMemory:
    memory = store._memory
    assert isinstance(memory, MappedMemory)
    return memory


def change(store: ObjectStore, item: StoredObject, offset: int, data: bytes) -> None:
    with store.transaction():
        store.write(item, offset, data)


def contents(store: ObjectStore) -> dict[int, bytes]:
    return {item.identifier: store.read(item) for item in store.owned(1)}


@WEAK
@pytest.mark.parametrize("seed", range(4))
def test_worn_pages_are_replaced_without_loss_until_the_card_says_6581(chip: Chip, seed: int) -> None:
    """To the end of the memory's life, and after it: what was committed is read, by this store and after a boot."""
    choose = random.Random(seed)
    nvm = NvmImage.create(chip=chip).nvm()
    store = ObjectStore(nvm)
    for number in range(8):
        store.create(1, FILE, number, 400, bytes((number,)) * 400)
    expected = contents(store)
    failures = 0
    for step in range(20_000):
        item = store.find(1, FILE, choose.randrange(8))
        assert item
        offset, data = choose.randrange(300), choose.randbytes(choose.randrange(1, 100))
        try:
            if step % 3:
                change(store, item, offset, data)
            else:
                data = data[:1]
                store.write_through(item, offset, data)
        except MemoryFailure:
            failures += 1
        else:
            old = expected[item.identifier]
            expected[item.identifier] = old[:offset] + data + old[offset + len(data) :]
        if step % 50 == 0 or failures:
            assert contents(store) == expected
            store = ObjectStore(nvm)
            assert contents(store) == expected
        if failures > 5:
            break
    assert failures > 5
    assert mapped(store).retired > 1
    assert max(nvm.wear) > chip.endurance


@WEAK
def test_the_last_spare_ends_creation_and_not_reading(chip: Chip) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    store = ObjectStore(nvm)
    kept = store.create(1, FILE, 1, 200, b"kept" * 50)
    with pytest.raises((MemoryFailure, NotEnoughMemory)):  # noqa: PT012 - which round fails is the chip's
        for number in range(2, 5_000):
            store.delete(store.create(1, FILE, number, 2_000, b"passing", fill=0x11))
    assert store.read(kept) == b"kept" * 50
    again = ObjectStore(nvm)
    item = again.find(1, FILE, 1)
    assert item
    assert again.read(item) == b"kept" * 50


@CHIPS
def test_the_log_has_no_pages_of_its_own(chip: Chip) -> None:
    """One counter for a long time: no page is worn much more than the mean of those in turn."""
    nvm = NvmImage.create(chip=chip).nvm()
    store = ObjectStore(nvm)
    item = store.create(1, ObjectKind.COUNTER, 1, 4)
    for number in range(60_000):
        store.write_through(item, 0, number.to_bytes(4, "big"))
    used = [cycles for cycles in nvm.wear if cycles]
    assert max(used) <= 2 * sum(nvm.wear) / len(nvm.wear) + 4


@CHIPS
def test_pages_that_stand_still_take_their_turn(chip: Chip) -> None:
    import dataclasses

    small = dataclasses.replace(chip, size=16_384)
    nvm = NvmImage.create(chip=small).nvm()
    store = ObjectStore(nvm)
    cold = store.create(1, FILE, 1, 5_000, b"cold" * 1_250)
    item = store.create(1, ObjectKind.COUNTER, 1, 4)
    for number in range(90_000):
        store.write_through(item, 0, number.to_bytes(4, "big"))
    assert store.read(cold) == b"cold" * 1_250
    assert min(nvm.wear) > max(nvm.wear) / 3


@CHIPS
def test_a_change_is_one_write_and_no_erase(chip: Chip) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    store = ObjectStore(nvm)
    item = store.create(1, FILE, 1, 200)
    change(store, item, 0, b"first")
    count, wear = nvm.power.count, sum(nvm.wear)
    change(store, item, 0, bytes(128))
    assert nvm.power.count - count == (8 + 8 + 128 + 4) // chip.word_size
    assert sum(nvm.wear) == wear


@CHIPS
def test_capacity_is_what_is_left_after_log_spares_and_headers(chip: Chip) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    store = ObjectStore(nvm)
    memory = mapped(store)
    blocks = chip.size // 512
    assert memory.end == (blocks - 8 - blocks // 32) * 496
    assert store.free == memory.end - memory.heap
    store.create(1, FILE, 1, store.free, b"\x77" * store.free)
    assert store.free == 0
    item = store.find(1, FILE, 1)
    assert item
    for offset in range(0, item.size - 2_048, 2_048):
        change(store, item, offset, b"\x78" * 2_048)
    assert ObjectStore(nvm).read(item, 0, 100) == b"\x78" * 100
    assert memory.spares == blocks // 32


@CHIPS
def test_the_reports_name_pages_that_hold_an_object(chip: Chip) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    store = ObjectStore(nvm)
    item = store.create(1, FILE, 1, 1_000, b"\x99" * 1_000)
    pages = mapped(store).pages_of(item.address, item.size)
    found = sum(nvm.read(page * chip.page_size, chip.page_size).count(0x99) for page in pages)
    assert found == 1_000
    assert not set(pages) & set(mapped(store).log_pages)


@CHIPS
def test_changes_of_a_transaction_that_was_undone_leave_nothing(chip: Chip) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    store = ObjectStore(nvm)
    store.create(1, FILE, 1, 50, b"stays")

    def undone() -> None:
        with store.transaction():
            store.create(1, FILE, 2, 700, b"passing secret" * 50)
            raise LookupError

    with pytest.raises(LookupError):
        undone()
    assert b"passing" not in nvm.read(0, nvm.size)


def test_a_memory_too_small_for_log_and_spares_is_refused() -> None:
    nvm = NvmImage.create(chip=Chip("tiny", 4_096, 512, 4, 0xFF, 1, 1, CellKind.FLASH, 1)).nvm()
    with pytest.raises(MemoryFailure, match="too small"):
        ObjectStore(nvm)


def test_a_memory_full_of_garbage_is_not_formatted() -> None:
    nvm = NvmImage.create(chip="mapped-flash-144k").nvm()
    nvm.write(0, b"\x01" * 2_048)
    with pytest.raises(MemoryFailure, match="neither"):
        ObjectStore(nvm)
