"""The real PC/SC stack with a permit card in a virtual reader; started and stopped by the tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from applet.permit.applet import PermitApplet
from card_os.card import Card
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.security_domain import SecurityDomain
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from card_os.manufacture import manufacture
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from reader_bridge.serving import CardServer
from reader_bridge.simulated import SimulatedCard, create_card
from tests.conftest import PCSC_FOLDER

PERMIT_AID: Final = bytes.fromhex("F05A4A4A5A0101")
KEY: Final = bytes(range(0x40, 0x50))


def make(nvm: Nvm) -> Card:
    return Card(nvm, (PermitApplet,), randomness=SeededRandomness(7), security_domain=SecurityDomain)


def factory(nvm: Nvm) -> None:
    manufacture(nvm, ProductionData(ic_serial_number=0x01020304), KeySet(0xFF, KEY, KEY, KEY))


def new_permit_card(path: Path | None) -> SimulatedCard:
    """A card with an empty permit that can be selected."""
    card = create_card(path, make, manufacture=factory)
    with card.connect() as connection:
        session = SecureSession.open(connection, StaticKeys(0xFF, KEY, KEY, KEY))
        session.install(package_aid=PERMIT_AID[:-1], module_aid=PERMIT_AID, instance_aid=PERMIT_AID)
    return card


@pytest.fixture(scope="session")
def served_card() -> Iterator[CardServer]:
    """A permit card in both slots of a virtual reader of a PC/SC service of our own, for this whole process."""
    with new_permit_card(None) as card, CardServer(card) as server:
        server.offer_own_pcsc(folder=PCSC_FOLDER)
        yield server


@pytest.fixture
def card_file(tmp_path: Path) -> Path:
    """A permit card in a file that nobody has open."""
    path = tmp_path / "card.nvm"
    new_permit_card(path).close()
    return path


@pytest.fixture
def program() -> list[str]:
    """How to run a Python program of the tests."""
    return [sys.executable, "-W", "error"]
