"""Virtual time: what a command costs by the table of the chip's processor, and what the reader is asked for then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from card_os.applet_api import Context, KeyAlgorithm, KeyUsage, create_key
from card_os.card import Card
from card_os.hardware.chip import Chip, load_chips
from card_os.hardware.clock import VirtualClock
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.hardware.work import NO_TIMES, Work, read_tables, work_times
from card_os.iso7816.atr import Atr
from card_os.port import Port
from card_os.transport.parameters import LineParameters
from card_os.transport.tcl_blocks import BlockCodec, ContactlessType, Kind, wtxm
from card_os.transport.timing import ContactlessTiming, ContactTiming
from card_os.transport.wire import Direction
from reader_bridge.connection import Interface, Protocol7816
from reader_bridge.wired import WiredConnection
from tests.doubles.secured_card import AID, PIN, secured_card, secured_image, send

Times = Mapping[Work, int]


def keys(context: Context) -> None:
    create_key(context, 0xA0, (7).to_bytes(32), usage=KeyUsage.CHIP, algorithm=KeyAlgorithm.EC_P256_PRIVATE)
    create_key(context, 0x01, bytes(16), usage=KeyUsage.SIGN)


@pytest.fixture(scope="module")
def image() -> NvmImage:
    return secured_image(keys)


def started(image: NvmImage, times: Times | None = None) -> Card:
    copy = image.fork()
    nvm = copy.nvm() if times is None else copy.nvm(VirtualClock(times=times))
    return secured_card(nvm, SeededRandomness(4))


def cost(port: Port, command: Callable[[], tuple[bytes, int]]) -> int:
    assert command()[1] in (0x9000, 0x63C2)
    return port.last_cost_ns


def test_every_chip_has_a_processor_and_every_processor_knows_all_work() -> None:
    chips, processors = read_tables()
    assert chips.keys() == load_chips().keys()
    assert set(chips.values()) == processors.keys()
    for times in processors.values():
        assert times.keys() == set(Work)
        assert min(times.values()) > 0


def test_a_chip_of_ones_own_computes_in_no_time() -> None:
    chip = Chip("mine", 65536, 512, 4, 0xFF, 1_000, 1_000)
    assert work_times("mine") is NO_TIMES
    assert NvmImage.create(chip=chip).nvm().clock.times is NO_TIMES


def test_a_command_costs_its_bytes_and_its_work(image: NvmImage) -> None:
    card = started(image, {Work.COMMAND: 1_000, Work.BYTE: 10, Work.P256_SIGN: 5_000_000, Work.AES_BLOCK: 700})
    port = card.contact
    port.power_on()
    before = card.clock.now_ns
    assert cost(port, lambda: send(port, 0xA4, 0x040C, AID)) == 1_000 + 10 * (5 + len(AID) + 2)
    assert card.clock.now_ns - before == port.last_cost_ns
    assert cost(port, lambda: send(port, 0x88, 0xA0, bytes(8), 256)) == 1_000 + 10 * (5 + 8 + 1 + 66) + 5_000_000
    assert cost(port, lambda: send(port, 0x22, 0x41B4, b"\x84\x01\x01")) == 1_000 + 10 * (8 + 2)
    assert cost(port, lambda: send(port, 0x2A, 0x8E80, bytes(40), 256)) == 1_000 + 10 * (5 + 40 + 1 + 18) + 3 * 700


def test_writing_costs_what_the_memory_takes(image: NvmImage) -> None:
    """A wrong PIN: one word written through, on a chip that programs a word in 60 µs through a journal of 5 words."""
    units = started(image, {})
    units.contact.power_on()
    before = units.nvm.power.count
    wrong = bytes.fromhex("249999FFFFFFFFFF")
    assert cost(units.contact, lambda: send(units.contact, 0x20, 0x81, wrong)) == 60_000 * (
        units.nvm.power.count - before
    )


def test_the_same_commands_cost_the_same(image: NvmImage) -> None:
    def run() -> list[int]:
        port = started(image).contact
        port.power_on()
        costs = [cost(port, lambda: send(port, 0x20, 0x81, PIN)), cost(port, lambda: send(port, 0xB0, 0x8200, ne=4))]
        return [*costs, cost(port, lambda: send(port, 0x88, 0xA0, bytes(8), 256))]

    first = run()
    assert first == run()
    assert first[2] > work_times("flash-144k")[Work.P256_SIGN]


class Recorder:
    """Takes down what goes over the wire and disturbs nothing."""

    def __init__(self) -> None:
        self.sent: list[tuple[Direction, bytes]] = []

    def __call__(self, direction: Direction, data: bytes) -> bytes:
        self.sent.append((direction, data))
        return data

    def of_the_card(self) -> list[bytes]:
        return [data for direction, data in self.sent if direction is Direction.TO_READER]


def exchanged(card: Card, interface: Interface, protocol: Protocol7816) -> tuple[bytes, list[bytes]]:
    """The answer of INTERNAL AUTHENTICATE, and what the card sent."""
    port = card.contact if interface is Interface.CONTACT else card.contactless
    recorder = Recorder()
    wired = WiredConnection(port, interface, protocol=protocol, clock=card.clock, disturbance=recorder)
    with wired:
        recorder.sent.clear()
        answer = wired.transmit(bytes.fromhex("008800A008") + bytes(8) + b"\x00")
        if answer[:1] == b"\x61":
            answer = wired.transmit(b"\x00\xc0\x00\x00" + answer[1:])
    return answer, recorder.of_the_card()


@pytest.mark.parametrize(("fwt", "expected"), [(0.9, []), (1.0, [1]), (3.5, [3]), (58.9, [58]), (130.0, [59, 59, 12])])
def test_the_card_asks_for_frame_waiting_times(image: NvmImage, fwt: float, expected: list[int]) -> None:
    """ISO/IEC 14443-4, 7.3: S(WTX) as often as one request is not enough, and never when the time suffices."""
    work_ns = int(ContactlessTiming(8, 0).fwt_ns * fwt) + 1
    answer, sent = exchanged(started(image, {Work.P256_SIGN: work_ns}), Interface.CONTACTLESS, Protocol7816.TCL)
    assert answer[-2:] == b"\x90\x00"
    blocks = [BlockCodec(ContactlessType.A).decode(frame) for frame in sent]
    assert [wtxm(block) for block in blocks if block.kind is Kind.WTX] == expected


@pytest.mark.parametrize(("bwt", "expected"), [(0.9, []), (2.5, [2]), (300.0, [255, 45])])
def test_the_card_asks_for_block_waiting_times(image: NvmImage, bwt: float, expected: list[int]) -> None:
    """ISO/IEC 7816-3, 11.4.3: S(WTX request) with its multiplier."""
    work_ns = int(_contact_timing(image).bwt_ns * bwt) + 1
    answer, sent = exchanged(started(image, {Work.P256_SIGN: work_ns}), Interface.CONTACT, Protocol7816.T1)
    assert answer[-2:] == b"\x90\x00"
    assert [block[3] for block in sent if block[1] == 0xC3] == expected


@pytest.mark.parametrize(("wwt", "expected"), [(0.9, 0), (2.5, 2), (300.0, 300)])
def test_the_card_sends_null_bytes(image: NvmImage, wwt: float, expected: int) -> None:
    """ISO/IEC 7816-3, 10.3.3: NULL (60) begins the waiting time anew."""
    work_ns = int(_contact_timing(image).wwt_ns * wwt) + 1
    answer, sent = exchanged(started(image, {Work.P256_SIGN: work_ns}), Interface.CONTACT, Protocol7816.T0)
    assert answer[-2:] == b"\x90\x00"
    assert max(len(data) - len(data.lstrip(b"\x60")) for data in sent) == expected


def _contact_timing(image: NvmImage) -> ContactTiming:
    parameters = LineParameters.from_atr(Atr.parse(started(image).contact.power_on()))
    return parameters.timing(512, 32)
