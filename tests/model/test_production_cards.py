"""The production engine on simulated cards: every row one good card, whatever happens on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from card_os.hardware.image import NvmImage
from personalization.errors import PersonalizationError
from personalization.globalplatform.card_data import CARD_IMAGE
from personalization.globalplatform.commands import get_data, initialize_update
from personalization.keys.file_store import FileKeyStore
from personalization.production.account import take_account
from personalization.production.fence import Fence
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.batches import batch_status
from personalization.production.journal.tables import Blank, Evidence, Row, Run
from personalization.production.maker import GlobalPlatformMaker
from personalization.production.policy import Policy
from personalization.production.results import Results
from personalization.production.run import resume_batch, run_batch
from personalization.production.states import BatchState, BlankState, RowState, RunState
from personalization.production.stock import count_stock
from personalization.production.tracing import unpack_trace
from personalization.production.work import CardFault, Condition, KeysRefused, Superseded, WrongBlank
from personalization.reports.words import catalogue
from personalization.reports.writer import write_report
from reader_bridge.connection import Interface, ReaderError
from reader_bridge.simulated import SimulatedCard, SimulatedConnection, open_card
from tests.model.real_line import PASSPHRASE, Outfit, boot, load, new_blank, recipe

ROOT = Path(__file__).parents[2]
KILLS = 5
MANY_KILLS = 20
ROWS_A_KILL = 10
MOST = 5


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    return FileKeyStore.create(tmp_path_factory.mktemp("keys") / "keys", PASSPHRASE, scrypt_n=2)


def untimed(step: str) -> None:
    del step


def account(journal: Journal, root: Path, identifier: str) -> None:
    """Each row has one good card or a reason, no permit is on two cards, each card says what the journal says."""
    status = batch_status(journal, identifier)
    assert sum(status.rows.values()) == status.batch.delivered
    assert take_account(journal).adds_up
    stock = count_stock(journal)
    assert stock.received == sum(stock.by_state.values()) == len(list(root.glob("*.card")))
    with journal.reading() as connection:
        runs = connection.execute(select(Run.permit, Run.row_id, Run.blank_id).where(Run.state == "good")).all()
        blanks = connection.execute(select(Blank.card_number, Blank.location, Blank.state)).all()
    assert len(runs) == status.rows[RowState.GOOD] == stock.by_state[BlankState.GOOD]
    for column in zip(*runs, strict=True):
        assert max(Counter(column).values()) == 1
    with Outfit(root, identifier)() as equipment:
        for number, location, state in blanks:
            with equipment.connect(location) as card, card.contact as contact:
                look = equipment.maker.look(contact)
            if state == BlankState.GOOD.value:
                assert (look.condition, look.card_number.hex()) == (Condition.FINISHED, number)
            elif state == BlankState.IN_STOCK.value:
                assert look.condition is Condition.UNTOUCHED


def test_a_batch_becomes_inspected_permits_and_a_report(journal: Journal, tmp_path: Path) -> None:
    batch, outfit = load(journal, tmp_path, rows=20, blanks=21)
    result = run_batch(journal, batch.identifier, outfit, Policy(tray=4), who="operator")
    assert (result.status.good, result.status.left, result.status.runs[RunState.SPOILED]) == (20, 0, 0)
    assert result.status.batch.state is BatchState.COMPLETE
    account(journal, tmp_path, batch.identifier)
    with journal.reading() as connection:
        traces = connection.execute(select(Evidence.stage, Evidence.trace)).all()
    names = {entry.name for row in traces for entry in unpack_trace(row.trace) if row.stage == "make"}
    assert names >= {"INITIALIZE UPDATE", "EXTERNAL AUTHENTICATE", "PUT KEY", "INSTALL", "STORE DATA", "SET STATUS"}
    interfaces = {entry.interface for row in traces for entry in unpack_trace(row.trace) if row.stage == "inspect"}
    assert interfaces == set(Interface)
    words = catalogue("en")

    def translate(code: str, **parameters: object) -> str:
        return words.get(code, code).format_map(parameters)

    results = Results(FileKeyStore.open(tmp_path / "keys", PASSPHRASE))
    report = write_report(journal, batch.identifier, tmp_path / "report", translate, results=results)
    assert report.cards == 20


def test_the_journal_holds_no_number_in_clear(journal: Journal, tmp_path: Path) -> None:
    from personalization.preparation.source_file import SourceFile

    batch, outfit = load(journal, tmp_path, rows=3, blanks=3)
    run_batch(journal, batch.identifier, outfit, Policy(stations=1), who="operator")
    content = b"".join(path.read_bytes() for path in tmp_path.glob("journal.sqlite*") if path.is_file())
    keys = FileKeyStore.open(tmp_path / "keys", PASSPHRASE)
    with SourceFile(tmp_path / f"{batch.identifier}.source", keys) as source, journal.reading() as connection:
        rows = connection.execute(select(Row.number)).scalars().all()
        applicants = [source.applicant(row) for row in rows]
    for applicant in applicants:
        for value in (applicant.permit_number, applicant.citizen_number, applicant.name, applicant.registered_address):
            assert value.encode() not in content


def test_wrong_keys_stop_the_run_before_a_card_can_lock(journal: Journal, tmp_path: Path) -> None:
    batch, outfit = load(journal, tmp_path, rows=4, blanks=8)
    wrong = Outfit(tmp_path, batch.identifier, forged=True)
    with pytest.raises(PersonalizationError, match="key-guard-alarm"):
        run_batch(journal, batch.identifier, wrong, Policy(stations=1), who="operator")
    stock = count_stock(journal).by_state
    assert (stock[BlankState.BARRED], stock[BlankState.SPOILED], stock[BlankState.IN_STOCK]) == (2, 0, 6)
    with journal.reading() as connection:
        assert sum(connection.execute(select(Blank.key_failures)).scalars()) == 2
    result = resume_batch(journal, batch.identifier, outfit, Policy(stations=1), who="operator")
    assert result.status.good == 4


def test_a_card_is_recognised_at_every_step_and_finished_from_there(tmp_path: Path, keys: FileKeyStore) -> None:
    """GlobalPlatform Card Specification 2.3.1, 5.1.1: the state is read from the card itself."""
    seen: list[Condition] = []
    maker = GlobalPlatformMaker(recipe(keys, "sam"))
    for cut in range(1, 30):
        path = tmp_path / f"{cut}.card"
        number = new_blank(path, keys, 2, cut)
        with open_card(path, boot) as card:
            connection = _Cutting(card, cut)
            connection.power_on()
            finished = False
            try:
                maker.make(connection, None, number, untimed)
                finished = True
            except ReaderError:
                pass
        with open_card(path, boot) as card, card.connect(Interface.CONTACT) as contact:
            look = maker.look(contact)
            seen.append(look.condition)
            if look.condition is not Condition.FINISHED:
                assert maker.make(contact, None, number, untimed) == number
            assert maker.look(contact).condition is Condition.FINISHED
            assert maker.terminate(contact, number)
        with open_card(path, boot) as card, card.connect(Interface.CONTACT) as contact:
            assert maker.look(contact).condition is Condition.TERMINATED
            assert not maker.terminate(contact, number)
        if finished:
            break
    order = [Condition.UNTOUCHED, Condition.KEYED, Condition.STARTED, Condition.PERSONALIZED, Condition.FINISHED]
    assert list(dict.fromkeys(seen)) == order


class _Cutting(SimulatedConnection):
    """A connection that fails for good before its n-th command."""

    def __init__(self, card: SimulatedCard, cut: int) -> None:
        super().__init__(card.card.contact, Interface.CONTACT)
        self._left = cut

    def transmit(self, command: bytes) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ReaderError("card-removed")
        return super().transmit(command)


def test_a_finished_card_is_nobodys_blank(tmp_path: Path, keys: FileKeyStore) -> None:
    maker = GlobalPlatformMaker(recipe(keys, "sam"))
    number = new_blank(tmp_path / "1.card", keys, 2, 1)
    with open_card(tmp_path / "1.card", boot) as card, card.connect(Interface.CONTACT) as contact:
        maker.make(contact, None, number, untimed)
        with pytest.raises(WrongBlank):
            maker.make(contact, None, number, untimed)
        with pytest.raises(WrongBlank):
            maker.make(contact, None, number[:-1] + bytes((number[-1] ^ 1,)), untimed)
        with pytest.raises(PersonalizationError, match="wrong-stock"):
            maker.make(contact, None, b"other chip", untimed)
        assert maker.look(contact).condition is Condition.FINISHED


def test_other_keys_are_noticed_before_a_try_is_spent(tmp_path: Path, keys: FileKeyStore) -> None:
    """Amendment D v1.1.1, 6.2.2: the card's cryptogram is verified before EXTERNAL AUTHENTICATE."""
    others = FileKeyStore.create(tmp_path / "others", PASSPHRASE, scrypt_n=2)
    right = GlobalPlatformMaker(recipe(keys, "sam"))
    number = new_blank(tmp_path / "1.card", keys, 2, 1)
    with open_card(tmp_path / "1.card", boot) as card, card.connect(Interface.CONTACT) as contact:
        for _ in range(30):
            wrong = GlobalPlatformMaker(recipe(others, "sam"))
            with pytest.raises(KeysRefused) as refusal:
                wrong.make(contact, None, number, untimed)
            assert (refusal.value.tries_spent, refusal.value.untouched) == (0, True)
        assert contact.transmit(initialize_update(0, bytes(8)).encode())[-2:] == b"\x90\x00"
        assert right.make(contact, None, number, untimed) == number
        with pytest.raises(KeysRefused) as refusal:
            GlobalPlatformMaker(recipe(others, "sam")).look(contact)
        assert (refusal.value.tries_spent, refusal.value.untouched) == (0, False)


