"""Measure everything, or only the named parts and keep the other figures; see `--help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ... import components
from ..figures import Figure, report
from . import alerts, dashboard, manifests, oidc_sign_in, restore

AREA = "operations"
COMMAND = "make bench-operations"


def monitoring(folder: Path, console: Console) -> dict[str, Figure]:
    names, tested = alerts.names(), alerts.tested()
    for said in (found := alerts.problems()):
        console.print(said, markup=False)
    empty = dashboard.unanswered(folder)
    for name, query in empty.items():
        console.print(f"{name}: {query}", markup=False)
    return {
        "alerts": Figure(len(names), "", "alerts"),
        "alerts_tested": Figure(0 if found else len(tested), f"== {len(names)}", "alerts"),
        "dashboard_queries": Figure(len(dashboard.queries()), "", "queries"),
        "dashboard_queries_empty": Figure(len(empty), "== 0", "queries"),
    }


def deployment(_folder: Path, console: Console) -> dict[str, Figure]:
    valid = 0
    found = manifests.checks()
    for name, check in found.items():
        said = check()
        valid += not said
        if said:
            console.print(f"{name}: {said}", markup=False)
    listed = components.write()
    return {
        "manifests_valid": Figure(valid, f"== {len(found)}", "files"),
        "sbom_components": Figure(len(listed), f"== {components.installed()}", "components"),
        "sbom_licences_unknown": Figure(
            sum(components.licence(each) == "unknown" for each in listed), "", "components"
        ),
    }


def backup(folder: Path, _console: Console) -> dict[str, Figure]:
    return {"restore_equal": Figure(restore.is_equal(folder), "== 1", "true or false")}


def people(folder: Path, _console: Console) -> dict[str, Figure]:
    return {"oidc_sign_in": Figure(oidc_sign_in.works(folder), "== 1", "true or false")}


PARTS: dict[str, Callable[[Path, Console], dict[str, Figure]]] = {
    "monitoring": monitoring,
    "deployment": deployment,
    "backup": backup,
    "people": people,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.operations")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="measure these and keep the rest"
    )
    chosen = parser.parse_args().parts
    console = Console()
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as name:
        for part in chosen or PARTS:
            console.rule(part)
            folder = Path(name, part)
            folder.mkdir()
            figures |= PARTS[part](folder, console)
    return report(AREA, COMMAND, figures, console, part=bool(chosen))


if __name__ == "__main__":
    sys.exit(main())
