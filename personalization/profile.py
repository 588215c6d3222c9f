"""The card profile: what a card holds and who may do what, as rows of one TOML file.

Preparation takes sizes, tags and keys from it, production the application and its files, inspection the access rules,
and the published specification all of it. A running card never opens it: CREATE FILE and INSTALL are its truth.

Source: ISO/IEC 7816-4:2020, clause 7.4 (file control parameters); the layout itself is our own.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from card_os.iso7816.tlv import encode
from personalization.errors import PersonalizationError
from personalization.profile_rows import (
    AccessMode,
    Application,
    CommandRow,
    DgiRow,
    FieldRow,
    FileRow,
    FileStructure,
    Interfaces,
    KeyRow,
    ObjectRow,
    PinRow,
    Row,
    Rule,
    SignatureRow,
    StateRow,
    Title,
    Usage,
)

_Found = TypeVar("_Found", bound=Row)

FILE_ACCESS: Final = "file: "
"""Beginning of a command's rule that stands for the rule of the file it touches."""

_ALWAYS: Final = "always"
_MASK_BYTES: Final = 4
_FIRST_PIN_BIT: Final = 8
_FIRST_ROLE_BIT: Final = 16
_FIXED_BITS: Final = {"contact": 1 << 0, "contactless": 1 << 1, "secure_messaging": 1 << 2, "secure_channel": 1 << 3}
_DATA_CODING: Final = 0x21
_ACTIVATED: Final = b"\x05"

_TAG_FCP: Final = 0x62
_TAG_SIZE: Final = 0x80
_TAG_DESCRIPTOR: Final = 0x82
_TAG_FID: Final = 0x83
_TAG_SECURITY: Final = 0x86
_TAG_SFI: Final = 0x88
_TAG_LIFE_CYCLE: Final = 0x8A
_TAG_AUTHENTICATIONS: Final = 0x80
_TAG_WRONG_CARDS: Final = 0x81


