"""The dialect of Tencent's IoT cloud: what a board reports, and what counts as an answer.

docs/protocol.md has the messages.
"""

import json


def report_version(version):
    """The `report_version` message for the version that runs."""
    return json.dumps({"type": "report_version", "report": {"version": version}})


def is_answer(message, version, _asked):
    """Whether `message` is the cloud's answer to a report of `version`."""
    return (
        message.get("type") == "report_version_rsp"
        and message.get("version") == version
        and message.get("result_code", 0) == 0
    )


def report_progress(state, version, percent=None, code=0, message="", echo=None):
    """The `report_progress` message; `percent` (0 to 100) is for `downloading` alone."""
    progress = {"state": state, "result_code": str(code), "result_msg": message}
    if percent is not None:
        progress["percent"] = str(percent)
    report = {"progress": progress, "version": version}
    if echo:
        report.update(echo)
    return json.dumps({"type": "report_progress", "report": report})
