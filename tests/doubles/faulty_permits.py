"""Faults of PINs, files, privacy, and of what terminals tell and change; see `faulty_cards`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from applet.permit import bound, changes, commands, status
from applet.permit.applet import PermitApplet
from applet.permit.calendar_date import require_date
from card_os.dispatch import Dispatcher
from card_os.files import binary, records, select
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    FileNotFound,
    NotEnoughMemory,
    RecordNotFound,
    SecurityStatusNotSatisfied,
    WrongParameters,
)
from card_os.iso7816.tlv import encode
from card_os.security import pin
from card_os.security.access import ALWAYS, Proof
from card_os.security.proofs import give_proof
from card_os.security.tries import spend_try
from card_os.selection import Selector
from tests.doubles.faulty_cards import (
    Handler,
    Patch,
    around,
    fault,
    handler,
    nothing,
    open_command,
    told_only,
    with_every_proof,
    without_tries,
    writable,
    yes,
)

# ----------------------------------------------------------------------------------------------------------------- PINs


@fault("test_a_wrong_pin_costs_a_try_and_the_right_one_restores_it")
def wrong_pins_cost_nothing(patch: Patch) -> None:
    without_tries(patch, pin)


@fault("test_the_right_digits_and_more_are_another_pin")
def further_digits_are_passed_over(patch: Patch) -> None:
    def equal(body: bytes, block: bytes) -> bool:
        digits = slice(2, 2 + (body[0] & 0x0F))
        return body.hex()[digits] == block.hex()[digits]

    patch.setattr(pin, "equal", equal)


@fault("test_a_wrong_pin_costs_a_try_and_the_right_one_restores_it")
def four_digits_are_compared(patch: Patch) -> None:
    patch.setattr(pin, "equal", lambda body, block: body[1:3] == block[1:3])


@fault("test_what_is_no_pin_block_is_refused_and_costs_no_try")
def what_is_no_pin_block_costs_a_try(patch: Patch) -> None:
    def verify(former: Any, context: Any, reference: int, block: bytes) -> None:
        if not pin.is_pin_block(block):
            item = pin._find(context, reference)
            spend_try(context.store, item, context.store.content(item)[0])
        former(context, reference, block)

    around(patch, pin, "verify_pin", verify)


@fault("test_the_right_one_proves_nothing")
def the_pin_of_a_letter_proves_the_holder(patch: Patch) -> None:
    def verify(former: Any, context: Any, reference: int, block: bytes) -> None:
        try:
            former(context, reference, block)
        except ConditionsNotSatisfied:
            give_proof(context.session, int(Proof.pin(1)))

    around(patch, pin, "verify_pin", verify)


@fault("test_it_is_not_changed_into_itself")
def the_pin_of_a_letter_is_changed_into_itself(patch: Patch) -> None:
    patch.setattr(pin, "_require_another", nothing)


@fault("test_unblocking_without_a_new_one_changes_nothing")
def unblocking_makes_a_letters_pin_ones_own(patch: Patch) -> None:
    def renew(former: Any, context: Any, item: Any, body: bytes, block: bytes | None, **how: bool) -> None:
        former(context, item, body, block or body[4:], **how)

    around(patch, pin, "_renew", renew)


@fault("test_a_wrong_one_costs_a_try_which_the_right_one_gives_back")
def the_pin_of_a_letter_keeps_what_was_spent(patch: Patch) -> None:
    def verify(former: Any, context: Any, reference: int, block: bytes) -> None:
        item = pin._find(context, reference)
        spent = context.store.content(item)[:1]
        try:
            former(context, reference, block)
        finally:
            if context.store.content(item)[0] > spent[0]:
                context.store.count(item, spent)

    around(patch, pin, "verify_pin", verify)


@fault("test_who_is_told_to_be_logged_out_is")
def logging_out_does_nothing(patch: Patch) -> None:
    handler(
        patch,
        "VERIFY",
        lambda inner: lambda context, command: b"" if command.p1 == 0xFF else inner(context, command),
    )


def during(patch: Patch, command_name: str, name: str, value: object) -> None:
    """Replace something of the PIN's module while one command runs."""

    def change(inner: Handler) -> Handler:
        def changed(context: Any, command: Any) -> bytes:
            with pytest.MonkeyPatch.context() as inside:
                inside.setattr(pin, name, value)
                return inner(context, command)

        return changed

    handler(patch, command_name, change)


@fault("test_a_pin_is_not_changed_without_the_old_one")
def the_old_pin_is_not_asked(patch: Patch) -> None:
    during(patch, "CHANGE REFERENCE DATA", "_compare", nothing)


@fault("test_a_pin_is_not_changed_without_the_old_one")
def guessing_the_old_pin_costs_nothing(patch: Patch) -> None:
    during(patch, "CHANGE REFERENCE DATA", "spend_try", told_only)


