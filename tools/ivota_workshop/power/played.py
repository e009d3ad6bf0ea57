"""Play a scenario undisturbed: its cuts are derived from this run, and compared with it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.sim.filesystem import tree

from .bench import Bench
from .cuts import Known, Recording, record
from .judge import judge
from .scenario import Scenario
from .stage import Stage, stage


@dataclass
class Played:
    """A stage and its undisturbed run."""

    stage: Stage
    recording: Recording
    files: dict[str, bytes]  # on the final flash


def play(
    scenario: Scenario, folder: Path, replaced: Mapping[str, bytes] | None = None
) -> tuple[Played, list[str]]:
    """Play a scenario undisturbed; return it with the problems that it already has."""
    made = stage(scenario, folder / "making", replaced)
    with Bench(folder / "bench", made) as bench:
        recording = record(bench, made.image, Known())
    shutil.rmtree(folder / "bench")
    files = tree(recording.final, made.blocks) if recording.run.ended == "settled" else {}
    wrong = judge(made, files, Known(), recording.run, recording.final)
    return Played(made, recording, files), [each.text for each in wrong]
