"""What a printer gets of one card: texts, portrait, and the barcode both as content and drawn."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from typing import Any, Final

import barcode
from barcode.writer import SVGWriter

from personalization.preparation.faces import BARCODE_SYMBOLOGY, CardFace

_MODULE_MM: Final = 0.2
_HEIGHT_MM: Final = 8.0
_QUIET_MM: Final = 2.0
_CODE: Final = "code128"
_OPTIONS: Final[dict[str, Any]] = {
    "module_width": _MODULE_MM,
    "module_height": _HEIGHT_MM,
    "quiet_zone": _QUIET_MM,
    "write_text": False,
}


@lru_cache(1)
def barcode_svg(content: str) -> str:
    """The barcode of a card as SVG, Code 128, ten modules of quiet zone on both sides.

    Source: ISO/IEC 15417 (Code 128): a quiet zone of 10 modules.
    """
    stream = io.BytesIO()
    barcode.get(_CODE, content, writer=SVGWriter()).write(stream, _OPTIONS)
    return stream.getvalue().decode("utf-8")


def print_document(face: CardFace) -> dict[str, object]:
    """The face of a card as JSON-ready values; the portrait is JPEG in Base64."""
    return {
        "row": face.row_number,
        "front": dict(face.front),
        "back": dict(face.back),
        "barcode": {
            "symbology": BARCODE_SYMBOLOGY,
            "content": face.barcode,
            "svg": barcode_svg(face.barcode),
        },
        "payment_mark": face.payment_mark,
        "portrait_jpeg": base64.b64encode(face.portrait).decode("ascii"),
    }
