"""``permitcard sam`` and ``--sam``: SAMs of a rehearsal that are made, named, shared out, used up and retired."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from typing import Any

import pytest

from card_os.card import Card
from card_os.storage.store import ObjectKind
from permitcard.products import open_simulated
from permitcard.sams import blank_chip
from permitcard.specimen import published_keys
from permitcard.system_accounts import system_user
from personalization.keys.signed_document import read_signed
from tests.console.command_line import CommandLine, Prompt
from tests.console.conftest import MadeCentre, SmallCentre


@pytest.fixture
def centre(small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch) -> SmallCentre:
    monkeypatch.delenv("PERMITCARD_SAM", raising=False)
    return small_centre


def made(centre: SmallCentre, *line: str, code: int = 0) -> Any:
    return centre("sam", "make", *line, code=code)


def test_sams_are_made_shown_listed_and_retired(centre: SmallCentre) -> None:
    first = made(centre).document
    assert first["found"] == "loaded", "a rehearsal's vendor puts the load key into the chip"
    assert (first["profile"], first["authentications_left"], first["wrong_cards_left"]) == (
        "terminal-sam 1.0",
        1_000_000,
        1_000,
    )
    assert (centre.centre.root / "sams" / "sam-01.card").exists()
    second = made(centre, "--reader", "sim:other.card").document
    assert made(centre, "--reader", "sim:other.card", code=2).error["code"] == "sam-made"
    shown: Any = centre("sam", "show", "--reader", "sim:other.card").document
    assert shown["card_id"] == second["card_id"]
    assert shown["authentications_left"] < 1_000_000, "the proof has cost a few"
    assert shown["known"]["state"] == "in-use"
    assert shown["known"]["stale_keys"] == []
    centre("keys", "rotate", "issuer")
    shown = centre("sam", "show", "--reader", "sim:other.card").document
    assert shown["known"]["stale_keys"] == ["concealment", "issuer"], "the one is not replaced without the other"
    retired = centre("sam", "retire", second["card_id"], "--reason", "worn", "--reader", "sim:other.card").document
    record = read_signed(centre.prompt.folder / str(retired["record"]))
    assert (record["card_id"], record["reason"], record["disposal"]) == (second["card_id"], "worn", "terminated")
    changed = (centre.prompt.folder / str(retired["record"])).read_text("utf-8").replace("worn", "torn")
    (centre.prompt.folder / "changed.json").write_text(changed, "utf-8")
    verified = centre.prompt("keys", "transcript", "verify", "changed.json", "--json", code=1)
    assert verified.error["code"] == "document-not-genuine"
    unterminated = centre("sam", "retire", first["card_id"], "--reason", "lost").document
    assert unterminated["terminated"] is False
    listed: Any = centre("sam", "list").document["sams"]
    assert [(one["card_id"], one["state"], one["disposal"]) for one in listed] == [
        (first["card_id"], "retired", "not-terminated"),
        (second["card_id"], "retired", "terminated"),
    ]
    assert centre("sam", "show", "--reader", "sim:other.card").document["condition"] == "terminated"
    centre("audit", "verify")
    words = centre.prompt("sam", "list", "--centre", "centre", "--lang", "zh").out
    assert "已停用" in words


def test_what_is_no_sam_of_this_centre_is_told_apart(centre: SmallCentre) -> None:
    with blank_chip(centre.prompt.folder / "strange.card", published_keys("another centre: "), 5):
        pass
    assert made(centre, "--reader", "sim:strange.card", code=2).error["code"] == "sam-foreign"
    assert centre("sam", "show", "--reader", "sim:strange.card").document["condition"] == "foreign"
    assert centre("sam", "retire", "00" * 10, "--reason", "x", code=2).error["code"] == "sam-unknown"
    assert centre("sam", "retire", "00" * 10, "--reason", "x" * 65, code=2).error["code"] == "text-length"
    assert made(centre, "--reader", "nowhere:1", code=2).error["code"] == "bad-address"


def test_making_sams_is_for_who_works_with_keys(centre: SmallCentre) -> None:
    roster = f'[operators.li]\nsystem_user = "{system_user()}"\nroles = ["run", "prepare", "receive"]\n'
    (centre.centre.root / "operators.toml").write_text(roster, "utf-8")
    assert made(centre, code=2).error["code"] == "role-missing"
    assert centre("sam", "retire", "00" * 10, "--reason", "x", code=2).error["code"] == "role-missing"
    assert centre("sam", "list").document == {"sams": []}


def run(centre: SmallCentre, *options: str, code: int = 0) -> Any:
    return centre("batch", "run", centre.delivered, "--simulate", *options, code=code)


NAMED = ("--sam", "sim:one.card", "--sam", "sim:two.card")


def test_a_run_needs_a_sam_for_each_station(centre: SmallCentre) -> None:
    for options, code in (
        (("--sam", "sim:one.card", "--sam", "sim:one.card"), "sam-named-twice"),
        (("--sam", "sim:one.card"), "sams-too-few"),
        ((*NAMED, "--stations", "3"), "sams-too-few"),
        (("--sam", "reader one", "--stations", "1"), "bad-address"),
    ):
        assert run(centre, *options, code=2).error["code"] == code
    assert centre("batch", "status", code=2).error["code"] == "no-batch", "nothing was loaded"


@pytest.mark.long
def test_each_station_has_a_sam_of_its_own(centre: SmallCentre) -> None:
    for name in ("one", "two"):
        made(centre, "--reader", f"sim:{name}.card")
    assert run(centre, *NAMED).document["good"] == 4
    assert not list((centre.centre.root / "sams").glob("*")), "no SAM of a rehearsal's own was needed"
    assert all(uses_left(centre, name) < 1_000_000 for name in ("one", "two"))
    (centre.centre.root / "sams.toml").write_text('[sams]\nreaders = ["sim:../one.card"]\n', "utf-8")
    assert centre("batch", "resume", code=2).error["code"] == "sams-too-few", "the centre's own file names one"


def uses_left(centre: SmallCentre, name: str) -> int:
    return int(str(centre("sam", "show", "--reader", f"sim:{name}.card").document["authentications_left"]))


@pytest.mark.long
def test_a_sam_that_is_missing_in_use_or_of_other_keys_stops_a_run_that_goes_on_afterwards(
    centre: SmallCentre,
) -> None:
    made(centre, "--reader", "sim:one.card")
    named = ("--stations", "1", "--sam", "sim:one.card")
    away = centre.prompt.folder / "one.card"
    away.rename(away.with_suffix(".away"))
    assert run(centre, *named, code=3).error["code"] == "sam-missing"
    away.with_suffix(".away").rename(away)
    with open_simulated(away):
        assert centre("batch", "resume", *named, code=3).error["code"] == "no-sam-free"
    blank_chip(centre.prompt.folder / "blank.card", published_keys("x"), 5).close()
    other = ("--stations", "1", "--sam", "sim:blank.card")
    assert centre("batch", "resume", *other, code=3).error["code"] == "sam-absent"
    status: Any = centre("batch", "status").document
    assert (status["left"], status["stock"]["spoiled"]) == (4, 0)
    spare = (*other, "--sam", "sim:one.card")
    assert centre("batch", "resume", *spare).document["good"] == 4, "what is of no use is passed over for a spare"


@pytest.mark.long
def test_a_sam_that_is_used_up_in_mid_batch_spoils_no_card(centre: SmallCentre) -> None:
    for name in ("one", "two"):
        made(centre, "--reader", f"sim:{name}.card")
    with open_simulated(centre.prompt.folder / "one.card") as chip:
        assert isinstance(chip.card, Card)
        store = chip.card.platform.store
        (counter,) = (item for item in store.objects() if (item.kind, item.identifier) == (ObjectKind.COUNTER, 0x80))
        store.write_through(counter, 0, (8).to_bytes(4, "big"))  # its proof, one card and half of another
    used_up = run(centre, "--stations", "1", "--sam", "sim:one.card", code=3)
    assert used_up.error["code"] == "sam-used-up"
    status: Any = centre("batch", "status").document
    assert 0 < status["good"] < 4
    assert status["stock"]["spoiled"] == 0
    values = centre("keys", "show").document
    for name in ("service_desk", "concealment"):  # cards that wait for inspection have these
        assert centre("keys", "rotate", name, code=2).error["code"] == "batch-at-work"
    assert centre("keys", "show").document == values, "and concealment was not replaced before that was seen"
    both = ("--stations", "1", *NAMED)
    assert centre("batch", "resume", "--stations", "1", "--sam", "sim:one.card", code=3).error["code"] == "sam-used-up"
    assert centre("batch", "resume", *both).document["good"] == 4, "it is passed over for the spare one"
    assert centre("sam", "show", "--reader", "sim:one.card", code=1).document["authentications_left"] == 0


@pytest.mark.long
def test_a_sam_of_keys_that_were_replaced_is_not_used(centre: SmallCentre) -> None:
    made(centre, "--reader", "sim:one.card")
    centre("keys", "rotate", "concealment")
    refused = run(centre, "--stations", "1", "--sam", "sim:one.card", code=3)
    assert refused.error["code"] == "sam-outdated"
    assert "concealment" in refused.error["text"]
    made(centre, "--reader", "sim:two.card")
    assert centre("batch", "resume", "--stations", "1", "--sam", "sim:two.card").document["good"] == 4


def test_after_a_rotation_no_card_is_spoiled_by_a_sam_of_before(centre: SmallCentre) -> None:
    """A rehearsal's own SAM of before stays where it is; cards of both generations stand in the journal as good."""
    centre("stock", "receive", "2")
    assert centre("batch", "run", centre.delivered, "--stations", "1", code=1).error["code"] == "stock-empty"
    centre("keys", "rotate", "inspection")
    centre("stock", "receive", "2")
    assert centre("batch", "resume", "--stations", "1").document["good"] == 4
    assert {path.name for path in (centre.centre.root / "sams").glob("*.card")} == {"sam-01.card", "sam-02.card"}
    stock: Any = centre("stock", "show").document
    assert stock["good"] == 4


