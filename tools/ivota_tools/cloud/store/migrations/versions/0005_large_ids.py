"""64-bit ids for tables that grow forever: a fleet's reports use up 32 bits in two years."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # SQLite's row numbers have 64 bits already.
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in ("reports", "pushes", "changes"):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN id TYPE BIGINT")
        # A sequence that was created for a 32-bit column would end at 32 bits.
        op.execute(f"ALTER SEQUENCE {table}_id_seq AS BIGINT")
