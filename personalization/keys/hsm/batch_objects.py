"""Batch keys in a token: objects ``permitcard-batch.ID.NAME`` that never leave it, and are gone once destroyed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass, Session, exceptions

from personalization.errors import PersonalizationError
from personalization.keys.batch_keys import BATCH_KEYS, check_identifier
from personalization.keys.check_values import AES_CHECK_INPUT, CHECK_VALUE_LENGTH
from personalization.keys.hsm.templates import BATCH_APPLICATION, capabilities, kept
from personalization.keys.keystore import KEY_LENGTHS, KeyName

_NONCE: Final = 12
_TAG_BITS: Final = 128
_SHORTEST_SEALED: Final = 28
_BITS: Final = 8

UNOPENED: Final = (
    exceptions.EncryptedDataInvalid,
    exceptions.EncryptedDataLenRange,
    exceptions.DataInvalid,
    exceptions.DataLenRange,
    exceptions.GeneralError,
    exceptions.FunctionFailed,
)
"""What tokens say when a tag does not match: the standard leaves it open, and SoftHSM says CKR_GENERAL_ERROR."""

Failure = Callable[[exceptions.PKCS11Error], PersonalizationError]


class TokenSealer:
    """A sealing key in a token.

    Args:
        key: the object.
        failure: turns what the token says into an error for people.
    """

    __slots__ = ("_failure", "_key")

    def __init__(self, key: Any, failure: Failure) -> None:
        self._key = key
        self._failure = failure

    def check_value(self) -> bytes:
        """See `KeyStore.check_value`."""
        try:
            return bytes(self._key.sign(AES_CHECK_INPUT, mechanism=Mechanism.AES_CMAC))[:CHECK_VALUE_LENGTH]
        except exceptions.PKCS11Error as error:
            raise self._failure(error) from None

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """See `KeyStore.seal`.

        The nonce is drawn by the host: a token that draws it itself (PKCS #11 3.0) is not at hand everywhere.
        """
        nonce = os.urandom(_NONCE)
        parameters = GCMParams(nonce, associated, _TAG_BITS)
        try:
            return nonce + bytes(self._key.encrypt(plaintext, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
        except exceptions.PKCS11Error as error:
            raise self._failure(error) from None

    def unseal(self, sealed: bytes, associated: bytes) -> bytes | None:
        """None when it is not what was sealed."""
        if len(sealed) < _SHORTEST_SEALED:
            return None
        parameters = GCMParams(sealed[:_NONCE], associated, _TAG_BITS)
        try:
            return bytes(self._key.decrypt(sealed[_NONCE:], mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
        except UNOPENED:
            self.check_value()  # a token that is gone fails here too, and says so
            return None
        except exceptions.PKCS11Error as error:
            raise self._failure(error) from None


def make(session: Session, batch: str) -> None:
    """Make the keys of a batch, in the place of any that are there; a token that is full keeps none of them."""
    destroy(session, batch)
    try:
        for name in BATCH_KEYS:
            session.generate_key(
                KeyType.AES,
                KEY_LENGTHS[name] * _BITS,
                label=_label(batch, name),
                store=True,
                capabilities=capabilities(name),
                template=kept(name),
            )
    except exceptions.PKCS11Error:
        destroy(session, batch)
        raise


def find(session: Session, batch: str, failure: Failure) -> dict[KeyName, TokenSealer]:
    """The keys of a batch; empty when they were destroyed or never made."""
    check_identifier(batch)
    found: dict[KeyName, TokenSealer] = {}
    for name in BATCH_KEYS:
        objects = list(session.get_objects(_wanted(batch, name)))
        if objects:
            found[name] = TokenSealer(objects[0], failure)
    return found


def destroy(session: Session, batch: str) -> bool:
    """Destroy the keys of a batch; False when there were none."""
    check_identifier(batch)
    objects = [item for name in BATCH_KEYS for item in session.get_objects(_wanted(batch, name))]
    for item in objects:
        item.destroy()
    return bool(objects)


def _wanted(batch: str, name: KeyName) -> dict[Attribute, object]:
    return {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: _label(batch, name)}


def _label(batch: str, name: KeyName) -> str:
    return f"{BATCH_APPLICATION}.{batch}.{name.value}"
