"""The UID of a contactless card, where a connection knows it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from reader_bridge.stack import Wrapper


@runtime_checkable
class Identified(Protocol):
    """Something that knows the UID of the card it reaches."""

    @property
    def uid(self) -> bytes:
        """4, 7 or 10 bytes, a PUPI for type B; empty when it is not known."""
        ...


def uid_of(connection: object) -> bytes:
    """The UID that a connection, or what it wraps, knows; empty when nobody does."""
    while isinstance(connection, Wrapper):
        connection = connection.inner
    return connection.uid if isinstance(connection, Identified) else b""
