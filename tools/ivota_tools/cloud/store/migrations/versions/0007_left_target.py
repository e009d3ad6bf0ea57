"""Whether a device has reported another version since it was done."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "assignments",
        sa.Column("left_target", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
