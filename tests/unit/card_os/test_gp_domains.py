"""Supplementary domains: hierarchy, keys, privileges, extradition, and that nobody touches another's content."""

from __future__ import annotations

import pytest

from card_os.card import Card
from card_os.globalplatform.privileges import EXCLUSIVE, REQUIRED, Privilege, is_consistent
from card_os.globalplatform.registry import ApplicationLifeCycle
from card_os.globalplatform.registry_entry import Restriction
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.session import SecureSession
from tests.doubles.domain_card import (
    BANK,
    BANK_KEYS,
    DELEGATE,
    DOMAIN_MODULE,
    DOMAIN_PACKAGE,
    MANAGER,
    PARTNER,
    PARTNER_KEYS,
    PLAIN_DOMAIN,
    POLICE,
    POLICE_KEYS,
    boot,
    delete_command,
    domain_session,
    entry,
    extradite_command,
    install_command,
    issuer_session,
    keys_of,
    make_domain,
    powered,
    status_command,
    sw,
    update_command,
)
from tests.doubles.issuer_card import DOMAIN, FACTORY, INSTANCE, MODULE, PACKAGE, PortConnection

REFUSED = SW.CONDITIONS_NOT_SATISFIED
SECOND = MODULE + b"\x02"


@pytest.fixture
def card() -> Card:
    return boot()


@pytest.fixture
def connection(card: Card) -> PortConnection:
    return powered(card)


@pytest.fixture
def bank(connection: PortConnection) -> PortConnection:
    """A card with the bank's domain, personalized."""
    make_domain(connection, BANK, BANK_KEYS)
    return connection


@pytest.fixture
def both(bank: PortConnection) -> PortConnection:
    """A card with the domains of bank and police."""
    make_domain(bank, POLICE, POLICE_KEYS)
    return bank


def bank_session(connection: PortConnection) -> SecureSession:
    return domain_session(connection, BANK, BANK_KEYS)


def selects(connection: PortConnection, aid: bytes) -> int:
    return int.from_bytes(connection.transmit(commands.select(aid).encode())[-2:], "big")


def give_package(connection: PortConnection, to: bytes = BANK) -> None:
    """The issuer extradites the notebook's load file to a domain."""
    issuer_session(connection).transmit(extradite_command(to, PACKAGE))


# ---- a domain comes to be (5.3.2, 7.2)


def test_a_new_domain_is_below_the_one_that_installed_it(card: Card, bank: PortConnection) -> None:
    """9.3.3: a domain is associated with the domain that performed the installation."""
    domain = entry(card, BANK)
    assert domain.is_security_domain
    assert domain.domain == entry(card, DOMAIN).owner
    make_domain(bank, PARTNER, PARTNER_KEYS, PLAIN_DOMAIN, parent=(BANK, BANK_KEYS))
    assert entry(card, PARTNER).domain == domain.owner


def test_its_first_keys_come_under_the_keys_above_and_personalize_it(connection: PortConnection, card: Card) -> None:
    """5.3.2.3: with its keys it is PERSONALIZED; afterwards the keys above open nothing."""
    issuer_session(connection).transmit(install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, BANK, MANAGER))
    assert entry(card, BANK).life_cycle == ApplicationLifeCycle.SELECTABLE
    domain_session(connection, BANK, FACTORY).put_keys(BANK_KEYS, replace=0)
    assert entry(card, BANK).life_cycle == ApplicationLifeCycle.PERSONALIZED
    bank_session(connection)
    with pytest.raises(PersonalizationError, match="key-version-mismatch"):
        domain_session(connection, BANK, FACTORY)


def test_key_sets_are_separate(both: PortConnection, card: Card) -> None:
    """7.1: key separation; each domain has its own counters too."""
    for aid, keys in ((BANK, POLICE_KEYS), (POLICE, BANK_KEYS), (DOMAIN, BANK_KEYS)):
        with pytest.raises(PersonalizationError):
            domain_session(both, aid, keys)
    both.transmit(commands.select(BANK).encode())
    assert both.transmit(bytes.fromhex("80CA00E000")).hex().upper() == "E012C00401018810C00402018810C004030188109000"
    assert bank_session(both).card == issuer_session(both).card


