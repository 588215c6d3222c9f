"""Mutual recognition within the province, and the deadlines that an office has.

A permit of one area is exchanged in another by showing one ground; what was registered elsewhere in the province counts
too. The result is an electronic permit, and every earlier permit of the person is cancelled with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from personalization.errors import PersonalizationError
from personalization.permit.calendars import Deadline, after_days, after_working_days
from personalization.permit.eligibility import Eligibility, Verdict, decide
from personalization.permit.evidence import Application
from personalization.permit.findings import Outcome
from personalization.permit.policy.model import DeadlineRule, Policy


class Route(StrEnum):
    """The two ways of mutual recognition (现有证件互认, 居住登记时间互认)."""

    PERMIT = "permit"
    REGISTRATION = "registration"


class Opinion(StrEnum):
    """Who has to agree, in this order (受理人, 审核人, 审批人)."""

    ACCEPTING = "accepting"
    REVIEWING = "reviewing"
    APPROVING = "approving"


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a request for mutual recognition comes to.

    Attributes:
        eligibility: every rule with its finding.
        route: the route by which it is granted, None when it is not.
        decided_by: the last day for the decision.
        cancels: the permits that end with it, by the area that issued them.
    """

    eligibility: Eligibility
    route: Route | None
    decided_by: Deadline
    cancels: tuple[str, ...]


def recognise(policy: Policy, application: Application, accepted: date) -> Recognition:
    """Judge a request for mutual recognition that was accepted on ``accepted``.

    Raises:
        PersonalizationError: "recognition-none" (exit 1), the policy has no mutual recognition.
    """
    rule = policy.recognition
    if rule is None:
        raise PersonalizationError("recognition-none", policy=policy.name)
    eligibility = decide(policy, application)
    route: Route | None = None
    if eligibility.verdict is Verdict.ELIGIBLE:
        by_registration = eligibility.residence.outcome is Outcome.MET
        route = Route.PERMIT if eligibility.exemption is not None else Route.REGISTRATION if by_registration else None
    held = application.permit
    cancels = (held.area,) if route is not None and rule.cancels_earlier and held is not None else ()
    return Recognition(eligibility, route, deadline(rule.decision, accepted), cancels)


def deadline(rule: DeadlineRule, start: date) -> Deadline:
    """The last day of a period that begins with an event on ``start``."""
    if rule.working_days is not None:
        return after_working_days(start, rule.working_days)
    return after_days(start, rule.days or 0)


def next_opinion(given: Sequence[Opinion]) -> Opinion | None:
    """Who has to say something next, None when everybody has.

    Raises:
        PersonalizationError: "opinions-out-of-order" (exit 1).
    """
    order = tuple(Opinion)
    if tuple(given) != order[: len(given)]:
        raise PersonalizationError("opinions-out-of-order", expected=", ".join(order))
    return order[len(given)] if len(given) < len(order) else None
