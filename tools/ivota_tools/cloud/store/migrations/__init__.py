"""Migrations (Alembic): upgrade a database of any earlier version."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from ...cloud_error import CloudError

FIRST = "0001"  # the tables as they were before their history was kept

# Alembic hands its context to env.py through a global: one upgrade at a time in a process.
_alone = threading.Lock()


def upgrade(connection: Connection) -> None:
    """Upgrade to the newest version, inside the connection's transaction. Raises CloudError."""
    with _alone:
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    config = _config(connection)
    script = ScriptDirectory.from_config(config)
    found = MigrationContext.configure(connection).get_current_revision()
    if found == script.get_current_head():
        return
    if found is None and inspect(connection).has_table("settings"):
        command.stamp(config, FIRST)
    elif found is not None and found not in {each.revision for each in script.walk_revisions()}:
        raise CloudError(
            f"a newer ivota created this database (with schema {found}): upgrade ivota here"
        )
    command.upgrade(config, "head")


def _config(connection: Connection) -> Config:
    config = Config()
    # A path may hold a percent sign, which the configuration's format would interpret.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
