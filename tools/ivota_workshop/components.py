"""`make sbom`: list all components of an installation of ivota, with versions and licences.

build/sbom/ivota.cdx.json   a CycloneDX document, as CycloneDX's own tool writes it
build/sbom/licences.txt     a line for each component
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ivota_tools.common.project_files import CHECKOUT

from . import beside

FOLDER = CHECKOUT / "build" / "sbom"
DOCUMENT, LICENCES = FOLDER / "ivota.cdx.json", FOLDER / "licences.txt"
# Every new environment contains these; the lock file does not install them.
ALWAYS = {"pip", "setuptools"}


def write() -> list[dict[str, Any]]:
    """Write both files; return the components. Raises CalledProcessError."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    python = beside.product() / "python"
    subprocess.run(
        [
            *(beside.tools() / "cyclonedx-py", "environment", python),
            *("--pyproject", CHECKOUT / "pyproject.toml", "--output-reproducible"),
            *("--output-format", "JSON", "--output-file", DOCUMENT),
        ],
        check=True,
    )
    found = [
        each
        for each in json.loads(DOCUMENT.read_text())["components"]
        if each["name"] not in ALWAYS
    ]
    lines = [f"{each['name']} {each['version']}: {licence(each)}" for each in found]
    LICENCES.write_text("\n".join(sorted(lines)) + "\n")
    return found


def licence(component: dict[str, Any]) -> str:
    names = [
        each.get("expression") or each["license"].get("id") or each["license"].get("name")
        for each in component.get("licenses", ())
    ]
    return "; ".join(dict.fromkeys(names)) or "unknown"


def installed() -> int:
    """Return the number of distributions in the installation."""
    code = "import importlib.metadata as m; print(*{d.name for d in m.distributions()})"
    python: Path = beside.product() / "python"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return len(set(done.stdout.split()) - ALWAYS)


def main() -> None:
    found = write()
    print(f"{len(found)} components: {DOCUMENT} and {LICENCES}")


if __name__ == "__main__":
    main()
