"""Making a blank card: from an empty memory to an issuer security domain with its factory keys.

Source: GlobalPlatform Card Specification 2.3.1, clauses 5.1.1 (OP_READY, INITIALIZED) and 7.1 (issuer security domain).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from card_os.arbitration import Arbitration
from card_os.globalplatform.card_policy import DEFAULT_CARD_POLICY, CardPolicy
from card_os.globalplatform.channel_policy import DEFAULT_POLICY, ChannelPolicy, store_policy
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
    Privilege,
)
from card_os.storage.store import ObjectKind, ObjectStore

if TYPE_CHECKING:
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
