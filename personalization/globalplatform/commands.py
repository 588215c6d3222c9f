"""GlobalPlatform commands as pure functions from data to commands.

The short ones stand here; INSTALL and DELETE are in `content`, PUT KEY in `key_loading`, STORE DATA in `store_data` and
LOAD in `load_file`, and the names that most callers want of them can be had from here. All class bytes are plain;
`session.SecureSession` protects them.

Source: GlobalPlatform Card Specification 2.3.1, clause 11, and appendix E.5; Amendment D v1.1.1, clause 7.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from card_os.iso7816 import tlv
from card_os.iso7816.aid import Aid
from card_os.iso7816.apdu import MAX_SHORT_NE, CommandApdu
from personalization.globalplatform.content import (
    InstallPurpose,
    delete,
    install,
    install_for_personalization,
    make_selectable,
)
from personalization.globalplatform.key_loading import (
    FACTORY_KEY_VERSION,
    KeyType,
    check_value,
    put_key,
    put_key_answer,
)
from personalization.globalplatform.store_data import (
    DataGrouping,
    StoreDataFlag,
    encode_grouping,
    store_data,
)

__all__ = [
    "FACTORY_KEY_VERSION",
    "ISSUER_DOMAIN_AID",
    "CardState",
    "DataGrouping",
    "InstallPurpose",
    "StatusScope",
    "StoreDataFlag",
    "begin_r_mac_session",
    "delete",
    "encode_grouping",
    "end_r_mac_session",
    "get_data",
    "get_status",
    "initialize_update",
    "install",
    "install_for_personalization",
    "key_check_value",
    "make_selectable",
    "put_key",
    "put_key_answer",
    "select",
    "set_application_state",
    "set_card_state",
    "set_domain_state",
    "store_data",
]

ISSUER_DOMAIN_AID: Final = Aid(bytes.fromhex("A000000151000000"))

_INTERINDUSTRY: Final = 0x00
_DEFAULT_SET: Final = 0
_PROPRIETARY: Final = 0x80
_BY_NAME: Final = 0x04
_TLV_RESPONSE: Final = 0x02
_NEXT_OCCURRENCE: Final = 0x01
_AID_TAG: Final = 0x4F
_TAG_LIST: Final = 0x5C


class _Instruction(IntEnum):
    """Instruction bytes (table 11-2)."""

    INITIALIZE_UPDATE = 0x50
    END_R_MAC_SESSION = 0x78
    BEGIN_R_MAC_SESSION = 0x7A
    SELECT = 0xA4
    GET_DATA = 0xCA
    SET_STATUS = 0xF0
    GET_STATUS = 0xF2


class StatusScope(IntEnum):
    """P1 of GET STATUS and SET STATUS (tables 11-33, 11-86)."""

    ISSUER_DOMAIN = 0x80
    APPLICATIONS = 0x40
    PACKAGES = 0x20
    PACKAGES_AND_MODULES = 0x10
    DOMAIN_AND_ITS_APPLICATIONS = 0x60


class CardState(IntEnum):
    """Card life-cycle states (table 11-6)."""

    OP_READY = 0x01
    INITIALIZED = 0x07
    SECURED = 0x0F
    CARD_LOCKED = 0x7F
    TERMINATED = 0xFF


def select(aid: bytes) -> CommandApdu:
    """SELECT by name, first occurrence, with FCI; an empty name selects the issuer domain."""
    return CommandApdu(_INTERINDUSTRY, _Instruction.SELECT, _BY_NAME, 0x00, aid, MAX_SHORT_NE)


def get_data(tag: int, data: bytes = b"") -> CommandApdu:
    """GET DATA of a one- or two-byte tag; ``data`` is the tag list that 2F00 wants."""
    return CommandApdu(_PROPRIETARY, _Instruction.GET_DATA, tag >> 8, tag & 0xFF, data, MAX_SHORT_NE)


def initialize_update(key_version: int, host_challenge: bytes) -> CommandApdu:
    """INITIALIZE UPDATE; key version 00 asks for the default set (see `reference_of_set`)."""
    return CommandApdu(_PROPRIETARY, _Instruction.INITIALIZE_UPDATE, key_version, 0, host_challenge, MAX_SHORT_NE)


def reference_of_set(version: int, *, alone: bool = True) -> int:
    """How INITIALIZE UPDATE names a key set.

    P1 goes up to 7F, and cards in the field refuse FF there (6A86), the version of the set that they are delivered
    with. Where that set is alone, it is the default.

    Args:
        version: key version of the set.
        alone: the card has no other set, as far as is known.
    """
    return _DEFAULT_SET if version == FACTORY_KEY_VERSION and alone else version


def begin_r_mac_session(protection: int, data: bytes = b"") -> CommandApdu:
    """BEGIN R-MAC SESSION (E.5.3; Amendment D, 7.1.3); ``protection`` is its P1, ``data`` up to 24 bytes."""
    return CommandApdu(_PROPRIETARY, _Instruction.BEGIN_R_MAC_SESSION, protection, 0x01, bytes((len(data),)) + data)


def end_r_mac_session() -> CommandApdu:
    """END R-MAC SESSION, and return the R-MAC (E.5.4; Amendment D, 7.1.4)."""
    return CommandApdu(_PROPRIETARY, _Instruction.END_R_MAC_SESSION, 0x00, 0x03, b"", MAX_SHORT_NE)


def key_check_value(key: bytes) -> bytes:
    """Check value of an AES key: 3 bytes of the encryption of 16 bytes of 01 (GPC B.6)."""
    return check_value(KeyType.AES, key)


def set_card_state(state: CardState) -> CommandApdu:
    """SET STATUS of the card."""
    return CommandApdu(_PROPRIETARY, _Instruction.SET_STATUS, StatusScope.ISSUER_DOMAIN, state)


def set_application_state(aid: bytes, state: int) -> CommandApdu:
    """SET STATUS of an application; bit 8 of ``state`` locks, its absence unlocks."""
    return CommandApdu(_PROPRIETARY, _Instruction.SET_STATUS, StatusScope.APPLICATIONS, state, aid)


def set_domain_state(aid: bytes, state: int) -> CommandApdu:
    """SET STATUS of a security domain and all its applications, to LOCKED (80) and back (00)."""
    return CommandApdu(_PROPRIETARY, _Instruction.SET_STATUS, StatusScope.DOMAIN_AND_ITS_APPLICATIONS, state, aid)


def get_status(
    scope: StatusScope, aid: bytes = b"", *, following: bool = False, tags: bytes = b"", old_form: bool = False
) -> CommandApdu:
    """GET STATUS.

    Args:
        scope: which part of the registry.
        aid: search criterion, an AID or its beginning; empty for all.
        following: ask for what comes after an answer with 6310.
        tags: concatenated tags that each entry shall have; empty for the card's choice.
        old_form: the answer without tags that GlobalPlatform 2.1.1 had, for cards that know no other.
    """
    p2 = (0 if old_form else _TLV_RESPONSE) | (_NEXT_OCCURRENCE if following else 0)
    data = tlv.encode(_AID_TAG, aid) + (tlv.encode(_TAG_LIST, tags) if tags else b"")
    return CommandApdu(_PROPRIETARY, _Instruction.GET_STATUS, scope, p2, data, MAX_SHORT_NE)
