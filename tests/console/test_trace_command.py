"""``permitcard trace`` as a user runs it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.console.command_line import ROOT, CommandLine

BLOCK = "26246802FFFFFFFF"
"""A PIN as the card takes it; its six digits alone may be those of a time or of a challenge."""
SCRIPT = f"# a holder\n00A4040007F05A4A4A5A010100\n0084000010\n0020008108{BLOCK}\n00B0810000\n"


@pytest.fixture
def folder(command: CommandLine) -> Path:
    (command.folder / "holder.txt").write_text(SCRIPT, encoding="utf-8")
    command("card", "new", "a.card")
    return command.folder


def test_a_card_is_recorded_shown_compared_replayed_and_exported(command: CommandLine, folder: Path) -> None:
    record = ("trace", "record", "--card", "sim:a.card", "--commands", "holder.txt")
    assert command("--json", *record, "--out", "one.trace").document["entries"] == 6
    command(*record, "--out", "two.trace", "--keep", "content")
    command(*record, "--out", "line.trace", "--level", "bytes")
    for trace in ("one.trace", "two.trace"):
        text = (folder / trace).read_text("utf-8")
        assert "\t00200081 08 ****************\t9000\t" in text
        assert BLOCK not in text.replace(" ", "")
    shown = command("trace", "show", "one.trace").out
    assert "SELECT Zhejiang residence permit  → 9000 done" in shown
    assert "VERIFY Holder PIN" in shown
    entries = command("--json", "trace", "decode", "line.trace", "--specimen").document["entries"]
    assert isinstance(entries, list)
    assert {"S(IFS_REQUEST,254)", "GET CHALLENGE"} <= {entry["title"] for entry in entries}
    assert command("trace", "diff", "one.trace", "one.trace").out == "Nothing differs.\n"
    assert command("--json", "trace", "diff", "one.trace", "two.trace", code=1).document["same"] is False
    replayed = command("--json", "trace", "replay", "one.trace", "--card", "sim:a.card", code=1).document
    assert (replayed["sent"], replayed["skipped"]) == (3, 1)  # the PIN is hidden, so that the file stays closed
    command("card", "new", "b.card", "--serial", "2")
    same = command(
        "--json", "trace", "record", "--card", "sim:b.card", "--commands", "two.trace", "--out", "three.trace"
    )
    assert (same.document["entries"], same.document["left_out"]) == (5, 1)
    (folder / "wrong.txt").write_text("00A40400\n00A4040X\n", encoding="ascii")
    wrong = ("trace", "record", "--card", "sim:b.card", "--commands", "wrong.txt", "--out", "four.trace")
    error = command("--json", *wrong, code=2).error
    assert error["code"] == "commands-malformed"
    assert "wrong.txt, line 2" in str(error)
    assert not (folder / "four.trace").exists()
    exported = command("--json", "trace", "export", "one.trace", "--out", "one.pcapng").document
    assert exported["bytes"] == (folder / "one.pcapng").stat().st_size
    assert stat.S_IMODE((folder / "one.pcapng").stat().st_mode) == 0o600  # it may hold what a card says of a person
    again = command("--json", "trace", "export", "two.trace", "--out", "one.pcapng", code=2)
    assert again.error["code"] == "trace-exists"


def test_a_listing_is_imported_and_keeping_all_is_warned_of(command: CommandLine, folder: Path) -> None:
    listing = folder / "listing.txt"
    listing.write_text("> 00 20 00 81 02 12 34\n< 63 C2 : wrong\n", encoding="ascii")
    command("trace", "import", "listing.txt", "--out", "safe.trace")
    assert "1234" not in (folder / "safe.trace").read_text("utf-8")
    warned = command("trace", "import", "listing.txt", "--out", "open.trace", "--keep", "everything")
    assert "Guard it" in warned.err
    assert "1234" in (folder / "open.trace").read_text("utf-8")


MISTAKES = [
    (("show", "none.trace"), "trace-unreadable"),
    (("show", "holder.txt"), "trace-malformed"),
    (("record", "--card", "sim:a.card", "--out", "x"), "trace-record-what"),
    (("record", "--card", "sim:a.card", "--out", "holder.txt", "--commands", "holder.txt"), "trace-exists"),
    (("record", "--card", "sim:none.card", "--out", "x", "--commands", "holder.txt"), "image-missing"),
    (("record", "--card", "sim:a.card", "--out", "x", "--commands", "a.card"), "commands-unreadable"),
    (("record", "--card", "pcsc:X", "--out", "x", "--commands", "holder.txt", "--level", "bytes"), "trace-level"),
    (("import", "holder.txt", "--out", "x"), "import-empty"),
    (("import", "none.txt", "--out", "x"), "commands-unreadable"),
]


def test_mistakes_are_told_and_leave_nothing(command: CommandLine, folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    told = {arguments: command("--json", "trace", *arguments, code=2).error["code"] for arguments, _ in MISTAKES}
    assert told == dict(MISTAKES)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_trace_says_what_it_needs_to_be_replayed(command: CommandLine, folder: Path) -> None:
    command("trace", "record", "--card", "sim:a.card", "--commands", "holder.txt", "--out", "one.trace")
    assert command("--json", "trace", "replay", "one.trace", code=2).error["code"] == "trace-replay-what"
    hidden = command("--json", "trace", "replay", "one.trace", "--as", "tcp", code=2).error
    assert hidden["code"] == "trace-hidden"
    chosen = command("--json", "trace", "decode", "one.trace", "--specimen", "--keys", "k.toml", code=2).error
    assert chosen["code"] == "trace-keys-choice"


def test_the_sample_of_the_page_is_what_a_specimen_gives(command: CommandLine) -> None:
    """docs/traces.md: the commands and the trace stand there byte for byte."""
    whole = (ROOT / "docs" / "traces.md").read_text("utf-8")
    commands, sample = whole.split("## The text")[1].split("```\n")[1:4:2]
    (command.folder / "holder.txt").write_text(commands, encoding="utf-8")
    command("card", "new", "one.card")
    command(
        *("trace", "record", "--card", "sim:one.card", "--commands", "holder.txt", "--out", "one.trace", "--no-times")
    )
    assert (command.folder / "one.trace").read_text("utf-8") == sample
    asked, printed = whole.split("```\n$ permitcard ")[1].split("```")[0].split("\n", 1)
    assert command("--lang", "en", *asked.split()).out == printed
