"""Rejected rows: sealed, opened by the right key only, corrected, sent in again."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Column
from personalization.intake.delivery import DeliveryName, open_delivery
from personalization.intake.delivery_writer import pack_delivery
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import Receipt, receive_batch
from personalization.intake.rejects import open_rejects, write_rejects
from personalization.intake.sample.residents import Residents
from personalization.keys.file_store import FileKeyStore

RECEIVED = datetime(2026, 11, 2, tzinfo=UTC)
ZIP_ENTRY, JPEG = b"PK\x03\x04\x14\x00\x00\x00", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
"""How a file in an archive and a picture begin: four bytes alone would turn up in ciphertext by chance."""
DAMAGED = next((Path(__file__).parents[3] / "examples" / "damaged").glob("*.zip"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    return FileKeyStore.create(tmp_path_factory.mktemp("keys") / "keys", b"passphrase", scrypt_n=2)


@pytest.fixture(scope="module")
def receipt() -> Receipt:
    return receive_batch(DAMAGED, RememberedBatches(), RECEIVED)


def test_the_file_holds_nothing_readable(tmp_path: Path, keys: FileKeyStore, receipt: Receipt) -> None:
    path = tmp_path / "rejects.bin"
    assert write_rejects(receipt, path, keys) == sum(row.source is not None for row in receipt.rejected)
    sealed, clear = path.read_bytes(), open_rejects(path, tmp_path / "clear", keys).read_bytes()
    pictures = [Path(name).stem.encode() for row in receipt.rejected for name, _ in row.pictures]
    for words in (ZIP_ENTRY, JPEG, *pictures):
        assert words in clear
        assert words not in sealed


def test_rejected_rows_come_back_whole(tmp_path: Path, keys: FileKeyStore, receipt: Receipt) -> None:
    write_rejects(receipt, tmp_path / "rejects.bin", keys)
    delivery = open_delivery(open_rejects(tmp_path / "rejects.bin", tmp_path / "clear", keys))
    sources = [row.source for row in receipt.rejected if row.source is not None]
    assert delivery.name.count == len(delivery.table.applicants) == len(sources)
    names = {source.cells[1] for source in sources if isinstance(source.cells[1], str)}
    assert {row.cells[1] for row in delivery.table.applicants} == names
    pictures = {Path(name).name: content for row in receipt.rejected for name, content in row.pictures}
    assert set(delivery.pictures.stems) == {Path(name).stem for name in pictures}
    for name, content in pictures.items():
        assert delivery.pictures.read(name) == content


def test_corrected_rows_are_accepted(tmp_path: Path, keys: FileKeyStore) -> None:
    residents = Residents(21)
    people = [residents.draw(index) for index in range(5)]
    right = people[2].text(Column.SEX)
    people[2].put(Column.SEX, "男")
    name = DeliveryName("330381", 1, 5, 5)
    sent = tmp_path / f"{name}.zip"
    residences = [draft.residence for draft in people if draft.residence is not None]
    pictures = [picture for draft in people for picture in draft.pictures]
    sent.write_bytes(pack_delivery(name, [draft.cells for draft in people], residences, pictures))
    first = receive_batch(sent, RememberedBatches(), RECEIVED)
    history = RememberedBatches([first.batch(accept_good=True)])
    write_rejects(first, tmp_path / "rejects.bin", keys)
    opened = open_rejects(tmp_path / "rejects.bin", tmp_path / "clear", keys)
    # What the operator does in a spreadsheet program: the one cell that was found is typed again.
    with zipfile.ZipFile(opened) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    assert receive_batch(opened, history, RECEIVED).error_count == 1
    delivery = open_delivery(opened)
    people[2].put(Column.SEX, right)
    second_residences = [list(row.cells) for row in delivery.table.residences]
    opened.write_bytes(pack_delivery(delivery.name, [people[2].cells], second_residences, people[2].pictures))
    second = receive_batch(opened, history, RECEIVED)
    assert second.findings == ()
    assert [applicant.citizen_number for applicant in second.applicants] == [people[2].text(Column.CITIZEN_NUMBER)]
    assert len(parts) == 2


def test_nothing_rejected_writes_no_file(tmp_path: Path, keys: FileKeyStore) -> None:
    good = next((Path(__file__).parents[3] / "examples" / "ruian").glob("*.zip"))
    assert write_rejects(receive_batch(good, RememberedBatches(), RECEIVED), tmp_path / "r", keys) == 0
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("place", [10, 40, -1])
def test_a_changed_file_is_refused(tmp_path: Path, keys: FileKeyStore, receipt: Receipt, place: int) -> None:
    path = tmp_path / "rejects.bin"
    write_rejects(receipt, path, keys)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        open_rejects(path, tmp_path / "clear", keys)
    assert not (tmp_path / "clear").exists()


def test_another_key_opens_nothing(tmp_path: Path, keys: FileKeyStore, receipt: Receipt) -> None:
    write_rejects(receipt, tmp_path / "rejects.bin", keys)
    other = FileKeyStore.create(tmp_path / "other", b"passphrase", scrypt_n=2)
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        open_rejects(tmp_path / "rejects.bin", tmp_path, other)


@pytest.mark.parametrize("content", [b"", b"PCREJ1\n", b"PK\x03\x04", b"PCREJ1\n" + b"x" * 200])
def test_other_files_are_refused(tmp_path: Path, keys: FileKeyStore, content: bytes) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(PersonalizationError, match="rejects-file-unreadable"):
        open_rejects(tmp_path / "r", tmp_path, keys)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path, keys: FileKeyStore) -> None:
    with pytest.raises(PersonalizationError, match="rejects-file-missing"):
        open_rejects(tmp_path / "none", tmp_path, keys)


def test_opened_rows_are_never_written_over(tmp_path: Path, keys: FileKeyStore, receipt: Receipt) -> None:
    """Somebody may be correcting them."""
    write_rejects(receipt, tmp_path / "rejects.bin", keys)
    opened = open_rejects(tmp_path / "rejects.bin", tmp_path / "clear", keys)
    opened.write_bytes(b"corrected")
    with pytest.raises(PersonalizationError, match="rejects-exists"):
        open_rejects(tmp_path / "rejects.bin", tmp_path / "clear", keys)
    assert opened.read_bytes() == b"corrected"
    assert list(opened.parent.iterdir()) == [opened]
