"""A PostgreSQL of its own for the tests of the cloud."""

from ivota_workshop.postgres_server import new_database

__all__ = ["new_database"]
