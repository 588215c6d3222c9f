"""A table of text that is cut gives, chunk by chunk, the rows that it gives as a whole."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from personalization.errors import PersonalizationError
from personalization.intake.applicant import RESIDENCE_COLUMNS
from personalization.intake.cells import SheetRow
from personalization.intake.delimited import read_rows
from personalization.intake.delivery import HEADINGS
from personalization.intake.limits import PIECEWISE_LIMITS
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.parts import PartPlace, seal_part
from personalization.preparation.bulk.sheets import Sheet, cut_text

WIDTH = len(RESIDENCE_COLUMNS)
HEADER = [HEADINGS[column] for column in RESIDENCE_COLUMNS]
PLAIN = st.text(st.sampled_from("a 1=e居㐀𠮷\u2028"), max_size=4)
TEXT = PLAIN | PLAIN | PLAIN | st.text(st.sampled_from('a,"\n\r\t 1=e居佈㐀𠮷é\u2028\x0b\ufeff'), max_size=6)
"""Whatever tells a field, a record or a line from the next one, or looks as if it did."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    store = FileKeyStore.create(tmp_path_factory.mktemp("keys") / "keys.json", b"a passphrase", scrypt_n=16)
    store.make_batch_keys("B")
    return store.of_batch("B")


def chunked(
    path: Path, content: bytes, size: int, keys: KeyStore, *, sealed: bool = False
) -> tuple[Sheet, list[SheetRow]]:
    """The sheet, and all rows of its chunks."""
    path.write_bytes(b"before" + content + b"behind")
    place = PartPlace(str(path), 6, len(content))
    if sealed:
        place = seal_part(io.BytesIO(content), path, keys, len(content), "table")
    sheet = cut_text(place, keys, "table", RESIDENCE_COLUMNS, size, list[int]().append)
    chunks = [sheet.cut.read(chunk, keys) for chunk in range(1, 1 + -(-sheet.rows // size))] if sheet.cut else []
    assert [len(rows) for rows in chunks[:-1]] == [size] * (len(chunks) - 1)
    assert sheet.cut is None or len(chunks) == len(sheet.cut.slices)
    return sheet, [row for rows in chunks for row in rows]


def written(records: list[list[str]], encoding: str, end: str, quoting: int, *, last_end: bool) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=end, quoting=quoting).writerows(records)  # type: ignore[arg-type]
    text = stream.getvalue()
    return (text if last_end else text.removesuffix(end)).encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@settings(max_examples=100, deadline=None)
@example(
    records=[['"\n"', "a"], ["\r\n,"], [], ["", ""], ["b"]],
    end="\r",
    quoting=csv.QUOTE_ALL,
    size=1,
    last_end=False,
    piece=8,
)
@given(
    records=st.lists(st.lists(TEXT, max_size=WIDTH), max_size=12),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    size=st.integers(1, 5),
    last_end=st.booleans(),
    piece=st.sampled_from([16, 64, 1 << 20]),
)
def test_the_rows_of_all_chunks_are_those_of_the_table(
    tmp_path_factory: pytest.TempPathFactory,
    keys: KeyStore,
    encoding: str,
    records: list[list[str]],
    end: str,
    quoting: int,
    size: int,
    last_end: bool,
    piece: int,
) -> None:
    """RFC 4180, clauses 2.5 to 2.7: line ends, quotes and commas in quoted fields; empty records, all line ends."""
    content = written([HEADER, *records], encoding, end, quoting, last_end=last_end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("personalization.preparation.bulk.sheets._PIECE", piece)
        sheet, rows = chunked(tmp_path_factory.getbasetemp() / "cut.csv", content, size, keys)
    whole = list(read_rows(content, PIECEWISE_LIMITS, "table"))[1:]
    assert (sheet.rows, rows) == (len(whole), whole)


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.sampled_from('aa,,"\n\n\r居'), max_size=30), size=st.integers(1, 3), piece=st.sampled_from([7, 64])
)
def test_any_text_gives_the_same_rows_or_the_same_error(
    tmp_path_factory: pytest.TempPathFactory, keys: KeyStore, text: str, size: int, piece: int
) -> None:
    content = (",".join(HEADER) + "\n" + text).encode()
    try:
        whole: object = list(read_rows(content, PIECEWISE_LIMITS, "table"))[1:]
    except PersonalizationError as error:
        whole = (error.code, error.parameters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("personalization.preparation.bulk.sheets._PIECE", piece)
        try:
            found: object = chunked(tmp_path_factory.getbasetemp() / "any.csv", content, size, keys)[1]
        except PersonalizationError as error:
            found = (error.code, error.parameters)
    assert found == whole


def test_a_line_end_at_every_place_of_a_piece_that_is_read_at_once(
    tmp_path: Path, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of 64 bytes: their edges fall into characters, quotes, and between CR and LF."""
    monkeypatch.setattr("personalization.preparation.bulk.sheets._PIECE", 64)
    quoted = [[f"{number}", '居住"\r\n"证', "", "x" * (number % 7)] for number in range(100)]
    records = [[f"{number}", "居住证", "", "x" * (number % 7)] for number in range(100)] + quoted
    for encoding, sealed in (("utf-8-sig", False), ("gb18030", True)):
        content = written([HEADER, *records], encoding, "\r\n", csv.QUOTE_MINIMAL, last_end=True)
        sheet, rows = chunked(tmp_path / encoding, content, 7, keys, sealed=sealed)
        assert rows == list(read_rows(content, PIECEWISE_LIMITS, "table"))[1:]
        assert sheet.rows == len(records)


@pytest.mark.parametrize(
    ("tail", "row"),
    [('1,"2"3\n', 5), ('1,"2\n3,4\n', 5), ('"' + "9" * 200_000 + '"\n', 5)],
    ids=["behind", "open", "long"],
)
def test_a_record_that_cannot_be_read_is_named_by_its_number(
    tmp_path: Path, keys: KeyStore, tail: str, row: int
) -> None:
    content = (",".join(HEADER) + "\n1\n\n2\n" + tail).encode()
    with pytest.raises(PersonalizationError) as caught:
        chunked(tmp_path / "cut.csv", content, 1, keys)
    assert (caught.value.code, caught.value.parameters) == ("batch-table-unreadable", {"file": "table", "row": row})


def test_a_table_without_rows_has_no_chunks(tmp_path: Path, keys: KeyStore) -> None:
    for content in (b"", b"\n\n", (",".join(HEADER) + "\n,,\n\n").encode()):
        sheet, rows = chunked(tmp_path / "cut.csv", content, 2, keys)
        assert (sheet.rows, rows) == (0, [])


def test_a_field_is_measured_in_characters(tmp_path: Path, keys: KeyStore) -> None:
    """A cell that is too long for a card is a finding of its row; only what the reader of records refuses is more."""
    content = (",".join(HEADER) + "\n" + "居" * 100_000 + "\n").encode()
    _, rows = chunked(tmp_path / "cut.csv", content, 2, keys)
    assert rows == [SheetRow(2, ("居" * 100_000,))]