@fault("test_a_pin_is_not_reset_without_the_unblocking_pin")
def the_unblocking_pin_is_not_asked(patch: Patch) -> None:
    during(patch, "RESET RETRY COUNTER", "_compare", nothing)


@fault("test_a_pin_is_not_reset_without_the_unblocking_pin")
def guessing_the_unblocking_pin_costs_nothing(patch: Patch) -> None:
    during(patch, "RESET RETRY COUNTER", "spend_try", told_only)


@fault("test_unblocking_gives_no_access")
def unblocking_verifies_the_pin(patch: Patch) -> None:
    def change(inner: Handler) -> Handler:
        def changed(context: Any, command: Any) -> bytes:
            answer = inner(context, command)
            give_proof(context.session, int(Proof.pin(1)))
            return answer

        return changed

    handler(patch, "RESET RETRY COUNTER", change)


@fault("test_no_pin_in_plain_over_the_field")
def a_pin_is_changed_in_plain_over_the_field(patch: Patch) -> None:
    open_command(patch, "CHANGE REFERENCE DATA")


@fault("test_no_pin_in_plain_over_the_field")
def a_pin_is_unblocked_in_plain_over_the_field(patch: Patch) -> None:
    open_command(patch, "RESET RETRY COUNTER")


def inherited_pin(patch: Patch, where: Callable[[Any, Any], bool]) -> None:
    """A PIN that was verified anywhere counts for some further selections."""
    held: list[int] = []

    def give(former: Any, session: Any, bits: int) -> None:
        held.append(bits)
        former(session, bits)

    def enter(former: Any, self: Any, channel: Any, application: Any) -> Any:
        answer = former(self, channel, application)
        if held and where(self, channel):
            channel.context.session.proofs |= held[-1]
        return answer

    around(patch, pin, "give_proof", give)
    around(patch, Selector, "enter", enter)


@fault("test_a_verified_pin_is_nothing_on_the_other_interface")
def a_pin_counts_on_both_interfaces(patch: Patch) -> None:
    inherited_pin(patch, lambda selector, _channel: not selector._contact)


@fault("test_a_pin_holds_on_its_channel_only")
def a_pin_counts_on_every_channel(patch: Patch) -> None:
    inherited_pin(patch, lambda _selector, channel: bool(channel.number))


@fault("test_selecting_again_ends_the_security_status")
def a_pin_survives_a_selection(patch: Patch) -> None:
    inherited_pin(patch, yes)


# ---------------------------------------------------------------------------------------------------- files and privacy


@fault("test_a_selected_file_is_closed_in_every_form")
def a_rule_holds_beside_a_short_identifier_only(patch: Patch) -> None:
    handler(
        patch,
        "READ BINARY",
        lambda inner: with_every_proof(inner, lambda command: command.ins == 0xB0 and command.p1 < 0x80),
    )


@fault("test_a_selected_file_is_closed_in_every_form")
def odd_instructions_ask_no_rule(patch: Patch) -> None:
    handler(patch, "READ BINARY", lambda inner: with_every_proof(inner, lambda command: bool(command.ins & 1)))


@fault("test_selected_records_are_closed_in_every_form")
def all_records_at_once_ask_no_rule(patch: Patch) -> None:
    handler(patch, "READ RECORD", lambda inner: with_every_proof(inner, lambda command: command.p2 & 7 == 5))


@fault("test_the_fcp_tells_anyone_all_but_the_size")
def sizes_are_told_to_anybody(patch: Patch) -> None:
    patch.setattr(select, "_file_template", lambda _context, file, tag: file.spec.encode(with_size=True, tag=tag))


@fault("test_the_fcp_tells_the_size_to_who_may_read")
def sizes_are_told_to_nobody(patch: Patch) -> None:
    patch.setattr(select, "_file_template", lambda _context, file, tag: file.spec.encode(with_size=False, tag=tag))


@fault("test_a_refusal_tells_no_length")
def the_offset_is_looked_at_before_the_rule(patch: Patch) -> None:
    def change(inner: Handler) -> Handler:
        def changed(context: Any, command: Any) -> bytes:
            file, offset = binary.binary_target(context, command)
            if offset >= file.size:
                raise WrongParameters("offset outside the file")
            return inner(context, command)

        return changed

    handler(patch, "READ BINARY", change)


@fault("test_a_refusal_tells_no_length")
def the_length_is_looked_at_before_the_rule(patch: Patch) -> None:
    def update(former: Any, context: Any, command: Any, file: Any, offset: int, data: bytes) -> Any:
        if offset + len(data) > file.size:
            raise NotEnoughMemory("the data goes beyond the end of the file")
        return former(context, command, file, offset, data)

    around(patch, binary, "_update", update)


