"""Random sources that are injected into the card.

The source stands outside the image: it does not start again at a reset, and its position belongs to a snapshot.
"""

from __future__ import annotations

import builtins
import hashlib
import secrets
from typing import Final, Protocol

_BLOCK: Final = 32
_COUNTER_BYTES: Final = 8


class Randomness(Protocol):
    """Where the card's random bytes come from."""

    @property
    def position(self) -> int:
        """How many bytes were drawn so far."""
        ...

    def bytes(self, length: int) -> builtins.bytes:
        """The next ``length`` (0 or more) random bytes."""
        ...


class SystemRandomness:
    """The operating system's generator; the default source."""

    __slots__ = ("_position",)

    def __init__(self) -> None:
        self._position = 0

    @property
    def position(self) -> int:
        """How many bytes were drawn so far."""
        return self._position

    def bytes(self, length: int) -> builtins.bytes:
        """The next ``length`` random bytes."""
        self._position += length
        return secrets.token_bytes(length)


class SeededRandomness:
    """A reproducible source for tests and recordings; never for real cards.

    Block i of 32 bytes is SHA-256(SHA-256(seed) ‖ i), i in 8 bytes big-endian.

    Args:
        seed: any bytes, or a number.
        position: how many bytes of the stream are skipped, to go on from a snapshot.
    """

    __slots__ = ("_buffer", "_key", "_next", "_position")

    def __init__(self, seed: builtins.bytes | int, position: int = 0) -> None:
        raw = seed if isinstance(seed, bytes) else b"%d" % seed
        self._key = hashlib.sha256(raw).digest()
        self._position = position
        self._next, skipped = divmod(position, _BLOCK)
        self._buffer = self._block()[skipped:]

    def _block(self) -> builtins.bytes:
        block = hashlib.sha256(self._key + self._next.to_bytes(_COUNTER_BYTES, "big")).digest()
        self._next += 1
        return block

    @property
    def position(self) -> int:
        """How many bytes were drawn so far."""
        return self._position

    def bytes(self, length: int) -> builtins.bytes:
        """The next ``length`` bytes of the stream."""
        buffer = self._buffer
        while len(buffer) < length:
            buffer += self._block()
        self._buffer = buffer[length:]
        self._position += length
        return buffer[:length]

    def fork(self) -> SeededRandomness:
        """A second source at the same position of the same stream."""
        copy = SeededRandomness.__new__(SeededRandomness)
        copy._key, copy._next = self._key, self._next  # noqa: SLF001 - a copy of the same class
        copy._buffer, copy._position = self._buffer, self._position  # noqa: SLF001 - same
        return copy

    def __repr__(self) -> str:
        """Position only: the seed is a secret of the test."""
        return f"SeededRandomness(position={self._position})"
