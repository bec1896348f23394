"""Runs the migrations on the connection it is handed; there is no offline mode."""

from __future__ import annotations

from alembic import context

from ainfera_gateway.storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
