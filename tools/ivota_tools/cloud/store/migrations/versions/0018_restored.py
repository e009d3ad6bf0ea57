"""Mark attempts that a backup has brought back, until the device reports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0018", "0017"


def upgrade() -> None:
    added = sa.Column("restored", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("assignments", added)
