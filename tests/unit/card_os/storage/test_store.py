from __future__ import annotations

import pytest

from card_os.hardware.chip import CellKind, Chip
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import FileExists, MemoryFailure, NotEnoughMemory
from card_os.storage.heap import FirstFitHeap
from card_os.storage.layout import MAX_TRANSACTION_DATA
from card_os.storage.store import ObjectKind, ObjectStore, StoredObject

CHIP = Chip("test", 16_384, 64, 4, 0xFF, 1_000, 10)
FLASH = Chip("flash", 20_480, 512, 4, 0xFF, 1_000, 100_000, CellKind.FLASH, 1_000)
EEPROM = Chip("eeprom", 20_480, 64, 4, 0x00, 1_000, 100_000, CellKind.EEPROM, 1_000)
FILE = ObjectKind.FILE


@pytest.fixture(params=[CHIP, FLASH, EEPROM], ids=lambda chip: chip.name)
def nvm(request: pytest.FixtureRequest) -> Nvm:
    return NvmImage.create(chip=request.param).nvm()


@pytest.fixture
def store(nvm: Nvm) -> ObjectStore:
    return ObjectStore(nvm)


@pytest.fixture
def item(store: ObjectStore) -> StoredObject:
    return store.create(1, FILE, 0x0101, 20, b"0123456789")


def test_an_object_outlives_the_boot(nvm: Nvm, item: StoredObject) -> None:
    again = ObjectStore(nvm).find(1, FILE, 0x0101)
    assert again
    assert (again.slot, again.owner, again.kind, again.size) == (item.slot, 1, FILE, 20)
    assert ObjectStore(nvm).read(again) == b"0123456789" + bytes(10)


def test_an_object_is_the_same_python_object_until_it_is_deleted(store: ObjectStore, item: StoredObject) -> None:
    assert store.find(1, FILE, 0x0101) is item
    store.delete(item)
    assert store.find(1, FILE, 0x0101) is None
    assert item.slot == -1


def test_names_are_by_owner_and_kind(store: ObjectStore, item: StoredObject) -> None:
    other = store.create(2, FILE, 0x0101, 4)
    key = store.create(1, ObjectKind.KEY, 0x0101, 4)
    assert store.owned(1) == [item, key]
    assert store.owned(1, ObjectKind.KEY) == [key]
    assert store.owned(2) == [other]
    assert store.owned(3) == []


def test_reads_see_the_open_transaction_and_others_do_not(nvm: Nvm, store: ObjectStore, item: StoredObject) -> None:
    with store.transaction():
        store.write(item, 2, b"ab")
        store.write(item, 3, b"cd")
        assert store.read(item, 0, 8) == b"01acd567"
        assert ObjectStore(nvm).read(item, 0, 8) == b"01234567"
    assert store.read(item, 0, 8) == b"01acd567"
    assert ObjectStore(nvm).read(item, 0, 8) == b"01acd567"


def test_an_exception_rolls_back(store: ObjectStore, item: StoredObject) -> None:
    def change() -> None:
        with store.transaction():
            store.write(item, 0, b"changed")
            store.create(1, FILE, 2, 8, b"new")
            store.delete(item)
            raise LookupError

    with pytest.raises(LookupError):
        change()
    assert store.find(1, FILE, 0x0101) is item
    assert store.find(1, FILE, 2) is None
    assert store.read(item, 0, 4) == b"0123"


def test_an_inner_scope_rolls_back_alone(store: ObjectStore, item: StoredObject) -> None:
    with store.transaction():
        store.write(item, 0, b"A")

        def change() -> None:
            with store.transaction():
                store.write(item, 1, b"B")
                store.create(1, FILE, 2, 8)
                raise LookupError

        with pytest.raises(LookupError):
            change()
        store.write(item, 2, b"C")
    assert store.read(item, 0, 4) == b"A1C3"
    assert store.find(1, FILE, 2) is None


def test_an_object_made_and_deleted_in_one_transaction_leaves_nothing(nvm: Nvm, store: ObjectStore) -> None:
    free = store.free
    with store.transaction():
        store.delete(store.create(1, FILE, 1, 8, b"passing"))
    assert store.free == free
    assert b"passing" not in nvm.read(0, nvm.size)


