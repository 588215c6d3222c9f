"""Privileges × operations × life cycles against `test_vectors/tables/content_management.toml`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import pytest

from card_os.card import Card
from card_os.globalplatform.key_types import DomainKey, KeyComponent, KeyType
from card_os.globalplatform.keys import store_keys
from card_os.globalplatform.management_keys import KeyPurpose
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import Application, CardLifeCycle, LoadFile, LoadFileLifeCycle
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816 import tlv
from card_os.iso7816.aid import Aid
from card_os.iso7816.apdu import CommandApdu
from card_os.security.cryptography import cmac
from personalization.globalplatform import commands
from personalization.globalplatform.session import SecureSession
from test_vectors.expected import read_table
from tests.doubles.domain_card import (
    BANK,
    BANK_KEYS,
    DOMAIN_MODULE,
    DOMAIN_PACKAGE,
    PLAIN_DOMAIN,
    POLICE,
    POLICE_KEYS,
    LoadedNotebook,
    delete_command,
    extradite_command,
    install_command,
    keys_of,
    load_request,
    make_domain,
    powered,
    status_command,
    sw,
    update_command,
)
from tests.doubles.issuer_card import DOMAIN, FACTORY, NotebookApplet, PortConnection, issuer_image

TABLE: Final = read_table("content_management")
ACTORS: Final[dict[str, dict[str, str]]] = TABLE["actors"]
OPERATIONS: Final[dict[str, dict[str, Any]]] = {row["name"]: row for row in TABLE["operation"]}
TOKEN_KEY: Final = bytes(range(16))
NEW: Final = bytes.fromhex("F05A4A4A5AEE01")


class Names:
    """AIDs of what one owner has."""

    def __init__(self, mark: int, domain: bytes) -> None:
        stem = bytes.fromhex("F05A4A4A5A") + bytes((mark,))
        self.domain = domain
        self.application, self.installed = stem + b"\x01", stem + b"\x02"
        self.file, self.below = stem + b"\x03", stem + b"\x04"
        code = NotebookApplet if mark == 0xB0 else LoadedNotebook
        self.package, self.module = code.package_aid, code.module_aid


def owners(actor: str) -> tuple[Names, Names]:
    """The acting domain's names, and the other owner's."""
    return Names(0xB0, DOMAIN if actor == "issuer" else BANK), Names(0xC0, POLICE)


def boot(image: NvmImage) -> Card:
    return Card(image.nvm(), [NotebookApplet, LoadedNotebook], randomness=SeededRandomness(11))


@cache
def prepared(actor: str) -> NvmImage:
    """A card with both owners and their content, which nobody had to be allowed to make."""
    image = issuer_image()
    card = boot(image)
    connection = powered(card)
    if actor != "issuer":
        make_domain(connection, BANK, BANK_KEYS, bytes.fromhex(ACTORS[actor]["privileges"]))
    make_domain(connection, POLICE, POLICE_KEYS)
    registry, store = card.platform.registry, card.platform.store
    store_keys(store, 1, [DomainKey(KeyPurpose.TOKEN, 1, (KeyComponent(KeyType.AES, TOKEN_KEY),))])
    for names in owners(actor):
        domain = found(card, names.domain)
        file = registry.load_file(names.package)
        assert file is not None
        registry.set_domain(file, domain.owner)
        registry.add_load_file(LoadFile(0, Aid(names.file), domain.owner, LoadFileLifeCycle.LOADED))
        for aid, state, package, module, privileges in (
            (names.application, 0x07, names.package, names.module, Privilege.NONE),
            (names.installed, 0x03, names.package, names.module, Privilege.NONE),
            (names.below, 0x0F, DOMAIN_PACKAGE, DOMAIN_MODULE, Privilege.SECURITY_DOMAIN),
        ):
            card.platform.install(
                package_aid=package,
                module_aid=module,
                aid=aid,
                privileges=privileges,
                domain=domain.owner,
                life_cycle=state,
            )
    connection.power_off()
    return image


def found(card: Card, aid: bytes) -> Application:
    application = card.platform.registry.by_aid(aid)
    assert application is not None
    return application


def command_of(operation: str, target: Names, other: Names, *, own: bool) -> CommandApdu:
    """The command of an operation on one owner's content."""
    name = b"\x4f" + bytes((len(target.application),)) + target.application
    return {
        "INSTALL for load": load_request(NEW, b"" if own else target.domain, bytes(32)),
        "INSTALL for install": install_command(target.package, target.module, NEW),
        "INSTALL of a domain": install_command(DOMAIN_PACKAGE, DOMAIN_MODULE, NEW, PLAIN_DOMAIN),
        "INSTALL for make selectable": commands.make_selectable(target.installed),
        "INSTALL for extradition": extradite_command(other.domain if own else BANK, target.application),
        "INSTALL for registry update": update_command(target.application, b"", bytes.fromhex("EF03CF0140")),
        "INSTALL for registry update, restricting the card": update_command(b"", b"", bytes.fromhex("EF03D90101")),
        "INSTALL for personalization": commands.install_for_personalization(target.application),
        "DELETE of an application": delete_command(target.application),
        "DELETE of a load file": delete_command(target.file),
        "SET STATUS: lock an application": status_command(0x40, 0x80, target.application),
        "SET STATUS: lock a domain and all below it": status_command(0x60, 0x80, target.below),
        "SET STATUS: contactless activation": status_command(0x01, 0x00, name),
        "SET STATUS: secure the card": status_command(0x80, 0x0F, b""),
        "SET STATUS: lock the card": status_command(0x80, 0x7F, b""),
        "SET STATUS: terminate the card": status_command(0x80, 0xFF, b""),
        "GET STATUS of an application": CommandApdu(0x80, 0xF2, 0x40, 0x02, name, 256),
        "GET STATUS of the issuer domain": CommandApdu(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 256),
        "GET DATA": commands.get_data(0x66),
        "STORE DATA": CommandApdu(0x80, 0xE2, 0x90, 0, bytes.fromhex("420111")),
    }[operation]


