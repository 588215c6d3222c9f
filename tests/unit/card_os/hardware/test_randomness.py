from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.hardware.clock import VirtualClock
from card_os.hardware.randomness import SeededRandomness, SystemRandomness


@given(st.lists(st.integers(0, 100), max_size=8))
def test_a_seeded_source_is_one_stream_however_it_is_cut(lengths: list[int]) -> None:
    source = SeededRandomness(b"seed")
    whole = SeededRandomness(b"seed").bytes(sum(lengths))
    assert b"".join(source.bytes(length) for length in lengths) == whole
    assert source.position == sum(lengths)
    assert SeededRandomness(b"seed", sum(lengths)).bytes(40) == source.fork().bytes(40) == source.bytes(40)


def test_the_stream_is_what_its_description_says() -> None:
    key = hashlib.sha256(b"7").digest()
    assert SeededRandomness(7).bytes(32) == hashlib.sha256(key + bytes(8)).digest()


def test_seeds_differ_and_are_not_shown() -> None:
    assert SeededRandomness(1).bytes(16) != SeededRandomness(2).bytes(16)
    assert "7777" not in repr(SeededRandomness(7777))


@pytest.mark.parametrize("length", [0, 1, 300])
def test_the_system_source_gives_what_is_asked(length: int) -> None:
    source = SystemRandomness()
    assert len(source.bytes(length)) == length
    assert source.position == length


def test_virtual_time_moves_only_when_it_is_spent() -> None:
    clock = VirtualClock(5)
    clock.spend(7)
    assert clock.now_ns == 12
