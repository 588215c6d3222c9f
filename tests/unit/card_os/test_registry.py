from __future__ import annotations

import pytest

from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import CPLC_LENGTH, ProductionData, card_number
from card_os.globalplatform.registry import (
    CARD_OWNER,
    ISSUER_DOMAIN,
    ISSUER_DOMAIN_AID,
    Application,
    ApplicationLifeCycle,
    CardLifeCycle,
    CardObject,
    Privilege,
    Registry,
)
from card_os.hardware.image import NvmImage
from card_os.iso7816.aid import Aid
from card_os.iso7816.errors import DfNameExists, FileExists, NotEnoughMemory, ReferenceDataNotFound, WrongData
from card_os.manufacture import manufacture
from card_os.storage.store import ObjectKind, ObjectStore
from tests.doubles.recording_applet import FIRST, MODULE, PACKAGE, SECOND, blank_memory, install, make_card

SELECTABLE = ApplicationLifeCycle.SELECTABLE


@pytest.fixture
def store() -> ObjectStore:
    return ObjectStore(blank_memory().nvm())


@pytest.fixture
def registry(store: ObjectStore) -> Registry:
    return Registry(store)


def add(registry: Registry, aid: bytes, privileges: Privilege = Privilege.NONE) -> Application:
    return registry.add(
        aid=Aid(aid),
        package_aid=Aid(PACKAGE),
        module_aid=Aid(MODULE),
        life_cycle=SELECTABLE,
        privileges=privileges,
        domain=ISSUER_DOMAIN,
    )


def test_a_blank_card_has_its_issuer_domain(registry: Registry) -> None:
    domain = registry.issuer_domain
    assert domain is not None
    assert (domain.owner, domain.aid, domain.domain) == (ISSUER_DOMAIN, ISSUER_DOMAIN_AID, ISSUER_DOMAIN)
    assert domain.selectable
    assert domain.is_security_domain
    assert registry.card_life_cycle == CardLifeCycle.INITIALIZED
    assert list(registry) == [domain]


def test_an_entry_is_stored_and_read_back(registry: Registry, store: ObjectStore) -> None:
    made = add(registry, FIRST, Privilege.CARD_RESET | Privilege.CONTACTLESS_SELF_ACTIVATION)
    again = Registry(store).by_aid(FIRST)
    assert again is not None
    assert again.encode() == made.encode()
    assert (again.owner, again.package_aid, again.module_aid) == (made.owner, PACKAGE, MODULE)
    assert again.privileges.encode() == bytes.fromhex("040010")


def test_privileges_of_one_byte_are_the_first_of_three() -> None:
    """GP 2.3.1, 11.1.2."""
    assert Privilege.decode(b"\x80") == Privilege.SECURITY_DOMAIN
    assert Privilege.decode(bytes.fromhex("800200")) == Privilege.SECURITY_DOMAIN | Privilege.FINAL_APPLICATION


def test_an_aid_is_installed_once(registry: Registry) -> None:
    add(registry, FIRST)
    with pytest.raises(DfNameExists):
        add(registry, FIRST)
    assert len(registry) == 2


def test_owner_numbers_are_not_given_to_the_next_one_while_in_use(registry: Registry) -> None:
    first, second = add(registry, FIRST), add(registry, SECOND)
    registry.remove(first)
    third = add(registry, FIRST)
    assert third.owner > second.owner
    assert [entry.owner for entry in registry] == [ISSUER_DOMAIN, second.owner, third.owner]


def test_matching_goes_on_behind_an_entry(registry: Registry) -> None:
    first, second = add(registry, FIRST), add(registry, SECOND)
    assert list(registry.matching(FIRST[:-1])) == [first, second]
    assert list(registry.matching(FIRST[:-1], after=first)) == [second]
    assert list(registry.matching(b"\xff")) == []


def test_life_cycles_privileges_and_domains_are_written_at_once(registry: Registry, store: ObjectStore) -> None:
    entry = add(registry, FIRST)
    registry.set_life_cycle(entry, 0x8F)
    registry.set_privileges(entry, Privilege.CARD_LOCK)
    registry.set_domain(entry, 7)
    registry.set_card_life_cycle(CardLifeCycle.SECURED)
    again = Registry(store)
    stored = again.by_aid(FIRST)
    assert stored is not None
    assert (stored.life_cycle, stored.privileges, stored.domain) == (0x8F, Privilege.CARD_LOCK, 7)
    assert stored.locked
    assert not stored.selectable
    assert again.card_life_cycle == CardLifeCycle.SECURED


