"""GlobalPlatform commands for content management and personalization, as pure functions from data to commands.

All class bytes are plain; `session.SecureSession` protects them.

Source: GlobalPlatform Card Specification 2.3.1, clause 11; Amendment D v1.1.1, clause 7.2 (PUT KEY); EMV Card
Personalization Specification 1.1, clause 2 (data groupings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from card_os.iso7816 import tlv
from card_os.iso7816.aid import Aid
from card_os.iso7816.apdu import MAX_SHORT_NE, CommandApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform.scp03 import BLOCK, StaticKeys

ISSUER_DOMAIN_AID: Final = Aid(bytes.fromhex("A000000151000000"))

FACTORY_KEY_VERSION: Final = 0xFF

_INTERINDUSTRY: Final = 0x00
_PROPRIETARY: Final = 0x80
_BY_NAME: Final = 0x04
_KEY_TYPE_AES: Final = 0x88
_CHECK_VALUE_INPUT: Final = b"\x01" * BLOCK
_CHECK_VALUE_LENGTH: Final = 3
_SEVERAL_KEYS: Final = 0x80
_FIRST_KEY_IDENTIFIER: Final = 1
_APPLICATION_PARAMETERS: Final = 0xC9
_TLV_RESPONSE: Final = 0x02
_NEXT_OCCURRENCE: Final = 0x01
_WITH_RELATED_OBJECTS: Final = 0x80
_AID_TAG: Final = 0x4F
_SHORT_DGI_LENGTH: Final = 0xFE
_LONG_DGI_MARK: Final = b"\xff"
_MAX_DGI_LENGTH: Final = 0xFFFF
_MAX_BLOCKS: Final = 256


class _Instruction(IntEnum):
    """Instruction bytes (table 11-2)."""

    INITIALIZE_UPDATE = 0x50
    SELECT = 0xA4
    GET_DATA = 0xCA
    PUT_KEY = 0xD8
    STORE_DATA = 0xE2
    DELETE = 0xE4
    INSTALL = 0xE6
    SET_STATUS = 0xF0
    GET_STATUS = 0xF2


class InstallPurpose(IntFlag):
    """P1 of INSTALL (table 11-41)."""

    INSTALL = 0x04
    MAKE_SELECTABLE = 0x08
    PERSONALIZATION = 0x20


class StatusScope(IntEnum):
    """P1 of GET STATUS and SET STATUS (tables 11-33, 11-84)."""

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


class StoreDataFlag(IntFlag):
    """P1 of STORE DATA (table 11-91)."""

    LAST_BLOCK = 0x80
    ALL_ENCRYPTED = 0x60
    DGI_FORMAT = 0x08


class DataGrouping(NamedTuple):
    """A data grouping for STORE DATA.

    Attributes:
        identifier: DGI, 0..65,535.
        value: its content in plain, up to 65,535 bytes (65,519 when encrypted).
        encrypted: True when the content travels under Key-DEK.
    """

    identifier: int
    value: bytes
    encrypted: bool = False

    def __repr__(self) -> str:
        """Identifier and length only: the content may be secret or personal."""
        return f"DataGrouping({self.identifier:04X}, {len(self.value)} bytes)"


def select(aid: bytes) -> CommandApdu:
    """SELECT by name, first occurrence, with FCI."""
    return CommandApdu(_INTERINDUSTRY, _Instruction.SELECT, _BY_NAME, 0x00, aid, MAX_SHORT_NE)


def get_data(tag: int) -> CommandApdu:
    """GET DATA of a one- or two-byte tag."""
    return CommandApdu(_PROPRIETARY, _Instruction.GET_DATA, tag >> 8, tag & 0xFF, b"", MAX_SHORT_NE)


def initialize_update(key_version: int, host_challenge: bytes) -> CommandApdu:
    """INITIALIZE UPDATE; key version 00 asks for the default set."""
    return CommandApdu(_PROPRIETARY, _Instruction.INITIALIZE_UPDATE, key_version, 0, host_challenge, MAX_SHORT_NE)


def key_check_value(key: bytes) -> bytes:
    """Check value of an AES key: 3 bytes of the encryption of 16 bytes of 01 (GPC B.6)."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - one block, as GPC defines it
    return encryptor.update(_CHECK_VALUE_INPUT)[:_CHECK_VALUE_LENGTH]


