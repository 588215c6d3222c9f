"""One index over the permits of rows instead of two: it finds a permit, and keeps live ones apart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_LIVE = sa.text("(CASE WHEN state IN ('waiting', 'in-production', 'good', 'failed') THEN 1 END)")


def upgrade() -> None:
    """Drop both and make the one."""
    op.drop_index("ix_rows_permit", "rows")
    op.drop_index("uq_rows_permit_live", "rows")
    op.create_index("uq_rows_permit_live", "rows", ["permit", _LIVE], unique=True)
