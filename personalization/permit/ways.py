"""Judge one way to have a ground: employment, dwelling or study, under the rule of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final, Protocol

from personalization.permit.evidence import Application, DatedRecord, Insurance, Recognised
from personalization.permit.findings import Outcome, Reason, ReasonCode, RuleFinding
from personalization.permit.policy.model import Evidence, Fact, WayRule
from personalization.permit.spans import (
    Span,
    add_months,
    gap_between,
    lasts_months,
    merged,
    whole_months,
)


class _Shown(Protocol):
    """Evidence with yes-or-no facts."""

    @property
    def area(self) -> str: ...


def judge_way(rule: WayRule, application: Application, area: frozenset[str]) -> RuleFinding:
    """What one way comes to; of several proofs of a kind the best one counts.

    Args:
        rule: the way.
        application: what is said and shown.
        area: codes of the areas that count as the place of residence.
    """
    shown = [reasons for reasons in _JUDGES[rule.evidence](rule, application, area) if reasons]
    if not shown:
        return RuleFinding.of(rule.id, rule.source, (Reason(Outcome.PROOF_MISSING, ReasonCode.NOTHING_SHOWN),))
    findings = [RuleFinding.of(rule.id, rule.source, reasons) for reasons in shown]
    return min(findings, key=lambda finding: finding.outcome)


def insurance_reason(
    insurance: Iterable[Insurance],
    area: frozenset[str],
    day: date,
    months: int | None,
    longest_break: int | None,
    *,
    back_payment: bool,
) -> Reason | None:
    """Whether insurance was paid long enough; None when none was shown.

    A break of ``longest_break`` months or more, the one before the day itself included, begins the time anew.
    """
    listed = list(insurance)
    if not listed:
        return None
    counted = [item.span for item in listed if item.area in area and (back_payment or not item.back_paid)]
    spans = merged(counted, day)
    needed = months or 1
    if not spans:
        return Reason(Outcome.NOT_MET, ReasonCode.INSURANCE, MappingProxyType({"months": 0, "needed": needed}))
    if longest_break is None:
        paid = sum(_months_of(span) for span in spans)
        enough = months is None or paid >= months
        return Reason(_outcome(enough), ReasonCode.INSURANCE, MappingProxyType({"months": paid, "needed": needed}))
    chain = spans[-1]
    for earlier in reversed(spans[:-1]):
        if lasts_months(gap_between(earlier, chain), longest_break):
            break
        chain = Span(earlier.first, chain.last)
    lapsed = chain.last is not None and chain.last < day and _has_lapsed(chain.last, day, longest_break)
    enough = not lapsed and lasts_months(chain, needed)
    facts = MappingProxyType({"months": 0 if lapsed else _months_of(chain), "needed": needed})
    return Reason(_outcome(enough), ReasonCode.INSURANCE_CONTINUOUS, facts)


def _has_lapsed(last: date, day: date, longest_break: int) -> bool:
    """Whether what was not paid since ``last`` is itself a break that begins the time anew."""
    return lasts_months(Span(last + timedelta(days=1), day), longest_break)


def _months_of(span: Span) -> int:
    """Full months of a span with both ends counted, so that 1 January to 31 March has three."""
    months = whole_months(span.first, span.last or span.first)
    return months + 1 if lasts_months(span, months + 1) else months


def _outcome(holds: bool) -> Outcome:
    return Outcome.MET if holds else Outcome.NOT_MET


def _place(item: _Shown, area: frozenset[str]) -> Reason:
    return Reason(_outcome(item.area in area), ReasonCode.PLACE, MappingProxyType({"area": item.area}))


def _term(item: DatedRecord, months: int | None) -> Iterator[Reason]:
    """Whether a contract runs for long enough; an open-ended one does."""
    if months is None:
        return
    if item.last is None:
        yield Reason(Outcome.MET, ReasonCode.TERM_OPEN)
        return
    length = _months_of(item.span)
    yield Reason(_outcome(length >= months), ReasonCode.TERM, MappingProxyType({"months": length, "needed": months}))


def _in_force(item: DatedRecord, day: date) -> Reason:
    return Reason(_outcome(item.span.covers(day)), ReasonCode.IN_FORCE, MappingProxyType({"day": day.isoformat()}))


def _held(since: date | None, day: date, months: int | None) -> Iterator[Reason]:
    """Whether something has gone on for long enough up to the day."""
    if months is None:
        return
    if since is None:
        yield Reason(Outcome.PROOF_MISSING, ReasonCode.SINCE_UNKNOWN, MappingProxyType({"needed": months}))
        return
    facts = MappingProxyType({"months": whole_months(since, day), "needed": months})
    yield Reason(_outcome(add_months(since, months) <= day), ReasonCode.HELD, facts)


def _facts(values: Mapping[Fact, bool | None], wanted: Iterable[Fact]) -> Iterator[Reason]:
    """Yes-or-no facts that have to be shown."""
    for fact in wanted:
        value = values.get(fact)
        outcome = Outcome.PROOF_MISSING if value is None else _outcome(value)
        yield Reason(outcome, ReasonCode.FACT, MappingProxyType({"fact": fact.value}))


def _insurance(rule: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    reason = insurance_reason(
        application.insurance,
        area,
        application.applied,
        rule.held_months,
        rule.longest_break_months,
        back_payment=rule.back_payment,
    )
    if reason is not None:
        yield (reason,)


def _contracts(rule: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    day = application.applied
    for item in application.contracts:
        held = _held(item.working_since, day, rule.held_months)
        yield (_place(item, area), _in_force(item, day), *_term(item, rule.term_months), *held)


def _businesses(rule: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    day = application.applied
    for item in application.businesses:
        yield (_place(item, area), _in_force(item, day), *_held(item.first, day, rule.held_months))


def _farm_leases(rule: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    day = application.applied
    for item in application.farm_leases:
        held = _held(item.held_since, day, rule.held_months)
        yield (_place(item, area), _in_force(item, day), *_term(item, rule.term_months), *held)


def _decided(item: Recognised | None, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    if item is not None:
        yield (
            _place(item, area),
            Reason(Outcome.MET, ReasonCode.DECIDED, MappingProxyType({"decision": item.decision})),
        )


def _other_employment(_: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    return _decided(application.other_employment, area)


def _other_dwelling(_: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    return _decided(application.other_dwelling, area)


def _own_home(rule: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    item = application.own_home
    if item is not None:
        yield (_place(item, area), *_facts({Fact.TITLE: item.title}, rule.shown))


def _dormitory(rule: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    item = application.dormitory
    if item is not None:
        values = {Fact.SAFE: item.safe, Fact.APPROVED: item.approved}
        yield (_place(item, area), *_facts(values, rule.shown))


def _rental(rule: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    item = application.rental
    if item is None:
        return
    reasons = [_place(item, area)]
    if item.lease is not None:
        reasons += [_in_force(item.lease, application.applied), *_term(item.lease, rule.term_months)]
    elif rule.term_months is not None:
        reasons.append(Reason(Outcome.PROOF_MISSING, ReasonCode.LEASE_MISSING))
    if item.used_as in rule.not_used_as:
        reasons.append(Reason(Outcome.NOT_MET, ReasonCode.USED_AS, MappingProxyType({"use": str(item.used_as)})))
    values = {Fact.SAFE: item.safe, Fact.TITLE: item.title, Fact.REGISTERED: item.registered, Fact.FILED: item.filed}
    wanted = (*rule.shown, *(rule.shown_for_commodity_housing if item.commodity_housing else ()))
    yield (*reasons, *_facts(values, wanted))


def _enrolments(rule: WayRule, application: Application, area: frozenset[str]) -> Iterator[Sequence[Reason]]:
    day = application.applied
    for item in application.enrolments:
        if rule.schools and item.school not in rule.schools:
            continue
        values = {Fact.ON_THE_ROLL: item.on_the_roll, Fact.ATTENDANCE_CERTIFIED: item.attendance_certified}
        held = _held(item.first, day, rule.held_months)
        yield (_place(item, area), _in_force(item, day), *held, *_facts(values, rule.shown))


class _Judge(Protocol):
    def __call__(
        self, rule: WayRule, application: Application, area: frozenset[str], /
    ) -> Iterator[Sequence[Reason]]: ...


_JUDGES: Final[Mapping[Evidence, _Judge]] = {
    Evidence.INSURANCE: _insurance,
    Evidence.CONTRACT: _contracts,
    Evidence.BUSINESS: _businesses,
    Evidence.FARM_LEASE: _farm_leases,
    Evidence.OTHER_EMPLOYMENT: _other_employment,
    Evidence.OWN_HOME: _own_home,
    Evidence.DORMITORY: _dormitory,
    Evidence.RENTAL: _rental,
    Evidence.OTHER_DWELLING: _other_dwelling,
    Evidence.ENROLMENT: _enrolments,
}
"""How each kind of evidence is judged: for every proof of the kind, the facts that it comes to."""
