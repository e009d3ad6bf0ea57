"""Reports, pushes and changes of versions by month, on PostgreSQL.

The table with the rows so far becomes the first partition of the new one. No row is copied, so
this takes as long as reading the table once. Only rows from the future, which a wrong clock has
made, move to the default partition.
"""

import calendar
import time

from alembic import op

revision = "0019"
down_revision = "0018"

# Of each table: the columns with foreign keys and what they refer to, and those with an index.
TABLES = {
    "reports": ({"device_id": "devices", "assignment_id": "assignments"}, ("device_id", "kind")),
    "pushes": ({"assignment_id": "assignments"}, ("assignment_id",)),
    "changes": ({"device_id": "devices"}, ("at", "device_id")),
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    now = time.gmtime()
    year, month = (now.tm_year, now.tm_mon + 1) if now.tm_mon < 12 else (now.tm_year + 1, 1)
    end = calendar.timegm((year, month, 1, 0, 0, 0))
    for table, (foreign, indexed) in TABLES.items():
        old = f"{table}_before_{year:04}_{month:02}"
        op.execute(f"ALTER TABLE {table} RENAME TO {old}")
        for column in indexed:
            op.execute(f"ALTER INDEX ix_{table}_{column} RENAME TO ix_{old}_{column}")
        op.execute(f"ALTER TABLE {old} DROP CONSTRAINT {table}_pkey")
        op.execute(
            f"CREATE TABLE {table} (LIKE {old} INCLUDING DEFAULTS INCLUDING STORAGE)"
            " PARTITION BY RANGE (at)"
        )
        # No primary key: pg_restore --clean fails to drop those of partitions.
        op.execute(f"CREATE UNIQUE INDEX {table}_id_at ON {table} (id, at)")
        for column, referred in foreign.items():
            op.execute(
                f"ALTER TABLE {table} ADD FOREIGN KEY ({column}) REFERENCES {referred} (id)"
            )
        for column in indexed:
            op.execute(f"CREATE INDEX ix_{table}_{column} ON {table} ({column})")
        # The sequence of the ids must outlive the old rows.
        op.execute(f"ALTER SEQUENCE {table}_id_seq OWNED BY {table}.id")
        op.execute(f"CREATE TABLE {table}_other PARTITION OF {table} DEFAULT")
        op.execute(
            f"WITH future AS (DELETE FROM {old} WHERE at >= {end} RETURNING *)"
            f" INSERT INTO {table}_other SELECT * FROM future"
        )
        op.execute(
            f"ALTER TABLE {table} ATTACH PARTITION {old} FOR VALUES FROM (MINVALUE) TO ({end})"
        )
