"""A sequence for revisions and rows for what counters grow by: transactions need not wait."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    large = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "counter_changes",
        sa.Column("id", large, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE revisions")
        op.execute(
            "SELECT setval('revisions', greatest(1,"
            " (SELECT max(value) FROM counters WHERE name = 'revision'),"
            " (SELECT max(revision) FROM devices)))"
        )
        op.execute("DELETE FROM counters WHERE name = 'revision'")
