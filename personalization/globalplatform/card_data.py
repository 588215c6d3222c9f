"""What a card tells of itself by GET DATA: recognition data, capability, key information, CPLC and the rest.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.3.3.1 (GET DATA), H.2 (card recognition data), H.4 (card
capability information); the layout of CPLC is the industry's (Visa GP Card Production Guide).
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from card_os.iso7816 import tlv
from personalization.errors import PersonalizationError
from personalization.globalplatform.handshake import SecureChannelOption
from personalization.globalplatform.key_loading import KeyType
from personalization.globalplatform.scp03 import PROTOCOL as SCP03

ISSUER_IDENTIFICATION: Final = 0x42
CARD_IMAGE: Final = 0x45
RECOGNITION_DATA: Final = 0x66
CAPABILITY: Final = 0x67
SEQUENCE_COUNTER: Final = 0xC1
CONFIRMATION_COUNTER: Final = 0xC2
KEY_INFORMATION: Final = 0xE0
APPLICATION_LIST: Final = 0x2F00
PRODUCTION_LIFE_CYCLE: Final = 0x9F7F
CARD_RESOURCES: Final = 0xFF21


class _Tag(IntEnum):
    """Tags inside these data objects."""

    OBJECT_IDENTIFIER = 0x06
    RECOGNITION = 0x73
    MANAGEMENT = 0x60
    SECURE_CHANNEL = 0x64
    KEY = 0xC0
    PROTOCOL_INFORMATION = 0xA0
    DOMAIN_PRIVILEGES = 0x81
    APPLICATION_PRIVILEGES = 0x82
    HASHES = 0x83
    LOAD_CIPHERS = 0x84
    APPLICATION_TEMPLATE = 0x61
    AID = 0x4F
    APPLICATIONS = 0x81
    MEMORY = 0x82
    VOLATILE_MEMORY = 0x83


_GLOBALPLATFORM: Final = bytes.fromhex("2A864886FC6B")
_MANAGEMENT_OID: Final = _GLOBALPLATFORM + b"\x02"
_SECURE_CHANNEL_OID: Final = _GLOBALPLATFORM + b"\x04"
_HASH_NAMES: Final = {1: "SHA-1", 2: "SHA-256", 3: "SHA-384", 4: "SHA-512"}
_AES_LENGTHS: Final = ((0x01, 128), (0x02, 192), (0x04, 256))
_EXTENDED: Final = 0xFF
_CPLC: Final = struct.Struct(">HHHHHHIHHHHHHHIHHI")
_UNSET_DATE: Final = 0x0000
_MAX_DAY: Final = 366
_DECADE: Final = 10


class RecognitionData(NamedTuple):
    """Card recognition data.

    Attributes:
        version: version of the card specification, such as (2, 3, 1).
        secure_channels: protocols of the issuer domain.
    """

    version: tuple[int, ...]
    secure_channels: tuple[SecureChannelOption, ...]

    def implementation(self, protocol: int) -> int | None:
        """`i` of a protocol, None when the card does not tell that it has it."""
        return next((item.implementation for item in self.secure_channels if item.protocol == protocol), None)

    @property
    def preferred(self) -> SecureChannelOption | None:
        """SCP03 where the card has it, else the first that it tells."""
        found = next((item for item in self.secure_channels if item.protocol == SCP03), None)
        return found or next(iter(self.secure_channels), None)


class Capability(NamedTuple):
    """Card capability information.

    Attributes:
        secure_channels: all protocols with all their options.
        aes_lengths: key lengths of SCP03 in bits.
        domain_privileges: three bytes that a supplementary domain may get, empty when there are none.
        application_privileges: three bytes that an application may get.
        hashes: names of hash algorithms for load files.
    """

    secure_channels: tuple[SecureChannelOption, ...]
    aes_lengths: tuple[int, ...]
    domain_privileges: bytes
    application_privileges: bytes
    hashes: tuple[str, ...]


class KeyEntry(NamedTuple):
    """A key, as key information tells it.

    Attributes:
        identifier: key identifier.
        version: key version number.
        components: (type, length in bytes) of each; of an F0 component the length is the curve reference.
        usage: key usage qualifier, empty when not told.
        access: key access, empty when not told.
    """

    identifier: int
    version: int
    components: tuple[tuple[int, int], ...]
    usage: bytes = b""
    access: bytes = b""

    @property
    def type_name(self) -> str:
        """Name of the first component's type, such as ``AES``; two hexadecimal digits where it has none."""
        kind = self.components[0][0] if self.components else 0
        known = next((item for item in KeyType if item == kind), None)
        return f"{kind:02X}" if known is None else known.name.replace("_", "-")


