"""The dialect of Tencent's IoT cloud (docs/protocol.md): reports, and the cloud's answers."""

import json


def report_version(version, application=None, hardware=None, message_most=0, chip_id=None):
    """Create the `report_version` message for the running version.

    The others are ivota's own, only for an ivota cloud. `message_most` is the maximum number of
    bytes in a message: the board would lose a longer push. `chip_id` is an ESP32's esp_chip_id_t.
    """
    report = {"version": version}
    if application:
        report["application"] = application
    if hardware:
        report["hardware"] = hardware
    if message_most:
        report["max_message_bytes"] = message_most
    if chip_id is not None:
        report["chip_id"] = chip_id
    return json.dumps({"type": "report_version", "report": report})


def is_answer(message, version, _asked):
    """Return whether `message` is the cloud's answer to a report of `version`."""
    return (
        message.get("type") == "report_version_rsp"
        and message.get("version") == version
        and message.get("result_code", 0) == 0
    )


def report_progress(state, version, percent=None, code=0, message="", echo=None):
    """Create the `report_progress` message; `percent` (0 to 100) is only for `downloading`."""
    progress = {"state": state, "result_code": str(code), "result_msg": message}
    if percent is not None:
        progress["percent"] = str(percent)
    report = {"progress": progress, "version": version}
    if echo:
        report.update(echo)
    return json.dumps({"type": "report_progress", "report": report})
