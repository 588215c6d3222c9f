"""The shared suite's fixtures and options, for pytest.

One suite, any card: ``--card`` says where the card is. Tests that change or can lock a card run only with
``--destructive`` and the card's own id, so that nobody loses a card to a mistyped reader name.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import pytest

from permitcard.products import permit_profile
from permitcard.testing.access import CardAccess, open_card_access
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.suite_report import SuiteReport
from personalization.errors import PersonalizationError
from personalization.terminal.holder import HolderSession
from reader_bridge.connection import CardConnection, Protocol7816

SIMULATED: Final = "sim"
"""Address of a fresh simulated card with the published test keys."""

_ACCESS: Final = pytest.StashKey[CardAccess]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the shared suite."""
    group = parser.getgroup("card under test")
    group.addoption("--card", default=SIMULATED, help="sim, wire, sim:FILE, pcsc:NAME, serial:PORT or remote:HOST:PORT")
    group.addoption("--contactless", default=None, help="address of the contactless interface of the same card")
    group.addoption("--centre", default=None, help="issuing centre whose keys made the card; published keys if absent")
    group.addoption("--card-id", default=None, help="the card's own id, to allow destructive tests")
    group.addoption("--destructive", action="store_true", help="also run tests that change or can lock the card")
    group.addoption("--faults", default=None, help="fault plan (TOML) for a simulated card")
    group.addoption("--reader-model", default=None, help="reader model between the card and the tests")
    group.addoption("--suite-html", default=None, help="write an HTML report with the clauses")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers and start the report."""
    config.addinivalue_line("markers", "clause(text): the clause of the standard that the test is about")
    config.addinivalue_line("markers", "destructive: changes or can lock the card under test")
    config.addinivalue_line("markers", "block_protocol(reason): sends what T=0 cannot carry")
    config.addinivalue_line("markers", "holder_pin: verifies the holder's PIN, which may not be that of the letter")
    config.addinivalue_line("markers", "letter_pin: about a PIN that its holder has not changed yet")
    if path := config.getoption("--suite-html"):
        config.pluginmanager.register(SuiteReport(str(path), _address(config)), "permitcard-suite-report")


def _address(config: pytest.Config) -> str:
    return str(config.getoption("--card") or SIMULATED)


@pytest.fixture(scope="session")
def card_access(pytestconfig: pytest.Config) -> Generator[CardAccess, None, None]:
    """Both interfaces of the card under test, opened once."""
    access = open_card_access(
        _address(pytestconfig),
        pytestconfig.getoption("--contactless"),
        pytestconfig.getoption("--centre"),
        pytestconfig.getoption("--faults"),
        pytestconfig.getoption("--reader-model"),
    )
    with access:
        yield access


def _pin_to_change(access: CardAccess) -> bool:
    """Whether the holder's PIN has to be changed before it proves anything."""
    access.contact.reset()
    try:
        HolderSession.open(access.contact, permit_profile()).tries_left()
    except PersonalizationError as error:  # or a card that refuses otherwise, of which its own tests tell
        return error.code == "pin-to-change"
    return False


def _under_test(request: pytest.FixtureRequest, access: CardAccess, connection: CardConnection | None) -> CardUnderTest:
    if connection is None:
        pytest.skip("the contactless interface of this card is not connected (--contactless)")
    blocks_only = request.node.get_closest_marker("block_protocol")
    if blocks_only and connection.description.protocol is Protocol7816.T0:
        pytest.skip(f"T=0 does not carry it: {blocks_only.args[0]}")
    if request.node.get_closest_marker("holder_pin") and _pin_to_change(access):
        pytest.skip("the holder has not changed the PIN of the letter yet")
    if request.node.get_closest_marker("letter_pin") and not _pin_to_change(access):
        pytest.skip("the holder's PIN is not that of a letter (card new --letter-pin)")
    if request.node.get_closest_marker("destructive"):
        _allow_destruction(request.config, access)
    answer = connection.reset()
    return CardUnderTest(connection, access.target, answer)


def _allow_destruction(config: pytest.Config, access: CardAccess) -> None:
    """Skip unless the card is a throw-away one or its owner repeated its id."""
    if access.throw_away:
        return
    if not config.getoption("--destructive"):
        pytest.skip("changes or can lock the card: needs --destructive and --card-id")
    card_id = access.target.card_number.hex().upper()
    given = (config.getoption("--card-id") or "").upper()
    if given != card_id:
        pytest.fail(f"--card-id is {given or 'missing'}, the card's id is {card_id}: not touched", pytrace=False)


@pytest.fixture
def card(request: pytest.FixtureRequest, card_access: CardAccess) -> CardUnderTest:
    """The card over contact, freshly reset, nothing selected by us."""
    return _under_test(request, card_access, card_access.contact)


@pytest.fixture
def contactless(request: pytest.FixtureRequest, card_access: CardAccess) -> CardUnderTest:
    """The card over the field, freshly reset."""
    return _under_test(request, card_access, card_access.contactless)


@pytest.fixture(params=["contact", "contactless"])
def either(request: pytest.FixtureRequest, card_access: CardAccess) -> CardUnderTest:
    """The card over one interface, then over the other."""
    connection = card_access.contact if request.param == "contact" else card_access.contactless
    return _under_test(request, card_access, connection)


@pytest.fixture
def permit(card: CardUnderTest) -> CardUnderTest:
    """The card over contact with the permit selected."""
    card.select(card.target.permit_aid)
    return card