def test_without_keys_it_takes_no_content(connection: PortConnection) -> None:
    """5.3.2.2: a domain that is only SELECTABLE cannot be associated with anything."""
    session = issuer_session(connection)
    session.transmit(install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, BANK, MANAGER))
    assert sw(session, extradite_command(BANK, PACKAGE)) == REFUSED
    session = domain_session(connection, BANK, FACTORY)
    assert sw(session, install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN)) == REFUSED


def test_an_installed_domain_is_made_selectable(connection: PortConnection, card: Card) -> None:
    session = issuer_session(connection)
    session.transmit(install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, BANK, MANAGER, p1=0x04))
    assert entry(card, BANK).life_cycle == ApplicationLifeCycle.INSTALLED
    assert selects(connection, BANK) == SW.FILE_NOT_FOUND
    session = issuer_session(connection)
    session.transmit(commands.make_selectable(BANK))
    assert selects(connection, BANK) == SW.OK


def test_a_domain_makes_itself_personalized_once(connection: PortConnection, card: Card) -> None:
    """11.10.2.2: the only transitions of its own are to PERSONALIZED and to LOCKED."""
    issuer_session(connection).transmit(install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, BANK, MANAGER))
    session = domain_session(connection, BANK, FACTORY)
    assert sw(session, status_command(0x40, 0x07, BANK)) == REFUSED
    assert sw(session, status_command(0x40, 0x0F, BANK)) == SW.OK
    assert sw(session, status_command(0x40, 0x0F, BANK)) == REFUSED
    assert entry(card, BANK).life_cycle == ApplicationLifeCycle.PERSONALIZED


def test_one_privilege_byte_takes_the_defaults(connection: PortConnection, card: Card) -> None:
    """Table 6-2: a supplementary domain has the trusted path by default, and nothing else."""
    issuer_session(connection).transmit(install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, BANK, b"\x80"))
    assert entry(card, BANK).privileges == Privilege.SECURITY_DOMAIN | Privilege.TRUSTED_PATH


@pytest.mark.parametrize(
    ("package", "module", "privileges"),
    [(DOMAIN_PACKAGE, DOMAIN_MODULE, "00"), (PACKAGE, MODULE, "80"), (PACKAGE, MODULE, "808000")],
)
def test_the_privilege_and_the_code_of_a_domain_belong_together(
    connection: PortConnection, package: bytes, module: bytes, privileges: str
) -> None:
    command = install_command(package, module, BANK, bytes.fromhex(privileges))
    assert sw(issuer_session(connection), command) == SW.WRONG_DATA


# ---- privileges, clause 6.6


def test_which_privileges_go_together() -> None:
    """6.6.2: three pairs exclude each other; table 6-1: some need others."""
    assert all(not is_consistent(pair | Privilege.SECURITY_DOMAIN) for pair in EXCLUSIVE)
    for privilege, needed in REQUIRED.items():
        assert is_consistent(privilege | needed)
        assert not is_consistent(privilege)


@pytest.mark.parametrize(
    ("privileges", "status"),
    [
        ("A0C000", 0x6A80),  # authorized and delegated management
        ("A0A000", 0x6A80),  # delegated management and token verification
        ("A08080", 0x6A80),  # delegated management and receipt generation
        ("818000", 0x6A80),  # mandated DAP without DAP
        ("80C00F", 0x6A80),  # reserved bits
        ("8080", 0x6A80),
        ("80C020", 0x9000),
        ("C1C000", 0x9000),
        ("80F000", 0x6985),  # the issuer domain verifies tokens already
    ],
)
def test_privileges_of_a_new_domain(connection: PortConnection, privileges: str, status: int) -> None:
    command = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, BANK, bytes.fromhex(privileges))
    assert sw(issuer_session(connection), command) == status