def fence_on(card: SimulatedCard) -> bytes:
    """The card's GET DATA of its Card Image Number, without any session."""
    with card.connect(Interface.CONTACT) as contact:
        return contact.transmit(get_data(CARD_IMAGE).encode())


@pytest.mark.parametrize("cut", [6, 7, 9, 13])
def test_a_card_that_somebody_claimed_later_is_left_alone(tmp_path: Path, keys: FileKeyStore, cut: int) -> None:
    """GPC 2.3.1, 11.11.2.3: the claim stands in the Card Image Number from the first command that changes the card."""
    maker = GlobalPlatformMaker(recipe(keys, "sam"))
    path = tmp_path / "1.card"
    number = new_blank(path, keys, 2, 1)
    later, earlier = Fence(8, 1), Fence(7, 9)
    with open_card(path, boot) as card:
        assert fence_on(card)[-2:] == b"\x6a\x88"
        with _Cutting(card, cut) as cutting, pytest.raises(ReaderError):
            maker.make(cutting, None, number, untimed, later)
        assert fence_on(card) == b"\x45\x0a" + later.encode() + b"\x90\x00"
        before = card.image.snapshot()
        with card.connect(Interface.CONTACT) as contact, pytest.raises(Superseded) as stopped:
            maker.make(contact, None, number, untimed, earlier)
        assert stopped.value.found == later
        assert fence_on(card) == b"\x45\x0a" + later.encode() + b"\x90\x00"
        condition = look_at(maker, card)
        assert condition is look_at(maker, fork(before))
        with card.connect(Interface.CONTACT) as contact:
            assert maker.make(contact, None, number, untimed, Fence(8, 2)) == number
        assert look_at(maker, card) is Condition.FINISHED
        assert fence_on(card) == b"\x45\x00\x90\x00"


