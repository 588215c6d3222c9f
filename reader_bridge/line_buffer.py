"""Bytes from a line, until they are whole frames."""

from __future__ import annotations


class LineBuffer:
    """What has come and was not understood yet; whoever knows the frames takes them out of ``_buffer``."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes from the line."""
        self._buffer += data

    def clear(self) -> None:
        """Forget what has come."""
        self._buffer.clear()

    def __bool__(self) -> bool:
        """True while bytes of something unfinished wait."""
        return bool(self._buffer)
