"""Whose keys a journal is of, so that it is not worked on with others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; the next command that opens the journal enters its keys."""
    op.create_table(
        "journal_keys",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("recognition", sa.LargeBinary(length=3), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal_keys"),
    )
