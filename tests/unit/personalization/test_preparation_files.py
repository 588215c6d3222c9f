"""The files of a prepared batch: complete or absent, readable with their key only, and nothing readable in them."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.keys.file_store import FileKeyStore
from personalization.preparation.faces import CardFace, FaceFile, FaceMaker, grouped, written_date
from personalization.preparation.mailer import MailerFile, PinLetter
from personalization.preparation.prepare import PreparedBatch, Preparer, prepare_batch
from personalization.preparation.prepared_file import PreparedFile
from personalization.preparation.sealed_file import Purpose, SealedReader, create_sealed
from personalization.preparation.source_file import SourceFile, decode_applicant, encode_applicant
from tests.doubles.issuing_centre import PASSPHRASE, PERMIT_PROFILE, applicant, batch, child, draw

BATCH = "RCO20260302101112345"
HEADER = struct.Struct(">8sH16s32s3sIQ")


def make_store(directory: Path) -> FileKeyStore:
    directory.mkdir(exist_ok=True)
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return FileKeyStore.create(directory / "keys.json", PASSPHRASE, now=now, scrypt_n=16)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    return make_store(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other_store(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    return make_store(tmp_path_factory.mktemp("other"))


RESIDENTS = (applicant(2), child(3), applicant(5, name="买买提·吐尔逊", portrait=draw(5, (142, 198))))


@pytest.fixture(scope="module")
def prepared(store: FileKeyStore, tmp_path_factory: pytest.TempPathFactory) -> PreparedBatch:
    return prepare_batch(batch(*RESIDENTS), store, PERMIT_PROFILE, tmp_path_factory.mktemp("batch"))


@pytest.fixture
def sealed(store: FileKeyStore, tmp_path: Path) -> Path:
    """Three records, rows 2, 3 and 5."""
    path = tmp_path / "file"
    with create_sealed(path, Purpose.PREPARED, BATCH, store) as writer:
        for row in (2, 3, 5):
            writer.append(row, b"record of row %d" % row)
    return path


# ------------------------------------------------------------ sealed files


def test_records_are_read_by_index_and_by_row(sealed: Path, store: FileKeyStore) -> None:
    with SealedReader(sealed, Purpose.PREPARED, store) as reader:
        assert len(reader) == 3
        assert reader.batch == BATCH
        assert list(reader.row_numbers()) == [2, 3, 5]
        assert reader.record(2) == b"record of row 5"
        assert [reader.record_of_row(row) for row in (5, 2, 3)] == [b"record of row %d" % row for row in (5, 2, 3)]


@pytest.mark.parametrize("row", [0, 1, 4, 6, 2**32 - 1])
def test_a_row_that_is_not_there_is_told(sealed: Path, store: FileKeyStore, row: int) -> None:
    with SealedReader(sealed, Purpose.PREPARED, store) as reader, pytest.raises(PersonalizationError) as caught:
        reader.record_of_row(row)
    assert caught.value.code == "row-unknown"


@pytest.mark.parametrize("index", [-1, 3, 100])
def test_an_index_that_is_not_there_is_a_mistake(sealed: Path, store: FileKeyStore, index: int) -> None:
    with SealedReader(sealed, Purpose.PREPARED, store) as reader, pytest.raises(IndexError):
        reader.record(index)


def test_an_empty_batch_is_a_file_too(tmp_path: Path, store: FileKeyStore) -> None:
    with create_sealed(tmp_path / "file", Purpose.FACES, BATCH, store):
        pass
    with SealedReader(tmp_path / "file", Purpose.FACES, store) as reader:
        assert len(reader) == 0


def write_rows(path: Path, store: FileKeyStore, rows: tuple[int, ...], stop: BaseException | None = None) -> None:
    with create_sealed(path, Purpose.FACES, BATCH, store) as writer:
        for row in rows:
            writer.append(row, b"record")
        if stop is not None:
            raise stop


@pytest.mark.parametrize("row", [2, 1])
def test_rows_ascend(tmp_path: Path, store: FileKeyStore, row: int) -> None:
    with pytest.raises(ValueError, match="comes after"):
        write_rows(tmp_path / "file", store, (2, row))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_not_finished_does_not_appear(tmp_path: Path, store: FileKeyStore) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path / "file", store, (2,), KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_reads_the_file(sealed: Path) -> None:
    assert sealed.stat().st_mode & 0o077 == 0


def test_another_transport_key_is_told_as_such(sealed: Path, other_store: FileKeyStore) -> None:
    with pytest.raises(PersonalizationError) as caught:
        SealedReader(sealed, Purpose.PREPARED, other_store)
    assert (caught.value.code, caught.value.exit_code) == ("sealed-file-other-key", 3)
    assert caught.value.parameters["key"] == "transport"


def test_another_transport_key_with_the_same_check_value_opens_nothing(
    sealed: Path, store: FileKeyStore, other_store: FileKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = store.check_value(Purpose.PREPARED.key)
    monkeypatch.setattr(FileKeyStore, "check_value", lambda _, __: value)
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        SealedReader(sealed, Purpose.PREPARED, other_store)


def test_a_file_of_another_purpose_is_refused(sealed: Path, store: FileKeyStore) -> None:
    with pytest.raises(PersonalizationError, match="purpose"):
        SealedReader(sealed, Purpose.SOURCE, store)


@pytest.mark.parametrize("kind", [PreparedFile, SourceFile, FaceFile, MailerFile])
def test_a_sound_file_of_another_batch_is_refused(
    prepared: PreparedBatch, store: FileKeyStore, kind: type[PreparedFile | SourceFile | FaceFile | MailerFile]
) -> None:
    """One that is put in the place of another would make the other batch's permits a second time."""
    path = prepared.prepared.with_suffix(f".{kind.purpose.label}")
    with kind(path, store, batch=prepared.identifier) as file:
        assert (file.batch, len(file)) == (prepared.identifier, prepared.count)
    with pytest.raises(PersonalizationError) as caught:
        kind(path, store, batch="RCO20260302101112346")
    assert caught.value.code == "sealed-file-other-batch"
    assert caught.value.parameters["found"] == prepared.identifier


