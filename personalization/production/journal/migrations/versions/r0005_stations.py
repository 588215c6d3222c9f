"""Stations with leases and orders; shifts with leases; who holds a run, and whether its card was touched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LIVE = sa.text("state IN ('working', 'paused')")
_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    """Add the tables and columns; a shift that was killed has ended, and a run that was open may have been touched."""
    op.add_column("batches", sa.Column("order", sa.String(length=16), nullable=True))
    op.add_column("runs", sa.Column("holder", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("begun_at", sa.BigInteger(), nullable=True))
    op.add_column("shifts", sa.Column("host", sa.String(length=255), nullable=True))
    op.add_column("shifts", sa.Column("lock", sa.String(length=255), nullable=True))
    for name in ("beat", "lease_us", "lease_until"):
        op.add_column("shifts", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(sa.text("UPDATE runs SET begun_at = claimed_at"))
    op.execute(sa.text("UPDATE shifts SET ended_at = last_seen_at, outcome = 'lost' WHERE ended_at IS NULL"))
    op.create_index(
        "uq_shifts_batch_open", "shifts", ["batch_id"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    )
    op.create_table(
        "stations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("shift_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("lock", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("order", sa.String(length=16), nullable=True),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("lease_us", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ending", sa.String(length=64), nullable=True),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("good", sa.Integer(), nullable=False),
        sa.Column("spoiled", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("busy_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('working', 'paused', 'ended', 'lost')", name="ck_stations_state"),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_stations_batch_id"),
        sa.ForeignKeyConstraint(["shift_id"], ["shifts.id"], name="fk_stations_shift_id"),
        sa.PrimaryKeyConstraint("id", name="pk_stations"),
    )
    op.create_index("ix_stations_batch_id_state", "stations", ["batch_id", "state"], unique=False)
    op.create_index(
        "uq_stations_name_live",
        "stations",
        ["batch_id", "name"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
