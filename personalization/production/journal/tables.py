"""Tables of the journal, and the uniqueness that the database itself holds.

Times are whole microseconds since 1970 UTC, so that they mean the same in SQLite and PostgreSQL. No column holds
personal data: permits and citizens are known again by the key store's HMAC, everything else refers to rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from personalization.production.states import (
    ACTIVE_RUNS,
    CHIP_RUNS,
    LIVE_ROWS,
    LIVE_RUNS,
    LIVE_STATIONS,
    BatchState,
    BlankState,
    RowState,
    RunState,
    SamState,
    StationState,
)

# SQLite numbers rows by itself only in a column of exactly this type.
_Identity: Final = BigInteger().with_variant(Integer(), "sqlite")
_Digest: Final = LargeBinary(32)
_STATE_LENGTH: Final = 16
_CODE_LENGTH: Final = 64
_PLACE_LENGTH: Final = 255


def _one_of(states: Iterable[StrEnum], column: str = "state") -> str:
    return f"{column} IN ({', '.join(repr(state.value) for state in states)})"


def _unique_where(name: str, condition: str, *columns: str) -> Index:
    """At most one row of the table for each value of ``columns`` among rows that fulfil ``condition``."""
    return Index(name, *columns, unique=True, sqlite_where=text(condition), postgresql_where=text(condition))


def _unique_while(name: str, column: str, states: Iterable[StrEnum]) -> Index:
    """At most one row of the table for each value of ``column`` among rows of these states."""
    return _unique_where(name, _one_of(states), column)


def _unique_among(name: str, column: str, states: Iterable[StrEnum]) -> Index:
    """As `_unique_while`, in an index that finds rows of other states too: their second part is NULL, so all differ."""
    return Index(name, column, text(f"(CASE WHEN {_one_of(states)} THEN 1 END)"), unique=True)


class Base(DeclarativeBase):
    """All tables of the journal."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Batch(Base):
    """A delivery that was accepted for production.

    ``source_hash`` is the SHA-256 or HMAC of the delivered file; ``area`` six digits of GB/T 2260; ``delivered`` the
    rows in it; ``prepared`` and ``source`` the paths of the sealed files; ``order`` is for all its stations.
    """

    __tablename__ = "batches"
    __table_args__ = (CheckConstraint(_one_of(BatchState), name="state"),)

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    identifier: Mapped[str] = mapped_column(String(_CODE_LENGTH), unique=True)
    source_hash: Mapped[bytes] = mapped_column(_Digest, unique=True)
    area: Mapped[str] = mapped_column(String(6))
    delivered: Mapped[int] = mapped_column(Integer)
    prepared: Mapped[str] = mapped_column(String(1024))
    source: Mapped[str] = mapped_column(String(1024))
    state: Mapped[str] = mapped_column(String(_STATE_LENGTH))
    reason: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
    received_at: Mapped[int] = mapped_column(BigInteger)
    order: Mapped[str | None] = mapped_column(String(_STATE_LENGTH))


class Row(Base):
    """One row of a batch; ``permit`` and ``citizen`` are HMACs, ``prepared_index`` counts in the prepared file."""

    __tablename__ = "rows"
    __table_args__ = (
        UniqueConstraint("batch_id", "number"),
        CheckConstraint(_one_of(RowState), name="state"),
        Index(None, "batch_id", "state", "number"),
        Index(None, "citizen"),
        _unique_among("uq_rows_permit_live", "permit", LIVE_ROWS),
    )

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    number: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(_STATE_LENGTH))
    permit: Mapped[bytes | None] = mapped_column(_Digest)
    citizen: Mapped[bytes | None] = mapped_column(_Digest)
    prepared_index: Mapped[int | None] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))


class Blank(Base):
    """One card of the stock.

    ``card_number`` is the chip serial as hex, ``location`` where it is, such as ``sim:cards/0001.card``;
    ``key_failures`` counts authentications that it refused; ``disposal`` says what became of a spoiled one.
    """

    __tablename__ = "blanks"
    __table_args__ = (
        CheckConstraint(_one_of(BlankState), name="state"),
        Index(None, "state", "lot", "id"),
    )

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    card_number: Mapped[str] = mapped_column(String(40), unique=True)
    location: Mapped[str] = mapped_column(String(1024), unique=True)
    lot: Mapped[str] = mapped_column(String(_CODE_LENGTH))
    state: Mapped[str] = mapped_column(String(_STATE_LENGTH))
    key_failures: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
    disposal: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
    received_at: Mapped[int] = mapped_column(BigInteger)


