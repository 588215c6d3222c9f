"""Machines around a station: what they are told, how they fail, and that every card stays accounted for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select

from personalization.errors import PersonalizationError
from personalization.production import hooks as module
from personalization.production.account import Place, take_account
from personalization.production.hooked import with_hooks
from personalization.production.hooks import Act, Hook, HookFailed, Hooks, MachineNotReady
from personalization.production.journal.batches import batch_status, change_batch
from personalization.production.journal.database import Journal, open_journal
from personalization.production.journal.prints import PrintLedger
from personalization.production.journal.tables import Event
from personalization.production.policy import Policy
from personalization.production.recovery import recover
from personalization.production.states import BatchState, BlankState, RowState
from personalization.production.station import Ending, Line, Station
from personalization.production.stock import count_stock
from personalization.production.work import Equipment
from tests.unit.personalization.scripted_line import HONEST, Outfit, load_batch, receive

ALL = tuple(f"{moment}-{act.value}" for act in Act for moment in ("before", "after"))
ROWS = 3
GONE_SECONDS = 60.0  # a killed process may take its time to go


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def script(tmp_path: Path, body: str) -> tuple[str, ...]:
    path = tmp_path / "hook.py"
    path.write_text(body, "utf-8")
    return (sys.executable, str(path))


def test_a_command_is_told_on_its_input_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERMITCARD_PASSPHRASE", "a secret of ours")
    monkeypatch.setenv("PGPASSWORD", "a secret of the journal's server")
    body = """
import json, pathlib, sys
own = pathlib.Path("/proc/self")
told = sys.stdin.read()
pathlib.Path(sys.argv[0]).with_suffix(".seen").write_text(json.dumps({
    "told": json.loads(told),
    "line": (own / "cmdline").read_bytes().decode(errors="replace"),
    "environment": (own / "environ").read_bytes().decode(errors="replace"),
}))
"""
    Hook("before-print", script(tmp_path, body)).run({"front": {"name": "欧阳𠮷娜"}, "row": 7})
    seen = json.loads((tmp_path / "hook.seen").read_text())
    assert seen["told"] == {"hook": "before-print", "front": {"name": "欧阳𠮷娜"}, "row": 7}
    for place in ("line", "environment"):
        assert "欧阳" not in seen[place]
        assert "secret" not in seen[place]
    assert "PATH=" in seen["environment"]


@pytest.mark.parametrize(
    ("body", "cause", "ready"),
    [
        ("raise SystemExit(3)", "exit-3", True),
        ("raise SystemExit(75)", "not-ready", False),
        ("import os; os.kill(os.getpid(), 9)", "signal-9", True),
    ],
)
def test_the_exit_code_says_what_became_of_the_card(tmp_path: Path, body: str, cause: str, ready: bool) -> None:
    with pytest.raises(HookFailed) as caught:
        Hook("after-eject", script(tmp_path, body)).run({})
    assert (caught.value.hook, caught.value.cause, caught.value.ready) == ("after-eject", cause, ready)


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    told = tmp_path / "hook.child"
    body = f"sleep 600 & echo $! > '{told}'; sleep 600"  # a shell has begun long before its time is over
    hook = Hook("before-position", ("/bin/sh", "-c", body), timeout_s=5)
    with pytest.raises(HookFailed) as caught:
        hook.run({})
    assert caught.value.cause == "time-out"
    child = int(told.read_text())
    deadline = time.monotonic() + GONE_SECONDS
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_command_that_cannot_be_started_did_nothing(tmp_path: Path) -> None:
    with pytest.raises(HookFailed) as caught:
        Hook("before-print", (str(tmp_path / "nothing"),)).run({})
    assert (caught.value.cause, caught.value.ready) == ("FileNotFoundError", False)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[", "-"),
        ("[feed]\nbefore = ['/bin/true']", "feed"),
        ("position = 1", "position"),
        ("[print]\nduring = ['/bin/true']", "print"),
        ("[print]\nbefore = []", "before-print"),
        ("[print]\nbefore = '/bin/true'\nafter = [1]", "after-print"),
        ("[eject]\ntimeout_s = 0", "eject.timeout_s"),
        ("[eject]\ntimeout_s = true", "eject.timeout_s"),
        ("[eject]\ntimeout_s = 601", "eject.timeout_s"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, place: str
) -> None:
    monkeypatch.setattr(module, "entry_points", lambda **_: ("there",))
    path = tmp_path / "hooks.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(PersonalizationError) as caught:
        Hooks.load(path)
    assert (caught.value.code, caught.value.exit_code) == ("hooks-malformed", 2)
    assert caught.value.parameters["place"] == place


@pytest.mark.parametrize("value", ["['/nowhere/feeder', 'load']", "'no-such-entry-point'"])
def test_what_is_not_there_is_told_before_anything_begins(tmp_path: Path, value: str) -> None:
    path = tmp_path / "hooks.toml"
    path.write_text(f"[position]\nbefore = {value}\n", "utf-8")
    with pytest.raises(PersonalizationError) as caught:
        Hooks.load(path)
    assert (caught.value.code, caught.value.exit_code) == ("hook-unusable", 2)


def test_commands_and_entry_points_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "entry_points", lambda **_: ("there",))
    path = tmp_path / "hooks.toml"
    path.write_text(f"[print]\nbefore = ['{sys.executable}', '-V']\nafter = 'camera'\ntimeout_s = 9\n", "utf-8")
    found = Hooks.load(path)
    assert found.by_name == {
        "before-print": Hook("before-print", (sys.executable, "-V"), timeout_s=9),
        "after-print": Hook("after-print", entry_point="camera", timeout_s=9),
    }
    assert found.prints
    assert not Hooks.load(tmp_path / "none.toml")


class Machine:
    """Python hooks that write down what they are told, and fail where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[dict[str, object]] = []
        self.fail: Callable[[Mapping[str, object]], None] = lambda _: None
        monkeypatch.setattr(module, "_load", lambda _: self.work)
        self.hooks = Hooks({name: Hook(name, entry_point="machine") for name in ALL})

    def work(self, document: Mapping[str, object]) -> None:
        self.told.append(dict(document))
        self.fail(document)

    def fails_once(self, name: str, error: BaseException) -> None:
        def fail(document: Mapping[str, object]) -> None:
            if document["hook"] == name:
                self.fail = lambda _: None
                raise error

        self.fail = fail

    def equipment(self, journal: Journal) -> Equipment:
        def face(record: object) -> dict[str, object]:
            return {"row": record, "front": {"name": f"holder {record}"}}

        with Outfit()() as bare:
            return with_hooks(
                bare, self.hooks, batch="batch", face=face, prints=PrintLedger(journal), print_before="finished"
            )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def work(journal: Journal, batch_id: int, equipment: Equipment) -> Ending:
    """One station's shift, and the recovery before it."""
    with journal.transaction() as connection:
        change_batch(connection, batch_id, BatchState.RUNNING)
    policy = Policy(stations=1, tray=2)
    recover(journal, batch_id, equipment, policy)
    return Station(journal, batch_id, "station-1", equipment, policy, Line(lambda _s: False, lambda _p: None)).work()


