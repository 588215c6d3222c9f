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
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from card_os.globalplatform.registry_entry import NO_DATA
from card_os.iso7816.apdu import CommandApdu, SecureMessagingIndication
from card_os.iso7816.status import StatusWord
from card_os.security.access import ALWAYS, NEVER, AccessRule, Proof, explain
from card_os.security.authentication import authentication_instructions
from card_os.security.certificates import create_certificate_date
from card_os.security.cryptography import (
    AesCmac,
    P256PrivateKey,
    aes_cbc_decrypt,
    aes_cbc_encrypt,
    aes_ecb_encrypt,
    aes_key_unwrap,
    check_value,
    cmac,
    derive,
    equal,
    pad,
    sha256,
    unpad,
)
from card_os.security.dynamic_authentication import dynamic_authentication_instructions
from card_os.security.key_generation import key_generation_instructions
from card_os.security.key_kinds import KeyAlgorithm, verify
from card_os.security.keys import (
    CHIP_KEY,
    Key,
    KeyUsage,
    create_key,
    find_key,
    key_tries_left,
    load_chip_key,
    load_keys,
)
from card_os.security.pace import card_access, create_card_access_number, pace_instructions
from card_os.security.pin import (
    PIN_ACCESS,
    create_pin,
    load_pins,
    pin_block,
    pin_instructions,
    pin_tries_left,
    verification_requirement_instructions,
    verify_pin,
)
from card_os.security.security_operations import security_operation_instructions

if TYPE_CHECKING:
    from card_os.files.system import FileSystem
    from card_os.globalplatform.cardholder_verification import GlobalPin
    from card_os.globalplatform.registry import Application, Privilege, Registry, RegistryData
    from card_os.hardware.clock import VirtualClock
    from card_os.hardware.randomness import Randomness
    from card_os.storage.store import ObjectStore

Handler = Callable[["Context", CommandApdu], bytes]
PieceTest = Callable[["SecureChannel", CommandApdu], bool]


class SecureChannel(Protocol):
    """One secure messaging layer on one channel: ISO secure messaging or a GlobalPlatform session."""

    indication: SecureMessagingIndication
    """The class-byte indication this layer answers to; another one ends the layer."""

    proofs: int
    """`Proof` bits that hold for a command this layer verified."""

    @property
    def exclusive(self) -> bool:
        """Commands with another indication go through the layer too, which refuses them, instead of ending it."""
        ...

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Verify and decrypt; returns the plain command with a plain class byte.

        Raises:
            CardError: the dispatcher puts what `after_failure` says in the layer's place and answers in plain.
        """
        ...

    def after_failure(self) -> SecureChannel | None:
        """What stands in the layer's place when `unwrap` has refused a command; None for nothing."""
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


class CardControl(Protocol):
    """What an application may do to the whole card, when the registry says so."""

    def terminate(self, application: Application) -> None:
        """Terminate the card on behalf of an application.

        Raises:
            SecurityStatusNotSatisfied: 6982, the application has not the privilege of terminating the card.
        """
        ...

    @property
    def global_pin(self) -> GlobalPin:
        """The PIN that all applications share; what changes it asks for the CVM management privilege."""
        ...

    def activate_contactless(self, application: Application, *, active: bool) -> None:
        """Make an application answer over the field, or no longer, on its own behalf (Amendment C, 7.2).

        Raises:
            SecurityStatusNotSatisfied: 6982, the application has not the contactless self-activation privilege.
            ConditionsNotSatisfied: 6985, it is in that state already, or not selectable.
        """
        ...


