"""What the secure channel sessions of all protocols share: levels, class bytes, the ways in which a session ends.

A session that protects commands is exclusive. While it lasts, a command without its secure messaging is refused and
aborts it; only SELECT by name, MANAGE CHANNEL and the commands that begin another session need no protection. An
aborted session is not over: until one of those comes, every command is refused (10.2.3, D.1.6, E.1.6).

Source: GlobalPlatform Card Specification 2.3.1, clauses 10.2 and 11.1.4, appendix E; Amendment D v1.1.1, clauses 5.5
and 5.6.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, ClassVar, Final

from card_os.iso7816.apdu import MAX_SHORT_NC, CommandApdu, SecureMessagingIndication
from card_os.iso7816.errors import SecurityStatusNotSatisfied
from card_os.security.access import Proof

if TYPE_CHECKING:
    from card_os.applet_api import SecureChannel
    from card_os.iso7816.status import StatusWord

INS_INITIALIZE_UPDATE: Final = 0x50
INS_EXTERNAL_AUTHENTICATE: Final = 0x82
INS_INTERNAL_AUTHENTICATE: Final = 0x88
INS_PERFORM_SECURITY_OPERATION: Final = 0x2A
_INS_SELECT: Final = 0xA4
_BY_NAME: Final = 0x04
_INS_MANAGE_CHANNEL: Final = 0x70
_BEGINNINGS: Final = frozenset(
    {
        INS_INITIALIZE_UPDATE,
        INS_EXTERNAL_AUTHENTICATE,
        INS_INTERNAL_AUTHENTICATE,
        INS_PERFORM_SECURITY_OPERATION,
    }
)
_PROPRIETARY_CLASS: Final = 0x80

_FIRST_MASK: Final = 0x6C
_FIRST_SECURED: Final = 0x04
_FURTHER_SECURED: Final = 0x60
_FIRST_PLAIN_MASK: Final = 0xF3
_FURTHER_PLAIN_MASK: Final = 0xDF
_FURTHER_CHANNEL: Final = 0x40
MAC_CLASS_MASK: Final = 0x90
MAC_CLASS: Final = 0x04
"""What the class byte of a command is in its C-MAC: class and chaining bit stay, the channel is 0, b3 is set."""


class Protocol(IntEnum):
    """Secure channel protocol identifiers (table 10-1; Amendments D and F)."""

    SCP02 = 0x02
    SCP03 = 0x03
    SCP11 = 0x11


class SecurityLevel(IntFlag):
    """Bits of the security level, P1 of EXTERNAL AUTHENTICATE (Amendment D, table 7-3)."""

    C_MAC = 0x01
    C_ENC = 0x02
    R_MAC = 0x10
    R_ENC = 0x20


def is_secured(cla: int) -> bool:
    """True when a class byte tells GlobalPlatform secure messaging: b4-b3 = 01, on channels 4 to 19 b6 = 1 (11.1.4)."""
    return cla & _FIRST_MASK == _FIRST_SECURED or cla & _FURTHER_SECURED == _FURTHER_SECURED


SECURED_CLASS: Final = tuple(is_secured(cla) for cla in range(256))
"""`is_secured` by class byte."""


def indication(cla: int) -> SecureMessagingIndication:
    """What the class bytes of a protected command say on the channel of a plain one."""
    further = cla & _FURTHER_CHANNEL
    return SecureMessagingIndication.INTERINDUSTRY if further else SecureMessagingIndication.PROPRIETARY


def plain_class(cla: int) -> int:
    """A class byte without the indication of secure messaging; the channel stays."""
    further = cla & _FURTHER_SECURED == _FURTHER_SECURED
    return cla & (_FURTHER_PLAIN_MASK if further else _FIRST_PLAIN_MASK)


PLAIN_CLASS: Final = tuple(plain_class(cla) for cla in range(256))
"""`plain_class` by class byte."""


def mac_header(command: CommandApdu, length: int) -> bytes:
    """The header as a C-MAC covers it: CLA as on the basic channel with secure messaging ‖ INS ‖ P1 ‖ P2 ‖ Lc."""
    head = (command.cla & MAC_CLASS_MASK | MAC_CLASS, command.ins, command.p1, command.p2)
    if command.extended or length > MAX_SHORT_NC:
        return bytes((*head, 0, length >> 8, length & 0xFF))
    return bytes((*head, length))


def is_piece(layer: SecureChannel, command: CommandApdu) -> bool:
    """True when a command with bit 8 of P1 is a piece of a longer INSTALL or DELETE (11.1.5.1).

    The sender protects the long command as a whole and cuts it then, so that a piece has no C-MAC of its own. In an
    open session only: elsewhere the command is refused as it comes.
    """
    return isinstance(layer, DomainChannel) and layer.takes_pieces(command)


def is_piece_of_keys(layer: SecureChannel, command: CommandApdu) -> bool:
    """The same for PUT KEY, where bit 8 also tells that another whole PUT KEY follows; such a one has its own C-MAC."""
    return isinstance(layer, DomainChannel) and layer.takes_pieces(command) and not layer.is_whole(command)


def needs_no_protection(command: CommandApdu) -> bool:
    """True for SELECT by name, MANAGE CHANNEL, and what begins another session, with a plain class byte."""
    if command.cla & _PROPRIETARY_CLASS:
        return command.ins in _BEGINNINGS and not is_secured(command.cla)
    return command.ins == _INS_MANAGE_CHANNEL or (command.ins == _INS_SELECT and command.p1 == _BY_NAME)


class DomainChannel(ABC):
    """A session between a host and a security domain; see `SecureChannel`.

    Attributes:
        indication: class-byte indication of the session; none in a session that protects no commands.
        exclusive: commands that are not protected as the session demands are refused.
        proofs: SECURE_CHANNEL once the host is authenticated and each command carries a MAC.
        key_version: version of the key set, or of the card's key, that opened it.
        authenticated: the host has proved its keys.
        level: security level of the session, `SecurityLevel` bits.
        sensitive_block: block length of the cipher for sensitive data, in bytes.
    """

    __slots__ = ("authenticated", "exclusive", "indication", "key_version", "level", "proofs")

    protocol: ClassVar[Protocol]
    sensitive_block: ClassVar[int]

    def __init__(self, key_version: int) -> None:
        self.indication = SecureMessagingIndication.PROPRIETARY
        self.exclusive = False
        self.proofs = 0
        self.key_version = key_version
        self.authenticated = False
        self.level = 0

    def __repr__(self) -> str:
        """Protocol and key version only."""
        return f"{type(self).__name__}({self.key_version:02X})"

    @abstractmethod
    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """See `SecureChannel.unwrap`."""

    @abstractmethod
    def wrap(self, data: bytes, sw: StatusWord) -> tuple[bytes, StatusWord]:
        """See `SecureChannel.wrap`."""

    def takes_pieces(self, command: CommandApdu) -> bool:
        """True in an open session, for a command with its class byte."""
        return self.authenticated and is_secured(command.cla) is bool(self.level & SecurityLevel.C_MAC)

    @abstractmethod
    def is_whole(self, command: CommandApdu) -> bool:
        """True when a command carries the C-MAC that comes next; the session does not move. Without C-MAC, always."""

    @abstractmethod
    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Decrypt keys or other secret data that the host encrypted beside the session; padding stays.

        Raises:
            ValueError: no whole blocks.
        """

    @abstractmethod
    def begin_r_mac(self, level: int) -> None:
        """BEGIN R-MAC SESSION: protect the responses after this one.

        Args:
            level: P1.

        Raises:
            IncorrectP1P2: 6A86, a level that this session cannot give.
            ConditionsNotSatisfied: 6985, the session protects its responses already, or its commands too little.
        """

    @abstractmethod
    def end_r_mac(self, *, ends: bool) -> bytes:
        """END R-MAC SESSION: the data field of its answer; the answers after it are as the session began.

        Args:
            ends: False to tell the R-MAC and go on.

        Raises:
            IncorrectP1P2: 6A86, a form that this protocol does not have.
            ConditionsNotSatisfied: 6985, BEGIN R-MAC SESSION did not come before.
        """

    def after_failure(self) -> AbortedSession | None:
        """What is left when `unwrap` refused: an aborted session, nothing when it was not open yet."""
        return AbortedSession() if self.exclusive else None

    def _open(self, level: int, *, authenticated: bool) -> None:
        """Take a security level from now on."""
        self.level = level
        self.authenticated = authenticated
        if level & SecurityLevel.C_MAC:
            self.exclusive = True
            self.proofs = int(Proof.SECURE_CHANNEL) if authenticated else 0
        else:
            self.indication = SecureMessagingIndication.NONE


class AbortedSession:
    """What stands in the place of a session that was aborted: it refuses, until a new one begins (E.1.6)."""

    __slots__ = ("exclusive", "indication", "proofs")

    def __init__(self) -> None:
        self.indication = SecureMessagingIndication.PROPRIETARY
        self.exclusive = True
        self.proofs = 0

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Let pass what ends this state.

        Raises:
            SecurityStatusNotSatisfied: 6982, any other command.
        """
        if needs_no_protection(command):
            return command
        raise SecurityStatusNotSatisfied("the secure channel session was aborted")

    def wrap(self, data: bytes, sw: StatusWord) -> tuple[bytes, StatusWord]:
        """In plain."""
        return data, sw

    def after_failure(self) -> AbortedSession:
        """Itself."""
        return self
