"""A card with one application that is nothing but files, with every file command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from card_os.applet_api import ALWAYS, Context, Instruction, instruction_table
from card_os.card import Card
from card_os.files.commands import ALL_FILE_INSTRUCTIONS, card_termination, file_management, file_termination
from card_os.files.spec import FileSpec, FileStructure
from card_os.globalplatform.registry import ISSUER_DOMAIN, ApplicationLifeCycle, Privilege
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from tests.doubles.recording_applet import MODULE, PACKAGE, RULES, DomainDouble, RecordingApplet

FILE_CARD: Final = bytes.fromhex("F0000000D00177")
WRITE_OR, WRITE_AND, WRITE_ONCE = 0x41, 0x61, 0x01

ROOT: Final = FileSpec(0x3F00, FileStructure.DF, 32, rules=RULES)
WRITABLE_FILES: Final = (
    FileSpec(0x0201, FileStructure.TRANSPARENT, 300, 8, rules=RULES, data_coding=WRITE_OR),
    FileSpec(0x0202, FileStructure.TRANSPARENT, 8, 9, rules=RULES, data_coding=WRITE_AND),
    FileSpec(0x0203, FileStructure.TRANSPARENT, 8, 10, rules=RULES, data_coding=WRITE_ONCE),
    FileSpec(0x0204, FileStructure.LINEAR_FIXED, 16, 11, 4, 4, RULES, data_coding=WRITE_OR),
    FileSpec(0x0205, FileStructure.CYCLIC, 12, 12, 4, 3, RULES, data_coding=WRITE_OR),
    FileSpec(0x0206, FileStructure.LINEAR_VARIABLE, 24, 13, 8, 3, RULES, data_coding=WRITE_OR),
    FileSpec(0x0207, FileStructure.TRANSPARENT, 6000, 14, rules=RULES),
)


class FileApplet(RecordingApplet):
    """The recording applet's files, and one of every write function."""

    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *ALL_FILE_INSTRUCTIONS, *file_management(ALWAYS), *file_termination(), *card_termination(ALWAYS)
    )

    def install(self, context: Context, parameters: bytes) -> None:
        super().install(context, parameters)
        for spec in (ROOT, *WRITABLE_FILES):
            context.files.create(spec)


def make_file_card(nvm: Nvm) -> Card:
    """A card with the code of the application."""
    return Card(nvm, [FileApplet()], randomness=SeededRandomness(1), security_domain=lambda _: DomainDouble())


def install_files(card: Card, privileges: Privilege = Privilege.NONE) -> None:
    """Install it."""
    card.platform.install(
        package_aid=PACKAGE,
        module_aid=MODULE,
        aid=FILE_CARD,
        privileges=privileges,
        domain=ISSUER_DOMAIN,
        life_cycle=ApplicationLifeCycle.SELECTABLE,
    )
