"""Files that perhaps no firmware needs, chips of images, and the longest message of a device."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "file_sweeps",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("claimed_at", sa.Float(53)),
    )
    op.create_index("ix_file_sweeps_at", "file_sweeps", ["at"])
    op.add_column("firmware", sa.Column("chip", sa.String(32)))
    op.add_column("devices", sa.Column("message_most", sa.Integer()))