@pytest.mark.parametrize("privileges", ["80D000", "80C800", "80C400", "90C000", "88C000", "82C000", "80C080"])
def test_nobody_gives_away_what_he_has_not(bank: PortConnection, privileges: str) -> None:
    """9.1.3 leaves it to the issuer's policy; ours: privileges that reach beyond the domain come from a holder."""
    command = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, bytes.fromhex(privileges))
    assert sw(bank_session(bank), command) == REFUSED
    command = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN)
    assert sw(bank_session(bank), command) == SW.OK


def test_a_domain_without_management_manages_nothing(connection: PortConnection) -> None:
    make_domain(connection, BANK, BANK_KEYS, PLAIN_DOMAIN)
    session = bank_session(connection)
    for command in (
        install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN),
        delete_command(PACKAGE),
        extradite_command(BANK, PACKAGE),
        update_command(BANK, b"\x80"),
    ):
        assert sw(session, command) == REFUSED


def test_delegated_management_needs_a_token(connection: PortConnection) -> None:
    make_domain(connection, BANK, BANK_KEYS, DELEGATE)
    session = bank_session(connection)
    command = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN)
    assert sw(session, command) == REFUSED
    with_token = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN, token=bytes(16))
    assert sw(session, with_token) == REFUSED  # the issuer domain has no token key
    assert sw(issuer_session(connection), with_token) == SW.WRONG_DATA  # authorized management takes none


def test_default_selection_wanders_and_comes_back(connection: PortConnection, card: Card) -> None:
    """6.6.2: one application has card reset; deleted or revoked, it is the issuer domain's again."""
    session = issuer_session(connection)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE, b"\x04"))
    assert not entry(card, DOMAIN).privileges & Privilege.CARD_RESET
    assert sw(session, install_command(PACKAGE, MODULE, SECOND, b"\x04")) == REFUSED
    connection.reset()
    assert connection.transmit(bytes.fromhex("80B0000000"))[-2:] == b"\x90\x00"
    session = issuer_session(connection)
    assert sw(session, update_command(INSTANCE, b"\x00")) == SW.OK
    assert entry(card, DOMAIN).privileges & Privilege.CARD_RESET
    assert sw(session, update_command(INSTANCE, b"\x04")) == SW.OK
    session.delete(INSTANCE)
    assert entry(card, DOMAIN).privileges & Privilege.CARD_RESET


def test_card_reset_needs_a_selectable_application(connection: PortConnection) -> None:
    """11.5.2.3.2: not with INSTALL [for install] alone; INSTALL [for make selectable] may bring it."""
    session = issuer_session(connection)
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE, b"\x04", p1=0x04)) == SW.WRONG_DATA
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE, b"\x00", p1=0x04)) == SW.OK
    assert sw(session, commands.make_selectable(INSTANCE, b"\x04")) == SW.OK
    assert connection.reset()
    assert connection.transmit(bytes.fromhex("80B0000000"))[-2:] == b"\x90\x00"


def test_a_locked_application_does_not_become_the_default_one(connection: PortConnection, card: Card) -> None:
    """5.3.1.4 and 11.5.2.3.2: of a locked application nothing but its lock is changed."""
    session = issuer_session(connection)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert sw(session, status_command(0x40, 0x80, INSTANCE)) == SW.OK
    assert sw(session, commands.make_selectable(INSTANCE, b"\x04")) == REFUSED
    assert not entry(card, INSTANCE).privileges & Privilege.CARD_RESET


@pytest.mark.parametrize("parameters", ["C901FF", "C9024F05", "C902C100" + "FF"])
def test_parameters_of_a_domain_are_data_objects(connection: PortConnection, card: Card, parameters: str) -> None:
    """11.5.2.3.7."""
    wrong = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN, bytes.fromhex(parameters))
    assert sw(issuer_session(connection), wrong) == SW.WRONG_DATA
    assert card.platform.registry.by_aid(PARTNER) is None


