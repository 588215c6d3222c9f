"""Who may do what, and what takes two: the roster of a centre, and approvals in the audit trail.

``operators.toml`` of the centre::

    [operators.li]
    system_user = "li"                      # the operating system's user; the name of the table when absent
    roles = ["receive", "prepare", "run"]

    [operators.wang]
    public_key = "3059…"                    # instead: SubjectPublicKeyInfo of a key in wang's own PKCS#11 token
    roles = ["inspect", "release", "keys"]

An approval is an entry of the audit trail. It holds for one act on one subject, for one day, and once: the entry of the
act names it, and no second entry can. Whoever gave it must still have the role when it is used, and must not have run
the batch in between where that would have kept them from approving.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from sqlalchemy import Connection, select

from personalization.errors import PersonalizationError
from personalization.folder_rights import OWNER_ALONE, read_settings, rights_in
from personalization.production.acts import ACTS, Act, Role
from personalization.production.journal.database import Journal, now_us
from personalization.production.journal.events import APPROVAL, Entry, What, is_spent, record
from personalization.production.journal.tables import Batch, Event

_USAGE: Final = 2
_LONGEST_NAME: Final = 64
_HOUR_US: Final = 60 * 60 * 1_000_000
"""By which clocks of two machines may differ; an approval from later than that is of before a clock was set back."""

_DAY_US: Final = 24 * _HOUR_US


@dataclass(frozen=True, slots=True)
class Operator:
    """One person.

    Attributes:
        name: in the audit trail.
        roles: what the person may do.
        system_user: name at the operating system; None for one who proves a key instead.
        public_key: SubjectPublicKeyInfo of that key, DER.
    """

    name: str
    roles: frozenset[Role]
    system_user: str | None = None
    public_key: bytes | None = None

    @property
    def known_by(self) -> str | bytes | None:
        """The one thing by which the person is known."""
        return self.system_user if self.public_key is None else self.public_key

    def require(self, role: Role) -> None:
        """Refuse what the person may not do.

        Raises:
            PersonalizationError: "role-missing", exit 2.
        """
        if role not in self.roles:
            raise PersonalizationError("role-missing", exit_code=_USAGE, operator=self.name, role=role.value)


@dataclass(frozen=True, slots=True)
class Roster:
    """All operators of a centre.

    Attributes:
        operators: by name; empty in a rehearsal of one person, who may then do everything alone.
    """

    operators: Mapping[str, Operator]

    @classmethod
    def load(cls, path: Path, *, production: bool) -> Self:
        """Read the roster.

        Args:
            path: the file; a rehearsal may do without.
            production: whether the centre's keys are for real cards.

        Raises:
            PersonalizationError: exit 2: "operators-missing", a production centre or a group's has none;
                "operators-malformed"; "settings-not-owners", exit 3.
        """
        if not path.exists():
            if production or rights_in(path.parent) is not OWNER_ALONE:
                raise PersonalizationError("operators-missing", exit_code=_USAGE, file=str(path))
            return cls({})
        try:
            table = tomllib.loads(read_settings(path))["operators"]
            operators = {name: _operator(name, row) for name, row in table.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise PersonalizationError("operators-malformed", exit_code=_USAGE, file=str(path)) from None
        known_by = [one.known_by for one in operators.values()]
        if not operators or len(known_by) != len(set(known_by)):  # one person would be the second one as well
            raise PersonalizationError("operators-malformed", exit_code=_USAGE, file=str(path))
        return cls(operators)

    @property
    def alone(self) -> bool:
        """True in a rehearsal without a roster: one person does everything."""
        return not self.operators

    def of_user(self, system_user: str) -> Operator:
        """The operator whom the operating system knows by that name.

        Raises:
            PersonalizationError: "operator-unknown", exit 2.
        """
        if self.alone:
            return Operator(system_user, frozenset(Role), system_user)
        found = next((one for one in self.operators.values() if one.system_user == system_user), None)
        if found is None:
            raise PersonalizationError("operator-unknown", exit_code=_USAGE, operator=system_user)
        return found

    def named(self, name: str) -> Operator:
        """The operator of that name, who has yet to prove a key.

        Raises:
            PersonalizationError: "operator-unknown", exit 2.
        """
        found = self.operators.get(name)
        if found is None or found.public_key is None:
            raise PersonalizationError("operator-unknown", exit_code=_USAGE, operator=name)
        return found


def _operator(name: str, row: Mapping[str, object]) -> Operator:
    if not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError("the audit trail keeps 64 characters of a name")
    roles = row["roles"]
    if not isinstance(roles, list) or set(row) - {"roles", "system_user", "public_key"}:
        raise ValueError("an operator has roles, and a system user or a public key")
    granted = frozenset(Role(str(role)) for role in roles)  # pyright: ignore[reportUnknownArgumentType]  # checked by Role
    key = row.get("public_key")
    if key is not None:
        if "system_user" in row:
            raise ValueError("an operator is known by one thing")
        return Operator(name, granted, None, bytes.fromhex(str(key)))
    return Operator(name, granted, str(row.get("system_user", name)))


class Approval(NamedTuple):
    """An approval that holds.

    Attributes:
        entry: its number in the audit trail.
        by: who approved.
    """

    entry: int
    by: str


def approve(journal: Journal, operator: Operator, act: Act, subject: str) -> None:
    """Record that an operator approves an act.

    Args:
        journal: the open journal.
        operator: who approves.
        act: what.
        subject: batch identifier, or the SHA-256 (hex) of a delivered file.

    Raises:
        PersonalizationError: "role-missing", exit 2.
    """
    operator.require(ACTS[act].approves)
    if ACTS[act].apart_from_makers or ACTS[act].approver_apart:
        _require_apart(journal, operator.name, subject)
    with journal.transaction() as connection:
        batch_id = connection.execute(select(Batch.id).where(Batch.identifier == subject)).scalar()
        facts = {"act": act.value, "subject": subject}
        record(connection, operator.name, [Entry(What.APPROVED, batch_id, facts=facts)])


def require_two(journal: Journal, roster: Roster, operator: Operator, act: Act, subject: str) -> Approval | None:
    """Let an operator act when a second one has approved; None where one person may do everything.

    Raises:
        PersonalizationError: exit 2: "role-missing"; "maker-inspects", who ran a batch does not release it;
            "approval-missing", nobody has approved, or who has may not any more.
    """
    operator.require(ACTS[act].acts)
    if roster.alone:
        return None
    if ACTS[act].apart_from_makers:
        _require_apart(journal, operator.name, subject)
    approval = _find(journal, roster, operator.name, act, subject)
    if approval is None:
        raise PersonalizationError(
            "approval-missing", exit_code=_USAGE, act=act.value, subject=subject, role=ACTS[act].approves.value
        )
    return approval


def approved(approval: Approval | None) -> dict[str, object]:
    """What the entry of an act says of its approval; the approval is used up when that entry is written."""
    return (
        {APPROVAL: None, "approved_by": None}
        if approval is None
        else {APPROVAL: approval.entry, "approved_by": approval.by}
    )


_RAN: Final = (What.BATCH_RUNNING.value, What.STATION_MANNED.value)
"""Entries of who ran a batch, as its coordinator or at a station that joined it."""


def _require_apart(journal: Journal, name: str, subject: str) -> None:
    with journal.reading() as connection:
        if _has_run(connection, name, subject):
            raise PersonalizationError("maker-inspects", exit_code=_USAGE, operator=name, batch=subject)


def _has_run(connection: Connection, name: str, subject: str) -> bool:
    ran = (
        select(Event.id)
        .join(Batch, Batch.id == Event.batch_id)
        .where(Batch.identifier == subject, Event.what.in_(_RAN), Event.who == name)
        .limit(1)
    )
    return connection.execute(ran).first() is not None


def _find(journal: Journal, roster: Roster, actor: str, act: Act, subject: str) -> Approval | None:
    """The newest approval by somebody else that still holds."""
    given = select(Event.id, Event.who, Event.facts).where(
        Event.what == What.APPROVED.value,
        Event.at.between(now_us() - _DAY_US, now_us() + _HOUR_US),
        Event.who != actor,
    )
    wanted = {"act": act.value, "subject": subject}
    with journal.reading() as connection:
        for row in connection.execute(given.order_by(Event.id.desc())).all():
            approval = Approval(row.id, row.who)
            if json.loads(row.facts or "{}") == wanted and _holds(connection, roster, approval, act, subject):
                return approval
    return None


def _holds(connection: Connection, roster: Roster, approval: Approval, act: Act, subject: str) -> bool:
    """Whether who approved still may, and the approval was not used."""
    pair, by = ACTS[act], roster.operators.get(approval.by)
    apart = pair.apart_from_makers or pair.approver_apart
    return (
        by is not None
        and pair.approves in by.roles
        and not (apart and _has_run(connection, approval.by, subject))
        and not is_spent(connection, approval.entry)
    )
