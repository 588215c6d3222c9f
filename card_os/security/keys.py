"""Keys of an application: objects in the store, and the DGIs that bring them.

A key is an object of kind KEY, the identifier of which is its reference (P2 of the authentication commands):

```
offset 0  1  tries left
offset 1  1  try limit, 0..15; 0 = the key authenticates nobody
offset 2  1  role number, 0..16: which `Proof.key` it gives, 0 none
offset 3  1  algorithm (`KeyAlgorithm`)
offset 4  1  usage (`KeyUsage`)
offset 5  1  length n of the key in bytes, 1..255
offset 6  n  key
```

A key of 256 bytes or more has 00 at offset 5, its length in 2 bytes (big-endian) at offset 6, and stands at offset 8.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.1.8 (key types) and B.6 (check values).
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.iso7816.errors import ReferenceDataNotFound, WrongData
from card_os.security.cryptography import CHECK_VALUE_LENGTH, P256_LENGTH, check_value, equal
from card_os.security.key_kinds import PUBLIC, SYMMETRIC, KeyAlgorithm, check_key_value
from card_os.security.tries import MAX_TRY_LIMIT, TRIES_LEFT_AT, initial_tries
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.storage.store import StoredObject

AES_LENGTHS: Final = (16, 24, 32)
PAIR_LENGTH: Final = 32
"""Length of K.ENC ‖ K.MAC, two keys of AES-128, SM4 or triple DES with two keys."""
CHIP_KEY: Final = 0xA0
"""Usual reference of the key that proves the card."""

_MAX_ROLE: Final = 16
_MAX_REFERENCE: Final = 0xFF
_USAGE_AT: Final = 4
_VALUE_AT: Final = 6
_LONG_VALUE_AT: Final = 8
_MAX_SHORT_LENGTH: Final = 0xFF
_DGI_HEADER: Final = 4


class KeyUsage(IntFlag):
    """What a key may be used for; nothing else works with it."""

    TERMINAL = 1 << 0
    """A terminal authenticates with it: EXTERNAL and, with a pair, MUTUAL AUTHENTICATE."""
    CHIP = 1 << 1
    """The card proves itself with it: INTERNAL AUTHENTICATE."""
    APPLICATION = 1 << 2
    """The application's own code uses it: concealment, derivation."""
    SIGN = 1 << 3
    """COMPUTE DIGITAL SIGNATURE, COMPUTE CRYPTOGRAPHIC CHECKSUM."""
    VERIFY = 1 << 4
    """VERIFY DIGITAL SIGNATURE, VERIFY CRYPTOGRAPHIC CHECKSUM."""
    ENCIPHER = 1 << 5
    """ENCIPHER."""
    DECIPHER = 1 << 6
    """DECIPHER."""
    PACE = 1 << 7
    """PACE under a password."""


_PUBLIC_USES: Final = int(KeyUsage.VERIFY | KeyUsage.ENCIPHER | KeyUsage.TERMINAL)


