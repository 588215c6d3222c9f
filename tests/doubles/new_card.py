"""A card that was put into a reader of a PC/SC service just now."""

from __future__ import annotations

import time
from typing import Final

from reader_bridge.connection import CardConnection, ReaderError

_PATIENCE_SECONDS: Final = 60.0


def power_when_seen(connection: CardConnection) -> None:
    """Power it on as soon as the service has seen it; a busy machine takes its time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connection.power_on()
        except ReaderError as error:
            if error.code != "no-card" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
