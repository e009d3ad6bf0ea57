"""Record failures and final reports in the state, each change with one atomic write."""

from micropython import const

from ivota import once

_REJECTED = const(4)  # maximum number of rejected firmware to remember


def count(state, md5):
    """Return how often this firmware has failed in a row."""
    failures = state.failures
    return failures[-1] if failures[:1] == [md5] and type(failures[-1]) is int else 0


def reason(state, md5, version=None):
    """Return why this firmware is rejected under this name, or None."""
    for entry in state.rejected:
        if isinstance(entry, list) and len(entry) > 1 and entry[0] == md5:
            if entry[2:] in ([], [version]):
                return entry[1]
    return None


def post(state, outbox, md5=None, reject=None, *version):
    """Store a final report until it is acknowledged; count a failure of `md5`.

    With `reject`, the firmware is rejected from now on for that reason; with `version`, only under
    that name.
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
    once("state").save(state)
