"""Readers and cards: sound ones pass every check, and each kind of fault is found by the check that is about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from card_os.iso7816.atr import Atr, InterfaceGroup
from permitcard.matrix.checks import CHECKS
from permitcard.matrix.page import document, page, why
from permitcard.matrix.running import Outcome, Row, run_matrix
from permitcard.matrix.ways import Cards, Way, addressed_way, models_of
from permitcard.specimen import make_blank_specimen
from permitcard.testing.target import ISSUER_DOMAIN_AID
from permitcard.translation import Language, Translator
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.reader_models import reader_model, reader_models
from reader_bridge.simulated import SimulatedCard
from reader_bridge.stack import Wrapper


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """A specimen in all simulated readers, and behind every model of a real one."""
    with Cards([], models_of(())) as cards:
        return run_matrix(cards.ways())


def outcomes(row: Row) -> dict[str, Outcome]:
    return {cell.check: cell.outcome for cell in row.cells}


LINES: Final = ["in process, contact", "in process, contactless", "line, T=0", "line, T=1", "line, T=CL"]


def test_a_specimen_passes_in_every_simulated_reader(rows: list[Row]) -> None:
    models = [model for model in reader_models().values() if model.descriptor]
    assert [row.reader for row in rows] == LINES + [model.title for model in models]
    assert [row.failed for row in rows] == [0] * len(rows)
    assert {row.interface for row in rows[len(LINES) :]} == {"contact", "contactless"}
    assert set(outcomes(rows[0]).values()) == {Outcome.PASSED}


def test_what_a_reader_cannot_carry_is_skipped_with_its_reason(rows: list[Row]) -> None:
    skipped = {
        (row.reader, cell.check): cell.why for row in rows for cell in row.cells if cell.outcome is Outcome.SKIPPED
    }
    unread = {row.reader for row in rows if row.interface == "contactless"}
    short = {reader_model(name).title for name in ("acs-acr3901u", "acs-acr1252-sam", "acs-acr122u", "bluink")}
    assert skipped == {
        **{(reader, check): "nothing-to-read" for reader in unread for check in ("whole-answer", "extended-answer")},
        **dict.fromkeys(((reader, "extended-answer") for reader in short), "reader-short-only"),
        ("line, T=0", "extended-answer"): "byte-protocol",
    }


def test_models_are_those_named_or_all_that_are_of_a_real_reader() -> None:
    assert [model.name for model in models_of(["slow", "ideal"])] == ["slow", "ideal"]
    assert "slow" not in {model.name for model in models_of([])}
    with pytest.raises(ReaderError, match="reader-model-unknown"):
        models_of(["none"])


class Faulty(Wrapper):
    """A reader or card with one fault."""

    __slots__ = ("fault", "seen")

    def __init__(self, inner: CardConnection, fault: str) -> None:
        super().__init__(inner)
        self.fault = fault
        self.seen = 0

    @property
    def description(self) -> ConnectionDescription:
        found = self.inner.description
        protocol = Protocol7816.T0 if self.fault == "protocol" else found.protocol
        return ConnectionDescription(found.name, found.interface, protocol, self._atr(found.answer))

    def _atr(self, answer: bytes) -> bytes:
        if self.fault == "answer":
            return answer[:-1] + bytes((answer[-1] ^ 1,))
        if self.fault == "protocol":
            return Atr((InterfaceGroup(), InterfaceGroup(1)), Atr.parse(answer).historical).encode()
        if self.fault == "powered-again":
            self.seen += 1
        return answer

    def power_on(self) -> bytes:
        answer = self._atr(self.inner.power_on())
        return b"\x3b\x00" if self.fault == "powered-again" and self.seen > 90 else answer

    def reset(self) -> bytes:
        if self.fault == "reset":
            self.seen += 1
            return self._atr(self.description.answer) if self.seen > 1 else self._atr(self.inner.reset())
        return self._atr(self.inner.reset())

    def transmit(self, command: bytes) -> bytes:
        response = self.inner.transmit(command)
        chained = command[0] & 0x10 and command[0] < 0x80
        match self.fault:
            case "chaining" if chained:
                return b"\x68\x84"
            case "channels" if command[1] == 0x70:
                return b"\x68\x81"
            case "unknown" if command[1] == 0xFB:
                return b"\x90\x00"
            case "same-answers":
                self.seen += 1
                return bytes((self.seen & 0xFF,)) + response
            case "long-command" if len(command) > 300:
                return b"\x6f\x00"
            case "header-only" if len(command) == 4:
                raise ReaderError("transmission-failed", reason="too short")
            case "select" if command[1] == 0xA4 and command[3] == 0x0C:
                return b"\x6a\x86"
            case _:
                return response


@pytest.fixture
def blank() -> Iterator[SimulatedCard]:
    card, _ = make_blank_specimen()
    with card:
        yield card


def run_faulty(card: SimulatedCard, fault: str) -> Row:
    way = Way("blank", fault, lambda: Faulty(card.connect(Interface.CONTACT), fault), ISSUER_DOMAIN_AID)
    return run_matrix([way])[0]


def test_a_blank_card_passes_what_can_be_asked_of_it(blank: SimulatedCard) -> None:
    row = run_faulty(blank, "none")
    assert row.failed == 0
    assert sum(cell.outcome is Outcome.SKIPPED for cell in row.cells) == 2


@pytest.mark.parametrize(
    "fault",
    ["answer", "protocol", "chaining", "channels", "unknown", "same-answers", "long-command", "header-only", "select"],
)
def test_each_fault_is_found_by_its_check(blank: SimulatedCard, fault: str) -> None:
    row = run_faulty(blank, fault)
    assert outcomes(row)[fault] is Outcome.FAILED


def test_an_application_is_looked_for_and_without_one_little_can_be_asked(blank: SimulatedCard) -> None:
    found = run_matrix([Way("blank", "reader", blank.connect)])[0]
    assert found.failed == 0
    assert outcomes(found)["select"] is Outcome.PASSED

    class Nameless(Wrapper):
        __slots__ = ()

        def transmit(self, command: bytes) -> bytes:
            return b"\x6a\x82" if command[1] == 0xA4 and command[2] == 0x04 else self.inner.transmit(command)

    concealed = run_matrix([Way("blank", "nameless", lambda: Nameless(blank.connect()))])[0]
    reasons = {cell.check: cell.why for cell in concealed.cells if cell.outcome is Outcome.SKIPPED}
    assert reasons["select"] == "no-application"
    assert outcomes(concealed)["answer"] is Outcome.PASSED


def test_a_reset_that_resets_nothing_is_found(blank: SimulatedCard) -> None:
    class Deaf(Wrapper):
        __slots__ = ()

        def reset(self) -> bytes:
            return self.inner.description.answer

    row = run_matrix([Way("blank", "deaf", lambda: Deaf(blank.connect()), ISSUER_DOMAIN_AID)])[0]
    found = next(cell for cell in row.cells if cell.check == "reset")
    assert (found.outcome, found.why) == (Outcome.FAILED, "survived")


def test_a_card_that_is_not_there_fails_everything_and_leaves_the_others_alone(blank: SimulatedCard) -> None:
    sound = Way("blank", "sound", blank.connect, ISSUER_DOMAIN_AID)
    rows = run_matrix([addressed_way("sim:/nowhere/none.card"), sound])
    assert set(outcomes(rows[0]).values()) == {Outcome.FAILED}
    assert rows[1].failed == 0


def test_checks_have_a_clause_and_codes_of_their_own() -> None:
    assert len({check.code for check in CHECKS}) == len(CHECKS)
    assert all(check.clause.startswith("ISO/IEC") for check in CHECKS)


@pytest.mark.parametrize("language", Language)
def test_the_page_shows_every_cell_in_both_languages(rows: list[Row], blank: SimulatedCard, language: Language) -> None:
    say = Translator.load(language)
    all_rows = [*rows, run_faulty(blank, "select"), *run_matrix([addressed_way("sim:/<none>.card")])]
    text = page(all_rows, "2026-11-26", language.value, say)
    assert text.count('<td class="cell') == len(all_rows) * len(CHECKS)
    assert text.count("✗") == sum(row.failed for row in all_rows)
    assert all(say(f"matrix.check.{check.code}") in text for check in CHECKS)
    assert "sim:/&lt;none&gt;.card" in text
    assert "<none>" not in text
    failed = [cell for row in all_rows for cell in row.cells if cell.outcome is Outcome.FAILED]
    assert all(why(cell, say) for cell in failed)


def test_the_document_counts_what_the_page_shows(rows: list[Row]) -> None:
    found = document(rows, "2026-11-26")
    assert (found["passed"], found["failed"], found["skipped"]) == (len(rows) * len(CHECKS) - 18, 0, 18)
