"""What each key in the token may do, as attributes that the token itself enforces.

| kind | class | may | may never |
|---|---|---|---|
| master | AES-128 | MAC (CKM_AES_CMAC) | leave, encrypt, wrap |
| role master | AES-128 | MAC; leave wrapped under a key that the security officer trusted | leave otherwise |
| wrapping key, out | AES-256 | wrap, MAC for its check value | leave, encrypt, unwrap |
| wrapping key, in | AES-256 | unwrap | leave, encrypt, wrap |
| sealing key | AES-256 | encrypt, decrypt (CKM_AES_GCM), MAC for its check value | leave, wrap |
| recognition key | secret, 256 bits | MAC (CKM_SHA256_HMAC) | leave |
| key pair | P-256 | sign (CKM_ECDSA) | leave, derive |

All are sensitive, and none can be changed, or be copied to something weaker. A wrapping key that gives masters away
carries CKA_TRUSTED, which the token lets nobody but the security officer set; it is a public object, since the security
officer has no private ones, and of no use without the user's masters.

Source: OASIS PKCS #11 Base Specification 2.40, clauses 4.4 (storage objects), 4.8 (secret keys), 4.9 and 4.10.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

from personalization.keys.keystore import KEY_USES, KeyName, KeyUse

APPLICATION: Final = "permitcard"
BATCH_APPLICATION: Final = "permitcard-batch"
"""First part of the labels of batch keys."""

DESCRIPTOR: Final = "permitcard.store"
"""Label of the data object that says what the store is."""

INWARD: Final = "in"
"""Suffix of the half of a wrapping key that takes keys in."""

_KEPT: Final = MappingProxyType(
    {
        Attribute.SENSITIVE: True,
        Attribute.MODIFIABLE: False,
    }
)
_NEVER_LEAVES: Final = MappingProxyType({Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True})
_LEAVES_FOR_A_TRUSTED_KEY: Final = MappingProxyType(
    {Attribute.EXTRACTABLE: True, Attribute.WRAP_WITH_TRUSTED: True, Attribute.PRIVATE: True}
)

PRIVATE_HALF: Final = MappingProxyType({**_KEPT, **_NEVER_LEAVES, Attribute.DERIVE: False})
"""Attributes of the private half of a pair."""


def key_type(name: KeyName) -> KeyType:
    """Type of a symmetric key."""
    return KeyType.GENERIC_SECRET if KeyUse.RECOGNISE in KEY_USES[name] else KeyType.AES


def capabilities(name: KeyName) -> MechanismFlag:
    """What a symmetric key of the user may do."""
    if KeyUse.SEAL in KEY_USES[name]:
        return MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT | MechanismFlag.SIGN
    return MechanismFlag.SIGN


def kept(name: KeyName) -> dict[Attribute, object]:
    """Whether and how a symmetric key of the user may leave."""
    leaves = KeyUse.LOAD_INTO_SAM in KEY_USES[name]
    # What may still change comes last: SoftHSM takes the attributes of an unwrapped key one after the other.
    return {**(_LEAVES_FOR_A_TRUSTED_KEY if leaves else _NEVER_LEAVES), **_KEPT}


LINK: Final = "link"
"""Behind the label of an authority's certificate: that which the authority before it signed."""


def outward_wrapping(label: str, value: bytes) -> dict[Attribute, object]:
    """A trusted key that wraps; to be made by the security officer."""
    return {**_wrapping(label, value), Attribute.TRUSTED: True, Attribute.WRAP: True, Attribute.UNWRAP: False}


def inward_wrapping(label: str, value: bytes) -> dict[Attribute, object]:
    """A key that unwraps what another centre sent."""
    return {**_wrapping(label, value), Attribute.WRAP: False, Attribute.UNWRAP: True}


def _wrapping(label: str, value: bytes) -> dict[Attribute, object]:
    return {
        **_KEPT,
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: False,
        Attribute.EXTRACTABLE: False,
        Attribute.LABEL: label,
        Attribute.VALUE: value,
        Attribute.SIGN: True,
        Attribute.VERIFY: False,
        Attribute.ENCRYPT: False,
        Attribute.DECRYPT: False,
        Attribute.DERIVE: False,
    }


def data_object(label: str, value: bytes) -> dict[Attribute, object]:
    """A data object of the store."""
    return {
        Attribute.CLASS: ObjectClass.DATA,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.MODIFIABLE: False,
        Attribute.APPLICATION: APPLICATION,
        Attribute.LABEL: label,
        Attribute.VALUE: value,
    }
