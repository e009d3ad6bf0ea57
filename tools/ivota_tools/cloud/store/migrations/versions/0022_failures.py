"""Every failure of an attempt, instead of the last one only."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column(
        "assignments", sa.Column("failure_count", sa.Integer(), server_default="0", nullable=False)
    )
    op.execute("UPDATE assignments SET failure_count = 1 WHERE failed_at IS NOT NULL")
    op.create_table(
        "failures",
        sa.Column(
            "assignment_id", sa.Integer(), sa.ForeignKey("assignments.id"), primary_key=True
        ),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("code", sa.Integer()),
        sa.Column("message", sa.String(256)),
    )
    op.execute(
        "INSERT INTO failures (assignment_id, number, at, code, message)"
        " SELECT id, 1, failed_at, failure_code, failure_msg FROM assignments"
        " WHERE failed_at IS NOT NULL"
    )
