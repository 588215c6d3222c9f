"""At the station: the keys of one card, made from masters and the card's number, and the groupings that carry them.

```
8001  load key of a SAM chip (32)
8002  repeated  reference (1) ‖ 00 ‖ 00 ‖ length (1) ‖ master wrapped under the load key (24) ‖ check value (3)
8000  repeated  reference (1) ‖ role (1) ‖ try limit (1) ‖ length (1) ‖ key ‖ check value (3)
8010  repeated  reference (1) ‖ PIN number (1) ‖ try limit (1) ‖ PIN block (8, ISO 9564 format 2)
8101  chip private key (32)
```

The check value is that of the whole value: a pair K.ENC ‖ K.MAC of 32 bytes counts as an AES-256 key. That of a master
in 8002 is the key store's: CMAC over 16 × 00.

Source: card specification, "Keys" and "Personalization".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import DataGrouping, key_check_value
from personalization.globalplatform.scp03 import StaticKeys
from personalization.keys.check_values import aes_check_value
from personalization.keys.keystore import KEY_LENGTHS, SAM_LOAD_LABEL, KeyName, KeyStore
from personalization.preparation.record import PreparedRecord
from personalization.profile import CardProfile
from personalization.profile_rows import DgiRow, KeyRow, KeyUsage

FACTORY_VERSION: Final = 0xFF
CARD_VERSION: Final = 0x01
CARD_NUMBER_LENGTH: Final = 10

_DOMAIN_KEY_LENGTH: Final = 16
_TO_BE_CHANGED: Final = 0x40  # beside a PIN's number
_ENC_LABEL: Final = "SCP03 ENC"
_MAC_LABEL: Final = "SCP03 MAC"
_DEK_LABEL: Final = "SCP03 DEK"


def issuer_domain_keys(
    keystore: KeyStore, name: KeyName, card_number: bytes, check_value: bytes | None = None
) -> StaticKeys:
    """The issuer domain's key set of one card.

    Args:
        keystore: holds the master.
        name: `KeyName.FACTORY` (version FF) or `KeyName.CARD` (version 01).
        card_number: 10 bytes, as INITIALIZE UPDATE returns it.
        check_value: of the master, which may be a former one; the one in use by default.

    Raises:
        PersonalizationError: "card-number-malformed", "key-use-refused", "former-key-missing".
    """
    _check_number(card_number)
    version = FACTORY_VERSION if name is KeyName.FACTORY else CARD_VERSION
    enc, mac, dek = (
        keystore.derive(name, label, card_number, _DOMAIN_KEY_LENGTH, check_value)
        for label in (_ENC_LABEL, _MAC_LABEL, _DEK_LABEL)
    )
    return StaticKeys(version, enc, mac, dek)


def issuer_domain_generations(keystore: KeyStore, name: KeyName, card_number: bytes) -> Iterator[StaticKeys]:
    """The key sets that a card may have: under the master in use, then under each former one that was not destroyed.

    Each is derived when it is asked for, so that a card of today costs what it always did.

    Raises:
        PersonalizationError: "card-number-malformed", "key-use-refused".
    """
    yield issuer_domain_keys(keystore, name, card_number)
    for check_value in keystore.check_values(name)[1:]:
        yield issuer_domain_keys(keystore, name, card_number, check_value)


class CardKeys:
    """Makes the groupings of a profile that depend on the card's number; plain here, encrypted by the session.

    Args:
        profile: profile of a permit or of a SAM.
        keystore: holds the masters.
    """

    __slots__ = ("_keystore", "_profile", "_rows")

    def __init__(self, profile: CardProfile, keystore: KeyStore) -> None:
        self._profile = profile
        self._keystore = keystore
        self._rows: dict[str, DgiRow] = {row.kind: row for row in profile.dgis}

    def key_grouping(self, card_number: bytes) -> DataGrouping:
        """Role and concealment keys of one card, or what a SAM holds beside masters.

        Raises:
            PersonalizationError: "card-number-malformed", "key-use-refused", "profile-dgi-missing".
        """
        _check_number(card_number)
        parts: list[bytes] = []
        for row in self._profile.keys:
            if row.usage not in {KeyUsage.CHIP, KeyUsage.MASTER}:
                key = self._key(row, card_number)
                parts += (bytes((row.reference, row.role, row.try_limit, len(key))), key, key_check_value(key))
        return self._grouping("keys", b"".join(parts))

    def pin_grouping(self, record: PreparedRecord) -> DataGrouping:
        """The PINs of one card."""
        blocks = dict(record.pin_blocks)
        value = b"".join(
            bytes((row.reference, row.number | _TO_BE_CHANGED * row.change_first, row.try_limit)) + blocks[row.number]
            for row in self._profile.pins
            if row.number in blocks
        )
        return self._grouping("pins", value)

    def chip_grouping(self, record: PreparedRecord) -> DataGrouping:
        """The chip private key of one card."""
        return self._grouping("chip", record.chip_private_key)

    def permit_groupings(self, record: PreparedRecord, card_number: bytes) -> list[DataGrouping]:
        """Everything that STORE DATA brings to one permit, in the order of the profile.

        Raises:
            PersonalizationError: as `key_grouping`.
        """
        identification = self._dgi("identification").number
        plain = [grouping for grouping in record.groupings if grouping.identifier != identification]
        last = [grouping for grouping in record.groupings if grouping.identifier == identification]
        secret = [self.key_grouping(card_number), self.pin_grouping(record), self.chip_grouping(record)]
        return [*plain, *secret, *last]

    def sam_groupings(self, card_number: bytes, held: int = 0) -> list[DataGrouping]:
        """What STORE DATA brings to one SAM, in the order of the profile: load key, masters, own keys, identification.

        A production store has no load key to give, for that is the chip vendor's, who has put it into the chip; in a
        rehearsal we are the vendor.

        Args:
            card_number: 10 bytes.
            held: how many of the four the module holds already.

        Raises:
            PersonalizationError: "sam-without-load-key" (exit 2), a production store is to make one that holds nothing;
                as `key_grouping`.
        """
        steps = (
            self.load_key_grouping,
            self.master_grouping,
            lambda: self.key_grouping(card_number),
            lambda: DataGrouping(self._dgi("identification").number, self._profile.identification),
        )
        if self._keystore.production and not held:
            raise PersonalizationError("sam-without-load-key", exit_code=2, card_id=card_number.hex().upper())
        return [step() for step in steps[held:]]

    def master_grouping(self) -> DataGrouping:
        """The masters of a SAM, which nobody but a chip with the load key can open."""
        parts: list[bytes] = []
        for row in self._profile.keys:
            if row.usage is KeyUsage.MASTER:
                name = _master(row)
                wrapped = self._keystore.wrap_master(name)
                parts += (bytes((row.reference, 0, 0, len(wrapped))), wrapped, self._keystore.check_value(name))
        return self._grouping("masters", b"".join(parts))

    def load_key_grouping(self) -> DataGrouping:
        """The load key of a rehearsal's chips, as their make-believe vendor has it.

        It is of the ``factory`` master of the day on which it came to the store as ``SAM_LOAD``.

        Raises:
            PersonalizationError: "sam-load-not-vendors", exit 2: it came from elsewhere.
        """
        length = KEY_LENGTHS[KeyName.SAM_LOAD]
        wanted = self._keystore.check_value(KeyName.SAM_LOAD)
        values = [
            self._keystore.derive(KeyName.FACTORY, SAM_LOAD_LABEL, b"", length, check_value)
            for check_value in self._keystore.check_values(KeyName.FACTORY)
        ]
        ours = next((value for value in values if aes_check_value(value) == wanted), None)
        if ours is None:
            raise PersonalizationError("sam-load-not-vendors", exit_code=2, ours=wanted.hex().upper())
        return self._grouping("load_key", ours)

    def _key(self, row: KeyRow, card_number: bytes) -> bytes:
        if row.label is None:
            raise PersonalizationError("profile-key-without-label", exit_code=2, key=row.name)
        return self._keystore.derive(_master(row), row.label, row.derivation_context(card_number), row.length)

    def _grouping(self, kind: str, value: bytes) -> DataGrouping:
        row = self._dgi(kind)
        return DataGrouping(row.number, value, row.encrypted)

    def _dgi(self, kind: str) -> DgiRow:
        row = self._rows.get(kind)
        if row is None:
            raise PersonalizationError("profile-dgi-missing", exit_code=2, kind=kind)
        return row


def _master(row: KeyRow) -> KeyName:
    if row.master is None:
        raise PersonalizationError("profile-key-without-master", exit_code=2, key=row.name)
    return KeyName(row.master)


def _check_number(card_number: bytes) -> None:
    if len(card_number) != CARD_NUMBER_LENGTH:
        raise PersonalizationError("card-number-malformed", length=len(card_number))
