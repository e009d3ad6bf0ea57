"""A sort key for each device's version, so that the database can compare versions."""

import sqlalchemy as sa
from alembic import op

from ivota_tools.common.version_order import key

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("devices", sa.Column("version_key", text))
    devices = sa.table("devices", sa.column("version"), sa.column("version_key"))
    known = sa.select(devices.c.version).where(devices.c.version.is_not(None)).distinct()
    rows = [{"was": version, "made": key(version)} for version in op.get_bind().scalars(known)]
    if rows:
        made = sa.update(devices).where(devices.c.version == sa.bindparam("was"))
        op.get_bind().execute(made.values(version_key=sa.bindparam("made")), rows)
    op.create_index("by_version_key", "devices", ["status", "version_key"])
    op.drop_index("ix_devices_status", "devices")
