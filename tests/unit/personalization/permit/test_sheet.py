"""The confirmation sheet: one page, every character with a glyph, the code readable."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from personalization.errors import PersonalizationError
from personalization.intake.sample.names import _RARE
from personalization.keys.file_store import FileKeyStore
from personalization.permit.electronic.claims import ElectronicPermit
from personalization.permit.electronic.passes import issue_pass
from personalization.permit.electronic.sheet import TITLE, confirmation_sheet
from personalization.typeface import find_font


def _in_plane_0(character: str) -> bool:
    """The PDF library tells readers the text of such characters only; the others are printed and cannot be copied."""
    return ord(character) <= 0xFFFF


def portrait() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (71, 99), (90, 120, 160)).save(target, "JPEG")
    return target.getvalue()


def test_every_character_stands_on_the_sheet(office: FileKeyStore, permit: ElectronicPermit, tmp_path: Path) -> None:
    """What a reader copies out of the page is what was printed."""
    named = replace(permit, name="·".join((permit.name, _RARE)))
    path = tmp_path / "sheet.pdf"
    path.write_bytes(confirmation_sheet(named, issue_pass(office, named), portrait()))
    text = subprocess.run(["pdftotext", "-raw", path, "-"], check=True, capture_output=True).stdout.decode()
    for expected in (
        TITLE,
        named.permit_number,
        named.citizen_number,
        "维吾尔",
        "2027年1月1日",
        *filter(_in_plane_0, _RARE),
    ):
        assert expected in text
    fonts = subprocess.run(["pdffonts", path], check=True, capture_output=True).stdout.decode().splitlines()[2:]
    assert fonts
    assert all(line.split()[-5] == "yes" for line in fonts if "Helvetica" not in line), "a font is not embedded"
    assert subprocess.run(["pdfinfo", path], check=True, capture_output=True).stdout.count(b"Pages:           1") == 1


def test_no_glyph_is_an_empty_box(office: FileKeyStore, permit: ElectronicPermit, tmp_path: Path) -> None:
    """Each rare character has a picture of its own, and none is that of a missing glyph."""
    pictures: dict[bytes, str] = {}
    for character in _RARE:
        named = replace(permit, name=character, current_address="")
        path = tmp_path / f"{ord(character):X}.pdf"
        path.write_bytes(confirmation_sheet(named, "x", b""))
        box = ["-r", "100", "-x", "245", "-y", "200", "-W", "30", "-H", "30"]
        raw = subprocess.run(["pdftoppm", "-gray", *box, path], check=True, capture_output=True).stdout
        assert min(raw[20:]) < 100, f"nothing is printed for U+{ord(character):04X}"
        pictures[raw] = character
    assert len(pictures) == len(_RARE)


def test_a_character_without_a_glyph_is_an_error(office: FileKeyStore, permit: ElectronicPermit) -> None:
    with pytest.raises(PersonalizationError) as raised:
        confirmation_sheet(replace(permit, name="\U0010fffd"), "x", b"")
    assert (raised.value.code, raised.value.parameters["points"]) == ("font-lacks", "U+10FFFD")


def test_fonts_that_are_not_there_or_no_fonts(permit: ElectronicPermit, tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError) as raised:
        find_font((tmp_path / "none.ttf",))
    assert (raised.value.code, raised.value.exit_code) == ("font-missing", 3)
    bad = tmp_path / "bad.ttf"
    bad.write_bytes(b"no font")
    with pytest.raises(PersonalizationError, match="font-unusable"):
        confirmation_sheet(permit, "x", b"", bad)