@pytest.mark.parametrize("word_alignment", [0, 1, 3])
def test_the_announced_data_fits_one_transaction(store: ObjectStore, word_alignment: int) -> None:
    item = store.create(1, FILE, 1, MAX_TRANSACTION_DATA + 8)
    data = bytes(range(256)) * (MAX_TRANSACTION_DATA // 256)
    with store.transaction():
        store.write(item, word_alignment, data)
    assert store.read(item, word_alignment, len(data)) == data


def test_an_overflow_changes_nothing(store: ObjectStore) -> None:
    item = store.create(1, FILE, 1, 4_000)

    def change() -> None:
        with store.transaction():
            store.write(item, 0, b"1" * 2_048)
            store.write(item, 2_048, b"2" * 1_900)

    with pytest.raises(NotEnoughMemory):
        change()
    assert store.read(item) == bytes(4_000)
    with store.transaction():
        store.write(item, 0, b"1" * 2_048)


def test_the_content_of_a_new_object_is_not_bounded_by_the_buffer(nvm: Nvm, store: ObjectStore) -> None:
    store.create(1, FILE, 1, 8_000, b"x" * 8_000)
    item = ObjectStore(nvm).find(1, FILE, 1)
    assert item
    assert store.read(item) == b"x" * 8_000


def test_a_full_memory_refuses_and_stays_as_it_was(nvm: Nvm, store: ObjectStore, item: StoredObject) -> None:
    before = nvm.read(0, nvm.size)
    with pytest.raises(NotEnoughMemory):
        store.create(1, FILE, 2, store.free + 4)
    assert nvm.read(0, nvm.size) == before
    assert store.find(1, FILE, 2) is None
    last = store.create(1, FILE, 2, store.free, b"to the end")
    assert store.free == 0
    store.delete(last)
    assert store.read(item, 0, 3) == b"012"


def test_a_full_table_refuses(store: ObjectStore) -> None:
    slots = store.nvm.size // 512
    for number in range(slots):
        store.create(1, FILE, number, 1)
    assert store.free == 0
    with pytest.raises(NotEnoughMemory, match="table"):
        store.create(1, FILE, slots, 1)


def test_first_fit_uses_what_was_freed(store: ObjectStore, item: StoredObject) -> None:
    store.create(1, FILE, 2, 8)
    address = item.address
    store.delete(item)
    assert store.create(1, FILE, 3, 16).address == address


def test_memory_of_a_deletion_is_used_only_after_its_commit(store: ObjectStore, item: StoredObject) -> None:
    with store.transaction():
        store.delete(item)
        new = store.create(1, FILE, 0x0101, 20)
        assert new.address != item.address
    assert store.find(1, FILE, 0x0101) is new


def test_an_empty_object_is_possible(nvm: Nvm, store: ObjectStore) -> None:
    item = store.create(1, FILE, 1, 0)
    assert store.read(item) == b""
    assert ObjectStore(nvm).find(1, FILE, 1)
    store.delete(item)


def test_write_through_is_there_at_once_and_stays(nvm: Nvm, store: ObjectStore, item: StoredObject) -> None:
    def change() -> None:
        with store.transaction():
            store.write(item, 1, b"x")
            store.write_through(item, 0, b"\x02")
            assert store.read(item, 0, 3) == b"\x02x2"
            assert ObjectStore(nvm).read(item, 0, 3) == b"\x0212"
            raise LookupError

    with pytest.raises(LookupError):
        change()
    assert store.read(item, 0, 3) == b"\x0212"


def test_a_commit_does_not_bring_back_what_was_written_through(store: ObjectStore, item: StoredObject) -> None:
    with store.transaction():
        store.write(item, 1, b"x")
        store.write_through(item, 0, b"\x02")
    assert store.read(item, 0, 3) == b"\x02x2"


def test_write_through_stays_inside_one_word(store: ObjectStore, item: StoredObject) -> None:
    store.write_through(item, 4, b"four")
    with pytest.raises(ValueError, match="one word"):
        store.write_through(item, 3, b"12")
    with pytest.raises(ValueError, match="outside"):
        store.write_through(item, 0, b"")


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (20, 1), (0, 21), (4, -1)])
def test_outside_the_object_is_refused(store: ObjectStore, item: StoredObject, offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        store.read(item, offset, length)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (20, 1), (0, 21)])
def test_writing_outside_the_object_is_refused(
    store: ObjectStore, item: StoredObject, offset: int, length: int
) -> None:
    with pytest.raises(ValueError, match="outside"), store.transaction():
        store.write(item, offset, bytes(length))
    with pytest.raises(ValueError, match="outside"):
        store.write_through(item, offset, bytes(length))


def test_a_deleted_object_is_refused(store: ObjectStore, item: StoredObject) -> None:
    store.delete(item)
    with pytest.raises(ValueError, match="outside"):
        store.read(item)
    with pytest.raises(ValueError, match="deleted"):
        store.delete(item)


def test_a_write_needs_a_transaction(store: ObjectStore, item: StoredObject) -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        store.write(item, 0, b"1")


def test_a_name_is_given_once(store: ObjectStore, item: StoredObject) -> None:
    with pytest.raises(FileExists):
        store.create(1, FILE, item.identifier, 1)


@pytest.mark.parametrize(
    ("owner", "identifier", "size", "content"),
    [(-1, 1, 1, b""), (0x1_0000, 1, 1, b""), (1, -1, 1, b""), (1, 1 << 32, 1, b""), (1, 1, -1, b""), (1, 1, 1, b"12")],
)
def test_impossible_objects_are_refused(
    store: ObjectStore, owner: int, identifier: int, size: int, content: bytes
) -> None:
    with pytest.raises(ValueError, match="not creatable"):
        store.create(owner, FILE, identifier, size, content)


