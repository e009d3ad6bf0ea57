"""The chip of a device, as reported."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("devices", sa.Column("chip", sa.String(32)))
