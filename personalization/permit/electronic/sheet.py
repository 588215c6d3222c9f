"""The confirmation sheet (《浙江省居住证确认单》) as PDF: the data of the permit and its signed pass as a QR code."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import segno
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from personalization.intake.code_tables import code_tables
from personalization.permit.electronic.claims import CHINA, ElectronicPermit
from personalization.typeface import FACE, Typeface

if TYPE_CHECKING:
    from datetime import date

TITLE: Final = "浙江省居住证确认单"
_NOTE: Final = "本确认单与实体居住证具有同等效力；二维码可离线核验。"
_MARGIN: Final = 25 * mm
_TITLE_SIZE: Final = 20
_TEXT_SIZE: Final = 12
_SMALL_SIZE: Final = 9
_LINE: Final = 9 * mm
_LABEL_WIDTH: Final = 38 * mm
_PORTRAIT: Final = (26 * mm, 36.25 * mm)
_QR: Final = 62 * mm
_QUIET_MODULES: Final = 4


class _Row(NamedTuple):
    label: str
    value: str

    def __repr__(self) -> str:
        """The label only."""
        return f"_Row({self.label})"


def confirmation_sheet(permit: ElectronicPermit, text: str, portrait: bytes, font: Path | None = None) -> bytes:
    """The sheet as a PDF of one page.

    Args:
        permit: what the pass says.
        text: the signed pass, as issued.
        portrait: JPEG; empty leaves its place free.
        font: a TrueType font; by default that of `personalization.typeface`.

    Raises:
        PersonalizationError: "font-missing" and "font-unusable" (exit 3), "font-lacks" (exit 1) with the code points
            that it has no glyph for.
    """
    typeface = Typeface(font)
    rows = tuple(_rows(permit))
    issued = f"签发时间 {permit.issued_at.astimezone(CHINA):%Y-%m-%d %H:%M}　编号 {permit.identifier.hex().upper()}"
    typeface.require((TITLE, _NOTE, issued, *(part for row in rows for part in row)))
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4, invariant=True)
    canvas.setTitle(TITLE)
    width, height = A4
    canvas.setFont(FACE, _TITLE_SIZE)
    canvas.drawCentredString(width / 2, height - _MARGIN - _TITLE_SIZE, TITLE)
    top = height - _MARGIN - 2 * _LINE - _TITLE_SIZE
    y = _draw_rows(canvas, typeface, rows, top, width - 2 * _MARGIN - _PORTRAIT[0] - 5 * mm)
    if portrait:
        x = width - _MARGIN - _PORTRAIT[0]
        canvas.drawImage(ImageReader(io.BytesIO(portrait)), x, top - _PORTRAIT[1] + _LINE, *_PORTRAIT)
    _draw_code(canvas, text, (width - _QR) / 2, y - _LINE - _QR)
    canvas.setFont(FACE, _SMALL_SIZE)
    canvas.drawCentredString(width / 2, y - 2 * _LINE - _QR, _NOTE)
    canvas.drawCentredString(width / 2, y - 2 * _LINE - _QR - 6 * mm, issued)
    canvas.showPage()
    canvas.save()
    return target.getvalue()


def _rows(permit: ElectronicPermit) -> Iterator[_Row]:
    tables = code_tables()
    yield _Row("居住证号", permit.permit_number)
    yield _Row("姓名", permit.name)
    yield _Row("性别", tables.sexes.get(permit.sex, permit.sex))
    yield _Row("民族", tables.ethnic_groups.get(permit.ethnic_group, permit.ethnic_group))
    yield _Row("出生日期", _chinese(permit.birth_date))
    yield _Row("公民身份号码", permit.citizen_number)
    yield _Row("常住户口所在地", permit.registered_address)
    if permit.current_address:
        yield _Row("现居住地址", permit.current_address)
    yield _Row("签发机关", permit.issuing_authority)
    yield _Row("签发日期", _chinese(permit.issue_date))
    yield _Row("签注有效期至", _chinese(permit.endorsement_due))


def _chinese(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


def _draw_rows(canvas: Any, typeface: Typeface, rows: Iterable[_Row], top: float, width: float) -> float:
    """Draw labels and values, long ones on several lines; returns where the last line stands."""
    y = top
    for row in rows:
        canvas.setFont(FACE, _TEXT_SIZE)
        canvas.drawString(_MARGIN, y, row.label)
        for line in typeface.lines(row.value, _TEXT_SIZE, width - _LABEL_WIDTH):
            canvas.drawString(_MARGIN + _LABEL_WIDTH, y, line)
            y -= _LINE
    return y


def _draw_code(canvas: Any, text: str, x: float, y: float) -> None:
    """The QR code, module by module, so that it stays sharp at any size."""
    matrix = segno.make_qr(text, error="L", boost_error=False).matrix
    size = _QR / (len(matrix) + 2 * _QUIET_MODULES)
    for row, modules in enumerate(matrix):
        for column, dark in enumerate(modules):
            if dark:
                left = x + (column + _QUIET_MODULES) * size
                bottom = y + _QR - (row + 1 + _QUIET_MODULES) * size
                canvas.rect(left, bottom, size, size, stroke=0, fill=1)