class CardProfile(Row):
    """One application's profile, checked as a whole; see the module."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,24}$")
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+$")
    title: Title
    application: Application
    interfaces: Interfaces
    usage: Usage | None = None
    pins: tuple[PinRow, ...] = ()
    keys: tuple[KeyRow, ...] = ()
    rules: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    files: tuple[FileRow, ...] = ()
    objects: tuple[ObjectRow, ...] = ()
    fields: tuple[FieldRow, ...] = ()
    codes: dict[str, dict[str, Title]] = Field(default_factory=dict)
    signature: SignatureRow | None = None
    dgis: tuple[DgiRow, ...]
    commands: tuple[CommandRow, ...] = ()
    life_cycle: tuple[StateRow, ...] = ()

    @classmethod
    def load(cls, source: Path | Traversable) -> Self:
        """Read and check a profile.

        Raises:
            PersonalizationError: "profile-unreadable" (no TOML file) or "profile-invalid" (row and reason).
        """
        try:
            content = tomllib.loads(source.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise PersonalizationError(
                "profile-unreadable", exit_code=2, file=source.name, reason=str(error)
            ) from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            raise PersonalizationError(
                "profile-invalid",
                exit_code=2,
                file=source.name,
                place=".".join(str(part) for part in first["loc"]) or "profile",
                reason=first["msg"].removeprefix("Value error, "),
            ) from error

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_duplicates("file identifier", (f"{row.fid:04X}" for row in self.files))
        _refuse_duplicates("short file identifier", (f"{row.sfi:02X}" for row in self.files))
        _refuse_duplicates("file name", (row.name for row in self.files))
        _refuse_duplicates("key reference", (f"{row.reference:02X}" for row in self.keys))
        _refuse_duplicates("PIN reference", (f"{row.reference:02X}" for row in self.pins))
        _refuse_duplicates("PIN number", (str(row.number) for row in self.pins))
        _refuse_duplicates("role", (str(row.role) for row in self.keys if row.role))
        _refuse_duplicates("proof name", self._proof_names())
        _refuse_duplicates("data object", (f"{row.template:04X}/{row.tag:02X}" for row in self.objects))
        _refuse_duplicates("DGI", (row.identifier for row in self.dgis))
        for rule in self._all_rules():
            self.alternatives(rule)
        self._check_references()
        self._check_states()
        return self

    def _check_references(self) -> None:
        templates = {row.template for row in self.files if row.template is not None}
        for item in self.objects:
            if item.template not in templates:
                raise ValueError(f"{item.name}: no file holds template {item.template:04X}")
        rows: tuple[ObjectRow | FieldRow, ...] = (*self.objects, *self.fields)
        for coded in rows:
            if isinstance(coded.values, str) and coded.values not in self.codes:
                raise ValueError(f"{coded.name}: no code table is called {coded.values}")
        names = {row.name for row in self.files}
        for name in (self.signature.file, *self.signature.hashed) if self.signature else ():
            if name not in names:
                raise ValueError(f"signature: no file is called {name}")

    def _check_states(self) -> None:
        states = {row.name for row in self.life_cycle}
        wanted = {name for row in self.commands for name in row.states} | {
            n for row in self.life_cycle for n in row.next
        }
        if unknown := sorted(wanted - states):
            raise ValueError(f"unknown life-cycle state {unknown[0]}")

    def _proof_names(self) -> list[str]:
        return [*_FIXED_BITS, *(row.name for row in self.pins), *(row.name for row in self.keys if row.role)]

    def _all_rules(self) -> Iterable[Rule]:
        yield from self.rules.values()
        for file in self.files:
            yield from file.access.values()
        for command in self.commands:
            if not (isinstance(command.access, str) and command.access.startswith(FILE_ACCESS)):
                yield command.access

    # ------------------------------------------------------------ access rules

    def mask(self, name: str) -> int:
        """The bit of one name in a rule: interface, secure messaging, secure channel, a PIN or a role.

        Raises:
            ValueError: no such name.
        """
        if name in _FIXED_BITS:
            return _FIXED_BITS[name]
        for pin in self.pins:
            if pin.name == name:
                return 1 << (_FIRST_PIN_BIT + pin.number - 1)
        for key in self.keys:
            if key.name == name and key.role:
                return 1 << (_FIRST_ROLE_BIT + key.role - 1)
        raise ValueError(f"unknown name in an access rule: {name}")

    def expand(self, rule: Rule) -> tuple[str, ...]:
        """The alternatives of a rule as written: follows a name under ``[rules]``.

        Raises:
            ValueError: no rule of that name.
        """
        if not isinstance(rule, str):
            return rule
        if rule not in self.rules:
            raise ValueError(f"unknown rule: {rule}")
        return self.rules[rule]

    def alternatives(self, rule: Rule) -> tuple[int, ...]:
        """The masks of a rule, in the order written; () is never, a mask of 0 is always.

        Raises:
            ValueError: an unknown name.
        """
        masks: list[int] = []
        for alternative in self.expand(rule):
            mask = 0
            if alternative.strip() != _ALWAYS:
                for name in alternative.split("+"):
                    mask |= self.mask(name.strip())
            masks.append(mask)
        return tuple(masks)

    def encode_rule(self, rule: Rule) -> bytes:
        """Count (1) ‖ masks of 4 bytes, big-endian."""
        masks = self.alternatives(rule)
        return bytes((len(masks),)) + b"".join(mask.to_bytes(_MASK_BYTES, "big") for mask in masks)

    # ------------------------------------------------------------ what goes to the card

    def fcp(self, row: FileRow, size: int) -> bytes:
        """The FCP template of one file.

        Args:
            row: the file.
            size: bytes of its body, 1 to the row's size or maximum.

        Returns:
            62 { 80 size (2) · 82 descriptor · 83 FID · 88 SFI in bits 8-4 · 8A 05 · 86 rules }.

        Raises:
            PersonalizationError: "profile-file-size": the size does not fit the row.
        """
        limit = row.size if row.size is not None else row.maximum
        if limit is None or not 0 < size <= limit or (row.size is not None and size != row.size):
            raise PersonalizationError("profile-file-size", file=row.name, size=size, limit=limit)
        descriptor = bytes((row.structure.descriptor,))
        if row.structure is FileStructure.LINEAR_FIXED and row.record_size and row.records:
            descriptor += bytes((_DATA_CODING,)) + row.record_size.to_bytes(2, "big") + row.records.to_bytes(2, "big")
        rules = b"".join(
            bytes((AccessMode[mode.upper()],)) + self.encode_rule(rule) for mode, rule in row.access.items()
        )
        return encode(
            _TAG_FCP,
            encode(_TAG_SIZE, size.to_bytes(2, "big")),
            encode(_TAG_DESCRIPTOR, descriptor),
            encode(_TAG_FID, row.fid.to_bytes(2, "big")),
            encode(_TAG_SFI, bytes((row.sfi << 3,))),
            encode(_TAG_LIFE_CYCLE, _ACTIVATED),
            encode(_TAG_SECURITY, rules),
        )

    def file_creation_dgi(self, sizes: Mapping[int, int]) -> bytes:
        """Content of DGI 0062: the FCP templates of all files, in the order of the profile.

        Args:
            sizes: body size by FID for the files whose content decides; others may be left out.

        Raises:
            PersonalizationError: "profile-size-missing" or "profile-file-size".
        """
        templates: list[bytes] = []
        for row in self.files:
            size = sizes.get(row.fid, row.size)
            if size is None:
                raise PersonalizationError("profile-size-missing", file=row.name)
            templates.append(self.fcp(row, size))
        return b"".join(templates)

    @property
    def identification(self) -> bytes:
        """Content of DGI 9F01 and answer of GET DATA DF21: name, a space and version, ASCII."""
        return f"{self.name} {self.version}".encode("ascii")

    @property
    def install_parameters(self) -> bytes:
        """Value of tag C9 of INSTALL [for install]: empty, or 80 authentications (4) · 81 wrong cards (4)."""
        if self.usage is None:
            return b""
        return encode(_TAG_AUTHENTICATIONS, self.usage.authentications.to_bytes(4, "big")) + encode(
            _TAG_WRONG_CARDS, self.usage.wrong_cards.to_bytes(4, "big")
        )

    # ------------------------------------------------------------ looking things up

    def file(self, fid: int) -> FileRow:
        """The file with an identifier.

        Raises:
            KeyError: the profile has none.
        """
        return _only((row for row in self.files if row.fid == fid), f"{fid:04X}")

    def file_named(self, name: str) -> FileRow:
        """The file with a name such as "EF.IDENTITY".

        Raises:
            KeyError: the profile has none.
        """
        return _only((row for row in self.files if row.name == name), name)

    def key(self, name: str) -> KeyRow:
        """The key with a name such as "inspection".

        Raises:
            KeyError: the profile has none.
        """
        return _only((row for row in self.keys if row.name == name), name)

    def objects_of(self, template: int) -> tuple[ObjectRow, ...]:
        """The data objects of a template, in the order they are written."""
        return tuple(row for row in self.objects if row.template == template)

    def meanings(self, row: ObjectRow | FieldRow) -> Mapping[str, Title]:
        """What the coded values of a row mean; empty when they speak for themselves."""
        return self.codes[row.values] if isinstance(row.values, str) else row.values

    def fields_of(self, layout: str) -> tuple[FieldRow, ...]:
        """The fields of a layout, by offset."""
        return tuple(sorted((row for row in self.fields if row.layout == layout), key=lambda row: row.offset))


def _only(rows: Iterable[_Found], name: str) -> _Found:
    for row in rows:
        return row
    raise KeyError(name)


def _refuse_duplicates(what: str, values: Iterable[str]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{what} {value} stands twice")
