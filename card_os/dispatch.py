"""From command bytes to response bytes, for one interface.

The order of the layers: class byte (256 rows) → channel → chaining and pieces → secure messaging → SELECT by name,
MANAGE CHANNEL or the command table of the selected application → life cycle → access rule → handler → secure messaging
→ response chaining. ENVELOPE and GET RESPONSE belong to the channel and not to the application. Only this module makes
status words out of errors.

Source: ISO/IEC 7816-4:2020, clauses 5.3 to 5.6 and 11.1.2 (MANAGE CHANNEL) and 11.8.2 (ENVELOPE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.answers import SERVICE_DATA
from card_os.chaining import (
    INS_ENVELOPES,
    INS_GET_RESPONSE,
    MORE_COMMANDS,
    CommandChain,
    CutCommand,
    get_response,
    respond,
    unwrap_envelope,
)
from card_os.channels import CHANNEL_COUNT, Channel
from card_os.files.card_information import card_service_data
from card_os.globalplatform.registry import CardLifeCycle, Privilege
from card_os.hardware.work import Work
from card_os.iso7816.apdu import CLASS_BYTES, MAX_SHORT_NE, ClassByte, CommandApdu, SecureMessagingIndication
from card_os.iso7816.errors import (
    CardError,
    ChainingNotSupported,
    ChannelNotSupported,
    ClaNotSupported,
    ConditionsNotSatisfied,
    FunctionNotSupported,
    IncorrectP1P2,
    InsNotSupported,
    SecureMessagingNotSupported,
    SecurityStatusNotSatisfied,
    WrongLength,
)
from card_os.iso7816.status import SW, StatusWord
from card_os.security.access import ALWAYS, Proof, explain
from card_os.selection import INS_SELECT, P1_BY_NAME, Selector

if TYPE_CHECKING:
    from card_os.applet_api import Context, SecureChannel
    from card_os.runtime import Runtime

_INS_MANAGE_CHANNEL: Final = 0x70
_INS_GET_DATA: Final = 0xCA
_OF_THE_CARD: Final = frozenset({INS_SELECT, _INS_MANAGE_CHANNEL})
_TRANSPORT: Final = frozenset({INS_GET_RESPONSE, *INS_ENVELOPES})
_OPEN: Final = 0x00
_CLOSE: Final = 0x80
_PLAIN: Final = SecureMessagingIndication.NONE
_OK: Final = SW.OK
_OK_BYTES: Final = SW.OK.encode()
_SECURED: Final = int(CardLifeCycle.SECURED)
_TERMINATED: Final = int(CardLifeCycle.TERMINATED)
_CONTACT: Final = int(Proof.CONTACT)


class Dispatcher:
    """Commands of one interface between activation and deactivation.

    Args:
        runtime: what the card has booted.
        interface: `Proof.CONTACT` or `Proof.CONTACTLESS`.

    Attributes:
        last_error: why the last command did not end with 9000, None after success; without its traceback, which would
            keep everything that the command held.
    """

    __slots__ = (
        "_channels",
        "_clock",
        "_files",
        "_most_without_le",
        "_proof",
        "_protected_byte_ns",
        "_runtime",
        "_selector",
        "_touched",
        "last_error",
    )

    def __init__(self, runtime: Runtime, interface: Proof) -> None:
        self._runtime = runtime
        self._files = runtime.files
        self._touched = runtime.store.touched  # what rules were read from has changed
        self._clock = runtime.clock
        self._protected_byte_ns = self._clock.times.get(Work.SECURE_MESSAGING_BYTE, 0)
        self._proof = int(interface)
        self._most_without_le = MAX_SHORT_NE if runtime.answers_without_le else 0
        self._selector = Selector(runtime, interface)
        self._channels: dict[int, Channel] = {}
        self.last_error: CardError | None = None
        self._selector.enter_default(self._open(0))

    @property
    def service_data(self) -> int:
        """Card service data byte of what is selected on the basic channel."""
        context = self._channels[0].context
        if context is None:
            return SERVICE_DATA
        try:
            return card_service_data(context.files)
        except Exception:  # noqa: BLE001 - damaged files: a card starts all the same, and commands on them tell
            return SERVICE_DATA

    def process(self, raw: bytes) -> bytes:
        """Execute one command APDU."""
        self.last_error = None
        try:
            command = CommandApdu.parse(raw)
            cla, ins, p1, _, _, ne, _ = command  # takes no longer than two fields by their names
            class_byte = CLASS_BYTES[cla]
            if class_byte is None:
                raise ClaNotSupported("reserved class byte")
            channel = self._channels.get(class_byte.channel)
            if channel is None:
                raise ChannelNotSupported("the channel is not open")
            if ins in _TRANSPORT and class_byte.interindustry:
                if ins != INS_GET_RESPONSE:
                    return self._envelope(channel, class_byte, command)
                if channel.chain is None:
                    return get_response(channel, command)
            if channel.pending_sw is not None:
                channel.pending, channel.pending_sw = b"", None
            if (
                class_byte.chained
                or channel.chain is not None
                or channel.cut is not None
                or (p1 & MORE_COMMANDS and channel.secured)
            ):
                whole = self._collect(channel, class_byte, command)
                if whole is None:
                    return _OK_BYTES
                command, ne = whole, whole.ne
        except CardError as error:
            self.last_error = error.with_traceback(None)
            return error.sw.to_bytes(2, "big")
        return self._execute(channel, class_byte, command, ne)

    def _envelope(self, channel: Channel, class_byte: ClassByte, command: CommandApdu) -> bytes:
        """ENVELOPE: the command inside is executed, and its answer is the answer of the last ENVELOPE (11.8.2).

        Raises:
            CardError: the ENVELOPE itself, or what is inside, is no command for this channel.
        """
        channel.pending, channel.pending_sw = b"", None
        if class_byte.secure_messaging is not _PLAIN:
            raise SecureMessagingNotSupported("the command inside is protected, not ENVELOPE")
        chain = channel.chain
        if class_byte.chained or chain is not None:
            channel.chain = None
            chain = chain or CommandChain(command)
            chain.add(command)
            if class_byte.chained:
                channel.chain = chain
                return _OK_BYTES
            command = chain.whole(command)
        inner = unwrap_envelope(command)
        inner_class = CLASS_BYTES[inner.cla]
        if inner_class is None:
            raise ClaNotSupported("reserved class byte")
        if inner_class.channel != channel.number:
            raise ChannelNotSupported("the command inside is for another channel")
        if inner_class.chained:
            raise ChainingNotSupported("the command inside is whole")
        if inner.ins in _TRANSPORT and inner_class.interindustry:
            raise FunctionNotSupported("ENVELOPE carries neither ENVELOPE nor GET RESPONSE")
        return self._execute(channel, inner_class, inner, command.ne)

    def _collect(self, channel: Channel, class_byte: ClassByte, command: CommandApdu) -> CommandApdu | None:
        """Take a part of a command that comes in several, of either kind; returns the whole after the last one."""
        if class_byte.chained or channel.chain is not None:
            whole = self._chain(channel, class_byte, command)
            if whole is None:
                return None
            command = whole
        return self._join(channel, class_byte, command)

    def _chain(self, channel: Channel, class_byte: ClassByte, command: CommandApdu) -> CommandApdu | None:
        """Take a piece of a chain; returns the whole command after the last one."""
        chain = channel.chain
        if chain is None:
            own = class_byte.interindustry and command.ins in (INS_SELECT, _INS_MANAGE_CHANNEL)
            instruction = channel.instructions.get((not class_byte.interindustry, command.ins))
            if instruction is None and not own:
                raise self._unsupported(channel, class_byte, command.ins)
            if instruction is not None and instruction.stepwise and not own:
                return command
            if instruction is None or own or not instruction.chaining:
                raise ChainingNotSupported("this command cannot be chained")
            chain = CommandChain(command)
        channel.chain = None
        chain.add(command)
        if not class_byte.chained:
            return chain.whole(command)
        channel.chain = chain
        return None

    @staticmethod
    def _join(channel: Channel, class_byte: ClassByte, command: CommandApdu) -> CommandApdu | None:
        """Take a piece of a cut command; returns the whole command after the last one, and what is no piece as it is.

        Another command in the middle ends what was begun: nothing of it was executed, or entered a MAC.
        """
        cut, channel.cut = channel.cut, None
        more = command.p1 & MORE_COMMANDS
        if cut is not None and cut.add(command):
            if not more:
                return cut.whole(command)
            channel.cut = cut
            return None
        instruction = channel.instructions.get((not class_byte.interindustry, command.ins))
        if not more or instruction is None or instruction.is_piece is None or channel.context is None:
            return command
        layer = channel.context.session.secure_channel
        if layer is None or not instruction.is_piece(layer, command):
            return command
        channel.cut = CutCommand(command)
        return None

    def _execute(self, channel: Channel, class_byte: ClassByte, command: CommandApdu, ne: int) -> bytes:
        """Secure messaging around the command, and what became of it as bytes, ``ne`` of them at once."""
        runtime = self._runtime
        runtime.running = channel
        context = channel.context
        try:
            if class_byte.secure_messaging is _PLAIN and (context is None or context.session.secure_channel is None):
                data, sw = self._run(channel, class_byte, command, None), _OK
            else:
                data, sw = self._run_protected(channel, class_byte, command)
        except CardError as error:
            self.last_error = error.with_traceback(None)
            data, sw = error.data, error.sw
        except Exception as fault:  # noqa: BLE001 - a bug: counted, the keys of a layer dropped, answered 6F00 in plain
            data, sw = b"", self._fault(fault)
            if channel.context is not None:
                channel.context.session.secure_channel = None
        if runtime.registry.changed or self._files.changed or self._touched:
            runtime.settle(failed=self.last_error is not None)
        runtime.running = None
        if not data and sw is _OK:
            return _OK_BYTES
        return respond(channel, ne or self._most_without_le, data, sw)

    def _run_protected(self, channel: Channel, class_byte: ClassByte, command: CommandApdu) -> tuple[bytes, StatusWord]:
        """Run a command that comes under a layer, opens one or ends one; its answer goes under the layer too.

        Raises:
            CardError: the layer refuses the command; answered in plain.
        """
        layer = self._layer(channel, class_byte, command)
        if layer is None:
            return self._run(channel, class_byte, command, None), _OK
        data, sw = self._guarded(channel, class_byte, self._unwrap(channel, layer, command), layer)
        data, sw = layer.wrap(data, sw)
        self._clock.now_ns += self._protected_byte_ns * (len(command.data) + len(data))
        return data, sw

    def _layer(self, channel: Channel, class_byte: ClassByte, command: CommandApdu) -> SecureChannel | None:
        """The secure messaging layer that a command goes through; one that it does not ask for is ended."""
        session = channel.context.session if channel.context is not None else None
        layer = session.secure_channel if session is not None else None
        if layer is not None and session is not None:
            if layer.indication is class_byte.secure_messaging or layer.exclusive:
                return layer
            session.secure_channel = None
        if class_byte.secure_messaging is not _PLAIN:
            instruction = channel.instructions.get((not class_byte.interindustry, command.ins))
            if instruction is None or not instruction.opens_secure_channel:
                raise SecureMessagingNotSupported("no secure messaging session for this class byte")
        return None

    @staticmethod
    def _unwrap(channel: Channel, layer: SecureChannel, command: CommandApdu) -> CommandApdu:
        """Verify and decrypt; a failure ends the layer, or leaves one that refuses, and is answered in plain."""
        try:
            return layer.unwrap(command)
        except CardError:
            if channel.context is not None:
                channel.context.session.secure_channel = layer.after_failure()
            raise

    def _guarded(
        self, channel: Channel, class_byte: ClassByte, command: CommandApdu, layer: SecureChannel
    ) -> tuple[bytes, StatusWord]:
        """Run what a layer has unwrapped; whatever it raises becomes a status word, which the layer wraps."""
        try:
            return self._run(channel, class_byte, command, layer), _OK
        except CardError as error:
            self.last_error = error.with_traceback(None)
            return error.data, error.sw
        except Exception as fault:  # noqa: BLE001 - anything but a CardError is a bug: counted and answered 6F00
            return b"", self._fault(fault)

    def _fault(self, fault: Exception) -> StatusWord:
        self._runtime.count_fault(fault)
        self.last_error = CardError("internal fault")
        return SW.NO_PRECISE_DIAGNOSIS

    def _run(self, channel: Channel, class_byte: ClassByte, command: CommandApdu, layer: SecureChannel | None) -> bytes:
        """Find the command in the table, ask life cycle and rule, call the handler."""
        ins, interindustry = command.ins, class_byte.interindustry
        if ins in _OF_THE_CARD and interindustry:
            if ins == _INS_MANAGE_CHANNEL:
                self._require_alive()
                return self._manage_channel(channel, command)
            if command.p1 == P1_BY_NAME:
                self._require_alive()
                return self._selector.select(channel, command)
        instruction = channel.instructions.get((not interindustry, ins))
        context = channel.context
        if instruction is None or context is None:
            raise self._unsupported(channel, class_byte, ins)
        proofs = context.session.proofs | self._proof
        if layer is not None:
            proofs |= layer.proofs
        context.proofs = proofs
        if self._runtime.registry.card_life_cycle >= _SECURED:
            self._check_card_state(context, ins)
        states = instruction.states
        if states is not None and context.application.life_cycle not in states:
            raise ConditionsNotSatisfied("not allowed in this state of the application")
        access = instruction.access
        if access is not ALWAYS and not access.allows(proofs):
            raise SecurityStatusNotSatisfied(explain(access, proofs))
        if context.application.owner not in self._files.without_command_rules:
            context.files.require_command(command, proofs)
        return instruction.handler(context, command)

    @staticmethod
    def _unsupported(channel: Channel, class_byte: ClassByte, ins: int) -> CardError:
        """6E00 when the application has this instruction in the other class only, else 6D00."""
        if (class_byte.interindustry, ins) in channel.instructions:
            return ClaNotSupported("this instruction exists in the other class only")
        return InsNotSupported("the application has no such instruction, or none is selected")

    def _require_alive(self) -> None:
        if self._runtime.registry.card_life_cycle == _TERMINATED:
            raise ConditionsNotSatisfied("the card is terminated")

    def _check_card_state(self, context: Context, ins: int) -> None:
        """What a secured, locked or terminated card still runs (GP 2.3.1, 5.1.1).

        Secured: domains over contact only, also where one was selected before. Locked: the final application only.
        Terminated: GET DATA of a final application that is a domain only.
        """
        application, runtime = context.application, self._runtime
        state = runtime.registry.card_life_cycle
        if self._proof != _CONTACT and application.is_security_domain and not self._selector.allowed(application):
            raise ConditionsNotSatisfied("the domains of a secured card are for contact only")
        if state > _SECURED:
            if application is not runtime.registry.holder(Privilege.FINAL_APPLICATION):
                raise ConditionsNotSatisfied("the card is locked")
            if ins != _INS_GET_DATA or not application.is_security_domain:
                self._require_alive()

    def _open(self, number: int) -> Channel:
        channel = Channel(number)
        self._channels[number] = channel
        self._runtime.channels.add(channel)
        return channel

    def close(self) -> None:
        """End every channel: power is gone or the interface is reset."""
        self._runtime.channels.difference_update(self._channels.values())
        self._channels.clear()

    def _manage_channel(self, origin: Channel, command: CommandApdu) -> bytes:
        """MANAGE CHANNEL: open (P1 00; P2 00 lets the card choose the number and answer it) or close (P1 80)."""
        p1, p2 = command.p1, command.p2
        if command.data:
            raise WrongLength("MANAGE CHANNEL has no data")
        if p1 == _CLOSE:
            self._close_channel(p2 or origin.number)
            return b""
        if p1 != _OPEN:
            raise IncorrectP1P2("open or close only")
        if p2 >= CHANNEL_COUNT or (p2 and p2 in self._channels):
            raise ChannelNotSupported("no such channel, or it is open")
        if p2 == 0 and not command.ne:
            raise WrongLength("the number of the channel needs Le")
        number = p2 or next((free for free in range(1, CHANNEL_COUNT) if free not in self._channels), 0)
        if number == 0:
            raise FunctionNotSupported("every channel is open")
        channel = self._open(number)
        if origin.number == 0:
            self._selector.enter_default(channel)
        elif origin.context is not None:
            self._selector.enter(channel, origin.context.application)
        return b"" if p2 else bytes((number,))

    def _close_channel(self, number: int) -> None:
        channel = self._channels.get(number)
        if number == 0 or channel is None:
            raise ChannelNotSupported("the basic channel cannot be closed, nor one that is not open")
        self._selector.leave(channel)
        del self._channels[number]
        self._runtime.channels.discard(channel)
