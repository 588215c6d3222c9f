"""Terminals and cards that are turned away: nothing of the permit is written, the record stays, and the reason is said.

Each case runs on both interfaces. All that a card may have written is the try that wrong keys spent.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest

from card_os.iso7816.status import SW
from permitcard.products import permit_profile
from permitcard.sams import new_sam, open_sam
from permitcard.specimen import published_keys, specimen_applicant, specimen_keys, specimen_record
from permitcard.translation import Language, Translator
from personalization.errors import PersonalizationError
from personalization.inspection.signature_check import SignatureVerifier
from personalization.keys.authorities import authorities_of
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.permit.desk.desk import NewResidence
from personalization.permit.desk.dossier import Dossier, MemoryDossiers, Withdrawal
from personalization.permit.desk.proof import DateBound
from personalization.permit.desk.tap import open_tap
from personalization.preparation.prepare import Preparer
from reader_bridge.card_comparison import DifferenceKind, compare_cards
from reader_bridge.connection import CardConnection, Interface
from tests.unit.personalization.desk.bench import (
    NUMBER,
    BenchCard,
    card_made_with,
    desk,
    other_keys,
    recognise,
    specimen_image,
    verifier,
)
from tests.unit.personalization.desk.lines import Line, Playing

TOLD = dt.date(2026, 6, 1)
TODAY = dt.date(2026, 12, 10)
BOUND = dt.date(2099, 1, 1)
PERMIT = "F05A4A4A5A0101"
DESK_KEY, DESK_TRIES = 0x82, 10
ROLES = (KeyName.INSPECTION, KeyName.SERVICE_DESK, KeyName.BANK_BRANCH, KeyName.ISSUER)
HOME = NewResidence("浙江省瑞安市新路1号", "1", TOLD, "仙降派出所")


@cache
def strangers() -> FileKeyStore:
    """A centre of another province, with an authority of its own."""
    return published_keys("key of another province, public: ")


# ---------------------------------------------------------------- cards


@cache
def met_image() -> bytes:
    card = BenchCard(specimen_image())
    with card.tap(TOLD) as tap:
        desk(MemoryDossiers()).inspect(tap, TOLD)
    return card.snapshot()


def met() -> BenchCard:
    """The specimen, told 1 June 2026 at its first tap."""
    return BenchCard(met_image())


@cache
def foreign_image() -> bytes:
    return card_made_with(strangers(), specimen_record(strangers())).snapshot()


@cache
def shared_image() -> bytes:
    return card_made_with(specimen_keys(), specimen_record(strangers())).snapshot()


@cache
def copied_image() -> bytes:
    record = specimen_record(specimen_keys())
    own = hashlib.sha256(b"the forger's chip key").digest()
    return card_made_with(specimen_keys(), replace(record, chip_private_key=own)).snapshot()


@cache
def forged_image() -> bytes:
    """Another name under the same signature."""
    record = specimen_record(specimen_keys())
    name = specimen_applicant().name.encode()
    forged = tuple(
        row._replace(value=row.value.replace(name, name[:3].ljust(len(name), b"!"))) for row in record.groupings
    )
    assert forged != record.groupings
    return card_made_with(specimen_keys(), replace(record, groupings=forged)).snapshot()


@cache
def as_produced_image() -> bytes:
    """As production makes it: no date past 60 days after production without a signed bound."""
    made = Preparer(permit_profile(), specimen_keys()).prepare(specimen_applicant()).record
    return card_made_with(specimen_keys(), made).snapshot()


# ---------------------------------------------------------------- cases


def signed_bound(day: dt.date, keys: FileKeyStore) -> DateBound:
    message = b"permitcard date bound" + f"{day:%Y%m%d}".encode("ascii")
    return DateBound(day, keys.sign_with_all(KeyName.CLOCK, hashlib.sha256(message).digest()))


@dataclass(frozen=True)
class Case:
    name: str
    code: str
    card: Callable[[], bytes] = met_image
    keys: Callable[[], FileKeyStore] = specimen_keys
    today: dt.date = TODAY
    bound: Callable[[], DateBound | None] = lambda: None
    facts: dict[str, Any] = field(default_factory=dict)
    spent: bool = False
    """The card spent a try on wrong keys."""


CASES = [
    Case("keys-of-another-centre", "card-of-another-generation", keys=strangers),
    Case("old-generation-of-concealment", "card-of-another-generation", keys=lambda: other_keys(KeyName.CONCEALMENT)),
    Case(
        "old-sam-whose-role-key-was-replaced",
        "terminal-keys-refused",
        keys=lambda: other_keys(KeyName.SERVICE_DESK),
        facts={"role": "service_desk", "tries": 9},
        spent=True,
    ),
    Case(
        "bound-signed-by-somebody-else",
        "date-bound-forged",
        bound=lambda: signed_bound(BOUND, strangers()),
        facts={"bound": BOUND},
    ),
    Case(
        "bound-moved-under-its-signature",
        "date-bound-forged",
        bound=lambda: DateBound(BOUND, signed_bound(TODAY, specimen_keys()).signatures),
    ),
    Case(
        "date-before-the-card-s",
        "terminal-date",
        today=TOLD - dt.timedelta(days=1),
        facts={"today": TOLD - dt.timedelta(days=1), "told": TOLD},
    ),
    Case(
        "date-past-the-bound",
        "terminal-date",
        card=as_produced_image,
        facts={"told": "-", "bound": dt.date(2026, 3, 2)},
    ),
    Case("copy-without-the-chip-key", "card-copied", card=copied_image),
    Case("another-name-under-the-signature", "card-data-forged", card=forged_image),
    Case("card-of-another-province", "card-of-another-generation", card=foreign_image),
    Case("card-of-another-authority-with-our-keys", "card-signer-unknown", card=shared_image),
]


def said(error: PersonalizationError) -> None:
    """The reason in both languages, every place of the sentence filled; exit code 1, found failures."""
    assert error.exit_code == 1
    words = [Translator.load(language)(error.code, **error.parameters) for language in Language]
    assert len(set(words)) == len(Language)
    for text in words:
        assert not text.startswith(error.code)
        assert "{" not in text


@pytest.fixture
def known() -> MemoryDossiers:
    """The record of the specimen."""
    dossiers = MemoryDossiers()
    with met().tap(TOLD) as tap:
        desk(dossiers).inspect(tap, TOLD)
    return dossiers


def dossier_in(dossiers: MemoryDossiers) -> tuple[Dossier, int] | None:
    return dossiers.find(recognise(NUMBER))


@pytest.mark.parametrize("interface", Interface)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_turned_away(case: Case, interface: Interface, known: MemoryDossiers) -> None:
    card = BenchCard(case.card())
    before, record = card.fork(), dossier_in(known)
    tapped = card.tap(case.today, interface, keys=case.keys(), bound=case.bound())
    with pytest.raises(PersonalizationError) as caught, tapped as tap:
        desk(known).endorse(tap, case.today)
    assert caught.value.code == case.code
    assert case.facts.items() <= caught.value.parameters.items()
    said(caught.value)
    differences = compare_cards(before, card.fork())
    assert [(item.item, item.identifier, item.kind) for item in differences] == (
        [("key", DESK_KEY, DifferenceKind.COUNTER)] if case.spent else []
    )
    assert dossier_in(known) == record


@pytest.mark.parametrize("interface", Interface)
def test_the_right_keys_give_the_try_back(interface: Interface, known: MemoryDossiers) -> None:
    card = met()
    before = card.fork()
    for left in (9, 8):
        with (
            pytest.raises(PersonalizationError, match=f"terminal-keys-refused: role=service_desk, tries={left}"),
            card.tap(TOLD, interface, keys=other_keys(KeyName.SERVICE_DESK)),
        ):
            raise AssertionError("a terminal with an old key was let in")
    with card.tap(TOLD, interface) as tap:
        desk(known).inspect(tap, TOLD)
    assert compare_cards(before, card.fork()) == []


def test_a_card_takes_no_more_keys_after_ten_wrong_ones() -> None:
    """The role stays blocked for the right keys too, other roles do not, and it is said."""
    card = met()
    for left in range(DESK_TRIES - 1, -1, -1):
        with (
            pytest.raises(PersonalizationError, match=f"tries={left}"),
            card.tap(TODAY, keys=other_keys(KeyName.SERVICE_DESK)),
        ):
            raise AssertionError("a terminal with an old key was let in")
    with pytest.raises(PersonalizationError) as caught, card.tap(TODAY):
        raise AssertionError("a blocked role was let in")
    assert caught.value.code == "terminal-keys-blocked"
    said(caught.value)
    with card.tap(TODAY, role="inspection") as tap:
        assert tap.permit_number == NUMBER


# ---------------------------------------------------------------- real SAM cards


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (ROLES, "terminal-keys-refused"),
        ((KeyName.CONCEALMENT,), "card-of-another-generation"),
    ],
    ids=["roles-replaced", "concealment-replaced"],
)
def test_a_sam_card_from_before_a_key_was_replaced(names: tuple[KeyName, ...], code: str) -> None:
    keys = other_keys(*names)
    card = met()
    with open_sam(new_sam(keys, 5), keys) as sam, card.simulated.connect(Interface.CONTACTLESS) as connection:
        with pytest.raises(PersonalizationError) as caught:
            open_tap(connection, sam, permit_profile(), verifier(), TODAY, None)
        assert caught.value.code == code
        said(caught.value)
    assert all(
        item.kind is DifferenceKind.COUNTER for item in compare_cards(BenchCard(met_image()).fork(), card.fork())
    )


def test_a_card_that_only_repeats_what_one_said_does_not_pass_a_sam() -> None:
    tapes: list[Line] = []

    def taped(inner: CardConnection) -> Line:
        tapes.append(Line(inner))
        return tapes[-1]

    with met().tap(TODAY, wrap=taped):
        pass
    with (
        open_sam(new_sam(specimen_keys(), 6), specimen_keys()) as sam,
        met().simulated.connect(Interface.CONTACT) as line,
    ):
        copy = Playing(line, tapes[0].tape)
        with pytest.raises(PersonalizationError) as caught:
            open_tap(copy, sam, permit_profile(), verifier(), TODAY, None)
        assert caught.value.code == "card-not-genuine"
        said(caught.value)


# ---------------------------------------------------------------- commands and answers that were recorded


@pytest.mark.parametrize("interface", Interface)
def test_a_recorded_command_writes_nothing(interface: Interface, known: MemoryDossiers) -> None:
    """In the same session, in the next one, and in none: the counter of secure messaging never comes back."""
    card, lines = met(), list[Line]()

    def taped(inner: CardConnection) -> Line:
        lines.append(Line(inner))
        return lines[-1]

    with card.tap(TODAY, interface, wrap=taped) as tap:
        desk(known).endorse(tap, TODAY)
        commands = [command for command, response in lines[0].tape if response[-2:] == b"\x90\x00"]
        writing = [command for command in commands if command[1:4] == b"\xda\xdf\x25"]
        assert len(writing) == 1
        written, record = card.fork(), dossier_in(known)
        assert lines[0].inner.transmit(writing[0])[-2:] == SW.SM_OBJECT_INCORRECT.to_bytes(2, "big")
        with pytest.raises(PersonalizationError) as caught:
            tap.read_again()
        said(caught.value)
    authenticate = [command for command in commands if command[1] == 0x82]
    with card.tap(TODAY, interface, wrap=taped):
        for old in (*writing, *authenticate):
            assert lines[1].inner.transmit(old)[-2:] != b"\x90\x00"
    with card.simulated.connect(interface) as connection:
        for old in commands:
            answer = connection.transmit(old)
            assert old[1] in {0xA4, 0xCA, 0x84} or answer[-2:] != b"\x90\x00", "only reading in plain answers again"
    differences = compare_cards(written, card.fork())
    assert [(item.item, item.identifier, item.kind) for item in differences] == [
        ("key", DESK_KEY, DifferenceKind.COUNTER)
    ]
    assert dossier_in(known) == record


def test_a_recorded_answer_is_not_believed(known: MemoryDossiers) -> None:
    """A line that says the status of before the endorsement again, to hide that it was written."""

    class Hiding(Line):
        def transmit(self, command: bytes) -> bytes:
            response = super().transmit(command)
            return self.tape[-2][1] if self.hiding else response

        hiding = False

    lines: list[Hiding] = []

    def hidden(inner: CardConnection) -> Hiding:
        lines.append(Hiding(inner))
        return lines[-1]

    card = met()
    with card.tap(TODAY, wrap=hidden) as tap:
        lines[0].hiding = True
        with pytest.raises(PersonalizationError) as caught:
            tap.read_again()
        assert caught.value.code == "response-not-authentic"
        said(caught.value)


def test_a_police_terminal_begins_no_record() -> None:
    card, dossiers = met(), MemoryDossiers()
    before = card.fork()
    with card.tap(TOLD, role="inspection") as tap:
        assert desk(dossiers).inspect(tap, TOLD).status.value == "valid"
    assert dossier_in(dossiers) is None
    assert compare_cards(before, card.fork()) == []


def test_a_police_terminal_sees_what_waits_and_writes_nothing(known: MemoryDossiers) -> None:
    card = met()
    office = desk(known)
    office.withdraw_remotely(NUMBER, TOLD, Withdrawal.LOST)
    before, record = card.fork(), dossier_in(known)
    with card.tap(TOLD, role="inspection") as tap:
        seen = office.inspect(tap, TOLD)
        assert (seen.status.value, seen.waits, seen.mended) == ("cancelled", True, False)
        with pytest.raises(PersonalizationError) as caught:
            office.move(tap, TOLD, HOME)
        assert caught.value.code == "desk-role-wrong"
        said(caught.value)
    assert compare_cards(before, card.fork()) == []
    assert dossier_in(known) == record


# ---------------------------------------------------------------- a new clock


def produced_with(keys: FileKeyStore) -> BenchCard:
    return card_made_with(keys, Preparer(permit_profile(), keys).prepare(specimen_applicant()).record)


def test_cards_of_the_former_authority_and_of_the_new_one_are_both_genuine() -> None:
    before = specimen_keys()
    rotated = before.with_new_pair(KeyName.AUTHORITY).with_new_pair(KeyName.DOCUMENT_SIGNER)
    old, new = produced_with(before), produced_with(rotated)
    day = dt.datetime.now(dt.UTC).date()
    bound = signed_bound(day, before)
    for card in (old, new):
        with card.tap(day, bound=bound, authority=SignatureVerifier(authorities_of(rotated))):
            pass
    for card, keys in ((old, rotated), (new, before)):
        alone = SignatureVerifier(keys.certificate(KeyName.AUTHORITY))
        with (
            pytest.raises(PersonalizationError, match="card-signer-unknown"),
            card.tap(day, bound=bound, authority=alone),
        ):
            pass


def test_cards_of_the_former_clock_and_of_the_new_one_take_the_same_bound() -> None:
    """After a rotation; the former one's cards take no further bound when its key is destroyed."""
    before = specimen_keys()
    rotated = before.with_new_pair(KeyName.CLOCK)
    old, new = produced_with(before), produced_with(rotated)
    far, further = TODAY + dt.timedelta(days=300), TODAY + dt.timedelta(days=600)
    for card in (old, new):
        with card.tap(far, bound=signed_bound(far, rotated)) as tap:
            assert tap.session.clock() == (far, far)
    for card, bound in ((new, signed_bound(further, before)), (old, signed_bound(further, strangers()))):
        with pytest.raises(PersonalizationError, match="date-bound-forged"), card.tap(further, bound=bound):
            pass
    left = rotated.without_former(KeyName.CLOCK, before.check_value(KeyName.CLOCK))
    assert left is not None
    with new.tap(further, bound=signed_bound(further, left)) as tap:
        assert tap.session.clock() == (further, further)
    with (
        pytest.raises(PersonalizationError, match="date-bound-forged"),
        old.tap(further, bound=signed_bound(further, left)),
    ):
        pass
    with old.tap(far) as tap:
        assert tap.session.clock() == (far, far), "within its bound it is used as before"
