"""The journal's first form."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "batches",
        sa.Column("id", _identity(), nullable=False),
        sa.Column("identifier", sa.String(length=64), nullable=False),
        sa.Column("source_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("area", sa.String(length=6), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("prepared", sa.String(length=1024), nullable=False),
        sa.Column("source", sa.String(length=1024), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('loaded', 'running', 'stopped', 'complete')", name="ck_batches_state"),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
        sa.UniqueConstraint("identifier", name="uq_batches_identifier"),
        sa.UniqueConstraint("source_hash", name="uq_batches_source_hash"),
    )
    op.create_table(
        "blanks",
        sa.Column("id", _identity(), nullable=False),
        sa.Column("card_number", sa.String(length=40), nullable=False),
        sa.Column("location", sa.String(length=1024), nullable=False),
        sa.Column("lot", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("key_failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("disposal", sa.String(length=64), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('in-stock', 'in-use', 'barred', 'good', 'spoiled', 'sample', 'destroyed')",
            name="ck_blanks_state",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_blanks"),
        sa.UniqueConstraint("card_number", name="uq_blanks_card_number"),
        sa.UniqueConstraint("location", name="uq_blanks_location"),
    )
    op.create_index("ix_blanks_state_lot_id", "blanks", ["state", "lot", "id"], unique=False)
    op.create_table(
        "rows",
        sa.Column("id", _identity(), nullable=False),
        sa.Column("batch_id", _identity(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("permit", sa.LargeBinary(length=32), nullable=True),
        sa.Column("citizen", sa.LargeBinary(length=32), nullable=True),
        sa.Column("prepared_index", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.CheckConstraint(
            "state IN ('rejected', 'waiting', 'in-production', 'good', 'failed', 'cancelled')", name="ck_rows_state"
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_rows_batch_id"),
        sa.PrimaryKeyConstraint("id", name="pk_rows"),
        sa.UniqueConstraint("batch_id", "number", name="uq_rows_batch_id_number"),
    )
    op.create_index("ix_rows_batch_id_state_number", "rows", ["batch_id", "state", "number"], unique=False)
    op.create_index("ix_rows_citizen", "rows", ["citizen"], unique=False)
    op.create_index("ix_rows_permit", "rows", ["permit"], unique=False)
    op.create_index(
        "uq_rows_permit_live",
        "rows",
        ["permit"],
        unique=True,
        sqlite_where=sa.text("state IN ('waiting', 'in-production', 'good', 'failed')"),
        postgresql_where=sa.text("state IN ('waiting', 'in-production', 'good', 'failed')"),
    )
    op.create_table(
        "shifts",
        sa.Column("id", _identity(), nullable=False),
        sa.Column("batch_id", _identity(), nullable=False),
        sa.Column("stations", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_shifts_batch_id"),
        sa.PrimaryKeyConstraint("id", name="pk_shifts"),
    )
    op.create_index("ix_shifts_batch_id", "shifts", ["batch_id"], unique=False)
    op.create_table(
        "cancellations",
        sa.Column("old_row_id", _identity(), nullable=False),
        sa.Column("new_row_id", _identity(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["new_row_id"], ["rows.id"], name="fk_cancellations_new_row_id"),
        sa.ForeignKeyConstraint(["old_row_id"], ["rows.id"], name="fk_cancellations_old_row_id"),
        sa.PrimaryKeyConstraint("old_row_id", name="pk_cancellations"),
    )
    op.create_index("ix_cancellations_new_row_id", "cancellations", ["new_row_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", _identity(), nullable=False),
        sa.Column("batch_id", _identity(), nullable=False),
        sa.Column("row_id", _identity(), nullable=False),
        sa.Column("blank_id", _identity(), nullable=False),
        sa.Column("permit", sa.LargeBinary(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("inspected_by", sa.String(length=64), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=True),
        sa.Column("inspected_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'made', 'inspecting', 'good', 'spoiled', 'released', 'cancelled')", name="ck_runs_state"
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_runs_batch_id"),
        sa.ForeignKeyConstraint(["blank_id"], ["blanks.id"], name="fk_runs_blank_id"),
        sa.ForeignKeyConstraint(["row_id"], ["rows.id"], name="fk_runs_row_id"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_batch_id_state", "runs", ["batch_id", "state"], unique=False)
    op.create_index("ix_runs_row_id", "runs", ["row_id"], unique=False)
    op.create_index(
        "uq_runs_blank_chip",
        "runs",
        ["blank_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('open', 'made', 'inspecting', 'good', 'spoiled', 'cancelled')"),
        postgresql_where=sa.text("state IN ('open', 'made', 'inspecting', 'good', 'spoiled', 'cancelled')"),
    )
    op.create_index(
        "uq_runs_permit_live",
        "runs",
        ["permit"],
        unique=True,
        sqlite_where=sa.text("state IN ('open', 'made', 'inspecting', 'good')"),
        postgresql_where=sa.text("state IN ('open', 'made', 'inspecting', 'good')"),
    )
    op.create_index(
        "uq_runs_row_active",
        "runs",
        ["row_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('open', 'made', 'inspecting')"),
        postgresql_where=sa.text("state IN ('open', 'made', 'inspecting')"),
    )
    op.create_table(
        "events",
        sa.Column("id", _identity(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("batch_id", _identity(), nullable=True),
        sa.Column("row_id", _identity(), nullable=True),
        sa.Column("blank_id", _identity(), nullable=True),
        sa.Column("run_id", _identity(), nullable=True),
        sa.Column("facts", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_events_batch_id"),
        sa.ForeignKeyConstraint(["blank_id"], ["blanks.id"], name="fk_events_blank_id"),
        sa.ForeignKeyConstraint(["row_id"], ["rows.id"], name="fk_events_row_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_events_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_batch_id", "events", ["batch_id"], unique=False)
    op.create_index("ix_events_what", "events", ["what"], unique=False)
    op.create_table(
        "evidence",
        sa.Column("run_id", _identity(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("trace", sa.LargeBinary(), nullable=False),
        sa.Column("checks", sa.LargeBinary(), nullable=True),
        sa.Column("steps", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_evidence_run_id"),
        sa.PrimaryKeyConstraint("run_id", "stage", name="pk_evidence"),
    )


def _identity() -> sa.types.TypeEngine[int]:
    """SQLite numbers rows by itself only in a column of type INTEGER."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
