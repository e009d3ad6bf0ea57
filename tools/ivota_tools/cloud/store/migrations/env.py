"""Alembic runs this file to apply migrations, on the connection that it receives."""

from alembic import context

from ivota_tools.cloud.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
