"""Pending writes against a plain array of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from card_os.storage.pending import PendingWrites

SIZE = 64
WRITES = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, SIZE - 16), st.binary(min_size=1, max_size=16)), max_size=8
)
AMENDED = st.tuples(st.integers(0, SIZE - 4), st.binary(min_size=1, max_size=4))


def put(memory: bytes, address: int, data: bytes) -> bytes:
    return memory[:address] + data + memory[address + len(data) :]


def pending(writes: list[tuple[int, int, bytes]]) -> PendingWrites:
    found = PendingWrites()
    for slot, address, data in writes:
        found.add(slot, address, data)
    return found


@given(WRITES, st.binary(min_size=SIZE, max_size=SIZE), st.integers(0, SIZE), st.integers(0, SIZE))
def test_later_writes_cover_earlier_ones(
    writes: list[tuple[int, int, bytes]], memory: bytes, start: int, end: int
) -> None:
    expected = memory
    for _, address, data in writes:
        expected = put(expected, address, data)
    found = pending(writes)
    assert found.over(start, memory[start:end]) == expected[start:end]
    assert found.steps() == [(address, data) for _, address, data in writes]
    assert found.slots == {slot for slot, _, _ in writes}


@given(WRITES, AMENDED, st.binary(min_size=SIZE, max_size=SIZE))
def test_what_was_written_through_is_not_taken_back_by_a_commit(
    writes: list[tuple[int, int, bytes]], amended: tuple[int, bytes], memory: bytes
) -> None:
    found = pending(writes)
    before = found.over(0, memory)
    found.amend(*amended)
    assert found.over(0, put(memory, *amended)) == put(before, *amended)
    assert [(address, len(data)) for address, data in found.steps()] == [
        (address, len(data)) for _, address, data in writes
    ]


@given(WRITES, st.integers(0, 8))
def test_a_scope_that_is_undone_leaves_what_was_before_it(writes: list[tuple[int, int, bytes]], count: int) -> None:
    found, kept = pending(writes), pending(writes[:count])
    slots = found.slots
    found.undo(count)
    assert (found.steps(), found.slots) == (kept.steps(), kept.slots)
    assert found.slots is slots
    found.clear()
    assert (len(found), slots) == (0, set())