class Run(Base):
    """One row on one blank: the claim and all that came of it.

    ``fence`` grows each time somebody else takes the run over, and every later statement names it, so that a station
    that was given up for dead cannot write any more; the card carries it too. ``holder`` is the station's row, and only
    means something while the run is open or inspecting; an open run that no living station holds is in doubt.
    ``begun_at`` is written before the card receives its first byte; without it the card is known to be untouched.
    """

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(_one_of(RunState), name="state"),
        Index(None, "batch_id", "state"),
        Index(None, "row_id"),
        _unique_while("uq_runs_row_active", "row_id", ACTIVE_RUNS),
        _unique_while("uq_runs_permit_live", "permit", LIVE_RUNS),
        _unique_while("uq_runs_blank_chip", "blank_id", CHIP_RUNS),
    )

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    row_id: Mapped[int] = mapped_column(ForeignKey("rows.id"))
    blank_id: Mapped[int] = mapped_column(ForeignKey("blanks.id"))
    permit: Mapped[bytes] = mapped_column(_Digest)
    state: Mapped[str] = mapped_column(String(_STATE_LENGTH))
    station: Mapped[str] = mapped_column(String(_CODE_LENGTH))
    inspected_by: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
    fence: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
    holder: Mapped[int | None] = mapped_column(BigInteger)
    claimed_at: Mapped[int] = mapped_column(BigInteger)
    begun_at: Mapped[int | None] = mapped_column(BigInteger)
    made_at: Mapped[int | None] = mapped_column(BigInteger)
    inspected_at: Mapped[int | None] = mapped_column(BigInteger)


class Cancellation(Base):
    """A permit that a newer one of the same citizen replaced, once the newer card had passed inspection."""

    __tablename__ = "cancellations"

    old_row_id: Mapped[int] = mapped_column(ForeignKey("rows.id"), primary_key=True)
    new_row_id: Mapped[int] = mapped_column(ForeignKey("rows.id"), index=True)
    at: Mapped[int] = mapped_column(BigInteger)


class Evidence(Base):
    """What is kept of one stage of one run: the command trace without data, and the inspector's results, masked.

    Both are compressed; `personalization.production.tracing` reads the trace, `personalization.production.results`
    opens ``checks``, which are sealed. ``steps`` is a JSON object of microseconds by step.
    """

    __tablename__ = "evidence"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    stage: Mapped[str] = mapped_column(String(_STATE_LENGTH), primary_key=True)
    trace: Mapped[bytes] = mapped_column(LargeBinary)
    checks: Mapped[bytes | None] = mapped_column(LargeBinary)
    steps: Mapped[str] = mapped_column(String)


class Event(Base):
    """Audit trail: who did what, when, to which batch, row, blank and run; ``facts`` is a JSON object.

    ``id`` counts without a gap, ``link`` is the hash of this entry and all before it; see `journal.chain`.
    """

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    who: Mapped[str] = mapped_column(String(_CODE_LENGTH))
    what: Mapped[str] = mapped_column(String(_CODE_LENGTH), index=True)
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"), index=True)
    row_id: Mapped[int | None] = mapped_column(ForeignKey("rows.id"))
    blank_id: Mapped[int | None] = mapped_column(ForeignKey("blanks.id"))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    facts: Mapped[str | None] = mapped_column(String)
    link: Mapped[bytes | None] = mapped_column(_Digest)


