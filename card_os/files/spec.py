"""What a file is: its row in a layout, and the same as a file control parameter template.

Source: ISO/IEC 7816-4:2020, clause 7.4 (file control information, tables 10 to 13). The content of tag 86 is our own
(7.4.3.2 leaves it to the application): repeated access mode (1) ‖ encoded `AccessRule`. Rules in the forms of the
standard (`ATTRIBUTE_TAGS`, and 8D on a DF) are kept as they were given; `card_os.files.rules` compiles them.

Deviates: b7 of the file descriptor byte (table 12, shareable) is taken and not kept, for every file may be current on
several logical channels at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from card_os.files.life_cycle import CREATION_STATES, FileLifeCycle
from card_os.iso7816 import tlv
from card_os.iso7816.errors import CardError, NcInconsistentWithTlv, WrongData
from card_os.security.access import NEVER, AccessRule
from card_os.security.attributes import ATTRIBUTE_TAGS, LifeCycle, compile_attributes

MAX_FILE_SIZE: Final = 0xFFFF
MAX_RECORDS: Final = 254
MAX_RECORD_LENGTH: Final = 255
MAX_SFI: Final = 30
MAX_DF_NAME: Final = 16
OBJECT_LENGTH: Final = 2
"""Bytes in front of the data objects of a DF or an EF of TLV structure, which tell how long they are."""
APPLICATION_DF: Final = 0
"""Stands for the application's own DF as a parent."""
ROOT_FID: Final = 0x3F00
"""Identifier of the file that stands for the application's own DF, where there is one."""
_REMEMBERED_RULES: Final = 256


class Tag(IntEnum):
    """Tags of file control information (table 10)."""

    APPLICATION_IDENTIFIER = 0x4F
    FCP = 0x62
    FMD = 0x64
    FCI = 0x6F
    SIZE = 0x80
    TOTAL_SIZE = 0x81
    DESCRIPTOR = 0x82
    IDENTIFIER = 0x83
    DF_NAME = 0x84
    SECURITY = 0x86
    SHORT_IDENTIFIER = 0x88
    LIFE_CYCLE = 0x8A
    REFERENCED_RULES = 0x8B
    ENVIRONMENTS = 0x8D
    RULES_BY_STATE = 0xA1
    EXPANDED_RULES = 0xAB


class FileStructure(IntEnum):
    """File descriptor bytes that this file system knows (table 12)."""

    TRANSPARENT = 0x01
    LINEAR_FIXED = 0x02
    LINEAR_VARIABLE = 0x04
    CYCLIC = 0x06
    DF = 0x38
    TLV = 0x39


class AccessMode(IntFlag):
    """Bits of the access mode byte in front of a rule."""

    READ = 0x01
    UPDATE = 0x02
    APPEND = 0x04
    DELETE = 0x08
    ACTIVATE = 0x10
    DEACTIVATE = 0x20
    TERMINATE = 0x40


class WriteFunction(IntEnum):
    """What WRITE BINARY and WRITE RECORD do; b7-b6 of the data coding byte (table 119).

    The logical erased state is FF for `AND` and 00 for all others.
    """

    ONE_TIME = 0
    PROPRIETARY = 1
    OR = 2
    AND = 3


