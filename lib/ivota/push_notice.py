"""Why a push has no effect, said beside the protocol (docs/protocol.md); only ivota listens."""

import json


def notice(message, push, wait_ms):
    """The `report_notice` message.

    `push` is what waits, for `wait_ms` if that is known; None where no version could be read.
    """
    report = {"message": message}
    if push:
        report["version"] = push.version
    if wait_ms:
        report["wait_s"] = str((wait_ms + 999) // 1000)
    return json.dumps({"type": "report_notice", "report": report})
