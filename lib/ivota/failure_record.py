"""Record in the state how often firmware has failed, and why it is rejected."""

from micropython import const

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


def add(state, md5, reject=None, *version):
    """Count a failure of this firmware; the caller saves the state.

    With `reject`, the firmware is rejected from now on for that reason; with `version`, only under
    that name.
    """
    if reject:
        others = [
            entry for entry in state.rejected if isinstance(entry, list) and entry[:1] != [md5]
        ]
        state.rejected = others[1 - _REJECTED :] + [[md5, reject] + list(version)]
        state.failures = []
    else:
        state.failures = [md5, count(state, md5) + 1]
