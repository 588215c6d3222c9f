"""What operators are trusted with, and what takes two of them."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Role(StrEnum):
    """What an operator can be trusted with."""

    RECEIVE = "receive"
    PREPARE = "prepare"
    RUN = "run"
    INSPECT = "inspect"
    RELEASE = "release"
    KEYS = "keys"
    DESK = "desk"
    REVIEW = "review"
    APPROVE = "approve"


class Act(StrEnum):
    """What takes two operators."""

    ACCEPT_GOOD = "accept-good"
    RELEASE = "release"
    REMAKE = "re-make"
    FIRST_ARTICLE = "first-article"
    DESTROY = "destroy"
    LETTERS = "letters"
    ERASE = "erase"
    KEYS = "keys"


class Pair(NamedTuple):
    """Roles of the two.

    Attributes:
        acts: role of the one who acts.
        approves: role of the one who approves before.
        apart_from_makers: neither of them may have run the batch.
        approver_apart: who approves may not have run it; who acts does.
    """

    acts: Role
    approves: Role
    apart_from_makers: bool = False
    approver_apart: bool = False


ACTS: Final = MappingProxyType(
    {
        Act.ACCEPT_GOOD: Pair(Role.PREPARE, Role.RELEASE),
        Act.RELEASE: Pair(Role.RELEASE, Role.INSPECT, apart_from_makers=True),
        Act.REMAKE: Pair(Role.RUN, Role.RELEASE),
        Act.FIRST_ARTICLE: Pair(Role.RUN, Role.INSPECT, approver_apart=True),
        Act.DESTROY: Pair(Role.RECEIVE, Role.INSPECT),
        Act.LETTERS: Pair(Role.RELEASE, Role.INSPECT, apart_from_makers=True),
        Act.ERASE: Pair(Role.RELEASE, Role.KEYS),
        Act.KEYS: Pair(Role.KEYS, Role.RELEASE),
    }
)
"""Acts that take two, and the roles that they need."""
