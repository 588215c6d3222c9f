"""The tear sweep on chips with a page erase: our cards stand it, and bugs that were planted in the mapping do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from card_os.applet_api import Context
from card_os.hardware.chip import CellKind, load_chips
from card_os.iso7816.errors import MemoryFailure, VerificationFailed
from card_os.security import pin as card_pin
from card_os.security.cryptography import equal
from card_os.security.tries import spend_try
from card_os.storage.blocks import HEADER_BYTES, BlockKind
from card_os.storage.mapped import MappedMemory
from card_os.storage.store import StoredObject
from permitcard.tearing.script import TearScript
from permitcard.tearing.sweeping import BLANK, SPECIMEN, assert_tear_safe, open_card_to_tear, sweep_script
from reader_bridge.tear_report import TearReport, ViolationKind
from tests.tearing.first_violation import first_violation

SCRIPTS = sorted((Path(__file__).parents[2] / "examples" / "tear").glob("*.tear"))
SELECT = "00A4 0400 07 F05A4A4A5A0101 00\n"
VERIFY = SELECT + "0020 0081 08 26246802FFFFFFFF\n"
UPDATE = "terminal service_desk\n00D6 8B00 10 000102030405060708090A0B0C0D0E0F\n"
SUSPEND = "terminal service_desk\n00DA DF22 08 3230323730363031\n"
DELETE = "setup:\nscp03 factory\nput-keys card\nscp03 card\ninstall permit\nrun:\nscp03 card\ndelete permit\n"
MAPPED = sorted(name for name, chip in load_chips().items() if chip.kind is not CellKind.WORDS)
CHIPS = pytest.mark.parametrize("chip", MAPPED)
FLASH = "mapped-flash-144k"
SWEPT = [
    pytest.param(path, chip, id=f"{path.stem}-{chip}", marks=[pytest.mark.long] if (row + column) % 2 else [])
    for row, path in enumerate(SCRIPTS)
    for column, chip in enumerate(MAPPED)
]
"""Every script on every chip; the shorter run takes the chips in turn."""
Writes = Sequence[tuple[int, bytes]]
Wipes = Sequence[tuple[int, int]]


def swept(text: str, card: str = SPECIMEN) -> TearReport:
    return sweep_script(TearScript.parse(text), open_card_to_tear(card, chip=FLASH))


def kinds(report: TearReport) -> set[ViolationKind]:
    return {violation.problem.kind for violation in report.violations}


@pytest.mark.parametrize(("path", "chip"), SWEPT)
def test_the_scripts_of_the_examples_find_nothing_on_pages(
    path: Path, chip: str, record_property: Callable[[str, object], None]
) -> None:
    text = path.read_text(encoding="utf-8")
    report = assert_tear_safe(text, open_card_to_tear(BLANK if "--card blank" in text else SPECIMEN, chip=chip))
    record_property("cuts", report.cuts)
    assert report.cuts == 4 * report.units
    assert report.writing > 5
    assert report.units > 3_000 or path.stem != "permit-personalization"


@pytest.mark.long
@CHIPS
@pytest.mark.parametrize("text", [VERIFY, UPDATE, SUSPEND])
def test_a_boot_that_is_cut_on_pages_is_made_up_for_by_the_next(text: str, chip: str) -> None:
    """Recovery of a mapped memory is torn at each word and each erase of it, after each cut of the command."""
    card = open_card_to_tear(SPECIMEN, chip=chip)
    once = assert_tear_safe(text, card)
    assert assert_tear_safe(text, card, twice=True).cuts > once.cuts


@pytest.mark.long
@CHIPS
def test_a_boot_that_is_cut_while_a_deletion_is_wiped_is_made_up_for(chip: str) -> None:
    assert_tear_safe(DELETE, open_card_to_tear(BLANK, chip=chip), twice=True)


# ---------------------------------------------------------------------- planted bugs


def missing_entry(original: Callable[..., None]) -> Callable[..., None]:
    """The last write is done, but not in the log."""

    def commit(memory: MappedMemory, writes: Writes, wipes: Wipes, secret: bool) -> None:
        original(memory, writes[:-1] or writes, wipes, secret)
        address, data = writes[-1]
        memory._ram[address : address + len(data)] = data
        memory._mark(address, len(data))
        memory.flush()

    return commit


def scrub_too_early(original: Callable[..., None]) -> Callable[..., None]:
    """What is deleted is wiped before the deletion is committed."""

    def commit(memory: MappedMemory, writes: Writes, wipes: Wipes, secret: bool) -> None:
        for address, length in wipes:
            memory.take_back(address, length)
        memory.settle()
        original(memory, writes, wipes, secret)

    return commit


def forgets_to_erase(original: Callable[..., None]) -> Callable[..., None]:
    """The predecessor of a page is let alone."""

    def write_page(memory: MappedMemory, page: int) -> None:
        memory._map.pop(page, None)
        original(memory, page)

    return write_page


def forgets_to_scrub(original: Callable[..., None]) -> Callable[..., None]:
    """What is deleted is left where it stood."""

    def commit(memory: MappedMemory, writes: Writes, wipes: Wipes, secret: bool) -> None:
        original(memory, writes, (), secret)

    return commit


def erases_too_early(original: Callable[..., None]) -> Callable[..., None]:
    """The predecessor of a page is erased before its successor is there."""

    def write_page(memory: MappedMemory, page: int) -> None:
        old = memory._map.pop(page, None)
        if old is not None:
            memory._pool.release(old)
        original(memory, page)

    return write_page


def marks_first(memory: MappedMemory, page: int) -> None:
    """A page is made valid by its header, and then gets its content."""
    size = memory._page_bytes
    block, old = memory._pool.take(), memory._map.get(page)
    memory._pool.mark(block, BlockKind.PAGE, page, memory._next())
    content = memory._view[page * size : (page + 1) * size].tobytes()
    memory._nvm.write(block * memory._block_bytes + HEADER_BYTES, content)
    memory._map[page] = block
    if old is not None:
        memory._pool.release(old)


def test_a_deletion_without_its_scrub_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MappedMemory, "commit", forgets_to_scrub(MappedMemory.commit))
    assert ViolationKind.RESIDUE in kinds(swept(DELETE, BLANK))


def test_a_page_that_is_erased_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = open_card_to_tear(BLANK, chip=FLASH)
    monkeypatch.setattr(MappedMemory, "_write_page", erases_too_early(MappedMemory._write_page))
    report = sweep_script(TearScript.parse(DELETE), target)
    assert kinds(report) & {ViolationKind.BETWEEN, ViolationKind.NO_BOOT}


def test_a_page_that_is_valid_before_its_content_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = open_card_to_tear(BLANK, chip=FLASH)
    monkeypatch.setattr(MappedMemory, "_write_page", marks_first)
    report = sweep_script(TearScript.parse(DELETE), target)
    assert kinds(report) & {ViolationKind.BETWEEN, ViolationKind.NO_BOOT}


def test_a_counter_after_the_compare_is_found_on_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare_first(context: Context, item: StoredObject, body: bytes, block: bytes) -> None:
        if not equal(body[4:], block):
            raise VerificationFailed(spend_try(context.store, item, body[0]))

    monkeypatch.setattr(card_pin, "_compare", compare_first)
    assert kinds(swept(VERIFY)) == {ViolationKind.TRY_NOT_SPENT}


def test_a_record_without_one_of_its_writes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MappedMemory, "commit", missing_entry(MappedMemory.commit))
    assert ViolationKind.BETWEEN in kinds(swept(SUSPEND))


def test_content_that_is_wiped_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MappedMemory, "commit", scrub_too_early(MappedMemory.commit))
    assert ViolationKind.BETWEEN in kinds(swept(DELETE, BLANK))


def test_a_page_that_is_not_erased_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MappedMemory, "_write_page", forgets_to_erase(MappedMemory._write_page))
    first_violation(monkeypatch, {ViolationKind.RESIDUE}, lambda: swept(DELETE, BLANK))


def test_a_counter_without_a_record_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page that it stands in is erased before its successor is there."""

    def write_word(memory: MappedMemory, address: int, word: bytes) -> None:
        memory._ram[address : address + len(word)] = word
        page = address // memory._page_bytes
        memory._pool.release(memory._map.pop(page))
        memory._write_page(page)

    target = open_card_to_tear(SPECIMEN, chip=FLASH)
    monkeypatch.setattr(MappedMemory, "write_word", write_word)
    report = sweep_script(TearScript.parse(VERIFY), target)
    assert kinds(report) & {ViolationKind.COUNTER_BACK, ViolationKind.BETWEEN, ViolationKind.NO_BOOT}


def test_a_mapped_card_that_does_not_boot_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = MappedMemory._replay

    def replay(memory: MappedMemory, *state: Any) -> bool:
        if not original(memory, *state):
            raise MemoryFailure("planted")
        return True

    monkeypatch.setattr(MappedMemory, "_replay", replay)
    report = swept(UPDATE)
    assert kinds(report) == {ViolationKind.NO_BOOT}
    assert report.violations[0].problem.detail == "planted"