def test_the_final_application_stands_in_a_locked_card(connection: PortConnection, card: Card) -> None:
    """Table 6-1, 9.6.3: it alone can be selected, and SELECT warns; it is never locked itself."""
    session = issuer_session(connection)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE, bytes.fromhex("000200")))
    session.transmit(commands.set_card_state(commands.CardState.SECURED))
    assert sw(session, status_command(0x40, 0x80, INSTANCE)) == REFUSED
    session.transmit(commands.set_card_state(commands.CardState.CARD_LOCKED))
    connection.reset()
    assert connection.transmit(bytes.fromhex("80B0000000"))[-2:] == b"\x90\x00"
    assert selects(connection, INSTANCE) == SW.FILE_DEACTIVATED_WARNING
    assert selects(connection, DOMAIN) == SW.FILE_NOT_FOUND


# ---- nobody touches another's content (7.1, 9.3 to 9.5)


def test_an_application_belongs_to_the_domain_of_its_load_file(both: PortConnection, card: Card) -> None:
    """9.3.3; a load file of another domain is not installed from, but by a domain above it (9.3.6: it accepts)."""
    give_package(both)
    assert sw(domain_session(both, POLICE, POLICE_KEYS), install_command(PACKAGE, MODULE, INSTANCE)) == REFUSED
    assert sw(bank_session(both), install_command(PACKAGE, MODULE, INSTANCE)) == SW.OK
    assert entry(card, INSTANCE).domain == entry(card, BANK).owner
    assert sw(issuer_session(both), install_command(PACKAGE, MODULE, SECOND)) == SW.OK
    assert entry(card, SECOND).domain == entry(card, BANK).owner


def test_who_is_above_needs_authorized_management(both: PortConnection, card: Card) -> None:
    """9.1.3.2: without it, a domain above is as any other."""
    give_package(both)
    issuer = card.platform.registry.issuer_domain
    assert issuer is not None
    lesser = issuer.privileges & ~Privilege.AUTHORIZED_MANAGEMENT
    card.platform.registry.set_privileges(issuer, lesser)
    assert sw(issuer_session(both), install_command(PACKAGE, MODULE, INSTANCE)) == REFUSED
    card.platform.registry.set_privileges(issuer, lesser | Privilege.DELEGATED_MANAGEMENT)
    assert sw(issuer_session(both), install_command(PACKAGE, MODULE, INSTANCE)) == REFUSED


def test_another_domain_can_do_nothing_to_it(both: PortConnection, card: Card) -> None:
    give_package(both)
    bank_session(both).transmit(install_command(PACKAGE, MODULE, INSTANCE))
    session = domain_session(both, POLICE, POLICE_KEYS)
    before = entry(card, INSTANCE).encode()
    for command, status in (
        (delete_command(INSTANCE), REFUSED),
        (delete_command(PACKAGE, related=True), REFUSED),
        (extradite_command(POLICE, INSTANCE), REFUSED),
        (extradite_command(POLICE, PACKAGE), REFUSED),
        (update_command(INSTANCE, b"\x04"), REFUSED),
        (status_command(0x40, 0x80, INSTANCE), REFUSED),
        (status_command(0x60, 0x80, BANK), REFUSED),
        (status_command(0x01, 0x00, b"\x4f\x08" + INSTANCE), REFUSED),
        (commands.install_for_personalization(INSTANCE), SW.REFERENCE_DATA_NOT_FOUND),
        (CommandApdu(0x80, 0xF2, 0x40, 0x02, b"\x4f\x08" + INSTANCE, 256), SW.REFERENCE_DATA_NOT_FOUND),
        (CommandApdu(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 256), SW.INCORRECT_P1_P2),
        (CommandApdu(0x80, 0xF2, 0x20, 0x02, b"\x4f\x06" + PACKAGE, 256), SW.REFERENCE_DATA_NOT_FOUND),
    ):
        assert sw(session, command) == status, command
    assert entry(card, INSTANCE).encode() == before


