"""Names of the file system on a card; our own identifiers start with F0 (ISO/IEC 7816-4:2020, clause 12.2.2)."""

from __future__ import annotations

from typing import Final

from card_os.iso7816.aid import Aid

PACKAGE: Final = Aid(bytes.fromhex("F05A4A4A5A03"))
MODULE: Final = Aid(bytes.fromhex("F05A4A4A5A0301"))
INSTANCE: Final = Aid(bytes.fromhex("F05A4A4A5A0301"))
"""The instance; installed as the application that is selected by default, its own DF is the card's MF."""
