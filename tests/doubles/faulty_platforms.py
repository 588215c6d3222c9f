"""Faults of secure channels, logical channels and chains; see `faulty_cards`."""

from __future__ import annotations

from typing import Any

from card_os import dispatch, port
from card_os.chaining import CommandChain
from card_os.dispatch import Dispatcher
from card_os.globalplatform import aes_messaging, data_objects, keys, scp03
from card_os.globalplatform.aes_messaging import AesMessaging
from card_os.globalplatform.scp03 import Scp03Channel
from card_os.globalplatform.secure_channel import mac_header
from card_os.iso7816 import errors
from card_os.iso7816.errors import AuthenticationFailed, CardError
from card_os.security.secure_messaging import IsoSecureMessaging
from card_os.selection import Selector
from tests.doubles.faulty_cards import Patch, around, fault

# ---------------------------------------------------------------------------------------------------------------- SCP03


@fault("test_a_damaged_mac_is_refused_and_ends_the_session")
def no_command_mac_is_checked(patch: Patch) -> None:
    patch.setattr(aes_messaging, "equal", lambda _mine, _theirs: True)


@fault("test_a_damaged_mac_is_refused_and_ends_the_session")
def four_bytes_of_a_command_mac_are_checked(patch: Patch) -> None:
    patch.setattr(aes_messaging, "equal", lambda mine, theirs: mine[:4] == theirs[:4])


@fault("test_the_right_command_after_a_damaged_mac_is_refused")
def a_secure_channel_survives_a_wrong_mac(patch: Patch) -> None:
    def unwrap(channel: Any, layer: Any, command: Any) -> Any:
        try:
            return layer.unwrap(command)
        except CardError:
            if isinstance(layer, IsoSecureMessaging):
                channel.context.session.secure_channel = None
            raise

    patch.setattr(Dispatcher, "_unwrap", staticmethod(unwrap))


def authenticating(patch: Patch, *, cryptogram: bool, mac: bool) -> None:
    """EXTERNAL AUTHENTICATE that looks at one half of its data."""

    def authenticate(self: Any, command: Any) -> None:
        proof, sent = command.data[:8], command.data[8:]
        chain = self._cmac.compute(bytes(16) + mac_header(command, len(command.data)) + proof)
        if (cryptogram and proof != self._host_cryptogram) or (mac and sent != chain[:8]):
            raise AuthenticationFailed("host cryptogram or MAC is wrong")
        self._chain = chain
        self._start(command.p1, authenticated=True)

    patch.setattr(Scp03Channel, "authenticate", authenticate)


@fault("test_a_wrong_host_cryptogram_is_refused")
def no_host_cryptogram_is_checked(patch: Patch) -> None:
    authenticating(patch, cryptogram=False, mac=True)


@fault("test_external_authenticate_with_a_wrong_mac_is_refused")
def no_mac_of_the_authentication_is_checked(patch: Patch) -> None:
    authenticating(patch, cryptogram=True, mac=False)


@fault("test_an_undefined_level_is_refused")
def any_security_level_is_taken(patch: Patch) -> None:
    patch.setattr(scp03, "security_levels", lambda _: frozenset(range(256)))


@fault("test_the_sequence_counter_moves")
def the_sequence_counter_stands(patch: Patch) -> None:
    patch.setattr(keys, "advance_sequence_counter", lambda *_: b"\x00\x00\x01")


@fault("test_the_sequence_counter_moves")
def the_sequence_counter_leaps(patch: Patch) -> None:
    around(
        patch, keys, "advance_sequence_counter", lambda former, *arguments: (former(*arguments), former(*arguments))[1]
    )


@fault("test_the_sequence_counter_survives_a_reset")
def the_sequence_counter_is_volatile(patch: Patch) -> None:
    moved: list[None] = []

    def start(former: Any, *arguments: Any) -> Any:
        moved.clear()
        return former(*arguments)

    def advance(*arguments: Any) -> bytes:
        moved.append(None)
        return len(moved).to_bytes(3, "big")

    around(patch, port.Port, "_start", start)
    patch.setattr(keys, "advance_sequence_counter", advance)


