"""What others install: the host's wheel, and the boards' package compiled for mip.

`python -m ivota_workshop.distribution` (`make dist`) writes into dist/:

    ivota-….whl          pip: the commands, with what they put on boards
    mip/package.json     mip: what every board needs
    mip/….json           mip: what only some need (`EXTRAS`)
    mip/mpy/             the files that these name

The folder mip/ belongs on any web server. With `--base URL` the files' URLs are whole, for mip 0.3
and older, which take no relative ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ivota_tools.common import project_files
from ivota_tools.firmware.mpy_compiler import compile_mpy

# What a board does without unless it wants it; a module in none of these is in package.json.
# `once` finds a module that is not there when it is wanted: the update then fails, and says so.
EXTRAS: dict[str, tuple[str, ...]] = {
    # Bundles that are installed, tried and taken back, with boot.py and main.py.
    "agent": (
        *(
            "activation",
            "agent",
            "bundle_check",
            "bundle_facts",
            "config_backup",
            "config_overrides",
        ),
        *("config_switch", "custom_network", "firmware_kind", "lan", "network_interface", "ppp"),
        *("startup", "watchdog", "wifi"),
    ),
    # An ESP32's image into its OTA slot.
    "partition": ("boot_image", "slot_writer", "slot_reader"),
    # Firmware that must be signed.
    "signatures": ("signed_header", "owner_signature", "signature_footer"),
    # A patch in place of a whole firmware.
    "deltas": ("delta_records", "patcher", "patch_header", "patch_base"),
    # Aliyun's cloud in place of Tencent's.
    "aliyun": ("aliyun",),
}
# Beside the package; boot.py reads it before it knows which .mpy this interpreter takes.
BUNDLEFS = "bundlefs.py"


def contents() -> dict[str, list[str]]:
    """The name of each package.json, without its ending, → what it installs, as in lib/."""
    extra_of = {f"ivota/{name}.py": extra for extra, names in EXTRAS.items() for name in names}
    extra_of[BUNDLEFS] = "agent"
    found: dict[str, list[str]] = {"package": []}
    for path in project_files.library_files(project_files.root()):
        found.setdefault(extra_of.get(path, "package"), []).append(path)
    return found


def write_mip(folder: Path, base: str = "") -> None:
    """Writes the compiled package and its lists; raises ValueError where it does not compile."""
    for name, paths in contents().items():
        urls = []
        for path in paths:
            data = (project_files.LIBRARY / path).read_bytes()
            if path != BUNDLEFS:
                data = compile_mpy(data, path)
                path = path.removesuffix(".py") + ".mpy"
            place = folder / "mpy" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            urls.append([path, f"{base}mpy/{path}"])
        package = {"version": project_files.version(), "urls": urls, "deps": []}
        (folder / f"{name}.json").write_text(json.dumps(package, indent=1) + "\n")


def write_wheel(folder: Path) -> Path:
    """Builds it from a copy of what git knows, so that no leftover of an old build gets in."""
    checkout = project_files.CHECKOUT
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with tempfile.TemporaryDirectory(prefix="ivota-dist-") as work:
        copy = Path(work, "copy")
        for name in filter(None, listed.split("\0")):
            if (checkout / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(checkout / name, copy / name)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", work, str(copy)]
        subprocess.run([*command, "--disable-pip-version-check"], check=True)
        (made,) = Path(work).glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(made, folder))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.distribution")
    parser.add_argument("--base", default="", help="URL of the folder mip/, ends in a slash")
    given = parser.parse_args()
    if project_files.root() != project_files.CHECKOUT:
        sys.exit("this is an installed ivota: clone its repository, and run `make dist` there")
    folder = project_files.CHECKOUT / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    print(write_wheel(folder).relative_to(folder.parent))
    write_mip(folder / "mip", given.base)
    for path in sorted((folder / "mip").glob("*.json")):
        print(path.relative_to(folder.parent))


if __name__ == "__main__":
    main()
