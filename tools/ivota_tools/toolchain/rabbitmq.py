"""Find RabbitMQ 4 and its Erlang, on this machine or in Debian."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .apt import Apt, AptError
from .cache import cached, say
from .debian_suites import SUITES, from_any_suite
from .program_launch import TRIPLETS

MAJOR = 4  # quorum queues let a worker of higher priority take over only since this version
_ERLANG = "usr/lib/erlang"
_RABBITMQ = "usr/lib/rabbitmq/lib"
# Erlang starts these itself, by path, so each is replaced by a script.
_PROGRAMS = (
    *(f"erts-*/bin/{name}" for name in ("beam.smp", "erl_child_setup", "inet_gethost")),
    *(f"erts-*/bin/{name}" for name in ("erlexec", "epmd")),
    *(f"lib/os_mon-*/priv/bin/{name}" for name in ("memsup", "cpu_sup")),
)
_START = """\
#!/bin/sh
root=$(cd "$(dirname "$0")/{up}" && pwd)
exec "$root/{loader}" --library-path "{libraries}" --argv0 "$0" "$0.bin" "$@"
"""


def rabbitmq() -> tuple[Path, Path]:
    """Return the folders of Erlang and of RabbitMQ. Raises ToolchainError."""
    root = Path("/")
    if not _servers(root):
        root = cached("rabbitmq4", _fetch) / "amd64"
    return root / _ERLANG, _servers(root)[0]


def _servers(root: Path) -> list[Path]:
    """Find servers that are new enough."""
    found = sorted((root / _RABBITMQ).glob("rabbitmq_server-*"))
    versions = ((path, re.search(r"-(\d+)\.", path.name)) for path in found)
    return [path for path, version in versions if version and int(version[1]) >= MAJOR]


def _fetch(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        root = new / "amd64"
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack("rabbitmq-server", root, parts="erlang-")
        if not _servers(root):
            raise AptError(f"the rabbitmq-server from {suite} is {version}, older than {MAJOR}")
        programs = next(root.glob(f"{_ERLANG}/erts-*/bin"), None)
        if programs is None:
            raise AptError(f"the package erlang from {suite} contains no programs")
        _wrap(root)
        command = [str(programs / "erlexec"), "-noshell", "-eval", "crypto:start(), halt(3)."]
        environment = {"ROOTDIR": str(root / _ERLANG), "BINDIR": str(programs), "EMU": "beam"}
        done = subprocess.run(
            command,
            env={"PATH": "/usr/bin:/bin", "HOME": str(new), "PROGNAME": "erl", **environment},
            capture_output=True,
            text=True,
        )
        if done.returncode != 3:
            raise AptError(
                f"the erlang from {suite} does not run here: {done.stderr.strip()[-300:]}"
            )
        say(f"RabbitMQ {version} from {suite}")

    from_any_suite("rabbitmq-server", None, new, attempt, SUITES)


def _wrap(root: Path) -> None:
    """Make each program start through the loader that was unpacked with it."""
    triplet = TRIPLETS[root.name]
    places = [root / "usr/lib" / triplet, root / "lib" / triplet]
    loader = next(found for place in places for found in place.glob("ld-linux*.so.2"))
    libraries = ":".join(f"$root/{place.relative_to(root)}" for place in places if place.exists())
    for pattern in _PROGRAMS:
        for program in (root / _ERLANG).glob(pattern):
            up = "/".join(".." for _ in program.relative_to(root).parent.parts)
            program.rename(program.with_name(f"{program.name}.bin"))
            program.write_text(
                _START.format(up=up, loader=loader.relative_to(root), libraries=libraries)
            )
            program.chmod(0o755)
