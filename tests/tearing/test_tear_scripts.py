"""The tear sweep: our cards stand it, and bugs that were planted do not.

Law 3: old or new, never between; a try is spent before its compare; no counter goes back; nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from card_os.applet_api import Context
from card_os.card import Card
from card_os.globalplatform import keys as domain_keys
from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import MemoryFailure, VerificationFailed
from card_os.runtime import Runtime
from card_os.security import authentication as card_authentication
from card_os.security import pin as card_pin
from card_os.security.access import AccessRule
from card_os.security.cryptography import equal
from card_os.security.tries import spend_try
from card_os.storage import journal as card_journal
from card_os.storage.journal import Journal
from card_os.storage.store import ObjectKind, ObjectStore, StoredObject
from permitcard.specimen import make_specimen
from permitcard.tearing.script import TearScript
from permitcard.tearing.sweeping import BLANK, SPECIMEN, assert_tear_safe, open_card_to_tear, sweep_script
from personalization.errors import PersonalizationError
from reader_bridge.tear_report import TearReport, Violation, ViolationKind
from tests.tearing.first_violation import first_violation

SCRIPTS = sorted((Path(__file__).parents[2] / "examples" / "tear").glob("*.tear"))
SELECT = "00A4 0400 07 F05A4A4A5A0101 00\n"
VERIFY = SELECT + "0020 0081 08 26246802FFFFFFFF\n"
UPDATE = "terminal service_desk\n00D6 8B00 10 000102030405060708090A0B0C0D0E0F\n"
SHORT_UPDATE = "terminal service_desk\n00D6 8D00 01 02\n"
SUSPEND = "terminal service_desk\n00DA DF22 08 3230323730363031\n"
DELETE = "setup:\nscp03 factory\nput-keys card\nscp03 card\ninstall permit\nrun:\nscp03 card\ndelete permit\n"
Writes = Sequence[tuple[int, bytes]]
Wipes = Sequence[tuple[int, int]]


def swept(text: str, card: str = SPECIMEN) -> TearReport:
    return sweep_script(TearScript.parse(text), open_card_to_tear(card))


def kinds(report: TearReport) -> set[ViolationKind]:
    assert report.found == len(report.violations) or len(report.violations) == 100
    return {violation.problem.kind for violation in report.violations}


def first(monkeypatch: pytest.MonkeyPatch, wanted: set[ViolationKind], text: str, card: str = SPECIMEN) -> Violation:
    return first_violation(monkeypatch, wanted, lambda: swept(text, card))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_scripts_of_the_examples_find_nothing(path: Path, record_property: Callable[[str, object], None]) -> None:
    text = path.read_text(encoding="utf-8")
    report = assert_tear_safe(text, BLANK if "--card blank" in text else SPECIMEN)
    record_property("cuts", report.cuts)
    assert report.cuts == 4 * report.units
    assert report.writing > 5
    assert report.memories > report.writing
    assert report.units > 6_000 or path.stem != "permit-personalization"


def test_a_script_that_writes_nothing_is_no_proof() -> None:
    with pytest.raises(AssertionError, match="nothing was cut"):
        assert_tear_safe(SELECT)


def test_a_boot_that_is_cut_is_made_up_for_by_the_next() -> None:
    """Recovery is torn at each unit that it programs, after each cut of the command."""
    once = assert_tear_safe(VERIFY + SHORT_UPDATE)
    twice = assert_tear_safe(VERIFY + SHORT_UPDATE, twice=True)
    assert twice.cuts > 5 * once.cuts


@pytest.mark.long
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_scripts_of_the_examples_stand_two_cuts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert_tear_safe(text, BLANK if "--card blank" in text else SPECIMEN, twice=True)


# ---------------------------------------------------------------------- planted bugs


def missing_entry(journal: Journal, writes: Writes, wipes: Wipes = ()) -> None:
    """The last write is done, but not in the journal."""
    records = b"".join(
        address.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data for address, data in writes[:-1]
    )
    body = len(records).to_bytes(4, "big") + records
    journal._nvm.write_each([journal._records(body), journal._mark(body), *journal._changes(writes, wipes)])
    journal._nvm.write_each([journal._erasure(len(body))])


def scrub_too_early(original: Callable[..., None]) -> Callable[..., None]:
    """What is deleted is wiped before the deletion is committed."""

    def commit(journal: Journal, writes: Writes, wipes: Wipes = ()) -> None:
        journal._nvm.write_each(journal._changes((), wipes))
        original(journal, writes, wipes)

    return commit


def forgets_to_scrub(original: Callable[..., None]) -> Callable[..., None]:
    """What is deleted is left where it stood."""

    def commit(journal: Journal, writes: Writes, wipes: Wipes = ()) -> None:
        original(journal, writes)

    return commit


def _body(writes: Writes) -> bytes:
    records = b"".join(address.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data for address, data in writes)
    return len(records).to_bytes(4, "big") + records


def erases_first(journal: Journal, writes: Writes, wipes: Wipes = ()) -> None:
    """The journal is erased when it is committed, and then the data is written."""
    body = _body(writes)
    journal._nvm.write_each([journal._records(body), journal._mark(body), journal._erasure(len(body))])
    journal._nvm.write_each(journal._changes(writes, wipes))


def marks_first(journal: Journal, writes: Writes, wipes: Wipes = ()) -> None:
    """The mark is written before the records that it stands for."""
    body = _body(writes)
    journal._nvm.write_each([journal._mark(body), journal._records(body), *journal._changes(writes, wipes)])
    journal._nvm.write_each([journal._erasure(len(body))])


class WithoutChecksum:
    """Stands for zlib: every mark is the same."""

    @staticmethod
    def crc32(_data: bytes) -> int:
        return 0x600D600D


def replay_erasing_first(journal: Journal) -> bool:
    """The mark goes before the transaction is done again: right after one cut, wrong after two."""
    nvm = journal._nvm
    raw = nvm.read(journal._start, len(journal._blank))
    parsed = None if raw == journal._blank else journal._parse(raw)
    if raw != journal._blank:
        nvm.write(journal._start, journal._blank)
    if parsed is not None:
        nvm.write_each(journal._changes(*parsed))
    return parsed is not None


def forgets_to_erase(journal: Journal, _length: int) -> tuple[int, bytes]:
    """Only the mark is erased."""
    return journal._start, journal._blank[: journal._nvm.word_size]


def compare_first(context: Context, item: StoredObject, body: bytes, block: bytes) -> None:
    """A try is spent when the PIN was found wrong."""
    if not equal(body[4:], block):
        raise VerificationFailed(spend_try(context.store, item, body[0]))


def test_a_missing_journal_entry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "commit", missing_entry)
    violation = first(monkeypatch, {ViolationKind.BETWEEN}, SUSPEND)
    assert violation.header == bytes.fromhex("0CDADF22")
    assert 0 < violation.unit <= violation.units
    assert violation.step == "2: 00 DA DF 22"


def test_a_page_that_is_scrubbed_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "commit", scrub_too_early(Journal.commit))
    first(monkeypatch, {ViolationKind.BETWEEN}, DELETE, BLANK)


def test_a_journal_that_is_not_erased_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "_erasure", forgets_to_erase)
    first(monkeypatch, {ViolationKind.RESIDUE}, UPDATE)


def test_a_deletion_without_its_scrub_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "commit", forgets_to_scrub(Journal.commit))
    first(monkeypatch, {ViolationKind.RESIDUE}, DELETE, BLANK)


def test_a_journal_that_is_erased_before_its_data_is_in_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "commit", erases_first)
    first(monkeypatch, {ViolationKind.BETWEEN}, UPDATE)


def test_a_commit_mark_before_its_data_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark stands first and does not depend on the data, so that half a journal is done again."""
    monkeypatch.setattr(Journal, "commit", marks_first)
    monkeypatch.setattr(card_journal, "zlib", WithoutChecksum)
    first(monkeypatch, {ViolationKind.BETWEEN, ViolationKind.NO_BOOT}, UPDATE)


