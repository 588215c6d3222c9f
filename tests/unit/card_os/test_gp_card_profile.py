"""Card profiles: what a card is manufactured as, and the four domains of a permit card."""

from __future__ import annotations

import copy
import datetime as dt
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any
from unittest.mock import Mock
from weakref import WeakKeyDictionary

import pytest

from card_os.card import Card
from card_os.globalplatform.card_profile import CardProfile, CardProfileError, encode_date, load_profile, profile_names
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.production_data import ProductionData
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.status import SW
from card_os.manufacture import manufacture_profile
from personalization.globalplatform import commands
from personalization.globalplatform.commands import StatusScope
from personalization.globalplatform.session import SecureSession
from tests.doubles.domain_card import (
    BANK_KEYS,
    PARTNER_KEYS,
    POLICE_KEYS,
    delete_command,
    domain_session,
    entry,
    extradite_command,
    install_command,
    status_command,
    sw,
)
from tests.doubles.issuer_card import FACTORY, NotebookApplet, PortConnection, key_set

ISSUER = bytes.fromhex("A000000151000000")
PUBLIC_SECURITY = bytes.fromhex("F05A4A4A5AD001")
BANK = bytes.fromhex("F05A4A4A5AD002")
PARTNERS = bytes.fromhex("F05A4A4A5AD003")
PERMIT = bytes.fromhex("F05A4A4A5A01")
PERMIT_MODULE = bytes.fromhex("F05A4A4A5A0101")
BANK_PACKAGE = NotebookApplet.package_aid
BANK_MODULE = NotebookApplet.module_aid
MINIMAL = 'name = "x"\nlife_cycle = "OP_READY"\n[issuer]\naid = "A000000151000000"\n'


ISSUER_AIDS = {"test-keys-scp02": bytes.fromhex("A000000003000000")}
ZEROS = 32 * "0"
KEYS = f'[[issuer.keys]]\nversion = "{{}}"\ntype = "{{}}"\nenc = "{ZEROS}"\nmac = "{ZEROS}"\ndek = "{ZEROS}"\n'
DOMAIN = '[[domain]]\nname = "a"\naid = "F000000001"\n'


class PermitStandIn(NotebookApplet):
    """Code under the permit's names."""

    package_aid = PERMIT
    module_aid = PERMIT_MODULE


def made(
    profile: CardProfile, factory: KeySet | None = None, domains: Mapping[str, KeySet] | None = None
) -> PortConnection:
    image = NvmImage.create()
    manufacture_profile(image.nvm(), profile, 0x01020304, factory_keys=factory, domain_keys=domains or {})
    card = Card(image.nvm(), [NotebookApplet, PermitStandIn], randomness=SeededRandomness(5))
    connection = PortConnection(card.contact)
    connection.power_on()
    CARDS[connection] = card
    return connection


CARDS: WeakKeyDictionary[PortConnection, Card] = WeakKeyDictionary()


def card_of(connection: PortConnection) -> Card:
    return CARDS[connection]


