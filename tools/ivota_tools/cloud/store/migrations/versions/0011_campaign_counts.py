"""The number of each campaign's devices by stage and state, which had to be counted before."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

LEFT_OUT = "('superseded', 'skipped', 'cancelled')"
OPEN = "('waiting', 'pushed', 'downloading', 'burning', 'retry')"


def upgrade() -> None:
    large = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "campaign_counts",
        sa.Column("id", large, primary_key=True),
        sa.Column("campaign_id", sa.Integer(), sa.ForeignKey("campaigns.id"), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("marked", sa.Boolean(), nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
    )
    op.create_index("ix_campaign_counts_campaign_id", "campaign_counts", ["campaign_id"])
    op.execute(
        "INSERT INTO campaign_counts (campaign_id, stage, state, marked, change)"
        " SELECT m.campaign_id, m.stage, coalesce(a.state, 'queued') AS state,"
        " CASE WHEN a.state = 'current' THEN a.pushes = 0"
        f" WHEN a.state IN {LEFT_OUT} THEN a.failure_code IS NOT NULL"
        f" WHEN a.state IN {OPEN} THEN a.hard_failures > 0 ELSE false END AS marked, count(*)"
        " FROM members m LEFT JOIN assignments a ON a.id = m.assignment_id"
        " GROUP BY m.campaign_id, m.stage, coalesce(a.state, 'queued'),"
        " CASE WHEN a.state = 'current' THEN a.pushes = 0"
        f" WHEN a.state IN {LEFT_OUT} THEN a.failure_code IS NOT NULL"
        f" WHEN a.state IN {OPEN} THEN a.hard_failures > 0 ELSE false END"
    )