@dataclass(slots=True)
class Context:
    """Everything a handler may touch; one object a logical channel, valid during the call.

    Attributes:
        application: registry entry of the selected application (AID, owner number, life cycle).
        session: volatile state of the channel.
        proofs: what holds for this command: session proofs, the interface's bit, the secure channel's bits.
        store: the card's objects; use ``application.owner`` as owner.
        files: the application's files with this channel's current DF and EF.
        randomness: injected random source.
        clock: virtual time.
        card_number: the chip's own number, 10 bytes of its CPLC data (fabricator 2 ‖ type 2 ‖ batch 2 ‖ serial 4).
        card: what an application with the privilege for it may do to the whole card.
    """

    application: Application
    session: Session
    proofs: int
    store: ObjectStore
    files: FileSystem
    randomness: Randomness
    clock: VirtualClock
    card_number: bytes
    card: CardControl


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
        opens_secure_channel: with a secure messaging class byte and no layer open, the command goes to the handler as
            it came, class byte and MAC included, and is answered in plain (EXTERNAL AUTHENTICATE of GlobalPlatform).
            When a layer is open, it is unwrapped like any other command.
        stepwise: each command of a chain goes to the handler and is answered, chaining bit and all, instead of being
            collected (GENERAL AUTHENTICATE).
        is_piece: tells of a command with bit 8 of P1 whether it is a piece of a longer one, under the layer that is
            open; pieces are collected before secure messaging (GlobalPlatform). None: bit 8 is the handler's.
    """

    ins: int
    name: str
    handler: Handler
    proprietary: bool = False
    access: AccessRule = ALWAYS
    states: frozenset[int] | None = None
    chaining: bool = False
    opens_secure_channel: bool = False
    stepwise: bool = False
    is_piece: PieceTest | None = None


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


@runtime_checkable
class Versioned(Protocol):
    """What an applet's class may say besides: the version of its package, and the schema of the objects it makes.

    An application whose objects have another schema than its code knows cannot be selected, and is not lost. Without
    these, version 1.0 and schema 1 are meant.
    """

    package_version: ClassVar[tuple[int, int]]
    """Major, minor."""
    state_schema: ClassVar[int]
    """1..65,535."""


class Platform(Protocol):
    """What the card offers to security domains and to nobody else; given to their constructor.

    All changes join the transaction that is open. A command that fails after a change leaves the registry as stored.
    """

    @property
    def registry(self) -> Registry:
        """Applications, their life cycles and privileges, and the card's life cycle."""
        ...

    @property
    def store(self) -> ObjectStore:
        """The card's objects."""
        ...

    @property
    def randomness(self) -> Randomness:
        """Injected random source."""
        ...

    @property
    def clock(self) -> VirtualClock:
        """Virtual time."""
        ...

    @property
    def modules(self) -> Mapping[bytes, Applet]:
        """The code that the card can run by module AID; the security domain's own module is among them."""
        ...

    def code_of(self, application: Application) -> Applet:
        """The code that runs an application.

        Raises:
            ReferenceDataNotFound: 6A88, the module is not on this card.
        """
        ...

    def context_of(self, application: Application) -> Context:
        """A context for calling an application's `Applet.install` or `Applet.store_data`: new session, no proofs."""
        ...

    def install(
        self,
        *,
        package_aid: bytes,
        module_aid: bytes,
        aid: bytes,
        privileges: Privilege,
        domain: int,
        life_cycle: int,
        parameters: bytes = b"",
        data: RegistryData = NO_DATA,
    ) -> Application:
        """Create an application: registry entry, then `Applet.install` with ``parameters`` (value of tag C9).

        The version and the schema in ``data`` are those of the code, whatever it says.

        Raises:
            ReferenceDataNotFound: 6A88, no such module in that package.
            DfNameExists: 6A8A, the AID is taken.
            WrongData: 6A80, an AID is not 5 to 16 bytes long.
            NotEnoughMemory: 6A84, no space is left.
        """
        ...

    def remove(self, application: Application) -> None:
        """Delete an application with all its objects; channels on which it is selected lose it.

        Raises:
            ConditionsNotSatisfied: 6985, it is selected on another logical channel.
        """
        ...

    def end_sessions(self, application: Application) -> None:
        """Deselect an application on every channel of both interfaces except the one of the running command."""
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


# Not all there is here: what applications take through this module from the firmware's security.
__all__ = [
    "ALWAYS",
    "CHIP_KEY",
    "NEVER",
    "PIN_ACCESS",
    "AccessRule",
    "AesCmac",
    "Key",
    "KeyAlgorithm",
    "KeyUsage",
    "P256PrivateKey",
    "Proof",
    "aes_cbc_decrypt",
    "aes_cbc_encrypt",
    "aes_ecb_encrypt",
    "aes_key_unwrap",
    "authentication_instructions",
    "card_access",
    "check_value",
    "cmac",
    "create_card_access_number",
    "create_certificate_date",
    "create_key",
    "create_pin",
    "derive",
    "dynamic_authentication_instructions",
    "equal",
    "explain",
    "find_key",
    "key_generation_instructions",
    "key_tries_left",
    "load_chip_key",
    "load_keys",
    "load_pins",
    "pace_instructions",
    "pad",
    "pin_block",
    "pin_instructions",
    "pin_tries_left",
    "security_operation_instructions",
    "sha256",
    "unpad",
    "verification_requirement_instructions",
    "verify",
    "verify_pin",
]
