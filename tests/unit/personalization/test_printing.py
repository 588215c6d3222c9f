"""What a printer gets: the face, and a barcode that another library draws the same way."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from reportlab.graphics.barcode.code128 import Code128

from personalization.preparation.printing import barcode_svg, print_document
from tests.doubles.issuing_centre import IssuingCentre, applicant

MODULE_MM = 0.2


def widths(svg: str) -> list[int]:
    """Bars and spaces by turns, in modules."""
    found = re.findall(r'<rect x="([\d.]+)mm" y="[\d.]+mm" width="([\d.]+)mm"', svg)
    bars = [(float(x), float(width)) for x, width in found]
    assert bars[0][0] >= 10 * MODULE_MM, "ten modules of quiet zone (ISO/IEC 15417)"
    runs: list[int] = []
    position = bars[0][0]
    for x, width in bars:
        if gap := round((x - position) / MODULE_MM):
            runs.append(gap)
        runs.append(round(width / MODULE_MM))
        position = x + width
    return runs


@pytest.mark.parametrize("number", ["330381203000000011", "330381205123456789", "330105909999999999"])
def test_the_barcode_is_that_of_another_library(number: str) -> None:
    other = Code128(number)
    other.validate()
    other.encode()
    other.decompose()
    # Capital letters are bars, small ones spaces, A or a is one module wide.
    assert widths(barcode_svg(number)) == [ord(letter.lower()) - ord("a") + 1 for letter in other.decomposed]


def test_the_printer_gets_the_face_and_nothing_else(tmp_path: Path) -> None:
    centre = IssuingCentre(tmp_path)
    try:
        face = centre.prepare(applicant()).face
    finally:
        centre.close()
    document = json.loads(json.dumps(print_document(face)))
    assert set(document) == {"row", "front", "back", "barcode", "payment_mark", "portrait_jpeg"}
    assert document["front"]["name"] == applicant().name
    assert document["barcode"]["content"] == applicant().permit_number
    assert base64.b64decode(document["portrait_jpeg"]) == face.portrait
