"""Alembic's entry: upgrades the ledger on the connection that boneexp hands over, inside its transaction."""

from alembic import context

from boneexp.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
