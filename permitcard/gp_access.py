"""How ``permitcard gp`` reaches a card: its address, the keys that may be the card's, and the guard in front of them.

Keys come from options, from the environment or from a centre's key store, and are never shown. Without any, the
published ones are tried: the test keys 404142…4F that chips are delivered with, and those of our specimen cards.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from card_os.iso7816.aid import Aid
from permitcard.gp_certified import CertifiedChoice
from personalization.errors import PersonalizationError

if TYPE_CHECKING:  # every command line starts with this module: what speaks to a card comes with the first card
    from personalization.globalplatform.guarded_session import CardGuard, KeyCandidate
    from personalization.globalplatform.key_diversification import MasterKeys
    from personalization.globalplatform.key_loading import KeyType
    from personalization.globalplatform.key_rotation import KeySetOfCards
    from personalization.globalplatform.rotation_journal import RotationJournal
    from personalization.globalplatform.scp03 import InitializeUpdateResponse, StaticKeys
    from personalization.globalplatform.session import SecureSession
    from personalization.keys.keystore import KeyStore
    from reader_bridge.connection import CardConnection

STATE_VARIABLE: Final = "PERMITCARD_STATE"
"""Environment variable with the folder of what is remembered between runs."""

_KEY_VARIABLE: Final = "PERMITCARD_GP_KEY"
_TEST_KEY: Final = bytes(range(0x40, 0x50))
_KEY_LENGTHS: Final = (16, 24, 32)
_LEVELS: Final = {
    "none": 0x00,
    "mac": 0x01,
    "enc": 0x03,
    "mac+rmac": 0x11,
    "enc+rmac": 0x13,
    "full": 0x33,
}


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """The keys that a user names.

    Attributes:
        key: one value for all three keys, in hexadecimal, or ``@FILE``.
        enc: Key-ENC or its master; the others likewise.
        mac: Key-MAC.
        dek: Key-DEK.
        schemes: diversifications that may fit, none when they are the card's keys as they are.
        version: key version number, None for any.
        centre: folder of a centre whose key store has the masters.
        variable: name of the environment variable that is looked at for ``key``; with _ENC, _MAC and _DEK for the rest.
    """

    key: str | None = field(default=None, repr=False)
    enc: str | None = field(default=None, repr=False)
    mac: str | None = field(default=None, repr=False)
    dek: str | None = field(default=None, repr=False)
    schemes: tuple[str, ...] = ()
    version: int | None = None
    centre: Path | None = None
    variable: str = _KEY_VARIABLE

    def masters(self) -> MasterKeys | None:
        """Keys from options or the environment; None when there are none.

        Raises:
            PersonalizationError: "gp-key-malformed", "gp-key-incomplete", exit 2.
        """
        from personalization.globalplatform.key_diversification import MasterKeys

        one = self._value(self.key, "")
        parts = [self._value(text, f"_{name}") or one for text, name in self._parts()]
        if not any(parts):
            return None
        if not all(parts) or len({len(part or b"") for part in parts}) != 1:
            raise PersonalizationError("gp-key-incomplete", exit_code=2)
        enc, mac, dek = (part or b"" for part in parts)
        return MasterKeys(enc, mac, dek)

    def candidates(self) -> list[KeyCandidate]:
        """The key sets that may be the card's."""
        from personalization.globalplatform.key_diversification import MasterKeys

        masters = self.masters()
        if masters is not None:
            return [_of_masters(masters, scheme, self.version) for scheme in self.schemes or ("none",)]
        if self.centre is not None:
            return _of_store(_store(self.centre), self.version)
        published = MasterKeys(_TEST_KEY, _TEST_KEY, _TEST_KEY)
        tried = [_of_masters(published, scheme, self.version) for scheme in self.schemes or ("none",)]
        return tried if self.schemes else [*tried, *_of_store(_specimen_keys(), self.version)]

    def set_of_cards(self, name: str, kind: KeyType, *, published: bool = False) -> KeySetOfCards:
        """The one set that is meant, as rotation wants it.

        Args:
            name: for messages.
            kind: AES or DES.
            published: without any keys, those of our specimen cards are meant.

        Raises:
            PersonalizationError: exit 2: "gp-key-missing", "gp-key-version-missing", "gp-key-ambiguous".
        """
        from personalization.globalplatform.key_diversification import card_keys, diversification_of
        from personalization.globalplatform.key_loading import FACTORY_KEY_VERSION
        from personalization.globalplatform.key_rotation import KeySetOfCards

        masters = self.masters()
        if masters is not None:
            if self.version is None:
                raise PersonalizationError("gp-key-version-missing", exit_code=2, which=name)
            if len(self.schemes) > 1:
                raise PersonalizationError("gp-key-ambiguous", exit_code=2, which=name)
            scheme = diversification_of(next(iter(self.schemes), "none"))
            version, values = self.version, masters
            return KeySetOfCards(name, version, lambda number: card_keys(values, scheme, version, number), kind)
        if self.centre is not None:
            return _set_of_store(name, _store(self.centre), self.version, kind)
        if published:
            return _set_of_store(name, _specimen_keys(), self.version or FACTORY_KEY_VERSION, kind)
        raise PersonalizationError("gp-key-missing", exit_code=2, which=name)

    def _parts(self) -> tuple[tuple[str | None, str], ...]:
        return (self.enc, "ENC"), (self.mac, "MAC"), (self.dek, "DEK")

    def _value(self, text: str | None, suffix: str) -> bytes | None:
        told = text or os.environ.get(self.variable + suffix)
        return None if not told else key_value(told)


