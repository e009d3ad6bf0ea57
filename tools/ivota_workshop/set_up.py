"""Makes an environment and installs into it, with a live line on a terminal, elsewhere in silence.

    python tools/ivota_workshop/set_up.py .venv --editable .

`make` runs this by its path, with whatever Python there is, before anything is installed: it uses
the standard library alone, and even a Python that is too old must be able to read it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

OLDEST = (3, 10)  # as pyproject.toml says
WIDTH = 24  # of the bar
REDRAW_S = 0.2
NEW = ("Collecting ", "Processing ")  # how pip begins to tell of one more package
INSTALLING = "Installing collected packages: "


class Trouble(Exception):
    """The sentence says what to do next."""


def make(environment: Path) -> Path:
    """The environment's Python; made, unless there is a whole one. Raises Trouble."""
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    # One that was made with another Python stays as it is; half a one is made again.
    if python.exists() and _run([str(python), "-m", "pip", "--version"], _starting)[0] == 0:
        return python
    if sys.version_info < OLDEST:
        is_one = "{} is Python {}.{}".format(sys.executable, *sys.version_info)
        needed = "{}.{} or newer".format(*OLDEST)
        raise Trouble(f"{is_one}, it takes {needed}: name one, as in `make PYTHON=python3.12`")
    command = [sys.executable, "-m", "venv", str(environment)]
    code, lines = _run(command, lambda lines: f"making {environment}")
    if code:
        raise Trouble(
            "\n".join(lines) + f"\n{sys.executable} cannot make an environment: on Debian and "
            "Ubuntu, `sudo apt install python3-venv` mends that; or name another, as in "
            "`make PYTHON=python3.12`"
        )
    return python


def install(python: Path, arguments: Sequence[str]) -> None:
    """`pip install` with these arguments. Raises Trouble."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([str(python), "-c", ask]).decode().strip())
    before = _installed(packages)
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    code, lines = _run(
        [*command, "--progress-bar=off", *arguments],
        lambda lines: how_far(lines, _installed(packages) - before),
    )
    if code:
        errors = [line for line in lines if line.lstrip().lower().startswith("error")]
        raise Trouble(
            "\n".join(errors or lines) + "\npip could not install this. Without a network it "
            "cannot; with one, the same command once more goes on from here"
        )


def how_far(lines: Sequence[str], installed: int) -> str:
    """What pip is at, by what it has printed and the number of packages that it has installed."""
    if not lines:
        return _starting(lines)
    last = lines[-1].strip()
    named = [line for line in lines if line.startswith(INSTALLING)]
    if named:  # and pip says no more until all of them are there
        total = named[0].count(",") + 1
        done = min(installed, total)
        full = WIDTH * done // total
        return f"installing {'━' * full}{'╌' * (WIDTH - full)} {done} of {total} packages"
    if "Retrying (" in last:
        return "the network does not answer; pip tries again"
    found = [line for line in lines if line.startswith(NEW)]
    if found:
        return f"collecting packages: {len(found)}, {found[-1].split()[1].rpartition('/')[2]}"
    return last


def _starting(lines: Sequence[str]) -> str:
    return "starting pip"


def _installed(packages: Path) -> int:
    return len(list(packages.glob("*.dist-info")))


def _run(command: Sequence[str], words: Callable[[Sequence[str]], str]) -> tuple[int, list[str]]:
    """The command's exit code and lines; until then the words for them are shown."""
    lines: list[str] = []
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            lines.append(line.rstrip())

    reader = threading.Thread(target=read)
    reader.start()
    begun = time.monotonic()
    while reader.is_alive():
        _show(f"{time.monotonic() - begun:4.0f} s  {words(list(lines))}")
        reader.join(REDRAW_S)
    _show("")
    return process.wait(), lines


def _show(line: str) -> None:
    """In place of the line before, on a terminal."""
    if sys.stderr.isatty():
        room = shutil.get_terminal_size().columns - 1
        print("\r\x1b[K" + line[:room], end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    try:
        install(make(Path(arguments[0])), arguments[1:])
    except Trouble as trouble:
        print(f"set-up: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # which pip, on the same terminal, was told as well
        _show("")
        print("set-up: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
