"""The combined process: INSTALL [for load, install and make selectable], LOAD, and the same INSTALL at its end.

Source: GPC 2.3.1, clauses 9.3.8, 11.5.2.1, 11.5.2.2 and C.4.7; P1 is 0E in both commands, P2 01 and 03.
"""

from __future__ import annotations

import hashlib

import pytest

from card_os.card import Card
from card_os.globalplatform.key_types import DomainKey, KeyComponent, KeyType
from card_os.globalplatform.keys import store_keys
from card_os.globalplatform.management_keys import KeyPurpose
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.security.cryptography import cmac
from card_os.storage.store import ObjectKind
from personalization.globalplatform import content
from personalization.globalplatform.commands import StatusScope
from personalization.globalplatform.session import SecureSession
from tests.doubles.domain_card import (
    BANK,
    BANK_KEYS,
    DELEGATE,
    DOMAIN_MODULE,
    DOMAIN_PACKAGE,
    LOADED_MODULE,
    LOADED_PACKAGE,
    PARTNER,
    answers,
    boot,
    delete_command,
    domain_session,
    entry,
    install_command,
    issuer_session,
    load_commands,
    load_request,
    make_domain,
    powered,
    sw,
    update_command,
)
from tests.doubles.issuer_card import DOMAIN, INSTANCE, MODULE, PACKAGE, PortConnection
from tests.doubles.load_files import cap_components

BLOCK = cap_components(LOADED_PACKAGE, [LOADED_MODULE], code=300)
LOADS = load_commands(tlv.encode(0xC4, BLOCK), 200)
DIGEST = hashlib.sha256(BLOCK).digest()
REFUSED = SW.CONDITIONS_NOT_SATISFIED
AES_TOKEN_KEY = bytes(range(16))

BEGIN = load_request(LOADED_PACKAGE)._replace(p1=0x0E, p2=0x01)
END = install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE, p1=0x0E)._replace(p2=0x03)


def give_aes(card: Card, aid: bytes, purpose: KeyPurpose) -> None:
    key = DomainKey(purpose, 1, (KeyComponent(KeyType.AES, AES_TOKEN_KEY),))
    store_keys(card.platform.store, entry(card, aid).owner, [key])


@pytest.fixture
def card() -> Card:
    return boot()


@pytest.fixture
def session(card: Card) -> SecureSession:
    return issuer_session(powered(card))


def memory(card: Card) -> tuple[int, list[str]]:
    """Free bytes, and every object but counters."""
    store = card.platform.store
    return store.free_in_all, sorted(repr(item) for item in store.objects() if item.kind is not ObjectKind.COUNTER)


def listed(session: SecureSession) -> tuple[list[bytes], list[bytes]]:
    """AIDs of load files (but those in read-only memory) and of applications."""
    files = [row.aid for row in session.get_status(StatusScope.PACKAGES) if row.aid == LOADED_PACKAGE]
    return files, [row.aid for row in session.get_status(StatusScope.APPLICATIONS)]


def test_load_install_and_make_selectable_in_one(card: Card, session: SecureSession) -> None:
    """Neither load file nor application is there before the last command; both are after it."""
    assert session.transmit(BEGIN).data == b"\x00"
    for block in LOADS:
        assert session.transmit(block).data == b"\x00"
        assert listed(session) == ([], [])
    assert session.transmit(END).data == b"\x00"
    assert listed(session) == ([LOADED_PACKAGE], [INSTANCE])
    assert entry(card, INSTANCE).life_cycle == 0x07
    file = card.platform.registry.load_file(LOADED_PACKAGE)
    assert file is not None
    assert (file.digest, file.size, file.modules) == (DIGEST, len(BLOCK), (LOADED_MODULE,))


def test_as_our_host_builds_it(card: Card, session: SecureSession) -> None:
    session.transmit(content.install_for_load(LOADED_PACKAGE, digest=DIGEST, combined=True))
    assert set(answers(session, LOADS)) == {SW.OK}
    session.transmit(
        content.install(
            package_aid=LOADED_PACKAGE,
            module_aid=LOADED_MODULE,
            instance_aid=INSTANCE,
            parameters=b"\x01",
            combined=True,
        )
    )
    assert card.platform.registry.by_aid(INSTANCE) is not None


