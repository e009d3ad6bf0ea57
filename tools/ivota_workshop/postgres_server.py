"""A PostgreSQL for tests and measurements, on loopback; it ends with its parent process.

`python -m ivota_workshop.postgres_server --port 5433` runs one with an empty database.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from ivota_tools import toolchain

WAIT_S = 120.0  # for the server to start or end

_numbers = itertools.count(1)


def new_database(port: int = 0) -> str:
    """Return the URL of an empty database, on a server at `port`, by default a free one."""
    port = _server(port)
    name = f"ivota_{next(_numbers)}"
    import psycopg

    url = f"postgresql://ivota@127.0.0.1:{port}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{url}/{name}"


@functools.cache
def _server(port: int) -> int:
    """Start the server and return its port."""
    folder = Path(tempfile.mkdtemp(prefix="ivota-postgresql-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    programs, user = toolchain.postgresql(), None
    if os.geteuid() == 0:
        # PostgreSQL refuses root: it becomes nobody, who must own the data and read the programs.
        user = pwd.getpwnam("nobody").pw_uid
        programs = _readable(programs, folder)
        folder.chmod(0o755)
        (folder / "data").mkdir()
        os.chown(folder / "data", user, -1)
    options = {"cwd": "/", "user": user, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    data = str(folder / "data")
    subprocess.run(
        [str(programs / "initdb"), "-D", data, "-U", "ivota", "-A", "trust", "-E", "UTF8",
         "--no-locale", "--no-sync"],
        check=True, **options,  # type: ignore[call-overload]
    )  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    options["stdout"] = subprocess.DEVNULL
    server = subprocess.Popen(
        [str(programs / "postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-F",
         "-c", "unix_socket_directories=", "-c", "max_connections=200"],
        **options,  # type: ignore[call-overload]
    )  # fmt: skip
    atexit.register(_stop, server)
    deadline = time.monotonic() + WAIT_S
    while server.poll() is None and not _lets_in(port):
        if time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not accept a connection within {WAIT_S:.0f} s")
        time.sleep(0.05)
    if server.poll() is not None:
        raise RuntimeError(f"PostgreSQL ended with {server.returncode}")
    return port


def _lets_in(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://ivota@127.0.0.1:{port}/postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(2)  # "fast": it ends the sessions automatically
    try:
        server.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _readable(programs: Path, folder: Path) -> Path:
    """Return the folder of programs, or a complete copy if other users can't read it."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in programs.parents):
        return programs
    root = programs.parents[5]  # of amd64/usr/lib/postgresql/17/bin
    shutil.copytree(root, folder / "programs", symlinks=True)
    return folder / "programs" / programs.relative_to(root)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run PostgreSQL until Ctrl-C; its data is gone.")
    parser.add_argument("--port", type=int, default=0)
    try:
        url = new_database(parser.parse_args().port)
    except OSError as error:
        parser.exit(1, f"cannot start PostgreSQL: {error.strerror or error}\n")
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    print(f"--database {url}", flush=True)
    signal.sigwait(ends)


if __name__ == "__main__":
    main()