def test_content_is_not_in_the_repr(item: StoredObject) -> None:
    assert repr(item) == "StoredObject(FILE 0101 of 1, 20 bytes)"


@pytest.mark.parametrize("offset", [0, 5, 12])
def test_a_damaged_superblock_is_refused_and_not_formatted(offset: int) -> None:
    nvm = NvmImage.create(chip=CHIP).nvm()
    item = ObjectStore(nvm).create(1, FILE, 0x0101, 20, b"0123456789")
    nvm.write(4, b"\x12\x34\x56\x78")
    nvm.write(offset, b"!")
    with pytest.raises(MemoryFailure):
        ObjectStore(nvm)
    assert nvm.read(item.address, 4) == b"0123"


@pytest.mark.parametrize("row", [b"\x63", b"\x02\x00\x00\x01\x00\x00\x00\x09\xff\xff\xff\x00\x00\x00\x00\x08"])
def test_a_damaged_table_is_refused(nvm: Nvm, store: ObjectStore, row: bytes) -> None:
    store._memory.commit([(store._memory.table + 16, row.ljust(20, b"\x00"))], [], secret=False)
    with pytest.raises(MemoryFailure):
        ObjectStore(nvm)


def test_overlapping_extents_are_refused() -> None:
    heap = FirstFitHeap(0, 64, 4)
    with pytest.raises(ValueError, match="overlap"):
        heap.occupy([(0, 9), (8, 4)])


def test_released_gaps_join() -> None:
    heap = FirstFitHeap(0, 64, 4)
    addresses = [heap.allocate(14) for _ in range(4)]
    assert addresses == [0, 16, 32, 48]
    assert heap.allocate(1) is None
    for address in (0, 32, 48, 16):
        heap.release(address, 14)
    assert list(heap.gaps()) == [(0, 64)]


def memory_of_words() -> tuple[Nvm, ObjectStore]:
    nvm = NvmImage.create(chip=Chip("words", 8_192, 64, 4, 0xFF, 1, 100)).nvm()
    return nvm, ObjectStore(nvm)


def test_the_byte_of_a_counter_in_the_content_says_that_no_tries_are_left() -> None:
    nvm, store = memory_of_words()
    pin = store.create(1, ObjectKind.PIN, 0x81, 10, b"\x03\x03pinblock")
    with store.transaction():
        store.write(pin, 0, b"\x05\x05")
    assert nvm.read(pin.address, 2) == b"\x00\x05"
    assert store.read(pin, 0, 2) == b"\x05\x05"
    assert store.read(pin, 1, 1) == b"\x05"
    store.write_through(pin, 0, b"\x04")
    assert ObjectStore(nvm).read(pin) == store.read(pin) == b"\x04\x05pinblock"


def test_a_counter_is_read_as_the_open_transaction_sets_it_and_as_it_was_after_its_end() -> None:
    _, store = memory_of_words()
    pin = store.create(1, ObjectKind.PIN, 0x81, 10, b"\x03\x03pinblock")
    with pytest.raises(LookupError), store.transaction():  # noqa: PT012 - the transaction is what is tried
        store.write(pin, 0, b"\x05")
        assert store.read(pin, 0, 1) == b"\x05"
        store.write_through(pin, 0, b"\x02")
        assert store.read(pin, 0, 1) == b"\x02"
        raise LookupError
    assert store.read(pin, 0, 1) == b"\x02"


def test_a_counter_in_cells_is_written_through_alone() -> None:
    _, store = memory_of_words()
    pin = store.create(1, ObjectKind.PIN, 0x81, 10, b"\x03\x03pinblock")
    with pytest.raises(ValueError, match="alone"):
        store.write_through(pin, 0, b"\x02\x03")


@pytest.mark.parametrize("cells", [bytes(8), b"\x03\x00\xfc\xff\x03\x05\xfc\xfa", b"\x03\x01\xfc\xfe" * 2])
def test_cells_that_do_not_belong_together_are_a_failure_of_that_object_alone(cells: bytes) -> None:
    """Neither valid, not one after the other, the odd one in the place of the even one and no other."""
    nvm, store = memory_of_words()
    item = store.create(1, FILE, 0x0101, 20, b"0123456789")
    pin = store.create(1, ObjectKind.PIN, 0x81, 10, b"\x03\x03pinblock")
    start, _ = pin.extent
    nvm.write(start, cells[:4] + (bytes(4) if cells[:4] == cells[4:] else cells[4:]))
    booted = ObjectStore(nvm)
    file = booted.find(1, FILE, 0x0101)
    assert file
    assert booted.read(file) == store.read(item)
    damaged = booted.find(1, ObjectKind.PIN, 0x81)
    assert damaged
    with pytest.raises(MemoryFailure, match="counter"):
        booted.read(damaged)
