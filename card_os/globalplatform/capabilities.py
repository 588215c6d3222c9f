"""Card recognition data and card capability information: what the card says that it can do.

Source: GlobalPlatform Card Specification 2.3.1, clauses H.2 to H.4.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.channel_policy import load_policy
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.secure_channel import Protocol
from card_os.iso7816 import tlv

if TYPE_CHECKING:
    from card_os.applet_api import Context


class _Tag(IntEnum):
    """Tags inside card data and capability information (tables H-1, H-5 and H-6)."""

    OBJECT_IDENTIFIER = 0x06
    RECOGNITION = 0x73
    CARD_MANAGEMENT = 0x60
    IDENTIFICATION_SCHEME = 0x63
    SECURE_CHANNEL = 0x64
    PROTOCOL = 0xA0
    PROTOCOL_TYPE = 0x80
    OPTIONS = 0x81
    KEY_LENGTHS = 0x82
    DOMAIN_PRIVILEGES = 0x81
    APPLICATION_PRIVILEGES = 0x82
    LOAD_FILE_HASHES = 0x83
    LOAD_FILE_CIPHERS = 0x84
    TOKENS = 0x85
    RECEIPTS = 0x86
    DAPS = 0x87


_GLOBALPLATFORM_OID: Final = bytes.fromhex("2A864886FC6B01")
_CARD_MANAGEMENT_OID: Final = bytes.fromhex("2A864886FC6B02020301")
_IDENTIFICATION_OID: Final = bytes.fromhex("2A864886FC6B03")
_SECURE_CHANNEL_OID: Final = bytes.fromhex("2A864886FC6B04")
_AES_LENGTHS: Final = bytes((0x07,))
_HASHES: Final = bytes((0x01, 0x02, 0x03, 0x04))
_CIPHERS: Final = bytes((0x8F,))
"""Triple DES and AES of three lengths, and an ICV (table H-8)."""
_VERIFICATION: Final = bytes((0xFF, 0x02))
"""RSA, DES and AES MACs, ECDSA with 256, 384 and 521 bits (tables H-9 and H-10)."""
_RECEIPTS: Final = bytes((0x7C,))
"""DES and AES MACs, ECDSA with 256 bits."""
_FOR_APPLICATIONS: Final = (
    Privilege.CARD_LOCK
    | Privilege.CARD_TERMINATE
    | Privilege.CARD_RESET
    | Privilege.CVM_MANAGEMENT
    | Privilege.GLOBAL_LOCK
    | Privilege.FINAL_APPLICATION
    | Privilege.GLOBAL_SERVICE
    | Privilege.CONTACTLESS_ACTIVATION
    | Privilege.CONTACTLESS_SELF_ACTIVATION
)
_FOR_DOMAINS: Final = Privilege(0xFFFFF0)


def protocols(context: Context) -> tuple[tuple[Protocol, int], ...]:
    """Secure channel protocols of the selected domain, each with its parameter `i`."""
    return load_policy(context.store, context.application.owner).protocols


def recognition_data(context: Context) -> bytes:
    """Value of tag 66: what the domain implements, as object identifiers (table H-1)."""
    rows = [
        (_Tag.CARD_MANAGEMENT, _CARD_MANAGEMENT_OID),
        (_Tag.IDENTIFICATION_SCHEME, _IDENTIFICATION_OID),
        *((_Tag.SECURE_CHANNEL, _SECURE_CHANNEL_OID + bytes(row)) for row in protocols(context)),
    ]
    identifiers = (tlv.encode(tag, tlv.encode(_Tag.OBJECT_IDENTIFIER, oid)) for tag, oid in rows)
    head = tlv.encode(_Tag.OBJECT_IDENTIFIER, _GLOBALPLATFORM_OID)
    return tlv.encode(_Tag.RECOGNITION, head, *identifiers)


def capability_information(context: Context) -> bytes:
    """Value of tag 67: protocols, privileges and algorithms (table H-5)."""
    channels = (
        tlv.encode(
            _Tag.PROTOCOL,
            tlv.encode(_Tag.PROTOCOL_TYPE, bytes((protocol,))),
            tlv.encode(_Tag.OPTIONS, bytes((implementation,))),
            tlv.encode(_Tag.KEY_LENGTHS, _AES_LENGTHS) if protocol is Protocol.SCP03 else b"",
        )
        for protocol, implementation in protocols(context)
    )
    rows = (
        (_Tag.DOMAIN_PRIVILEGES, _FOR_DOMAINS.encode()),
        (_Tag.APPLICATION_PRIVILEGES, _FOR_APPLICATIONS.encode()),
        (_Tag.LOAD_FILE_HASHES, _HASHES),
        (_Tag.LOAD_FILE_CIPHERS, _CIPHERS),
        (_Tag.TOKENS, _VERIFICATION),
        (_Tag.RECEIPTS, _RECEIPTS),
        (_Tag.DAPS, _VERIFICATION),
    )
    return b"".join((*channels, *(tlv.encode(tag, value) for tag, value in rows)))
