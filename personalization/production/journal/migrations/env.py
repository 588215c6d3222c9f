"""Runs the migrations over the connection that `open_journal` hands in."""

from __future__ import annotations

from alembic import context

from personalization.production.journal.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
