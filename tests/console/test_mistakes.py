"""A user's mistake ends with what is wrong and what to do, on standard error, with the documented exit code.

0 done, 1 found failures, 2 usage, 3 environment; never a traceback (`CommandLine` looks for one after every command).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from permitcard.centre import Centre
from permitcard.commands.application import run as run_here
from permitcard.products import open_simulated, permit_profile
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import issuer_domain_keys
from reader_bridge.connection import Interface
from tests.console.command_line import CommandLine, Outcome
from tests.console.conftest import MadeCentre

COMMANDS = (
    (),
    ("demo",),
    ("sample",),
    ("readers",),
    ("test",),
    ("tear",),
    ("keys",),
    ("keys", "init"),
    ("keys", "show"),
    ("stock",),
    ("stock", "receive"),
    ("stock", "show"),
    ("batch",),
    ("batch", "check"),
    ("batch", "run"),
    ("batch", "resume"),
    ("batch", "status"),
    ("batch", "rejects"),
    ("batch", "report"),
    ("card",),
    ("card", "new"),
    ("card", "show"),
    ("card", "read"),
    ("card", "serve"),
)
PATIENCE_S = 600


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command line in this process, where starting another would only cost time."""
    for name in [name for name in os.environ if name.startswith(("PERMITCARD_", "LC_", "LANG"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Here(capsys)


class Here:
    """Runs a command line with ``--json`` and tells its error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def forget(self) -> None:
        """Drop what was printed so far."""
        self._capsys.readouterr()

    def __call__(self, *arguments: str | Path) -> tuple[int, str]:
        """Exit code and code of the error."""
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        try:
            code = run_here([*map(str, arguments), "--json"])
        finally:
            for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
                signal.signal(number, handler)
        written = self._capsys.readouterr()
        error = json.loads(written.err)["error"]
        assert written.out == ""
        assert "{" not in error["text"], "a parameter is missing"
        assert error["text"] != error["code"], "the code has no words"
        return code, error["code"]


@pytest.fixture
def centre(here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A centre with keys and nothing else."""
    assert run_here(["keys", "init", "--try-out", "--centre", "centre"]) == 0
    capsys.readouterr()
    return tmp_path / "centre"


@pytest.mark.parametrize("words", [(), ("batch",), ("gp",)], ids=" ".join)
def test_where_a_command_is_missing_the_help_page_lists_them(
    here: Here, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here([*words, "--help"]) == 0
    page = capsys.readouterr().out
    assert run_here(words) == 2
    assert capsys.readouterr() == ("", page)
    assert here(*words) == (2, "command-missing" if words else "usage")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here([*words, "--help"]) == 0
    shown = capsys.readouterr()
    assert "Usage: permitcard" in shown.out
    assert "--help" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("bogus",), (2, "usage")),
        (("batch", "bogus"), (2, "usage")),
        (("batch", "run"), (2, "usage")),
        (("sample", "0", "x"), (2, "usage")),
        (("sample", "many", "x"), (2, "usage")),
        (("sample", "3", "x", "--damaged"), (2, "sample-too-small")),
        (("batch", "status", "--lang", "xx"), (2, "usage")),
        (("batch", "status", "--lang"), (2, "usage")),
        (("batch", "status", "--centre", "nowhere"), (2, "centre-missing")),
        (("card", "show", "nothing.card"), (2, "image-missing")),
        (("card", "serve", "nothing.card", "--as", "tcp"), (2, "image-missing")),
        (("card", "serve", "nothing.card", "--as", "smoke"), (2, "usage")),
        (("card", "read", "--card", "nothing"), (2, "bad-address")),
        (("card", "read", "--card", "fax:123"), (2, "bad-address")),
        (("card", "read", "--card", "remote:localhost:99999"), (2, "bad-address")),
        (("card", "read", "--card", "remote:localhost:1"), (2, "token-missing")),
        (("test", "--card", "sim:nothing.card"), (2, "image-missing")),
        (("keys", "init", "--centre", "c"), (2, "passphrase-nowhere")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value[0], str) else None,
)
def test_a_line_that_leads_nowhere(here: Here, arguments: tuple[str, ...], wanted: tuple[int, str]) -> None:
    assert here(*arguments) == wanted


@pytest.mark.parametrize(
    "arguments",
    [("card", "read", "--card", "pcsc:Any"), ("readers",), ("test", "--card", "pcsc:Any")],
    ids=lambda arguments: arguments[0],
)
def test_no_pc_sc_service(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """In a process of its own: libpcsclite keeps the first service that it is told of."""
    line = CommandLine(tmp_path, {"PCSCLITE_CSOCK_NAME": str(tmp_path / "no-pcscd")})
    error = json.loads(line(*arguments, "--json", code=3).err)["error"]
    assert error["code"] == "no-service"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("batch", "check", "nothing.zip"), (2, "batch-file-missing")),
        (("batch", "run", "nothing.zip"), (2, "batch-file-missing")),
        (("batch", "check", "text.txt"), (2, "batch-file-kind")),
        (("batch", "check", "resAppData-330381(1-2)-2.zip"), (1, "batch-archive-unreadable")),
        (("batch", "check", "wrong-name.zip"), (1, "batch-file-name")),
        (("batch", "status"), (2, "no-batch")),
        (("batch", "report"), (2, "no-batch")),
        (("batch", "resume"), (2, "no-batch")),
        (("batch", "status", "RCO1"), (2, "batch-unknown")),
        (("batch", "resume", "RCO1"), (2, "batch-unknown")),
        (("batch", "report", "RCO1"), (2, "batch-unknown")),
        (("batch", "rejects", "nothing", "out"), (2, "rejects-file-missing")),
        (("batch", "rejects", "text.txt", "out"), (1, "rejects-file-unreadable")),
        (("keys", "init", "--try-out"), (2, "key-store-exists")),
        (("card", "show", "text.txt"), (3, "image-damaged")),
        (("card", "new", "text.txt"), (2, "image-exists")),
        (("card", "new", "no/folder/a.card"), (3, "image-unwritable")),
        (("sample", "3", "text.txt/below"), (3, "file-failure")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value[0], str) else None,
)
def test_a_file_or_batch_that_cannot_be_used(
    here: Here, centre: Path, arguments: tuple[str, ...], wanted: tuple[int, str]
) -> None:
    for name in ("text.txt", "wrong-name.zip", "resAppData-330381(1-2)-2.zip"):
        Path(name).write_text("not what it should be", "utf-8")
    where = () if arguments[0] in {"card", "sample"} else ("--centre", centre)
    assert here(*arguments, *where) == wanted


def test_a_folder_that_cannot_be_a_centre(here: Here, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", "utf-8")
    assert here("keys", "init", "--try-out", "--centre", "file") == (3, "file-failure")
    assert here("stock", "show", "--centre", "file") == (2, "centre-missing")
    assert here("demo", "--cards", "2", "--centre", tmp_path) == (2, "demo-folder-in-use")
    assert (tmp_path / "file").exists()


def test_a_passphrase_that_does_not_open(here: Here, centre: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERMITCARD_PASSPHRASE", "another passphrase")
    assert here("keys", "show", "--centre", centre) == (3, "key-store-passphrase-wrong")
    monkeypatch.setenv("PERMITCARD_PASSPHRASE", "short")
    assert here("keys", "init", "--centre", "third") == (2, "passphrase-too-short")
    monkeypatch.delenv("PERMITCARD_PASSPHRASE")
    monkeypatch.setenv("PERMITCARD_PASSPHRASE_FILE", str(centre / "nothing"))
    assert here("keys", "show", "--centre", centre)[0] in {2, 3}
    monkeypatch.delenv("PERMITCARD_PASSPHRASE_FILE")
    (centre / "TRY-OUT-passphrase.txt").unlink()
    assert here("keys", "show", "--centre", centre) == (2, "passphrase-nowhere")


def test_a_damaged_key_store_and_a_damaged_journal(here: Here, centre: Path) -> None:
    (centre / "journal.sqlite").write_bytes(b"no database" * 500)
    assert here("stock", "show", "--centre", centre) == (3, "journal-damaged")
    store = centre / "keys.json"
    store.write_text(store.read_text("utf-8").replace('"n": 32768', '"n": 16384'), "utf-8")
    assert here("keys", "show", "--centre", centre)[0] == 3
    store.write_text("{}", "utf-8")
    assert here("keys", "show", "--centre", centre) == (3, "key-store-damaged")


def test_another_centres_card_is_recognised_before_its_pin_is_tried(made_centre: MadeCentre, here: Here) -> None:
    card = shutil.copy(next(made_centre.centre.cards.glob("*-000001.card")), "found.card")
    assert here("card", "show", card) == (2, "not-a-specimen")
    assert run_here(["demo", "--cards", "1", "--stations", "1", "--centre", "other", "--json"]) == 0
    here.forget()
    assert here("card", "show", card, "--centre", "other") == (1, "card-of-another-generation")
    assert state_of_pin(Path(card)) == "6985", "of the letter, and no try is missing"


def state_of_pin(path: Path) -> str:
    """What VERIFY without data tells."""
    profile = permit_profile()
    with open_simulated(path) as card, card.connect(Interface.CONTACT) as connection:
        connection.power_on()
        aid = profile.application.instance
        assert connection.transmit(b"\x00\xa4\x04\x00" + bytes((len(aid),)) + aid)[-2] in {0x90, 0x61}
        return connection.transmit(bytes.fromhex("00200081")).hex()


def test_a_blank_card_shows_nothing(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["card", "new", "blank.card", "--blank"]) == 0
    capsys.readouterr()
    assert here("card", "show", "blank.card") == (1, "card-refused")


def test_a_card_that_another_program_serves(here: Here, command: CommandLine) -> None:
    command("card", "new", "a.card")
    with command.start("card", "serve", "a.card", "--as", "tcp", "--json") as server:
        assert server.stdout is not None
        shown = "".join(iter(server.stdout.readline, "}\n")) + "}"
        assert here("card", "show", "a.card") == (3, "image-in-use")
        # A shell starts background jobs with SIGINT ignored, and so does a machine that runs these tests in one.
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=PATIENCE_S)
    assert server.returncode == 0, errors
    assert json.loads(shown)["as"] == "tcp"
    assert "Card 4A5A" in command("card", "show", "a.card").out


def test_a_port_that_is_taken(here: Here) -> None:
    assert run_here(["card", "new", "a.card", "--json"]) == 0
    here.forget()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert here("card", "serve", "a.card", "--as", "tcp", "--port", str(taken.getsockname()[1])) == (
            3,
            "port-in-use",
        )


def test_an_empty_stock_stops_the_run_and_new_blanks_let_it_go_on(command: CommandLine) -> None:
    command("keys", "init", "--try-out", "--centre", "centre")
    command("stock", "receive", "1", "--centre", "centre")
    command("sample", "3", ".")
    stopped = command("batch", "run", "resAppData-330381(1-3)-3.zip", "--centre", "centre", "--json", code=1)
    assert stopped.error["code"] == "stock-empty"
    command("stock", "receive", "3", "--centre", "centre")
    done = command("batch", "resume", "--centre", "centre", "--json").document
    assert (done["good"], done["left"], done["state"]) == (3, 0, "complete")


def test_blanks_with_other_keys_are_barred_before_one_can_lock(command: CommandLine) -> None:
    """The card's own proof is checked first, so no try of the card is spent; two such cards stop a station."""
    for name in ("mine", "other"):
        command("keys", "init", "--try-out", "--centre", name)
        command("stock", "receive", "8", "--centre", name)
    for path in (command.folder / "other" / "cards").glob("*.card"):
        shutil.copy(path, command.folder / "mine" / "cards" / path.name)
    command("sample", "6", ".")
    delivered = "resAppData-330381(1-6)-6.zip"
    stopped = command("batch", "run", delivered, "--centre", "mine", "--stations", "1", "--json", code=1)
    assert stopped.error["code"] == "key-guard-alarm"
    assert "stopped" in str(stopped.error["text"])
    stock = command("stock", "show", "--centre", "mine", "--json").document
    assert (stock["barred"], stock["good"], stock["spoiled"]) == (2, 0, 0)
    assert stock["received"] == sum(int(str(n)) for state, n in stock.items() if state != "received")
    report = json.loads(next((command.folder / "mine" / "reports").glob("*/report.json")).read_text("utf-8"))
    assert report["failures"] or report["batch"]["reason"] == "key-guard-alarm"
    with contextlib.closing(sqlite3.connect(command.folder / "mine" / "journal.sqlite")) as journal:
        tries = journal.execute("SELECT state, key_failures FROM blanks").fetchall()
    assert sorted(count for state, count in tries if state == "barred") == [1, 1]
    assert {count for state, count in tries if state != "barred"} == {0}
    for path in sorted((command.folder / "mine" / "cards").glob("*.card")):
        assert opens_with_its_own_keys(path, Centre(command.folder / "other"))


def opens_with_its_own_keys(path: Path, centre: Centre) -> bool:
    """The card still takes a session under the keys that it was made with."""
    keys = centre.key_store().open()
    with open_simulated(path) as card, card.connect(Interface.CONTACT) as connection:
        SecureSession.open(connection, lambda told: issuer_domain_keys(keys, KeyName.FACTORY, told.diversification))
    return True


def made_cards(journal: Path) -> int:
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection,
    ):
        return int(connection.execute("SELECT count(*) FROM events WHERE what = 'made'").fetchone()[0])
    return 0


@contextlib.contextmanager
def interrupted(command: CommandLine, number: signal.Signals) -> Iterator[Outcome]:
    """A demo of 30 cards that gets a signal once cards are being made, as from the keyboard: the whole group.

    On a machine that is busy it may have made them all before the signal comes: then again, twice at most.
    """
    for _ in range(3):
        shutil.rmtree(command.folder / "centre", ignore_errors=True)
        with command.start("demo", "--cards", "30", "--centre", "centre") as process:
            end = time.monotonic() + PATIENCE_S
            while made_cards(command.folder / "centre" / "journal.sqlite") < 2 and time.monotonic() < end:
                if process.poll() is not None:
                    break
                time.sleep(0.02)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            out, err = process.communicate(timeout=PATIENCE_S)
        if process.returncode:
            break
    yield Outcome(process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_ctrl_c_stops_in_order_and_resume_finishes(command: CommandLine, number: signal.Signals) -> None:
    with interrupted(command, number) as stopped:
        assert stopped.code == 1
        assert "permitcard batch resume" in stopped.err
        assert "Traceback" not in stopped.err
        report = json.loads(next((command.folder / "centre" / "reports").glob("*/report.json")).read_text("utf-8"))
        runs = {state: count for state, count in report["runs"].items() if count}
        assert set(runs) <= {"made", "good", "released"}, "a card was left in the middle"
        assert report["stock"]["in-use"] == runs.get("made", 0), "made, and waiting for inspection"
        assert (report["stock"]["spoiled"], report["recovered"]) == (0, {})
        done = command("batch", "resume", "--centre", "centre", "--json").document
        assert (done["good"], done["left"], done["state"]) == (30, 0, "complete")


def test_errors_are_words_in_both_languages(command: CommandLine) -> None:
    english = command("card", "show", "nothing.card", "--lang", "en", code=2).err
    chinese = command("card", "show", "nothing.card", "--lang", "zh", code=2).err
    assert english == "permitcard: There is no card file nothing.card.\n"
    assert chinese.startswith("permitcard: ")
    assert "nothing.card" in chinese
    assert chinese != english


def test_the_locale_chooses_the_language(tmp_path: Path) -> None:
    chinese = CommandLine(tmp_path, {"LC_ALL": "zh_CN.UTF-8"})("card", "show", "nothing.card", code=2).err
    assert chinese == CommandLine(tmp_path)("card", "show", "nothing.card", "--lang", "zh", code=2).err
