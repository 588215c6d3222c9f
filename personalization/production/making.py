"""One card in a station: making it, looking at it after a mishap, inspecting it.

Nothing here writes the journal; what comes back is written by who asked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from personalization.errors import PersonalizationError
from personalization.production.journal.claims import Claim, ClaimLost, Outcome
from personalization.production.states import Disposal
from personalization.production.tracing import StepTimer, Trace
from personalization.production.work import (
    CardFault,
    Condition,
    Equipment,
    Inspection,
    KeysRefused,
    Superseded,
    WrongBlank,
)
from reader_bridge.connection import ReaderError

CARD_IN_USE: Final = frozenset({"image-in-use", "card-in-use", "reader-in-use"})
"""Codes of the `ReaderError` of a card that another living process holds."""

UNREACHABLE: Final = frozenset({"card-in-use", "card-elsewhere"})
"""Codes of `settle` when nothing can be known of a card from here and now."""

READER_MISSING: Final = "reader-missing"
"""Code of a station that has no reader, or no card in it, where one should be: nothing is known of the card."""

_NOT_THERE: Final = frozenset({"no-pcsc", "no-service", "no-reader", "no-card"})
_ELSEWHERE: Final = frozenset({"image-missing", "no-pcsc", "no-service", "no-reader", "no-card"})
_REASON_LENGTH: Final = 64
_DEAD: Final = frozenset({Condition.TERMINATED, Condition.FOREIGN})


class Verdict(StrEnum):
    """What has to be done with a claim."""

    FINISHED = "finished"
    SPOILED = "spoiled"
    RELEASED = "released"
    BARRED = "barred"


@dataclass(frozen=True, slots=True)
class Result:
    """What happened to one claim at one stage.

    Attributes:
        verdict: what has to be done with the claim.
        outcome: evidence and reason.
        refused: where the card and we turned out to hold different keys, None when that is not what happened.
        condition: how far the card was when recovery looked at it, None when nobody had to look.
    """

    verdict: Verdict
    outcome: Outcome
    refused: KeysRefused | None = None
    condition: Condition | None = None


Hold = Callable[[], None]
"""Makes sure, before each step, that the claim is still ours; raises when it is not."""


def _at_ease() -> None:
    """Nobody else could be at work."""


def make_card(equipment: Equipment, claim: Claim, hold: Hold = _at_ease) -> Result:
    """Make the claimed row on the claimed blank; a mishap on the way gets one second chance on the same chip.

    Raises:
        SeatLost: the claim is not ours any more.
        PersonalizationError: the prepared record cannot be had; "reader-missing" (exit 3); the card was not touched.
    """
    record = equipment.records.record(claim.prepared_index)
    trace, timer = Trace(), StepTimer()
    try:
        verdict, reason, refused = _make(equipment, claim, record, trace, timer, hold)
    except ReaderError as error:
        if error.code in CARD_IN_USE:
            return Result(Verdict.RELEASED, Outcome(claim, trace.pack(), timer.finish(), reason=error.code))
        _require_reader(claim, trace, error)
        return settle(equipment, claim, record, trace, timer, hold, at_hand=True)
    return Result(verdict, Outcome(claim, trace.pack(), timer.finish(), reason=reason), refused)


def _make(
    equipment: Equipment, claim: Claim, record: object, trace: Trace, timer: StepTimer, hold: Hold
) -> tuple[Verdict, str, KeysRefused | None]:
    expected = bytes.fromhex(claim.card_number)

    def enter(step: str) -> None:
        timer.enter(step)
        hold()

    try:
        timer.enter("connect")
        with equipment.connect(claim.location) as card, trace.follow(card.contact) as contact:
            equipment.maker.make(contact, record, expected, enter, claim.card_fence)
            timer.enter("eject")
    except Superseded:
        raise ClaimLost(claim.station) from None
    except WrongBlank:
        return Verdict.BARRED, "wrong-card", None
    except KeysRefused as refusal:
        verdict = Verdict.BARRED if refusal.untouched else Verdict.SPOILED
        return verdict, _reason("keys-refused", refusal.step), refusal
    except CardFault as fault:
        return Verdict.SPOILED, _reason(fault.reason, fault.step), None
    return Verdict.FINISHED, "", None


def settle(
    equipment: Equipment,
    claim: Claim,
    record: object,
    trace: Trace | None = None,
    timer: StepTimer | None = None,
    hold: Hold = _at_ease,
    *,
    at_hand: bool = False,
) -> Result:
    """Look at a card that may be anything between blank and finished, and bring the claim to an end.

    | the card says                      | what is done                                        |
    |------------------------------------|-----------------------------------------------------|
    | untouched                          | released: row and blank go back                     |
    | keyed, started or personalized     | made again from the start on the same chip          |
    | finished                           | taken as made                                       |
    | terminated, foreign, another chip, | spoiled; the row gets another blank                 |
    | no answer                          |                                                     |

    Args:
        equipment: the station's.
        claim: the claim, which the caller holds.
        record: the claimed row's prepared record.
        trace: goes on with this trace.
        timer: goes on with this timer.
        hold: called before each step.
        at_hand: the card was here a moment ago; else one that is not there may be at another machine.

    Raises:
        PersonalizationError: "card-in-use", a living process has the card; "card-elsewhere"; nothing is known of it.
        SeatLost: the claim is not ours any more.
    """
    trace, timer = trace or Trace(), timer or StepTimer()
    condition: Condition | None = None
    refused: KeysRefused | None = None
    try:
        timer.enter("look")
        with equipment.connect(claim.location) as card, trace.follow(card.contact) as contact:
            look = equipment.maker.look(contact)
        condition = look.condition
        if look.card_number and look.card_number.hex() != claim.card_number:
            verdict, reason = Verdict.SPOILED, "wrong-card"
        elif condition is Condition.UNTOUCHED:
            verdict, reason = Verdict.RELEASED, "untouched"
        elif condition is Condition.FINISHED:
            verdict, reason = Verdict.FINISHED, ""
        elif condition in _DEAD:
            verdict, reason = Verdict.SPOILED, condition.value
        else:
            verdict, reason, refused = _make(equipment, claim, record, trace, timer, hold)
    except KeysRefused as refusal:
        verdict = Verdict.BARRED if refusal.untouched else Verdict.SPOILED
        reason, refused = _reason("keys-refused", refusal.step), refusal
    except CardFault as fault:
        verdict, reason = Verdict.SPOILED, _reason(fault.reason, fault.step)
    except ReaderError as error:
        if error.code in CARD_IN_USE:
            raise PersonalizationError("card-in-use", exit_code=3, location=claim.location) from error
        if error.code in _ELSEWHERE and condition is None and not at_hand:
            raise PersonalizationError("card-elsewhere", exit_code=3, location=claim.location) from error
        verdict, reason = Verdict.SPOILED, _reason(error.code, "reader")
    outcome = Outcome(claim, trace.pack(), timer.finish(), reason=reason)
    return Result(verdict, outcome, refused, condition)


def inspect_card(equipment: Equipment, claim: Claim) -> Result:
    """Have a finished card inspected on both interfaces; an exchange that fails gets one second chance.

    Raises:
        PersonalizationError: "reader-missing" (exit 3), or what the inspector raises; nothing was said of the card.
    """
    trace, timer = Trace(), StepTimer()
    try:
        checks, reason = _inspect(equipment, claim, trace, timer)
    except ReaderError as error:
        if error.code in CARD_IN_USE:
            return Result(Verdict.RELEASED, Outcome(claim, trace.pack(), timer.finish(), reason=error.code))
        _require_reader(claim, trace, error)
        try:
            checks, reason = _inspect(equipment, claim, trace, timer)
        except ReaderError as again:
            checks, reason = None, _reason(again.code, "inspection")
    verdict = Verdict.SPOILED if reason else Verdict.FINISHED
    return Result(verdict, Outcome(claim, trace.pack(), timer.finish(), checks, reason))


def _inspect(equipment: Equipment, claim: Claim, trace: Trace, timer: StepTimer) -> tuple[bytes, str]:
    """Packed results, and why the card did not pass."""
    timer.enter("inspection.connect")
    with equipment.connect(claim.location) as card, ExitStack() as powered:
        contact = trace.follow(card.contact)
        powered.callback(contact.power_off)
        contactless = None
        if card.contactless is not None:
            contactless = trace.follow(card.contactless)
            powered.callback(contactless.power_off)
        inspection = equipment.inspector.inspect(contact, contactless, claim.row_number, timer.enter)
    checks = equipment.results.pack(inspection, claim.row_number, claim.card_number)
    return checks, "" if inspection.passed else _first_failure(inspection)


def terminate_card(equipment: Equipment, location: str, card_number: str) -> Disposal:
    """Put a spoiled card out of service; returns what became of it.

    Args:
        equipment: the station's.
        location: where the card should be.
        card_number: its chip serial as hex; another card that lies there is let alone.

    Raises:
        PersonalizationError: keys or journal are gone; nothing is known of the card.
    """
    try:
        with equipment.connect(location) as card, card.contact as contact:
            terminated = equipment.maker.terminate(contact, bytes.fromhex(card_number))
    except WrongBlank:
        return Disposal.NOT_REACHED
    except KeysRefused:
        return Disposal.KEYS_REFUSED
    except ReaderError as error:
        return Disposal.NOT_REACHED if error.code in CARD_IN_USE | _ELSEWHERE else Disposal.NOT_TERMINATED
    return Disposal.TERMINATED if terminated else Disposal.NOT_TERMINATED


def _require_reader(claim: Claim, trace: Trace, error: ReaderError) -> None:
    """A card that never answered, for it is not there, is no bad card.

    Raises:
        PersonalizationError: "reader-missing", exit 3.
    """
    if error.code in _NOT_THERE and trace.empty:
        raise PersonalizationError("reader-missing", exit_code=3, location=claim.location, reason=error.code) from error


def _first_failure(inspection: Inspection) -> str:
    failed = next((check.name for check in inspection.checks if not check.passed), "not-passed")
    return _reason(failed, "inspection")


def _reason(code: str, step: str) -> str:
    return f"{step}: {code}"[:_REASON_LENGTH]
