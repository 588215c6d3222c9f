"""Linked numbers on the card and in the platform's file, with every fault."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest

from permitcard.specimen import published_keys, specimen_keys
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName
from personalization.keys.signed_document import open_document, sign_document, written
from personalization.permit.desk.card_state import objects_in
from personalization.permit.desk.dossier import Dossier, MemoryDossiers, Withdrawal
from personalization.permit.endorsement import PermitTerm
from personalization.permit.linked import LinkedNumbers, LinkFault, faults_of
from personalization.permit.platform_file import PlatformLine, platform_document, read_platform_document
from reader_bridge.connection import Interface
from tests.unit.personalization.desk.bench import AREA, DUE, ISSUED, NUMBER, BenchCard, desk, recognise

TODAY = dt.date(2026, 5, 25)
FULL_WIDTH_FIVE = "\uff15"
GOOD = LinkedNumbers("Z00000001", "9999900000000000025", "A12345678")


@pytest.mark.parametrize("interface", Interface)
def test_numbers_stand_on_the_card_and_in_the_record(interface: Interface) -> None:
    card, dossiers = BenchCard(), MemoryDossiers()
    with card.tap(TODAY, interface) as tap:
        desk(dossiers).link(tap, TODAY, GOOD)
        found = objects_in(tap.session.read("EF.LINKED"), 0x7F04)
    assert found == {0xDF31: b"Z00000001", 0xDF32: b"9999900000000000025", 0xDF33: b"A12345678"}
    kept = dossiers.find(recognise(NUMBER))
    assert kept is not None
    assert kept[0].linked == GOOD
    assert Dossier.decode(kept[0].encode()) == kept[0]
    assert "A12345678" not in repr(kept[0])
    with card.tap(TODAY) as tap:
        desk(dossiers).link(tap, TODAY, LinkedNumbers())
        assert objects_in(tap.session.read("EF.LINKED"), 0x7F04) == {}, "no number unlinks"


@pytest.mark.parametrize(
    ("linked", "faults"),
    [
        (GOOD, []),
        (LinkedNumbers(), []),
        (LinkedNumbers(social_card="123456789"), []),
        (replace(GOOD, citizen_card="z00000001"), [LinkFault.CITIZEN_CARD_FORM]),
        (replace(GOOD, account="999990000000000"), [LinkFault.ACCOUNT_FORM]),
        (replace(GOOD, account="999990000000000002" + FULL_WIDTH_FIVE), [LinkFault.ACCOUNT_FORM]),
        (replace(GOOD, social_card="a12345678"), [LinkFault.SOCIAL_CARD_FORM]),
        (replace(GOOD, citizen_card=""), [LinkFault.ACCOUNT_ALONE]),
        (replace(GOOD, account=""), [LinkFault.CITIZEN_CARD_ALONE]),
        (
            LinkedNumbers("Z1", "1", "1"),
            [LinkFault.CITIZEN_CARD_FORM, LinkFault.ACCOUNT_FORM, LinkFault.SOCIAL_CARD_FORM],
        ),
    ],
)
def test_every_fault_of_linked_numbers(linked: LinkedNumbers, faults: list[LinkFault]) -> None:
    assert list(faults_of(linked)) == faults
    card = BenchCard()
    with card.tap(TODAY) as tap:
        office = desk()
        if not faults:
            office.link(tap, TODAY, linked)
            return
        with pytest.raises(PersonalizationError, match="linked-number-wrong") as caught:
            office.link(tap, TODAY, linked)
        assert caught.value.exit_code == 2
        assert tap.status.changes == 0


# ---------------------------------------------------------------- the platform's file


def line(number: str, linked: LinkedNumbers = GOOD, **changes: Any) -> PlatformLine:
    return PlatformLine(number, replace(PermitTerm(ISSUED, DUE, AREA, ISSUED), **changes), "", 0, linked)


def test_a_day_s_file_says_what_each_card_is_worth() -> None:
    ended = replace(line("330381263000000003", LinkedNumbers(), cancelled=TODAY), why=Withdrawal.LOST.value, waiting=1)
    document = platform_document([ended, line("330381263000000001"), line("330381263000000002", LinkedNumbers())], DUE)
    assert document["counts"] == {"valid": 2, "suspended": 0, "cancelled": 1}
    permits: Any = document["permits"]
    assert [row["permit_number"][-1] for row in permits] == ["1", "2", "3"]
    assert (permits[2]["status"], permits[2]["ended"], permits[2]["why"], permits[2]["waiting"]) == (
        "cancelled",
        "2026-05-25",
        "lost",
        1,
    )
    assert read_platform_document(document, "file") == {}
    late = platform_document([line("330381263000000001")], DUE + dt.timedelta(days=1))
    assert late["counts"] == {"valid": 0, "suspended": 1, "cancelled": 0}


def test_numbers_of_two_good_permits_and_of_ended_ones_are_told() -> None:
    first, second = line("330381263000000001"), line("330381263000000002", LinkedNumbers(social_card="A12345678"))
    found = platform_document([first, second], TODAY)
    assert read_platform_document(found, "file") == {"linked-twice": 2}
    ended = platform_document([first, replace(second, term=second.term.cancelled_on(TODAY))], TODAY)
    assert read_platform_document(ended, "file") == {"linked-to-ended": 1}


def signed(document: dict[str, object]) -> Any:
    return json.loads(written(sign_document(document, specimen_keys())))


def test_a_file_that_was_changed_or_is_of_somebody_else_is_not_taken() -> None:
    authority = specimen_keys().certificate(KeyName.AUTHORITY)
    good = signed(platform_document([line("330381263000000001")], TODAY))
    assert open_document(good, "file", authority)["kind"] == "permitcard platform file"
    good["document"]["permits"][0]["status"] = "cancelled"
    with pytest.raises(PersonalizationError, match="document-not-genuine"):
        open_document(good, "file", authority)
    others = sign_document(platform_document([], TODAY), published_keys("others, public: "))
    with pytest.raises(PersonalizationError, match="document-not-genuine"):
        open_document(others, "file", authority)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"kind": "permitcard audit export"}, "version"),
        ({"version": 2}, "version"),
        ({"counts": {"valid": 9}}, "counts"),
        ({"permits": [{}]}, "form"),
        ({"permits": "twice"}, "order"),
        ({"permits": "hidden"}, "faults"),
    ],
    ids=["kind", "version", "counts", "form", "order", "faults"],
)
def test_a_signed_file_of_another_form_is_not_taken(change: dict[str, Any], what: str) -> None:
    document: dict[str, Any] = platform_document([line("330381263000000001", replace(GOOD, account="1"))], TODAY)
    if change.get("permits") == "twice":
        change = {"permits": document["permits"] * 2}
    elif change.get("permits") == "hidden":
        change = {"permits": [{**document["permits"][0], "faults": []}]}
    with pytest.raises(PersonalizationError, match="platform-file-wrong") as caught:
        read_platform_document({**document, **change}, "file")
    assert caught.value.parameters["what"] == what
