"""Read and write the state file: the active firmware, its trial, the outbox (docs/formats.md)."""

import sys

from micropython import const

from ivota import once

_PATH = const("/ivota-state.json")
# boot.py counts `starts` and `power_boots`; a report sent during the trial must not reset them.
_KINDS = (
    (str, ("active", "previous", "outbox", "last")),
    (dict, ("trial", "ended", "sums")),
    (list, ("rejected", "failures", "tries")),
    (int, ("sequence", "starts", "power_boots", "worn_until", "armed", "serial")),
    (bool, ("answered",)),
)


# Without methods, so that it does not keep this module in the heap.
class State:
    """The data that must survive a power cut; `save` writes everything except `path`.

    `active` and `previous` are paths of bundles, `trial` is what the trial's reports need,
    `outbox` a final report that the cloud has not acknowledged, `last` the last one of a channel,
    `serial` the number of a channel's newest index, `sums` the MD5 of bundles by their path, for
    boot.py, `armed` which watchdog is armed (agent_setup), `answered` whether the cloud answers
    reports of the version. Values that are missing or invalid are None; numbers are 0, and lists
    are empty. `others` has the keys of another release, which are kept as they are.
    """

    path = _PATH
    others = {}


def load(path=_PATH):
    """Read the `State` at `path`, once at each start: `save` writes what changes later."""
    state = State()
    state.path = path
    try:
        found = once("json_file").load(path, True) or {}
    except MemoryError:
        # A bundle makes room for one that needs less heap; after the factory package there is
        # nothing.
        if "/app" in sys.path:
            raise
        found = {}
    for kind, keys in _KINDS:
        for key in keys:
            value = found.pop(key, None)
            if type(value) is not kind:
                value = kind() if kind in (int, list) else None
            setattr(state, key, value)
    state.others = found
    return state


def save(state):
    """Write all values that are set, and the keys that only another release understands."""
    values = dict(state.others)
    for key, value in state.__dict__.items():
        if value and key not in ("path", "others"):
            values[key] = value
    once("json_file").save(state.path, values)


def sent(state):
    """Remove the acknowledged report from the outbox."""
    state.outbox = None
    save(state)


def answered(state):
    """Record the cloud's first answer to a report of the version."""
    state.answered = True
    if not state.trial:  # which ends with a write anyway
        try:
            save(state)
        except OSError:  # the first answer after the next start is recorded
            pass