def with_token(command: CommandApdu) -> CommandApdu:
    """The command with the token that it needs; a command that takes none as it is."""
    head = bytes((command.p1, command.p2))
    if command.ins == 0xE6 and command.p1 != 0x20:
        body = command.data[:-1]
        return command._replace(data=body + b"\x10" + cmac(TOKEN_KEY, head + bytes((len(body),)) + body))
    if command.ins == 0xE4:
        token = cmac(TOKEN_KEY, head + bytes((len(command.data),)) + command.data)
        return command._replace(data=command.data + tlv.encode(0x9E, token))
    return command


@contextlib.contextmanager
def opened(actor: str) -> Iterator[tuple[Card, SecureSession]]:
    with contextlib.closing(prepared(actor).fork()) as image:
        card = boot(image)
        connection: PortConnection = powered(card)
        aid, keys = (DOMAIN, FACTORY) if actor == "issuer" else (BANK, BANK_KEYS)
        yield card, SecureSession.open(connection, keys, aid=aid, level=0x01, randomness=bytes)
        assert card.faults == 0


def perform(session: SecureSession, actor: str, operation: str, *, own: bool = True) -> str:
    """Status word of an operation, as four digits."""
    mine, other = owners(actor)
    if operation == "PUT KEY":
        keys = FACTORY if actor == "issuer" else BANK_KEYS
        return f"{sw(session, commands.put_key(keys_of(9, 9), keys.dek, replace=0)):04X}"
    target = mine if own else other
    command = command_of(operation, target, other, own=own)
    if actor == "delegate":
        command = with_token(command)
    return f"{sw(session, command):04X}"


def expected(row: dict[str, str], actor: str) -> str:
    return row.get(actor, row["any"])


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_privileges(operation: str, actor: str) -> None:
    """What each actor may do with its own content, and with another's."""
    row = OPERATIONS[operation]
    for own in (True, False):
        column = row.get("own" if own else "other")
        if column is None:
            continue
        with opened(actor) as (card, session):
            if operation == "SET STATUS: lock the card":
                card.platform.registry.set_card_life_cycle(CardLifeCycle.SECURED)
            assert perform(session, actor, operation, own=own) == expected(column, actor), own


@pytest.mark.parametrize("operation", OPERATIONS)
def test_card_life_cycle(operation: str) -> None:
    """What the issuer domain, which is the final application, does in each state of the card."""
    for state, status in OPERATIONS[operation]["card"].items():
        with opened("issuer") as (card, session):
            card.platform.registry.set_card_life_cycle(CardLifeCycle[state])
            assert perform(session, "issuer", operation) == status, state


@pytest.mark.parametrize("state", [CardLifeCycle.CARD_LOCKED, CardLifeCycle.TERMINATED])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_locked_card_refuses_every_other_domain(operation: str, state: CardLifeCycle) -> None:
    """5.1.1.4, 5.1.1.5: only the final application answers."""
    with opened("manager") as (card, session):
        card.platform.registry.set_card_life_cycle(state)
        assert perform(session, "manager", operation) == "6985"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_domain_life_cycle(operation: str) -> None:
    """What a domain does while it is not personalized, and while it is locked (5.3.2)."""
    states = {"SELECTABLE": 0x07, "LOCKED": 0x8F}
    for state, status in OPERATIONS[operation]["domain"].items():
        with opened("manager") as (card, session):
            card.platform.registry.set_life_cycle(found(card, BANK), states[state])
            assert perform(session, "manager", operation) == status, state


def test_the_table_is_whole() -> None:
    """Every operation says every state; every actor that is named is one."""
    for row in OPERATIONS.values():
        assert set(row["card"]) == {state.name for state in CardLifeCycle}
        assert set(row["domain"]) == {"SELECTABLE", "LOCKED"}
        assert isinstance(row["seen"], str), "with what it was compared, empty for nothing"
        for column in ("own", "other"):
            assert set(row.get(column, {"any": ""})) <= {"any", *ACTORS}
