"""A fleet: tags, groups, campaigns, tokens, the audit log, secrets of devices."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=256), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("query", sa.String(length=1024), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_table(
        "campaigns",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("firmware_id", sa.Integer(), nullable=False),
        sa.Column("query", sa.String(length=1024), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=256), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("success_share", sa.Float(precision=53), nullable=False),
        sa.Column("soak_s", sa.Float(precision=53), nullable=False),
        sa.Column("stop_share", sa.Float(precision=53), nullable=True),
        sa.Column("stop_least", sa.Integer(), nullable=False),
        sa.Column("timeout_s", sa.Float(precision=53), nullable=True),
        sa.Column("active_most", sa.Integer(), nullable=True),
        sa.Column("starts_per_min", sa.Integer(), nullable=True),
        sa.Column("only_outdated", sa.Boolean(), nullable=False),
        sa.Column("start_at", sa.Float(precision=53), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("started_at", sa.Float(precision=53), nullable=True),
        sa.Column("ended_at", sa.Float(precision=53), nullable=True),
        sa.Column("stage_good_at", sa.Float(precision=53), nullable=True),
        sa.Column("waived_done", sa.Integer(), nullable=False),
        sa.Column("waived_failed", sa.Integer(), nullable=False),
        sa.Column("waived_stage", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["firmware_id"],
            ["firmware.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_campaigns_state"), "campaigns", ["state"], unique=False)
    op.create_table(
        "device_tags",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("device_id", "tag"),
    )
    op.create_index(op.f("ix_device_tags_tag"), "device_tags", ["tag"], unique=False)
    op.create_table(
        "members",
        sa.Column("campaign_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("assignment_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["assignment_id"],
            ["assignments.id"],
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.id"],
        ),
        sa.ForeignKeyConstraint(
            ["device_id"],
            ["devices.id"],
        ),
        sa.PrimaryKeyConstraint("campaign_id", "device_id"),
    )
    op.create_index(op.f("ix_members_assignment_id"), "members", ["assignment_id"], unique=False)
    # SQLite can add a foreign key only together with its column.
    op.execute("ALTER TABLE assignments ADD COLUMN campaign_id INTEGER REFERENCES campaigns (id)")
    op.add_column(
        "assignments",
        sa.Column("only_outdated", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("assignments", sa.Column("first_push_at", sa.Float(precision=53), nullable=True))
    op.add_column("assignments", sa.Column("started_at", sa.Float(precision=53), nullable=True))
    op.create_index(
        op.f("ix_assignments_campaign_id"), "assignments", ["campaign_id"], unique=False
    )
    op.add_column("devices", sa.Column("secret", sa.String(length=256), nullable=True))
