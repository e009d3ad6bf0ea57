"""Run PostgreSQL's own programs for backups, and tell how far they are."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ...common.progress import Begin, watched
from ..cloud_error import CloudError

# What `pg_dump --verbose` prints, in English, when it begins with the rows of a table.
_TABLE = re.compile(r'dumping contents of table "(.+)"$')
_TOLD = re.compile(r"(?:error|detail|hint|warning): ")  # what matters of a verbose program


def dump(database: str, to: Path, progress: Begin) -> None:
    """Write a dump in pg_dump's custom format. Raises CloudError."""
    url = _url(database)
    sizes = _sizes(url)
    total = sum(sizes.values())
    at = progress("dumping the database", total)
    done, table = 0, ""
    with _started("pg_dump", url, "--format=custom", "--verbose", f"--file={to}") as program:
        assert program.stderr is not None
        told = []
        for line in program.stderr:
            if begun := _TABLE.search(line.rstrip()):
                done += sizes.get(table, 0)
                table = begun[1]
                at(done / max(total, 1))
            elif _TOLD.search(line):
                told.append(line.strip())
    _check("pg_dump", program, "; ".join(told))


def restore(database: str, copy: Path, progress: Begin) -> None:
    """Replace the tables of a database with those of a dump, or change nothing.

    Raises CloudError.
    """
    url = _url(database)
    options = "--clean", "--if-exists", "--no-owner", "--single-transaction", "--format=custom"
    size = copy.stat().st_size
    at = progress("restoring the database", size)
    with copy.open("rb") as dumped, TemporaryFile("w+") as told:
        # The program reads through our descriptor, so its position is ours too.
        with (
            _started("pg_restore", url, *options, stdin=dumped, stderr=told) as program,
            watched(lambda: os.lseek(dumped.fileno(), 0, os.SEEK_CUR), size, at),
        ):
            program.wait()
        told.seek(0)
        _check("pg_restore", program, told.read())


def _url(database: str) -> URL:
    try:
        url = make_url(database)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() != "postgresql":
        raise CloudError("--database must be a postgresql:// URL")
    return url


def _address(url: URL) -> str:
    return url.set(drivername="postgresql", password=None).render_as_string()


def _sizes(url: URL) -> dict[str, int]:
    """Return the bytes that each table takes, by its name as pg_dump prints it."""
    import psycopg

    query = "SELECT schemaname || '.' || relname, pg_table_size(relid) FROM pg_stat_user_tables"
    try:
        with psycopg.connect(_address(url), password=url.password) as one:
            return {str(name): int(size) for name, size in one.execute(query).fetchall()}
    except psycopg.Error as error:
        raise CloudError(f"cannot read the database: {str(error).strip()}") from None


@contextmanager
def _started(
    program: str,
    url: URL,
    *options: str,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[str] | int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    # Pass the password in the environment: command lines are visible to everyone.
    password = {"PGPASSWORD": str(url.password)} if url.password else {}
    try:
        started = subprocess.Popen(
            [program, f"--dbname={_address(url)}", *options],
            env={**os.environ, "LC_ALL": "C", **password},
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        )
    except FileNotFoundError:
        raise CloudError(
            f"{program} is not installed: "
            "install the version of postgresql-client that matches the server"
        ) from None
    with started:
        try:
            yield started
        except BaseException:
            started.kill()
            raise


def _check(name: str, program: subprocess.Popen[str], told: str) -> None:
    if program.returncode:
        raise CloudError(f"{name} failed: {told.strip() or program.returncode}")
