"""Chips of another product stop the stations before they are changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from applet.sam.applet import SamApplet
from card_os.card import Card
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.security_domain import SecurityDomain
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.manufacture import manufacture
from personalization.errors import PersonalizationError
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import issuer_domain_keys
from personalization.production.account import take_account
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.batches import change_batch
from personalization.production.maker import GlobalPlatformMaker
from personalization.production.policy import Policy
from personalization.production.states import BatchState, BlankState
from personalization.production.station import Line, Station
from personalization.production.stock import count_stock
from personalization.production.work import Condition
from reader_bridge.simulated import open_card
from tests.model.real_line import PASSPHRASE, boot, load, new_blank, recipe


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    return FileKeyStore.create(tmp_path_factory.mktemp("keys") / "keys", PASSPHRASE, scrypt_n=2)


def untimed(step: str) -> None:
    del step


def other_chip(path: Path, keys: FileKeyStore, serial: int) -> bytes:
    """A blank of the same vendor and keys, of another type of chip."""
    data = ProductionData(ic_fabricator=0x4A5A, ic_type=2, ic_serial_number=serial, ic_batch=1)
    factory = issuer_domain_keys(keys, KeyName.FACTORY, data.card_number)
    image = NvmImage.create(path)
    manufacture(image.nvm(), data, KeySet(0xFF, factory.enc, factory.mac, factory.dek))
    image.close()
    return data.card_number


def without_permit(nvm: Nvm) -> Card:
    """A chip that was never loaded with the permit's code."""
    return Card(nvm, (SamApplet,), security_domain=SecurityDomain)


def test_a_chip_without_the_code_is_not_changed(tmp_path: Path, keys: FileKeyStore) -> None:
    number = new_blank(tmp_path / "a.card", keys, 3, 1)
    maker = GlobalPlatformMaker(recipe(keys, "permit"))
    with open_card(tmp_path / "a.card", without_permit) as card, card.connect() as connection:
        with pytest.raises(PersonalizationError) as caught:
            maker.make(connection, None, number, untimed)
        assert (caught.value.code, caught.value.exit_code) == ("wrong-stock", 3)
        assert caught.value.parameters["cause"] == "no-code"
        assert maker.look(connection).condition is Condition.UNTOUCHED


def test_each_lot_is_looked_at_once(tmp_path: Path, keys: FileKeyStore) -> None:
    """The first chip of a lot answers for it; a SAM needs no record, so that it can be made from nothing."""
    maker = GlobalPlatformMaker(recipe(keys, "sam"))
    asked: list[bytes] = []
    for lot, serial in ((3, 1), (3, 2), (4, 1)):
        path = tmp_path / f"{lot}-{serial}.card"
        number = new_blank(path, keys, lot, serial)
        with open_card(path, boot) as card, card.connect() as connection:
            before = maker._lots.copy()
            maker.make(connection, None, number, untimed)
            if maker._lots != before:
                asked.append(number)
    assert [number[4:6] for number in asked] == [bytes((0, 3)), bytes((0, 4))]


def test_a_lot_of_another_product_stops_the_station_and_nothing_is_lost(journal: Journal, tmp_path: Path) -> None:
    batch, outfit = load(journal, tmp_path, rows=2, blanks=3)
    keys = FileKeyStore.open(tmp_path / "keys", PASSPHRASE)
    with journal.transaction() as connection:
        change_batch(connection, batch.id, BatchState.RUNNING)
    for serial, path in enumerate(sorted(tmp_path.glob("*.card")), 1):
        path.unlink()
        other_chip(path, keys, serial)
    with outfit() as equipment:
        line = Line(lambda _s: False, lambda _p: None)
        with pytest.raises(PersonalizationError) as caught:
            Station(journal, batch.id, "station-1", equipment, Policy(stations=1, tray=2), line).work()
        assert (caught.value.code, caught.value.parameters["cause"]) == ("wrong-stock", "other-chip")
        for path in tmp_path.glob("*.card"):
            with open_card(path, boot) as card, card.connect() as connection:
                assert equipment.maker.look(connection).condition is Condition.UNTOUCHED
    stock = count_stock(journal).by_state
    assert (stock[BlankState.IN_STOCK], stock[BlankState.SPOILED], stock[BlankState.BARRED]) == (3, 0, 0)
    assert take_account(journal).adds_up
