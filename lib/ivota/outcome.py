"""How an update ended, or a trial, in the state: each function is one atomic write."""

from ivota import once

_REJECTED = 4  # how many refused firmwares are remembered


def roll_back(state, why, reject=False):
    """Let `previous` run from the next start on; it reports why."""
    state.ended = dict(state.trial)
    state.ended["why"] = why
    if reject:
        state.ended["reject"] = True
    state.active, state.previous, state.trial = state.previous, None, None
    once("persist").save(state)


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
        state.failures = [md5, once("state").count(state, md5) + 1]
    once("persist").save(state)
