"""The one state file, written: each function is one atomic write."""

from ivota import once


def save(state):
    """Write all that is set, and what only another release understands."""
    values = dict(state.others)
    for key, value in state.__dict__.items():
        if value and key not in ("path", "others"):
            values[key] = value
    once("json_file").save(state.path, values)


def sent(state):
    """The outbox was acknowledged."""
    state.outbox = None
    save(state)


def answered(state):
    """The cloud has answered a report of the version, for the first time."""
    state.answered = True
    if not state.trial:  # the end of which is a write anyway
        try:
            save(state)
        except OSError:  # the first answer after the next start is noted
            pass
