"""What the cloud keeps: the database, its migrations, firmware files, backups."""
