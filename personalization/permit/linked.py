"""Numbers of other cards that a permit is linked with (市民卡、社会保障卡), and what a number has to be.

| number | form | source |
|---|---|---|
| citizen card | Z and 8 digits | columns of a delivery |
| its account | 16 to 20 digits; a check digit is not told of | columns of a delivery |
| social-security card | 9 digits or capital letters | LB 002-2000, EF05, object 07: nine characters |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple


class LinkFault(StrEnum):
    """What is wrong with linked numbers."""

    CITIZEN_CARD_FORM = "citizen-card-form"
    ACCOUNT_FORM = "account-form"
    SOCIAL_CARD_FORM = "social-card-form"
    ACCOUNT_ALONE = "account-alone"
    CITIZEN_CARD_ALONE = "citizen-card-alone"
    LINKED_TWICE = "linked-twice"
    LINKED_TO_ENDED = "linked-to-ended"


@dataclass(frozen=True, slots=True)
class LinkedNumbers:
    """What a permit is linked with; empty where it is not."""

    citizen_card: str = field(default="", repr=False)
    account: str = field(default="", repr=False)
    social_card: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.citizen_card or self.account or self.social_card)


Broken = Callable[[LinkedNumbers], bool]


class _Rule(NamedTuple):
    fault: LinkFault
    broken: Broken


_CITIZEN_CARD: Final = re.compile(r"Z\d{8}", re.ASCII)
_ACCOUNT: Final = re.compile(r"\d{16,20}", re.ASCII)
_SOCIAL_CARD: Final = re.compile(r"[0-9A-Z]{9}", re.ASCII)


def _unlike(form: re.Pattern[str], number: Callable[[LinkedNumbers], str]) -> Broken:
    """Whether a number is there and not of its form."""
    return lambda of: bool(number(of)) and form.fullmatch(number(of)) is None


def _alone(number: Callable[[LinkedNumbers], str], partner: Callable[[LinkedNumbers], str]) -> Broken:
    """Whether a number is there without the one that goes with it."""
    return lambda of: bool(number(of)) and not partner(of)


def _citizen_card(of: LinkedNumbers) -> str:
    return of.citizen_card


def _account(of: LinkedNumbers) -> str:
    return of.account


def _social_card(of: LinkedNumbers) -> str:
    return of.social_card


_RULES: Final = (
    _Rule(LinkFault.CITIZEN_CARD_FORM, _unlike(_CITIZEN_CARD, _citizen_card)),
    _Rule(LinkFault.ACCOUNT_FORM, _unlike(_ACCOUNT, _account)),
    _Rule(LinkFault.SOCIAL_CARD_FORM, _unlike(_SOCIAL_CARD, _social_card)),
    _Rule(LinkFault.ACCOUNT_ALONE, _alone(_account, _citizen_card)),
    _Rule(LinkFault.CITIZEN_CARD_ALONE, _alone(_citizen_card, _account)),
)


def faults_of(linked: LinkedNumbers) -> tuple[LinkFault, ...]:
    """Everything that is wrong with one permit's numbers by themselves."""
    return tuple(rule.fault for rule in _RULES if rule.broken(linked))
