"""Record each test when it has ended, so that an interrupted soak loses only the running tests.

This module is also the pytest plugin that writes the notes. The soak names it on pytest's command
line; an environment variable says where the notes go and which tests are done.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

GIVEN = "IVOTA_SOAK"


@dataclass(frozen=True)
class Note:
    """A test that has ended in a round, on a tree. Without `test`: the round has ended there.

    `why` is the first line of the error, or empty.
    """

    tree: str
    round: int
    test: str
    why: str
    seconds: float


@dataclass(frozen=True)
class Given:
    """The plugin's settings. No test begins after `until`, a time of `time.time`."""

    journal: str
    done: str
    tree: str
    round: int
    until: float

    def environment(self) -> dict[str, str]:
        return {GIVEN: json.dumps(asdict(self))}


def write(path: Path, note: Note) -> None:
    # A line break comes first, so that an earlier incomplete line does not damage this one.
    with path.open("a") as file:
        file.write("\n" + json.dumps(asdict(note)))


def read(path: Path) -> list[Note]:
    notes = []
    for line in path.read_text().split("\n") if path.exists() else []:
        try:
            notes.append(Note(**json.loads(line)))
        except (ValueError, TypeError):
            pass  # cut off by a kill, or empty
    return notes


def error(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines()
    return lines[0][:200] if lines else "failed"


class Plugin:
    """The main process records results; its workers select the tests."""

    def __init__(self, given: Given, is_worker: bool) -> None:
        self._given = given
        self._is_worker = is_worker
        self._done = set(Path(given.done).read_text().split("\n"))
        self._failed: dict[str, str] = {}
        self._seconds: dict[str, float] = {}

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        gone = [item for item in items if item.nodeid in self._done]
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item.nodeid not in self._done]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        return True if time.time() >= self._given.until else None

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self._is_worker and report.nodeid not in self._failed:
            self._failed[report.nodeid] = error(report)
            self._note(report.nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if self._is_worker:
            return
        test = report.nodeid
        self._seconds[test] = self._seconds.get(test, 0) + getattr(report, "duration", 0)
        if report.failed:
            self._failed.setdefault(test, error(report))
        # Of a test whose process has died there is one report, of no phase.
        if report.when not in ("setup", "call"):
            self._note(test)

    def _note(self, test: str) -> None:
        given = self._given
        seconds = round(self._seconds.pop(test, 0), 1)
        note = Note(given.tree, given.round, test, self._failed.get(test, ""), seconds)
        write(Path(given.journal), note)


def pytest_configure(config: pytest.Config) -> None:
    given = Given(**json.loads(os.environ[GIVEN]))
    config.pluginmanager.register(Plugin(given, hasattr(config, "workerinput")))
