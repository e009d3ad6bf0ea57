"""Patches: a device builds firmware from a patch and the firmware that it runs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # SQLite can add a foreign key only together with its column, as in 0002.
    op.execute("ALTER TABLE firmware ADD COLUMN whole_id INTEGER REFERENCES firmware (id)")
    op.create_index(op.f("ix_firmware_whole_id"), "firmware", ["whole_id"], unique=False)
    op.add_column("firmware", sa.Column("base_version", sa.String(length=128), nullable=True))
    op.execute("ALTER TABLE assignments ADD COLUMN patch_id INTEGER REFERENCES firmware (id)")
    op.add_column(
        "assignments",
        sa.Column("whole_only", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
