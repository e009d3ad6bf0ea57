"""The cloud's storage: database, migrations, firmware files and backups."""
