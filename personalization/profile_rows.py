"""The rows of a card profile: files, keys, PINs, data objects, DGIs, commands and states.

Source: ISO/IEC 7816-4:2020, clause 7.4 (file control parameters); the layout itself is our own.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from card_os.iso7816.aid import Aid

_SHORT_IDENTIFIERS: Final = range(1, 31)


def _parse_hex(value: object) -> object:
    return int(value, 16) if isinstance(value, str) else value


def _parse_bytes(value: object) -> object:
    return bytes.fromhex(value) if isinstance(value, str) else value


def _parse_aid(value: object) -> object:
    return Aid(bytes.fromhex(value)) if isinstance(value, str) else value


HexInt = Annotated[int, BeforeValidator(_parse_hex)]
HexBytes = Annotated[bytes, BeforeValidator(_parse_bytes)]
HexAid = Annotated[bytes, BeforeValidator(_parse_aid)]
Rule = str | tuple[str, ...]
"""A list of alternatives, or the name of one under ``[rules]``."""


class AccessMode(IntEnum):
    """Access mode bytes that stand before a rule in tag 86 of an FCP."""

    READ = 0x01
    UPDATE = 0x02
    APPEND = 0x04
    DELETE = 0x08
    ACTIVATE = 0x10
    DEACTIVATE = 0x20


class FileStructure(StrEnum):
    """Structure of an elementary file (file descriptor byte, table 12)."""

    TRANSPARENT = "transparent"
    LINEAR_FIXED = "linear fixed"

    @property
    def descriptor(self) -> int:
        """File descriptor byte."""
        return _DESCRIPTORS[self]


_DESCRIPTORS: Final = {FileStructure.TRANSPARENT: 0x01, FileStructure.LINEAR_FIXED: 0x02}


class Row(BaseModel):
    """A frozen row; an unknown column is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Title(Row):
    """A name for people in English and Chinese."""

    en: str
    zh: str


Codes = str | dict[str, Title]


class Application(Row):
    """Names of load file, module and instance for INSTALL."""

    package: HexAid
    module: HexAid
    instance: HexAid
    package_version: HexBytes = b"\x01\x00"
    privileges: HexBytes = b"\x00"


class ContactLine(Row):
    """What the ATR announces of the line; a default is not sent.

    Attributes:
        rates: TA1, F and D.
        ifsc: greatest information field of T=1 that the card takes.
        bwi: block waiting time integer of T=1.
        cwi: character waiting time integer of T=1.
        classes: classes of operating conditions, which are always told: 5 V is A, 3 V is B, 1.8 V is C.
    """

    rates: HexInt = Field(default=0x11, ge=0x11, le=0xFF)
    ifsc: int = Field(default=32, ge=1, le=254)
    bwi: int = Field(default=4, ge=0, le=9)
    cwi: int = Field(default=13, ge=0, le=15)
    classes: tuple[Literal["A", "B", "C"], ...] = ("A", "B", "C")


class FieldLine(Row):
    """What the ATS announces.

    Attributes:
        frame_size: FSC, greatest frame that the card takes, in bytes.
        rates: TA1, bit rates.
        fwi: frame waiting time integer.
        sfgi: start-up frame guard time integer.
        cid: the card takes a CID.
        nad: the card takes a NAD.
    """

    frame_size: Literal[16, 24, 32, 40, 48, 64, 96, 128, 256] = 32
    rates: HexInt = Field(default=0x00, ge=0x00, le=0xFF)
    fwi: int = Field(default=4, ge=0, le=14)
    sfgi: int = Field(default=0, ge=0, le=14)
    cid: bool = True
    nad: bool = False


class Interfaces(Row):
    """How the chip behaves at its two interfaces."""

    arbitration: Literal["concurrent", "first"]
    historical_bytes: HexBytes = Field(max_length=15)
    protocols: tuple[str, ...]
    contact: ContactLine = Field(default_factory=ContactLine)
    contactless: FieldLine = Field(default_factory=FieldLine)


class Usage(Row):
    """Limits of a module's life, 1..2^32-1 uses; they travel in the install parameters."""

    authentications: int = Field(ge=1, lt=1 << 32)
    wrong_cards: int = Field(ge=1, lt=1 << 32)


class PinRow(Row):
    """A PIN.

    Attributes:
        reference: P2 of VERIFY.
        number: 1..8, the PIN's bit in access rules.
        name: its name in rules.
        try_limit: attempts, 1..15.
        digits: least and most digits, 4..12.
        change_first: whether it comes in a letter and proves nothing before the holder has changed it.
        title: for people.
    """

    reference: HexInt = Field(ge=0x01, le=0xFF)
    number: int = Field(ge=1, le=8)
    name: str
    try_limit: int = Field(ge=1, le=15)
    digits: tuple[Annotated[int, Field(ge=4, le=12)], Annotated[int, Field(ge=4, le=12)]]
    change_first: bool = False
    title: Title


class KeyUsage(StrEnum):
    """What a key row is for."""

    ROLE = "role"
    CONCEALMENT = "concealment"
    CHIP = "chip"
    MASTER = "master"


