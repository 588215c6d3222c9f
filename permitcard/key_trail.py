"""A change of a key stands in the trail before it is made, and again when it is made.

Keys are not in the journal, so that no transaction holds both. A crash or a full disk between the two leaves a change
that was announced and not told as made; whoever gives the command again has it told, and no second one made.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from filelock import Timeout
from sqlalchemy import select

from personalization.errors import PersonalizationError
from personalization.folder_rights import file_lock
from personalization.keys.changes import KeyChange
from personalization.keys.keystore import KEY_LENGTHS
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Event

if TYPE_CHECKING:
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.keys.changes import KeyAct
    from personalization.keys.keystore import KeyName
    from personalization.production.journal.database import Journal

BEGUN: Final = "begun"
_LOCK: Final = "keys.lock"
_USAGE: Final = 2
_ENVIRONMENT: Final = 3


@contextmanager
def one_change_at_a_time(place: Centre) -> Generator[None]:
    """Keep others from changing keys: each change is read, made and written back, and two would lose one another's.

    Raises:
        PersonalizationError: "key-change-busy", exit 3.
    """
    if not place.root.is_dir():  # which is about to be said
        yield
        return
    lock = file_lock(place.root / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise PersonalizationError("key-change-busy", exit_code=_ENVIRONMENT, path=str(place.root)) from None
    try:
        yield
    finally:
        lock.release()


def announce(job: Job, act: KeyAct) -> str | None:
    """Tell that a key is about to be replaced or destroyed.

    Args:
        job: the open centre.
        act: what is about to be done.

    Returns:
        Check value of the key that was in use when the same act was announced before, if the key was replaced then and
        nobody told it; None when it is still to be done.

    Raises:
        PersonalizationError: "key-in-use", exit 2: the key that is about to be imported.
    """
    in_use = job.keys.check_value(act.key).hex().upper()
    last = _last_change(job.journal, act.key)
    if last.get("change") == BEGUN and last.get("act") == str(act) and not act.destroys:
        return None if last["in_use"] == in_use else str(last["in_use"])
    if act.change is KeyChange.IMPORT and act.check_value.hex().upper() == in_use:
        raise PersonalizationError("key-in-use", exit_code=_USAGE, key=act.key.value, check_value=in_use)
    if act.destroys and act.key in KEY_LENGTHS and act.check_value not in job.keys.check_values(act.key)[1:]:
        return None  # there is no such former key, which is about to be said
    facts = {"key": act.key.value, "change": BEGUN, "act": str(act), "in_use": in_use}
    with job.journal.transaction() as connection:
        record(connection, job.operator.name, [Entry(What.KEYS_CHANGED, facts=facts)])
    return None


def _last_change(journal: Journal, key: KeyName) -> dict[str, Any]:
    told = select(Event.facts).where(Event.what == What.KEYS_CHANGED.value).order_by(Event.id.desc())
    with journal.reading() as connection:
        for facts in connection.execute(told).scalars():
            found: dict[str, Any] = json.loads(facts or "{}")
            if found.get("key") == key.value:
                return found
    return {}