def test_the_issuer_reaches_further_only_by_global_privileges(bank: PortConnection, card: Card) -> None:
    """9.1.3.4: global delete; taken away, the issuer deletes its own content only. 9.6.2: it is above and may lock."""
    give_package(bank)
    bank_session(bank).transmit(install_command(PACKAGE, MODULE, INSTANCE))
    without = entry(card, DOMAIN).privileges & ~(Privilege.GLOBAL_DELETE | Privilege.GLOBAL_LOCK)
    session = issuer_session(bank)
    assert sw(session, update_command(DOMAIN, without.encode())) == SW.OK
    assert sw(session, delete_command(INSTANCE)) == REFUSED
    assert sw(session, status_command(0x40, 0x80, INSTANCE)) == SW.OK
    assert sw(bank_session(bank), extradite_command(BANK, BANK)) == REFUSED  # only the domain above extradites
    assert sw(issuer_session(bank), extradite_command(BANK, BANK)) == SW.OK
    session = issuer_session(bank)
    assert sw(session, status_command(0x40, 0x00, INSTANCE)) == REFUSED  # a hierarchy of its own now
    assert sw(bank_session(bank), status_command(0x40, 0x00, INSTANCE)) == SW.OK


def test_global_delete(bank: PortConnection) -> None:
    give_package(bank)
    bank_session(bank).transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert sw(issuer_session(bank), delete_command(INSTANCE)) == SW.OK


def test_personalization_is_for_the_associated_domain(bank: PortConnection, card: Card) -> None:
    """7.3.3, 6.7: the domain forwards to its own applications, and needs the trusted path privilege."""
    give_package(bank)
    session = bank_session(bank)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    session.personalize(INSTANCE, [commands.DataGrouping(1, b"\x11", encrypted=True)])
    assert selects(bank, INSTANCE) == SW.OK
    assert bank.transmit(bytes.fromhex("80B0000100")).hex() == "119000"
    issuer_session(bank).transmit(update_command(BANK, bytes.fromhex("804000")))
    assert sw(bank_session(bank), commands.install_for_personalization(INSTANCE)) == REFUSED


# ---- extradition and registry update (9.4)


def test_an_application_is_extradited(both: PortConnection, card: Card) -> None:
    session = issuer_session(both)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert sw(session, extradite_command(BANK, INSTANCE)) == SW.OK
    assert sw(session, extradite_command(POLICE, INSTANCE)) == REFUSED
    assert sw(bank_session(both), extradite_command(POLICE, INSTANCE)) == SW.OK
    assert entry(card, INSTANCE).domain == entry(card, POLICE).owner
    card.contact.power_off()
    card.contact.power_on()
    assert entry(card, INSTANCE).domain == entry(card, POLICE).owner


@pytest.mark.parametrize(
    ("to", "what", "status"),
    [
        (BANK, b"\xf0" * 6, 0x6A88),
        (INSTANCE, INSTANCE, 0x6A80),
        (b"\xf0" * 6, INSTANCE, 0x6A80),
        (BANK, DOMAIN, 0x6985),
        (BANK, INSTANCE, 0x9000),
        (DOMAIN, INSTANCE, 0x9000),
    ],
)
def test_extradition_refuses(bank: PortConnection, to: bytes, what: bytes, status: int) -> None:
    session = issuer_session(bank)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert sw(session, extradite_command(to, what)) == status


def test_a_domain_does_not_get_below_itself(bank: PortConnection) -> None:
    """7.2: an association hierarchy has a root."""
    make_domain(bank, PARTNER, PARTNER_KEYS, PLAIN_DOMAIN, parent=(BANK, BANK_KEYS))
    assert sw(issuer_session(bank), extradite_command(PARTNER, BANK)) == REFUSED


