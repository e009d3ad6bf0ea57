"""Devices that poll by hawkBit's DDI in place of MQTT, and their tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    transport = sa.Column("transport", sa.String(8), nullable=False, server_default="mqtt")
    op.add_column("devices", transport)
    op.create_table(
        "controllers",
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("action_id", sa.Integer()),
        sa.Column("assignment_id", sa.Integer(), sa.ForeignKey("assignments.id")),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("auto_confirm", sa.Boolean(), nullable=False),
        sa.Column("attributes", sa.JSON()),
        sa.Column("wants_attributes", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_controllers_assignment_id", "controllers", ["assignment_id"])
    op.create_table(
        "ddi_tokens",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False, unique=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("devices.id")),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )
    op.create_index("ix_ddi_tokens_device_id", "ddi_tokens", ["device_id"])
