"""Record the messages for Home Assistant that the tests expect.

`python -m ivota_workshop.bench.neighbours.ha_recording` replaces ha_expected.json. Look at what
has changed, and run `make soak-ha` to see that Home Assistant understands it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ivota_tools.common import atomic_write

from . import ha_board_scenario, ha_scenario
from .ha_board_scenario import BoardStage
from .ha_scenario import Json, Stage

FILE = Path(__file__).with_name("ha_expected.json")


def of_cloud() -> Json:
    """Return the states after each step, and the configurations, as the cloud publishes them."""
    with Stage.open() as stage:
        return _record(stage, ha_scenario.run)


def of_board(bits: int | None = None) -> Json:
    """Return the states and the configurations as a board publishes them."""
    with BoardStage.open(bits) as stage:
        return _record(stage, ha_board_scenario.run)


def _record(stage: Any, run: Any) -> Json:
    steps: list[Json] = []
    configs: Json = {}

    def check(step: str, state: Json) -> None:
        steps.append({"step": step, "state": state})
        # Each session of a board has its own command.
        found = {topic: stage.messages[topic] for topic in stage.topics("config")}
        for topic, config in stage.normalized(found).items():
            if config:
                configs.setdefault(topic, config | {"origin": "not compared: it has the version"})

    run(stage, check)
    return {"steps": steps, "configs": configs}


def main() -> None:
    recorded = {"cloud": of_cloud(), "board": of_board()}
    atomic_write.write(
        FILE, json.dumps(recorded, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    )


if __name__ == "__main__":
    main()
