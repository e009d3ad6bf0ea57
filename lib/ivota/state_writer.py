"""Write the state file: each function is one atomic write."""

from ivota import once


def save(state):
    """Write all that is set, and the keys that only another release understands."""
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