@fault("test_a_plain_command_in_a_session_manages_nothing")
def a_plain_command_manages(patch: Patch) -> None:
    def plain(self: Any, command: Any) -> Any:
        self._bare = True
        return command

    patch.setattr(AesMessaging, "_plain", plain)


@fault("test_an_error_comes_without_data")
def errors_have_a_response_mac(patch: Patch) -> None:
    def wrap(former: Any, self: Any, data: bytes, sw: Any) -> Any:
        answer, told = former(self, data, sw)
        return answer or self._rmac.compute(self._chain + sw.to_bytes(2, "big"))[:8], told

    around(patch, AesMessaging, "wrap", wrap)


@fault("test_each_security_level_carries_a_command", "test_get_status_tells_that_the_card_is_secured")
def responses_are_not_enciphered(patch: Patch) -> None:
    def level(former: Any, self: Any, chosen: int) -> None:
        former(self, chosen)
        self._encrypts = False

    around(patch, AesMessaging, "_set_response_level", level)


@fault("test_a_selection_ends_the_session")
def a_secure_channel_survives_a_selection(patch: Patch) -> None:
    def enter(former: Any, self: Any, channel: Any, application: Any) -> Any:
        held = channel.context.session.secure_channel if channel.context is not None else None
        answer = former(self, channel, application)
        if held is not None:
            channel.context.session.secure_channel = held
        return answer

    around(patch, Selector, "enter", enter)


# --------------------------------------------------------------------------------------- channels, chains and responses


@fault("test_a_channel_selects_for_itself", "test_a_pin_holds_on_its_channel_only")
def channels_share_what_is_selected(patch: Patch) -> None:
    def opened(former: Any, self: Any, number: int) -> Any:
        if 0 in self._channels:
            self._channels[number] = self._channels[0]
            return self._channels[0]
        return former(self, number)

    def enter(former: Any, self: Any, channel: Any) -> None:
        if channel.context is None:
            former(self, channel)

    around(patch, Dispatcher, "_open", opened)
    around(patch, Selector, "enter_default", enter)


@fault("test_the_basic_channel_stays")
def the_basic_channel_is_closed(patch: Patch) -> None:
    def close(former: Any, self: Any, number: int) -> None:
        if number:
            former(self, number)
        else:
            self._selector.leave(self._channels[0])

    around(patch, Dispatcher, "_close_channel", close)


@fault("test_another_command_ends_a_chain")
def a_chain_goes_on_with_another_command(patch: Patch) -> None:
    def add(former: Any, self: Any, command: Any) -> None:
        self._head = command.cla & ~0x10, command.ins, command.p1, command.p2
        former(self, command)

    around(patch, CommandChain, "add", add)


def keeping_responses(patch: Patch, *, over_commands: bool, over_resets: bool) -> None:
    """A card that does not forget what waits for GET RESPONSE."""
    kept: list[Any] = [b"", None]

    def process(former: Any, self: Any, raw: bytes) -> Any:
        answer = former(self, raw)
        channel = self._channels[0]
        if over_commands and channel.pending_sw is None and raw[1] != 0xC0:
            channel.pending, channel.pending_sw = kept
        kept[:] = channel.pending, channel.pending_sw
        return answer

    def started(former: Any, self: Any, runtime: Any, interface: Any) -> None:
        former(self, runtime, interface)
        if over_resets:
            self._channels[0].pending, self._channels[0].pending_sw = kept

    around(patch, Dispatcher, "process", process)
    patch.setattr(Dispatcher, "__init__", _bound(Dispatcher.__init__, started))


def _bound(former: Any, change: Any) -> Any:
    def changed(self: Any, *arguments: Any) -> None:
        change(former, self, *arguments)

    return changed


