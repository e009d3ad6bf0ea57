"""Tell an ivota cloud why the board ignores a push, beside the protocol (docs/protocol.md)."""

import json


def notice(message, push, wait_ms):
    """Create the `report_notice` message.

    `push` waits, for `wait_ms` if that is known; None if its version is not readable.
    """
    report = {"message": message}
    if push:
        report["version"] = push.version
    if wait_ms:
        report["wait_s"] = str((wait_ms + 999) // 1000)
    return json.dumps({"type": "report_notice", "report": report})
