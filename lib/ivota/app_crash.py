"""Handle an exception of the application: record it in a trial, and let updates continue."""

import sys

from ivota import describe, once


def died(client, error):
    """Reset the board, which fails a trial; without a trial, updates continue without the
    application.
    """
    sys.print_exception(error)
    client.log("error", "application_died", why=describe(error))
    if client.state.trial:
        import machine

        keep(client.state, error)
        machine.reset()


def keep(state, error):
    """Save why the version on trial crashed, for the report after its last try."""
    try:
        where = _place(error)
    except MemoryError:  # the error text must be enough
        where = ""
    words = describe(error)[: 96 - len(where)]
    state.trial["died"] = " ".join((words, "in", where)) if where else words
    try:
        once("state").save(state)
    except OSError:
        pass


def _place(error):
    """Return the innermost file and line of the error's traceback, or "".

    The same fault has the same text on every board, so that a cloud can count it.
    """
    import io

    text = io.StringIO()
    sys.print_exception(error, text)
    found = ""
    for line in text.getvalue().split("\n"):
        parts = line.split('"')
        if len(parts) == 3 and parts[2].startswith(", line "):
            found = parts[1].split("/")[-1] + ":" + parts[2][7:].split(",")[0]
    return found[:40]
