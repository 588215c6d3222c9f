"""Tokens that a delegated domain brings, and receipts that the card gives for them.

Source: GlobalPlatform Card Specification 2.3.1, clauses 9.1.3.1, 9.1.3.6, 11.1.6 (confirmations), C.4 and C.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.globalplatform.management_keys import KeyPurpose, find_management_key, sign, verifies
from card_os.globalplatform.privileges import Privilege
from card_os.iso7816 import tlv
from card_os.iso7816.errors import ConditionsNotSatisfied, SecurityStatusNotSatisfied, WrongData
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.globalplatform.authority import Permission
    from card_os.globalplatform.registry import Application, Registry
    from card_os.storage.store import ObjectStore

NO_CONFIRMATION: Final = b"\x00"
"""Length of a confirmation that is not there."""
CONFIRMATION_COUNTER: Final = 0xC2
"""Identifier of the object of kind COUNTER that counts receipts, 2 bytes."""
PROVIDER_NUMBER: Final = 0x42
IMAGE_NUMBER: Final = 0x45
_COUNTER_BYTES: Final = 2
_COUNTER_END: Final = 0xFFFF
_SHORT_LENGTH: Final = 0xFF


class Token(NamedTuple):
    """What a command says to be authorized.

    Attributes:
        data: the bytes that are signed: P1 ‖ P2 ‖ length ‖ data field without the token.
        signature: the token, empty when there is none.
        provider_number: identification number of the domain that is to verify it, if the command tells.
        image_number: image number of that domain, if the command tells.
        identifier: what the token is called.
    """

    data: bytes
    signature: bytes
    provider_number: bytes | None = None
    image_number: bytes | None = None
    identifier: bytes = b""


def signed_data(p1: int, p2: int, fields: bytes) -> bytes:
    """What a token signs: the length has one byte up to 255, else three (C.4)."""
    length = len(fields)
    coded = bytes((length,)) if length <= _SHORT_LENGTH else b"\x00" + length.to_bytes(2, "big")
    return bytes((p1, p2)) + coded + fields


def token_verifier(registry: Registry, domain: Application) -> Application | None:
    """The domain that verifies a delegated domain's tokens: below the next one with authorized management above it."""
    return _in_charge(registry, domain, Privilege.TOKEN_VERIFICATION)


def _in_charge(registry: Registry, domain: Application, privilege: Privilege) -> Application | None:
    for root in registry.ancestors(domain):
        if root.privileges & Privilege.AUTHORIZED_MANAGEMENT:
            for entry in registry:
                if entry.privileges & privilege and registry.is_below(entry, root) and not entry.locked:
                    return entry
    return None


def verify_token(store: ObjectStore, verifier: Application, token: Token) -> None:
    """Ask the verifying domain.

    Raises:
        ConditionsNotSatisfied: 6985, it has no token key.
        WrongData: 6A80, the token is for another domain.
        SecurityStatusNotSatisfied: 6982, the token is wrong.
    """
    for told, tag in ((token.provider_number, PROVIDER_NUMBER), (token.image_number, IMAGE_NUMBER)):
        if told is not None and told != _number(store, verifier.owner, tag):
            raise WrongData("the token is for the verifier of another card")
    key = find_management_key(store, verifier.owner, KeyPurpose.TOKEN)
    if key is None:
        raise ConditionsNotSatisfied("the verifying domain has no token key")
    if not verifies(key, token.data, token.signature):
        raise SecurityStatusNotSatisfied("the token is wrong")


def confirmation(registry: Registry, store: ObjectStore, permission: Permission, *names: bytes) -> bytes:
    """Confirmation of a delegated deed; joins the open transaction.

    Layout: length ‖ receipt with length ‖ counter with length (2) ‖ unique data with length ‖ token identifier with
    length, if there was one. The receipt signs what follows it and the names.

    Args:
        registry: the registry.
        store: the card's objects.
        permission: who acted.
        names: the AIDs of the receipt, in the order of C.5; each is signed with its length.

    Returns:
        00 when nothing was delegated, or no domain in charge has a receipt key.

    Raises:
        ConditionsNotSatisfied: 6985, the counter is used up.

    Deviates: C.1.1.2 lets a delegated deed fail without a receipt key; clause 9.3 leaves receipts to the issuer's
    policy, which here is to give them from the moment the key is there.
    """
    domain = _in_charge(registry, permission.domain, Privilege.RECEIPT_GENERATION) if permission.delegated else None
    key = None if domain is None else find_management_key(store, domain.owner, KeyPurpose.RECEIPT)
    if domain is None or key is None:
        return NO_CONFIRMATION
    counter = _next_counter(store, domain.owner)
    unique = _number(store, domain.owner, PROVIDER_NUMBER) + _number(store, domain.owner, IMAGE_NUMBER)
    data = _with_length(counter) + _with_length(unique)
    if permission.token_identifier:
        data += _with_length(permission.token_identifier)
    receipt = sign(key, data + b"".join(_with_length(name) for name in names))
    whole = tlv.encode_length(len(receipt)) + receipt + data
    return tlv.encode_length(len(whole)) + whole


def _with_length(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def _number(store: ObjectStore, owner: int, tag: int) -> bytes:
    item = store.find(owner, ObjectKind.DATA, tag)
    return b"" if item is None else store.read(item)


def confirmation_counter(store: ObjectStore, owner: int) -> bytes:
    """The counter as the next receipt will have it, 2 bytes."""
    item = store.find(owner, ObjectKind.COUNTER, CONFIRMATION_COUNTER)
    return bytes(_COUNTER_BYTES) if item is None else store.read(item)


def _next_counter(store: ObjectStore, owner: int) -> bytes:
    """The counter for this receipt; it moves by one in the open transaction."""
    counter = confirmation_counter(store, owner)
    value = int.from_bytes(counter, "big")
    if value == _COUNTER_END:
        raise ConditionsNotSatisfied("the confirmation counter is used up")
    following = (value + 1).to_bytes(_COUNTER_BYTES, "big")
    with store.transaction():
        item = store.find(owner, ObjectKind.COUNTER, CONFIRMATION_COUNTER)
        if item is None:
            store.create(owner, ObjectKind.COUNTER, CONFIRMATION_COUNTER, _COUNTER_BYTES, following)
        else:
            store.write(item, 0, following)
    return counter
