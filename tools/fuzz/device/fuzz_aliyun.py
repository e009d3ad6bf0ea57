"""A message in Aliyun's dialect: put into our words, it is checked as ours are."""

import json

from fuzz_push import Nothing, a_version

from ivota import OtaError, aliyun, pushes


class Client(Nothing):
    dialect = aliyun

    def report(self, state, push, code=0, message=""):
        text = aliyun.report_progress(state, push.version, None, code, message, push.echo)
        params = json.loads(text)["params"]
        assert -4 <= int(params["step"]) <= 100 and type(params["desc"]) is str
        self.said.append(state)


def check(data):
    client = Client()
    try:
        push = pushes.parse(data, aliyun)
    except OtaError as error:
        assert error.code == -5 and not error.again
        if error.version is not None:
            a_version(error.version)
        pushes.take(client, data)
        assert client.next is None
        return "refused"
    except (ValueError, MemoryError) as error:
        pushes.take(client, data)
        assert client.said == ["message_ignored"] and client.next is None
        return "ignored" if isinstance(error, ValueError) else "MemoryError"
    pushes.take(client, data)
    if push is None:
        assert client.said == [] and client.next is None
        return "not a push"
    a_version(push.version)
    assert type(push.url) is str and type(push.size) is int and push.size > 0
    assert len(push.md5) == 32 and not push.echo
    client.report("done", push)
    return "push"
