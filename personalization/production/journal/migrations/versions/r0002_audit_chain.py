"""Audit entries are linked to one another; those that are there are linked in their order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from personalization.production.journal.chain import CHAINED_FIELDS, FIRST_LINK, HEAD_ROW, link_of

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the links and the head, and link what is there."""
    op.add_column("events", sa.Column("link", sa.LargeBinary(length=32), nullable=True))
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("link", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    connection = op.get_bind()
    events = sa.table("events", *(sa.column(name) for name in (*CHAINED_FIELDS, "link")))
    number, link = 0, FIRST_LINK
    for entry in connection.execute(sa.select(events).order_by(events.c.id)).mappings().all():
        number, link = entry["id"], link_of(link, dict(entry))
        connection.execute(sa.update(events).where(events.c.id == number).values(link=link))
    connection.execute(sa.insert(head).values(id=HEAD_ROW, number=number, link=link))