class AuditHead(Base):
    """The end of the audit trail, one row: number and link of the last entry; who writes entries locks it first."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    link: Mapped[bytes] = mapped_column(_Digest)


class JournalKeys(Base):
    """Whose keys the journal is of, one row: check value of the key that knows permits, which is never replaced."""

    __tablename__ = "journal_keys"

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    recognition: Mapped[bytes] = mapped_column(LargeBinary(3))


class Shift(Base):
    """One run of the coordinator over a batch; a batch has at most one that has not ended.

    ``beat`` counts its signs of life, the last one at ``last_seen_at``; ``lease_until`` is by the database's clock.
    ``lock`` names the lock that it holds on its machine, see `personalization.production.lives`.
    """

    __tablename__ = "shifts"
    __table_args__ = (_unique_where("uq_shifts_batch_open", "ended_at IS NULL", "batch_id"),)

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), index=True)
    stations: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[int] = mapped_column(BigInteger)
    last_seen_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
    host: Mapped[str | None] = mapped_column(String(_PLACE_LENGTH))
    lock: Mapped[str | None] = mapped_column(String(_PLACE_LENGTH))
    beat: Mapped[int] = mapped_column(BigInteger, server_default="0")
    lease_us: Mapped[int] = mapped_column(BigInteger, server_default="0")
    lease_until: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Station(Base):
    """One life of a station: its lease, what it was told, and what it did.

    ``beat``, ``lease_us`` and ``lease_until`` as for a shift; ``busy_us`` is the time that it had cards in hand;
    ``shift_id`` is the shift in which it joined, None when there was no coordinator.
    """

    __tablename__ = "stations"
    __table_args__ = (
        CheckConstraint(_one_of(StationState), name="state"),
        Index(None, "batch_id", "state"),
        _unique_where("uq_stations_name_live", _one_of(LIVE_STATIONS), "batch_id", "name"),
    )

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    shift_id: Mapped[int | None] = mapped_column(ForeignKey("shifts.id"))
    name: Mapped[str] = mapped_column(String(_CODE_LENGTH))
    host: Mapped[str] = mapped_column(String(_PLACE_LENGTH))
    lock: Mapped[str] = mapped_column(String(_PLACE_LENGTH))
    state: Mapped[str] = mapped_column(String(_STATE_LENGTH))
    order: Mapped[str | None] = mapped_column(String(_STATE_LENGTH))
    beat: Mapped[int] = mapped_column(BigInteger)
    lease_us: Mapped[int] = mapped_column(BigInteger)
    lease_until: Mapped[int] = mapped_column(BigInteger)
    joined_at: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    ending: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
    made: Mapped[int] = mapped_column(Integer)
    good: Mapped[int] = mapped_column(Integer)
    spoiled: Mapped[int] = mapped_column(Integer)
    failed: Mapped[int] = mapped_column(Integer)
    busy_us: Mapped[int] = mapped_column(BigInteger)


class SealedDossier(Base):
    """What an office knows of one permit, sealed; ``recognised`` is the HMAC of the permit number."""

    __tablename__ = "dossiers"

    recognised: Mapped[bytes] = mapped_column(_Digest, primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    changed_at: Mapped[int] = mapped_column(BigInteger)


class SealedCase(Base):
    """What an office knows of one application, sealed; ``number`` counts cases, ``state`` says what is to be done."""

    __tablename__ = "cases"

    number: Mapped[int] = mapped_column(_Identity, primary_key=True)
    state: Mapped[str] = mapped_column(String(_STATE_LENGTH), index=True)
    version: Mapped[int] = mapped_column(Integer)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    changed_at: Mapped[int] = mapped_column(BigInteger)


class Sam(Base):
    """One SAM of the centre; ``card_number`` as hex, ``keys`` a JSON object of check values by name.

    ``generation`` is that of the cards it opens; ``disposal`` says whether a retired chip was put out of service.
    """

    __tablename__ = "sams"
    __table_args__ = (CheckConstraint(_one_of(SamState), name="state"),)

    id: Mapped[int] = mapped_column(_Identity, primary_key=True)
    card_number: Mapped[str] = mapped_column(String(40), unique=True)
    state: Mapped[str] = mapped_column(String(_STATE_LENGTH))
    profile: Mapped[str] = mapped_column(String(_CODE_LENGTH))
    generation: Mapped[int] = mapped_column(Integer)
    keys: Mapped[str] = mapped_column(String)
    begun_at: Mapped[int] = mapped_column(BigInteger)
    made_at: Mapped[int | None] = mapped_column(BigInteger)
    made_by: Mapped[str] = mapped_column(String(_CODE_LENGTH))
    retired_at: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
    disposal: Mapped[str | None] = mapped_column(String(_CODE_LENGTH))