def put_key(new: StaticKeys, dek: bytes, *, replace: int) -> CommandApdu:
    """PUT KEY of a set of three AES keys in one command.

    Args:
        new: the set to put; its version is the new key version number.
        dek: Key-DEK of the set that opened the session.
        replace: version of the set that it replaces, 0 to add one. The factory set FF has no coding in P1: the first
            set that is added takes its place (P1 = 00).
    """
    old = 0 if replace == FACTORY_KEY_VERSION else replace
    fields = b"".join(_key_field(key, dek) for key in (new.enc, new.mac, new.dek))
    p2 = _SEVERAL_KEYS | _FIRST_KEY_IDENTIFIER
    return CommandApdu(_PROPRIETARY, _Instruction.PUT_KEY, old, p2, bytes((new.version,)) + fields, MAX_SHORT_NE)


def put_key_answer(new: StaticKeys) -> bytes:
    """What the card answers to `put_key` when it stored the keys that were meant: version ‖ check values."""
    return bytes((new.version,)) + b"".join(key_check_value(key) for key in (new.enc, new.mac, new.dek))


def _key_field(key: bytes, dek: bytes) -> bytes:
    """Type ‖ length ‖ clear length ‖ key under Key-DEK ‖ check value, each with its length (Amendment D, table 7-4)."""
    padded = key + bytes(-len(key) % BLOCK)
    component = bytes((len(key),)) + _encrypt(dek, padded)
    check = key_check_value(key)
    return bytes((_KEY_TYPE_AES, len(component))) + component + bytes((len(check),)) + check


def _encrypt(dek: bytes, padded: bytes) -> bytes:
    """AES-CBC under Key-DEK with a zero IV (Amendment D, clause 6.2.8)."""
    return Cipher(algorithms.AES(dek), modes.CBC(bytes(BLOCK))).encryptor().update(padded)


def install(
    *,
    package_aid: bytes,
    module_aid: bytes,
    instance_aid: bytes,
    privileges: bytes = b"\x00",
    parameters: bytes = b"",
    selectable: bool = True,
) -> CommandApdu:
    """INSTALL [for install], or [for install and make selectable].

    Args:
        package_aid: executable load file.
        module_aid: executable module in it.
        instance_aid: AID of the new application.
        privileges: 1 or 3 bytes.
        parameters: value of the application specific parameters, tag C9.
        selectable: make it selectable in the same command.
    """
    purpose = InstallPurpose.INSTALL | (InstallPurpose.MAKE_SELECTABLE if selectable else 0)
    fields = (package_aid, module_aid, instance_aid, privileges, tlv.encode(_APPLICATION_PARAMETERS, parameters), b"")
    return _install(purpose, fields)


def make_selectable(instance_aid: bytes, privileges: bytes = b"\x00") -> CommandApdu:
    """INSTALL [for make selectable]."""
    return _install(InstallPurpose.MAKE_SELECTABLE, (b"", b"", instance_aid, privileges, b"", b""))


def install_for_personalization(instance_aid: bytes) -> CommandApdu:
    """INSTALL [for personalization]: the STORE DATA commands that follow are for this application."""
    return _install(InstallPurpose.PERSONALIZATION, (b"", b"", instance_aid, b"", b"", b""))


def _install(purpose: int, fields: Iterable[bytes]) -> CommandApdu:
    data = b"".join(bytes((len(field),)) + field for field in fields)
    return CommandApdu(_PROPRIETARY, _Instruction.INSTALL, purpose, 0x00, data, MAX_SHORT_NE)


