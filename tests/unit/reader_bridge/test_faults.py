"""Fault plans: what is planned happens, at its site and as often as it says, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from permitcard.products import boot, permit_profile
from permitcard.specimen import HOLDER_PIN, make_specimen, specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.terminal.holder import HolderSession
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface, ReaderError
from reader_bridge.fault_plan import FaultPlan
from reader_bridge.faults import FaultyNvm, with_faults
from reader_bridge.simulated import SimulatedCard

SELECT = bytes.fromhex("00A4040007F05A4A4A5A010100")
CHALLENGE = bytes.fromhex("0084000010")
ROOT = Path(__file__).parents[3]


def card(plan: str) -> SimulatedCard:
    return SimulatedCard(make_specimen()[0].image, with_faults(boot, FaultPlan.parse(plan)))


def memory(plan: str) -> tuple[Nvm, FaultyNvm]:
    inner = NvmImage.create().nvm()
    return inner, FaultyNvm(inner, FaultPlan.parse(plan))


def fault(**keys: object) -> str:
    lines = [f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in keys.items()]
    return "\n".join(["[[fault]]", *lines, ""])


def test_an_empty_plan_changes_nothing() -> None:
    with card("") as simulated, simulated.connect() as connection:
        assert connection.transmit(SELECT)[-2:] == b"\x90\x00"
        HolderSession.open(connection, permit_profile()).verify(HOLDER_PIN)


def test_status_comes_after_some_and_as_often_as_planned() -> None:
    plan = fault(kind="status", status="6581", ins=0x84, after=2, count=2)
    with card(plan) as simulated, simulated.connect() as connection:
        connection.transmit(SELECT)
        answers = [connection.transmit(CHALLENGE)[-2:].hex() for _ in range(6)]
    assert answers == ["9000", "9000", "6581", "6581", "9000", "9000"]


def test_status_without_end_on_one_interface() -> None:
    plan = fault(kind="status", status="6F00", interface="contactless", count=0)
    with card(plan) as simulated:
        with simulated.connect(Interface.CONTACT) as connection:
            assert connection.transmit(SELECT)[-2:] == b"\x90\x00"
        with simulated.connect(Interface.CONTACTLESS) as connection:
            assert [connection.transmit(SELECT) for _ in range(3)] == [b"\x6f\x00"] * 3


@pytest.mark.parametrize(("execute", "tries"), [(False, 3), (True, 2)])
def test_a_replaced_status_may_hide_an_executed_command(*, execute: bool, tries: int) -> None:
    plan = fault(kind="status", status="9000", ins=0x20, execute=execute)
    with card(plan) as simulated, simulated.connect() as connection:
        connection.transmit(SELECT)
        assert connection.transmit(bytes.fromhex("002000810826111111FFFFFFFF")) == b"\x90\x00"
        assert connection.transmit(bytes.fromhex("00200081")) == bytes((0x63, 0xC0 | tries))


def test_a_mute_card_needs_power_again() -> None:
    with card(fault(kind="mute", ins=0x84)) as simulated, simulated.connect() as connection:
        for _ in range(2):
            with pytest.raises(ReaderError, match="mute"):
                connection.transmit(CHALLENGE)
        connection.reset()
        assert connection.transmit(SELECT)[-2:] == b"\x90\x00"


def test_a_late_answer_comes_late() -> None:
    with card(fault(kind="delay", milliseconds=60)) as simulated, simulated.connect() as connection:
        begin = time.monotonic()
        assert connection.transmit(SELECT)[-2:] == b"\x90\x00"
        assert time.monotonic() - begin >= 0.06


def test_a_flipped_bit_stays_in_memory() -> None:
    inner, faulty = memory(fault(kind="bit-flip", address=10, length=2, bit=3))
    faulty.write(0, bytes(8))
    faulty.write(8, bytes(8))
    assert inner.read(0, 16) == bytes(10) + b"\x08" + bytes(5)
    faulty.write(8, bytes(8))
    assert inner.read(0, 16) == bytes(16)


def test_a_bit_that_flips_while_reading_is_right_in_memory() -> None:
    inner, faulty = memory(fault(kind="bit-flip", address=1, bit=0, on="read"))
    inner.write(0, bytes(4))
    assert [faulty.read(0, 4).hex() for _ in range(2)] == ["00010000", "00000000"]
    assert inner.read(0, 4) == bytes(4)


@pytest.mark.parametrize(("value", "written", "found"), [(1, b"\x00" * 4, "00004000"), (0, b"\xff" * 4, "ffffbfff")])
def test_a_stuck_bit_never_moves(value: int, written: bytes, found: str) -> None:
    _, faulty = memory(fault(kind="stuck-bit", address=2, bit=6, value=value))
    for _ in range(3):
        faulty.write(0, written)
        assert faulty.read(0, 4).hex() == found
    assert faulty.read(3, 1) == written[3:]


def test_a_skipped_write_takes_time_and_leaves_the_old() -> None:
    inner, faulty = memory(fault(kind="skipped-write", page=1))
    size = inner.page_size
    faulty.write(size, b"\x01" * 8)
    assert inner.read(size, 8) == b"\xff" * 8
    assert inner.clock.now_ns > 0
    faulty.write(size, b"\x01" * 8)
    assert inner.read(size, 8) == b"\x01" * 8


def test_a_worn_page_spoils_every_write_and_no_other_page() -> None:
    inner, faulty = memory("seed = 3\n" + fault(kind="worn-page", page=2))
    size = inner.page_size
    for page in (1, 2, 3):
        faulty.write(page * size, bytes(size))
    wrong = [sum(byte.bit_count() for byte in inner.read(page * size, size)) for page in (1, 2, 3)]
    assert wrong == [0, 1, 0]


def test_a_slow_write_takes_virtual_time() -> None:
    inner, faulty = memory(fault(kind="slow-write", milliseconds=7))
    faulty.write(0, b"\x00")
    assert inner.clock.now_ns >= 7_000_000


def test_the_same_seed_spoils_the_same_bits() -> None:
    found: set[bytes] = set()
    for _ in range(2):
        inner, faulty = memory("seed = 9\n" + fault(kind="bit-flip", count=5))
        for at in range(0, 64, 8):
            faulty.write(at, bytes(8))
        found.add(inner.read(0, 64))
    assert len(found) == 1
    assert sum(byte.bit_count() for byte in found.pop()) == 5


def test_a_site_can_be_an_object_of_the_card() -> None:
    """A bit of the status file is stuck: the file is told as it reads, signature-like checks will notice."""
    plan = "".join(fault(kind="stuck-bit", object="FILE 0203", bit=0, value=value) for value in (0,))
    with card(plan) as simulated, simulated.connect() as connection:
        session = TerminalSession.open(connection, LaboratorySam(specimen_keys()), permit_profile(), "inspection")
        assert session.read("EF.STATUS")[:1] in (b"\x01", b"\x00")


def test_a_card_whose_commit_is_skipped_is_old_or_new_to_its_holder() -> None:
    """A lost write is not a torn one: what counts is that the card never answers with an exception."""
    with card(fault(kind="skipped-write", after=3, count=1)) as simulated, simulated.connect() as connection:
        for command in (
            SELECT,
            bytes.fromhex("002000810826111111FFFFFFFF"),
            bytes.fromhex("002000810826246802FFFFFFFF"),
        ):
            assert connection.transmit(command)[-2:-1] in (b"\x90", b"\x63", b"\x69", b"\x65")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[fault]]\n", "kind is one of"),
        (fault(kind="explode"), "kind is one of"),
        (fault(kind="status"), "status is missing"),
        (fault(kind="status", status="1234"), "status is malformed"),
        (fault(kind="status", status="6581", page=1), "page says nothing"),
        (fault(kind="stuck-bit", bit=8, value=1), "bit is out of range"),
        (fault(kind="stuck-bit", bit=1), "value is missing"),
        (fault(kind="bit-flip", address=-1), "address is out of range"),
        (fault(kind="bit-flip", address="x"), "address has to be a whole number"),
        (fault(kind="bit-flip", address=1, page=1), "one site"),
        (fault(kind="bit-flip", on="erase"), "on is one of"),
        (fault(kind="bit-flip", object="file 0203"), "object is malformed"),
        (fault(kind="mute", interface="usb"), "interface is one of"),
        ("speed = 3\n", "nothing else"),
        ("seed = true\n", "nothing else"),
        ("fault = [1]\n", "kind is one of"),
        ("seed = \n", "Invalid value"),
    ],
)
def test_a_plan_that_makes_no_sense_names_its_row(text: str, reason: str) -> None:
    with pytest.raises(ReaderError, match=reason) as caught:
        FaultPlan.parse(text)
    assert caught.value.code == "fault-plan-invalid"


@pytest.mark.parametrize("site", [{"page": 100_000}, {"address": 1 << 30}, {"object": "FILE 7777"}])
def test_a_site_that_is_not_there_is_told(site: dict[str, object]) -> None:
    image = make_specimen()[0].image
    plan = FaultPlan.parse(fault(kind="skipped-write", **site))
    with pytest.raises(ReaderError, match="fault-plan-site"):
        SimulatedCard(image, with_faults(boot, plan))


def test_the_plans_of_the_examples_can_be_used() -> None:
    for path in (ROOT / "examples" / "faults").glob("*.toml"):
        SimulatedCard(make_specimen()[0].image, with_faults(boot, FaultPlan.load(path))).close()
    with pytest.raises(ReaderError, match="fault-plan-unreadable"):
        FaultPlan.load(ROOT / "nothing.toml")
