"""The end of an update: what the cloud and the application are told, and what is remembered."""

from micropython import const

from ivota import describe, once

_WHY = const(500)  # characters: a state with a report of any length could not be read again


def failed(client, push, error):
    """Report a failure, once, and remember it: the next push of the same will have to rest."""
    client.log("error", "failed", code=error.code, why=error.message)
    why = error.message[:_WHY]
    text = client.report("fail", push, error.code, why)
    if error.reject:
        _post(client, text, push.md5, why, push.version)
    else:
        _post(client, text, push.md5)
    if client.on_failure:
        try:
            client.on_failure(error)
        # It is the application's code, and no part of the update.
        except Exception as own:
            client.log("error", "on_failure", why=describe(own))


def told(client, push, state, code, message):
    """Report what the application says of its own burning of `push`."""
    text = client.report(state, push, code, str(message)[:_WHY])
    if state == "done":
        kept = client.state  # what was signed has a number
        kept.sequence = max(kept.sequence, push.sequence)
    if state != "burning":
        _post(client, text, push.md5 if state == "fail" else None)
    if state == "done":
        client.version = push.version
        client.report_version()


def _post(client, text, *about):
    """Keep a final report through a power cut; it goes out even if flash or heap fail."""
    try:
        once("failure_log").post(client.state, text, *about)
    except (OSError, MemoryError, ImportError) as error:
        client.log("error", "flash", why=describe(error))
