"""A synthetic delivery of any size, written row by row: a .csv, its residences, and a zip of pictures beside it."""

from __future__ import annotations

import csv
import io
import random
import zipfile
from pathlib import Path
from typing import Final

from PIL import Image

from personalization.intake.applicant import RESIDENCE_COLUMNS, SHEET_COLUMNS
from personalization.intake.cells import shown
from personalization.intake.delivery import HEADINGS, PICTURES_END, RESIDENCE_END, DeliveryName
from personalization.intake.sample.faces import draw_portrait
from personalization.intake.sample.residents import RUIAN, Residents

FACES: Final = 64
"""Portraits that are drawn; residents of a large sample share them."""

PRODUCTION_SIZE: Final = (71, 99)
_QUALITY: Final = 90
_ARCHIVE_TIME: Final = (2026, 1, 1, 0, 0, 0)


def write_unpacked_sample(
    directory: Path, count: int, seed: int = 1, *, area_code: str = RUIAN, ready: bool = False, faces: int = FACES
) -> Path:
    """Write a delivery of synthetic residents that fits no memory.

    Args:
        directory: where to; made when missing.
        count: residents.
        seed: the same seed gives the same residents.
        area_code: six digits, the area that delivers.
        ready: portraits as production wants them, 71 × 99 pixels, instead of twice that size.
        faces: how many portraits are drawn.

    Returns:
        The path of the table.
    """
    residents = Residents(seed, area_code)
    portraits = [_portrait(random.Random(f"{seed}/{number}"), ready=ready) for number in range(min(faces, count))]
    directory.mkdir(parents=True, exist_ok=True)
    table = directory / f"{DeliveryName(area_code, 1, count, count)}.csv"
    with (
        table.open("w", encoding="utf-8", newline="") as main,
        table.with_name(table.stem + RESIDENCE_END).open("w", encoding="utf-8", newline="") as second,
        zipfile.ZipFile(table.with_name(table.stem + PICTURES_END), "w", zipfile.ZIP_STORED) as archive,
    ):
        applicants, residences = csv.writer(main), csv.writer(second)
        applicants.writerow([HEADINGS[column] for column in SHEET_COLUMNS])
        residences.writerow([HEADINGS[column] for column in RESIDENCE_COLUMNS])
        for index in range(count):
            draft = residents.draw(index, portraits[index % len(portraits)])
            applicants.writerow([shown(cell) for cell in draft.cells])
            if draft.residence is not None:
                residences.writerow([shown(cell) for cell in draft.residence])
            for name, content in draft.pictures:
                archive.writestr(zipfile.ZipInfo(name, _ARCHIVE_TIME), content)
    return table


def _portrait(chance: random.Random, *, ready: bool) -> bytes:
    drawn = draw_portrait(chance)
    if not ready:
        return drawn
    stream = io.BytesIO()
    with Image.open(io.BytesIO(drawn)) as picture:
        picture.resize(PRODUCTION_SIZE, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
