"""Download programs from a Debian mirror without root; test each before it is cached."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from .apt import Apt, AptError
from .cache import say
from .debian_suites import from_any_suite, own_suite
from .program_launch import probe, unpacked, unpacked_valgrind

# Fonts of the pages: one like common system fonts, and one with many characters.
FONTS = ("fonts-inter", "fonts-dejavu-core")

POSTGRESQL = ("initdb", "postgres", "pg_dump", "pg_restore")
POSTGRESQL_BIN = "amd64/usr/lib/postgresql/*/bin"


def fetch_micropython(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        versions = set()
        # i386 first, because its indexes are most often missing.
        for architecture in ("i386", "amd64"):
            with Apt.private(mirror, suite, architecture) as apt:
                versions.add(apt.unpack("micropython", new / architecture))
        if len(versions) > 1:
            found = ", ".join(sorted(versions))
            raise AptError(f"{suite} has different versions for 32 and 64 bits: {found}")
        probed = probe(unpacked(new / "amd64", "micropython"))
        if probed is None:
            raise AptError(f"the micropython from {suite} does not run here")
        say(f"MicroPython {probed[1]} from {suite}, 64 and 32 bits")

    from_any_suite("micropython", "MICROPYTHON= and MICROPYTHON32=", new, attempt)


def fetch_mosquitto(new: Path) -> None:
    fetch_program(
        "mosquitto",
        new,
        variables="MOSQUITTO=",
        command=lambda folder: [*unpacked(folder, "mosquitto"), "-h"],
        works=lambda done: "mosquitto version" in done.stdout,
    )


def fetch_mosquitto_clients(new: Path) -> None:
    fetch_program(
        "mosquitto_sub",
        new,
        package="mosquitto-clients",
        command=lambda folder: [*unpacked(folder, "mosquitto_sub"), "--help"],
        works=lambda done: "mosquitto_sub" in done.stdout,
    )


def fetch_openssl(new: Path) -> None:
    fetch_program(
        "openssl",
        new,
        command=lambda folder: [*unpacked(folder, "openssl"), "version"],
        works=lambda done: done.stdout.startswith("OpenSSL"),
    )


def fetch_swupdate(new: Path) -> None:
    fetch_program(
        "swupdate",
        new,
        command=lambda folder: [*unpacked(folder, "swupdate"), "--help"],
        works=lambda done: "suricatta" in done.stdout,
    )


def fetch_rauc_hawkbit_updater(new: Path) -> None:
    fetch_program(
        "rauc-hawkbit-updater",
        new,
        command=lambda folder: [*unpacked(folder, "rauc-hawkbit-updater"), "--help"],
        works=lambda done: "rauc-hawkbit-updater" in done.stdout,
    )


def fetch_valgrind(new: Path) -> None:
    # Run a trivial program to check that the tool works here.
    fetch_program(
        "valgrind",
        new,
        variables="VALGRIND=",
        command=lambda folder: [*unpacked_valgrind(folder), "--tool=none", "-q", "true"],
        works=lambda done: done.returncode == 0,
    )


def fetch_program(
    program: str,
    new: Path,
    *,
    command: Callable[[Path], list[str]],
    works: Callable[[subprocess.CompletedProcess[str]], bool],
    package: str | None = None,
    variables: str | None = None,
) -> None:
    """Download a program with its own C library, and check it with `command`.

    `package` defaults to the program's name; `variables` as in `from_any_suite`.
    """
    package = package or program

    def attempt(mirror: str, suite: str) -> None:
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack(package, new / "amd64")
        done = subprocess.run(command(new / "amd64"), capture_output=True, text=True)
        if not works(done):
            raise AptError(f"the {program} from {suite} does not run here: {done.stderr.strip()}")
        say(f"{program} {version} from {suite}")

    from_any_suite(package, variables, new, attempt)


def fetch_postgresql(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack("postgresql", new / "amd64", parts="postgresql-")
        folder = next(new.glob(POSTGRESQL_BIN), None)
        if folder is None:
            raise AptError(f"the package postgresql from {suite} contains no programs")
        # initdb starts postgres from its own folder, so replace each by a script that starts
        # the real one through its own loader.
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
            raise AptError(f"the postgresql from {suite} does not run here: {done.stderr.strip()}")
        say(f"PostgreSQL {version} from {suite}")

    from_any_suite("postgresql", "POSTGRESQL=", new, attempt)


_CHROMIUM_SCRIPT = """\
#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
libraries=$root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH="$libraries:$root/lib/x86_64-linux-gnu:$libraries/pulseaudio"
export FONTCONFIG_FILE="$root/fonts.conf"
exec "$root/usr/lib/chromium/chromium" "$@"
"""
_FONTCONFIG = """\
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
        (new / "fonts.conf").write_text(_FONTCONFIG)
        start = new / "chromium"
        start.write_text(_CHROMIUM_SCRIPT)
        start.chmod(0o755)
        done = subprocess.run([str(start), "--version"], capture_output=True, text=True)
        if done.returncode:
            raise AptError(f"the chromium from {suite} does not run here: {done.stderr.strip()}")
        say(f"Chromium {version} from {suite}")

    from_any_suite("chromium", "CHROMIUM=", new, attempt, (own_suite(),))