def test_desks_serve_cards_of_before_a_rotation_beside_new_ones(
    centre: SmallCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(centre, "--reader", "sim:one.card")
    centre("stock", "receive", "2")
    first = ("--stations", "1", "--sam", "sim:one.card")
    assert centre("batch", "run", centre.delivered, *first, code=1).error["code"] == "stock-empty"
    before = str(centre("keys", "rotate", "service_desk").document["before"])
    assert centre("batch", "resume", *first, code=3).error["code"] == "sam-outdated", "stations make new cards only"
    centre("stock", "receive", "2")
    made(centre, "--reader", "sim:two.card")
    assert centre("batch", "resume", "--stations", "1", "--sam", "sim:two.card").document["good"] == 4
    centre("desk", "bound", "2099-01-01")
    cards = sorted((centre.centre.root / "cards").glob("*.card"))
    listed = centre.centre.root / "sams.toml"

    def inspect(card: int, *sams: str, code: int = 0) -> Any:
        listed.write_text(f"[sams]\nreaders = {[f'sim:../{sam}.card' for sam in sams]}\n", "utf-8")
        return centre("desk", "inspect", "--card", f"sim:{cards[card]}", "--area", "330381", code=code)

    for sams in (("two", "one"), ("one", "two")):
        for card in (0, 3, 1):
            assert inspect(card, *sams).document["status"] == "valid"
    assert inspect(0, "two", code=1).error["code"] == "card-of-another-generation"
    assert inspect(3, "one", code=1).error["code"] == "card-of-another-generation"
    assert inspect(0, "one").document["status"] == "valid", "a desk may have none but that"
    with monkeypatch.context() as desk:
        desk.setenv("PERMITCARD_SAM", "sim:two.card; sim:one.card")
        assert inspect(0).document["status"] == inspect(3).document["status"] == "valid"
    centre("keys", "destroy", "service_desk", before)
    assert inspect(0, "one", code=3).error["code"] == "sam-keys-destroyed"
    shown: Any = centre("sam", "show", "--reader", "sim:one.card").document
    assert shown["known"]["destroyed_keys"] == ["service_desk"]
    assert inspect(3, "one", "two").document["status"] == "valid"
    assert inspect(0, "one", "two", code=1).error["code"] == "card-of-another-generation"
    centre("audit", "verify")


def test_the_environment_and_the_centres_file_name_the_sam_of_a_desk(
    made_centre: MadeCentre, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = prompt.folder / "centre"
    shutil.copytree(made_centre.centre.root, root)
    shutil.rmtree(root / "sams")
    for card in ("centre/station.card", "desk.card"):
        prompt("sam", "make", "--reader", f"sim:{card}")
    (root / "sams.toml").write_text('[sams]\nreaders = ["sim:station.card"]\n', "utf-8")
    card = f"sim:{min((root / 'cards').glob('*.card'))}"
    desk = ("desk", "correct-date", "--card", card, "--area", "330381", "--on", "2020-01-02", "--json")

    def left(name: str) -> int:
        shown = prompt("sam", "show", "--reader", f"sim:{name}.card", "--json").document
        return int(str(shown["authentications_left"]))

    before = left("desk"), left("centre/station")
    monkeypatch.setenv("PERMITCARD_SAM", "sim:desk.card")
    assert prompt(*desk).document["after"] == "2020-01-02"
    after = left("desk"), left("centre/station")
    assert after[0] < before[0]
    assert after[1] == before[1]
    monkeypatch.delenv("PERMITCARD_SAM")
    assert prompt(*desk).document["after"] == "2020-01-02"
    assert left("centre/station") < before[1]
    assert not (root / "sams").exists(), "no SAM of a rehearsal's own was needed"
    (root / "sams.toml").write_text('[sams]\nreaders = "sim:station.card"\n', "utf-8")
    assert prompt(*desk, code=3).error["code"] == "sam-file-malformed"
    prompt("stock", "show")


@pytest.mark.long
def test_a_maker_that_is_killed_anywhere_leaves_a_sam_that_is_made_by_the_next(centre: SmallCentre) -> None:
    """The chip is asked and not the journal: kill -9 of the command, thirty times, at moments that a seed chose."""
    moments, folder = random.Random(94), centre.prompt.folder
    command, seen = CommandLine(folder), set[str]()
    line = ("sam", "make", "--centre", "centre", "--reader", "sim:torn.card")
    began = time.monotonic()
    with command.start(*line[:-1], "sim:whole.card") as process:  # a process of its own, as those that are killed
        assert process.wait(300) == 0
    whole = time.monotonic() - began
    for _ in range(30):
        with command.start(*line) as process, contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.2, 1.5) * whole)
        if (folder / "torn.card").exists():
            seen.add(str(centre("sam", "show", "--reader", "sim:torn.card").document["condition"]))
    assert seen, "not every kill came before the chip was there"
    if [one["state"] for one in all_sams(centre)] != ["in-use", "in-use"]:
        made(centre, "--reader", "sim:torn.card")
    assert [one["state"] for one in all_sams(centre)] == ["in-use", "in-use"]
    assert centre("audit", "verify").document["findings"] == []


def all_sams(centre: SmallCentre) -> list[dict[str, object]]:
    found: Any = centre("sam", "list").document["sams"]
    return list(found)