class KeyRow(Row):
    """A key of the application.

    Attributes:
        reference: key reference of the authentication commands, and identifier of the stored object.
        name: its name in rules when it has a role.
        usage: role (derived, authenticates a terminal), concealment, chip (made in preparation), master (as it is).
        role: 1..16, the key's bit in access rules; 0 = grants nothing.
        try_limit: attempts, 1..15; 0 = the key authenticates nobody.
        length: bytes.
        master: name of the master key in the key store, None when the key is made for one card.
        label: derivation label, None when the master itself is stored.
        context: what the derivation context is.
        generation: the context byte when ``context`` is "generation".
        title: for people.
    """

    reference: HexInt = Field(ge=0x01, le=0xFF)
    name: str
    usage: KeyUsage
    role: int = Field(default=0, ge=0, le=16)
    try_limit: int = Field(default=0, ge=0, le=15)
    length: int = Field(ge=16, le=64)
    master: str | None = None
    label: str | None = None
    context: Literal["card number", "generation"] | None = None
    generation: int = Field(default=1, ge=1, le=255)
    title: Title

    def derivation_context(self, card_number: bytes) -> bytes:
        """The context for `KeyStore.derive`: the card number (10 bytes) or the generation (1 byte)."""
        return bytes((self.generation,)) if self.context == "generation" else card_number


class FileRow(Row):
    """An elementary file.

    Attributes:
        fid: file identifier, 2 bytes.
        sfi: short identifier, 1..30.
        name: such as "EF.IDENTITY".
        section: identity, service or bank.
        structure: transparent or linear fixed.
        content: what is inside: "tlv" (see ``template``), or the name of a layout.
        template: tag that wraps the data objects when ``content`` is "tlv".
        size: bytes, fixed for all cards; None = as long as its content.
        maximum: most bytes when the content decides.
        records: number of records; record files only.
        record_size: bytes of one record.
        access: rule by mode; a mode that is not listed is never.
        title: for people.
    """

    fid: HexInt = Field(ge=1, le=0xFFFF)
    sfi: HexInt
    name: str
    section: Literal["identity", "service", "bank"]
    structure: FileStructure
    content: str
    template: HexInt | None = None
    size: int | None = Field(default=None, ge=1, le=0x7FFF)
    maximum: int | None = Field(default=None, ge=1, le=0x7FFF)
    records: int | None = Field(default=None, ge=1, le=254)
    record_size: int | None = Field(default=None, ge=1, le=255)
    access: dict[Literal["read", "update", "append", "delete", "activate", "deactivate"], Rule]
    title: Title

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.sfi not in _SHORT_IDENTIFIERS:
            raise ValueError(f"{self.name}: the short identifier is 01 to 1E")
        if (self.size is None) == (self.maximum is None):
            raise ValueError(f"{self.name}: either size or maximum")
        if self.structure is FileStructure.LINEAR_FIXED:
            if self.records is None or self.record_size is None or self.size != self.records * self.record_size:
                raise ValueError(f"{self.name}: size is records times record_size")
        elif self.records is not None or self.record_size is not None:
            raise ValueError(f"{self.name}: a transparent file has no records")
        return self


class ObjectRow(Row):
    """A data object inside a template.

    Attributes:
        tag: its tag.
        template: tag of the template around it.
        name: field name; where a field of `Applicant` has the same meaning it has the same name.
        kind: "text" UTF-8, "digits" ASCII, "date" YYYYMMDD in ASCII, "code" one byte.
        maximum: characters ("text", "digits") or bytes ("code"); a date has always 8.
        title: for people.
        values: what coded values mean, or the name of a table under ``[codes]``.
    """

    tag: HexInt
    template: HexInt
    name: str
    kind: Literal["text", "digits", "date", "code"]
    maximum: int = Field(default=8, ge=1)
    title: Title
    values: Codes = Field(default_factory=dict[str, Title])


class FieldRow(Row):
    """A field at a fixed place of a file or record.

    Attributes:
        layout: the file content that it belongs to.
        offset: bytes from the beginning of the file or record.
        length: bytes.
        name: field name.
        kind: as `ObjectRow.kind`, "utf16" (UTF-16LE, padded with spaces) or "reserved" (00).
        title: for people.
        values: what coded values mean, or the name of a table under ``[codes]``.
    """

    layout: str
    offset: int = Field(ge=0)
    length: int = Field(ge=1)
    name: str
    kind: Literal["text", "digits", "date", "code", "utf16", "reserved"]
    title: Title
    values: Codes = Field(default_factory=dict[str, Title])


class SignatureRow(Row):
    """What the document signer signs: hashes of these files, in order of FID."""

    file: str
    hashed: tuple[str, ...]
    hash: str
    algorithm: str


class DgiRow(Row):
    """A data grouping of STORE DATA, in the order of personalization.

    Attributes:
        identifier: 4 hex digits, or "FID" for one a file.
        kind: what it carries.
        encrypted: travels encrypted under the DEK.
        title: for people.
    """

    identifier: str
    kind: Literal["files", "content", "clock", "load_key", "masters", "keys", "pins", "chip", "identification"]
    encrypted: bool = False
    title: Title

    @property
    def number(self) -> int:
        """The identifier as a number.

        Raises:
            ValueError: the row stands for one DGI a file.
        """
        return int(self.identifier, 16)


class CommandRow(Row):
    """A command of the application: where it is allowed and what its own rule is ("file: read" = the file's rule)."""

    name: str
    cla: HexInt
    ins: HexInt
    states: tuple[str, ...]
    access: Rule
    title: Title


class StateRow(Row):
    """A life-cycle state of the application and where it can go."""

    state: HexInt
    name: str
    title: Title
    next: tuple[str, ...]
