"""What applications do with files without commands: STORE DATA fills them, whole records by their place."""

from __future__ import annotations

from contextlib import suppress

import pytest

from card_os.applet_api import Context, Session
from card_os.files.directory import FileTable
from card_os.files.spec import FileSpec, FileStructure
from card_os.files.system import FileSystem
from card_os.hardware.image import NvmImage
from card_os.iso7816.errors import (
    FileExists,
    FileNotFound,
    IncompatibleFileStructure,
    NcInconsistentWithTlv,
    NotEnoughMemory,
    RecordNotFound,
    WrongData,
    WrongLength,
    WrongParameters,
)
from card_os.storage.store import ObjectKind, ObjectStore
from tests.doubles.recording_applet import FIRST, blank_memory, install, make_card


@pytest.fixture
def context() -> Context:
    card = make_card(blank_memory().nvm())
    install(card, FIRST)
    application = card.platform.registry.by_aid(FIRST)
    assert application is not None
    return card.platform.context_of(application)


def test_a_file_is_an_object_named_by_its_identifier(context: Context) -> None:
    item = context.store.find(context.application.owner, ObjectKind.FILE, 0x0101)
    assert item is context.files.get(0x0101).item


def test_writing_and_reading_without_rules(context: Context) -> None:
    file = context.files.get(0x0106)
    context.files.write(file, 2, b"\x01\x02")
    assert context.files.read(file, 1, 4) == b"\x00\x01\x02\x00"
    assert len(context.files.read(file)) == 16
    with pytest.raises(WrongParameters):
        context.files.read(file, 10, 7)
    with pytest.raises(WrongParameters):
        context.files.write(file, 15, b"\x01\x02")


def test_records_come_into_use_by_writing_their_place(context: Context) -> None:
    files = context.files
    file = files.get(0x0102)
    files.write(file, 0, b"\x01" * 8 + b"\x02" * 8)
    files.write(file, 16, b"\x03" * 8)
    files.write(file, 0, b"\x11" * 8)
    assert files.record_state(file)[0] == 3
    assert files.read_record(file, 1) == b"\x11" * 8
    with pytest.raises(RecordNotFound):
        files.write(file, 32, b"\x05" * 8)
    with pytest.raises(WrongLength):
        files.write(file, 4, b"\x05" * 8)
    with pytest.raises(WrongLength):
        files.write(file, 0, b"\x05" * 7)
    with pytest.raises(IncompatibleFileStructure):
        files.write(files.get(0x0103), 0, b"\x01")


def test_a_cyclic_file_filled_by_place_goes_on_behind_it(context: Context) -> None:
    files = context.files
    file = files.get(0x0104)
    files.write(file, 0, b"\x01" * 4 + b"\x02" * 4)
    assert files.read_record(file, 1) == b"\x02" * 4
    files.append_record(file, b"\x03" * 4)
    files.append_record(file, b"\x04" * 4)
    assert [files.read_record(file, number) for number in (1, 2, 3)] == [bytes((n,)) * 4 for n in (4, 3, 2)]


def test_several_templates_are_created_together_or_not_at_all(context: Context) -> None:
    good = FileSpec(0x0201, FileStructure.TRANSPARENT, 4).encode()
    other = FileSpec(0x0202, FileStructure.TRANSPARENT, 4).encode()
    assert [file.spec.fid for file in context.files.create_all(good + other)] == [0x0201, 0x0202]
    third = FileSpec(0x0203, FileStructure.TRANSPARENT, 4).encode()
    with pytest.raises(FileExists):
        context.files.create_all(third + good)
    assert context.files.find(0x0203) is None
    with pytest.raises(NcInconsistentWithTlv):
        context.files.create_all(third[:-1])
    with pytest.raises(WrongData):
        context.files.create_all(third + b"\x6f\x00")
    assert context.files.find(0x0203) is None


def test_the_same_identifier_in_another_df_is_another_file(context: Context) -> None:
    files = context.files
    df = files.create(FileSpec(0x5000, FileStructure.DF))
    inner = files.create(FileSpec(0x0101, FileStructure.TRANSPARENT, 4), df.identifier)
    assert inner.identifier != files.get(0x0101).identifier
    files.write(inner, 0, b"\xaa")
    assert files.read(files.get(0x0101), 0, 1) == b"\x00"
    files.delete(df)
    assert files.find(0x0101, df.identifier) is None
    with pytest.raises(FileNotFound):
        files.get(0x5000)


def test_memory_runs_out(context: Context) -> None:
    for fid in (0x1000, 0x1001):
        context.files.create(FileSpec(fid, FileStructure.TRANSPARENT, 60_000))
    with pytest.raises(NotEnoughMemory):
        context.files.create(FileSpec(0x1002, FileStructure.TRANSPARENT, 60_000))
    assert context.files.find(0x1002) is None


def test_a_transaction_that_fails_leaves_no_file_behind(context: Context) -> None:
    files = context.files

    def create_and_fail() -> None:
        with context.store.transaction():
            files.create(FileSpec(0x0301, FileStructure.TRANSPARENT, 4))
            assert files.get(0x0301).size == 4
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_and_fail()
    assert context.store.find(context.application.owner, ObjectKind.FILE, 0x0301) is None


@pytest.mark.parametrize("failed", [False, True])
def test_a_directory_outlives_a_command_that_succeeds_only(failed: bool) -> None:
    store = ObjectStore(NvmImage.create().nvm())
    table = FileTable(store)
    files = FileSystem(table, 1, Session())
    old = files.create(FileSpec(0x0101, FileStructure.TRANSPARENT, 4))
    table.settle(failed=False)
    assert files.get(0x0101) is old
    new = files.create(FileSpec(0x0102, FileStructure.TRANSPARENT, 4))
    table.settle(failed=failed)
    assert (files.get(0x0101) is old, files.get(0x0102) is new) == ((not failed,) * 2)
    assert not table.changed


def test_a_file_whose_creation_was_undone_is_not_kept_by_a_command_that_succeeds() -> None:
    store = ObjectStore(NvmImage.create().nvm())
    table = FileTable(store)
    files = FileSystem(table, 1, Session())
    with suppress(WrongData), store.transaction():
        files.create(FileSpec(0x0101, FileStructure.TRANSPARENT, 4))
        raise WrongData("an applet that changes its mind")
    table.settle(failed=False)
    assert files.find(0x0101) is None
