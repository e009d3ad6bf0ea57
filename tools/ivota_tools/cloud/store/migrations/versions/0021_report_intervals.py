"""The interval of reports that a group sets, and the one that a device was last told."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("groups", sa.Column("report_interval_s", sa.Integer))
    op.add_column("devices", sa.Column("report_interval_s", sa.Integer))