MODES: Final = tuple(AccessMode)
_NAMED_MODES: Final = {bits: tuple(mode for mode in MODES if bits & mode) for bits in range(1, 1 << len(MODES))}
"""The modes that an access mode byte names; a table, because every file is decoded when a card is first used."""
OBJECT_STRUCTURES: Final = frozenset({FileStructure.DF, FileStructure.TLV})
RECORD_STRUCTURES: Final = frozenset({FileStructure.LINEAR_FIXED, FileStructure.LINEAR_VARIABLE, FileStructure.CYCLIC})
_SIMPLE_TLV: Final = frozenset(structure | 1 for structure in RECORD_STRUCTURES)
_SHAREABLE: Final = 0x40
_SFI_SHIFT: Final = 3
CARD_DATA_CODING: Final = 0x21
"""The card's own data coding byte: write function proprietary, data unit one byte (table 119)."""
_DATA_UNIT_MASK: Final = 0x0F
_DATA_UNIT_BYTE: Final = 0x01
_WRITE_SHIFT: Final = 5
_WRITE_MASK: Final = 0x03
_DESCRIPTOR_WITH_RECORDS: Final = 5
_DESCRIPTOR_MAX: Final = 6
_FID_LENGTH: Final = 2
_KEPT_TAGS: Final = ATTRIBUTE_TAGS | {Tag.ENVIRONMENTS}


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file of a layout.

    Attributes:
        fid: file identifier, 0001..FFFE.
        structure: transparent, linear fixed, linear variable, cyclic, TLV, or a DF.
        size: bytes of data, 0..65,535; for record files record length times record count, for a DF and an EF of TLV
            structure the room for data objects.
        sfi: short identifier, 1..30, 0 for none.
        record_length: length, of linear variable files the greatest length, of a record in bytes, 1..255.
        record_count: number of records there is room for, 1..254.
        rules: access rule by mode; a mode that is not there is never.
        life_cycle: life-cycle status byte.
        data_coding: data coding byte; its data unit is one byte.
        df_name: name of a DF, 1 to 16 bytes, empty for none.
        attributes: security attributes of the standard's forms as data objects, in the order they were given; on a DF
            also 8D, the EF in it that holds templates of security environments.
        simple_tlv: each record is a SIMPLE-TLV data object, the tag of which is its identifier.
    """

    fid: int
    structure: FileStructure
    size: int = 0
    sfi: int = 0
    record_length: int = 0
    record_count: int = 0
    rules: Mapping[AccessMode, AccessRule] = field(default_factory=dict[AccessMode, AccessRule])
    life_cycle: int = FileLifeCycle.ACTIVATED
    data_coding: int = CARD_DATA_CODING
    df_name: bytes = b""
    attributes: bytes = b""
    simple_tlv: bool = False

    @property
    def descriptor(self) -> int:
        """The file descriptor byte: the structure, and for record files whether records are SIMPLE-TLV."""
        return self.structure | self.simple_tlv

    @property
    def write_function(self) -> WriteFunction:
        """What WRITE does with this file."""
        return WriteFunction(self.data_coding >> _WRITE_SHIFT & _WRITE_MASK)

    @property
    def erased(self) -> int:
        """A byte in the logical erased state."""
        return 0xFF if self.write_function is WriteFunction.AND else 0x00

    def rule(self, mode: AccessMode) -> AccessRule:
        """The rule for one mode; never when none is given."""
        return self.rules.get(mode, NEVER)

    def encode(self, *, with_size: bool = True, tag: int = Tag.FCP) -> bytes:
        """The FCP template.

        Args:
            with_size: False leaves tag 80, of a DF tag 81, out.
            tag: outer tag, FCP (62) or FCI (6F).
        """
        descriptor = bytes((self.descriptor,))
        if self.structure in RECORD_STRUCTURES:
            descriptor += bytes((self.data_coding,))
            descriptor += self.record_length.to_bytes(2, "big") + self.record_count.to_bytes(2, "big")
        elif self.data_coding != CARD_DATA_CODING:
            descriptor += bytes((self.data_coding,))
        objects = [tlv.encode(Tag.DESCRIPTOR, descriptor), tlv.encode(Tag.IDENTIFIER, self.fid.to_bytes(2, "big"))]
        if with_size and (self.size or self.structure is not FileStructure.DF):
            size = Tag.TOTAL_SIZE if self.structure is FileStructure.DF else Tag.SIZE
            objects.insert(0, tlv.encode(size, self.size.to_bytes(2, "big")))
        if self.df_name:
            objects.append(tlv.encode(Tag.DF_NAME, self.df_name))
        if self.structure is not FileStructure.DF:
            short = bytes((self.sfi << _SFI_SHIFT,)) if self.sfi else b""
            objects.append(tlv.encode(Tag.SHORT_IDENTIFIER, short))
        objects.append(tlv.encode(Tag.LIFE_CYCLE, bytes((self.life_cycle,))))
        if self.rules:
            objects.append(tlv.encode(Tag.SECURITY, encode_rules(self.rules)))
        objects.append(self.attributes)
        return tlv.encode(tag, *objects)

    @classmethod
    def parse(cls, template: bytes) -> FileSpec:
        """Read an FCP template (tag 62, or as FCI tag 6F), as CREATE FILE brings it.

        Raises:
            NcInconsistentWithTlv: 6A85, no well-formed template.
            WrongData: 6A80, a value is not possible or a needed object is missing.
        """
        try:
            outer = tlv.parse_one(template)
            items = outer.children()
        except tlv.TlvError as error:
            raise NcInconsistentWithTlv(str(error)) from error
        if outer.tag not in (Tag.FCP, Tag.FCI):
            raise WrongData("not a file control parameter template")
        try:
            return cls._from_objects({item.tag: item.value for item in items}, _attributes(items))
        except CardError:
            raise
        except (KeyError, IndexError, ValueError) as error:
            raise WrongData("a file control parameter is missing or not possible") from error

    @classmethod
    def _from_objects(cls, objects: dict[int, bytes], attributes: bytes) -> FileSpec:
        descriptor, identifier = objects[Tag.DESCRIPTOR], objects[Tag.IDENTIFIER]
        structure, simple_tlv = structure_of(descriptor[0] & ~_SHAREABLE)
        fid = int.from_bytes(identifier, "big")
        if len(identifier) != _FID_LENGTH or fid in _RESERVED_FIDS:
            raise WrongData("file identifier is reserved or not two bytes long")
        length, count, size = 0, 0, 0
        if structure in RECORD_STRUCTURES:
            length, count = _record_geometry(descriptor)
            size = length * count
        elif structure is FileStructure.DF:
            size = int.from_bytes(objects.get(Tag.TOTAL_SIZE, b""), "big")
        else:
            size = int.from_bytes(objects.get(Tag.SIZE) or objects[Tag.TOTAL_SIZE], "big")
        if Tag.SIZE in objects and int.from_bytes(objects[Tag.SIZE], "big") != size:
            raise WrongData("size does not fit the records")
        name = objects.get(Tag.DF_NAME, b"")
        if len(name) > MAX_DF_NAME or (name and structure is not FileStructure.DF):
            raise WrongData("a DF name has 1 to 16 bytes")
        if size > MAX_FILE_SIZE:
            raise WrongData("file is too large")
        data_coding = descriptor[1] if len(descriptor) > 1 else CARD_DATA_CODING
        if data_coding & _DATA_UNIT_MASK != _DATA_UNIT_BYTE:
            raise WrongData("data units of one byte only")
        if Tag.ENVIRONMENTS in objects and (
            structure is not FileStructure.DF or len(objects[Tag.ENVIRONMENTS]) != _FID_LENGTH
        ):
            raise WrongData("only a DF names one EF with templates of security environments")
        return cls(
            fid=fid,
            structure=structure,
            size=size,
            sfi=0 if structure is FileStructure.DF else _short_identifier(objects.get(Tag.SHORT_IDENTIFIER), fid),
            record_length=length,
            record_count=count,
            rules=decode_rules(objects.get(Tag.SECURITY, b"")),
            life_cycle=CREATION_STATES[objects.get(Tag.LIFE_CYCLE, bytes((FileLifeCycle.ACTIVATED,)))[0]],
            data_coding=data_coding,
            df_name=name,
            attributes=attributes,
            simple_tlv=simple_tlv,
        )


def structure_of(descriptor: int) -> tuple[FileStructure, bool]:
    """The structure that a file descriptor byte says, and whether records are SIMPLE-TLV (table 12).

    Raises:
        ValueError: none that this file system knows.
    """
    if descriptor in _SIMPLE_TLV:
        return FileStructure(descriptor & ~1), True
    return FileStructure(descriptor), False


def _attributes(items: list[tlv.Tlv]) -> bytes:
    """The security attributes among control parameters, as they were given.

    Raises:
        ValueError: one is malformed; its references need not lead anywhere yet.
    """
    kept = [item for item in items if item.tag in _KEPT_TAGS]
    if kept:
        for state in LifeCycle:  # the alternatives of a rule, which are bounded, differ from state to state
            compile_attributes(kept, state)
    return tlv.encode_all(kept)


def read_attributes(raw: bytes) -> tuple[Mapping[AccessMode, AccessRule], bytes]:
    """The rules of tag 86, and the attributes of the standard's forms, of a sequence of security attributes.

    Raises:
        ValueError: malformed, or another data object.
    """
    items = tlv.parse_all(raw)
    if not {item.tag for item in items} <= _KEPT_TAGS | {Tag.SECURITY}:
        raise ValueError("not a security attribute")
    own = b"".join(item.value for item in items if item.tag == Tag.SECURITY)
    return decode_rules(own), _attributes(items)


_RESERVED_FIDS: Final = frozenset({0x0000, 0x3F00, 0x3FFF, 0xFFFF})


def _record_geometry(descriptor: bytes) -> tuple[int, int]:
    """Record length and count from a descriptor of 5 or 6 bytes (table 11, tag 82)."""
    if not _DESCRIPTOR_WITH_RECORDS <= len(descriptor) <= _DESCRIPTOR_MAX:
        raise WrongData("a record file needs the record length and count in its descriptor")
    length = int.from_bytes(descriptor[2:4], "big")
    count = int.from_bytes(descriptor[4:], "big")
    if not 1 <= length <= MAX_RECORD_LENGTH or not 1 <= count <= MAX_RECORDS:
        raise WrongData("record length or record count is not possible")
    return length, count


def _short_identifier(value: bytes | None, fid: int) -> int:
    """SFI from tag 88 (b8-b4); the tag without a value means none, no tag means the low bits of the FID (7.4.3)."""
    if value is None:
        sfi = fid & 0x1F
        return sfi if 1 <= sfi <= MAX_SFI else 0
    if not value:
        return 0
    sfi = value[0] >> _SFI_SHIFT
    if len(value) != 1 or not 1 <= sfi <= MAX_SFI:
        raise WrongData("short file identifier is not possible")
    return sfi


def encode_rules(rules: Mapping[AccessMode, AccessRule]) -> bytes:
    """The value of tag 86: access mode (1) ‖ rule, in the order of the modes."""
    return b"".join(bytes((mode,)) + rules[mode].encode() for mode in MODES if mode in rules)


@lru_cache(maxsize=_REMEMBERED_RULES)
def decode_rules(raw: bytes) -> Mapping[AccessMode, AccessRule]:
    """Read the value of tag 86; an access mode byte may name several modes at once.

    A card has few different rules and many files, so that the answers are kept.

    Raises:
        ValueError: cut short, or a mode that does not exist.
    """
    rules: dict[AccessMode, AccessRule] = {}
    offset = 0
    while offset < len(raw):
        modes = raw[offset]
        rule, offset = AccessRule.decode(raw, offset + 1)
        named = _NAMED_MODES.get(modes)
        if named is None:
            raise ValueError("unknown access mode")
        rules.update(dict.fromkeys(named, rule))
    return MappingProxyType(rules)
