"""What is connected: the readers that PC/SC knows, real or virtual, and the cards in them."""

from __future__ import annotations

from reader_bridge.pcsc import PcscReader, list_pcsc_readers


def list_readers() -> list[PcscReader]:
    """All readers, in the order of the PC/SC service.

    Raises:
        ReaderError: no PC/SC service is running, or no library for it.
    """
    return list_pcsc_readers()