def look_at(maker: GlobalPlatformMaker, card: SimulatedCard) -> Condition:
    with card.connect(Interface.CONTACT) as contact:
        return maker.look(contact).condition


def fork(snapshot: bytes) -> SimulatedCard:
    """The card of a snapshot, in memory."""
    return SimulatedCard(NvmImage.from_snapshot(snapshot), boot)


def test_a_station_whose_session_somebody_else_ended_changes_nothing_more(tmp_path: Path, keys: FileKeyStore) -> None:
    """It was stopped right after it had made sure of its lease and its fence; the card refuses what it still sends."""
    maker = GlobalPlatformMaker(recipe(keys, "sam"))
    path = tmp_path / "1.card"
    number = new_blank(path, keys, 2, 1)
    with open_card(path, boot) as card, card.connect(Interface.CONTACT) as stopped:

        def stand_still(step: str) -> None:
            if step == "put-key":
                with card.connect(Interface.CONTACT) as contact:
                    maker.make(contact, None, number, untimed, Fence(2, 1))
                stopped.power_on()  # as a reader does that both share

        with pytest.raises(CardFault) as refused:
            maker.make(stopped, None, number, stand_still, Fence(1, 1))
        assert refused.value.step == "put-key"
        stopped.power_off()
        assert look_at(maker, card) is Condition.FINISHED


def start(root: Path, batch: str) -> subprocess.Popen[bytes]:
    """A coordinator in a process group of its own."""
    command = [sys.executable, "-m", "tests.model.real_line_run", str(root), batch]
    return subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def claims(journal: Journal) -> int:
    """Claims ever made."""
    with journal.reading() as connection:
        return connection.execute(select(func.count()).select_from(Run)).scalar_one()


def kill_and_resume(journal: Journal, root: Path, kills: int, seed: int) -> None:
    """Kill the process group at random moments, resume after each; print what was found half made.

    It goes on beyond ``kills`` until a card was hit between its first and its last write.
    """
    dice = random.Random(seed)
    rows = ROWS_A_KILL * kills
    batch, outfit = load(journal, root, rows, rows + 2)
    done = 0
    while done < kills or (done < MOST * kills and not batch_status(journal, batch.identifier).half_made):
        before = claims(journal)
        process = start(root, batch.identifier)
        # Stations need a moment to start; from their first claims on, the moment is random.
        while process.poll() is None and claims(journal) == before:
            time.sleep(0.002)
        assert process.poll() is None, "it was finished before it could be killed"
        time.sleep(dice.random() * 0.03)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=300)
        done += 1
    resume_batch(journal, batch.identifier, outfit, Policy(tray=4), who="operator")
    status = batch_status(journal, batch.identifier)
    sys.stdout.write(f"\n{done} kills: cards found by recovery {status.recovered}, half-made {status.half_made}\n")
    assert (status.good, status.left) == (rows, 0)
    account(journal, root, batch.identifier)
    assert status.half_made > 0


def test_killed_runs_lose_nothing_and_make_nothing_twice(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        kill_and_resume(journal, tmp_path, KILLS, seed=3)


@pytest.mark.long
def test_many_killed_runs_lose_nothing_and_make_nothing_twice(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        kill_and_resume(journal, tmp_path, MANY_KILLS, seed=4)
