"""What an application sees of the card: its context, its instruction table, its life.

An applet object holds no state of its own: whatever must last is in the object store, whatever may be lost is in the
`Session` of the channel. The dispatcher has already decoded the class byte, removed secure messaging, checked the
life-cycle state and the instruction's access rule when a handler runs.

A handler parses P1-P2, checks lengths, loads, opens one transaction, returns the response data or raises a
`CardError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from card_os.iso7816.apdu import CommandApdu, SecureMessagingIndication
from card_os.iso7816.status import StatusWord
from card_os.security.access import ALWAYS, AccessRule

if TYPE_CHECKING:
    from card_os.files.system import FileSystem
    from card_os.globalplatform.registry import Application
    from card_os.hardware.clock import VirtualClock
    from card_os.hardware.randomness import Randomness
    from card_os.storage.store import ObjectStore

Handler = Callable[["Context", CommandApdu], bytes]


class SecureChannel(Protocol):
    """One secure messaging layer on one channel: ISO secure messaging or a GlobalPlatform session."""

    indication: SecureMessagingIndication
    """The class-byte indication this layer answers to; another one ends the layer."""

    proofs: int
    """`Proof` bits that hold for a command this layer verified."""

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Verify and decrypt; returns the plain command with a plain class byte.

        Raises:
            CardError: the dispatcher drops the layer and answers in plain.
        """
        ...

    def wrap(self, data: bytes, sw: StatusWord) -> tuple[bytes, StatusWord]:
        """Protect a response; returns the response data field and the outer status word."""
        ...


@dataclass(slots=True)
class Session:
    """Volatile state of one logical channel on one interface; gone at reset, deselection of its application, or cut.

    Attributes:
        proofs: `Proof` bits of PINs and keys that last until deselection.
        challenge: the last GET CHALLENGE answer, used up by the next authentication.
        secure_channel: the secure messaging layer, if any.
        current_df: object identifier of the current DF, None for the application's own.
        current_ef: object identifier of the current EF, None when none is selected.
        current_record: number of the current record, 0 when undefined.
        scratch: an applet's own volatile values by name.
    """

    proofs: int = 0
    challenge: bytes | None = None
    secure_channel: SecureChannel | None = None
    current_df: int | None = None
    current_ef: int | None = None
    current_record: int = 0
    scratch: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Context:
    """Everything a handler may touch.

    Attributes:
        application: registry entry of the selected application (AID, owner number, life cycle).
        session: volatile state of the channel.
        proofs: what holds for this command: session proofs, the interface's bit, the secure channel's bits.
        store: the card's objects; use ``application.owner`` as owner.
        files: the application's files with this channel's current DF and EF.
        randomness: injected random source.
        clock: virtual time.
        card_number: the chip's own number, 10 bytes of its CPLC data (fabricator 2 ‖ type 2 ‖ batch 2 ‖ serial 4).
    """

    application: Application
    session: Session
    proofs: int
    store: ObjectStore
    files: FileSystem
    randomness: Randomness
    clock: VirtualClock
    card_number: bytes


@dataclass(frozen=True, slots=True)
class Instruction:
    """One row of an application's command table.

    Attributes:
        ins: instruction byte.
        name: name in the standard, such as "READ BINARY".
        handler: what runs.
        proprietary: True for class 80..FE, False for 00..7F.
        access: rule of the command itself; objects it touches have their own.
        states: application life-cycle states in which it is allowed; None = every selectable state.
        chaining: the command may be chained.
    """

    ins: int
    name: str
    handler: Handler
    proprietary: bool = False
    access: AccessRule = ALWAYS
    states: frozenset[int] | None = None
    chaining: bool = False


class Applet(Protocol):
    """An application's code; one object a card, without state."""

    package_aid: ClassVar[bytes]
    module_aid: ClassVar[bytes]
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]]
    """Rows by (proprietary class, INS); build with `instruction_table`."""

    def install(self, context: Context, parameters: bytes) -> None:
        """INSTALL [for install]: create what the instance needs; runs inside the command's transaction.

        Args:
            context: the new application's context.
            parameters: value of tag C9 of the install parameters.
        """
        ...

    def select(self, context: Context) -> bytes:
        """Selected by AID; returns the FCI template (6F)."""
        ...

    def deselect(self, context: Context) -> None:
        """Left by selecting another application or the same one again, or by closing the channel."""
        ...

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """STORE DATA after INSTALL [for personalization]: one DGI, key data already decrypted by the domain.

        Args:
            context: the application's context.
            identifier: DGI, 0..65,535.
            value: its content.
            last: True for the last DGI of the last block, which personalizes the application.
        """
        ...


def instruction_table(*rows: Instruction) -> dict[tuple[bool, int], Instruction]:
    """Index instruction rows by (proprietary, INS).

    Raises:
        ValueError: two rows for the same command.
    """
    table: dict[tuple[bool, int], Instruction] = {}
    for row in rows:
        key = (row.proprietary, row.ins)
        if key in table:
            raise ValueError(f"two rows for INS {row.ins:02X}")
        table[key] = row
    return table
