"""PIN letters for a printer: pages to be folded, or a table for a printing house.

A page has the address where an envelope for DL paper has its window (left), and the PINs in its lowest third.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from personalization.preparation.mailer import PinLetter
from personalization.returns.tables import Table
from personalization.typeface import FACE, Typeface

TITLE: Final = "浙江省居住证密码函"
Titles = Mapping[str, str]
"""Words for PINs by their name in the profile; one without words is called by its name."""

_HEADINGS: Final = ("行号", "姓名", "地址", "居住证号")
_ADVICE: Final = (
    "首次使用时必须修改持证人密码。",
    "密码连续输错将被锁定，须持卡并凭解锁码到居住证受理点重置。",
    "请勿将密码与居住证一并存放或告知他人；工作人员不会索要密码。",
    "如收到时封口已破损，请勿使用，并立即联系发证机关。",
)
_LEFT: Final = 22 * mm
_ADDRESS_TOP: Final = 55 * mm
_ADDRESS_WIDTH: Final = 85 * mm
_BODY_TOP: Final = 120 * mm
_PINS_TOP: Final = 225 * mm
_FOLDS: Final = (99 * mm, 198 * mm)
_FOLD_MARK: Final = 5 * mm
_TEXT_SIZE: Final = 11
_TITLE_SIZE: Final = 16
_PIN_SIZE: Final = 14
_LINE: Final = 7 * mm
_VALUE_AT: Final = 45 * mm


def letter_texts(letter: PinLetter, titles: Titles) -> tuple[str, ...]:
    """All text of a letter that is not the same on each."""
    own = (letter.name, letter.address, letter.permit_number)
    return *own, *letter.pins.values(), *(titles.get(name, name) for name in letter.pins)


def letters_pdf(letters: Sequence[PinLetter], titles: Titles, typeface: Typeface) -> bytes:
    """One page of A4 a letter, with marks where it is folded.

    Args:
        letters: in the order of the pages.
        titles: of PINs.
        typeface: has the glyphs of `letter_texts`.

    Raises:
        PersonalizationError: "font-lacks": the typeface has not the words that are the same on each letter.
    """
    typeface.require((TITLE, *_ADVICE))
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4, invariant=True)
    canvas.setTitle(TITLE)
    for letter in letters:
        _draw(canvas, typeface, letter, titles)
        canvas.showPage()
    canvas.save()
    return target.getvalue()


def letters_table(letters: Sequence[PinLetter], titles: Titles) -> Table:
    """A row a letter; all is text, the PINs too."""
    names = list(dict.fromkeys(name for letter in letters for name in letter.pins))
    rows = [
        (
            str(letter.row_number),
            letter.name,
            letter.address,
            letter.permit_number,
            *(letter.pins.get(name, "") for name in names),
        )
        for letter in letters
    ]
    return Table("letters", (*_HEADINGS, *(titles.get(name, name) for name in names)), rows)


def _draw(canvas: Any, typeface: Typeface, letter: PinLetter, titles: Titles) -> None:
    height = A4[1]
    canvas.setLineWidth(0.3)
    for fold in _FOLDS:
        canvas.line(0, height - fold, _FOLD_MARK, height - fold)
    canvas.setFont(FACE, _TEXT_SIZE)
    y = height - _ADDRESS_TOP
    for line in (*typeface.lines(letter.address, _TEXT_SIZE, _ADDRESS_WIDTH), f"{letter.name}　收"):
        canvas.drawString(_LEFT, y, line)
        y -= _LINE
    canvas.setFont(FACE, _TITLE_SIZE)
    canvas.drawString(_LEFT, height - _BODY_TOP, TITLE)
    canvas.setFont(FACE, _TEXT_SIZE)
    facts = (("居住证号", letter.permit_number), ("批次行号", str(letter.row_number)))
    y = _draw_pairs(canvas, facts, height - _BODY_TOP - 2 * _LINE)
    for number, advice in enumerate(_ADVICE, start=1):
        y -= _LINE
        canvas.drawString(_LEFT, y, f"{number}. {advice}")
    canvas.setFont(FACE, _PIN_SIZE)
    _draw_pairs(
        canvas, [(titles.get(name, name), " ".join(pin)) for name, pin in letter.pins.items()], height - _PINS_TOP
    )


def _draw_pairs(canvas: Any, pairs: Sequence[tuple[str, str]], y: float) -> float:
    for label, value in pairs:
        canvas.drawString(_LEFT, y, label)
        canvas.drawString(_LEFT + _VALUE_AT, y, value)
        y -= _LINE + 2 * mm
    return y