class Key(NamedTuple):
    """A key, read for one command.

    Attributes:
        item: the stored object, for its counter.
        role: 0..16.
        algorithm: what it is.
        usage: what it is for.
        try_limit: 0..15.
        tries_left: 0..15.
        value: the key.
    """

    item: StoredObject
    role: int
    algorithm: int
    usage: int
    try_limit: int
    tries_left: int
    value: bytes

    @property
    def encryption(self) -> bytes:
        """K.ENC of a pair."""
        return self.value[: PAIR_LENGTH // 2]

    @property
    def mac(self) -> bytes:
        """K.MAC of a pair."""
        return self.value[PAIR_LENGTH // 2 :]

    def __repr__(self) -> str:
        """Everything but the value."""
        return f"Key({self.item.identifier:02X}, role {self.role}, {self.tries_left} of {self.try_limit} tries)"


def create_key(
    context: Context,
    reference: int,
    value: bytes,
    *,
    usage: KeyUsage,
    algorithm: KeyAlgorithm = KeyAlgorithm.AES,
    role: int = 0,
    try_limit: int = 0,
) -> StoredObject:
    """Create a key of the application, in the open transaction or in one of its own.

    Args:
        context: the application's context.
        reference: 1..255, P2 of the commands.
        value: as `key_kinds` says; for usage TERMINAL a public key, or a pair K.ENC ‖ K.MAC of AES, SM4 or triple DES.
        usage: what it is for.
        algorithm: what it is.
        role: 1..16, the `Proof.key` it gives; 0 gives none. A public key that verifies and has a role is a trust
            anchor, see `certificates`.
        try_limit: 1..15; 0 = authenticates nobody.

    Raises:
        WrongData: 6A80, a value is out of range.
        FileExists: 6A89, the reference is taken.
        NotEnoughMemory: 6A84.
    """
    if not (0 < reference <= _MAX_REFERENCE and 0 <= role <= _MAX_ROLE and 0 <= try_limit <= MAX_TRY_LIMIT):
        raise WrongData("a key's reference, role or limit is out of range")
    pair = bool(usage & KeyUsage.TERMINAL) and algorithm in SYMMETRIC
    if usage & KeyUsage.TERMINAL and not (
        try_limit and role and (algorithm in PUBLIC or (pair and len(value) == PAIR_LENGTH))
    ):
        raise WrongData("a terminal's key is a pair or a public key, with a role and tries")
    if usage & KeyUsage.CHIP and algorithm is not KeyAlgorithm.EC_P256_PRIVATE:
        raise WrongData("the card proves itself with a key of P-256")
    password = algorithm is KeyAlgorithm.PASSWORD
    if bool(usage & KeyUsage.PACE) is not password or (password and usage != KeyUsage.PACE):
        raise WrongData("a password is for PACE, and for nothing else")
    if algorithm in PUBLIC and usage & ~_PUBLIC_USES:
        raise WrongData("a public key verifies and enciphers only")
    try:
        for part in (value[: PAIR_LENGTH // 2], value[PAIR_LENGTH // 2 :]) if pair else (value,):
            check_key_value(algorithm, part)
    except ValueError:
        raise WrongData(f"no key of kind {algorithm.name}") from None
    length = bytes((len(value),)) if len(value) <= _MAX_SHORT_LENGTH else b"\x00" + len(value).to_bytes(2, "big")
    body = initial_tries(try_limit) + bytes((role, algorithm, usage)) + length + value
    return context.store.create(context.application.owner, ObjectKind.KEY, reference, len(body), body)


def find_key(context: Context, reference: int, usage: KeyUsage) -> Key:
    """Read a key of the application.

    Raises:
        ReferenceDataNotFound: 6A88, no key of that reference, or it is for something else.
    """
    item = context.store.find(context.application.owner, ObjectKind.KEY, reference)
    if item is None:
        raise ReferenceDataNotFound(f"no key {reference:02X}")
    body = context.store.read(item)
    left, limit, role, algorithm, allowed, length = body[:_VALUE_AT]
    wanted = int(usage)  # a plain number: the arithmetic of flags costs a microsecond
    if allowed & wanted != wanted:
        raise ReferenceDataNotFound(f"key {reference:02X} is for something else")
    value_at = _VALUE_AT
    if not length:
        value_at = _LONG_VALUE_AT
        length = int.from_bytes(body[_VALUE_AT:_LONG_VALUE_AT], "big")
    return Key(item, role, algorithm, allowed, limit, left, body[value_at : value_at + length])


def implicit_terminal_key(context: Context) -> int:
    """Reference of the terminal's key that P2 00 means: the only one, where it is a pair of triple DES.

    Raises:
        ReferenceDataNotFound: 6A88, there is none, or more than one.

    Source: ICAO Doc 9303-11 (8th edition), clause 4.3.4: basic access control names no key.
    """
    store, owner = context.store, context.application.owner
    found = [
        item for item in store.owned(owner, ObjectKind.KEY) if store.read(item, _USAGE_AT, 1)[0] & KeyUsage.TERMINAL
    ]
    if len(found) != 1 or store.read(found[0], _USAGE_AT - 1, 1)[0] != KeyAlgorithm.TRIPLE_DES:
        raise ReferenceDataNotFound("no key is implied")
    return found[0].identifier


def replace_key(context: Context, key: Key, value: bytes) -> None:
    """Put a new value of the same length in the place of a key's, in the open transaction or in one of its own.

    Args:
        context: the application's context.
        key: the key, just read.
        value: as long as the one that it has.

    Raises:
        WrongData: 6A80, another length.
    """
    if len(value) != len(key.value):
        raise WrongData("a key is replaced by one of its length")
    context.store.change(key.item, _VALUE_AT if len(value) <= _MAX_SHORT_LENGTH else _LONG_VALUE_AT, value)


def has_key(context: Context, reference: int, usage: KeyUsage) -> bool:
    """True when the application has a key of that reference that is for ``usage``."""
    item = context.store.find(context.application.owner, ObjectKind.KEY, reference)
    return item is not None and context.store.read(item, _USAGE_AT, 1)[0] & usage == usage


def key_tries_left(context: Context, reference: int) -> int:
    """Tries left of a key; 0 = blocked, or it authenticates nobody.

    Raises:
        ReferenceDataNotFound: 6A88.
    """
    item = context.store.find(context.application.owner, ObjectKind.KEY, reference)
    if item is None:
        raise ReferenceDataNotFound(f"no key {reference:02X}")
    return context.store.read(item, TRIES_LEFT_AT, 1)[0]


def load_keys(context: Context, content: bytes) -> None:
    """Create the AES keys of a DGI: repeated reference 1 ‖ role 1 ‖ try limit 1 ‖ length 1 ‖ key ‖ check value 3.

    A key with a role and tries is a terminal's; any other one is for the application's own code.

    Args:
        context: the application's context.
        content: the DGI, decrypted.

    Raises:
        WrongData: 6A80, cut short, a value is out of range, or a check value does not match; nothing is created.
        FileExists: 6A89, a reference is taken; nothing is created.
    """
    if not content:
        raise WrongData("no keys")
    at = 0
    with context.store.transaction():
        while at < len(content):
            value_at = at + _DGI_HEADER
            if value_at > len(content):
                raise WrongData("key entry is cut short")
            reference, role, try_limit, length = content[at:value_at]
            at = value_at + length + CHECK_VALUE_LENGTH
            value = content[value_at : value_at + length]
            if at > len(content) or length not in AES_LENGTHS:
                raise WrongData("key entry is cut short, or no length of an AES key")
            if not equal(check_value(value), content[value_at + length : at]):
                raise WrongData(f"check value of key {reference:02X} does not match")
            usage = KeyUsage.TERMINAL if role and try_limit else KeyUsage.APPLICATION
            create_key(context, reference, value, usage=usage, role=role, try_limit=try_limit)


def load_chip_key(context: Context, content: bytes, reference: int = CHIP_KEY) -> None:
    """Create the key that proves the card from a DGI: private key, 32 bytes big-endian.

    Raises:
        WrongData: 6A80, not 32 bytes, or out of range.
        FileExists: 6A89, the reference is taken.
    """
    if len(content) != P256_LENGTH:
        raise WrongData("a private key of P-256 has 32 bytes")
    create_key(context, reference, content, usage=KeyUsage.CHIP, algorithm=KeyAlgorithm.EC_P256_PRIVATE)
