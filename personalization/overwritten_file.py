"""Files whose content is destroyed, and not only their names."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

_PIECE: Final = 1 << 20
_OF_WINDOWS: Final = getattr(os, "O_BINARY", 0)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)


def overwrite_and_remove(path: Path, *, seen: os.stat_result | None = None) -> None:
    """Write random bytes over a file's content, flush them to the medium, and remove the file.

    A flash medium or a file system that copies on write may keep the old blocks; whoever needs certainty keeps keys in
    an HSM. A link is not followed, so that nobody who may write into the folder has another file overwritten.

    Args:
        path: of the file.
        seen: the file as it was looked at; it has to be the same one still.

    Raises:
        OSError: it cannot be written, is a link, or another file has its name now; nothing was overwritten.
    """
    if not os.access(path.parent, os.W_OK):  # or its content would be gone and the name stay
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    with os.fdopen(os.open(path, os.O_RDWR | _OF_WINDOWS | _NO_LINK), "r+b", buffering=0) as stream:
        found = os.fstat(stream.fileno())
        if seen is not None and not os.path.samestat(found, seen):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        for start in range(0, found.st_size, _PIECE):
            stream.write(os.urandom(min(_PIECE, found.st_size - start)))
        os.fsync(stream.fileno())
    path.unlink()
