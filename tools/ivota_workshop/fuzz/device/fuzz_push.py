"""Receive a message of the cloud: an accepted push has the documented types and ranges."""

import json

from ivota import OtaError, message_handler, tencent

HEX = "0123456789abcdef"


class Nothing:
    """An idle client, with the attributes that `take` uses."""

    version = "0.1"
    dialect = tencent
    job = burning = next = asked = trial = None
    ivota_cloud = False
    report_interval_s = 0

    class state:
        answered = True
        rejected = [["0" * 32, "why"]]

    def __init__(self):
        self.said = []

    def log(self, _level, event, **_fields):
        self.said.append(event)

    def tell(self, message, push=None, wait_ms=0):
        assert message and push is None and wait_ms == 0

    def introduce(self):
        assert self.ivota_cloud is True

    def awaits_application(self):
        return False

    def report(self, state, push, code=0, message="", key="final"):
        text = tencent.report_progress(state, push.version, None, code, message, push.echo)
        report = json.loads(text)["report"]
        assert report["version"] == push.version
        assert report["progress"]["result_msg"] == message
        self.said.append(state)


IGNORED = ("no_heap", "message_ignored")


def check(data):
    client = Nothing()
    push, outcome = taken(client, data)
    if push:
        for key in push.echo:
            assert key in ("fw_type", "task_id") and type(push.echo[key]) in (int, str)
            assert len(str(push.echo[key]).encode()) <= 256
        if client.next is None:
            assert push.version == "0.1" or client.said == ["fail"]
        client.report("done", push)
    return outcome


def taken(client, data):
    """Return the push, if it is one, and the kind of message in a word, in its dialect."""
    try:
        push = message_handler.read(message_handler.load(data), client.dialect)
    except OtaError as error:
        assert error.code == -5 and not error.again and not error.reject
        if error.version is not None:
            a_version(error.version)
        message_handler.take(client, data)
        assert client.next is None
        return None, "refused"
    except (ValueError, MemoryError) as error:
        message_handler.take(client, data)
        assert client.said == [IGNORED[isinstance(error, ValueError)]] and client.next is None
        return None, "ignored" if isinstance(error, ValueError) else "MemoryError"
    message_handler.take(client, data)
    if push is None:
        seconds = client.report_interval_s
        assert type(seconds) is int and (seconds == 0 or 10 <= seconds <= 86400)
        assert client.said == [] and client.next is None
        return None, "not a push"
    a_version(push.version)
    assert type(push.url) is str
    assert type(push.size) is int and push.size > 0
    assert len(push.md5) == 32 and all(char in HEX for char in push.md5)
    return push, "push"


def a_version(version):
    assert type(version) is str and 0 < len(version) <= 64
    assert min(version.encode()) >= 32
    # Half a surrogate pair has no UTF-8 form, so it must not reach a file name or a report.
    assert str(version.encode(), "utf-8") == version
    assert not any("\ud7ff" < char < "\ue000" for char in version)
