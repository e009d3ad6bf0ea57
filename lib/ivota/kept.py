"""The configuration: /ivota.json, or the copy that is kept of the last that reached the cloud."""

import os
from binascii import crc32

from ivota import once

CONFIG = "/ivota.json"
KEPT = "/ivota-kept.json"
BUNDLE = "/app/config.json"


def choose(log):
    """(paths of the configurations that can be used, the best first; `Watch`'s arguments or None).

    Raises ConfigError when there is none.
    """
    load = once("jsonfile").load
    mark = _mark()
    known = (load(KEPT, True) or {}).get("mark")
    if mark and mark == known:
        return [CONFIG], None
    paths = [CONFIG, KEPT] if known else [CONFIG]
    # Who writes a file changes its time as well: other bytes of the same time were not written.
    if known and mark and mark[1] and mark[1] == known[1]:
        log("error", "config_damaged", path=CONFIG)
        paths.reverse()
        mark = None
    limits = []
    for path in list(paths):
        try:
            limits.append(once("config").check(read(path))["trial"]["limit_s"])
        except ValueError as error:  # a module that is loaded again has another ConfigError
            log("error", "config_refused", path=path, why=error)
            why = error
            paths.remove(path)
    if not paths:
        raise why
    return paths, (mark, max(limits)) if mark or paths[1:] else None


def read(path):
    """The configuration at `path`, and the bundle's, whose keys override it."""
    load = once("jsonfile").load
    found = load(path, path == KEPT)
    if found and path == KEPT:
        found = found["config"]
    bundle = load(BUNDLE)
    if found is None and bundle is None:
        raise once("config").ConfigError("%s is missing or is not JSON" % path)
    return tuple(part for part in (found, bundle) if part is not None)


def _mark():
    """What tells one /ivota.json from another: [CRC, time of the last write]; None without it."""
    try:
        with open(CONFIG, "rb") as file:
            return [crc32(file.read()), os.stat(CONFIG)[8]]
    except (OSError, MemoryError):
        return None


def keep(client, path, mark):
    """Keep /ivota.json, unless it is not the one that reached the cloud."""
    if path != CONFIG or mark != _mark():
        return
    jsonfile = once("jsonfile")
    try:
        jsonfile.save(KEPT, {"config": jsonfile.load(CONFIG), "mark": mark})
    except OSError as error:
        client.log("error", "flash", why=error)