def get_data(connection: PortConnection, tag: str) -> str:
    return connection.transmit(bytes.fromhex(f"80CA{tag}00")).hex().upper()


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_makes_a_card(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    domains = {row.name: key_set(FACTORY) for row in profile.domains}
    connection = made(profile, key_set(FACTORY), domains)
    selected = connection.transmit(bytes.fromhex("00A4040000"))
    assert selected[2:4] + profile.issuer.aid == b"\x84\x08" + ISSUER_AIDS.get(name, ISSUER)
    assert selected[-2:] == b"\x90\x00"
    cplc = bytes.fromhex(get_data(connection, "9F7F"))[3:-2]
    assert ProductionData.parse(cplc).ic_serial_number == 0x01020304
    for at in (6, 10, 20, 24):
        assert cplc[at : at + 2].hex().isdecimal(), "a date is YDDD in BCD"
        assert 1 <= int(cplc[at : at + 2].hex()[1:]) <= 366


@pytest.mark.parametrize(
    ("day", "coded"), [(dt.date(2026, 1, 1), 0x6001), (dt.date(2020, 12, 31), 0x0366), (dt.date(2029, 2, 28), 0x9059)]
)
def test_dates_of_production_data(day: dt.date, coded: int) -> None:
    assert encode_date(day) == coded


def test_a_card_stands_in_for_another() -> None:
    """AID, numbers, recognition data, protocol, `i` and key versions are the profile's."""
    connection = made(load_profile("test-keys-scp02"))
    assert get_data(connection, "0042") == "420599999900019000"
    assert get_data(connection, "0045") == "4507000000000000019000"
    assert "06092A864886FC6B040255" in get_data(connection, "0066")
    assert get_data(connection, "00E0") == "E012C00401FF8010C00402FF8010C00403FF80109000"
    text = MINIMAL + 'card_data = "7300"\ncapabilities = "A000"\n'
    connection = made(CardProfile.parse(text), key_set(FACTORY))
    assert get_data(connection, "0066") == "660273009000"
    assert get_data(connection, "0067") == "6702A0009000"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name =", "file"),
        (MINIMAL.replace('name = "x"', ""), "name"),
        (MINIMAL.replace("OP_READY", "SECURED"), "life_cycle"),
        (MINIMAL.replace("A000000151000000", "A0"), "issuer.aid"),
        (MINIMAL.replace("A000000151000000", "xx"), "issuer.aid"),
        (MINIMAL + 'colour = "red"\n', "issuer.colour"),
        (MINIMAL + 'privileges = ["security_domain", "flying"]\n', "issuer.privileges"),
        (MINIMAL + 'privileges = ["trusted_path"]\n', "issuer.privileges"),
        (MINIMAL + 'channels = [{ protocol = "SCP03", i = "99" }]\n', "issuer.channels"),
        (MINIMAL + 'channels = [{ protocol = "SCP99", i = "00" }]\n', "issuer.channels[0].protocol"),
        (
            MINIMAL + '[[issuer.keys]]\nversion = "0102"\ntype = "AES"\nenc=""\nmac=""\ndek=""\n',
            "issuer.keys[0].version",
        ),
        (
            MINIMAL + '[[issuer.keys]]\nversion = "01"\ntype = "AES"\nenc="00"\nmac="00"\ndek="00"\n',
            "issuer.keys[0].enc",
        ),
        (MINIMAL + '[[issuer.keys]]\nversion = "01"\ntype = "RSA"\n', "issuer.keys[0].type"),
        (MINIMAL + '[production]\nfabrication_date = "2026"\n', "production.fabrication_date"),
        (MINIMAL + '[production]\nic_type = "0123456789"\n', "production.ic_type"),
        (MINIMAL + '[production]\nic_type = ""\n', "production.ic_type"),
        (MINIMAL + "[production]\nfabrication_date = 2026-01-01T00:00:00\n", "production.fabrication_date"),
        (MINIMAL + "[policy]\nvolatile_memory = true\n", "policy.volatile_memory"),
        (MINIMAL + "[policy]\nvolatile_memory = -1\n", "policy.volatile_memory"),
        (MINIMAL + "try_limit = 256\n", "issuer.try_limit"),
        (MINIMAL + 'channels = [{ protocol = "SCP03", i = "70", colour = "red" }]\n', "issuer.channels[0].colour"),
        (MINIMAL + 'channels = ["SCP03"]\n', "issuer.channels[0]"),
        (MINIMAL + "privileges = [1]\n", "issuer.privileges[0]"),
        (MINIMAL + KEYS.format("00", "AES"), "issuer.keys[0].version"),
        (MINIMAL + KEYS.format("01", "AES") + KEYS.format("01", "DES"), "issuer.keys"),
        (MINIMAL + DOMAIN.replace('"a"', '""'), "domain[0].name"),
        (MINIMAL + DOMAIN.replace('"a"', '"issuer"'), "domain[0].name"),
        (MINIMAL + DOMAIN + DOMAIN.replace("01", "02"), "domain[1].name"),
        (MINIMAL + '[policy]\nmissing_code = "maybe"\n', "policy.missing_code"),
        (MINIMAL + DOMAIN + 'parent = "b"\n', "domain[0].parent"),
        (MINIMAL + '[[domain]]\nname = "a"\naid = "A000000151000000"\n', "domain"),
        (
            MINIMAL + '[[domain]]\nname = "a"\naid = "F000000001"\n[[domain.package]]\naid = "F0"\n',
            "domain[0].package[0].aid",
        ),
    ],
)
def test_a_wrong_profile_says_where(text: str, where: str) -> None:
    with pytest.raises(CardProfileError) as refused:
        CardProfile.parse(text)
    assert refused.value.where == where


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a TOML document."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        yield (*at, key)
        yield from places(value, (*at, key))


def changed(tree: Any, at: tuple[Any, ...], value: object) -> Any:
    """A copy with another value at a place."""
    whole = copy.deepcopy(tree)
    inner = whole
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return whole


STRANGE = [True, -1, 1 << 40, 1.5, "zz", "", [], ["zz"], [1], {"x": 1}, dt.date(2026, 1, 1), dt.time(1, 1)]


