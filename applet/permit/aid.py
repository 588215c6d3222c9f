"""Names of the residence permit on a card.

Source: card specification, "Names"; our own identifiers start with F0 (ISO/IEC 7816-4:2020, clause 12.2.2, category F:
proprietary, not registered).
"""

from __future__ import annotations

from typing import Final

from card_os.iso7816.aid import Aid

PACKAGE: Final = Aid(bytes.fromhex("F05A4A4A5A01"))
MODULE: Final = Aid(bytes.fromhex("F05A4A4A5A0101"))
INSTANCE: Final = Aid(bytes.fromhex("F05A4A4A5A0101"))
"""The instance that production installs; the applet itself answers with the AID it was installed under."""
