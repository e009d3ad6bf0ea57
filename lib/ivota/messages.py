"""The cloud's JSON, both ways (docs/protocol.md): pure functions, no I/O."""

import json

from ivota.errors import FAILED, OtaError

# What a newer cloud adds to a push and wants back in every report of it.
_ECHOED = ("fw_type", "task_id")


class Push:
    """One `update_firmware`: `version`, `url`, `md5` (lower case), `size` in bytes, `echo`."""

    def __init__(self, version, url, md5, size, echo=None):
        self.version = version
        self.url = url
        self.md5 = md5
        self.size = size
        self.echo = echo

    def same_firmware(self, other):
        """Whether both mean the same bytes; a URL, signed afresh each time, says nothing."""
        return (
            other is not None
            and self.md5 == other.md5
            and self.size == other.size
            and self.version == other.version
        )


def report_version(version):
    """The `report_version` message for the version that runs."""
    return json.dumps({"type": "report_version", "report": {"version": version}})


def report_progress(state, version, percent=None, code=0, message="", echo=None):
    """The `report_progress` message; `percent` (0 to 100) is for `downloading` alone."""
    progress = {"state": state, "result_code": str(code), "result_msg": message}
    if percent is not None:
        progress["percent"] = str(percent)
    report = {"progress": progress, "version": version}
    if echo:
        report.update(echo)
    return json.dumps({"type": "report_progress", "report": report})


def parse(payload):
    """A `Push` out of a message from the cloud, or None for one that is not about an update.

    Raises ValueError for what is not JSON, and `OtaError` (with the attribute `version`, where
    one could be read) for an `update_firmware` that can't be followed.
    """
    message = json.loads(payload)
    if not isinstance(message, dict) or message.get("type") != "update_firmware":
        return None
    version = message.get("version")
    try:
        return _push(message, version)
    except OtaError as error:
        error.version = version if _is_version(version) else None
        raise


def _push(message, version):
    if not _is_version(version):
        raise OtaError(FAILED, "push: version is not a text of 1 to 64 characters")
    url = message.get("url")
    if not isinstance(url, str):
        raise OtaError(FAILED, "push: url is not a text")
    size = message.get("file_size")
    if type(size) is not int or size <= 0:
        raise OtaError(FAILED, "push: file_size is not a number of bytes")
    md5 = message.get("md5sum")
    md5 = md5.lower() if isinstance(md5, str) else ""
    if len(md5) != 32 or not all(digit in "0123456789abcdef" for digit in md5):
        raise OtaError(FAILED, "push: md5sum is not 32 hexadecimal digits")
    # Of another kind, it might be nested too deep to be sent again.
    echo = {key: message[key] for key in _ECHOED if type(message.get(key)) in (int, str)}
    return Push(version, url, md5, size, echo)


def _is_version(version):
    if not isinstance(version, str) or not 0 < len(version) <= 64 or min(version) < " ":
        return False
    # Half a surrogate pair has no UTF-8.
    return not any("\ud7ff" < char < "\ue000" for char in version)