def test_every_changed_byte_is_refused(sealed: Path, store: FileKeyStore) -> None:
    good = sealed.read_bytes()
    for position in range(len(good)):
        sealed.write_bytes(good[:position] + bytes((good[position] ^ 0x40,)) + good[position + 1 :])
        with pytest.raises(PersonalizationError, match="sealed-"):
            read_all(sealed, store)


@pytest.mark.parametrize("version", [0, 3])
def test_a_file_of_another_version_is_told_as_such(sealed: Path, store: FileKeyStore, version: int) -> None:
    good = sealed.read_bytes()
    sealed.write_bytes(good[:8] + version.to_bytes(2, "big") + good[10:])
    with pytest.raises(PersonalizationError, match="sealed-file-malformed") as caught:
        SealedReader(sealed, Purpose.PREPARED, store)
    assert caught.value.parameters["part"] == "header"


def test_every_shorter_file_is_refused(sealed: Path, store: FileKeyStore) -> None:
    good = sealed.read_bytes()
    for length in range(len(good)):
        sealed.write_bytes(good[:length])
        with pytest.raises(PersonalizationError, match="sealed-file-malformed"):
            read_all(sealed, store)


def read_all(path: Path, store: FileKeyStore) -> list[bytes]:
    with SealedReader(path, Purpose.PREPARED, store) as reader:
        return [reader.record(index) for index in range(len(reader))]


def test_records_cannot_change_places(sealed: Path, store: FileKeyStore) -> None:
    raw = bytearray(sealed.read_bytes())
    size = len(b"record of row 2") + 28
    start = HEADER.size
    raw[start : start + size], raw[start + size : start + 2 * size] = (
        raw[start + size : start + 2 * size],
        raw[start : start + size],
    )
    sealed.write_bytes(raw)
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        read_all(sealed, store)


