"""The published card specification is the one that the profiles make, and says what a card does."""

from __future__ import annotations

import importlib.util
import re
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

from applet import permit, sam
from applet.sam.concealment import reveal
from card_os.answers import historical_bytes
from card_os.globalplatform.registry import DOMAIN_MODULE_AID, ISSUER_DOMAIN_AID
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.security.secure_messaging import session
from personalization.profile import CardProfile

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_card_specification", DOCS / "build_card_specification.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "card-specification.md").read_text(encoding="utf-8")


def example(page: str, name: str) -> bytes:
    found = re.search(rf"^\| {re.escape(name)} \| `([0-9A-F]+)` \|$", page, re.MULTILINE)
    assert found is not None, name
    return bytes.fromhex(found[1])


def test_the_page_is_up_to_date(builder: ModuleType) -> None:
    assert builder.main(["--check"]) == 0, "run python docs/build_card_specification.py"


def test_it_says_that_the_layout_is_our_own(page: str) -> None:
    assert "This layout is our own" in page
    assert "not public" in page


def test_every_file_key_object_and_command_is_on_the_page(page: str) -> None:
    for folder in (permit, sam):
        profile = CardProfile.load(files(folder) / "profile.toml")
        for row in profile.files:
            assert f"| {row.fid:04X} | {row.sfi:02X} | {row.name} |" in page
        for key in profile.keys:
            assert f"| {profile.name} | {key.reference:02X} | {key.name} |" in page
        for item in profile.objects:
            assert f"| {item.tag:02X} | {item.name} |" in page
        for command in profile.commands:
            assert f"| {command.name} | {command.cla:02X} {command.ins:02X} |" in page
        for grouping in profile.dgis:
            assert f"| {grouping.identifier} | {grouping.title.en} |" in page


def test_no_table_is_broken(page: str) -> None:
    """Every row of a table has as many cells as its head."""
    width = 0
    for line in page.splitlines():
        cells = line.count("|") - 1 if line.startswith("|") else 0
        if cells and width:
            assert cells == width, line
        width = cells
    assert "{{" not in page
    assert "None" not in page


def test_the_answers_are_those_of_the_card(page: str) -> None:
    assert historical_bytes().hex().upper() in page
    assert ISSUER_DOMAIN_AID.hex().upper() in page
    assert DOMAIN_MODULE_AID


def test_the_examples_are_what_the_card_computes(page: str) -> None:
    """The host made them; the card's own code reads them."""
    concealed = re.search(r"key `([0-9A-F]+)`, card number `([0-9A-F]+)`, R = `[0-9A-F]+`:\n`([0-9A-F]+)`", page)
    assert concealed is not None
    key, number, value = (bytes.fromhex(text) for text in concealed.groups())
    assert reveal(key, value) == number
    share = bytes(left ^ right for left, right in zip(example(page, "K.IFD"), example(page, "K.IC"), strict=True))
    messaging = session(share, example(page, "RND.IC"), example(page, "RND.IFD"), role=1)
    for plain, protected, content, answer in (
        ("plain command", "protected command, SSC = 1", "what is read", "protected response, SSC = 2"),
        ("plain VERIFY", "protected VERIFY, SSC = 3", None, "its protected response, SSC = 4"),
    ):
        command = CommandApdu.parse(example(page, protected))
        assert messaging.unwrap(command) == CommandApdu.parse(example(page, plain))
        data, sw = messaging.wrap(b"" if content is None else example(page, content), SW.OK)
        assert data + sw.encode() == example(page, answer)
