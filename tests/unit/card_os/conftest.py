from __future__ import annotations

import pytest

from card_os.card import Card
from card_os.port import Port
from tests.doubles.recording_applet import FIRST, SECOND, RecordingApplet, blank_memory, install, make_card


@pytest.fixture
def applet() -> RecordingApplet:
    return RecordingApplet()


@pytest.fixture
def card(applet: RecordingApplet) -> Card:
    """Two instances of the recording applet are installed; no interface has power."""
    card = make_card(blank_memory().nvm(), applet)
    install(card, FIRST)
    install(card, SECOND)
    applet.calls.clear()
    return card


@pytest.fixture
def contact(card: Card) -> Port:
    card.contact.power_on()
    return card.contact


@pytest.fixture
def port(contact: Port) -> Port:
    """Contact, the first instance selected."""
    assert contact.process(b"\x00\xa4\x04\x0c" + bytes((len(FIRST),)) + FIRST) == b"\x90\x00"
    return contact
