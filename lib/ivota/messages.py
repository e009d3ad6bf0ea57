"""What the cloud is told (docs/protocol.md), and a push as `pushes.read` returns it."""

import json


class Push:
    """One `update_firmware`, and once its bytes are verified the firmware itself.

    Each field, and the modules that set it beside this one:

    version: as the cloud names it
    url: where it is
    md5: of all its bytes, in lower case
    size: in bytes
    echo: what each report of it has to say again; None or a dictionary

    For a push that is all. These are there once its bytes are right:

    path: of the file; for an image in a slot of its checkpoint (finish, expand)
    slot: the label of the partition, None for a file (finish, expand)
    payload_size: how many of the bytes are the application's, without a signature (finish,
        expand, trailer)
    sequence: the number by which it is signed, 0 where it is not (payload)
    kind: what its owner says that it is, if it is signed: bundle, patch and so on (payload)
    """

    sequence = 0

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
