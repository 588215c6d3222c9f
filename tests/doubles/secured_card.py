"""A card with one application that has keys, a PIN and files under secure messaging, a role and the PIN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Final

from card_os.applet_api import (
    ALWAYS,
    AccessRule,
    Context,
    Instruction,
    Proof,
    authentication_instructions,
    create_pin,
    dynamic_authentication_instructions,
    instruction_table,
    pin_block,
    pin_instructions,
    security_operation_instructions,
    verification_requirement_instructions,
)
from card_os.card import Card
from card_os.files.commands import FILE_INSTRUCTIONS
from card_os.files.spec import AccessMode, FileSpec, FileStructure
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import Randomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import WrongData
from card_os.port import Port

AID: Final = bytes.fromhex("F0534543555245")
PIN: Final = pin_block("1234")
SECURE: Final = AccessRule((int(Proof.SECURE_MESSAGING),))
ROLE_1: Final = AccessRule((int(Proof.key(1)),))
HOLDER: Final = AccessRule((int(Proof.pin(1)),))
CONTENT: Final = bytes.fromhex("60145F0104303130365F36063034303030305C026175")


class SecuredApplet:
    """Files: 011E under secure messaging (the EF.COM of the worked example), 0101 role 1, 0102 PIN 1; PIN 81."""

    package_aid: ClassVar[bytes] = AID[:-1]
    module_aid: ClassVar[bytes] = AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *FILE_INSTRUCTIONS,
        *pin_instructions(ALWAYS),
        *verification_requirement_instructions(ALWAYS),
        *authentication_instructions(internal=ALWAYS),
        *dynamic_authentication_instructions(internal=ALWAYS),
        *security_operation_instructions(ALWAYS),
    )

    def install(self, context: Context, parameters: bytes) -> None:
        """Create the files and the PIN."""
        for fid, sfi, rule in ((0x011E, 30, SECURE), (0x0101, 1, ROLE_1), (0x0102, 2, HOLDER)):
            spec = FileSpec(fid, FileStructure.TRANSPARENT, len(CONTENT), sfi, rules={AccessMode.READ: rule})
            context.files.write(context.files.create(spec), 0, CONTENT)
        create_pin(context, 0x81, PIN, number=1, try_limit=3)

    def select(self, context: Context) -> bytes:
        """An empty FCI."""
        return b"\x6f\x00"

    def deselect(self, context: Context) -> None:
        """Keep nothing."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """Take nothing."""
        raise WrongData("no personalization")


def secured_image(prepare: Callable[[Context], object] = lambda _: None) -> NvmImage:
    """An image with the application; ``prepare`` adds keys."""
    image = NvmImage.create()
    platform = Card(image.nvm(), [SecuredApplet]).platform
    application = platform.install(
        package_aid=AID[:-1], module_aid=AID, aid=AID, privileges=Privilege.CARD_RESET, domain=1, life_cycle=0x07
    )
    prepare(platform.context_of(application))
    return image


def secured_card(nvm: Nvm, randomness: Randomness | None = None) -> Card:
    """A card on such an image."""
    return Card(nvm, [SecuredApplet], randomness=randomness)


class ScriptedRandomness:
    """Gives the pieces that a worked example has, in their order."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = list(pieces)
        self._given = 0

    @property
    def position(self) -> int:
        """Bytes given so far."""
        return self._given

    def bytes(self, length: int) -> bytes:
        """The next piece, which has to be as long as it is asked for."""
        piece = self._pieces.pop(0)
        self._given += length
        if len(piece) != length:
            raise AssertionError(f"{length} random bytes were asked for, not {len(piece)}")
        return piece


def send(port: Port, ins: int, p1p2: int = 0, data: bytes = b"", ne: int = 0, cla: int = 0) -> tuple[bytes, int]:
    """Send a command; returns data and status word."""
    command = CommandApdu(cla, ins, p1p2 >> 8, p1p2 & 0xFF, data, ne, len(data) > 255)
    answer = port.process(command.encode())
    return answer[:-2], int.from_bytes(answer[-2:], "big")
