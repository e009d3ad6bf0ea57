"""Devices that wait to be accepted, or are retired; when one last sent more than it may; firmware
that is deleted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    status = sa.Column("status", sa.String(16), nullable=False, server_default="accepted")
    op.add_column("devices", status)
    op.add_column("devices", sa.Column("flooded_at", sa.Float(53), nullable=True))
    op.create_index("ix_devices_status", "devices", ["status"])
    op.add_column("firmware", sa.Column("deleted_at", sa.Float(53), nullable=True))
