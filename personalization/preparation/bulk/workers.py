"""Who works on chunks: this process, processes of this machine, or the machines of a cluster.

What travels to a worker is an `Order`: which batch, which chunk, and where the key store is. Rows, keys and PINs do not
travel: a worker opens the centre's key store itself and reads and writes the batch's files.
"""

from __future__ import annotations

import errno
import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyStore, KeyStoreLocation
from personalization.preparation.bulk.checking import ChunkChecker
from personalization.preparation.bulk.layout import BatchFolder
from personalization.preparation.bulk.making import ChunkMaker
from personalization.preparation.bulk.marking import PieceMarker
from personalization.preparation.bulk.plan import Plan
from personalization.preparation.prepare import Preparer
from personalization.profile import CardProfile

ProfileSource = Callable[[], CardProfile]
"""Gives the profile; a function of a module, so that it travels as a name."""

_ENVIRONMENT: Final = 3
_FULL: Final = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})


class Stage(StrEnum):
    """What is done with a chunk, or with a piece of what chunks have in common."""

    MARK = "mark"
    CHECK = "check"
    MAKE = "prepare"


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a batch is worked on; picklable, and no secret.

    Attributes:
        root: the batch's folder, the same on every machine.
        batch: identifier.
        keys: where the key store is and how it is opened.
        profile: the card's profile.
    """

    root: Path
    batch: str
    keys: KeyStoreLocation
    profile: ProfileSource

    @property
    def folder(self) -> BatchFolder:
        """The batch's paths."""
        return BatchFolder(self.root, self.batch)


class Order(NamedTuple):
    """One piece of work.

    Attributes:
        place: where.
        stage: what.
        chunk: with which chunk, or piece.
    """

    place: Workplace
    stage: Stage
    chunk: int


class Workers(Protocol):
    """Those who carry orders out."""

    def perform(self, orders: Iterable[Order]) -> Iterator[int]:
        """Carry orders out in any order; the rows of each chunk, as it is done.

        Raises:
            PersonalizationError: what a chunk met first; "worker-lost" (exit 3). Chunks that are done stay done.
        """
        ...

    def close(self) -> None:
        """Let them go; safe to call twice."""
        ...


class Bench:
    """What is needed for the chunks of one batch, made when it is needed first.

    Args:
        place: the batch.
        keys: its store.
    """

    __slots__ = ("_checker", "_keys", "_maker", "_marker", "_place")

    def __init__(self, place: Workplace, keys: KeyStore) -> None:
        self._place = place
        self._keys = keys
        self._marker: PieceMarker | None = None
        self._checker: ChunkChecker | None = None
        self._maker: ChunkMaker | None = None

    def close(self) -> None:
        """Let go of files."""
        if self._checker is not None:
            self._checker.close()
            self._checker = None

    def work(self, stage: Stage, chunk: int) -> int:
        """Work on a chunk; returns its rows.

        Raises:
            PersonalizationError: as `PieceMarker.mark`, `ChunkChecker.check` and `ChunkMaker.make`; "disk-full",
                "directory-unwritable".
        """
        with disk_reported(self._place.root), _without_collections():
            match stage:
                case Stage.MARK:
                    return self._mark(chunk)
                case Stage.CHECK:
                    return self._check(chunk)
                case Stage.MAKE:
                    return self._make(chunk)

    def _mark(self, piece: int) -> int:
        if self._marker is None:
            folder = self._place.folder
            self._marker = PieceMarker(folder, Plan.read(folder.plan), self._keys)
        return self._marker.mark(piece)

    def _check(self, chunk: int) -> int:
        if self._checker is None:
            folder = self._place.folder
            self._checker = ChunkChecker(folder, Plan.read(folder.plan), self._keys)
        return self._checker.check(chunk)

    def _make(self, chunk: int) -> int:
        if self._maker is None:
            preparer = Preparer(self._place.profile(), self._keys)
            self._maker = ChunkMaker(self._place.folder, self._keys, preparer)
        return self._maker.make(chunk)


@contextmanager
def disk_reported(root: Path) -> Generator[None]:
    """Say in words when a file cannot be written.

    Raises:
        PersonalizationError: exit 3: "disk-full", "directory-unwritable".
    """
    try:
        yield
    except OSError as error:
        code = "disk-full" if error.errno in _FULL else "directory-unwritable"
        raise PersonalizationError(
            code, exit_code=_ENVIRONMENT, directory=str(root), reason=error.strerror or ""
        ) from None
    except sqlite3.OperationalError as error:
        code = "disk-full" if "full" in str(error) else "directory-unwritable"
        raise PersonalizationError(code, exit_code=_ENVIRONMENT, directory=str(root), reason=str(error)) from None


@contextmanager
def _without_collections() -> Generator[None]:
    """Leave what a chunk makes to reference counts: it has no cycles, and a collection would look at it in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class HereWorker:
    """This process, with a key store that is open already.

    Args:
        keys: the batch's store.
    """

    __slots__ = ("_bench", "_keys")

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._bench: Bench | None = None

    def perform(self, orders: Iterable[Order]) -> Iterator[int]:
        """See `Workers.perform`."""
        for order in orders:
            self._bench = self._bench or Bench(order.place, self._keys)
            yield self._bench.work(order.stage, order.chunk)

    def close(self) -> None:
        """See `Workers.close`."""
        if self._bench is not None:
            self._bench.close()
            self._bench = None


class LocalWorkers:
    """Spawned processes of this machine, each with a session of its own with the key store.

    Args:
        count: how many.
    """

    __slots__ = ("_pool",)

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin)
        for _ in range(count):
            self._pool.submit(_arrive)  # they come while the coordinator still deals out

    def perform(self, orders: Iterable[Order]) -> Iterator[int]:
        """See `Workers.perform`."""
        try:
            futures = [self._pool.submit(carry_out, order) for order in orders]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise PersonalizationError("worker-lost", exit_code=_ENVIRONMENT) from None

    def close(self) -> None:
        """See `Workers.close`."""
        self._pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker leaves interrupts to its coordinator, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _arrive() -> None:
    """What is left to do when a worker has imported what it needs."""


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(_ENVIRONMENT)


class _Held(NamedTuple):
    """The bench of this process: one batch at a time."""

    place: Workplace
    store: KeyStore
    bench: Bench


_lock: Final = threading.Lock()
_held: list[_Held] = []


def carry_out(order: Order) -> int:
    """Carry an order out in a worker's process, which keeps the key store open for the next one; returns the rows.

    A cluster may run several threads in one process: they work one after the other, for a session with a key store is
    nobody else's.
    """
    with _lock:
        if not _held or _held[0].place != order.place:
            let_go()
            store = order.place.keys.open()
            try:
                sealed = store.of_batch(order.place.batch)
            except BaseException:
                store.close()
                raise
            _held.append(_Held(order.place, store, Bench(order.place, sealed)))
            gc.collect()
            gc.freeze()  # what was imported stays: a collection need not look at it for every thousand rows
        try:
            return _held[0].bench.work(order.stage, order.chunk)
        except PersonalizationError as error:
            if error.exit_code == _ENVIRONMENT:
                let_go()  # a token that was gone is found again by a new session only
            raise


def let_go() -> None:
    """Close what this process holds."""
    while _held:
        held = _held.pop()
        held.bench.close()
        with suppress(PersonalizationError):
            held.store.close()
