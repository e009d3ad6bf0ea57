"""Back up the configuration that reached the cloud, and change to it if another one does not."""

import os
import time
from binascii import crc32

from ivota import guarded_socket, once

GIVEN = "/ivota.json"
KEPT = "/ivota-kept.json"
BUNDLE = "/app/config.json"


def usable(log):
    """Return (paths of the usable configurations, best first; the arguments of `ConfigTrial`).

    The arguments are None if there is nothing to try or to back up. Raises ConfigError if no
    configuration is usable.
    """
    mark = _mark()
    known = (_load(KEPT, True) or {}).get("mark")
    if mark and mark == known:
        return [GIVEN], None
    paths = [GIVEN, KEPT] if known else [GIVEN]
    # A write also changes the time: other bytes with the same time are damage.
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
            clouds.append((config["mqtt"]["host"], config["dialect"], config["channel"]))
        except ValueError as error:  # a module that was loaded again has another ConfigError
            log("error", "config_refused", path=path, why=error)
            why = error
            paths.remove(path)
    if not paths:
        raise why
    moved = len(clouds) < 2 or clouds[0] != clouds[1]
    return paths, (mark, max(limits), moved) if mark or paths[1:] else None


def read(path, log=None):
    """Read the configuration at `path`; the bundle's overrides its keys, except the identity."""
    found = _load(path, path == KEPT)
    if found and path == KEPT:
        found = found["config"]
    bundle = _load(BUNDLE)
    if bundle:
        once("identity_lock").drop_identity(bundle, log)
    if found is None and bundle is None:
        raise once("config").ConfigError("%s is missing or is not JSON" % path)
    return tuple(part for part in (found, bundle) if part is not None)


def _load(path, ours=False):
    try:
        return once("json_file").load(path, ours)
    except MemoryError:  # as if it were missing, because the other one may fit
        return None


def _mark():
    """Return [CRC, time of the last write] of /ivota.json, to recognize it; None if unreadable."""
    try:
        with open(GIVEN, "rb") as file:
            return [crc32(file.read()), os.stat(GIVEN)[8]]
    except (OSError, MemoryError):
        return None


def keep(client, path, mark, silent):
    """Back up /ivota.json, if it is the one that reached the cloud.

    With `silent`, it is unknown whether this cloud answers.
    """
    if path != GIVEN or mark != _mark():
        return
    try:
        if silent and client.state.answered:
            client.state.answered = False
            once("state").save(client.state)
        json_file = once("json_file")
        json_file.save(KEPT, {"config": json_file.load(GIVEN), "mark": mark})
    except (OSError, MemoryError) as error:
        client.log("error", "flash", why=error)


def switch(client, path):
    """Reconnect with the configuration at `path`, while the application keeps running."""
    client.log("warning", "config", path=path)
    before = client.config
    config = once("config").check(read(path, client.log))
    client.link.close(True)
    client.adopt(config)
    if config["home_assistant"]:
        once("home_assistant").attach(client)
    for key in ("network", "wifi", "lan", "ppp", "hostname"):
        if config[key] != before[key]:
            leave = getattr(guarded_socket.hooks.online, "leave", None)
            if leave:
                leave()
                guarded_socket.hooks.online = guarded_socket.always
            once("agent_setup").join(client)
            break


class ConfigTrial:
    """The trial of a configuration, which contains the trial of a version if there is one.

    This is the client's `trial` until the board reaches the cloud; the inner one follows.
    The configuration that reached the cloud is backed up; `mark` is None if /ivota.json should not
    be. Until then, the board switches to the other one of `paths` after every `limit_s`. With
    `moved`, the cloud may be a different one that never answers, so the broker's acknowledgement
    is enough.
    """

    def __init__(self, client, paths, mark, limit_s, moved):
        self.acked = False  # whether the broker acknowledged a report of the running version
        self.answered = False  # whether the cloud answered one
        self._client = client
        self._trial = client.trial  # of the version
        self._paths = paths
        self._mark = mark
        self._moved = moved
        self._limit_ms = int(min(limit_s, 86400) * 1000)
        self._begun = time.ticks_ms()

    def step(self, confirmed):
        """Return the trial for the next step: this one until the cloud is reached."""
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
            switch(client, self._paths[0])
        return self
