"""Alembic's entry point. `afterdose.store.migrate` hands in the connection, in an open transaction."""

from alembic import context

from afterdose.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