def test_the_last_command_may_leave_load_out_of_p1(card: Card, session: SecureSession) -> None:
    """Some hosts send 0C with P2 03; P2 says what it is."""
    assert set(answers(session, [BEGIN, *LOADS, END._replace(p1=0x0C)])) == {SW.OK}
    assert card.platform.registry.by_aid(INSTANCE) is not None


def test_its_parts_are_deleted_like_others(card: Card, session: SecureSession) -> None:
    before = memory(card)
    for deletions in (
        [delete_command(INSTANCE), delete_command(LOADED_PACKAGE)],
        [delete_command(LOADED_PACKAGE, related=True)],
    ):
        assert set(answers(session, [BEGIN, *LOADS, END, *deletions])) == {SW.OK}
        assert memory(card) == before


@pytest.mark.parametrize("coding", ["0E00", "0E02", "0C01", "0201", "0601", "0203", "0403"])
def test_other_codings_are_refused(session: SecureSession, coding: str) -> None:
    p1, p2 = bytes.fromhex(coding)
    assert sw(session, BEGIN._replace(p1=p1, p2=p2)) == SW.INCORRECT_P1_P2


def test_an_end_without_a_beginning(card: Card, session: SecureSession) -> None:
    """Nor is it the end of what INSTALL [for load] began, or before the last block came, or twice."""
    assert sw(session, END) == REFUSED
    assert answers(session, [load_request(LOADED_PACKAGE), *LOADS, END])[-1] == REFUSED
    session.delete(LOADED_PACKAGE)
    assert answers(session, [BEGIN, END])[-1] == REFUSED
    assert set(answers(session, [*LOADS, END])) == {SW.OK}
    assert sw(session, END) == REFUSED


def test_the_blocks_are_over_after_the_last_one(session: SecureSession) -> None:
    assert answers(session, [BEGIN, *LOADS, LOADS[0]])[-1] == REFUSED
    assert sw(session, END) == SW.OK


def test_while_it_comes_nothing_of_it_is_used(session: SecureSession) -> None:
    """A load file in the state LOADING has no modules to install, and is not deleted."""
    answers(session, [BEGIN, *LOADS])
    assert sw(session, install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE)) == SW.REFERENCE_DATA_NOT_FOUND
    assert sw(session, delete_command(LOADED_PACKAGE)) == REFUSED
    assert sw(session, END) == SW.OK


FAILURES = {
    "another load file": (END._replace(data=END.data.replace(LOADED_PACKAGE, PACKAGE)), 0x6A80),
    "no such module": (install_command(LOADED_PACKAGE, LOADED_PACKAGE + b"\x09", INSTANCE), 0x6A88),
    "an AID that is taken": (install_command(LOADED_PACKAGE, LOADED_MODULE, DOMAIN), 0x6A8A),
    "malformed": (END._replace(data=END.data[:-1]), 0x6A80),
    "too much memory": (
        install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE, parameters=bytes.fromhex("C900EF06D8047FFFFFFF")),
        0x6A84,
    ),
    "a token where none belongs": (install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE, token=b"\x01"), 0x6A80),
    "a domain's privilege": (install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE, b"\x80"), 0x6A80),
}


@pytest.mark.parametrize("why", FAILURES)
def test_an_end_that_fails_takes_all_of_it_back(card: Card, session: SecureSession, why: str) -> None:
    command, status = FAILURES[why]
    before = memory(card)
    assert answers(session, [BEGIN, *LOADS, command._replace(p1=0x0E, p2=0x03)])[-1] == status
    assert memory(card) == before
    assert sw(session, END) == REFUSED
    assert set(answers(session, [BEGIN, *LOADS, END])) == {SW.OK}


@pytest.mark.parametrize("leave", ["select", "power", "reset", "another loading", "a wrong block"])
def test_what_breaks_off_gives_its_memory_back(card: Card, session: SecureSession, leave: str) -> None:
    before = memory(card)
    assert set(answers(session, [BEGIN, *(LOADS[:1] if leave == "a wrong block" else LOADS)])) == {SW.OK}
    connection = PortConnection(card.contact)
    match leave:
        case "select":
            connection.transmit(bytes.fromhex("00A4040000"))
        case "power":
            connection.power_off()
            connection.power_on()
        case "reset":
            connection.reset()
        case "another loading":
            assert answers(session, [load_request(LOADED_PACKAGE), LOADS[1]])[-1] == SW.INCORRECT_P1_P2
        case _:
            assert sw(session, LOADS[0]) == SW.INCORRECT_P1_P2
    assert memory(card) == before