@fault("test_no_record_is_open_without_authentication")
def the_record_is_looked_for_before_the_rule(patch: Patch) -> None:
    def change(inner: Handler) -> Handler:
        def changed(context: Any, command: Any) -> bytes:
            file, _ = records.record_target(context, command)
            if command.p1 > context.files.record_state(file)[0]:
                raise RecordNotFound("no such record")
            return inner(context, command)

        return changed

    handler(patch, "READ RECORD", change)


@fault("test_an_update_that_does_not_fit_writes_nothing")
def what_fits_is_written(patch: Patch) -> None:
    def update(former: Any, context: Any, command: Any, file: Any, offset: int, data: bytes) -> Any:
        if offset + len(data) > file.size and file.update_rule.allows(context.proofs):
            context.store.change(file.item, file.body + offset, data[: file.size - offset])
        return former(context, command, file, offset, data)

    around(patch, binary, "_update", update)


@fault("test_the_fci_is_that_of_the_specification")
def the_fci_tells_the_card(patch: Patch) -> None:
    def answer(former: Any, self: Any, context: Any) -> bytes:
        return bytes(former(self, context)) + encode(0x5F50, context.card_number[::-1])

    around(patch, PermitApplet, "select", answer)


@fault("test_no_domain_is_selected_implicitly_over_the_field")
def a_domain_is_selected_implicitly_over_the_field(patch: Patch) -> None:
    def enter(former: Any, self: Any, channel: Any) -> None:
        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(Selector, "allowed", yes)
            former(self, channel)

    around(patch, Selector, "enter_default", enter)
    patch.setattr(Dispatcher, "_check_card_state", nothing)


@fault(
    "test_the_issuer_domain_is_not_found_by_a_part_of_its_name", "test_the_issuer_domain_is_not_found_over_the_field"
)
def a_domain_is_selected_over_the_field(patch: Patch) -> None:
    def allowed(former: Any, self: Any, application: Any) -> Any:
        own, self._contact = self._contact, True
        try:
            return former(self, application)
        finally:
            self._contact = own

    around(patch, Selector, "allowed", allowed)


# --------------------------------------------------------------------------------------- what terminals tell and change


def _write_changes(context: Any, command: Any, *, rules: bool) -> bytes:
    for change in changes._parse(command.data):
        file = context.files.find(change.fid)
        if file is None:
            raise FileNotFound("no such file")
        if rules and not file.update_rule.allows(context.proofs):
            raise SecurityStatusNotSatisfied("the file may not be updated")
        context.files.write(file, change.offset, change.content)
    return b""


@fault("test_changes_are_made_all_or_none")
def changes_are_made_one_by_one(patch: Patch) -> None:
    writable(patch, changes.CHANGES, write=lambda context, command: _write_changes(context, command, rules=True))


@fault("test_changes_of_another_role_are_refused")
def changes_ask_no_rule_of_a_file(patch: Patch) -> None:
    writable(patch, changes.CHANGES, write=lambda context, command: _write_changes(context, command, rules=False))


@fault("test_the_date_does_not_go_back")
def the_date_goes_back(patch: Patch) -> None:
    def put(context: Any, command: Any) -> bytes:
        require_date(command.data)
        context.store.change(status._date_item(context), 0, command.data)
        return b""

    writable(patch, status.DATE_OBJECT, write=put)


@fault("test_what_is_no_date_is_refused")
def anything_is_a_date(patch: Patch) -> None:
    patch.setattr(status, "require_date", nothing)


@fault("test_the_date_stays_within_its_bound")
def the_date_passes_its_bound(patch: Patch) -> None:
    patch.setattr(status, "bound_of", lambda _context: b"99999999")


@fault("test_the_date_is_not_everybodys")
def a_bank_tells_the_date(patch: Patch) -> None:
    writable(patch, status.DATE_OBJECT, access=commands.CHIP_ACCESS)


@fault("test_the_date_is_not_everybodys")
def a_desk_corrects_the_date(patch: Patch) -> None:
    writable(patch, status.CORRECTION_OBJECT, access=commands.CHIP_ACCESS)


@fault("test_a_correction_is_counted_and_kept")
def corrections_are_not_counted(patch: Patch) -> None:
    def put(context: Any, command: Any) -> bytes:
        context.store.change(status._date_item(context), 0, command.data)
        return b""

    writable(patch, status.CORRECTION_OBJECT, write=put)


@fault("test_a_bound_that_is_not_signed_is_refused")
def a_bound_needs_no_signature(patch: Patch) -> None:
    patch.setattr(bound, "verify", yes)


@fault("test_an_overdue_permit_suspends_itself")
def an_overdue_permit_stays_valid(patch: Patch) -> None:
    patch.setattr(status, "_suspend_when_overdue", nothing)


@fault("test_what_terminals_told_is_closed_without_authentication")
def anybody_reads_the_date(patch: Patch) -> None:
    rows: dict[int, Any] = dict(commands._READABLE)
    patch.setattr(commands, "_READABLE", {tag: row._replace(access=ALWAYS) for tag, row in rows.items()})