class ProductionLifeCycle(NamedTuple):
    """CPLC, 42 bytes; dates are YDDD in BCD as the card tells them, see `date`."""

    ic_fabricator: int
    ic_type: int
    operating_system: int
    operating_system_date: int
    operating_system_level: int
    ic_fabrication_date: int
    ic_serial_number: int
    ic_batch: int
    module_fabricator: int
    module_packaging_date: int
    icc_manufacturer: int
    ic_embedding_date: int
    pre_personalizer: int
    pre_personalization_date: int
    pre_personalization_equipment: int
    personalizer: int
    personalization_date: int
    personalization_equipment: int


class CardResources(NamedTuple):
    """Extended card resources: number of applications, free non-volatile and volatile memory in bytes."""

    applications: int
    memory: int
    volatile_memory: int


def parse_recognition_data(data: bytes) -> RecognitionData:
    """Read tag 66, or template 73 alone, in format 1 or 2 (tables H-1, H-2).

    Raises:
        PersonalizationError: "card-data-malformed".
    """
    try:
        objects = _inside(data, RECOGNITION_DATA)
        template = next(item for item in objects if item.tag == _Tag.RECOGNITION).children()
        version: tuple[int, ...] = ()
        channels: list[SecureChannelOption] = []
        for item in template:
            if item.tag == _Tag.MANAGEMENT:
                version = next((tuple(oid[7:]) for oid in _oids(item) if oid.startswith(_MANAGEMENT_OID)), version)
            elif item.tag == _Tag.SECURE_CHANNEL:
                channels += [_option(oid) for oid in _oids(item) if oid.startswith(_SECURE_CHANNEL_OID)]
    except (tlv.TlvError, StopIteration, IndexError) as error:
        raise _malformed("66", error) from error
    return RecognitionData(version, tuple(channels))


def parse_capability(data: bytes) -> Capability:
    """Read tag 67 (table H-5).

    Raises:
        PersonalizationError: "card-data-malformed".
    """
    try:
        channels: list[SecureChannelOption] = []
        lengths: list[int] = []
        values: dict[int, bytes] = {}
        for item in _inside(data, CAPABILITY):
            values[item.tag] = item.value
            if item.tag == _Tag.PROTOCOL_INFORMATION:
                told = {child.tag: child.value for child in item.children()}
                channels += [SecureChannelOption(told[0x80][0], option) for option in told[0x81]]
                lengths += [bits for bit, bits in _AES_LENGTHS if told.get(0x82, b"\x00")[0] & bit]
    except (tlv.TlvError, KeyError, IndexError) as error:
        raise _malformed("67", error) from error
    return Capability(
        tuple(channels),
        tuple(lengths),
        values.get(_Tag.DOMAIN_PRIVILEGES, b""),
        values.get(_Tag.APPLICATION_PRIVILEGES, b""),
        tuple(_HASH_NAMES.get(code, f"{code:02X}") for code in values.get(_Tag.HASHES, b"")),
    )


def parse_key_information(data: bytes) -> list[KeyEntry]:
    """Read template E0, with entries in basic or extended form (tables 11-28, 11-29).

    Raises:
        PersonalizationError: "card-data-malformed".
    """
    try:
        entries = [_key(item.value) for item in _inside(data, KEY_INFORMATION) if item.tag == _Tag.KEY and item.value]
    except (tlv.TlvError, IndexError) as error:
        raise _malformed("E0", error) from error
    return entries


def _key(raw: bytes) -> KeyEntry:
    identifier, version, rest = raw[0], raw[1], raw[2:]
    if rest[:1] != bytes((_EXTENDED,)):
        if len(rest) % 2:
            raise tlv.TlvError("an entry of key information is cut short")
        return KeyEntry(identifier, version, tuple(zip(rest[::2], rest[1::2], strict=True)))
    components: list[tuple[int, int]] = []
    offset = 0
    while offset < len(rest) and rest[offset] == _EXTENDED:
        components.append((rest[offset + 1], rest[offset + 2] << 8 | rest[offset + 3]))
        offset += 4
    usage = _lv(rest, offset)
    access = _lv(rest, offset + 1 + len(usage))
    return KeyEntry(identifier, version, tuple(components), usage, access)


