"""Programs from a Debian mirror, without root; each is started once before it is kept."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from .apt import Apt, AptError
from .cache import ToolchainError, cache_dir, say
from .programs import probe, unpacked, unpacked_valgrind

# Debian 12 has no micropython; these are tried in turn, newest last.
SUITES = ("trixie", "forky", "sid")
# A mirror in the middle of its own update fails for a while: all suites are tried again.
PAUSES_S = (2, 10)
# What the pages are seen in: a face like those that systems have, and one with every sign.
FONTS = ("fonts-inter", "fonts-dejavu-core")

POSTGRESQL = ("initdb", "postgres", "pg_dump", "pg_restore")
POSTGRESQL_BIN = "amd64/usr/lib/postgresql/*/bin"


def fetch_micropython(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        versions = set()
        # i386 first: its indexes are the ones that tend to be missing.
        for width in ("i386", "amd64"):
            with Apt.private(mirror, suite, width) as apt:
                versions.add(apt.unpack("micropython", new / width))
        if len(versions) > 1:
            raise AptError(f"{suite} has different versions: {', '.join(sorted(versions))}")
        probed = probe(unpacked(new / "amd64", "micropython"))
        if probed is None:
            raise AptError(f"the micropython of {suite} does not run here")
        say(f"MicroPython {probed[1]} from {suite}, 64 and 32 bits")

    _from_any_suite("micropython", "MICROPYTHON= and MICROPYTHON32=", new, attempt)


def fetch_mosquitto(new: Path) -> None:
    _fetch_program(
        *("mosquitto", "mosquitto", "MOSQUITTO=", new),
        command=lambda folder: [*unpacked(folder, "mosquitto"), "-h"],
        works=lambda done: "mosquitto version" in done.stdout,
    )


def fetch_mosquitto_clients(new: Path) -> None:
    _fetch_program(
        *("mosquitto-clients", "mosquitto_sub", "PATH", new),
        command=lambda folder: [*unpacked(folder, "mosquitto_sub"), "--help"],
        works=lambda done: "mosquitto_sub" in done.stdout,
    )


def fetch_valgrind(new: Path) -> None:
    # With a program that has nothing to do, to see that the tool starts here.
    _fetch_program(
        *("valgrind", "valgrind", "VALGRIND=", new),
        command=lambda folder: [*unpacked_valgrind(folder), "--tool=none", "-q", "true"],
        works=lambda done: done.returncode == 0,
    )


def _fetch_program(
    package: str,
    program: str,
    variables: str,
    new: Path,
    command: Callable[[Path], list[str]],
    works: Callable[[subprocess.CompletedProcess[str]], bool],
) -> None:
    """One that runs with its own C library, once `command` has shown that it does."""

    def attempt(mirror: str, suite: str) -> None:
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack(package, new / "amd64")
        done = subprocess.run(command(new / "amd64"), capture_output=True, text=True)
        if not works(done):
            raise AptError(f"the {program} of {suite} does not run here: {done.stderr.strip()}")
        say(f"{program} {version} from {suite}")

    _from_any_suite(package, variables, new, attempt)


def fetch_postgresql(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack("postgresql", new / "amd64", parts="postgresql-")
        folder = next(new.glob(POSTGRESQL_BIN), None)
        if folder is None:
            raise AptError(f"the postgresql of {suite} has no programs")
        # initdb starts postgres by itself, as the program beside it: each becomes a script that
        # starts the real one through the loader it was unpacked with.
        for name in POSTGRESQL:
            (folder / name).rename(folder / f"{name}.bin")
            loader, option, search, _ = unpacked(new / "amd64", "ldd")
            paths = (str(Path(part).relative_to(new)) for part in (loader, *search.split(":")))
            loader, *libraries = (f"$root/{path}" for path in paths)
            (folder / name).write_text(
                "#!/bin/sh\n"
                'here=$(cd "$(dirname "$0")" && pwd); root=$here/../../../../../..\n'
                f'exec "{loader}" {option} "{":".join(libraries)}" --argv0 "$here/{name}" '
                f'"$here/{name}.bin" "$@"\n'
            )
            (folder / name).chmod(0o755)
        done = subprocess.run([str(folder / "postgres"), "-V"], capture_output=True, text=True)
        if done.returncode:
            raise AptError(f"the postgresql of {suite} does not run here: {done.stderr.strip()}")
        say(f"PostgreSQL {version} from {suite}")

    _from_any_suite("postgresql", "POSTGRESQL=", new, attempt)


_CHROMIUM = """\
#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
libraries=$root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH="$libraries:$root/lib/x86_64-linux-gnu:$libraries/pulseaudio"
export FONTCONFIG_FILE="$root/fonts.conf"
exec "$root/usr/lib/chromium/chromium" "$@"
"""
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <alias binding="same"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="same"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


def fetch_chromium(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        root = new / "amd64"
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack(
                "chromium", root, parts="chromium-", also=FONTS, keep=("fonts",), own_libc=False
            )
        for part in root.iterdir():
            part.rename(new / part.name)
        root.rmdir()
        (new / "fonts.conf").write_text(_FONTS)
        start = new / "chromium"
        start.write_text(_CHROMIUM)
        start.chmod(0o755)
        done = subprocess.run([str(start), "--version"], capture_output=True, text=True)
        if done.returncode:
            raise AptError(f"the chromium of {suite} does not run here: {done.stderr.strip()}")
        say(f"Chromium {version} from {suite}")

    _from_any_suite("chromium", "CHROMIUM=", new, attempt, (_own_suite(),))


def _own_suite() -> str:
    """The code name of this machine's release."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME" and value:
            return value.strip("\"'")
    return "sid"  # Debian's testing and unstable have no number, and some no name


