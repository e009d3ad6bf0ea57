"""Applications and hardware, the ends and failures of attempts, and requests for files."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

CLOSED = "('done', 'failed', 'superseded', 'cancelled', 'skipped')"


def upgrade() -> None:
    def add(table: str, *columns: Any) -> None:
        for column in columns:
            op.add_column(table, column)

    add("devices", sa.Column("application", sa.String(128)), sa.Column("hardware", sa.String(64)))
    add("firmware", sa.Column("hardware", sa.String(64)), sa.Column("asked_at", sa.Float(53)))
    add(
        "campaigns",
        sa.Column("stop_on", sa.String(8), nullable=False, server_default="last"),
        sa.Column("mismatched", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    add(
        "assignments",
        sa.Column("ended_at", sa.Float(53)),
        sa.Column("failed_at", sa.Float(53)),
        sa.Column("failure_code", sa.Integer()),
        sa.Column("failure_msg", sa.String(256)),
        sa.Column("unasked", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    # An estimate for earlier attempts.
    op.execute(f"UPDATE assignments SET ended_at = updated_at WHERE state IN {CLOSED}")
    op.execute(
        "UPDATE assignments SET failed_at = updated_at, failure_code = result_code,"
        " failure_msg = result_msg WHERE result_code < 0"
    )
