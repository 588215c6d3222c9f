"""An applet that records what the card calls, with a command for every path through the dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from card_os.applet_api import ALWAYS, NEVER, AccessRule, Context, Instruction, Proof, instruction_table
from card_os.arbitration import Arbitration
from card_os.card import Card
from card_os.files.commands import FILE_INSTRUCTIONS, file_management
from card_os.files.spec import AccessMode, FileSpec, FileStructure
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.registry import ISSUER_DOMAIN, ApplicationLifeCycle, CardLifeCycle, Privilege
from card_os.hardware.chip import DEFAULT_CHIP, Chip
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu, SecureMessagingIndication
from card_os.iso7816.errors import MoreDataFollows, SmObjectIncorrect, WrongData
from card_os.iso7816.status import SW, StatusWord
from card_os.manufacture import manufacture

PACKAGE: Final = bytes.fromhex("F0000000D0")
MODULE: Final = bytes.fromhex("F0000000D001")
FIRST: Final = bytes.fromhex("F0000000D00101")
SECOND: Final = bytes.fromhex("F0000000D00102")
OTHER: Final = bytes.fromhex("F0000000E0")
PIN_1: Final = int(Proof.pin(1))

RULES: Final = {AccessMode(mode): ALWAYS for mode in AccessMode}
FILES: Final = (
    FileSpec(0x0101, FileStructure.TRANSPARENT, 300, 1, rules=RULES),
    FileSpec(0x0102, FileStructure.LINEAR_FIXED, 40, 2, record_length=8, record_count=5, rules=RULES),
    FileSpec(0x0103, FileStructure.LINEAR_VARIABLE, 36, 3, record_length=12, record_count=3, rules=RULES),
    FileSpec(0x0104, FileStructure.CYCLIC, 12, 4, record_length=4, record_count=3, rules=RULES),
    FileSpec(
        0x0105,
        FileStructure.TRANSPARENT,
        16,
        5,
        rules={
            AccessMode.READ: AccessRule((int(Proof.CONTACT),)),
            AccessMode.UPDATE: AccessRule((int(Proof.CONTACT) | PIN_1,)),
        },
    ),
    FileSpec(0x0106, FileStructure.TRANSPARENT, 16, 6),
)


class ToyLayer:
    """Secure messaging for tests: the last data byte is the sum of the others; responses are wrapped in AA … sw.

    Class bytes with the proprietary indication ask for it.
    """

    def __init__(self, indication: SecureMessagingIndication) -> None:
        self.indication = indication
        self.proofs = int(Proof.SECURE_CHANNEL)
        self.exclusive = False

    def after_failure(self) -> None:
        pass

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        if not command.data or sum(command.data[:-1]) & 0xFF != command.data[-1]:
            raise SmObjectIncorrect("sum is wrong")
        return command._replace(cla=command.cla & 0xF3, data=command.data[:-1])

    def wrap(self, data: bytes, sw: StatusWord) -> tuple[bytes, StatusWord]:
        return b"\xaa" + data + sw.encode(), SW.OK


def _echo(context: Context, command: CommandApdu) -> bytes:
    return command.data


def _produce(context: Context, command: CommandApdu) -> bytes:
    return bytes(index & 0xFF for index in range(command.p1 << 8 | command.p2))


def _fault(context: Context, command: CommandApdu) -> bytes:
    with context.store.transaction():
        context.files.write(context.files.get(0x0101), 0, b"\xee")
        raise RuntimeError("a bug")


def _refuse_late(context: Context, command: CommandApdu) -> bytes:
    with context.store.transaction():
        context.files.create(FileSpec(0x0999, FileStructure.TRANSPARENT, 4, rules=RULES))
        context.files.write(context.files.get(0x0101), 0, b"\xdd")
        raise WrongData("too late")


def _warn(context: Context, command: CommandApdu) -> bytes:
    raise MoreDataFollows("more", data=b"\x01\x02")


def _open_layer(context: Context, command: CommandApdu) -> bytes:
    context.session.secure_channel = ToyLayer(SecureMessagingIndication.PROPRIETARY)
    return bytes((command.cla,))


def _grant(context: Context, command: CommandApdu) -> bytes:
    context.session.proofs |= PIN_1
    return b""


def _proofs(context: Context, command: CommandApdu) -> bytes:
    return context.proofs.to_bytes(4, "big")


class RecordingApplet:
    """What the dispatcher tests talk to.

    Attributes:
        calls: what was called, as (name, AID of the application).
    """

    package_aid: ClassVar[bytes] = PACKAGE
    module_aid: ClassVar[bytes] = MODULE
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        *FILE_INSTRUCTIONS,
        *file_management(ALWAYS),
        Instruction(0x10, "ECHO", _echo, proprietary=True, chaining=True),
        Instruction(0x11, "ECHO UNCHAINED", _echo, proprietary=True),
        Instruction(0x12, "PRODUCE", _produce, proprietary=True),
        Instruction(0x14, "FAULT", _fault, proprietary=True),
        Instruction(0x16, "REFUSE LATE", _refuse_late, proprietary=True),
        Instruction(0x18, "WARN", _warn, proprietary=True),
        Instruction(0x1A, "NEVER", _echo, proprietary=True, access=NEVER),
        Instruction(0x1C, "PERSONALIZED ONLY", _echo, proprietary=True, states=frozenset({0x0F})),
        Instruction(0x1E, "OPEN LAYER", _open_layer, proprietary=True, opens_secure_channel=True),
        Instruction(0x22, "GRANT PIN", _grant, proprietary=True),
        Instruction(0x24, "PROOFS", _proofs, proprietary=True),
        Instruction(0x26, "CHANNEL ONLY", _echo, proprietary=True, access=AccessRule((int(Proof.SECURE_CHANNEL),))),
    )

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.refuse_selection = False

    def install(self, context: Context, parameters: bytes) -> None:
        self.calls.append(("install", context.application.aid))
        for spec in FILES:
            context.files.create(spec)

    def select(self, context: Context) -> bytes:
        self.calls.append(("select", context.application.aid))
        if self.refuse_selection:
            raise WrongData("not now")
        name = context.application.aid
        return b"\x6f" + bytes((len(name) + 2, 0x84, len(name))) + name

    def deselect(self, context: Context) -> None:
        self.calls.append(("deselect", context.application.aid))

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        self.calls.append(("store_data", context.application.aid))


class DomainDouble(RecordingApplet):
    """Stands where the issuer domain stands."""

    package_aid: ClassVar[bytes] = bytes.fromhex("A0000001515350")
    module_aid: ClassVar[bytes] = bytes.fromhex("A000000151535041")
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        Instruction(0xCA, "GET DATA", _echo, proprietary=True),
        Instruction(0xF2, "GET STATUS", _echo, proprietary=True),
    )

    def install(self, context: Context, parameters: bytes) -> None:
        raise NotImplementedError


def blank_memory(
    life_cycle: CardLifeCycle = CardLifeCycle.INITIALIZED, arbitration: int = 0, chip: Chip | str = DEFAULT_CHIP
) -> NvmImage:
    """An image with an issuer domain only."""
    image = NvmImage.create(chip=chip)
    manufacture(
        image.nvm(),
        ProductionData(ic_fabricator=0x4A5A, ic_type=1, ic_batch=2, ic_serial_number=3),
        KeySet(0xFF, b"\x01" * 16, b"\x02" * 16, b"\x03" * 16),
        life_cycle=life_cycle,
        arbitration=Arbitration(arbitration),
    )
    return image


def make_card(nvm: Nvm, applet: RecordingApplet | None = None) -> Card:
    """A card with the recording applet's code and a double of the issuer domain."""
    return Card(
        nvm, [applet or RecordingApplet()], randomness=SeededRandomness(1), security_domain=lambda _: DomainDouble()
    )


def install(
    card: Card,
    aid: bytes,
    *,
    privileges: Privilege = Privilege.NONE,
    life_cycle: int = ApplicationLifeCycle.SELECTABLE,
) -> None:
    """Install one instance of the recording applet."""
    card.platform.install(
        package_aid=PACKAGE,
        module_aid=MODULE,
        aid=aid,
        privileges=privileges,
        domain=ISSUER_DOMAIN,
        life_cycle=life_cycle,
    )
