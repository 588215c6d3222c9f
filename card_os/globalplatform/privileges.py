"""Privileges of applications and security domains, and the rules by which they are given.

Source: GlobalPlatform Card Specification 2.3.1, clauses 6.6 (privileges) and 11.1.2 (coding).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import Final

PRIVILEGE_LENGTHS: Final = (1, 3)
"""Bytes that a privileges field may have (11.1.2)."""


class Privilege(IntFlag):
    """Privileges as a number of their three bytes, big-endian (6.6.1, table 6-1)."""

    NONE = 0
    SECURITY_DOMAIN = 0x800000
    DAP_VERIFICATION = 0x400000
    DELEGATED_MANAGEMENT = 0x200000
    CARD_LOCK = 0x100000
    CARD_TERMINATE = 0x080000
    CARD_RESET = 0x040000
    CVM_MANAGEMENT = 0x020000
    MANDATED_DAP = 0x010000
    TRUSTED_PATH = 0x008000
    AUTHORIZED_MANAGEMENT = 0x004000
    TOKEN_VERIFICATION = 0x002000
    GLOBAL_DELETE = 0x001000
    GLOBAL_LOCK = 0x000800
    GLOBAL_REGISTRY = 0x000400
    FINAL_APPLICATION = 0x000200
    GLOBAL_SERVICE = 0x000100
    RECEIPT_GENERATION = 0x000080
    CIPHERED_LOAD_FILE = 0x000040
    CONTACTLESS_ACTIVATION = 0x000020
    CONTACTLESS_SELF_ACTIVATION = 0x000010

    def encode(self) -> bytes:
        """The three privilege bytes."""
        return self.to_bytes(3, "big")

    @classmethod
    def decode(cls, raw: bytes) -> Privilege:
        """Read one or three privilege bytes; a single byte is the first of the three (11.1.2)."""
        return cls(int.from_bytes(raw.ljust(3, b"\x00"), "big"))

    @classmethod
    def requested(cls, raw: bytes) -> Privilege:
        """Privileges that a command asks for; a single byte takes the defaults of table 6-2 for the others.

        Raises:
            ValueError: not one or three bytes, or a reserved bit.
        """
        if len(raw) not in PRIVILEGE_LENGTHS:
            raise ValueError("privileges have one or three bytes")
        privileges = cls.decode(raw)
        if privileges & _RESERVED:
            raise ValueError("a reserved privilege")
        if len(raw) == 1 and privileges & cls.SECURITY_DOMAIN:
            privileges |= cls.TRUSTED_PATH
        return privileges


_RESERVED: Final = 0x00000F

ISSUER_PRIVILEGES: Final = (
    Privilege.SECURITY_DOMAIN
    | Privilege.CARD_LOCK
    | Privilege.CARD_TERMINATE
    | Privilege.CARD_RESET
    | Privilege.CVM_MANAGEMENT
    | Privilege.TRUSTED_PATH
    | Privilege.AUTHORIZED_MANAGEMENT
    | Privilege.TOKEN_VERIFICATION
    | Privilege.GLOBAL_DELETE
    | Privilege.GLOBAL_LOCK
    | Privilege.GLOBAL_REGISTRY
    | Privilege.FINAL_APPLICATION
    | Privilege.RECEIPT_GENERATION
)
"""What an issuer security domain has in OP_READY (6.6.2); a card profile may take some away."""

REQUIRED: Final[Mapping[Privilege, Privilege]] = {
    Privilege.DAP_VERIFICATION: Privilege.SECURITY_DOMAIN,
    Privilege.DELEGATED_MANAGEMENT: Privilege.SECURITY_DOMAIN,
    Privilege.MANDATED_DAP: Privilege.SECURITY_DOMAIN | Privilege.DAP_VERIFICATION,
    Privilege.TRUSTED_PATH: Privilege.SECURITY_DOMAIN,
    Privilege.AUTHORIZED_MANAGEMENT: Privilege.SECURITY_DOMAIN,
    Privilege.TOKEN_VERIFICATION: Privilege.SECURITY_DOMAIN,
    Privilege.GLOBAL_DELETE: Privilege.SECURITY_DOMAIN,
    Privilege.GLOBAL_REGISTRY: Privilege.SECURITY_DOMAIN,
    Privilege.RECEIPT_GENERATION: Privilege.SECURITY_DOMAIN,
    Privilege.CIPHERED_LOAD_FILE: Privilege.SECURITY_DOMAIN,
}
"""Privilege → privileges that have to come with it (table 6-1; those that only a domain's commands can use)."""

EXCLUSIVE: Final = (
    Privilege.AUTHORIZED_MANAGEMENT | Privilege.DELEGATED_MANAGEMENT,
    Privilege.TOKEN_VERIFICATION | Privilege.DELEGATED_MANAGEMENT,
    Privilege.RECEIPT_GENERATION | Privilege.DELEGATED_MANAGEMENT,
)
"""Pairs that nobody has together (6.6.2)."""

UNIQUE: Final = (Privilege.CARD_RESET, Privilege.FINAL_APPLICATION)
"""What one application of the card has; the issuer domain gives it away and gets it back (6.6.2)."""

UNIQUE_IN_HIERARCHY: Final = (Privilege.TOKEN_VERIFICATION, Privilege.RECEIPT_GENERATION)
"""What one domain has below a domain with authorized management (9.1.3.1, 9.1.3.6)."""

HANDED_DOWN: Final = (
    Privilege.CARD_LOCK
    | Privilege.CARD_TERMINATE
    | Privilege.CVM_MANAGEMENT
    | Privilege.MANDATED_DAP
    | Privilege.AUTHORIZED_MANAGEMENT
    | Privilege.TOKEN_VERIFICATION
    | Privilege.GLOBAL_DELETE
    | Privilege.GLOBAL_LOCK
    | Privilege.GLOBAL_REGISTRY
    | Privilege.RECEIPT_GENERATION
    | Privilege.CONTACTLESS_ACTIVATION
)
"""What reaches beyond the application itself, so that only a domain that has it may give it, or one whose token
verifier has it. The specification leaves this to the issuer's policy (9.1.3). MANDATED_DAP, which binds everybody's
loading, is given by whoever may lock the card's content: see `grants`."""


def grants(authority: Privilege) -> Privilege:
    """What of `HANDED_DOWN` a domain with these privileges may give: its own, and with GLOBAL_LOCK, MANDATED_DAP."""
    own = authority & HANDED_DOWN
    if authority & Privilege.GLOBAL_LOCK:
        own |= Privilege.MANDATED_DAP | Privilege.CONTACTLESS_ACTIVATION
    return own


def is_consistent(privileges: Privilege) -> bool:
    """True when each privilege has what it requires and no two exclude each other (6.6)."""
    return all(
        not privileges & privilege or privileges & needed == needed for privilege, needed in REQUIRED.items()
    ) and all(privileges & pair != pair for pair in EXCLUSIVE)
