"""What the state has of failures, and how an end gets there: each change is one atomic write."""

from ivota import once

_REJECTED = 4  # how many refused firmwares are remembered


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


def roll_back(state, why, reject=False):
    """Let `previous` run from the next start on; it reports why."""
    state.ended = dict(state.trial)
    state.ended["why"] = why
    if reject:
        state.ended["reject"] = True
    state.active, state.previous, state.trial = state.previous, None, None
    once("state_writer").save(state)


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
    once("state_writer").save(state)