@pytest.mark.parametrize("name", profile_names())
def test_anything_in_any_place_is_taken_or_refused_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile with one strange value is a profile, or is refused with a place; nothing else ever comes of it."""
    text = (files("card_os.globalplatform") / "profiles" / f"{name}.toml").read_text("utf-8")
    tree = tomllib.loads(text)
    documents = [(at, changed(tree, at, value)) for at in places(tree) for value in STRANGE]
    refusals: list[tuple[str, str]] = []
    for at, whole in documents:
        monkeypatch.setattr(tomllib, "loads", Mock(return_value=whole))
        try:
            CardProfile.parse("")
        except CardProfileError as error:
            refusals.append((str(at[0]), error.where))
    assert len(refusals) > len(documents) // 2
    assert [row for row in refusals if not row[1].startswith(row[0])] == []


@pytest.mark.parametrize("name", profile_names())
def test_a_word_that_no_table_has_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (files("card_os.globalplatform") / "profiles" / f"{name}.toml").read_text("utf-8")
    tree = tomllib.loads(text)
    tables = [at for at in places({"whole": tree}) if isinstance(_inside({"whole": tree}, at), dict)]
    assert len(tables) > 3
    for at in tables:
        whole = changed({"whole": tree}, (*at, "unknown_word"), 1)["whole"]
        monkeypatch.setattr(tomllib, "loads", Mock(return_value=whole))
        with pytest.raises(CardProfileError, match="unknown_word: is not known here"):
            CardProfile.parse("")


def _inside(tree: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        tree = tree[key]
    return tree


def test_keys_are_in_no_repr() -> None:
    profile = load_profile("test-keys")
    assert "404142" not in repr(profile)


# ---- the four domains


@pytest.fixture
def four() -> PortConnection:
    """A card with the four domains, each with a key set of its own."""
    keys = {"public-security": POLICE_KEYS, "bank": BANK_KEYS, "partners": PARTNER_KEYS}
    return made(
        load_profile("four-domains"), key_set(FACTORY), {name: key_set(static) for name, static in keys.items()}
    )


OWNERS = {PUBLIC_SECURITY: POLICE_KEYS, BANK: BANK_KEYS, PARTNERS: PARTNER_KEYS, ISSUER: FACTORY}


def session_of(connection: PortConnection, aid: bytes) -> SecureSession:
    return domain_session(connection, aid, OWNERS[aid])


def test_a_root_without_keys_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="nobody could reach it"):
        made(load_profile("four-domains"), key_set(FACTORY))


def test_the_hierarchies_of_the_four(four: PortConnection) -> None:
    registry = card_of(four).platform.registry
    roots = {
        application.aid: [one.aid for one in registry.ancestors(application)][-1]
        for application in registry
        if application.is_security_domain
    }
    assert roots == {ISSUER: ISSUER, PUBLIC_SECURITY: PUBLIC_SECURITY, BANK: BANK, PARTNERS: ISSUER}
    assert not entry(card_of(four), ISSUER).privileges & (Privilege.GLOBAL_DELETE | Privilege.GLOBAL_LOCK)


def test_the_permit_is_the_public_securitys(four: PortConnection) -> None:
    """Its load file in read-only memory is associated with that domain from the beginning."""
    install = install_command(PERMIT, PERMIT_MODULE, PERMIT_MODULE)
    for aid in (ISSUER, BANK):
        assert sw(session_of(four, aid), install) == SW.CONDITIONS_NOT_SATISFIED
    session = session_of(four, PUBLIC_SECURITY)
    assert sw(session, install) == SW.OK
    assert [row.aid for row in session.get_status(StatusScope.PACKAGES)] == [PERMIT]


@pytest.mark.parametrize(
    ("actor", "owner"),
    [
        (actor, owner)
        for actor in (ISSUER, PUBLIC_SECURITY, BANK, PARTNERS)
        for owner in (PUBLIC_SECURITY, BANK)
        if actor != owner
    ],
)
def test_no_owner_touches_anothers_content(four: PortConnection, actor: bytes, owner: bytes) -> None:
    package, module = (PERMIT, PERMIT_MODULE) if owner == PUBLIC_SECURITY else (BANK_PACKAGE, BANK_MODULE)
    if owner == BANK:
        with card_of(four).platform.store.transaction():
            registry = card_of(four).platform.registry
            file = registry.load_file(BANK_PACKAGE)
            assert file is not None
            registry.set_domain(file, entry(card_of(four), BANK).owner)
    session_of(four, owner).transmit(install_command(package, module, module))
    before = entry(card_of(four), module).encode(), entry(card_of(four), owner).encode()
    session = session_of(four, actor)
    for command in (
        delete_command(module),
        delete_command(package, related=True),
        delete_command(owner),
        extradite_command(actor, module),
        extradite_command(actor, owner),
        install_command(package, module, module + b"\x01"),
        status_command(0x40, 0x80, module),
        status_command(0x60, 0x80, owner),
        commands.install_for_personalization(module),
    ):
        assert sw(session, command) in (SW.CONDITIONS_NOT_SATISFIED, SW.REFERENCE_DATA_NOT_FOUND, SW.WRONG_DATA)
    assert (entry(card_of(four), module).encode(), entry(card_of(four), owner).encode()) == before
