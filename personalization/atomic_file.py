"""Files that are there as a whole or not at all, with the rights of their folder (`folder_rights`)."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from personalization.folder_rights import grant, rights_in

_BUFFER: Final = 1 << 18
_OF_THE_MEDIUM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of a write, which the system tells of a descriptor and not of a file."""


@contextmanager
def open_atomically(
    path: Path, *, replace: bool = True, flush: bool = True, settings: bool = False
) -> Generator[BinaryIO]:
    """A binary stream, readable and writable, whose content appears at ``path`` when the block ends well.

    The content is flushed to the medium before it gets its name. An exception in the block leaves what was there.

    Args:
        path: final name.
        replace: take the place of a file that is there.
        flush: False in a folder that gets its own name later, by whoever flushes all of it before (`flush_content`).
        settings: a file that says what is run or who may do what; see `folder_rights.read_settings`.

    Raises:
        FileExistsError: ``replace`` is False and the name is taken.
        OSError: the directory cannot be written.
    """
    try:
        rights = rights_in(path.parent)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        error.filename = str(path)  # who is told of it has never heard of the name for the time being
        raise
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w+b", buffering=_BUFFER) as stream:
            grant(descriptor, rights, settings=settings)
            yield stream
            stream.flush()
            if flush:
                os.fsync(stream.fileno())
        if replace:
            part.replace(path)
        else:
            path.hardlink_to(part)  # fails when the name is taken, in one step
        if flush:
            flush_directory(path.parent)
    except OSError as error:
        if error.filename is None and error.errno in _OF_THE_MEDIUM:
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def write_atomically(
    path: Path, content: bytes, *, replace: bool = True, flush: bool = True, settings: bool = False
) -> None:
    """Write a whole file; see `open_atomically`."""
    with open_atomically(path, replace=replace, flush=flush, settings=settings) as stream:
        stream.write(content)


def flush_content(directory: Path) -> None:
    """Make the files of a directory durable, and their names."""
    for path in directory.iterdir():
        flush_file(path)
    flush_directory(directory)


def flush_file(path: Path) -> None:
    """Make the content of a file durable."""
    with path.open("r+b", buffering=0) as stream:
        os.fsync(stream.fileno())


def flush_directory(directory: Path) -> None:
    """Make the new name itself durable, where the system can open a directory."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
