"""Second factors, users of an identity provider, and sign-ins that end earlier."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    for column in (
        sa.Column("subject", sa.String(64)),
        sa.Column("totp", sa.String(32)),
        sa.Column("totp_step", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
        sa.Column("recovery", sa.Text()),
    ):
        op.add_column("users", column)
    op.create_index(op.f("ix_users_subject"), "users", ["subject"], unique=True)
    op.add_column("sign_ins", sa.Column("expires_at", sa.Float(53)))
