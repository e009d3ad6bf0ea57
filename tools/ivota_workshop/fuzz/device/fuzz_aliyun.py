"""Convert a message in Aliyun's dialect to ours, and check it like our own."""

import json

from fuzz_push import Nothing, taken

from ivota import aliyun


class Client(Nothing):
    dialect = aliyun

    def report(self, state, push, code=0, message="", key="final"):
        text = aliyun.report_progress(state, push.version, None, code, message, push.echo)
        params = json.loads(text)["params"]
        assert -4 <= int(params["step"]) <= 100 and type(params["desc"]) is str
        self.said.append(state)


def check(data):
    client = Client()
    push, outcome = taken(client, data)
    if push:
        assert not push.echo
        client.report("done", push)
    return outcome
