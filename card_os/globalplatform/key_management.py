"""PUT KEY: a set of three AES keys, added or put in place of another.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.8; Amendment D v1.1.1, clause 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform import keys
from card_os.globalplatform.domain_session import content_management_channel
from card_os.globalplatform.keys import FACTORY_KEY_VERSION, KEY_LENGTHS, KEY_TYPE_AES, MAX_KEY_VERSION, KeySet
from card_os.iso7816.errors import IncorrectP1P2, ReferenceDataNotFound, WrongData
from card_os.security.cryptography import BLOCK, CHECK_VALUE_LENGTH, aes_cbc_decrypt, check_value, equal

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu
    from card_os.storage.store import ObjectStore

_ADD: Final = 0x00
_THREE_KEYS_FROM_FIRST: Final = 0x81
_KEYS_OF_A_SET: Final = 3


def put_key(context: Context, command: CommandApdu) -> bytes:
    """PUT KEY of the keys 1 to 3 of a set in one command and one transaction.

    P1 is the version that is replaced, 00 to add one. The factory set FF goes as soon as a set is added in a session
    that it opened, because P1 has no coding for FF but "more commands follow"; FF itself is taken for the same.

    Returns:
        New version (1) ‖ check value (3) of each key.

    Raises:
        IncorrectP1P2: 6A86, P2 is not 81 (several keys, the first is 1).
        ReferenceDataNotFound: 6A88, the version to replace is not there.
        WrongData: 6A80, a version that is there or out of range, key data malformed, a check value is wrong.
    """
    channel = content_management_channel(context)
    store, owner = context.store, context.application.owner
    if command.p2 != _THREE_KEYS_FROM_FIRST:
        raise IncorrectP1P2("a whole set of three keys only")
    if MAX_KEY_VERSION < command.p1 < FACTORY_KEY_VERSION:
        raise IncorrectP1P2("the whole set has to come in one command")
    new = _parse(command.data, channel.dek)
    old = _replaced_version(store, owner, command.p1, channel.key_version)
    if new.version != old and keys.has_key_set(store, owner, new.version):
        raise WrongData("a key set of this version is there")
    with store.transaction():
        if old is not None:
            keys.delete_key_set(store, owner, old)
        keys.create_key_set(store, owner, new)
    return bytes((new.version,)) + b"".join(check_value(value) for value in new[1:])


def _replaced_version(store: ObjectStore, owner: int, p1: int, session_version: int) -> int | None:
    """The version that gives way, None when a set is only added."""
    if p1 == _ADD:
        return FACTORY_KEY_VERSION if session_version == FACTORY_KEY_VERSION else None
    if not keys.has_key_set(store, owner, p1):
        raise ReferenceDataNotFound("no key set of the version to replace")
    return p1


def _parse(data: bytes, dek: bytes) -> KeySet:
    """New version (1) ‖ three key data fields."""
    if not data or not 1 <= data[0] <= MAX_KEY_VERSION:
        raise WrongData("a key version number is 01 to 7F")
    values: list[bytes] = []
    offset = 1
    for _ in range(_KEYS_OF_A_SET):
        value, offset = _parse_key(data, offset, dek)
        values.append(value)
    if offset != len(data) or len({len(value) for value in values}) != 1:
        raise WrongData("three keys of one length are expected")
    return KeySet(data[0], *values)


def _parse_key(data: bytes, offset: int, dek: bytes) -> tuple[bytes, int]:
    """One key data field: type ‖ length ‖ [clear length ‖] key under Key-DEK ‖ check value length ‖ check value.

    Amendment D puts the clear length first; without it (GPC table 11-71) the component is whole blocks long.
    """
    if len(data) < offset + 2 or data[offset] != KEY_TYPE_AES:
        raise WrongData("an AES key is expected")
    start = offset + 2
    end = start + data[offset + 1]
    component, check = data[start:end], data[end + 1 : end + 1 + CHECK_VALUE_LENGTH]
    if len(check) != CHECK_VALUE_LENGTH or data[end] != CHECK_VALUE_LENGTH:
        raise WrongData("key data is cut short or has no check value")
    length = len(component)
    if length % BLOCK == 1:
        length, component = component[0], component[1:]
    if length not in KEY_LENGTHS or len(component) != -(-length // BLOCK) * BLOCK:
        raise WrongData("an AES key has 16, 24 or 32 bytes")
    value = aes_cbc_decrypt(dek, component)[:length]
    if not equal(check_value(value), check):
        raise WrongData("the check value is wrong")
    return value, end + 1 + CHECK_VALUE_LENGTH
