"""Waiting for a fast host: when a slot stays awake, and when it must not."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from reader_bridge.vigil import Vigil

_TICK = 1e-6
_PROCESSORS = 2


class Host:
    """A link and a clock: messages come when the script says so, measured from the moment that we begin to wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due = 0.0
        self.looks = 0
        self.slept = 0

    def clock(self) -> float:
        self.now += _TICK
        return self.now

    def looked(self) -> int:
        """How often we looked while awake, since the last time that this was asked."""
        looks, self.looks = self.looks, 0
        return looks

    def ready(self, timeout: int | None) -> bool:
        if timeout is None:
            self.slept += 1
            self.now = max(self.now, self.due)
        else:
            self.looks += 1
        return self.now >= self.due


@pytest.fixture
def host() -> Host:
    return Host()


def _messages(host: Host, vigil: Vigil, delays: Iterator[float] | list[float]) -> list[bool]:
    """Wait for messages that come after the delays; for each, whether we slept."""
    slept: list[bool] = []
    for delay in delays:
        before = host.slept
        host.due = host.now + delay
        vigil.wait()
        assert host.now >= host.due
        slept.append(host.slept > before)
    return slept


def test_a_quick_message_is_followed_by_a_moment_awake(host: Host) -> None:
    vigil = Vigil(host.ready, threading.Lock(), _PROCESSORS, host.clock)
    assert _messages(host, vigil, [1.0, 1e-4, 1e-4, 1e-4, 1e-4]) == [True, True, False, False, False]


def test_a_slow_host_is_waited_for_asleep(host: Host) -> None:
    vigil = Vigil(host.ready, threading.Lock(), _PROCESSORS, host.clock)
    assert all(_messages(host, vigil, [0.001] * 20))
    assert not host.looked()


def test_a_pause_costs_one_moment_and_the_next_burst_begins_as_the_first(host: Host) -> None:
    vigil = Vigil(host.ready, threading.Lock(), _PROCESSORS, host.clock)
    burst = [1.0, 1e-4, 1e-4, 1e-4]
    for _ in range(5):
        assert _messages(host, vigil, burst) == [True, True, False, False]
    before = host.now
    _messages(host, vigil, [1.0])
    assert host.now - before < 1.0 + 2 * 0.0005


def test_a_host_that_was_kept_from_its_work_is_left_alone_twice_as_long_each_time(host: Host) -> None:
    vigil = Vigil(host.ready, threading.Lock(), _PROCESSORS, host.clock)
    for needed in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024):
        assert all(_messages(host, vigil, [1e-4] * needed))
        assert not host.looked()
        assert _messages(host, vigil, [0.0006]) == [True]  # awake for 0.5 ms, and asleep for the rest
        assert host.looked()


def test_each_moment_that_was_not_in_vain_makes_up_for_one_message(host: Host) -> None:
    vigil = Vigil(host.ready, threading.Lock(), _PROCESSORS, host.clock)
    for needed in (1, 2, 4):
        _messages(host, vigil, [1e-4] * needed)
        _messages(host, vigil, [0.0006])
    assert _messages(host, vigil, [1e-4] * 11) == [True] * 8 + [False] * 3
    _messages(host, vigil, [0.0006])  # 8 less 3 is 5, which is doubled
    assert _messages(host, vigil, [1e-4] * 11) == [True] * 10 + [False]


def test_with_one_processor_nobody_stays_awake(host: Host) -> None:
    vigil = Vigil(host.ready, threading.Lock(), 1, host.clock)
    assert all(_messages(host, vigil, [1e-4] * 50))
    assert not host.looked()


def test_one_at_a_time_stays_awake(host: Host) -> None:
    turn = threading.Lock()
    vigil = Vigil(host.ready, turn, _PROCESSORS, host.clock)
    with turn:
        assert all(_messages(host, vigil, [1e-4] * 10))
    assert _messages(host, vigil, [1e-4]) == [False]
    assert turn.acquire(blocking=False)


def test_the_turn_is_given_back_when_looking_fails(host: Host) -> None:
    turn = threading.Lock()

    def ready(timeout: int | None) -> bool:
        if timeout is not None:
            raise OSError("closed")
        return host.ready(timeout)

    vigil = Vigil(ready, turn, _PROCESSORS, host.clock)
    _messages(host, vigil, [1e-4])
    with pytest.raises(OSError, match="closed"):
        vigil.wait()
    assert turn.acquire(blocking=False)


def test_over_a_link_what_is_there_and_the_end_are_seen() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        vigil = Vigil.over(ours, threading.Lock())
        for message in (b"a", b"b", b"c"):
            theirs.send(message)
            vigil.wait()
            assert ours.recv(8) == message
        theirs.close()
        vigil.wait()
        assert ours.recv(8) == b""


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_a_system_that_cannot_be_asked_to_give_way_reads_asleep(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delattr(select, "poll")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sched_yield")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        vigil = Vigil.over(ours, threading.Lock())
        for _ in range(5):
            theirs.sendall(b"\x00")
            vigil.wait()
            assert ours.recv(1) == b"\x00"
