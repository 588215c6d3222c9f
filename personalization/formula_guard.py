"""Text in tables that people open with a spreadsheet program: whatever came from outside stays text there.

A field that begins like a formula is computed when the table is opened, and may send what stands beside it elsewhere.

Source: OWASP, CSV Injection (the characters, the full-width ones of East Asian input too, and the apostrophe).
"""

from __future__ import annotations

from typing import Final

_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def without_formula(value: object) -> object:
    """The value; a text that a spreadsheet program would compute gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_STARTS) else value
