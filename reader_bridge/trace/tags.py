"""Names of data objects, by the template in which they stand.

Source: ISO/IEC 7816-4:2020, tables 8 to 11, 27, clauses 7.4 and 10.3; ISO/IEC 7816-6:2016, table 1; GlobalPlatform Card
Specification 2.3.1, clauses 7.4.1, 11.3, 11.4 and annex H; EMV 4.3 Book 3, annex A; ICAO Doc 9303-11 and BSI TR-03110
part 3 (7C of GENERAL AUTHENTICATE).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class TagContext(Enum):
    """Where a data object stands."""

    TOP = "interindustry"
    CONTROL = "file control parameters"
    REGISTRY = "GlobalPlatform registry"
    RECOGNITION = "card recognition data"
    EMV = "EMV"
    REFERENCE = "control reference template"
    MESSAGING = "secure messaging"
    AUTHENTICATION = "dynamic authentication"
    PUBLIC_KEY = "public key"
    KEY_INFORMATION = "key information"


_TOP: Final = {
    0x06: "object identifier",
    0x41: "country and national data",
    0x42: "issuer identification number",
    0x43: "card service data",
    0x44: "initial access data",
    0x45: "card image number",
    0x46: "pre-issuing data",
    0x47: "card capabilities",
    0x48: "status information",
    0x4D: "extended header list",
    0x4F: "application identifier",
    0x50: "application label",
    0x51: "file reference",
    0x52: "command APDU",
    0x53: "discretionary data",
    0x5A: "primary account number",
    0x5B: "name",
    0x5C: "tag list",
    0x5D: "header list",
    0x5E: "log-in data",
    0x5F20: "cardholder name",
    0x5F24: "expiration date",
    0x5F25: "effective date",
    0x5F28: "issuer country code",
    0x5F2B: "date of birth",
    0x5F2C: "cardholder nationality",
    0x5F2D: "language preference",
    0x5F2E: "cardholder biometric data",
    0x5F34: "primary account number sequence number",
    0x5F35: "sex",
    0x5F37: "static internal authentication, signature",
    0x5F3D: "digital signature",
    0x5F42: "address",
    0x5F50: "uniform resource locator",
    0x61: "application template",
    0x62: "file control parameters",
    0x64: "file management data",
    0x65: "cardholder related data",
    0x66: "card data",
    0x67: "authentication data",
    0x6E: "application related data",
    0x6F: "file control information",
    0x70: "interindustry template",
    0x73: "discretionary data objects",
    0x77: "response template",
    0x78: "compatible tag allocation authority",
    0x7B: "security support template",
    0x7C: "dynamic authentication data",
    0x7D: "secure messaging template",
    0x7F21: "cardholder certificate",
    0x7F49: "cardholder public key",
    0x7F4E: "certificate body",
    0x9F65: "maximum length of command data",
    0x9F6E: "application production life cycle data",
    0x9F7F: "card production life cycle data",
    0xA4: "authentication control reference template",
    0xA5: "proprietary data",
    0xB4: "checksum control reference template",
    0xB6: "digital signature control reference template",
    0xB8: "confidentiality control reference template",
    0xC0: "key information data",
    0xE0: "key information template",
    0xE3: "GlobalPlatform registry data",
}
_CONTROL: Final = {
    0x80: "size of the file's data",
    0x81: "size of the file with structure",
    0x82: "file descriptor",
    0x83: "file identifier",
    0x84: "DF name",
    0x85: "proprietary information",
    0x86: "security attribute, proprietary",
    0x87: "identifier of an EF with more control information",
    0x88: "short EF identifier",
    0x8A: "life-cycle status",
    0x8B: "security attribute, reference to expanded",
    0x8C: "security attribute, compact",
    0x8D: "identifier of an EF with security environments",
    0x8E: "channel security attribute",
    0xA0: "security attribute for data objects",
    0xA1: "security attribute, proprietary template",
    0xA5: "proprietary information",
    0xAB: "security attribute, expanded",
    0xAC: "cryptographic mechanism identifier",
    0x9F38: "processing options data object list (PDOL)",
    0xBF0C: "issuer discretionary data",
}
_REGISTRY: Final = {
    0x4F: "application identifier",
    0x84: "module identifier",
    0x9F70: "life-cycle state",
    0xC4: "load file of the application",
    0xC5: "privileges",
    0xC6: "memory quota",
    0xC7: "volatile memory quota",
    0xC8: "non-volatile memory quota",
    0xC9: "application specific parameters",
    0xCC: "associated security domain",
    0xCE: "load file version",
    0xCF: "implicit selection",
    0xEA: "toolkit parameters",
    0xEF: "system specific parameters",
}
_RECOGNITION: Final = {
    0x06: "object identifier",
    0x60: "card management type and version",
    0x63: "card identification scheme",
    0x64: "secure channel protocol and its options",
    0x65: "card configuration details",
    0x66: "card or chip details",
    0x67: "trust point of the issuer domain",
    0x68: "trust point of the certificate",
}
_REFERENCE: Final = {
    0x80: "cryptographic mechanism reference",
    0x81: "file reference",
    0x82: "DF name",
    0x83: "reference of a secret or public key",
    0x84: "reference of a private or session key",
    0x85: "initial vector zero",
    0x86: "initial vector chained",
    0x87: "initial vector",
    0x88: "previous challenge",
    0x89: "number of data units",
    0x8A: "index",
    0x91: "random number",
    0x94: "derivation data",
    0x95: "usage qualifier",
    0x7F4C: "certificate holder authorization template",
}
_MESSAGING: Final = {
    0x80: "plain value",
    0x81: "plain value",
    0x82: "cryptogram of data objects",
    0x83: "cryptogram of data objects",
    0x84: "cryptogram of secure messaging objects",
    0x85: "cryptogram",
    0x86: "padding indicator and cryptogram",
    0x87: "padding indicator and cryptogram",
    0x89: "command header",
    0x8E: "checksum",
    0x96: "Ne",
    0x97: "Ne",
    0x99: "status word",
    0xB0: "plain data objects",
    0xB1: "plain data objects",
}
_AUTHENTICATION: Final = {
    0x80: "encrypted nonce or witness",
    0x81: "mapping data of the terminal, or challenge",
    0x82: "mapping data of the card, or response",
    0x83: "ephemeral public key of the terminal",
    0x84: "ephemeral public key of the card",
    0x85: "authentication token of the terminal",
    0x86: "authentication token of the card",
    0x87: "certification authority reference",
    0x88: "previous certification authority reference",
}
_PUBLIC_KEY: Final = {
    0x06: "object identifier",
    0x81: "modulus or prime",
    0x82: "public exponent or first coefficient",
    0x83: "second coefficient",
    0x84: "base point",
    0x85: "order",
    0x86: "public point",
    0x87: "cofactor",
}
_EMV: Final = {
    0x57: "track 2 equivalent data",
    0x5A: "application PAN",
    0x61: "application template",
    0x71: "issuer script template 1",
    0x72: "issuer script template 2",
    0x80: "response message template format 1",
    0x82: "application interchange profile",
    0x83: "command template",
    0x84: "DF name",
    0x86: "issuer script command",
    0x87: "application priority indicator",
    0x88: "short file identifier",
    0x89: "authorisation code",
    0x8A: "authorisation response code",
    0x8C: "CDOL1",
    0x8D: "CDOL2",
    0x8E: "cardholder verification method list",
    0x8F: "certification authority public key index",
    0x90: "issuer public key certificate",
    0x91: "issuer authentication data",
    0x92: "issuer public key remainder",
    0x93: "signed static application data",
    0x94: "application file locator",
    0x95: "terminal verification results",
    0x97: "TDOL",
    0x98: "TC hash value",
    0x99: "transaction PIN data",
    0x9A: "transaction date",
    0x9B: "transaction status information",
    0x9C: "transaction type",
    0x9D: "directory definition file name",
    0x5F20: "cardholder name",
    0x5F24: "application expiration date",
    0x5F25: "application effective date",
    0x5F28: "issuer country code",
    0x5F2A: "transaction currency code",
    0x5F2D: "language preference",
    0x5F30: "service code",
    0x5F34: "PAN sequence number",
    0x5F36: "transaction currency exponent",
    0x9F01: "acquirer identifier",
    0x9F02: "amount, authorised",
    0x9F03: "amount, other",
    0x9F05: "application discretionary data",
    0x9F06: "application identifier of the terminal",
    0x9F07: "application usage control",
    0x9F08: "application version number of the card",
    0x9F09: "application version number of the terminal",
    0x9F0B: "cardholder name extended",
    0x9F0D: "issuer action code, default",
    0x9F0E: "issuer action code, denial",
    0x9F0F: "issuer action code, online",
    0x9F10: "issuer application data",
    0x9F11: "issuer code table index",
    0x9F12: "application preferred name",
    0x9F13: "last online ATC",
    0x9F14: "lower consecutive offline limit",
    0x9F17: "PIN try counter",
    0x9F1A: "terminal country code",
    0x9F1B: "terminal floor limit",
    0x9F1E: "interface device serial number",
    0x9F1F: "track 1 discretionary data",
    0x9F21: "transaction time",
    0x9F23: "upper consecutive offline limit",
    0x9F26: "application cryptogram",
    0x9F27: "cryptogram information data",
    0x9F32: "issuer public key exponent",
    0x9F33: "terminal capabilities",
    0x9F34: "CVM results",
    0x9F35: "terminal type",
    0x9F36: "application transaction counter",
    0x9F37: "unpredictable number",
    0x9F38: "PDOL",
    0x9F40: "additional terminal capabilities",
    0x9F42: "application currency code",
    0x9F44: "application currency exponent",
    0x9F45: "data authentication code",
    0x9F46: "ICC public key certificate",
    0x9F47: "ICC public key exponent",
    0x9F48: "ICC public key remainder",
    0x9F49: "DDOL",
    0x9F4A: "static data authentication tag list",
    0x9F4B: "signed dynamic application data",
    0x9F4C: "ICC dynamic number",
    0x9F4D: "log entry",
    0x9F4E: "merchant name and location",
    0x9F4F: "log format",
    0x9F5D: "available offline amount",
    0x9F63: "product identification",
    0x9F66: "terminal transaction qualifiers",
    0x9F69: "card authentication related data",
    0x9F6C: "card transaction qualifiers",
    0x9F6D: "electronic cash reset threshold",
    0x9F74: "electronic cash issuer authorisation code",
    0x9F77: "electronic cash balance limit",
    0x9F78: "electronic cash single transaction limit",
    0x9F79: "electronic cash balance",
    0x9F7A: "electronic cash terminal support indicator",
    0xA5: "FCI proprietary template",
    0xBF0C: "FCI issuer discretionary data",
}
_KEY_INFORMATION: Final = {0xC0: "key information: identifier, version, type, length"}

TAGS: Final[Mapping[TagContext, Mapping[int, str]]] = MappingProxyType(
    {
        TagContext.TOP: _TOP,
        TagContext.CONTROL: _CONTROL,
        TagContext.REGISTRY: _REGISTRY,
        TagContext.RECOGNITION: _RECOGNITION,
        TagContext.EMV: _EMV,
        TagContext.REFERENCE: _REFERENCE,
        TagContext.MESSAGING: _MESSAGING,
        TagContext.AUTHENTICATION: _AUTHENTICATION,
        TagContext.PUBLIC_KEY: _PUBLIC_KEY,
        TagContext.KEY_INFORMATION: _KEY_INFORMATION,
    }
)

_INSIDE: Final[Mapping[tuple[TagContext, int], TagContext]] = MappingProxyType(
    {
        (TagContext.TOP, 0x62): TagContext.CONTROL,
        (TagContext.TOP, 0x64): TagContext.CONTROL,
        (TagContext.TOP, 0x6F): TagContext.CONTROL,
        (TagContext.TOP, 0x66): TagContext.RECOGNITION,
        (TagContext.TOP, 0x70): TagContext.EMV,
        (TagContext.TOP, 0x77): TagContext.EMV,
        (TagContext.TOP, 0x7C): TagContext.AUTHENTICATION,
        (TagContext.TOP, 0x7F49): TagContext.PUBLIC_KEY,
        (TagContext.TOP, 0xA4): TagContext.REFERENCE,
        (TagContext.TOP, 0xB4): TagContext.REFERENCE,
        (TagContext.TOP, 0xB6): TagContext.REFERENCE,
        (TagContext.TOP, 0xB8): TagContext.REFERENCE,
        (TagContext.TOP, 0xE0): TagContext.KEY_INFORMATION,
        (TagContext.TOP, 0xE3): TagContext.REGISTRY,
        (TagContext.CONTROL, 0xA5): TagContext.EMV,
        (TagContext.RECOGNITION, 0x73): TagContext.RECOGNITION,
    }
)
"""Template in a context → context of what is inside; everything else keeps its context."""


def tag_name(context: TagContext, tag: int) -> str:
    """Name of a tag in its context, else its interindustry name; empty when it has none."""
    return TAGS[context].get(tag) or _TOP.get(tag, "")


def inside(context: TagContext, tag: int) -> TagContext:
    """The context of what stands inside a template."""
    return _INSIDE.get((context, tag), context)
