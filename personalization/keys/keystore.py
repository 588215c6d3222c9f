"""The seam to whatever keeps the issuer's keys: names, operations, and where a process finds the store again.

A caller never holds a master key: it names one and asks for what has to be done with it. What a key may be used for
is a table, not a habit of callers.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from personalization.errors import PersonalizationError


class KeyName(StrEnum):
    """The keys of an issuing centre.

    ``FACTORY`` and ``CARD`` diversify the issuer domain's key sets, the four roles and ``CONCEALMENT`` what a terminal
    needs, ``TERMINAL`` what opens a SAM. ``SAM_LOAD`` wraps role masters on their way into a SAM, ``EXCHANGE`` keys on
    their way to another centre. ``TRANSPORT``, ``MAILER`` and ``REJECTS`` seal files, ``RECOGNITION`` recognises
    numbers. ``DOCUMENT_SIGNER`` signs identity data, ``AUDIT`` transcripts and checkpoints, and ``CLOCK`` how far
    terminals may tell cards the date, all under the certificate of ``AUTHORITY``.
    """

    FACTORY = "factory"
    CARD = "card"
    INSPECTION = "inspection"
    SERVICE_DESK = "service_desk"
    BANK_BRANCH = "bank_branch"
    ISSUER = "issuer"
    CONCEALMENT = "concealment"
    TERMINAL = "terminal"
    SAM_LOAD = "sam_load"
    EXCHANGE = "exchange"
    TRANSPORT = "transport"
    MAILER = "mailer"
    REJECTS = "rejects"
    RECOGNITION = "recognition"
    DOCUMENT_SIGNER = "document_signer"
    AUDIT = "audit"
    CLOCK = "clock"
    AUTHORITY = "authority"


class KeyUse(StrEnum):
    """What a key can be asked for."""

    DERIVE = "derive"
    LOAD_INTO_SAM = "load_into_sam"
    WRAP = "wrap"
    SEAL = "seal"
    RECOGNISE = "recognise"
    SIGN = "sign"
    CERTIFY = "certify"


_ROLE_MASTER: Final = frozenset({KeyUse.DERIVE, KeyUse.LOAD_INTO_SAM})
_DERIVATION_MASTER: Final = frozenset({KeyUse.DERIVE})
_WRAPPING_KEY: Final = frozenset({KeyUse.WRAP})
_FILE_KEY: Final = frozenset({KeyUse.SEAL})
_CERTIFIED_SIGNER: Final = frozenset({KeyUse.SIGN, KeyUse.CERTIFY})

KEY_USES: Final = MappingProxyType(
    {
        KeyName.FACTORY: _DERIVATION_MASTER,
        KeyName.CARD: _DERIVATION_MASTER,
        KeyName.INSPECTION: _ROLE_MASTER,
        KeyName.SERVICE_DESK: _ROLE_MASTER,
        KeyName.BANK_BRANCH: _ROLE_MASTER,
        KeyName.ISSUER: _ROLE_MASTER,
        KeyName.CONCEALMENT: _DERIVATION_MASTER,
        KeyName.TERMINAL: _DERIVATION_MASTER,
        KeyName.SAM_LOAD: _WRAPPING_KEY,
        KeyName.EXCHANGE: _WRAPPING_KEY,
        KeyName.TRANSPORT: _FILE_KEY,
        KeyName.MAILER: _FILE_KEY,
        KeyName.REJECTS: _FILE_KEY,
        KeyName.RECOGNITION: frozenset({KeyUse.RECOGNISE}),
        KeyName.DOCUMENT_SIGNER: _CERTIFIED_SIGNER,
        KeyName.AUDIT: _CERTIFIED_SIGNER,
        KeyName.CLOCK: _CERTIFIED_SIGNER,
        KeyName.AUTHORITY: frozenset({KeyUse.CERTIFY}),
    }
)
"""What each key may be used for; a use that does not stand here is refused by every store."""

_AES_128: Final = 16
_AES_256: Final = 32

KEY_LENGTHS: Final = MappingProxyType(
    {
        name: _AES_128 if KeyUse.DERIVE in uses else _AES_256
        for name, uses in KEY_USES.items()
        if KeyUse.CERTIFY not in uses
    }
)
"""Bytes of each symmetric key: masters are AES-128 as the cards' keys are, all others have 32 bytes."""

LASTING_PAIRS: Final = frozenset({KeyName.CLOCK})
"""Pairs whose former private halves go on signing: their public halves are in cards, which nobody can change."""

ROLE_MASTERS: Final = tuple(name for name, uses in KEY_USES.items() if KeyUse.LOAD_INTO_SAM in uses)
"""Masters of the roles of terminals.

Each card says by its concealed number which of them it was made with: when one of them is replaced, ``CONCEALMENT`` is
replaced before it. A terminal with the new one would otherwise take a card of before for one of its own, and spend a
try of its key at every visit.
"""

DOMAIN_MASTERS: Final = (KeyName.FACTORY, KeyName.CARD)
"""Masters of the issuer domain's keys, which our own stations open.

A card that has keys of a former one tells so by its cryptogram: it is opened with that, and finished with those of the
one in use.
"""

