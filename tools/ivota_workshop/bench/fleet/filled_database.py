"""Create a PostgreSQL database with a given number of devices, which the server itself fills."""

from __future__ import annotations

import time

import psycopg

from ivota_tools.cloud.accounts import users
from ivota_tools.cloud.store.database import Database
from ivota_tools.common.version_order import key

from ...postgres_server import new_database

PRODUCT = "BENCH"
PASSWORD = "a sentence is good"
TARGET = "0.9"
VERSIONS = {"0.1": 5, "0.2": 15, "0.3": 80}  # percent of the devices


def make(devices: int) -> str:
    """Return the URL of a database with an admin, a firmware and this number of devices."""
    url = new_database()
    database = Database(url)
    with database.writing() as session:
        users.create(session, "admin", PASSWORD, "admin", time.time(), "bench")
    database.close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO firmware (version, application, kind, size, md5, sha256, uploaded_at)"
            " VALUES (%s, 'bench', 'other', 700000, repeat('0', 32), repeat('0', 64), 0)",
            [TARGET],
        )
        if devices:
            _add_devices(connection, devices)
    return url


def _add_devices(connection: psycopg.Connection[tuple[object, ...]], devices: int) -> None:
    first = 0
    for version, share in VERSIONS.items():
        last = first + devices * share // 100 if version != "0.3" else devices
        # Spread over all ids: a stage's devices, and those of a version, are nowhere in a row.
        connection.execute(
            "INSERT INTO devices (id, product_id, device_name, version, version_key, first_seen,"
            " last_seen, garbled, status, transport, application, revision)"
            " SELECT id, %(product)s, 'd-' || id, %(version)s, %(key)s,"
            " extract(epoch FROM now()) - 9e6, extract(epoch FROM now()) - id %% 90000, 0,"
            " 'accepted', 'mqtt', 'bench', id"
            " FROM (SELECT 1 + (n::bigint * 7919) %% %(devices)s AS id"
            "       FROM generate_series(%(first)s, %(last)s - 1) n) numbers",
            {"product": PRODUCT, "version": version, "key": key(version), "devices": devices,
             "first": first, "last": last},
        )  # fmt: skip
        first = last
    connection.execute("SELECT setval('devices_id_seq', %s)", [devices])
    connection.execute("SELECT setval('revisions', %s)", [devices])
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")  # what filling it has left to write delays no measurement
