"""Report the result of an update to the cloud and the application, and record it."""

from micropython import const

from ivota import describe, once

_WHY = const(500)  # characters: a state with an unlimited report could not be read again


def failed(client, push, error):
    """Report a failure once, and record it: the next push of the same firmware will back off."""
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
        # This callback belongs to the application, not to the update.
        except Exception as own:
            client.log("error", "on_failure", why=describe(own))


def report_progress(client, push, state, code, message):
    """Report what the application says about installing `push`."""
    text = client.report(state, push, code, str(message)[:_WHY])
    if state == "done":
        kept = client.state  # signed firmware has a sequence
        kept.sequence = max(kept.sequence, push.sequence)
    if state != "burning":
        _post(client, text, push.md5 if state == "fail" else None)
    if state == "done":
        client.version = push.version
        client.report_version()


def post(state, outbox, md5=None, *rejection):
    """Store a final report until it is acknowledged, and a failure of `md5`, with one write.

    `rejection` is the rest of the arguments of `failure_record.add`.
    """
    if md5:
        once("failure_record").add(state, md5, *rejection)
    state.outbox = outbox
    state.ended = None
    once("state").save(state)


def _post(client, text, *failure):
    """Store a final report on flash; send it even if the flash or the heap fails."""
    try:
        post(client.state, text, *failure)
    except (OSError, MemoryError, ImportError) as error:
        client.log("error", "flash", why=describe(error))
