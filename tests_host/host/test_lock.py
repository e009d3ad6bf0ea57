"""requirements.lock: what pyproject.toml asks for, and what that needs, each with its hashes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_lock_has_what_the_project_asks_for():
    text = (ROOT / "pyproject.toml").read_text()
    wanted = set(re.findall(r'"([a-z0-9-]+)==([^";]+)[";]', text.partition("dependencies = [")[2]
                            .partition("]")[0]))  # fmt: skip
    entries = re.findall(
        r"^([a-z0-9-]+)==(\S+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}[^\n]*)+)",
        (ROOT / "requirements.lock").read_text(),
        re.M,
    )
    assert len(wanted) > 10 and len(entries) > len(wanted)
    assert wanted <= {(name, version) for name, version, _ in entries}
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert len([line for line in lines if not line.startswith(" ")]) == len(entries)
