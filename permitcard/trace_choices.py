"""Choices of the commands that record, replay and offer; nothing here takes time to load."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """How deep a recorder listens; each level has those above it."""

    APDU = "apdu"
    TPDU = "tpdu"
    BYTES = "bytes"


class Keep(StrEnum):
    """What a recorder keeps of data that go in plain."""

    SAFE = "safe"
    """Neither PINs and keys nor what the card stores."""
    CONTENT = "content"
    """What the card stores, but no PINs and keys."""
    EVERYTHING = "everything"


class OfferAs(StrEnum):
    """Ways to offer a connection to other programs."""

    VPCD = "vpcd"
    TCP = "tcp"


class Source(StrEnum):
    """What an imported file is."""

    AUTO = "auto"
    LISTING = "listing"
    PCSC_SPY = "pcsc-spy"