def _from_any_suite(
    program: str,
    variables: str,
    new: Path,
    attempt: Callable[[str, str], None],
    suites: Sequence[str] = SUITES,
) -> None:
    """Calls `attempt(mirror, suite)` until one succeeds. Raises ToolchainError."""
    advice = f"install {program} and put it on PATH, or name it with {variables}"
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        where = f"{sys.platform} on {platform.machine()}"
        raise ToolchainError(
            f"{program} can be fetched for Linux on amd64 only, not {where}: {advice}"
        )
    for tool in ("apt-get", "dpkg"):
        if not shutil.which(tool):
            raise ToolchainError(f"{program} is missing, and no {tool} to fetch it with: {advice}")
    mirror = _mirror(advice)
    say(f"fetching {program}, once, into {cache_dir()}")
    with _spinner(f"fetching {program}"):
        _try_suites(program, advice, new, attempt, suites, mirror)


@contextlib.contextmanager
def _spinner(what: str) -> Iterator[None]:
    """Shows that something goes on, and for how long; nothing where there is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(what)
        yield


def _try_suites(
    program: str,
    advice: str,
    new: Path,
    attempt: Callable[[str, str], None],
    suites: Sequence[str],
    mirror: str,
) -> None:
    reasons: dict[str, str] = {}
    for pause_s in (0, *PAUSES_S):
        time.sleep(pause_s)
        for suite in suites:
            try:
                return attempt(mirror, suite)
            except (AptError, ToolchainError) as error:
                reasons[suite] = str(error)
                for left in new.iterdir():
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
    told = "\n".join(f"  {suite}: {reason}" for suite, reason in reasons.items())
    raise ToolchainError(f"{program} could not be fetched:\n{told}\nTry again later, or {advice}.")


def _mirror(advice: str) -> str:
    """The Debian mirror that this machine's apt is set up with. Raises ToolchainError."""
    named = os.environ.get("IVOTA_DEBIAN_MIRROR")
    if named:
        return named
    listed = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(COMPONENT)",
            "Created-By: Packages",
        ],
        capture_output=True,
        text=True,
    )
    found = [line.split()[0] for line in listed.stdout.splitlines() if line.endswith(" main")]
    for uri in found:
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise ToolchainError(
        "apt on this machine has no Debian mirror set up: name one with IVOTA_DEBIAN_MIRROR=, "
        f"or {advice}"
    )