@fault("test_a_waiting_response_is_gone_after_another_command")
def a_response_waits_over_commands(patch: Patch) -> None:
    keeping_responses(patch, over_commands=True, over_resets=False)


@fault("test_a_waiting_response_is_gone_after_a_reset")
def a_response_waits_over_resets(patch: Patch) -> None:
    keeping_responses(patch, over_commands=False, over_resets=True)


@fault("test_what_a_short_le_leaves_is_fetched_with_get_response")
def a_short_le_cuts_the_response(patch: Patch) -> None:
    patch.setattr(dispatch, "respond", lambda _, ne, data, sw: data[:ne] + sw.to_bytes(2, "big"))


@fault("test_select_in_extended_form", "test_case_2_extended_gives_the_same")
def extended_length_is_wrong_length(patch: Patch) -> None:
    def process(former: Any, self: Any, raw: bytes) -> Any:
        return b"\x67\x00" if len(raw) > 5 and not raw[4] else former(self, raw)

    around(patch, Dispatcher, "process", process)


@fault("test_get_response_without_anything_waiting_is_refused")
def errors_come_with_data(patch: Patch) -> None:
    def process(former: Any, self: Any, raw: bytes) -> Any:
        answer = former(self, raw)
        return bytes(2) + answer if answer == b"\x69\x85" else answer

    around(patch, Dispatcher, "process", process)


def answering(patch: Patch, error: type[CardError], other: type[CardError]) -> None:
    """Another status word for an error."""
    patch.setattr(error, "status", other.status)


@fault("test_an_unknown_file_is_not_found")
def an_unknown_file_is_unknown_data(patch: Patch) -> None:
    answering(patch, errors.FileNotFound, errors.ReferenceDataNotFound)


@fault("test_an_unknown_key_is_not_found")
def an_unknown_key_is_an_unknown_file(patch: Patch) -> None:
    answering(patch, errors.ReferenceDataNotFound, errors.FileNotFound)


@fault("test_no_file_is_readable_without_authentication")
def what_is_not_allowed_is_not_satisfied(patch: Patch) -> None:
    answering(patch, errors.SecurityStatusNotSatisfied, errors.ConditionsNotSatisfied)


@fault("test_a_blocked_pin_is_refused_and_can_be_unblocked")
def what_is_blocked_is_not_allowed(patch: Patch) -> None:
    answering(patch, errors.MethodBlocked, errors.SecurityStatusNotSatisfied)


@fault("test_a_damaged_mac_ends_the_session")
def a_wrong_mac_is_a_missing_one(patch: Patch) -> None:
    answering(patch, errors.SmObjectIncorrect, errors.SmObjectMissing)


@fault("test_an_unknown_instruction_is_not_supported")
def an_unknown_instruction_is_an_unknown_class(patch: Patch) -> None:
    answering(patch, errors.InsNotSupported, errors.ClaNotSupported)


@fault("test_lengths_that_fit_no_case_are_wrong")
def a_wrong_length_is_wrong_data(patch: Patch) -> None:
    answering(patch, errors.WrongLength, errors.WrongData)


@fault("test_a_channel_that_is_not_open_is_refused")
def a_closed_channel_is_an_unknown_class(patch: Patch) -> None:
    answering(patch, errors.ChannelNotSupported, errors.ClaNotSupported)


@fault("test_reads_at_the_end_of_a_file")
def a_read_beyond_the_end_is_an_unknown_file(patch: Patch) -> None:
    answering(patch, errors.WrongParameters, errors.FileNotFound)


@fault("test_a_record_beyond_the_file_is_not_found")
def an_unknown_record_is_an_unknown_file(patch: Patch) -> None:
    answering(patch, errors.RecordNotFound, errors.FileNotFound)


@fault("test_the_production_data_is_closed_without_a_session")
def anybody_reads_the_production_data(patch: Patch) -> None:
    patch.setattr(data_objects, "_guard", lambda _: None)
