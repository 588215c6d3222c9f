"""One day after the other at a desk: every operation and what is refused, on any back end that has a specimen.

A play needs nothing but a way to a card's interfaces. What it returns says of each act how it ended and what the card
shows afterwards, so that back ends can be compared, and compared with `EXPECTED`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Final, NamedTuple

from permitcard.products import permit_profile
from permitcard.specimen import UNBLOCKING_PIN, specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName, KeyStore
from personalization.permit.desk.bank_section import BRANCH_ROLE
from personalization.permit.desk.desk import Desk, NewResidence, Outcome
from personalization.permit.desk.dossier import MemoryDossiers, Withdrawal
from personalization.permit.desk.proof import open_session
from personalization.permit.desk.tap import DESK_ROLE, Tap, open_tap
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import CardConnection, Interface
from tests.unit.personalization.desk.bench import AREA, ELSEWHERE, NUMBER, desk, other_keys, verifier

Connect = Callable[[Interface], CardConnection]
HOME: Final = NewResidence("浙江省瑞安市仙降街道新路1号", "330381202700009", dt.date(2026, 5, 20), "仙降派出所")
NEW_PIN: Final = "271828"


class Shown(NamedTuple):
    """How an act ended, and what the card says then."""

    act: str
    ended: str
    status: str
    due: str
    area: str
    changes: int
    records: int


class _Play:
    """A card, its record, and the desks of two areas."""

    def __init__(self, connect: Connect, interfaces: Sequence[Interface]) -> None:
        self._connect = connect
        self._interfaces = cycle(interfaces)
        dossiers = MemoryDossiers()
        self.home, self.elsewhere = desk(dossiers, AREA), desk(dossiers, ELSEWHERE)

    @contextmanager
    def tap(self, day: dt.date, role: str = DESK_ROLE, keys: KeyStore | None = None) -> Generator[Tap]:
        with self._connect(next(self._interfaces)) as connection:
            sam = LaboratorySam(keys or specimen_keys())
            yield open_tap(connection, sam, permit_profile(), verifier(), day, None, role=role)

    @contextmanager
    def branch(self, day: dt.date) -> Generator[tuple[Tap, TerminalSession]]:
        with self._connect(next(self._interfaces)) as connection:
            sam, profile = LaboratorySam(specimen_keys()), permit_profile()
            tap = open_tap(connection, sam, profile, verifier(), day, None, role="inspection")
            yield tap, open_session(connection, sam, profile, BRANCH_ROLE)

    def at_desk(self, day: dt.date, act: Callable[[Tap], Outcome]) -> Outcome:
        with self.tap(day) as tap:
            return act(tap)


Act = Callable[[_Play, dt.date], object]


def _at(office: Callable[[_Play], Desk], act: Callable[[Desk, Tap, dt.date], Outcome]) -> Act:
    return lambda play, day: play.at_desk(day, lambda tap: act(office(play), tap, day))


def _old_sam(play: _Play, day: dt.date) -> object:
    with play.tap(day, keys=other_keys(KeyName.SERVICE_DESK)) as tap:
        return play.home.inspect(tap, day)


def _police(play: _Play, day: dt.date) -> object:
    with play.tap(day, role="inspection") as tap:
        return play.home.inspect(tap, day)


def _activate(play: _Play, day: dt.date) -> object:
    with play.branch(day) as (tap, branch):
        return play.home.activate(tap, day, branch)


def _home(play: _Play) -> Desk:
    return play.home


def _elsewhere(play: _Play) -> Desk:
    return play.elsewhere


def _unlock_with(unblocking: str) -> Act:
    return _at(_home, lambda office, tap, day: office.unlock(tap, day, unblocking, NEW_PIN))


_endorse = _at(_home, lambda office, tap, day: office.endorse(tap, day))
_move = _at(_home, lambda office, tap, day: office.move(tap, day, HOME))

_ACTS: Final[Sequence[tuple[str, dt.date, Act]]] = (
    ("inspect", dt.date(2026, 5, 1), _at(_home, lambda office, tap, day: office.inspect(tap, day))),
    ("police", dt.date(2026, 5, 2), _police),
    ("old-sam", dt.date(2026, 5, 2), _old_sam),
    ("yesterday", dt.date(2026, 5, 1), _at(_home, lambda office, tap, day: office.inspect(tap, day))),
    ("move", dt.date(2026, 5, 25), _move),
    ("correct", dt.date(2026, 5, 26), _at(_home, lambda office, tap, day: office.correct(tap, day, HOME))),
    ("entitle", dt.date(2026, 5, 27), _at(_home, lambda office, tap, day: office.entitle(tap, day, 85, day, "入学"))),
    ("wrong-pin", dt.date(2026, 5, 28), _unlock_with("11111111")),
    ("unlock", dt.date(2026, 5, 28), _unlock_with(UNBLOCKING_PIN)),
    ("activate", dt.date(2026, 5, 29), _activate),
    ("activate-again", dt.date(2026, 5, 29), _activate),
    ("too-early", dt.date(2026, 11, 30), _endorse),
    ("endorse", dt.date(2026, 12, 1), _endorse),
    ("other-area", dt.date(2027, 12, 1), _at(_elsewhere, lambda office, tap, day: office.endorse(tap, day))),
    ("suspended", dt.date(2029, 1, 2), _move),
    ("restore", dt.date(2029, 3, 1), _endorse),
    ("online", dt.date(2029, 12, 2), lambda play, day: play.home.endorse_online(NUMBER, day)),
    ("take-it", dt.date(2029, 12, 3), _at(_home, lambda office, tap, day: office.inspect(tap, day))),
    ("lost", dt.date(2030, 2, 1), lambda play, day: play.home.withdraw_remotely(NUMBER, day, Withdrawal.LOST)),
    ("found", dt.date(2030, 2, 2), _at(_home, lambda office, tap, day: office.inspect(tap, day))),
    ("endorse-lost", dt.date(2030, 12, 2), _endorse),
    ("activate-lost", dt.date(2030, 12, 2), _activate),
)

EXPECTED: Final = (
    Shown("inspect", "valid", "valid", "2027-01-01", AREA, 0, 0),
    Shown("police", "valid", "valid", "2027-01-01", AREA, 0, 0),
    Shown("old-sam", "terminal-keys-refused", "valid", "2027-01-01", AREA, 0, 0),
    Shown("yesterday", "terminal-date", "valid", "2027-01-01", AREA, 0, 0),
    Shown("move", "valid", "valid", "2027-01-01", AREA, 1, 0),
    Shown("correct", "valid", "valid", "2027-01-01", AREA, 2, 0),
    Shown("entitle", "valid", "valid", "2027-01-01", AREA, 3, 0),
    Shown("wrong-pin", "unblocking-pin-wrong", "valid", "2027-01-01", AREA, 3, 0),
    Shown("unlock", "valid", "valid", "2027-01-01", AREA, 3, 0),
    Shown("activate", "valid", "valid", "2027-01-01", AREA, 3, 0),
    Shown("activate-again", "account-active", "valid", "2027-01-01", AREA, 3, 0),
    Shown("too-early", "endorsement-too-early", "valid", "2027-01-01", AREA, 3, 0),
    Shown("endorse", "valid", "valid", "2028-01-01", AREA, 4, 1),
    Shown("other-area", "valid", "valid", "2029-01-01", ELSEWHERE, 5, 2),
    Shown("suspended", "permit-not-valid", "suspended", "2029-01-01", ELSEWHERE, 5, 2),
    Shown("restore", "valid", "valid", "2030-01-01", AREA, 6, 3),
    Shown("online", "valid", "valid", "2030-01-01", AREA, 6, 3),
    Shown("take-it", "valid", "valid", "2031-01-01", AREA, 7, 4),
    Shown("lost", "cancelled", "valid", "2031-01-01", AREA, 7, 4),
    Shown("found", "cancelled", "cancelled", "2031-01-01", AREA, 8, 4),
    Shown("endorse-lost", "permit-cancelled", "cancelled", "2031-01-01", AREA, 8, 4),
    Shown("activate-lost", "permit-not-valid", "cancelled", "2031-01-01", AREA, 8, 4),
)


def play(connect: Connect, interfaces: Sequence[Interface]) -> Iterator[Shown]:
    """Do every act on the interfaces in turn, and look at the card after each.

    Args:
        connect: gives the specimen on an interface.
        interfaces: which one each tap uses, again and again.
    """
    stage = _Play(connect, interfaces)
    for name, day, act in _ACTS:
        try:
            done = act(stage, day)
            ended = done.status.value if isinstance(done, Outcome) else str(done)
        except PersonalizationError as error:
            ended = error.code
        with stage.tap(max(day, dt.date(2026, 5, 2)) if name == "yesterday" else day) as tap:
            status = tap.status
        yield Shown(
            name, ended, status.status.value, f"{status.due}", status.area, status.changes, len(tap.endorsements)
        )
