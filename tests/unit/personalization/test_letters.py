"""PIN letters: a page each, and a table for a printing house."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import openpyxl

from personalization.preparation.mailer import PinLetter
from personalization.returns.files import write_csv, write_xlsx
from personalization.returns.letters import TITLE, letter_texts, letters_pdf, letters_table
from personalization.typeface import Typeface

TITLES = {"holder": "持证人密码", "unblocking": "解锁码"}
LETTERS = (
    PinLetter(2, "苏㛃", "浙江省杭州市西湖区" + "很长的路" * 12 + "9号", "330381261000000001", {"holder": "051660"}),
    PinLetter(3, "=1+1", "+86", "330381261000000002", {"holder": "039275", "unblocking": "00759339", "own": "1"}),
)


def test_each_letter_is_a_page_of_its_own_with_its_pins(tmp_path: Path) -> None:
    path = tmp_path / "letters.pdf"
    path.write_bytes(letters_pdf(LETTERS, TITLES, Typeface()))
    pages = subprocess.run(["pdftotext", "-raw", path, "-"], check=True, capture_output=True).stdout.decode()
    first, second, rest = pages.split("\f")
    assert rest == ""
    for expected in (TITLE, LETTERS[0].name, LETTERS[0].permit_number, "持证人密码 0 5 1 6 6 0"):
        assert expected in first
    assert LETTERS[0].address in first.replace("\n", ""), "on as many lines as it needs"
    assert "解锁码" not in first.replace("凭解锁码", ""), "a PIN that the profile does not have"
    for expected in ("解锁码 0 0 7 5 9 3 3 9", "own 1"):
        assert expected in second
    assert "0 5 1 6 6 0" not in second


def test_a_table_keeps_every_digit_and_computes_nothing() -> None:
    table = letters_table(LETTERS, TITLES)
    assert table.headings == ("行号", "姓名", "地址", "居住证号", "持证人密码", "解锁码", "own")
    assert table.rows[0][4:] == ("051660", "", "")
    lines = write_csv(table).decode("utf-8-sig").split("\r\n")
    assert lines[2] == """\"3\",\"'=1+1\",\"'+86\",\"330381261000000002\",\"039275\",\"00759339\",\"1\""""
    book = openpyxl.load_workbook(io.BytesIO(write_xlsx(table)))
    row = [cell.value for cell in book.worksheets[0][3]]
    assert row == ["3", "=1+1", "+86", "330381261000000002", "039275", "00759339", "1"]
    assert {cell.data_type for cell in book.worksheets[0][3]} == {"s"}
    book.close()


def test_a_letter_tells_which_characters_it_cannot_have() -> None:
    typeface = Typeface()
    assert [typeface.lacking(letter_texts(one, TITLES)) for one in LETTERS] == ["", ""]
    rare = PinLetter(4, "\U0010fffd", "x", "330381261000000003", {"holder": "1"})
    assert typeface.lacking(letter_texts(rare, TITLES)) == "U+10FFFD"


def test_no_letter_shows_itself() -> None:
    assert "051660" not in repr(LETTERS[0])
