"""A batch rehearsed: virtual time, room and wear of real simulated cards, and rows that would fail."""

from __future__ import annotations

import datetime as dt
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from card_os.globalplatform.production_data import ProductionData
from card_os.hardware.chip import load_chips
from card_os.hardware.image import NvmImage
from card_os.manufacture import manufacture
from permitcard.blanks import factory_keys
from permitcard.rehearsal import bench as module
from permitcard.rehearsal.findings import Setting, rehearsal_document
from permitcard.rehearsal.rehearse import rehearse
from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.intake.sample import write_sample
from personalization.keys.keystore import KeyStore
from personalization.preparation.prepare import PreparedCard, Preparer
from personalization.reports.rehearsal_page import rehearsal_page
from personalization.reports.words import catalogue
from reader_bridge.connection import ReaderError
from reader_bridge.reader_models import reader_model

ROWS = 3


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("delivery"), ROWS, 5)


def test_time_is_that_of_card_line_and_reader(delivery: Path) -> None:
    found = rehearse(delivery, Setting(reader="slow", handling_ms=1000, stations=3))
    assert [card.failed_at for card in found.cards] == [""] * ROWS
    for card in found.cards:
        for stage in (card.make, card.inspect):
            assert stage.reader_ns == stage.exchanges * reader_model("slow").delay_ms * 1_000_000
            assert stage.card_ns > 0
            assert stage.line_ns > 0
        assert card.cycles > 0
        assert 0 < card.free < found.room
    document = rehearsal_document(found)
    spent = sum(card.make.total_ns + card.inspect.total_ns + 2_000_000_000 for card in found.cards) / 1e9
    assert document["seconds_a_card"] == round(spent / ROWS, 3)
    assert document["cards_an_hour"] == round(3 * ROWS / spent * 3600, 1)
    assert (document["yield_percent"], document["failures"], document["failed_rows"]) == (100.0, {}, [])


def test_the_line_decides_and_not_the_machine(delivery: Path) -> None:
    first, again = (rehearse(delivery, Setting(), most=1).cards[0] for _ in range(2))
    assert (first.make.exchanges, first.inspect.exchanges) == (again.make.exchanges, again.inspect.exchanges)
    assert first.make.line_ns == pytest.approx(again.make.line_ns, rel=0.01)  # lengths of signatures differ
    slow_chip = rehearse(delivery, Setting(chip="mapped-eeprom-80k"), most=1).cards[0]
    assert slow_chip.make.card_ns > 1.5 * first.make.card_ns
    assert slow_chip.make.line_ns == pytest.approx(first.make.line_ns, rel=0.01)


def small_blank(
    path: Path | None, keys: KeyStore, batch: int, serial: int, day: dt.date, *, chip: str
) -> tuple[NvmImage, bytes]:
    """A chip on which a permit has no room."""
    data = ProductionData(ic_batch=batch, ic_serial_number=serial)
    small = replace(load_chips()[chip], name="small", size=16 * 1024)
    image = NvmImage.create(path, small)
    manufacture(image.nvm(), data, factory_keys(keys, data.card_number))
    return image, data.card_number


def test_a_chip_without_room_fails_every_row_and_says_where(delivery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "make_blank", small_blank)
    found = rehearse(delivery, Setting())
    assert [card.failed_at for card in found.cards] == ["make"] * ROWS
    document = rehearsal_document(found)
    assert (document["good"], document["yield_percent"], document["cards_an_hour"]) == (0, 0.0, 0.0)
    assert all("6A84" in card.reason for card in found.cards), "not enough memory space (ISO/IEC 7816-4, table 6)"
    page = rehearsal_page(document, catalogue_words, language="en")
    assert "6A84" in page
    assert "<script" not in page


def catalogue_words(code: str, **parameters: object) -> str:
    return catalogue("en").get(code, code).format_map(parameters)


def test_a_row_that_does_not_fit_is_told_with_its_field(delivery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = Preparer.prepare

    def refuse(self: Preparer, applicant: Applicant) -> PreparedCard:
        if applicant.row_number == 3:
            raise PersonalizationError("field-too-long", row=3, field="name", length=99, limit=60)
        return prepare(self, applicant)

    monkeypatch.setattr(Preparer, "prepare", refuse)
    found = rehearse(delivery, Setting())
    bad = next(card for card in found.cards if card.failed_at)
    assert (bad.row, bad.failed_at, bad.reason) == (3, "prepare", "field-too-long")
    assert bad.facts == {"field": "name", "length": 99, "limit": 60}
    assert (len(found.good), found.failures) == (ROWS - 1, {"prepare: field-too-long": 1})


def test_a_reader_that_does_not_have_the_protocol_makes_nothing(delivery: Path) -> None:
    assert not reader_model("acs-acr122u").protocols & 1
    found = rehearse(delivery, Setting(reader="acs-acr122u", protocol="T=0"), most=1)
    assert (found.cards[0].failed_at, found.cards[0].reason) == ("make", "protocol-mismatch")
    with pytest.raises(ReaderError, match="reader-model-unknown"):
        rehearse(delivery, Setting(reader="none such"))
    with pytest.raises(ReaderError, match="chip-unknown"):
        rehearse(delivery, Setting(chip="none such"))
    with pytest.raises(PersonalizationError, match="rehearsal-protocol"):
        rehearse(delivery, Setting(protocol="T=2"))


def test_rows_rehearsed_side_by_side_come_out_as_one_after_the_other(delivery: Path) -> None:
    alone, together = (rehearse(delivery, Setting(), workers=workers) for workers in (0, 2))
    assert [card.row for card in together.cards] == [card.row for card in alone.cards]
    assert [card.failed_at for card in together.cards] == [""] * ROWS
    assert [card.inspect.exchanges for card in together.cards] == [card.inspect.exchanges for card in alone.cards]
    assert (together.room, together.endurance) == (alone.room, alone.endurance)


def test_a_worker_that_is_killed_ends_the_rehearsal_with_a_word(delivery: Path) -> None:
    def kill(done: int, _total: int) -> None:
        if done == 1:
            for child in multiprocessing.active_children():
                child.kill()
                child.join()

    with pytest.raises(PersonalizationError, match="rehearsal-worker-lost") as caught:
        rehearse(delivery, Setting(), workers=1, progress=kill)
    assert caught.value.exit_code == 3
    assert not multiprocessing.active_children()


def test_refused_rows_are_counted_by_rule_and_rows_spread(tmp_path: Path) -> None:
    damaged = write_sample(tmp_path, 120, 2, damaged=True)
    found = rehearse(damaged, Setting(), most=2)
    assert sum(found.refused.values()) > 0
    assert len(found.cards) == 2
    assert found.cards[1].row - found.cards[0].row > 20
    document = rehearsal_document(found)
    assert document["refused"] == sum(found.refused.values())
    accepted = found.delivered - sum(found.refused.values())
    expected = found.station_ns / 3.6e12 / 2 * accepted / 2
    assert document["hours_for_the_batch"] == round(expected, 3)
