"""The console: users, their sign-ins, and when devices changed their version."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ROLES = {"read": "viewer", "operate": "operator"}


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("signed_in_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("seen_at", sa.Float(precision=53), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("browser", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_index(op.f("ix_sign_ins_user_id"), "sign_ins", ["user_id"], unique=False)
    op.create_table(
        "refusals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("name_sha256", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("at", "name_sha256", "address"):
        op.create_index(op.f(f"ix_refusals_{column}"), "refusals", [column], unique=False)
    op.create_table(
        "changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("before", sa.String(length=128), nullable=True),
        sa.Column("after", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_changes_at"), "changes", ["at"], unique=False)
    op.create_index(op.f("ix_changes_device_id"), "changes", ["device_id"], unique=False)
    # Fill the table from the stored reports.
    op.execute(
        "INSERT INTO changes (at, device_id, before, after)"
        " SELECT at, device_id, before, version FROM ("
        "  SELECT id, at, device_id, version,"
        "  lag(version) OVER (PARTITION BY device_id ORDER BY id) AS before"
        "  FROM reports WHERE kind = 'report_version' AND device_id IS NOT NULL"
        "  AND version IS NOT NULL) AS said"
        " WHERE before IS NULL OR before <> version ORDER BY id"
    )
    op.create_index(op.f("ix_devices_version"), "devices", ["version"], unique=False)
    current: sa.ColumnClause[bool] = sa.column("current")
    op.create_index(
        "by_state",
        "assignments",
        ["state"],
        unique=False,
        sqlite_where=current,
        postgresql_where=current,
    )
    # Tokens and users have the same role names.
    for old, new in ROLES.items():
        op.execute(f"UPDATE tokens SET role = '{new}' WHERE role = '{old}'")
