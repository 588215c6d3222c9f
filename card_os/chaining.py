"""Command chaining, commands that their sender cut, commands in ENVELOPE, and response data in several pieces.

Source: ISO/IEC 7816-4:2020, clauses 5.3.3 (command chaining) and 5.3.4 (response chaining), 11.8.1 (GET RESPONSE) and
11.8.2 (ENVELOPE); GlobalPlatform Card Specification 2.3.1, clause 11.1.5.1 (bit 8 of P1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_EXTENDED_NC, MAX_SHORT_NE, CommandApdu
from card_os.iso7816.errors import (
    ChainingNotSupported,
    ConditionsNotSatisfied,
    IncorrectP1P2,
    LastOfChainExpected,
    NcInconsistentWithTlv,
    WrongData,
    WrongLength,
)
from card_os.iso7816.status import SW, StatusWord

if TYPE_CHECKING:
    from card_os.channels import Channel

INS_GET_RESPONSE: Final = 0xC0
_INS_ENVELOPE: Final = 0xC2
_INS_ENVELOPE_ODD: Final = 0xC3
INS_ENVELOPES: Final = (_INS_ENVELOPE, _INS_ENVELOPE_ODD)
_TAG_COMMAND: Final = 0x52
_CHAINING_BIT: Final = 0x10
MORE_COMMANDS: Final = 0x80
"""Bit 8 of P1 in every piece of a cut command but the last (GPC 2.3.1, 11.1.5.1)."""
_OK: Final = SW.OK
_OK_BYTES: Final = SW.OK.encode()


class CommandChain:
    """The pieces of one chained command so far.

    Args:
        first: the first command of the chain.
    """

    __slots__ = ("_head", "_parts", "_size")

    def __init__(self, first: CommandApdu) -> None:
        self._head = _head(first)
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, command: CommandApdu) -> None:
        """Take the next piece.

        Raises:
            LastOfChainExpected: 6883, another command than the one that is chained.
            WrongLength: 6700, more than 65,535 bytes in all.
        """
        if _head(command) != self._head:
            raise LastOfChainExpected("another command in the middle of a chain")
        self._size += len(command.data)
        if self._size > MAX_EXTENDED_NC:
            raise WrongLength("chained data longer than 65,535 bytes")
        self._parts.append(command.data)

    def whole(self, last: CommandApdu) -> CommandApdu:
        """The command with the data of all its pieces; Ne is that of the last one."""
        return last._replace(data=b"".join(self._parts))


def _head(command: CommandApdu) -> tuple[int, int, int, int]:
    return command.cla & ~_CHAINING_BIT, command.ins, command.p1, command.p2


class CutCommand:
    """The pieces so far of a command that is protected as a whole and was cut afterwards.

    Args:
        first: its first piece.
    """

    __slots__ = ("_head", "_parts", "_size")

    def __init__(self, first: CommandApdu) -> None:
        self._head = _cut_head(first)
        self._parts = [first.data]
        self._size = len(first.data)

    def add(self, command: CommandApdu) -> bool:
        """Take the next piece; False when the command is none of this one's.

        Raises:
            WrongLength: 6700, more than 65,535 bytes in all.
        """
        if _cut_head(command) != self._head:
            return False
        self._size += len(command.data)
        if self._size > MAX_EXTENDED_NC:
            raise WrongLength("the pieces have more than 65,535 bytes")
        self._parts.append(command.data)
        return True

    def whole(self, last: CommandApdu) -> CommandApdu:
        """The command with the data of all its pieces; P1 and Ne are those of the last one."""
        return last._replace(data=b"".join(self._parts))


def _cut_head(command: CommandApdu) -> tuple[int, int, int, int]:
    return command.cla, command.ins, command.p1 & ~MORE_COMMANDS, command.p2


def unwrap_envelope(envelope: CommandApdu) -> CommandApdu:
    """The command that a whole ENVELOPE carries: C2 as its data, C3 in a command-to-perform object (52).

    Raises:
        IncorrectP1P2: 6A86, P1-P2 not 0000.
        WrongLength: 6700, what is inside is no command.
        NcInconsistentWithTlv: 6A85, C3 without one well-formed object.
        WrongData: 6A80, C3 with another object.
    """
    if envelope.p1 or envelope.p2:
        raise IncorrectP1P2("ENVELOPE has P1-P2 0000")
    if envelope.ins == _INS_ENVELOPE:
        return CommandApdu.parse(envelope.data)
    try:
        item = tlv.parse_one(envelope.data)
    except tlv.TlvError as error:
        raise NcInconsistentWithTlv(str(error)) from error
    if item.tag != _TAG_COMMAND:
        raise WrongData("a command to perform")
    return CommandApdu.parse(item.value)


def respond(channel: Channel, ne: int, data: bytes, sw: StatusWord) -> bytes:
    """The response APDU; what is longer than ``ne`` waits for GET RESPONSE and is announced by 61xx."""
    if len(data) <= ne:
        return data + (_OK_BYTES if sw is _OK else sw.to_bytes(2, "big"))
    channel.pending = data[ne:]
    channel.pending_sw = sw
    return data[:ne] + StatusWord.more_available(len(data) - ne).encode()


def get_response(channel: Channel, command: CommandApdu) -> bytes:
    """GET RESPONSE: the next piece of what waits.

    Without Le, four bytes, it asks for all of it: GET RESPONSE always expects data, and by T=0 the header alone goes
    with P3 = 00, which stands for Le = 256 (ISO/IEC 7816-3:2006, clause 12.1). Hosts in the field send it so. Secure
    messaging that the class byte indicates says nothing: what waits is protected as a whole, and hosts repeat the class
    byte of their command.

    Raises:
        ChainingNotSupported: 6884, as a piece of a chain.
        IncorrectP1P2: 6A86, P1-P2 not 0000.
        WrongLength: 6700, data.
        ConditionsNotSatisfied: 6985, nothing waits.
    """
    data, sw = channel.pending, channel.pending_sw
    if command.cla & _CHAINING_BIT:
        raise ChainingNotSupported("GET RESPONSE is whole")
    if command.p1 or command.p2:
        raise IncorrectP1P2("GET RESPONSE has P1-P2 0000")
    if command.data:
        raise WrongLength("GET RESPONSE has no data")
    if sw is None:
        raise ConditionsNotSatisfied("no response data waits")
    channel.pending, channel.pending_sw = b"", None
    return respond(channel, command.ne or MAX_SHORT_NE, data, sw)