def test_a_recovery_that_cannot_be_cut_is_found_by_two_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "replay", replay_erasing_first)
    script = TearScript.parse(SHORT_UPDATE)
    opened = open_card_to_tear(SPECIMEN)
    assert sweep_script(script, opened).found == 0
    assert ViolationKind.BETWEEN in kinds(sweep_script(script, opened, twice=True))


def test_a_counter_after_the_compare_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right PIN then costs nothing at any time, so that a cut tells right from wrong."""

    monkeypatch.setattr(card_pin, "_compare", compare_first)
    report = swept(VERIFY + "0020 0081 08 26111111FFFFFFFF => 63C2\n")
    assert kinds(report) == {ViolationKind.TRY_NOT_SPENT}
    assert all(violation.moment is None for violation in report.violations)


def test_a_role_key_whose_try_is_not_spent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The try is counted in the answer and not on the card."""
    monkeypatch.setattr(card_authentication, "spend_try", lambda _store, _item, left: left - 1)
    report = swept(SHORT_UPDATE)
    assert ViolationKind.TRY_NOT_SPENT in kinds(report)
    assert {violation.header[1] for violation in report.violations} == {0x82}


def test_a_key_set_whose_try_is_not_spent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_keys, "spend_try", lambda *_arguments: True)
    assert ViolationKind.TRY_NOT_SPENT in kinds(swept("scp03 factory\n", BLANK))