def key_value(text: str) -> bytes:
    """A key in hexadecimal, or ``@FILE`` with it.

    Raises:
        PersonalizationError: "gp-key-malformed", exit 2; the text itself is never repeated.
        OSError: the file cannot be read.
    """
    told = Path(text[1:]).read_text("ascii", errors="replace") if text.startswith("@") else text
    try:
        value = bytes.fromhex(told)
    except ValueError:
        value = b""
    if len(value) not in _KEY_LENGTHS:
        raise PersonalizationError("gp-key-malformed", exit_code=2)
    return value


def state_folder() -> Path:
    """Where the key guard and the rotation journal remember, from one run to the next."""
    if told := os.environ.get(STATE_VARIABLE):
        return Path(told)
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "permitcard"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "permitcard"


def level_of(name: str | None) -> int | None:
    """A security level by its name or in hexadecimal; None for the strongest.

    Raises:
        PersonalizationError: "security-level-unsupported", exit 2.
    """
    if name is None:
        return None
    if name.lower() in _LEVELS:
        return _LEVELS[name.lower()]
    try:
        return int(name, 16)
    except ValueError as error:
        raise PersonalizationError("security-level-unsupported", exit_code=2, level=name) from error


def hexadecimal(text: str, what: str) -> bytes:
    """Bytes that a user typed, with or without spaces.

    Raises:
        PersonalizationError: "gp-hex-malformed", exit 2.
    """
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise PersonalizationError("gp-hex-malformed", exit_code=2, what=what, text=text) from error


def aid_of(text: str) -> Aid:
    """An AID that a user typed.

    Raises:
        PersonalizationError: "gp-hex-malformed", "gp-aid-malformed", exit 2.
    """
    value = hexadecimal(text, "AID")
    try:
        return Aid(value)
    except ValueError as error:
        raise PersonalizationError("gp-aid-malformed", exit_code=2, text=text, length=len(value)) from error


def domain_of(text: str | None = None) -> bytes:
    """AID of the security domain that a user typed, the issuer's when there is none.

    Raises:
        PersonalizationError: "gp-hex-malformed", "gp-aid-malformed", exit 2.
    """
    from personalization.globalplatform.commands import ISSUER_DOMAIN_AID

    return ISSUER_DOMAIN_AID if text is None else aid_of(text)


