"""Check the code that runs on boards with mypy, against stubs of an ESP32's own modules.

The stubs replace Python's standard library: `machine.resett()` is an error, and so is `os.path`,
which no board has. They are kept beside the environment, not in it (pyproject.toml says why).
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT

STUBS = Path(sys.prefix) / "stubs"

OPTIONS = (
    "--config-file=",
    "--python-version=3.10",
    "--no-site-packages",
    "--explicit-package-bases",
    "--no-error-summary",
    "--check-untyped-defs",
    # Device code has few annotations, and an attribute often starts as None.
    "--no-strict-optional",
    "--disable-error-code=var-annotated",
    "--disable-error-code=has-type",
    "--always-true=_LINT",
)

# False errors, caused by the stubs and not by the code: a part of mypy's message, and the truth.
STUB_GAPS = {
    '"SSLContext" has no attribute "verify_mode"': "tls.SSLContext has it, to read and write",
    'Too many arguments for "readline" of "socket"': "streams take readline(limit)",
    'Argument 1 to "Partition" has incompatible type "int"': "BOOT and RUNNING are ints",
    "_TicksMs": "the stubs' ticks are a type of their own; on boards they are ints",
    'module named "app"': "the application, which comes with a bundle",
    'module named "ivota_image"': "frozen into an image that a vendor builds, or missing",
}


def stubs() -> Path:
    """Return the folder of stubs, in the versions that pyproject.toml pins; install them if
    missing.

    Raises CalledProcessError if pip fails; pip prints the reason.
    """
    required = [
        line.partition(";")[0].strip()
        for line in importlib.metadata.requires("ivota") or ()
        if "extra ==" in line and "stubs" in line.partition("extra ==")[2]
    ]
    stamp = STUBS / "installed.txt"
    wanted = "\n".join(sorted(required))
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(STUBS, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--target", STUBS, *required], check=True)
        stamp.write_text(wanted)
    return STUBS


def check(paths: Sequence[str], *, folder: Path = CHECKOUT) -> list[str]:
    """Return the errors in the given files and folders, which may import from `folder`/lib.

    Raises RuntimeError if mypy itself fails.
    """
    where = stubs()
    command = [sys.executable, "-m", "mypy", *OPTIONS, f"--custom-typeshed-dir={where}"]
    command += [f"--cache-dir={folder / 'build/mypy/device'}", *paths]
    # An application's own modules are in the folder lib/ next to it.
    libraries = [folder / "lib", *((folder / path).parent / "lib" for path in paths)]
    search = os.pathsep.join(str(place) for place in dict.fromkeys((where, *libraries)))
    environment = {**os.environ, "MYPYPATH": search}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    return [
        line
        for line in done.stdout.splitlines()
        if ": error: " in line
        and not (folder / line.partition(":")[0]).resolve().is_relative_to(where.resolve())
        and not any(gap in line for gap in STUB_GAPS)
    ]


def main(arguments: Sequence[str] = ()) -> int:
    """Check lib/, boot.py, main.py and each example; `--setup` only installs the stubs."""
    try:
        stubs()
    except subprocess.CalledProcessError as error:
        print(f"lint: the stubs of a board's modules are missing: {error}", file=sys.stderr)
        return 1
    if "--setup" in arguments:
        return 0
    # Every example has its own app.py, so each needs a separate run.
    runs = [["lib", "boot.py", "main.py"]]
    runs += [
        [str(app.relative_to(CHECKOUT))] for app in sorted(CHECKOUT.glob("examples/*/app.py"))
    ]
    errors = [error for run in runs for error in check(run)]
    print("\n".join(errors) if errors else "device code: no errors against the board's stubs")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
