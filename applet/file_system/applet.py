"""The file system application.

Installed with the privilege of being selected by default, its own DF answers to 3F00 right after a reset, as the MF of
a card without applications would. Everything in it is made by CREATE FILE, under the rules of the DFs; PINs come by
STORE DATA (DGI 8010, as on the permit).

Source: ISO/IEC 7816-4:2020, clauses 7.1 (MF), 12.2.1 (EF.DIR) and 12.2.2 (EF.ATR/INFO).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from applet.file_system import aid
from card_os.applet_api import ALWAYS, Instruction, instruction_table, load_pins, pin_instructions
from card_os.applet_services import (
    ALL_FILE_INSTRUCTIONS,
    EF_ATR,
    EF_DIR,
    AccessMode,
    FileSpec,
    FileStructure,
    card_information,
    card_termination,
    decode_rules,
    file_management,
    file_termination,
    read_attributes,
)
from card_os.iso7816.errors import ReferenceDataNotFound, WrongData
from card_os.iso7816.tlv import encode

if TYPE_CHECKING:
    from card_os.applet_api import AccessRule, Context

MF: Final = 0x3F00
_SFI_DIR: Final = 30
_SFI_ATR: Final = 1
_DIR_RECORD: Final = 64
_DIR_RECORDS: Final = 16
_MF_OBJECTS: Final = 256
"""Room for data objects of the MF, in bytes."""
_DGI_PINS: Final = 0x8010
_TAG_FCI: Final = 0x6F
_TAG_DF_NAME: Final = 0x84
_TAG_TEMPLATE: Final = 0x61
_TAG_AID: Final = 0x4F
_TAG_LABEL: Final = 0x50
_LABEL: Final = b"FILE SYSTEM"
_FIRST_ATTRIBUTE: Final = b"\x80"
"""An access mode byte in front of a rule of tag 86 is less, a tag of a security attribute is more."""


class FileSystemApplet:
    """Nothing but files; implements `card_os.applet_api.Applet`."""

    __slots__ = ()

    package_aid: ClassVar[bytes] = aid.PACKAGE
    module_aid: ClassVar[bytes] = aid.MODULE
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *ALL_FILE_INSTRUCTIONS,
        *file_management(ALWAYS),  # the rule of the DF decides
        *file_termination(),
        *card_termination(ALWAYS),  # the privilege decides
        *pin_instructions(),
    )

    def install(self, context: Context, parameters: bytes) -> None:
        """Create MF, EF.DIR with the application's own entry, and EF.ATR/INFO.

        Args:
            context: the application's context.
            parameters: rules of the MF: the value of tag 86, or security attributes as data objects (86, 8B, 8C, 8D,
                A1, AB); empty lets it be read and nothing be made in it.

        Raises:
            WrongData: 6A80, no such rules.
        """
        rules: Mapping[AccessMode, AccessRule] = {AccessMode.READ: ALWAYS}
        attributes = b""
        try:
            if parameters[:1] >= _FIRST_ATTRIBUTE:
                rules, attributes = read_attributes(parameters)
            elif parameters:
                rules = decode_rules(parameters)
        except ValueError as error:
            raise WrongData("no access rules") from error
        files = context.files
        files.create(FileSpec(MF, FileStructure.DF, _MF_OBJECTS, rules=rules, attributes=attributes))
        growing: dict[AccessMode, AccessRule] = {AccessMode.READ: ALWAYS}
        if AccessMode.APPEND in rules:
            growing[AccessMode.APPEND] = rules[AccessMode.APPEND]
        directory = files.create(
            FileSpec(
                EF_DIR,
                FileStructure.LINEAR_VARIABLE,
                _DIR_RECORD * _DIR_RECORDS,
                _SFI_DIR,
                record_length=_DIR_RECORD,
                record_count=_DIR_RECORDS,
                rules=growing,
            )
        )
        name = context.application.aid
        files.append_record(directory, encode(_TAG_TEMPLATE, encode(_TAG_AID, name), encode(_TAG_LABEL, _LABEL)))
        content = card_information(files)
        about = FileSpec(EF_ATR, FileStructure.TRANSPARENT, len(content), _SFI_ATR, rules={AccessMode.READ: ALWAYS})
        files.write(files.create(about), 0, content)

    def select(self, context: Context) -> bytes:
        """The FCI: 6F { 84 name }."""
        return encode(_TAG_FCI, encode(_TAG_DF_NAME, context.application.aid))

    def deselect(self, context: Context) -> None:
        """Nothing to do: proofs end with the session."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:  # noqa: ARG002 - the protocol's arguments
        """PINs (8010); any number of them, in one grouping.

        Raises:
            ReferenceDataNotFound: 6A88, any other grouping.
        """
        if identifier != _DGI_PINS:
            raise ReferenceDataNotFound("PINs only")
        load_pins(context, value)
