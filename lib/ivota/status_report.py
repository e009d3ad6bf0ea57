"""The notice to an ivota cloud, which explains what the board does (docs/protocol.md)."""

import json


def notice(message, push, wait_ms):
    """Create the `report_notice` message.

    `push` has to wait, for `wait_ms` milliseconds if that is known; `push` is None if its version
    is not readable.
    """
    report = {"message": message}
    if push:
        report["version"] = push.version
    if wait_ms:
        report["wait_s"] = str((wait_ms + 999) // 1000)
    return json.dumps({"type": "report_notice", "report": report})
