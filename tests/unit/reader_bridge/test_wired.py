"""A simulated card behind its protocols answers as it does in process."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from card_os.hardware.clock import VirtualClock
from card_os.hardware.image import NvmImage
from permitcard.products import card_maker
from permitcard.specimen import make_specimen
from reader_bridge.connection import CardConnection, Interface, Protocol7816, ReaderError
from reader_bridge.simulated import SimulatedCard
from reader_bridge.wired import WiredConnection, wired_connection
from tests.unit.transport.error_play import Noise

SELECT_ISSUER = bytes.fromhex("00A4040008A00000015100000000")
GET_CPLC = bytes.fromhex("80CA9F7F00")
COMMANDS = [
    SELECT_ISSUER,
    GET_CPLC,
    bytes.fromhex("80CA9F7F02"),
    bytes.fromhex("80CA006600"),
    bytes.fromhex("00A4040007F05A4A4A5A010100"),
    bytes.fromhex("00CADF2100"),
    bytes.fromhex("00B0810000"),
    bytes.fromhex("0070000001"),
    bytes.fromhex("00708001"),
    bytes.fromhex("00EE000000"),
    bytes.fromhex("00200081"),
]
WAYS = [
    (Interface.CONTACT, Protocol7816.T0),
    (Interface.CONTACT, Protocol7816.T1),
    (Interface.CONTACTLESS, Protocol7816.TCL),
]


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    card, _ = make_specimen()
    with card:
        return card.image.snapshot()


@pytest.fixture
def cards(snapshot: bytes) -> Iterator[tuple[SimulatedCard, SimulatedCard]]:
    """Two cards that are the same."""
    first, second = (SimulatedCard(NvmImage.from_snapshot(snapshot), card_maker(None)) for _ in range(2))
    with first, second:
        yield first, second


@pytest.mark.parametrize(("interface", "protocol"), WAYS)
def test_answers_are_those_of_the_card_in_process(
    cards: tuple[SimulatedCard, SimulatedCard], interface: Interface, protocol: Protocol7816
) -> None:
    wired: CardConnection = wired_connection(cards[0], interface, protocol)
    with wired, cards[1].connect(interface) as direct:
        assert wired.description.answer == direct.description.answer
        assert wired.description.protocol is protocol
        for command in COMMANDS:
            assert wired.transmit(command) == direct.transmit(command), command.hex()


@pytest.mark.parametrize(("interface", "protocol"), WAYS)
def test_the_wire_takes_time(
    cards: tuple[SimulatedCard, SimulatedCard], interface: Interface, protocol: Protocol7816
) -> None:
    clock = VirtualClock()
    port = cards[0].card.contact if interface is Interface.CONTACT else cards[0].card.contactless
    with WiredConnection(port, interface, protocol=protocol, clock=clock) as wired:
        before = clock.now_ns
        wired.transmit(SELECT_ISSUER)
        assert clock.now_ns > before


@pytest.mark.parametrize(("interface", "protocol"), WAYS[1:])
def test_noise_ends_in_the_right_answer_or_in_a_clear_error(
    cards: tuple[SimulatedCard, SimulatedCard], interface: Interface, protocol: Protocol7816
) -> None:
    port = cards[0].card.contact if interface is Interface.CONTACT else cards[0].card.contactless
    noise = Noise(Random(1), 0.1, 0.1)
    with cards[1].connect(interface) as direct, WiredConnection(port, interface, disturbance=noise) as wired:
        expected = direct.transmit(SELECT_ISSUER)
        right = 0
        for _ in range(200):
            try:
                assert wired.transmit(SELECT_ISSUER) == expected
            except ReaderError as error:
                assert error.code in {"mute", "transmission-failed"}  # noqa: PT017 - the loop goes on after it
                wired.reset()
            else:
                right += 1
        assert right > 100


def test_a_card_without_power_is_mute(cards: tuple[SimulatedCard, SimulatedCard]) -> None:
    wired = wired_connection(cards[0], Interface.CONTACT)
    with pytest.raises(ReaderError) as caught:
        wired.transmit(SELECT_ISSUER)
    assert caught.value.code == "mute"
    answer = wired.power_on()
    assert wired.power_on() == wired.reset() == answer
    wired.power_off()
    wired.power_off()
    with pytest.raises(ReaderError):
        wired.transmit(SELECT_ISSUER)


@pytest.mark.parametrize("command", ["00A4", "00600000", "00A404000201"])
def test_t0_refuses_what_is_no_command(cards: tuple[SimulatedCard, SimulatedCard], command: str) -> None:
    with wired_connection(cards[0], Interface.CONTACT, Protocol7816.T0) as wired:
        with pytest.raises(ReaderError) as caught:
            wired.transmit(bytes.fromhex(command))
        assert caught.value.code == "transmission-failed"
        assert wired.transmit(SELECT_ISSUER)[-2:] == b"\x90\x00"