@dataclass(frozen=True, slots=True)
class GpAccess:
    """One card and what may open it.

    Attributes:
        card: address.
        keys: keys that may be the card's.
        domain: AID of the security domain to speak to.
        level: security level, None for the strongest.
        fresh: take no kept answer of the card for settled.
        certified: keys and certificates of SCP11, which then open the session instead.
    """

    card: str
    keys: KeyChoice = field(default_factory=KeyChoice)
    domain: bytes = field(default_factory=domain_of)
    level: int | None = None
    fresh: bool = False
    certified: CertifiedChoice = field(default_factory=CertifiedChoice)

    @property
    def guard(self) -> CardGuard:
        """Stands before every session."""
        from personalization.globalplatform.guard_ledger import GuardLedger
        from personalization.globalplatform.guarded_session import CardGuard

        return CardGuard(GuardLedger(state_folder() / "key-guard.json"), aid=self.domain, fresh=self.fresh)

    @property
    def journal(self) -> RotationJournal:
        """Where rotations are written down."""
        from personalization.globalplatform.rotation_journal import RotationJournal

        return RotationJournal(state_folder() / "rotations")

    @contextmanager
    def connection(self) -> Generator[CardConnection]:
        """The powered card."""
        from permitcard.reaching import card_factory

        with card_factory(exclusive=True).connect(self.card) as connection:
            yield connection

    @contextmanager
    def session(self) -> Generator[SecureSession]:
        """A session with the security domain, opened through the guard; SCP11 guesses at nothing and needs none."""
        access = self.certified.access(self.keys.version, self.level)
        with self.connection() as connection:
            if access is not None:
                from personalization.globalplatform.certified_session import open_certified

                yield open_certified(connection, access, aid=self.domain)
                return
            yield self.guard.open(connection, self.keys.candidates(), key_version=self.keys.version, level=self.level)


def _of_masters(masters: MasterKeys, scheme: str, version: int | None) -> KeyCandidate:
    from personalization.globalplatform.guarded_session import KeyCandidate
    from personalization.globalplatform.key_diversification import card_keys, diversification_of

    derive = diversification_of(scheme)

    def keys(card: InitializeUpdateResponse) -> StaticKeys:
        return card_keys(masters, derive, card.key_version, card.diversification)

    return KeyCandidate(scheme, keys, version)


def _of_store(store: KeyStore, version: int | None) -> list[KeyCandidate]:
    """A centre's sets: factory keys for version FF, its own for the others; under masters in use and former ones."""
    from personalization.globalplatform.guarded_session import KeyCandidate
    from personalization.globalplatform.key_loading import FACTORY_KEY_VERSION
    from personalization.globalplatform.scp03 import StaticKeys
    from personalization.keys.keystore import DOMAIN_MASTERS, KeyName
    from personalization.preparation.card_keys import issuer_domain_keys

    def keys(card: InitializeUpdateResponse, master: KeyName, check_value: bytes | None) -> StaticKeys:
        made = issuer_domain_keys(store, master, card.diversification, check_value)
        return StaticKeys(card.key_version, made.enc, made.mac, made.dek)

    def of_today(card: InitializeUpdateResponse) -> StaticKeys:
        return keys(card, KeyName.FACTORY if card.key_version == FACTORY_KEY_VERSION else KeyName.CARD, None)

    def of_before(master: KeyName, check_value: bytes) -> KeyCandidate:
        name = f"profile {check_value.hex().upper()}"
        return KeyCandidate(name, lambda card: keys(card, master, check_value), version)

    former = [(master, value) for master in DOMAIN_MASTERS for value in store.check_values(master)[1:]]
    return [KeyCandidate("profile", of_today, version), *(of_before(*one) for one in former)]


def _set_of_store(name: str, store: KeyStore, version: int | None, kind: KeyType) -> KeySetOfCards:
    from personalization.globalplatform.key_loading import FACTORY_KEY_VERSION
    from personalization.globalplatform.key_rotation import KeySetOfCards
    from personalization.globalplatform.scp03 import StaticKeys
    from personalization.keys.keystore import KeyName
    from personalization.preparation.card_keys import CARD_VERSION, issuer_domain_keys

    number = CARD_VERSION if version is None else version
    use = KeyName.FACTORY if number == FACTORY_KEY_VERSION else KeyName.CARD

    def keys(card: bytes) -> StaticKeys:
        made = issuer_domain_keys(store, use, card)
        return StaticKeys(number, made.enc, made.mac, made.dek)

    return KeySetOfCards(name, number, keys, kind)


def _store(centre: Path) -> KeyStore:
    from permitcard.centre import Centre
    from permitcard.operator_login import open_store
    from personalization.production.acts import Role

    return open_store(Centre(centre), Role.KEYS)


def _specimen_keys() -> KeyStore:
    """The published keys of our specimen cards; what makes specimens is heavy, and is brought only here."""
    from permitcard.specimen import specimen_keys

    return specimen_keys()
