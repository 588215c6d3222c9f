"""Faults of secure messaging and of authentication; see `faulty_cards`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from card_os.dispatch import Dispatcher
from card_os.iso7816.errors import (
    CardError,
    SmObjectIncorrect,
)
from card_os.iso7816.tlv import parse_length
from card_os.security import authentication, secure_messaging
from card_os.security.block_ciphers import cbc_decrypt
from card_os.security.secure_messaging import IsoSecureMessaging
from tests.doubles.faulty_cards import (
    EVERYTHING,
    Handler,
    Patch,
    around,
    blind,
    comparing,
    fault,
    handler,
    nothing,
    open_command,
    retrying,
    without_tries,
)

# ----------------------------------------------------------------------------------------------------- secure messaging


@fault("test_a_damaged_mac_ends_the_session")
def no_mac_is_checked(patch: Patch) -> None:
    comparing(patch, slice(0))


@fault("test_a_damaged_mac_ends_the_session")
def four_bytes_of_a_mac_are_checked(patch: Patch) -> None:
    comparing(patch, slice(4))


@fault("test_a_replayed_command_is_refused")
def the_last_command_can_be_replayed(patch: Patch) -> None:
    retrying(patch, (0, -2))


@fault("test_an_older_command_is_refused")
def the_command_before_the_last_can_be_replayed(patch: Patch) -> None:
    retrying(patch, (0, -4))


@fault("test_an_older_command_is_refused")
def an_old_command_can_be_replayed(patch: Patch) -> None:
    retrying(patch, (0, -14))


@fault("test_a_skipped_counter_is_refused")
def the_counter_may_skip(patch: Patch) -> None:
    retrying(patch, (0, 1, 2))


@fault("test_a_changed_header_is_refused")
def p2_is_not_under_the_mac(patch: Patch) -> None:
    blind(patch, "p2", range(256))


@fault("test_a_changed_header_is_refused")
def ins_is_not_under_the_mac(patch: Patch) -> None:
    blind(patch, "ins", range(0, 256, 2))


@fault("test_a_damaged_mac_ends_the_session")
def a_session_survives_a_wrong_mac(patch: Patch) -> None:
    patch.setattr(Dispatcher, "_unwrap", staticmethod(lambda _, layer, command: layer.unwrap(command)))


@fault("test_the_right_command_after_a_wrong_mac_is_refused")
def a_wrong_mac_changes_nothing(patch: Patch) -> None:
    def unwrap(former: Any, channel: Any, layer: Any, command: Any) -> Any:
        if not isinstance(layer, IsoSecureMessaging):
            return former(channel, layer, command)
        begun = layer._counter
        try:
            return layer.unwrap(command)
        except CardError:
            layer._counter = begun
            raise

    former = Dispatcher._unwrap
    patch.setattr(Dispatcher, "_unwrap", staticmethod(lambda *arguments: unwrap(former, *arguments)))


def after_a_layer(patch: Patch, act: Callable[[Any, Any], None]) -> None:
    """Do something when a plain command has ended a session."""

    def layer(former: Any, self: Any, channel: Any, class_byte: Any, command: Any) -> Any:
        session: Any = channel.context.session if channel.context is not None else None
        before = session.secure_channel if session is not None else None
        found = former(self, channel, class_byte, command)
        if isinstance(before, IsoSecureMessaging) and session.secure_channel is None:
            act(session, before)
        return found

    around(patch, Dispatcher, "_layer", layer)


@fault("test_a_plain_command_ends_the_session")
def a_session_survives_a_plain_command(patch: Patch) -> None:
    after_a_layer(patch, lambda session, layer: setattr(session, "secure_channel", layer))


@fault("test_a_plain_command_ends_the_session")
def a_role_survives_its_session(patch: Patch) -> None:
    after_a_layer(patch, lambda session, layer: setattr(session, "proofs", session.proofs | layer.proofs))


@fault("test_an_error_is_protected_too")
def errors_are_answered_in_plain(patch: Patch) -> None:
    def wrap(former: Any, self: Any, data: bytes, sw: Any) -> Any:
        return former(self, data, sw) if sw == 0x9000 else (data, sw)

    around(patch, IsoSecureMessaging, "wrap", wrap)


@fault("test_a_wrong_padding_is_refused")
def padding_is_not_checked(patch: Patch) -> None:
    def decrypt(former: Any, self: Any, protected: bytes, counter: int) -> Any:
        try:
            return former(self, protected, counter)
        except SmObjectIncorrect:
            length, at = parse_length(protected, 1)
            return self._cipher.decrypt(counter, protected[at + 1 : at + length])[:2], at + length

    around(patch, IsoSecureMessaging, "_decrypt", decrypt)


@fault("test_objects_that_a_command_does_not_have_are_refused")
def unknown_objects_are_passed_over(patch: Patch) -> None:
    patch.setattr(secure_messaging, "_expected_length", lambda _protected, _at: 16)


# ------------------------------------------------------------------------------------------------------- authentication


def keeping_the_challenge(inner: Handler, *, after: type[BaseException] | None) -> Handler:
    def changed(context: Any, command: Any) -> bytes:
        challenge = context.session.challenge
        try:
            answer = inner(context, command)
        except CardError:
            if after is not None:
                context.session.challenge = challenge
            raise
        if after is None:
            context.session.challenge = challenge
        return answer

    return changed


@fault("test_a_challenge_is_used_up_by_success")
def a_challenge_serves_after_success(patch: Patch) -> None:
    handler(patch, "EXTERNAL or MUTUAL AUTHENTICATE", lambda inner: keeping_the_challenge(inner, after=None))


@fault("test_a_challenge_is_used_up_by_failure")
def a_challenge_serves_after_failure(patch: Patch) -> None:
    handler(patch, "EXTERNAL or MUTUAL AUTHENTICATE", lambda inner: keeping_the_challenge(inner, after=CardError))


def challenges(patch: Patch, make: Callable[[bytes], bytes]) -> None:
    def change(inner: Handler) -> Handler:
        def changed(context: Any, command: Any) -> bytes:
            challenge = make(inner(context, command))
            context.session.challenge = challenge
            return challenge

        return changed

    handler(patch, "GET CHALLENGE", change)


@fault("test_no_byte_of_a_challenge_stays_and_none_counts")
def half_a_challenge_is_zeros(patch: Patch) -> None:
    challenges(patch, lambda drawn: bytes(8) + drawn[8:])


@fault("test_no_byte_of_a_challenge_stays_and_none_counts")
def challenges_are_counted(patch: Patch) -> None:
    given: list[bytes] = []

    def count(drawn: bytes) -> bytes:
        given.append(drawn)
        return len(given).to_bytes(len(drawn), "big")

    challenges(patch, count)


@fault("test_the_card_brings_its_own_part_of_the_seed")
def the_card_brings_zeros_to_the_seed(patch: Patch) -> None:
    class Zeros:
        def bytes(self, length: int) -> bytes:
            return bytes(length)

    def mutual(former: Any, context: Any, *arguments: Any) -> Any:
        drawn, context.randomness = context.randomness, Zeros()
        try:
            return former(context, *arguments)
        finally:
            context.randomness = drawn

    around(patch, authentication, "_mutual", mutual)


@fault("test_wrong_authentications_count_down")
def wrong_authentications_cost_nothing(patch: Patch) -> None:
    without_tries(patch, authentication)


@fault("test_wrong_authentications_count_down")
def a_right_authentication_gives_no_tries_back(patch: Patch) -> None:
    patch.setattr(authentication, "restore_tries", nothing)


@fault("test_a_mutual_cryptogram_cannot_be_replayed", "test_data_for_an_older_challenge_is_refused")
def the_challenge_is_not_compared(patch: Patch) -> None:
    def mutual(former: Any, context: Any, command: Any, key: Any, pair: Any, challenge: Any) -> Any:
        plain = cbc_decrypt(pair.cipher, key.encryption, command.data[: pair.cryptogram])
        return former(context, command, key, pair, plain[pair.challenge : 2 * pair.challenge])

    around(patch, authentication, "_mutual", mutual)


@fault("test_external_authenticate_is_accepted_and_grants_no_reading")
def an_external_authentication_reads(patch: Patch) -> None:
    patch.setattr(authentication, "give_proof", lambda session, _bits: setattr(session, "proofs", EVERYTHING))


@fault("test_no_chip_signature_without_authentication")
def anybody_has_the_chip_sign(patch: Patch) -> None:
    open_command(patch, "INTERNAL AUTHENTICATE")