def _lv(raw: bytes, offset: int) -> bytes:
    length = raw[offset] if offset < len(raw) else 0
    value = raw[offset + 1 : offset + 1 + length]
    if len(value) != length:
        raise tlv.TlvError("an entry of key information is cut short")
    return value


def key_versions(entries: Sequence[KeyEntry]) -> list[int]:
    """Key version numbers in ascending order, each once."""
    return sorted({entry.version for entry in entries})


def parse_production_life_cycle(data: bytes) -> ProductionLifeCycle:
    """Read CPLC, with its tag 9F7F or without.

    Raises:
        PersonalizationError: "card-data-malformed".
    """
    raw = data
    if len(data) != _CPLC.size:
        try:
            raw = tlv.parse_one(data).value
        except tlv.TlvError as error:
            raise _malformed("9F7F", error) from error
    if len(raw) != _CPLC.size:
        raise PersonalizationError(
            "card-data-malformed", tag="9F7F", reason=f"{len(raw)} bytes instead of {_CPLC.size}"
        )
    return ProductionLifeCycle(*_CPLC.unpack(raw))


def date(told: int, today: dt.date) -> dt.date | None:
    """A date of CPLC: last digit of the year and day of the year, in BCD; the latest such day that is not after today.

    Returns:
        None when it is not set (0000) or no date at all.
    """
    digits = f"{told:04X}"
    if told == _UNSET_DATE or not digits.isdecimal():
        return None
    last_digit, day = int(digits[0]), int(digits[1:])
    if not 1 <= day <= _MAX_DAY:
        return None
    for year in range(today.year, today.year - 4 * _DECADE, -1):
        if year % _DECADE == last_digit:
            found = dt.date(year, 1, 1) + dt.timedelta(days=day - 1)
            if found.year == year and found <= today:
                return found
    return None


def parse_application_list(data: bytes) -> list[bytes]:
    """AIDs of tag 2F00 (table 11-30).

    Raises:
        PersonalizationError: "card-data-malformed".
    """
    try:
        templates = [item for item in tlv.iterate(data) if item.tag == _Tag.APPLICATION_TEMPLATE]
        return [child.value for item in templates for child in item.children() if child.tag == _Tag.AID]
    except tlv.TlvError as error:
        raise _malformed("2F00", error) from error


def parse_resources(data: bytes) -> CardResources:
    """Read tag FF21 (ETSI TS 102 226, clause 8.2.1.7.2).

    Raises:
        PersonalizationError: "card-data-malformed".
    """
    try:
        values = {item.tag: int.from_bytes(item.value, "big") for item in _inside(data, CARD_RESOURCES)}
        return CardResources(values[_Tag.APPLICATIONS], values[_Tag.MEMORY], values[_Tag.VOLATILE_MEMORY])
    except (tlv.TlvError, KeyError) as error:
        raise _malformed("FF21", error) from error


def parse_number(data: bytes, tag: int) -> bytes:
    """The value of a primitive data object such as 42, 45, C1 or C2; a card may leave its tag out.

    Returns:
        The value, or ``data`` itself when it is not wrapped in that tag.
    """
    try:
        item = tlv.parse_one(data)
    except tlv.TlvError:
        return data
    return item.value if item.tag == tag else data


def _inside(data: bytes, tag: int) -> list[tlv.Tlv]:
    """The data objects in ``data``; those of its template when it is wrapped in ``tag``."""
    objects = tlv.parse_all(data)
    if len(objects) == 1 and objects[0].tag == tag:
        return objects[0].children() if objects[0].constructed else tlv.parse_all(objects[0].value)
    return objects


def _oids(item: tlv.Tlv) -> list[bytes]:
    return [child.value for child in item.children() if child.tag == _Tag.OBJECT_IDENTIFIER]


def _option(oid: bytes) -> SecureChannelOption:
    """{globalPlatform 4 scp i}; an `i` of 80 and above takes two bytes of the identifier."""
    protocol, implementation = oid[7], 0
    for byte in oid[8:]:
        implementation = implementation << 7 | byte & 0x7F
    return SecureChannelOption(protocol, implementation)


def _malformed(tag: str, error: Exception) -> PersonalizationError:
    return PersonalizationError("card-data-malformed", tag=tag, reason=str(error) or "a field is missing")
