"""The tutorial's applet passes the kit's tests, and the kit finds what is wrong with others."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from applet.file_system.applet import FileSystemApplet
from applet.file_system.sample import HOLDER_PIN, MF_RULES
from card_os.applet_api import ALWAYS, NEVER, Context, Instruction, instruction_table
from card_os.applet_services import ObjectKind
from card_os.iso7816.apdu import CommandApdu
from permitcard.testing import applet_kit
from permitcard.testing.applet_kit import AppletOnCard, AppletSuite
from reader_bridge.connection import Interface
from reader_bridge.tear_report import ViolationKind

EXAMPLE = Path(__file__).parents[3] / "examples" / "applets" / "loyalty.py"
PIN = bytes.fromhex("241234FFFFFFFFFF")


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("loyalty", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["loyalty"] = module
    spec.loader.exec_module(module)
    return module


LOYALTY = load_example()


class TestLoyalty(AppletSuite):
    """As the tutorial writes it."""

    applet = LOYALTY.Loyalty
    parameters = PIN
    examples: ClassVar[Mapping[str, str]] = {
        "ADD POINTS": "80 10 0000 02 0064 02",
        "VERIFY": "00 20 0081 08 241234FFFFFFFFFF",
        "SPEND POINTS": "80 12 0000 02 0014 02",
        "READ RECORD": "00 B2 010C 03",
    }


class TestFileSystem(AppletSuite):
    """Ours pass too."""

    applet = FileSystemApplet
    parameters = MF_RULES
    groupings: ClassVar[Sequence[tuple[int, bytes]]] = ((0x8010, bytes((HOLDER_PIN, 1, 3)) + PIN),)
    examples: ClassVar[Mapping[str, str]] = {
        "VERIFY": "00 20 0081 08 241234FFFFFFFFFF",
        "CREATE FILE": "00 E0 0000 17 6215 80020008 820101 83020301 8800 86067F0100000000",
        "UPDATE BINARY": "00 D6 0000 02 CAFE",
        "READ BINARY": "00 B0 0000 02",
        "DELETE FILE": "00 E4 0000",
        "PUT DATA": "00 DA 005A 01 77",
        "GET DATA": "00 CA 005A 00",
        "CHANGE REFERENCE DATA": "00 24 0081 10 241234FFFFFFFFFF 241234FFFFFFFFFF",
    }


@pytest.fixture(scope="module")
def purse() -> AppletOnCard:
    return AppletOnCard.make(LOYALTY.Loyalty, PIN)


def test_the_example_has_less_than_a_hundred_lines() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 100


def test_points_are_added_and_spent(purse: AppletOnCard) -> None:
    port = purse.port()
    rows = (
        ("8010000002006402", "00649000"),
        ("8012000002001402", "6982"),
        ("0020008108241111FFFFFFFFFF", "63C2"),
        ("0020008108241234FFFFFFFFFF", "9000"),
        ("8012000002001402", "00509000"),
        ("8012000002005102", "6985"),
        ("8010000002FFFF02", "6985"),
        ("801000000101", "6700"),
        ("8010010002000102", "6A86"),
        ("00B2010D00", "0200140100649000"),
    )
    for command, answer in rows:
        assert port.process(bytes.fromhex(command)).hex().upper() == answer
    field = purse.port(Interface.CONTACTLESS)
    assert field.process(bytes.fromhex("00B2010C03")) == b"\x69\x82"
    assert field.process(bytes.fromhex("0020008108241234FFFFFFFFFF")) == b"\x69\x82"


# ---------------------------------------------------------------------- what the kit finds


def applet_with(handler: Callable[[Context, CommandApdu], bytes], **row: Any) -> type[Any]:
    """The loyalty applet with one more instruction."""

    class Planted(LOYALTY.Loyalty):  # type: ignore[name-defined,misc]  # loaded by its path
        instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
            *LOYALTY.Loyalty.instructions.values(), Instruction(0x20, "PLANTED", handler, proprietary=True, **row)
        )

    return Planted


def made(handler: Callable[[Context, CommandApdu], bytes], **row: Any) -> AppletOnCard:
    return AppletOnCard.make(applet_with(handler, **row), PIN)


PLANTED = {"ADD POINTS": bytes.fromhex("8010000002006402"), "PLANTED": bytes.fromhex("8020000000")}


def test_the_kit_finds_two_changes_that_are_not_one() -> None:
    """Balance and history apart: a cut between them leaves a card that is neither old nor new."""

    def book_twice(context: Context, command: CommandApdu) -> bytes:
        item = context.store.find(context.application.owner, ObjectKind.DATA, LOYALTY.BALANCE)
        assert item is not None
        with context.store.transaction():
            context.store.write(item, 0, b"\x00\x01")
        context.files.append_record(context.files.get(LOYALTY.HISTORY.fid), b"\x01\x00\x01")
        return b""

    with pytest.raises(AssertionError, match=ViolationKind.BETWEEN.value):
        applet_kit.check_tear_safety(made(book_twice), PLANTED)


def test_the_kit_finds_an_exception_that_is_no_card_error() -> None:
    def careless(context: Context, command: CommandApdu) -> bytes:
        return bytes((command.data[3],))

    with pytest.raises(AssertionError, match="IndexError"):
        applet_kit.check_any_bytes(made(careless), PLANTED)


def test_the_kit_finds_a_rule_that_nobody_keeps() -> None:
    """The table of the card lets in what the applet's own table, which the kit reads, does not."""
    on_card = made(lambda _context, _command: b"", access=ALWAYS)
    strict = AppletOnCard(applet_with(lambda _context, _command: b"", access=NEVER), on_card.image, on_card.number)
    applet_kit.check_instruction_table(strict, Interface.CONTACT)

    class Shown(on_card.applet):  # type: ignore[name-defined,misc]  # made above
        instructions = strict.applet.instructions

    class Lying(AppletOnCard):
        def port(self, interface: Interface = Interface.CONTACT) -> Any:
            return on_card.port(interface)

    with pytest.raises(AssertionError, match="PLANTED over contact"):
        applet_kit.check_instruction_table(Lying(Shown, on_card.image, on_card.number), Interface.CONTACT)


def test_the_kit_finds_state_outside_the_image() -> None:
    answered: list[int] = []

    def forgetful(context: Context, command: CommandApdu) -> bytes:
        answered.append(1)
        if len(answered) > 2:
            raise IndexError
        return b""

    with pytest.raises(AssertionError, match="it goes on with"):
        applet_kit.check_reboot(made(forgetful), PLANTED)


def test_the_kit_finds_an_example_that_fails() -> None:
    on_card = made(lambda _context, _command: b"", access=NEVER)
    with pytest.raises(AssertionError, match="PLANTED answers 6982"):
        applet_kit.check_examples(on_card, PLANTED)
    with pytest.raises(AssertionError, match="no instruction of the applet"):
        applet_kit.check_examples(on_card, {"BUY": b"\x80\x10\x00\x00"})
    with pytest.raises(AssertionError, match="PLANTED on channel 1"):
        applet_kit.check_channels(on_card, PLANTED)


@pytest.fixture(scope="module", autouse=True)
def _forget_the_example() -> Iterator[None]:
    yield
    sys.modules.pop("loyalty", None)
