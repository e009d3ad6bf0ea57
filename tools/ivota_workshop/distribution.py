"""Build what users install: the host's wheel, and the boards' package compiled for mip.

`python -m ivota_workshop.distribution` (`make dist`) writes into dist/:

ivota-….whl          pip: the commands, with the files that they install on boards
mip/package.json     mip: the modules that every board needs
mip/….json           mip: modules that only some boards need (`EXTRAS`)
mip/mpy/             the files that these packages list

The folder mip/ can be served by any web server. With `--base URL` the files' URLs are absolute,
for mip 0.3 and older, which do not support relative ones.
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

# Optional modules; a module that is in none of these lists is in package.json. `once` notices at
# run time that a module is missing: the update then fails with a message.
EXTRAS: dict[str, tuple[str, ...]] = {
    # Install, try and roll back bundles, with boot.py and main.py.
    "agent": (
        *(
            "activation",
            "agent",
            "bundle_check",
            "boot_compatibility",
            "config_fallback",
            "identity_lock",
        ),
        *("custom_network", "firmware_kind", "lan", "network_base", "ppp"),
        *("agent_setup", "watchdog", "wifi"),
    ),
    # Install an ESP32's image in its OTA slot.
    "partition": ("image_trial", "running_image_header", "slot_target", "slot_reader"),
    # Require signed firmware.
    "signatures": ("signed_claims", "owner_signature", "signature_footer"),
    # Accept a patch instead of a whole firmware.
    "deltas": ("delta_decoder", "patcher", "patch_header", "patch_preparation"),
    # Use Aliyun's cloud instead of Tencent's.
    "aliyun": ("aliyun",),
    # Update from a channel, without a cloud; needs "signatures", too.
    "channel": ("http_channel", "release_index"),
    # Show the board in Home Assistant.
    "home-assistant": ("home_assistant", "home_assistant_settings", "home_assistant_payloads"),
}
# Beside the package; boot.py reads it before it knows which .mpy version the interpreter accepts.
BUNDLEFS = "bundlefs.py"


def contents() -> dict[str, list[str]]:
    """Return each package.json's name, without its ending → the files it installs, as in lib/."""
    extra_of = {f"ivota/{name}.py": extra for extra, names in EXTRAS.items() for name in names}
    extra_of[BUNDLEFS] = "agent"
    found: dict[str, list[str]] = {"package": []}
    for path in project_files.library_files(project_files.root()):
        found.setdefault(extra_of.get(path, "package"), []).append(path)
    return found


def write_mip(folder: Path, base: str = "") -> None:
    """Write the compiled package and its lists; raises ValueError if it does not compile."""
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
    """Build the wheel from a copy of the files in git, so that no old build leaves files in it."""
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