def test_a_record_of_another_batch_does_not_fit(sealed: Path, store: FileKeyStore, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with create_sealed(other, Purpose.PREPARED, BATCH[:-1] + "6", store) as writer:
        for row in (2, 3, 5):
            writer.append(row, b"RECORD OF ROW %d" % row)
    size = len(b"record of row 2") + 28
    start = HEADER.size
    raw = bytearray(sealed.read_bytes())
    raw[start : start + size] = other.read_bytes()[start : start + size]
    sealed.write_bytes(raw)
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        read_all(sealed, store)


def test_a_row_that_was_taken_out_of_the_index_shows(sealed: Path, store: FileKeyStore) -> None:
    raw = sealed.read_bytes()
    fields = list(HEADER.unpack_from(raw))
    fields[5] = 2
    index = fields[6]
    sealed.write_bytes(HEADER.pack(*fields) + raw[HEADER.size : index + 32] + raw[index + 48 :])
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        read_all(sealed, store)


def test_a_missing_file_is_told(tmp_path: Path, store: FileKeyStore) -> None:
    with pytest.raises(PersonalizationError) as caught:
        PreparedFile(tmp_path / "none", store)
    assert (caught.value.code, caught.value.exit_code) == ("sealed-file-missing", 3)


# ------------------------------------------------------------ a prepared batch


def test_all_rows_are_prepared_in_their_order(prepared: PreparedBatch, store: FileKeyStore) -> None:
    assert prepared.count == 3
    assert prepared.portraits_unchanged == 2
    with PreparedFile(prepared.prepared, store) as file:
        assert [file.record(index).row_number for index in range(len(file))] == [2, 3, 5]
        assert file.batch == prepared.identifier
    names = sorted(path.name for path in prepared.prepared.parent.iterdir())
    assert names == sorted(f"{BATCH}.{name}" for name in ("prepared", "faces", "mailer", "source"))


def test_the_source_file_gives_back_every_applicant(prepared: PreparedBatch, store: FileKeyStore) -> None:
    with SourceFile(prepared.source, store) as file:
        assert len(file) == 3
        assert [file.applicant(row) for row in (5, 3, 2)] == [RESIDENTS[2], RESIDENTS[1], RESIDENTS[0]]


def test_the_face_is_what_the_decree_lists(prepared: PreparedBatch, store: FileKeyStore) -> None:
    with FaceFile(prepared.faces, store) as file:
        assert len(file) == 3
        face, of_child = file.face(2), file.face(3)
    assert face.front == {
        "name": "欧阳𠮷娜",
        "sex": "女",
        "ethnic_group": "土家",
        "birth_date": "1990年7月21日",
        "citizen_number": "33038119900721124X",
        "registered_address": applicant().registered_address,
        "issuing_authority": "瑞安市公安局",
        "issue_date": "2026年3月1日",
        "current_address": "浙江省瑞安市锦湖街道沿江西路一百二十八号",
        "bank_account": "6217 9933 0001 2345 678",
    }
    assert face.back["title"] == "浙江省居住证"
    assert face.barcode == face.back["permit_number"] == applicant().permit_number
    assert face.payment_mark == "UnionPay"
    assert (of_child.payment_mark, "bank_account" in of_child.front, "current_address" in of_child.front) == (
        None,
        False,
        False,
    )


def test_face_and_record_name_the_same_portrait(prepared: PreparedBatch, store: FileKeyStore) -> None:
    with PreparedFile(prepared.prepared, store) as records, FaceFile(prepared.faces, store) as faces:
        for index, row in enumerate((2, 3, 5)):
            portrait = faces.face(row).portrait
            assert records.record(index).portrait_digest == hashlib.sha256(portrait).digest()


def test_letters_go_to_where_people_live(prepared: PreparedBatch, store: FileKeyStore) -> None:
    with MailerFile(prepared.mailer, store) as file:
        assert len(file) == 3
        assert file.letter(2).address == "浙江省瑞安市锦湖街道沿江西路一百二十八号"
        assert file.letter(3).address == "浙江省"
        assert file.letter(3).name == "丁"
        assert len(file.letter(3).pins["holder"]) == 6


def test_the_transport_key_does_not_open_letters(prepared: PreparedBatch, store: FileKeyStore) -> None:
    with pytest.raises(PersonalizationError, match="sealed-file-malformed"):
        SealedReader(prepared.mailer, Purpose.PREPARED, store)


def secrets_of(resident: Applicant) -> Iterator[str]:
    for name, value in resident._asdict().items():
        if isinstance(value, str) and len(value) >= 2 and name not in ("area_code", "ethnic_group"):
            yield value
        elif isinstance(value, dt.date):
            yield from (value.strftime("%Y%m%d"), value.isoformat())
    if resident.residence is not None:
        yield resident.residence.current_address
        yield resident.residence.registration_number


def forms_of(text: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "gb18030"):
        raw = text.encode(encoding)
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        for shift in range(3):
            # Base64 of the middle of a longer text: drop what depends on the neighbours.
            coded = base64.b64encode(bytes(shift) + raw)[4 : -4 if (len(raw) + shift) % 3 else None]
            if len(coded) >= 8:
                yield coded


def test_nothing_of_the_batch_can_be_read_in_its_files(prepared: PreparedBatch, store: FileKeyStore) -> None:
    with MailerFile(prepared.mailer, store) as letters, PreparedFile(prepared.prepared, store) as records:
        wanted = {form for resident in RESIDENTS for text in secrets_of(resident) for form in forms_of(text)}
        for index, row in enumerate((2, 3, 5)):
            wanted |= {form for pin in letters.letter(row).pins.values() for form in forms_of(pin)}
            record = records.record(index)
            wanted |= {record.chip_private_key, *(block for _, block in record.pin_blocks)}
            wanted |= {record.chip_private_key.hex().encode(), record.permit_recognition}
            wanted |= {RESIDENTS[index].portrait[100:140]}
    for path in (prepared.prepared, prepared.faces, prepared.mailer, prepared.source):
        # The header names the batch, which begins with the day of receipt; that is no secret.
        content = path.read_bytes()[HEADER.size :]
        assert [form for form in wanted if len(form) >= 6 and form in content] == []


def test_the_search_finds_what_is_there() -> None:
    resident = RESIDENTS[0]
    haystack = b"abc" + base64.b64encode(b"xy" + resident.name.encode("gb18030") + b"z")
    assert any(form in haystack for form in forms_of(resident.name))


# ------------------------------------------------------------ what goes wrong


def test_a_batch_is_not_prepared_twice(tmp_path: Path, store: FileKeyStore) -> None:
    prepare_batch(batch(applicant()), store, PERMIT_PROFILE, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(PersonalizationError, match="batch-prepared-already"):
        prepare_batch(batch(applicant()), store, PERMIT_PROFILE, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_row_that_cannot_be_prepared_leaves_nothing_behind(tmp_path: Path, store: FileKeyStore) -> None:
    broken = batch(applicant(2), applicant(3, portrait=b"no picture"))
    with pytest.raises(PersonalizationError, match="portrait-unreadable") as caught:
        prepare_batch(broken, store, PERMIT_PROFILE, tmp_path)
    assert caught.value.parameters["row"] == 3
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_preparation_that_was_killed_are_made_again(tmp_path: Path, store: FileKeyStore) -> None:
    done = prepare_batch(batch(applicant()), store, PERMIT_PROFILE, tmp_path)
    done.prepared.unlink()  # it appears last: without it nothing was promised
    again = prepare_batch(batch(applicant()), store, PERMIT_PROFILE, tmp_path)
    with MailerFile(again.mailer, store) as letters, PreparedFile(again.prepared, store) as records:
        assert len(letters) == len(records) == 1


def test_a_directory_that_is_not_there_is_told(tmp_path: Path, store: FileKeyStore) -> None:
    with pytest.raises(PersonalizationError) as caught:
        prepare_batch(batch(applicant()), store, PERMIT_PROFILE, tmp_path / "none")
    assert (caught.value.code, caught.value.exit_code) == ("directory-unwritable", 3)


def test_progress_is_told_row_by_row(tmp_path: Path, store: FileKeyStore) -> None:
    told: list[int] = []
    prepare_batch(batch(*RESIDENTS), store, PERMIT_PROFILE, tmp_path, progress=told.append)
    assert told == [1, 2, 3]


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x00\x00\x00\x02{}", b"\x00\x00\x00\x04null", b"\xff" * 8])
def test_a_record_of_another_form_is_refused(raw: bytes) -> None:
    for decode in (decode_applicant, CardFace.decode, PinLetter.decode):
        with pytest.raises(PersonalizationError, match="record-malformed"):
            decode(raw)


def test_nothing_personal_shows_in_a_repr(store: FileKeyStore) -> None:
    card = Preparer(PERMIT_PROFILE, store).prepare(applicant())
    shown = repr(card)
    for text in (applicant().name, applicant().citizen_number, *card.letter.pins.values()):
        assert text not in shown


def test_an_unknown_code_is_printed_as_it_is() -> None:
    face = FaceMaker().make(applicant(ethnic_group="99", sex="7"), b"")
    assert (face.front["ethnic_group"], face.front["sex"]) == ("99", "7")


def test_applicants_survive_their_encoding() -> None:
    for resident in RESIDENTS:
        assert decode_applicant(encode_applicant(resident)) == resident


def test_dates_and_accounts_are_written_as_people_read_them() -> None:
    assert written_date(dt.date(2024, 2, 29)) == "2024年2月29日"
    assert grouped("6217993300012345678") == "6217 9933 0001 2345 678"
