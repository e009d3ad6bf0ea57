"""The configuration: /ivota.json, or the copy that is kept of the last that reached the cloud."""

import os
import time
from binascii import crc32

from ivota import once

GIVEN = "/ivota.json"
KEPT = "/ivota-kept.json"
BUNDLE = "/app/config.json"


def usable(log):
    """(paths of the configurations that can be used, the best first; more for `ConfigTrial`).

    The latter is None where nothing is to be tried or kept.

    Raises ConfigError when there is none.
    """
    mark = _mark()
    known = (_load(KEPT, True) or {}).get("mark")
    if mark and mark == known:
        return [GIVEN], None
    paths = [GIVEN, KEPT] if known else [GIVEN]
    # Who writes a file changes its time as well: other bytes of the same time were not written.
    if known and mark and mark[1] and mark[1] == known[1]:
        log("error", "config_damaged", path=GIVEN)
        paths.reverse()
        mark = None
    limits = []
    clouds = []
    for path in list(paths):
        try:
            config = once("config").check(read(path))
            limits.append(config["trial"]["limit_s"])
            clouds.append((config["mqtt"]["host"], config["dialect"]))
        except ValueError as error:  # a module that is loaded again has another ConfigError
            log("error", "config_refused", path=path, why=error)
            why = error
            paths.remove(path)
    if not paths:
        raise why
    moved = len(clouds) < 2 or clouds[0] != clouds[1]
    return paths, (mark, max(limits), moved) if mark or paths[1:] else None


def read(path, log=None):
    """The configuration at `path`, and the bundle's, whose keys but the identity override it."""
    found = _load(path, path == KEPT)
    if found and path == KEPT:
        found = found["config"]
    bundle = _load(BUNDLE)
    if bundle:
        once("config_overrides").drop_identity(bundle, log)
    if found is None and bundle is None:
        raise once("config").ConfigError("%s is missing or is not JSON" % path)
    return tuple(part for part in (found, bundle) if part is not None)


def _load(path, ours=False):
    try:
        return once("json_file").load(path, ours)
    except MemoryError:  # no room for it: as if it were missing, for the other one may do
        return None


def _mark():
    """What tells one /ivota.json from another: [CRC, time of the last write]; None without it."""
    try:
        with open(GIVEN, "rb") as file:
            return [crc32(file.read()), os.stat(GIVEN)[8]]
    except (OSError, MemoryError):
        return None


def keep(client, path, mark, silent):
    """Keep /ivota.json, unless it is not the one that reached the cloud.

    With `silent` nothing is known of whether this cloud answers.
    """
    if path != GIVEN or mark != _mark():
        return
    try:
        if silent and client.state.answered:
            client.state.answered = False
            once("state_writer").save(client.state)
        json_file = once("json_file")
        json_file.save(KEPT, {"config": json_file.load(GIVEN), "mark": mark})
    except (OSError, MemoryError) as error:
        client.log("error", "flash", why=error)


class ConfigTrial:
    """The trial of a configuration, around the one of the version where there is one.

    It is the client's `trial` until the cloud is reached, and the other one behind it. Then the
    configuration that reached it is kept; `mark` is None where /ivota.json is not to be. Until
    then the other one of `paths` is tried every `limit_s`. With `moved` the cloud may be another
    one than before, which may never answer: the broker's acknowledgement is enough.
    """

    def __init__(self, client, paths, mark, limit_s, moved):
        self.acked = False  # whether the broker has taken a report of the version that runs
        self.answered = False  # whether the cloud has answered one
        self._client = client
        self._trial = client.trial  # of the version
        self._paths = paths
        self._mark = mark
        self._moved = moved
        self._limit_ms = int(min(limit_s, 86400) * 1000)
        self._begun = time.ticks_ms()

    def step(self, confirmed):
        """What takes its place in the next step: itself until the cloud is reached."""
        client = self._client
        if self._trial:
            self._trial.acked = self.acked
            self._trial.answered = self.answered
            self._trial = self._trial.step(confirmed)
        enough = self._moved or not client.state.answered
        if not enough:
            enough = client.config["trial"]["confirm"] == "broker"
        if self.answered or self.acked and enough:
            if self._mark:
                keep(client, self._paths[0], self._mark, self._moved and not self.answered)
            return self._trial
        if (
            len(self._paths) > 1
            and not client.job
            and time.ticks_diff(time.ticks_ms(), self._begun) > self._limit_ms
        ):
            self._begun = time.ticks_ms()
            self.acked = self.answered = False
            self._paths.reverse()
            once("config_switch").switch(client, self._paths[0])
        return self
