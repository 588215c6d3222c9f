"""A card with the file system application, two PINs and no sample, for access rules in the standard's forms."""

from __future__ import annotations

from typing import Final

from applet.file_system import aid
from applet.file_system.applet import FileSystemApplet
from applet.file_system.sample import MF_RULES
from card_os.applet_api import create_pin, pin_block
from card_os.card import Card
from card_os.files.spec import FileStructure, Tag
from card_os.globalplatform.registry import ISSUER_DOMAIN, ApplicationLifeCycle, Privilege
from card_os.hardware.chip import DEFAULT_CHIP, Chip
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.tlv import encode
from card_os.port import Port
from tests.doubles.recording_applet import DomainDouble, blank_memory

PIN_1: Final = pin_block("1111")
PIN_2: Final = pin_block("2222")
EF_ARR: Final = b"\x2f\x06"


def boot(nvm: Nvm) -> Card:
    """A card with the code of the file system."""
    return Card(nvm, [FileSystemApplet], randomness=SeededRandomness(1), security_domain=lambda _: DomainDouble())


def new_ruled_image(parameters: bytes = MF_RULES, chip: Chip | str = DEFAULT_CHIP) -> NvmImage:
    """An image with the application selected by default, and PINs 1 and 2 under the references 81 and 82."""
    image = blank_memory(chip=chip)
    platform = boot(image.nvm()).platform
    application = platform.install(
        package_aid=aid.PACKAGE,
        module_aid=aid.MODULE,
        aid=aid.INSTANCE,
        privileges=Privilege.CARD_RESET,
        domain=ISSUER_DOMAIN,
        life_cycle=ApplicationLifeCycle.SELECTABLE,
        parameters=parameters,
    )
    context = platform.context_of(application)
    for number, block in ((1, PIN_1), (2, PIN_2)):
        create_pin(context, 0x80 | number, block, number=number, try_limit=3)
    return image


def control_parameters(
    fid: int,
    attributes: bytes = b"",
    *,
    size: int = 32,
    structure: FileStructure = FileStructure.TRANSPARENT,
    more: bytes = b"",
) -> bytes:
    """An FCP template as a tool would write it, with security attributes as data objects."""
    descriptor = bytes((structure,))
    if structure is FileStructure.LINEAR_VARIABLE:
        descriptor += bytes((0x21, 0, size, 0, 8))
    objects = [encode(Tag.DESCRIPTOR, descriptor), encode(Tag.IDENTIFIER, fid.to_bytes(2, "big"))]
    if structure is FileStructure.TRANSPARENT:
        objects.append(encode(Tag.SIZE, size.to_bytes(2, "big")))
    if structure is not FileStructure.DF:
        objects.append(encode(Tag.SHORT_IDENTIFIER))
    return encode(Tag.FCP, *objects, attributes, more)


def send(port: Port, ins: int, p1p2: int = 0, data: bytes = b"", ne: int = 0) -> tuple[bytes, int]:
    """Send a command of class 00; returns data and status word."""
    answer = port.process(CommandApdu(0, ins, p1p2 >> 8, p1p2 & 0xFF, data, ne).encode())
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def verify(port: Port, number: int) -> None:
    """Verify PIN 1 or 2."""
    if send(port, 0x20, 0x80 | number, PIN_1 if number == 1 else PIN_2)[1] != 0x9000:
        raise AssertionError("the PIN was refused")