def encode_grouping(grouping: DataGrouping, dek: bytes) -> bytes:
    """DGI (2) ‖ length (1, or FF and 2) ‖ content, encrypted and padded where the grouping says so.

    Raises:
        PersonalizationError: "grouping-too-long".
    """
    value = grouping.value
    if grouping.encrypted:
        padded = value + b"\x80" + bytes(-(len(value) + 1) % BLOCK)
        value = _encrypt(dek, padded)
    length = len(value)
    if length > _MAX_DGI_LENGTH:
        raise PersonalizationError("grouping-too-long", identifier=f"{grouping.identifier:04X}", length=length)
    field = bytes((length,)) if length <= _SHORT_DGI_LENGTH else _LONG_DGI_MARK + length.to_bytes(2, "big")
    return grouping.identifier.to_bytes(2, "big") + field + value


def store_data(groupings: Iterable[DataGrouping], *, dek: bytes, max_data: int) -> list[CommandApdu]:
    """STORE DATA commands for all groupings, in their order, as few as they fit in.

    Neighbours of one kind share a command; plain and encrypted ones never do, for P1 speaks for the whole command. A
    grouping that is longer than a command goes on in the next one.

    Args:
        groupings: what to store, in the order in which the application wants it.
        dek: Key-DEK of the set that opened the session.
        max_data: most data bytes of one command, see `scp03.max_command_data`.

    Raises:
        PersonalizationError: "too-many-blocks": P2 counts 256 at most; "grouping-too-long".
    """
    blocks = list(_blocks(groupings, dek, max_data))
    if len(blocks) > _MAX_BLOCKS:
        raise PersonalizationError("too-many-blocks", blocks=len(blocks), limit=_MAX_BLOCKS)
    commands: list[CommandApdu] = []
    for number, (encrypted, data) in enumerate(blocks):
        p1 = StoreDataFlag.DGI_FORMAT | (StoreDataFlag.ALL_ENCRYPTED if encrypted else 0)
        if number == len(blocks) - 1:
            p1 |= StoreDataFlag.LAST_BLOCK
        commands.append(CommandApdu(_PROPRIETARY, _Instruction.STORE_DATA, int(p1), number, data))
    return commands


def _blocks(groupings: Iterable[DataGrouping], dek: bytes, max_data: int) -> Iterator[tuple[bool, bytes]]:
    """(encrypted, data field) of each command."""
    waiting, kind = b"", False
    for grouping in groupings:
        encoded = encode_grouping(grouping, dek)
        if waiting and (grouping.encrypted is not kind or len(waiting) + len(encoded) > max_data):
            yield kind, waiting
            waiting = b""
        kind = grouping.encrypted
        waiting += encoded
        while len(waiting) > max_data:
            yield kind, waiting[:max_data]
            waiting = waiting[max_data:]
    if waiting:
        yield kind, waiting


def set_card_state(state: CardState) -> CommandApdu:
    """SET STATUS of the card."""
    return CommandApdu(_PROPRIETARY, _Instruction.SET_STATUS, StatusScope.ISSUER_DOMAIN, state)


def set_application_state(aid: bytes, state: int) -> CommandApdu:
    """SET STATUS of an application; bit 8 of ``state`` locks, its absence unlocks."""
    return CommandApdu(_PROPRIETARY, _Instruction.SET_STATUS, StatusScope.APPLICATIONS, state, aid)


def get_status(scope: StatusScope, aid: bytes = b"", *, following: bool = False) -> CommandApdu:
    """GET STATUS in TLV form.

    Args:
        scope: which part of the registry.
        aid: search criterion, an AID or its beginning; empty for all.
        following: ask for what comes after an answer with 6310.
    """
    p2 = _TLV_RESPONSE | (_NEXT_OCCURRENCE if following else 0)
    return CommandApdu(_PROPRIETARY, _Instruction.GET_STATUS, scope, p2, tlv.encode(_AID_TAG, aid), MAX_SHORT_NE)


def delete(aid: bytes, *, related: bool = False) -> CommandApdu:
    """DELETE an application, or with ``related`` a package and all that came from it."""
    p2 = _WITH_RELATED_OBJECTS if related else 0
    return CommandApdu(_PROPRIETARY, _Instruction.DELETE, 0x00, p2, tlv.encode(_AID_TAG, aid), MAX_SHORT_NE)