def test_a_load_file_does_not_get_to_a_domain_that_verifies_daps(connection: PortConnection) -> None:
    """9.4.1."""
    make_domain(connection, BANK, BANK_KEYS, bytes.fromhex("C0C000"))
    session = issuer_session(connection)
    assert sw(session, extradite_command(BANK, PACKAGE)) == REFUSED
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert sw(session, extradite_command(BANK, INSTANCE)) == SW.OK


def test_registry_update_does_all_or_nothing(bank: PortConnection, card: Card) -> None:
    """11.5.2.3.5: extradition, privileges and parameters in one command."""
    session = issuer_session(bank)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    before = entry(card, INSTANCE).encode()
    wrong = update_command(INSTANCE, b"\x80", bytes.fromhex("EF03CF0141"), BANK)
    assert sw(session, wrong) == SW.WRONG_DATA
    assert entry(card, INSTANCE).encode() == before
    right = update_command(INSTANCE, b"\x02", bytes.fromhex("EF08CF0141CF0180CB00"), BANK)
    assert sw(session, right) == SW.OK
    found = entry(card, INSTANCE)
    assert (found.domain, found.privileges) == (entry(card, BANK).owner, Privilege.CVM_MANAGEMENT)
    assert found.data.implicit_selection == (0x41, 0x80)


def test_restrictions_hold_for_ever(bank: PortConnection, card: Card) -> None:
    """Table 11-53: for a domain by the one above it, for the card with global lock and without an application."""
    assert sw(bank_session(bank), update_command(b"", b"", bytes.fromhex("EF03D90101"))) == REFUSED
    assert sw(issuer_session(bank), update_command(BANK, b"", bytes.fromhex("EF03D90104"))) == SW.OK
    install = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN)
    assert sw(bank_session(bank), install) == REFUSED
    session = issuer_session(bank)
    assert sw(session, install) == SW.OK
    assert sw(session, update_command(b"", b"", bytes.fromhex("EF03D90101"))) == SW.OK
    assert sw(session, delete_command(PARTNER)) == REFUSED
    assert sw(session, update_command(b"", b"", bytes.fromhex("EF03D90100"))) == SW.OK
    bank.power_off()
    bank.power_on()
    assert sw(issuer_session(bank), delete_command(PARTNER)) == REFUSED


def test_only_domains_are_restricted(connection: PortConnection, card: Card) -> None:
    """Table 11-53: a restriction is one of what a security domain does."""
    session = issuer_session(connection)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert sw(session, update_command(INSTANCE, b"", bytes.fromhex("EF03D90104"))) == SW.WRONG_DATA
    assert entry(card, INSTANCE).data.restrictions is Restriction.NONE


@pytest.mark.parametrize("parameters", ["", "EF00", "EF03CF0140"])
def test_without_an_application_only_restrictions_are_updated(connection: PortConnection, parameters: str) -> None:
    command = update_command(b"", b"", bytes.fromhex(parameters))
    assert sw(issuer_session(connection), command) == SW.WRONG_DATA


# ---- deletion, clause 9.5


def test_a_domain_with_content_is_not_deleted(bank: PortConnection, card: Card) -> None:
    give_package(bank)
    assert sw(issuer_session(bank), delete_command(BANK)) == REFUSED
    bank_session(bank).transmit(extradite_command(DOMAIN, PACKAGE))
    free = card.platform.store.free_in_all
    assert sw(bank_session(bank), delete_command(BANK)) == REFUSED  # the acting domain
    assert sw(issuer_session(bank), delete_command(BANK)) == SW.OK
    assert card.platform.store.free_in_all > free
    assert not card.platform.store.owned(2)


# ---- life cycles (9.6.2, 11.10)


