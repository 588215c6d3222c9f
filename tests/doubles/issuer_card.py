"""A card with its issuer domain and a small application, and a connection to its contact port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import ClassVar, Self

from card_os.applet_api import Context, Instruction, instruction_table
from card_os.card import Card
from card_os.globalplatform.card_policy import DEFAULT_CARD_POLICY, CardPolicy
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.registry import CardLifeCycle
from card_os.hardware.chip import DEFAULT_CHIP
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import WrongData
from card_os.manufacture import manufacture
from card_os.port import Port
from card_os.storage.store import ObjectKind
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError

PACKAGE = bytes.fromhex("F05A4A4A5AF0")
MODULE = bytes.fromhex("F05A4A4A5AF001")
INSTANCE = bytes.fromhex("F05A4A4A5AF00101")
DOMAIN = bytes.fromhex("A000000151000000")
PRODUCTION = ProductionData(ic_fabricator=0x4A4A, ic_type=0x5A5A, ic_serial_number=0x01020304, ic_batch=0x0506)
CARD_NUMBER = bytes.fromhex("4A4A5A5A050601020304")

FACTORY = StaticKeys(0xFF, bytes(range(0x40, 0x50)), bytes(range(0x50, 0x60)), bytes(range(0x60, 0x70)))
OURS = StaticKeys(0x01, bytes(range(0x10)), bytes(range(0x10, 0x20)), bytes(range(0x20, 0x30)))

_REFUSED_GROUPING = 0xBAD0


class NotebookApplet:
    """Keeps each data grouping as an object of its own; 80 B0 with the identifier in P1-P2 reads it."""

    package_aid: ClassVar[bytes] = PACKAGE
    module_aid: ClassVar[bytes] = MODULE

    def install(self, context: Context, parameters: bytes) -> None:
        context.store.create(context.application.owner, ObjectKind.DATA, 0, len(parameters), parameters)

    def select(self, context: Context) -> bytes:
        return b"\x6f\x00"

    def deselect(self, context: Context) -> None:
        pass

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        if identifier == _REFUSED_GROUPING:
            raise WrongData("a grouping that the test wants refused")
        context.store.create(context.application.owner, ObjectKind.DATA, identifier, len(value), value)

    @staticmethod
    def read(context: Context, command: CommandApdu) -> bytes:
        item = context.store.find(context.application.owner, ObjectKind.DATA, command.p1 << 8 | command.p2)
        if item is None:
            raise WrongData("nothing was stored under this identifier")
        return context.store.read(item)

    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        Instruction(0xB0, "READ", read, proprietary=True)
    )


class PortConnection:
    """A `CardConnection` straight to a port."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.sent: list[bytes] = []

    @property
    def description(self) -> ConnectionDescription:
        return ConnectionDescription("port", Interface.CONTACT, Protocol7816.T1, b"", simulated=True)

    def power_on(self) -> bytes:
        return self.port.power_on()

    def transmit(self, command: bytes) -> bytes:
        if not self.port.powered:
            raise ReaderError("no-card")
        self.sent.append(command)
        return self.port.process(command)

    def reset(self) -> bytes:
        return self.port.reset()

    def power_off(self) -> None:
        self.port.power_off()

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


class ShortConnection(PortConnection):
    """A link without extended length."""

    @property
    def description(self) -> ConnectionDescription:
        return replace(super().description, max_command_data=255, max_response_data=256)


def key_set(keys: StaticKeys) -> KeySet:
    return KeySet(keys.version, keys.enc, keys.mac, keys.dek)


def issuer_image(
    keys: StaticKeys = FACTORY,
    life_cycle: CardLifeCycle = CardLifeCycle.INITIALIZED,
    *,
    policy: CardPolicy = DEFAULT_CARD_POLICY,
    chip: str = DEFAULT_CHIP,
) -> NvmImage:
    """The memory of a blank card."""
    image = NvmImage.create(chip=chip)
    manufacture(image.nvm(), PRODUCTION, key_set(keys), life_cycle=life_cycle, policy=policy)
    return image


def boot(image: NvmImage) -> Card:
    return Card(image.nvm(), [NotebookApplet], randomness=SeededRandomness(b"issuer"))


def install_notebook(session: SecureSession, *, selectable: bool = True) -> None:
    session.install(package_aid=PACKAGE, module_aid=MODULE, instance_aid=INSTANCE, selectable=selectable)
