from __future__ import annotations

from pathlib import Path

import pytest

from card_os.card import Card
from card_os.hardware.chip import Chip
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.power import CutMoment
from card_os.iso7816.errors import MemoryFailure
from reader_bridge.addresses import ConnectionFactory
from reader_bridge.connection import CardConnection, Interface, Protocol7816, ReaderError
from reader_bridge.simulated import SimulatedCard, create_card, open_card

CHIP = Chip("test", 16_384, 64, 4, 0, 1_000, 10)
SELECT_NOTHING = bytes.fromhex("00A4040008F00000000000000000")


def test_a_new_card_answers_on_both_interfaces_at_once(tmp_path: Path) -> None:
    with create_card(tmp_path / "card.nvm", Card, CHIP) as card:
        contact, field = card.connect(), card.connect(Interface.CONTACTLESS)
        with contact, field:
            assert contact.description.answer[0] == 0x3B
            assert field.description.answer[0] == len(field.description.answer)
            assert (contact.description.protocol, field.description.protocol) == (Protocol7816.T1, Protocol7816.TCL)
            assert contact.description.simulated
            for connection in (contact, field, contact):
                assert len(connection.transmit(SELECT_NOTHING)) >= 2


def test_connections_are_card_connections(tmp_path: Path) -> None:
    with create_card(None, Card, CHIP) as card:
        assert isinstance(card.connect(), CardConnection)


def test_power_comes_and_goes() -> None:
    with create_card(None, Card, CHIP) as card:
        connection = card.connect()
        with pytest.raises(ReaderError, match="mute"):
            connection.transmit(SELECT_NOTHING)
        answer = connection.power_on()
        assert connection.power_on() == answer == connection.reset()
        connection.power_off()
        connection.power_off()
        with pytest.raises(ReaderError, match="mute"):
            connection.transmit(SELECT_NOTHING)
        assert connection.reset() == answer


def test_a_power_cut_is_a_mute_card_that_starts_again() -> None:
    """The cut strikes while the card boots and replays: the next start is whole."""
    image = NvmImage.create(chip=CHIP)
    nvm = image.nvm()
    with SimulatedCard(image, lambda _: Card(nvm)) as card:
        connection = card.connect()
        nvm.power.arm(3, CutMoment.PROGRAMMING)
        with pytest.raises(ReaderError, match="mute"):
            connection.power_on()
        assert connection.power_on()[0] == 0x3B


def test_a_card_file_is_locked_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "card.nvm"
    create_card(path, Card, CHIP).close()
    with open_card(path, Card), pytest.raises(ReaderError, match="image-in-use"):
        open_card(path, Card)
    open_card(path, Card).close()


def test_leaving_an_owned_connection_gives_the_file_back(tmp_path: Path) -> None:
    path = tmp_path / "card.nvm"
    create_card(path, Card, CHIP).close()
    factory = ConnectionFactory(make=Card)
    with factory.connect(f"sim:{path}:contactless") as connection:
        assert connection.description.interface is Interface.CONTACTLESS
    contact, field = factory.connect_both(f"sim:{path}")
    assert field
    with contact, field:
        assert field.description.interface is Interface.CONTACTLESS
    open_card(path, Card).close()


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "card.nvm"
    path.write_bytes(b"kept")
    with pytest.raises(ReaderError, match="image-exists"):
        create_card(path, Card, CHIP)
    assert path.read_bytes() == b"kept"


def test_a_failed_manufacture_leaves_no_file(tmp_path: Path) -> None:
    def manufacture(nvm: Nvm) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        create_card(tmp_path / "card.nvm", Card, CHIP, manufacture)
    assert not (tmp_path / "card.nvm").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="image-missing"):
        open_card(tmp_path / "none", Card)


def test_a_card_that_does_not_boot_is_damaged() -> None:
    def make(nvm: Nvm) -> Card:
        raise MemoryFailure("planted")

    with pytest.raises(ReaderError, match="card-damaged: path=sim, reason=planted"):
        SimulatedCard(NvmImage.create(chip=CHIP), make)


def test_a_damaged_store_is_a_mute_card() -> None:
    image = NvmImage.create(chip=CHIP)
    image.nvm().write(0, b"OBJ1")
    connection = SimulatedCard(image, Card).connect()
    with pytest.raises(ReaderError, match="mute"):
        connection.power_on()
