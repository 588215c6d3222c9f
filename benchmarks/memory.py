"""The memory and the object store, beside what the same bytes cost without any of it.

A floor is the bare copy of the bytes, once for each time that the journal has to program them; for a cut it is a
boot.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time_ns

from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment
from card_os.iso7816.errors import CardTorn
from card_os.storage.store import ObjectKind, ObjectStore, StoredObject

_ROUNDS = 2_000
_REPEATS = 9
_OBJECTS = 60
_SIZE = 300
_PROGRAMMED_TIMES = 3  # journal, place, wiping of the journal

Row = tuple[str, float, float]


def _time(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Median of several runs, µs of processor time for one call."""

    def once() -> float:
        start = thread_time_ns()
        for _ in range(rounds):
            work()
        return (thread_time_ns() - start) / rounds / 1000

    return sorted(once() for _ in range(_REPEATS))[_REPEATS // 2]


def _sweep(image: NvmImage, change: Callable[[ObjectStore, StoredObject], None]) -> tuple[int, float]:
    """Cut a change at every unit and every moment, boot and check; returns the number of cuts and µs for one."""
    old = _content(ObjectStore(image.fork().nvm()))
    cuts, unit, start = 0, 1, thread_time_ns()
    while True:
        for moment in CutMoment:
            copy = image.fork()
            nvm = copy.nvm()
            store = ObjectStore(nvm)
            item = _last(store)
            nvm.power.arm(unit, moment)
            try:
                change(store, item)
            except CardTorn:
                cuts += 1
            else:
                return cuts, (thread_time_ns() - start) / cuts / 1000
            if _content(ObjectStore(copy.nvm())) not in (old, bytes(_SIZE)):
                raise RuntimeError("neither old nor new")
            copy.close()
        unit += 1


def _last(store: ObjectStore) -> StoredObject:
    item = store.find(1, ObjectKind.FILE, _OBJECTS - 1)
    if item is None:
        raise RuntimeError("the file is gone")
    return item


def _content(store: ObjectStore) -> bytes:
    return store.read(_last(store))


def run() -> list[Row]:
    """Rows of (name, ours in µs, floor in µs)."""
    image = NvmImage.create()
    nvm = image.nvm()
    store = ObjectStore(nvm)
    for number in range(_OBJECTS):
        store.create(1, ObjectKind.FILE, number, _SIZE, b"\x55" * _SIZE)
    item = _last(store)
    data = bytes(128)
    raw = bytearray(image.snapshot())

    def update() -> None:
        with store.transaction():
            store.write(item, 0, data)

    def copy_only() -> None:
        for _ in range(_PROGRAMMED_TIMES):
            raw[1000:1128] = data

    def clear(store: ObjectStore, item: StoredObject) -> None:
        with store.transaction():
            store.write(item, 0, bytes(_SIZE))

    cuts, cut_us = _sweep(image, clear)
    boot_us = _time(lambda: ObjectStore(nvm), 200)
    return [
        ("store: read 200 B", _time(lambda: store.read(item, 50, 200)), _time(lambda: bytes(raw[1000:1200]))),
        ("store: update 128 B, committed", _time(update), _time(copy_only)),
        ("store: counter written through", _time(lambda: store.write_through(item, 0, b"\x01")), _time(copy_only)),
        ("store: boot with 60 objects", boot_us, _time(lambda: bytes(raw[:20_000]), 200)),
        ("image: fork", _time(lambda: image.fork().close(), 200), _time(lambda: bytearray(raw), 200)),
        (f"tear sweep: one of {cuts} cuts, two boots, check", cut_us, 2 * boot_us),
    ]


if __name__ == "__main__":
    for name, ours_us, floor_us in run():
        print(f"{name:<52} {ours_us:8.2f} µs {floor_us:8.2f} µs {ours_us / floor_us:6.2f} ×")