CARD_MASTERS: Final = (*DOMAIN_MASTERS, *ROLE_MASTERS, KeyName.CONCEALMENT)
"""Masters of what is in a card: while a batch runs none is replaced, while a card is begun none but the domain's."""

SAM_KEYS: Final = (*ROLE_MASTERS, KeyName.CONCEALMENT, KeyName.TERMINAL)
"""Keys of which a SAM has something; when one is replaced, SAMs that were made before are for cards of before only."""

KEY_PAIRS: Final = tuple(name for name, uses in KEY_USES.items() if KeyUse.CERTIFY in uses)
"""The keys that are pairs on P-256."""

SAM_LOAD_LABEL: Final = "SAM LOAD"
"""Label under which a chip vendor's master gives the load key of its SAM chips; the context is empty."""


def require_use(name: KeyName, use: KeyUse) -> None:
    """Refuse what `KEY_USES` does not grant.

    Raises:
        PersonalizationError: "key-use-refused", exit 2.
    """
    if use not in KEY_USES[name]:
        raise PersonalizationError("key-use-refused", exit_code=2, key=name.value, use=use.value)


def former_key_missing(name: KeyName, check_value: bytes) -> PersonalizationError:
    """The error "former-key-missing", exit 2."""
    return PersonalizationError(
        "former-key-missing", exit_code=2, key=name.value, check_value=check_value.hex().upper()
    )


@runtime_checkable
class KeyStore(Protocol):
    """Keys by name and operations on them.

    Every operation raises `PersonalizationError` with the code "key-use-refused" (exit 2) when `KEY_USES` does not
    grant it, and "sealed-data-refused" (exit 1) when sealed data is not what was sealed under this key and context.
    """

    def close(self) -> None:
        """Let go of keys and session; safe to call twice."""
        ...

    @property
    def production(self) -> bool:
        """True when the store may hold keys of real cards."""
        ...

    def check_value(self, name: KeyName) -> bytes:
        """Three bytes that tell one key from another and say nothing of it; see `check_values`."""
        ...

    def check_values(self, name: KeyName) -> tuple[bytes, ...]:
        """Those of a symmetric key in use and of its former ones that were not destroyed, the newest first."""
        ...

    def derive(self, name: KeyName, label: str, context: bytes, length: int, check_value: bytes | None = None) -> bytes:
        """Diversify: the leftmost ``length`` bytes (1..4080) of the derivation (AES-CMAC, counter mode).

        Args:
            name: a master key.
            label: ASCII, such as "SCP03 ENC".
            context: the card number (10 bytes), or what else the key is for.
            length: bytes wanted.
            check_value: of the master, which may be a former one; the one in use by default.

        Raises:
            PersonalizationError: "former-key-missing", exit 2: none has that check value.

        Source: NIST SP 800-108r1, clause 4.1.
        """
        ...

    def wrap_master(self, name: KeyName) -> bytes:
        """A master that a SAM carries, wrapped under ``SAM_LOAD`` (AES key wrap): 24 bytes for a master of 16.

        Source: RFC 3394, clause 2.2.1.
        """
        ...

    def seal(self, name: KeyName, plaintext: bytes, associated: bytes) -> bytes:
        """AES-256-GCM: nonce (12) ‖ ciphertext ‖ tag (16); ``associated`` is authenticated and not contained."""
        ...

    def unseal(self, name: KeyName, sealed: bytes, associated: bytes) -> bytes:
        """Undo `seal`."""
        ...

    def recognise(self, value: bytes) -> bytes:
        """HMAC-SHA-256 (32 bytes) under the recognition key: to know a number again without keeping it."""
        ...

    def sign_digest(self, name: KeyName, digest: bytes) -> bytes:
        """ECDSA P-256 over a SHA-256 digest (32 bytes); r ‖ s, 64 bytes."""
        ...

    def sign_with_all(self, name: KeyName, digest: bytes) -> tuple[bytes, ...]:
        """As `sign_digest`, by the key in use and by each former one that was not destroyed, the newest first."""
        ...

    def certificate(self, name: KeyName) -> bytes:
        """X.509 certificate, DER."""
        ...

    def certificates(self, name: KeyName) -> tuple[bytes, ...]:
        """Certificates of the pair in use and of all before it, DER, newest first: what they signed is still about.

        Of the authority also its links: each has the key that came after one, signed by that one.
        """
        ...

    def make_batch_keys(self, batch: str) -> dict[KeyName, bytes]:
        """Make the sealing keys of one batch, in the place of any that are there; returns their check values."""
        ...

    def of_batch(self, batch: str) -> KeyStore:
        """This store with the sealing keys of a batch in the place of the centre's.

        Raises:
            PersonalizationError: "batch-keys-missing" (exit 3): they were destroyed, or never made.
        """
        ...

    def destroy_batch_keys(self, batch: str) -> bool:
        """Destroy the sealing keys of a batch: what they sealed is closed for ever; False when there are none."""
        ...


class KeyStoreLocation(Protocol):
    """Where a store is; picklable and free of secrets, so that a worker process can open the store again."""

    def open(self) -> KeyStore:
        """Open the store.

        Raises:
            PersonalizationError: exit 3; the store or its passphrase is missing, wrong or damaged.
        """
        ...
