"""Key rotation as one safe act: the new set in, proved in a session of its own, the old set out.

| the card has | finish | undo |
|---|---|---|
| the old set | PUT KEY (add) under the old set | nothing to do |
| both | session under the new set, DELETE [key] of the old | DELETE [key] of the new under the old set |
| the new set | session under the new set | no way back |

Which row holds is read from the card, never from the journal: an interruption may have come before or after the card
did what it was told. The card does each step whole or not at all, so that there is no other row.

The factory set (version FF) has no middle row. One PUT KEY puts the new set in its place, and that command is the point
of no return; the plan is on the medium before it is sent.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.8 (PUT KEY), 11.2.2.3.2 (DELETE [key]).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from personalization.errors import PersonalizationError
from personalization.globalplatform.guarded_session import CardFacts, CardGuard, KeyCandidate
from personalization.globalplatform.key_loading import (
    FACTORY_KEY_VERSION,
    KeyType,
    delete_key,
    secure_channel_set,
)
from personalization.globalplatform.rotation_journal import RotationJournal, RotationPlan
from personalization.globalplatform.scp03 import InitializeUpdateResponse, StaticKeys
from personalization.globalplatform.session import SecureSession
from reader_bridge.connection import CardConnection

_HIGHEST_VERSION: Final = 0x7F


@dataclass(frozen=True, slots=True)
class KeySetOfCards:
    """A key set that is known for each card.

    Attributes:
        name: for people.
        version: its key version number.
        derive: the set of the card that gave an answer, or that has a number.
        kind: AES, or DES for a set of SCP02.
    """

    name: str
    version: int
    derive: Callable[[bytes], StaticKeys] = field(repr=False)
    kind: KeyType = KeyType.AES

    def candidate(self) -> KeyCandidate:
        """As the key guard tries it."""

        def keys(card: InitializeUpdateResponse) -> StaticKeys:
            return self.derive(card.diversification)

        return KeyCandidate(self.name, keys, self.version)

    def check_values(self, diversification: bytes) -> bytes:
        """Check values of its three keys for one card."""
        return b"".join(key.check_value for key in secure_channel_set(self.derive(diversification), self.kind))


class Step(Enum):
    """What was done, in its order."""

    PUT = "put"
    PROVED = "proved"
    DELETED = "deleted"
    TAKEN_BACK = "taken-back"


class Rotated(NamedTuple):
    """What came of it.

    Attributes:
        card: diversification data of the card; empty when nothing had to be sent to it.
        key_version: version of the set that the card has now.
        steps: what this call did.
    """

    card: bytes
    key_version: int
    steps: tuple[Step, ...]


class KeyRotation:
    """Rotates the key set of a security domain.

    Args:
        guard: stands before every session.
        journal: where plans are written down.
        domain: AID of the security domain that the guard speaks to.
        now: the time, for plans.
    """

    __slots__ = ("_domain", "_guard", "_journal", "_now")

    def __init__(
        self,
        guard: CardGuard,
        journal: RotationJournal,
        domain: bytes,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._guard = guard
        self._journal = journal
        self._domain = domain
        self._now = now

    def rotate(self, connection: CardConnection, old: KeySetOfCards, new: KeySetOfCards) -> Rotated:
        """Put ``new`` in, prove it, take ``old`` out.

        Args:
            connection: a powered card.
            old: the set that it has.
            new: the set that it shall have, version 01..7F, another than the old one's.

        Raises:
            PersonalizationError: "rotation-version-wrong" (exit 2); "rotation-open": a change was begun before, finish
                or undo it; "rotation-set-missing", "rotation-version-taken": the card does not have what it has to; and
                as `CardGuard.open`, `SecureSession.put_keys`.
            ReaderError: an exchange did not complete; finish or undo when the card is back.
        """
        if not 1 <= new.version <= _HIGHEST_VERSION or new.version == old.version:
            raise PersonalizationError("rotation-version-wrong", exit_code=2, old=_hex(old), new=_hex(new))
        facts = self._guard.look(connection)
        open_plan = self._journal.plan(facts.identity, self._domain)
        if open_plan is not None:
            raise PersonalizationError("rotation-open", card=facts.identity, when=open_plan.when)
        held = _held(facts)
        if old.version not in held:
            raise PersonalizationError("rotation-set-missing", version=_hex(old), found=_list(held))
        if new.version in held:
            raise PersonalizationError("rotation-version-taken", version=_hex(new))
        session = self._guard.open(connection, [old.candidate()], key_version=old.version)
        plan = RotationPlan(
            facts.identity,
            self._domain,
            old.version,
            old.check_values(session.card),
            new.version,
            new.check_values(session.card),
            self._now().isoformat(timespec="seconds"),
        )
        self._journal.begin(plan)
        self._put(session, plan, new)
        steps = (Step.PUT, *self._prove(connection, plan, new, old_there=old.version != FACTORY_KEY_VERSION))
        return Rotated(session.card, new.version, steps)

    def finish(self, connection: CardConnection, old: KeySetOfCards, new: KeySetOfCards) -> Rotated:
        """Go on where a rotation stopped, wherever that was.

        Raises:
            PersonalizationError: "rotation-none": nothing was begun on this card; "rotation-other-keys": the sets are
                not those of the plan; and as `rotate`.
            ReaderError: an exchange did not complete.
        """
        facts, plan = self._open_plan(connection, old, new)
        held = _held(facts)
        steps: tuple[Step, ...] = ()
        old_there = plan.old_version in held
        if plan.new_version not in held:
            session = self._guard.open(connection, [old.candidate()], key_version=plan.old_version)
            self._require_same(session, plan, old, new)
            self._put(session, plan, new)
            steps = (Step.PUT,)
            old_there = plan.old_version != FACTORY_KEY_VERSION
        return Rotated(b"", plan.new_version, (*steps, *self._prove(connection, plan, new, old_there=old_there)))

    def undo(self, connection: CardConnection, old: KeySetOfCards, new: KeySetOfCards) -> Rotated:
        """Go back to the old set, as long as the card has it.

        Raises:
            PersonalizationError: "rotation-past-return": the card does not have the old set any more; and as `finish`.
            ReaderError: an exchange did not complete.
        """
        facts, plan = self._open_plan(connection, old, new)
        held = _held(facts)
        if plan.old_version not in held:
            raise PersonalizationError("rotation-past-return", card=facts.identity, old=_hex(old), new=_hex(new))
        steps: tuple[Step, ...] = ()
        card = b""
        if plan.new_version in held:
            session = self._guard.open(connection, [old.candidate()], key_version=plan.old_version)
            self._require_same(session, plan, old, new)
            session.transmit(delete_key(version=plan.new_version))
            steps, card = (Step.TAKEN_BACK,), session.card
        self._journal.close(plan)
        return Rotated(card, plan.old_version, steps)

    def _open_plan(
        self, connection: CardConnection, old: KeySetOfCards, new: KeySetOfCards
    ) -> tuple[CardFacts, RotationPlan]:
        facts = self._guard.look(connection)
        plan = self._journal.plan(facts.identity, self._domain)
        if plan is None:
            raise PersonalizationError("rotation-none", card=facts.identity)
        if (plan.old_version, plan.new_version) != (old.version, new.version):
            raise _other_keys(plan)
        return facts, plan

    @staticmethod
    def _require_same(session: SecureSession, plan: RotationPlan, old: KeySetOfCards, new: KeySetOfCards) -> None:
        """The keys in hand have to be those that the plan was made for."""
        if (old.check_values(session.card), new.check_values(session.card)) != (plan.old_check, plan.new_check):
            raise _other_keys(plan)

    @staticmethod
    def _put(session: SecureSession, plan: RotationPlan, new: KeySetOfCards) -> None:
        """The new set in; in place of the factory set this is the point of no return."""
        replace = FACTORY_KEY_VERSION if plan.old_version == FACTORY_KEY_VERSION else 0
        session.put_keys(new.derive(session.card), replace=replace, kind=new.kind)

    def _prove(
        self, connection: CardConnection, plan: RotationPlan, new: KeySetOfCards, *, old_there: bool
    ) -> tuple[Step, ...]:
        """A fresh session under the new set; then the old one out, and the plan is closed."""
        session = self._guard.open(connection, [new.candidate()], key_version=plan.new_version)
        if new.check_values(session.card) != plan.new_check:
            raise _other_keys(plan)
        steps: tuple[Step, ...] = (Step.PROVED,)
        if old_there:
            session.transmit(delete_key(version=plan.old_version))
            steps = (Step.PROVED, Step.DELETED)
        self._journal.close(plan)
        return steps


def _held(facts: CardFacts) -> tuple[int, ...]:
    if not facts.key_versions:
        raise PersonalizationError("rotation-blind", card=facts.identity)
    return facts.key_versions


def _hex(keys: KeySetOfCards) -> str:
    return f"{keys.version:02X}"


def _list(versions: tuple[int, ...]) -> str:
    return ", ".join(f"{version:02X}" for version in versions)


def _other_keys(plan: RotationPlan) -> PersonalizationError:
    return PersonalizationError(
        "rotation-other-keys", card=plan.card, old=f"{plan.old_version:02X}", new=f"{plan.new_version:02X}"
    )
