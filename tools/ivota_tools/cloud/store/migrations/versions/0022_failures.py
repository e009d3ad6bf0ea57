"""Every failure of an attempt, instead of the last one only."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "failures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column(
            "assignment_id",
            sa.Integer(),
            sa.ForeignKey("assignments.id"),
            nullable=False,
            index=True,
        ),
        sa.Column("code", sa.Integer()),
        sa.Column("message", sa.String(256)),
    )
    op.execute(
        "INSERT INTO failures (at, assignment_id, code, message)"
        " SELECT failed_at, id, failure_code, failure_msg FROM assignments"
        " WHERE failed_at IS NOT NULL ORDER BY failed_at"
    )
