"""The card file: header | cells | wear table, mapped and locked by its owner.

```
offset 0    8  magic "PERMITCD"
offset 8    2  image version, big-endian as all numbers of the header: 1 first release, 2 chips with a page erase, 3
               counters in cells, where words are changed where they stand
offset 10   2  bytes of a word
offset 12   4  bytes of a page
offset 16   4  bytes of cells
offset 20   1  kind of cells, see `CellKind`; 00 in version 1
offset 21   1  processor: 00 as the name of the chip says, else its number in processors.toml, from 1
offset 22   1  00
offset 23   1  value of an erased byte
offset 24   4  nanoseconds to program a word
offset 28   4  endurance in cycles
offset 32  24  name of the chip, ASCII, padded with 00
offset 56   4  nanoseconds to erase a page, 00 where pages have no erase
offset 60   4  CRC-32 of offsets 0 to 59
offset 64      cells
then           wear: 4 bytes little-endian a page
```

Every write of the card is in the file when it happens, so that a killed process leaves exactly what a torn card would.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import struct
import sys
import zlib
from io import FileIO
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from card_os.hardware.chip import DEFAULT_CHIP, CellKind, Chip, load_chips
from card_os.hardware.clock import VirtualClock
from card_os.hardware.nvm import Nvm
from card_os.hardware.power import PowerSupply
from card_os.hardware.work import processor_names, work_times

IMAGE_VERSION: Final = 3
_MAPPED_VERSION: Final = 2
LOCK_SUFFIX: Final = ".lock"
OWNER_ONLY: Final = 0o600
"""Permission bits of a card file unless its maker says otherwise."""

_BY_GROUP: Final = 0o060
_BINARY: Final = getattr(os, "O_BINARY", 0)
_MAGIC: Final = b"PERMITCD"
_HEADER: Final = struct.Struct(">8sHHIIIII24sI")
_CRC: Final = struct.Struct(">I")
_CELLS: Final = _HEADER.size + _CRC.size
_WEAR_BYTES: Final = 4
_KIND_SHIFT: Final = 24
_PROCESSOR_SHIFT: Final = 16


M_co = TypeVar("M_co", bound=Nvm, covariant=True)


class MemoryMaker(Protocol[M_co]):
    """Makes a memory on the cells of an image: `Nvm`, or a class or function that makes a variant of it."""

    def __call__(
        self, cells: memoryview, wear: memoryview[int], chip: Chip, clock: VirtualClock, power: PowerSupply, /
    ) -> M_co:
        """The memory."""
        ...


class ImageError(Exception):
    """A card file cannot be used.

    Args:
        code: "image-exists", "image-missing", "image-in-use", "image-damaged", "image-version", "image-unwritable",
            "chip-unknown" or "chip-wrong".
        parameters: facts for the message.
    """

    def __init__(self, code: str, **parameters: object) -> None:
        super().__init__(code, parameters)
        self.code = code
        self.parameters = parameters

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.code}: {facts}" if facts else self.code


def find_chip(name: str) -> Chip:
    """A chip that comes with the product by its name, or that of a file (`chip_file`).

    Raises:
        ImageError: "chip-unknown", no such chip and no such file; "chip-wrong", the file makes no sense.
    """
    chips = load_chips()
    if name in chips:
        return chips[name]
    from card_os.hardware.chip_file import ChipFileError, read_chip

    try:
        return read_chip(name)
    except ChipFileError as error:
        raise ImageError("chip-wrong", path=name, where=error.where, reason=error.reason) from error
    except OSError as error:
        raise ImageError("chip-unknown", chip=name, known=", ".join(sorted(chips))) from error


class NvmImage:
    """A memory image, in a locked file or in memory; made by `create`, `open`, `from_snapshot` or `fork`.

    Attributes:
        chip: the geometry that its header states.
        path: the file, None for an image in memory.
    """

    __slots__ = ("_cells", "_lock", "_memory", "_view", "_wear", "chip", "path")

    def __init__(self, memory: mmap.mmap | bytearray, chip: Chip, path: Path | None, lock: FileIO | None) -> None:
        self._memory = memory
        self._view = memoryview(memory)
        self._cells = self._view[_CELLS : _CELLS + chip.size]
        self._wear = self._view[_CELLS + chip.size :].cast("I")
        self._lock = lock
        self.chip = chip
        self.path = path

    @classmethod
    def create(
        cls, path: str | PathLike[str] | None = None, chip: Chip | str = DEFAULT_CHIP, mode: int = OWNER_ONLY
    ) -> NvmImage:
        """A blank image: all cells erased, no wear.

        Args:
            path: where the file is made; None makes the image in memory.
            chip: a geometry, the name of one that comes with the product, or the file of another one.
            mode: permission bits of the file, whatever the umask says.

        Raises:
            ImageError: the file exists or cannot be made, or no such chip.
        """
        if isinstance(chip, str):
            chip = find_chip(chip)
        blank = _header(chip) + bytes((chip.erased,)) * chip.size + bytes(_WEAR_BYTES * chip.pages)
        if path is None:
            return cls(bytearray(blank), chip, None, None)
        target = Path(path)
        lock = _acquire(target, mode)
        try:
            with os.fdopen(_open_new(target, os.O_WRONLY, mode), "wb") as file:
                file.write(blank)
            return cls(_map(target), chip, target, lock)
        except FileExistsError as error:
            lock.close()
            raise ImageError("image-exists", path=str(target)) from error
        except OSError as error:
            lock.close()
            raise ImageError("image-unwritable", path=str(target), reason=error.strerror) from error

    @classmethod
    def open(cls, path: str | PathLike[str]) -> NvmImage:
        """Map and lock a card file; a second opener is refused until the first closes or dies.

        Raises:
            ImageError: missing, in use, not readable and writable, damaged, or of a version not known here.
        """
        target = Path(path)
        if not target.is_file():
            raise ImageError("image-missing", path=str(target))
        _require_magic(target)
        lock = _acquire(target, None)
        memory: mmap.mmap | None = None
        try:
            memory = _map(target)
            return cls(memory, _parse_header(memory, str(target)), target, lock)
        except OSError as error:
            lock.close()
            raise ImageError("image-unwritable", path=str(target), reason=error.strerror) from error
        except ValueError as error:  # an empty file cannot be mapped
            lock.close()
            raise ImageError("image-damaged", path=str(target)) from error
        except ImageError:
            if memory is not None:
                memory.close()
            lock.close()
            raise

    @classmethod
    def from_snapshot(cls, raw: bytes) -> NvmImage:
        """An image in memory from the bytes of `snapshot` or of a card file.

        Raises:
            ImageError: damaged, or of a version not known here.
        """
        chip = _parse_header(raw, "snapshot")
        return cls(bytearray(raw), chip, None, None)

    def _clock(self) -> VirtualClock:
        return VirtualClock(times=work_times(self.chip.name, self.chip.processor))

    def nvm(self, clock: VirtualClock | None = None, power: PowerSupply | None = None) -> Nvm:
        """The memory of a chip that has this image; a clock and a supply of its own unless given."""
        return Nvm(self._cells, self._wear, self.chip, clock or self._clock(), power or PowerSupply())

    def nvm_as(
        self, make: MemoryMaker[M_co], clock: VirtualClock | None = None, power: PowerSupply | None = None
    ) -> M_co:
        """A memory of another make on this image, for tools that watch or disturb it."""
        return make(self._cells, self._wear, self.chip, clock or self._clock(), power or PowerSupply())

    def snapshot(self) -> bytes:
        """The whole image; written to a file it is a card file, a clone of this one."""
        return self._view.tobytes()

    def fork(self) -> NvmImage:
        """A copy in memory that goes its own way."""
        return NvmImage(bytearray(self._view), self.chip, None, None)

    def close(self) -> None:
        """Unmap and unlock; safe to call twice. Memories made from the image raise ``ValueError`` afterwards."""
        for view in (self._wear, self._cells, self._view):
            view.release()
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()
        self._memory = bytearray()  # a copy in memory goes now, whoever still holds the image
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _require_magic(path: Path) -> None:
    """Leave no lock beside a file that is none of ours; an empty one may be a card that is being made."""
    try:
        with path.open("rb") as file:
            found = file.read(len(_MAGIC))
    except OSError as error:
        raise ImageError("image-unwritable", path=str(path), reason=error.strerror) from error
    if found and found != _MAGIC:
        raise ImageError("image-damaged", path=str(path))


def _acquire(path: Path, mode: int | None) -> FileIO:
    """Lock ``path`` by a file beside it: the lock goes with its process and does not touch the image.

    Args:
        path: the image.
        mode: its permission bits, None for those of the file that is there; a group that may use a card may lock it.

    Returns:
        The file beside it, which holds the lock until it is closed.
    """
    from filelock import lock_descriptor  # costs 50 ms, which a program without card files need not pay

    if not path.parent.is_dir():
        raise ImageError("image-unwritable", path=str(path), reason="no such folder")
    lock: FileIO | None = None
    try:
        own = stat.S_IMODE(path.stat().st_mode) if mode is None else mode
        lock = FileIO(_open_lock(Path(f"{path}{LOCK_SUFFIX}"), OWNER_ONLY | own & _BY_GROUP), "ab")
        locked = lock_descriptor(lock.fileno(), blocking=False)
    except OSError as error:
        if lock is not None:
            lock.close()
        raise ImageError("image-unwritable", path=str(path), reason=error.strerror) from error
    if not locked:
        lock.close()
        raise ImageError("image-in-use", path=str(path))
    return lock


def _open_lock(path: Path, mode: int) -> int:
    with contextlib.suppress(FileExistsError):
        return _open_new(path, os.O_WRONLY | os.O_APPEND, mode)
    return os.open(path, os.O_WRONLY | os.O_APPEND | _BINARY)


def _open_new(path: Path, flags: int, mode: int) -> int:
    """Make a file; a card file holds keys, so that nobody has more rights than its maker wants for a moment."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | _BINARY, mode & OWNER_ONLY)
    if sys.platform != "win32" and mode != OWNER_ONLY:
        try:
            os.fchmod(descriptor, mode)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _map(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _header(chip: Chip) -> bytes:
    processor = processor_names().index(chip.processor) + 1 if chip.processor else 0
    head = _HEADER.pack(
        _MAGIC,
        IMAGE_VERSION if chip.kind is CellKind.WORDS else _MAPPED_VERSION,
        chip.word_size,
        chip.page_size,
        chip.size,
        chip.kind << _KIND_SHIFT | processor << _PROCESSOR_SHIFT | chip.erased,
        chip.word_program_ns,
        chip.endurance,
        chip.name.encode("ascii"),
        chip.page_erase_ns,
    )
    return head + _CRC.pack(zlib.crc32(head))


def _parse_header(raw: bytes | mmap.mmap, name: str) -> Chip:
    head = raw[: _HEADER.size]
    if len(raw) < _CELLS or head[: len(_MAGIC)] != _MAGIC:
        raise ImageError("image-damaged", path=name)
    _, version, word_size, page_size, size, erased, word_ns, endurance, chip_name, erase_ns = _HEADER.unpack(head)
    if version > IMAGE_VERSION:
        raise ImageError("image-version", path=name, version=version, known=IMAGE_VERSION)
    if _CRC.unpack(raw[_HEADER.size : _CELLS])[0] != zlib.crc32(head):
        raise ImageError("image-damaged", path=name)
    text = chip_name.rstrip(b"\x00").decode("ascii", "replace")
    try:
        kind = CellKind(erased >> _KIND_SHIFT)
        number = erased >> _PROCESSOR_SHIFT & 0xFF
        processor = processor_names()[number - 1] if number else ""
        value = erased & (1 << _PROCESSOR_SHIFT) - 1
        chip = Chip(text, size, page_size, word_size, value, word_ns, endurance, kind, erase_ns, processor)
    except (ValueError, IndexError) as error:
        raise ImageError("image-damaged", path=name) from error
    if len(raw) != _CELLS + size + _WEAR_BYTES * chip.pages:
        raise ImageError("image-damaged", path=name)
    return chip