def test_a_locked_domain_refuses_everything(bank: PortConnection, card: Card) -> None:
    """5.3.2.4: it cannot be selected, and rejects all commands; unlocked, it is as it was."""
    session = bank_session(bank)
    assert sw(session, status_command(0x40, 0x80, BANK)) == SW.OK
    assert sw(session, status_command(0x40, 0x0F, BANK)) == REFUSED
    assert sw(session, CommandApdu(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00", 256)) == REFUSED
    assert selects(bank, BANK) == SW.FILE_NOT_FOUND
    assert sw(issuer_session(bank), extradite_command(BANK, PACKAGE)) == REFUSED
    assert sw(issuer_session(bank), status_command(0x40, 0x00, BANK)) == SW.OK
    assert entry(card, BANK).life_cycle == ApplicationLifeCycle.PERSONALIZED
    bank_session(bank)


def test_a_domain_is_locked_with_all_below_it(bank: PortConnection, card: Card) -> None:
    """11.10.2.1: the sub-hierarchy; what is locked already stays so and is no error."""
    make_domain(bank, PARTNER, PARTNER_KEYS, PLAIN_DOMAIN, parent=(BANK, BANK_KEYS))
    give_package(bank)
    bank_session(bank).transmit(install_command(PACKAGE, MODULE, INSTANCE))
    bank_session(bank).transmit(status_command(0x40, 0x80, INSTANCE))
    session = issuer_session(bank)
    assert sw(session, status_command(0x60, 0x80, BANK)) == SW.OK
    assert [entry(card, aid).locked for aid in (BANK, PARTNER, INSTANCE)] == [True] * 3
    assert sw(session, status_command(0x60, 0x80, INSTANCE)) == SW.WRONG_DATA
    assert sw(session, status_command(0x60, 0x00, BANK)) == SW.OK
    assert [entry(card, aid).life_cycle for aid in (BANK, PARTNER, INSTANCE)] == [0x0F, 0x0F, 0x07]


def test_who_may_lock_the_card(connection: PortConnection, card: Card) -> None:
    """Figure 5-1: states of production are the issuer domain's; locking and terminating go by privilege."""
    make_domain(connection, BANK, BANK_KEYS, bytes.fromhex("90C000"))
    make_domain(connection, POLICE, POLICE_KEYS)
    assert sw(bank_session(connection), status_command(0x80, 0x0F, b"")) == REFUSED
    issuer_session(connection).transmit(commands.set_card_state(commands.CardState.SECURED))
    assert sw(domain_session(connection, POLICE, POLICE_KEYS), status_command(0x80, 0x7F, b"")) == REFUSED
    session = bank_session(connection)
    assert sw(session, status_command(0x80, 0xFF, b"")) == REFUSED
    assert sw(session, status_command(0x80, 0x7F, b"")) == SW.OK
    connection.reset()
    assert sw(issuer_session(connection), status_command(0x80, 0x0F, b"")) == SW.OK


# ---- what a domain sees (9.6.5, 11.4)


def test_a_domain_sees_itself_and_what_is_below(both: PortConnection, card: Card) -> None:
    give_package(both)
    session = bank_session(both)
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert {row.aid for row in session.get_status(commands.StatusScope.APPLICATIONS)} == {BANK, INSTANCE}
    assert [row.aid for row in session.get_status(commands.StatusScope.PACKAGES)] == [PACKAGE]
    everything = issuer_session(both).get_status(commands.StatusScope.APPLICATIONS)
    assert {row.aid for row in everything} == {BANK, POLICE, INSTANCE}
    assert {row.domain_aid for row in everything} == {DOMAIN, BANK}
    listed = bank_session(both).transmit(CommandApdu(0x80, 0xCA, 0x2F, 0x00, bytes.fromhex("5C00"), 256)).data
    assert listed == b"\x61\x09\x4f\x07" + BANK + b"\x61\x0a\x4f\x08" + INSTANCE


def test_keys_of_a_third_generation(bank: PortConnection) -> None:
    """A domain below a domain: its keys come under its parent's, not the issuer's."""
    bank_session(bank).transmit(install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, PLAIN_DOMAIN))
    with pytest.raises(PersonalizationError):
        domain_session(bank, PARTNER, FACTORY)
    domain_session(bank, PARTNER, BANK_KEYS).put_keys(keys_of(9), replace=0)
    domain_session(bank, PARTNER, keys_of(9))
