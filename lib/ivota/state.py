"""The one state file: which firmware runs, its trial, the outbox, counters (docs/formats.md).

Each function that changes it is one atomic write.
"""

from ivota import describe, once

PATH = "/ivota-state.json"
_REJECTED = 4  # how many refused firmwares are remembered
# boot.py counts `starts` and `power_boots`; a report sent during the trial must not set them back.
_KINDS = (
    ("active", str),
    ("previous", str),
    ("outbox", str),
    ("trial", dict),
    ("ended", dict),
    ("rejected", list),
    ("failures", list),
    ("tries", list),
    ("sequence", int),
    ("starts", int),
    ("power_boots", int),
    ("worn_until", int),
)


# Without methods, so that it does not keep this module in the heap.
class State:
    """What must survive a power cut.

    `active` and `previous` are paths of bundles, `trial` is what the trial's reports need,
    `outbox` a final report that the cloud has not acknowledged. What is not set, or junk, is
    None; numbers are 0, lists empty.
    """

    path = PATH


def load(path=PATH):
    """The `State` that is kept at `path`."""
    state = State()
    state.path = path
    found = once("jsonfile").load(path, True) or {}
    for key, kind in _KINDS:
        value = found.get(key)
        if type(value) is not kind:
            value = kind() if kind in (int, list) else None
        setattr(state, key, value)
    return state


def save(state, sums=None):
    """Write all of it.

    `sums`, the MD5 of bundles by their path, are for boot.py alone: what the file has of them
    stays in it.
    """
    values = {}
    if sums or state.active or state.previous:
        values["sums"] = sums or _sums(state)
    for key, _ in _KINDS:
        value = getattr(state, key)
        if value:
            values[key] = value
    once("jsonfile").save(state.path, values)


def count(state, md5):
    """How often this firmware has failed in a row."""
    failures = state.failures
    return failures[-1] if failures[:1] == [md5] and type(failures[-1]) is int else 0


def reason(state, md5, version=None):
    """Why this firmware is refused, under this name, or None."""
    for entry in state.rejected:
        if isinstance(entry, list) and len(entry) > 1 and entry[0] == md5:
            if entry[2:] in ([], [version]):
                return entry[1]
    return None


def sent(state):
    """The outbox was acknowledged."""
    state.outbox = None
    save(state)


def activate(state, path, trial):
    """Let `path` run from the next start on, as a trial; what ran becomes `previous`.

    For an image, which mounts no bundle, it is None.
    """
    before = state.active, state.previous, None
    state.previous = state.active
    state.active = path
    try:
        sums = {path: trial["md5sum"]} if path else {}
        if state.previous:
            sums[state.previous] = _sums(state).get(state.previous)
        _set_trial(state, trial, sums)
    except Exception:  # the report of this failure must not write what failed
        state.active, state.previous, state.trial = before
        raise


def confirm(state, outbox):
    """End the trial for good, with its `done` report in the outbox."""
    state.failures = []
    state.rejected = []
    state.outbox = outbox
    state.sequence = max(state.sequence, state.trial.get("sequence", 0))
    _set_trial(state, None)


def died(state, error):
    """Keep what the version on trial died of, for the report when its chances are used up."""
    state.trial["died"] = describe(error)[:100]
    try:
        save(state)
    except OSError:
        pass


def _set_trial(state, trial, sums=None):
    state.trial = trial
    state.starts = state.power_boots = 0
    save(state, sums)


def _sums(state):
    return (once("jsonfile").load(state.path, True) or {}).get("sums") or {}


def roll_back(state, why, reject=False):
    """Let `previous` run from the next start on; it reports why."""
    state.ended = dict(state.trial)
    state.ended["why"] = why
    if reject:
        state.ended["reject"] = True
    state.active, state.previous, state.trial = state.previous, None, None
    save(state)


def post(state, outbox, md5=None, reject=None, *version):
    """Keep a final report until it is acknowledged; count a failure of `md5`.

    With a `reject` text the firmware is refused from now on, for that reason; where a `version`
    is given, under that name alone.
    """
    state.outbox = outbox
    state.ended = None
    if reject:
        others = [
            entry for entry in state.rejected if isinstance(entry, list) and entry[:1] != [md5]
        ]
        state.rejected = others[1 - _REJECTED :] + [[md5, reject] + list(version)]
        state.failures = []
    elif md5:
        state.failures = [md5, count(state, md5) + 1]
    save(state)