@pytest.mark.parametrize("restriction", [0x02, 0x04, 0x08])
def test_each_of_the_three_can_be_switched_off(session: SecureSession, restriction: int) -> None:
    """Table 11-53: load, install and make selectable are restricted apart; the process needs them all."""
    assert sw(session, update_command(b"", b"", bytes((0xEF, 3, 0xD9, 1, restriction)))) == SW.OK
    assert sw(session, BEGIN) == REFUSED


def test_install_and_make_selectable_needs_both(session: SecureSession) -> None:
    assert sw(session, update_command(b"", b"", bytes.fromhex("EF03D90108"))) == SW.OK
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE)) == REFUSED
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE, p1=0x04)) == SW.OK


# ---- delegated


def signed_end(key: bytes, begin: CommandApdu, end: CommandApdu) -> CommandApdu:
    """C.4.7: the token signs P1, P2, length and data of both commands, each without its token."""
    message = b"".join(
        bytes((command.p1, command.p2, len(command.data) - 1)) + command.data[:-1] for command in (begin, end)
    )
    token = cmac(key, message)
    return end._replace(data=end.data[:-1] + tlv.encode_length(len(token)) + token)


@pytest.fixture
def delegate(card: Card) -> SecureSession:
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS, DELEGATE)
    give_aes(card, DOMAIN, KeyPurpose.TOKEN)
    return domain_session(connection, BANK, BANK_KEYS)


HASHED = load_request(LOADED_PACKAGE, b"", DIGEST)._replace(p1=0x0E, p2=0x01)


def test_one_token_for_the_whole_process(card: Card, delegate: SecureSession) -> None:
    end = signed_end(AES_TOKEN_KEY, HASHED, END)
    assert set(answers(delegate, [HASHED, *LOADS, end])) == {SW.OK}
    assert entry(card, INSTANCE).domain == entry(card, BANK).owner


def test_a_token_of_something_else(card: Card, delegate: SecureSession) -> None:
    """Neither of other commands nor of the last command alone; what was loaded is gone."""
    before = memory(card)
    alone = cmac(AES_TOKEN_KEY, bytes((END.p1, END.p2, len(END.data) - 1)) + END.data[:-1])
    for end, status in (
        (signed_end(AES_TOKEN_KEY, BEGIN, END), 0x6982),
        (signed_end(bytes(16), HASHED, END), 0x6982),
        (END._replace(data=END.data[:-1] + b"\x10" + alone), 0x6982),
        (END, 0x6985),
    ):
        assert answers(delegate, [HASHED, *LOADS, end])[-1] == status
        assert memory(card) == before


def test_a_delegate_begins_without_token_and_with_hash(card: Card, delegate: SecureSession) -> None:
    begin = HASHED._replace(data=HASHED.data[:-1] + b"\x01\x00")
    assert sw(delegate, begin) == SW.WRONG_DATA
    assert sw(delegate, BEGIN) == SW.WRONG_DATA
    assert sw(delegate, END) == REFUSED


def test_a_receipt_of_the_installation(card: Card, delegate: SecureSession) -> None:
    """Length ‖ receipt with length ‖ counter with length ‖ unique data with length; signed with both AIDs (C.5)."""
    give_aes(card, DOMAIN, KeyPurpose.RECEIPT)
    assert {delegate.transmit(command).data for command in (HASHED, *LOADS)} == {b"\x00"}
    answer = delegate.transmit(signed_end(AES_TOKEN_KEY, HASHED, END)).data
    data = bytes.fromhex("02000000")
    names = b"".join(bytes((len(name),)) + name for name in (LOADED_PACKAGE, INSTANCE))
    receipt = b"\x10" + cmac(AES_TOKEN_KEY, data + names)
    assert answer == bytes((len(receipt + data),)) + receipt + data


def test_who_may_not_manage_content_may_not_begin(card: Card) -> None:
    connection = powered(card)
    make_domain(connection, PARTNER, BANK_KEYS, bytes.fromhex("808000"))
    assert sw(domain_session(connection, PARTNER, BANK_KEYS), BEGIN) == REFUSED


def test_a_domain_is_not_made_in_this_way(session: SecureSession) -> None:
    """The code of security domains is in no load file that comes."""
    end = install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, PARTNER, b"\x80", p1=0x0E)._replace(p2=0x03)
    assert answers(session, [BEGIN, *LOADS, end])[-1] == SW.WRONG_DATA
