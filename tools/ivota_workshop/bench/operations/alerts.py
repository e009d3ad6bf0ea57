"""Check and test the alerts of docs/monitoring/ with Prometheus' own tools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.toolchain import monitoring

FOLDER = CHECKOUT / "docs" / "monitoring"
RULES, CASES = FOLDER / "alerts.yml", FOLDER / "alerts_test.yml"


def names() -> list[str]:
    return re.findall(r"^      - alert: (\w+)$", RULES.read_text(), re.M)


def tested() -> set[str]:
    """Return the alerts that fire in one case of the tests and are silent in another."""
    text = CASES.read_text()
    silent = set(re.findall(r"\{eval_time: \w+, alertname: (\w+)\}", text))
    fires = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", text))
    return silent & fires & set(names())


def problems() -> list[str]:
    """Run all checks; return the output of each one that fails."""
    commands = (
        [*monitoring.promtool(), "check", "config", "--syntax-only", "prometheus.yml"],
        [*monitoring.promtool(), "check", "rules", RULES.name],
        [*monitoring.promtool(), "test", "rules", CASES.name],
        [*monitoring.amtool(), "check-config", "alertmanager.yml"],
    )
    return [said for command in commands if (said := _run(command, FOLDER))]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return (done.stdout + done.stderr) if done.returncode else ""