def begin(journal: Journal, tmp_path: Path) -> int:
    receive(journal, tmp_path / "cards", [HONEST] * (ROWS + 3))
    return load_batch(journal, ROWS).id


def prints(journal: Journal) -> int:
    with journal.reading() as connection:
        found = select(func.count()).select_from(Event).where(Event.what == "print-begun")
        return int(connection.execute(found).scalar_one())


def test_each_card_is_positioned_printed_and_ejected(journal: Journal, tmp_path: Path, machine: Machine) -> None:
    batch_id = begin(journal, tmp_path)
    assert work(journal, batch_id, machine.equipment(journal)) is Ending.DONE
    made = [told["hook"] for told in machine.told[:6]]
    assert made == [
        "before-position", "after-position", "before-print", "after-print", "before-eject", "after-eject",
    ]  # fmt: skip
    outcomes = [told["outcome"] for told in machine.told if told["hook"] == "before-eject"]
    assert sorted(map(str, outcomes)) == ["made"] * ROWS + ["passed"] * ROWS
    printed = [told for told in machine.told if told["hook"] == "before-print"]
    assert [(told["row"], told["front"]) for told in printed] == [
        (row, {"name": f"holder {row}"}) for row in range(1, ROWS + 1)
    ]
    others = [told for told in machine.told if "print" not in str(told["hook"])]
    assert all(set(told) <= {"hook", "batch", "location", "outcome"} for told in others), "no row data but to print"
    assert prints(journal) == ROWS


@pytest.mark.parametrize("error", [RuntimeError("a camera's text"), MachineNotReady()], ids=["failed", "not-ready"])
@pytest.mark.parametrize("name", ALL)
def test_a_failing_hook_leaves_every_card_accounted(
    journal: Journal, tmp_path: Path, machine: Machine, name: str, error: Exception
) -> None:
    batch_id = begin(journal, tmp_path)
    machine.fails_once(name, error)
    spoils = name == "after-print" or (name == "before-print" and isinstance(error, RuntimeError))
    if spoils:
        assert work(journal, batch_id, machine.equipment(journal)) is Ending.DONE
    else:
        with pytest.raises(PersonalizationError) as caught:
            work(journal, batch_id, machine.equipment(journal))
        assert (caught.value.code, caught.value.exit_code) == ("hook-failed", 3)
        assert caught.value.parameters["hook"] == name
        assert "camera" not in str(caught.value)
        assert take_account(journal).adds_up
        assert work(journal, batch_id, machine.equipment(journal)) is Ending.DONE
    status = batch_status(journal, "batch")
    assert status.rows[RowState.GOOD] == ROWS
    assert count_stock(journal).by_state[BlankState.SPOILED] == int(spoils)
    account = take_account(journal)
    assert account.adds_up
    assert account.places[Place.FINISHED] == ROWS
    again = name == "before-print" and not spoils
    assert prints(journal) == ROWS + int(spoils) + int(again), "no body was printed twice"


def test_a_card_that_was_killed_while_it_was_printed_is_not_printed_again(
    journal: Journal, tmp_path: Path, machine: Machine
) -> None:
    """The body may carry half a face: it is spoiled, and the row gets another."""
    batch_id = begin(journal, tmp_path)
    machine.fails_once("before-print", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        work(journal, batch_id, machine.equipment(journal))
    assert work(journal, batch_id, machine.equipment(journal)) is Ending.DONE
    assert batch_status(journal, "batch").rows[RowState.GOOD] == ROWS
    assert count_stock(journal).by_state[BlankState.SPOILED] == 1
    printed = [told["location"] for told in machine.told if told["hook"] == "before-print"]
    assert len(printed) == len(set(printed)) == ROWS + 1
    assert take_account(journal).adds_up
