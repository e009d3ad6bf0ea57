"""Whether a download was interrupted: percentages are no rows of reports any more."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column(
        "assignments",
        sa.Column("interrupted", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
