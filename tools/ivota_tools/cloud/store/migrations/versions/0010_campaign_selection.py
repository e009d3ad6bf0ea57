"""Where the selection of a campaign's devices continues, and indexes for large fleets."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_index("by_version", "devices", ["status", "version_key", "version"])
    op.create_index("by_status", "devices", ["status", "id"])
    op.drop_index("by_version_key", "devices")
    op.drop_index("ix_devices_version", "devices")
    op.add_column("campaigns", sa.Column("selection", sa.JSON(), nullable=True))
    without: sa.ColumnElement[bool] = sa.column("assignment_id").is_(None)
    op.create_index(
        "unassigned",
        "members",
        ["campaign_id", "stage", "device_id"],
        sqlite_where=without,
        postgresql_where=without,
    )
    op.create_index("of_campaign", "assignments", ["campaign_id", "state", "first_push_at"])
    op.create_index("campaign_starts", "assignments", ["campaign_id", "started_at"])
    op.drop_index("ix_assignments_campaign_id", "assignments")
