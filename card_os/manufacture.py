"""Making a blank card: from an empty memory to an issuer security domain with its factory keys.

Source: GlobalPlatform Card Specification 2.3.1, clauses 5.1.1 (OP_READY, INITIALIZED) and 7.1 (issuer security domain).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from card_os.arbitration import Arbitration
from card_os.globalplatform.card_policy import DEFAULT_CARD_POLICY, CardPolicy
from card_os.globalplatform.channel_policy import DEFAULT_POLICY, ChannelPolicy, store_policy
from card_os.globalplatform.data_objects import put_data_object
from card_os.globalplatform.keys import create_key_set
from card_os.globalplatform.registry import (
    CARD_OWNER,
    CARD_STATE_FORMAT,
    DOMAIN_MODULE_AID,
    DOMAIN_PACKAGE_AID,
    ISSUER_DOMAIN,
    ISSUER_DOMAIN_AID,
    ISSUER_PRIVILEGES,
    Application,
    ApplicationLifeCycle,
    CardLifeCycle,
    CardObject,
    LoadFile,
    LoadFileLifeCycle,
    Privilege,
    Registry,
)
from card_os.storage.store import ObjectKind, ObjectStore

if TYPE_CHECKING:
    from card_os.globalplatform.card_profile import CardProfile, DomainProfile
    from card_os.globalplatform.keys import KeySet
    from card_os.globalplatform.production_data import ProductionData
    from card_os.hardware.nvm import Nvm
    from card_os.iso7816.aid import Aid


def manufacture(
    nvm: Nvm,
    production_data: ProductionData,
    factory_keys: KeySet,
    *,
    issuer_aid: Aid = ISSUER_DOMAIN_AID,
    life_cycle: CardLifeCycle = CardLifeCycle.INITIALIZED,
    arbitration: Arbitration = Arbitration.CONCURRENT,
    atr: bytes = b"",
    ats: bytes = b"",
    channel_policy: ChannelPolicy = DEFAULT_POLICY,
    privileges: Privilege = ISSUER_PRIVILEGES,
    policy: CardPolicy = DEFAULT_CARD_POLICY,
) -> None:
    """Format a blank memory into a blank card; all of it is one transaction.

    Args:
        nvm: an erased memory.
        production_data: CPLC; serial, batch, type and fabricator make the card number.
        factory_keys: first key set of the issuer domain, by custom version FF.
        issuer_aid: AID of the issuer domain.
        life_cycle: OP_READY or INITIALIZED.
        arbitration: what happens when both interfaces get power.
        atr: answer to reset; empty leaves it to the card, which says what it can do.
        ats: answer to select, likewise.
        channel_policy: secure channel protocols of the issuer domain, and what failed authentications cost.
        privileges: privileges of the issuer domain.
        policy: what the issuer decided once for all.

    Raises:
        FileExists: the memory holds a card already.
        NotEnoughMemory: the memory is too small.
    """
    store = ObjectStore(nvm)
    domain = Application(
        owner=ISSUER_DOMAIN,
        aid=issuer_aid,
        package_aid=DOMAIN_PACKAGE_AID,
        module_aid=DOMAIN_MODULE_AID,
        life_cycle=ApplicationLifeCycle.SELECTABLE,
        privileges=privileges,
        domain=ISSUER_DOMAIN,
    ).encode()
    card = {
        CardObject.STATE: bytes((CARD_STATE_FORMAT, life_cycle, arbitration, 0)),
        CardObject.PRODUCTION_DATA: production_data.encode(),
        CardObject.ATR: atr,
        CardObject.ATS: ats,
        CardObject.POLICY: b"" if policy == DEFAULT_CARD_POLICY else policy.encode(),
    }
    with store.transaction():
        for identifier, content in card.items():
            if content:
                store.create(CARD_OWNER, ObjectKind.CARD, identifier, len(content), content)
        store.create(CARD_OWNER, ObjectKind.APPLICATION, ISSUER_DOMAIN, len(domain), domain)
        store_policy(store, ISSUER_DOMAIN, channel_policy)
        create_key_set(store, ISSUER_DOMAIN, factory_keys)


def manufacture_profile(
    nvm: Nvm,
    profile: CardProfile,
    serial: int,
    *,
    factory_keys: KeySet | None = None,
    domain_keys: Mapping[str, KeySet] = MappingProxyType({}),
) -> ProductionData:
    """Format a blank memory into the card of a profile.

    Each domain is one transaction after the issuer's; a memory that a cut leaves half made is thrown away.

    Args:
        nvm: an erased memory.
        profile: what the card is.
        serial: IC serial number, four bytes.
        factory_keys: key set of the issuer domain where the profile has none.
        domain_keys: key sets of other domains by name, where the profile has none; a domain without keys takes its
            first ones under those of the domain above it.

    Returns:
        The production data, with the card number.

    Raises:
        ValueError: the issuer domain, or one that is the root of a hierarchy, has no key set.
        FileExists: the memory holds a card already.
        NotEnoughMemory: the memory is too small.
    """
    issuer = profile.issuer
    sets = issuer.keys or ((factory_keys,) if factory_keys is not None else ())
    if not sets:
        raise ValueError("the issuer domain has no key set")
    data = replace(profile.production, ic_serial_number=serial)
    manufacture(
        nvm,
        data,
        sets[0],
        issuer_aid=issuer.aid,
        life_cycle=profile.life_cycle,
        channel_policy=issuer.channels,
        privileges=issuer.privileges,
        policy=profile.policy,
    )
    store = ObjectStore(nvm)
    registry = Registry(store)
    numbers = {issuer.name: ISSUER_DOMAIN}
    with store.transaction():
        _equip(store, registry, issuer, ISSUER_DOMAIN, sets[1:])
    for row in profile.domains:
        keys = row.keys or ((domain_keys[row.name],) if row.name in domain_keys else ())
        if row.parent == row.name and not keys:
            raise ValueError(f"domain {row.name} is a root and has no key set: nobody could reach it")
        with store.transaction():
            domain = registry.add(
                aid=row.aid,
                package_aid=DOMAIN_PACKAGE_AID,
                module_aid=DOMAIN_MODULE_AID,
                life_cycle=ApplicationLifeCycle.PERSONALIZED if keys else ApplicationLifeCycle.SELECTABLE,
                privileges=row.privileges,
                domain=numbers.get(row.parent, ISSUER_DOMAIN),
            )
            numbers[row.name] = domain.owner
            if row.parent == row.name:
                registry.set_domain(domain, domain.owner)
            store_policy(store, domain.owner, row.channels)
            _equip(store, registry, row, domain.owner, keys)
    return data


def _equip(
    store: ObjectStore, registry: Registry, profile: DomainProfile, owner: int, keys: tuple[KeySet, ...]
) -> None:
    """Keys, data and load files of a domain."""
    for key_set in keys:
        create_key_set(store, owner, key_set)
    for tag, value in profile.data.items():
        put_data_object(store, owner, tag, value)
    for aid, modules in profile.packages:
        registry.add_load_file(LoadFile(0, aid, owner, LoadFileLifeCycle.LOADED, resident=True, modules=modules))