@pytest.mark.parametrize(
    ("state", "selectable"), [(0x03, False), (0x07, True), (0x0F, True), (0x7F, True), (0x83, False), (0x87, False)]
)
def test_which_states_are_selectable(registry: Registry, state: int, selectable: bool) -> None:
    entry = add(registry, FIRST)
    registry.set_life_cycle(entry, state)
    assert entry.selectable is selectable


def test_a_change_that_is_rolled_back_is_undone_by_reload(registry: Registry, store: ObjectStore) -> None:
    entry = add(registry, FIRST)

    def change_and_fail() -> None:
        with store.transaction():
            registry.set_life_cycle(entry, 0x0F)
            registry.remove(add(registry, SECOND))
            registry.set_card_life_cycle(CardLifeCycle.SECURED)
            raise ZeroDivisionError

    registry.changed = False
    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    assert registry.changed
    registry.reload()
    assert registry.by_aid(FIRST) is entry
    assert entry.life_cycle == SELECTABLE
    assert registry.by_aid(SECOND) is None
    assert registry.card_life_cycle == CardLifeCycle.INITIALIZED


def test_a_card_without_a_state_object_cannot_change_its_state() -> None:
    registry = Registry(ObjectStore(NvmImage.create().nvm()))
    assert registry.issuer_domain is None
    assert registry.default_selected is None
    with pytest.raises(NotEnoughMemory):
        registry.set_card_life_cycle(CardLifeCycle.SECURED)


def test_the_platform_refuses_what_it_has_no_code_for() -> None:
    card = make_card(blank_memory().nvm())
    platform = card.platform
    other = bytes.fromhex("F000000099")
    with pytest.raises(ReferenceDataNotFound):
        platform.install(
            package_aid=other, module_aid=MODULE, aid=FIRST, privileges=Privilege.NONE, domain=1, life_cycle=SELECTABLE
        )
    with pytest.raises(ReferenceDataNotFound):
        platform.install(
            package_aid=PACKAGE, module_aid=other, aid=FIRST, privileges=Privilege.NONE, domain=1, life_cycle=SELECTABLE
        )
    with pytest.raises(WrongData):
        install(card, b"\xf0\x00")
    stranger = Application(9, Aid(FIRST), Aid(PACKAGE), Aid(other), SELECTABLE, Privilege.NONE, 1)
    with pytest.raises(ReferenceDataNotFound):
        platform.code_of(stranger)


# ---- production data


def test_production_data_has_42_bytes_in_their_order() -> None:
    """Every field of another value, read at its offset."""
    data = ProductionData(
        ic_fabricator=0x0101,
        ic_type=0x0202,
        os_identifier=0x0303,
        os_release_date=0x0404,
        os_release_level=0x0505,
        ic_fabrication_date=0x0606,
        ic_serial_number=0x07070707,
        ic_batch=0x0808,
        module_fabricator=0x0909,
        module_packaging_date=0x0A0A,
        icc_manufacturer=0x0B0B,
        ic_embedding_date=0x0C0C,
        pre_personalizer=0x0D0D,
        pre_personalization_date=0x0E0E,
        pre_personalization_equipment=0x0F0F0F0F,
        personalizer=0x1010,
        personalization_date=0x1111,
        personalization_equipment=0x12121212,
    )
    raw = data.encode()
    assert raw.hex() == ("0101020203030404050506060707070708080909" + "0a0a0b0b0c0c0d0d0e0e0f0f0f0f1010111112121212")
    assert len(raw) == CPLC_LENGTH
    assert ProductionData.parse(raw) == data
    assert data.card_number == card_number(raw) == bytes.fromhex("01010202080807070707")


def test_production_data_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        ProductionData(ic_type=0x1_0000).encode()
    with pytest.raises(ValueError, match="42 bytes"):
        ProductionData.parse(bytes(41))


# ---- manufacture


def test_manufacture_is_done_once() -> None:
    image = blank_memory()
    with pytest.raises(FileExists):
        manufacture(image.nvm(), ProductionData(), KeySet(0xFF, bytes(16), bytes(16), bytes(16)))


def test_an_answer_in_the_image_is_the_one_the_card_gives() -> None:
    image = NvmImage.create()
    manufacture(
        image.nvm(),
        ProductionData(),
        KeySet(0xFF, bytes(16), bytes(16), bytes(16)),
        atr=bytes.fromhex("3B00"),
        ats=bytes.fromhex("0278"),
    )
    card = make_card(image.nvm())
    assert card.contact.power_on() == bytes.fromhex("3B00")
    assert card.contactless.power_on() == bytes.fromhex("0278")
    state = card.platform.store.find(CARD_OWNER, ObjectKind.CARD, CardObject.STATE)
    assert state is not None
    assert card.platform.store.read(state) == bytes((1, 7, 0, 0))