def test_a_counter_without_a_journal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torn unit damages the whole word: counter, limit and what else stands in it."""

    def count(store: ObjectStore, item: StoredObject, value: bytes) -> None:
        store.nvm.write(item.address, value)

    monkeypatch.setattr(ObjectStore, "count", count)
    first(monkeypatch, {ViolationKind.COUNTER_BACK, ViolationKind.BETWEEN}, VERIFY)


def test_a_card_that_does_not_boot_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def replay(journal: Journal) -> bool:
        if journal._nvm.read(journal._start, len(journal._blank)) != journal._blank:
            raise MemoryFailure("planted")
        return False

    monkeypatch.setattr(Journal, "replay", replay)
    report = swept(UPDATE)
    assert kinds(report) == {ViolationKind.NO_BOOT}
    assert report.violations[0].problem.detail == "planted"


def test_a_next_script_that_fails_is_found() -> None:
    """A next script that counts on all tries does not stand a cut between spending and giving back."""
    report = swept(VERIFY + "then:\n" + SELECT + "0020 0081 => 63C3\n")
    assert kinds(report) == {ViolationKind.NEXT_SCRIPT}
    assert report.violations[0].problem.detail == "line 5 (00 20 00 81): 63C2, not 63C3"


def test_a_script_that_fails_without_cuts_is_refused() -> None:
    with pytest.raises(PersonalizationError, match="script-failed: line=4"):
        swept(VERIFY + "then:\n00A4 0400 02 F0FF 00\n")


def test_an_answer_that_only_a_cut_brings_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a card with a spent try forgets its access rules; before and after the command there is none."""
    forgetful = False
    allows, boot = AccessRule.allows, Card._boot

    def planted_boot(card: Card) -> Runtime:
        nonlocal forgetful
        runtime = boot(card)
        item = runtime.store.find(2, ObjectKind.PIN, 0x81)
        forgetful = item is not None and runtime.store.read(item)[0] < 3
        return runtime

    monkeypatch.setattr(Card, "_boot", planted_boot)
    monkeypatch.setattr(AccessRule, "allows", lambda rule, proofs: forgetful or allows(rule, proofs))
    assert kinds(swept(VERIFY)) == {ViolationKind.EXPOSED}


def test_one_cut_is_one_unit_at_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cut goes through the memory's own write place."""
    cuts = 0
    original = Nvm._write_until_cut

    def counted(nvm: Nvm, offset: int, data: bytes) -> None:
        nonlocal cuts
        cuts += 1
        original(nvm, offset, data)

    monkeypatch.setattr(Nvm, "_write_until_cut", counted)
    assert swept(VERIFY).cuts == cuts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "script-empty"),
        ("setup:\nreset\n", "script-empty"),
        ("00A4\n", "line=1"),
        ("\n00A4040009F0\n", "line=2"),
        ("00200081 =>\n", "no status words"),
        ("00200081 => 90000\n", "no status words"),
        ("scp03\n", "factory or card"),
        ("scp03 mine\n", "factory or card"),
        ("reset now\n", "nothing"),
        ("reset => 9000\n", "neither an APDU"),
        ("explode\n", "neither an APDU"),
    ],
)
def test_a_script_that_cannot_be_read_names_its_line(text: str, reason: str) -> None:
    with pytest.raises(PersonalizationError, match=reason) as caught:
        TearScript.parse(text)
    assert caught.value.exit_code == 2


def test_status_words_may_have_open_digits() -> None:
    step = TearScript.parse("00200081 => 63Cx 6983 # PIN").run[0]
    assert [status in step.expected for status in (0x63C0, 0x63CF, 0x6983, 0x6300, 0x9000)] == [True] * 3 + [False] * 2
    assert str(step) == "00 20 00 81"


def test_a_report_names_no_command_data() -> None:
    step = TearScript.parse("0020 0081 08 26246802FFFFFFFF").run[0]
    assert "246802" not in repr(step).replace(" ", "")


def test_a_session_is_needed_for_what_is_done_in_it() -> None:
    with pytest.raises(PersonalizationError, match="needs scp03"):
        swept("install permit", BLANK)


def test_a_card_of_another_kind_is_refused() -> None:
    with pytest.raises(PersonalizationError, match="tear-card"):
        open_card_to_tear("pcsc:Reader")


def test_a_card_file_is_let_alone(tmp_path: Path) -> None:
    path = tmp_path / "permit.card"
    make_specimen(path)[0].close()
    before = path.read_bytes()
    assert assert_tear_safe(VERIFY, f"sim:{path}").cuts > 0
    assert path.read_bytes() == before
