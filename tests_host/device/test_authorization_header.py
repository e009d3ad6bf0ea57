"""Downloads that need an Authorization header: who gets it, and who never does."""

import json

from webserver import WebNetwork, answer

from ivota import OtaError, authorization_header, config, http_request, message_handler, tencent
from ivota.config import ConfigError
from support import raises

TOKEN = "Bearer a-word.that-nobody/knows="
OTHER = "Basic dXNlcjpwYXNzd29yZA=="
HTTP = {
    "ca": None,
    "cert": None,
    "key": None,
    "timeout_s": 10,
    "deadline_s": 60,
    "authorization": None,
}


def pushed(url, authorization=None):
    message = {
        "type": "update_firmware",
        "version": "2",
        "url": url,
        "file_size": 10,
        "md5sum": "0" * 32,
    }
    if authorization is not None:
        message["authorization"] = authorization
    return message_handler.read(message_handler.load(json.dumps(message).encode()))


def asked(push, url=None, table=None):
    """The request for `url`, where redirects have led from the push's own."""
    network = WebNetwork(answer())
    with network:
        stream = http_request.send_request(
            url or push.url, 0, dict(HTTP, authorization=table), None, bool(url), push
        )
        stream.close()
    return network.requests[0][1]


def has(request, value):
    return b"\r\nAuthorization: " + value.encode() + b"\r\n" in request


def test_a_pushs_own_goes_to_the_server_of_its_url_alone():
    push = pushed("http://files:8000/a/f.bin?x=1", TOKEN)
    assert has(asked(push), TOKEN)
    assert has(asked(push, "http://files:8000/b"), TOKEN)
    for url in (
        "http://files/a",
        "http://files:8001/a",
        "http://other:8000/a",
        "http://files.x:8000/",
    ):
        assert b"Authorization" not in asked(push, url), url
    assert b"Authorization" not in asked(pushed("http://files/f.bin"))


def test_the_configurations_goes_to_the_hosts_that_it_names():
    table = {"files": TOKEN, "files:81": OTHER}
    push = pushed("http://portal/f.bin")
    assert b"Authorization" not in asked(push, None, table)
    assert has(asked(push, "http://files/f.bin", table), TOKEN)
    assert has(asked(push, "http://files:80/f.bin", table), TOKEN)
    assert has(asked(push, "http://files:81/f.bin", table), OTHER)
    assert b"Authorization" not in asked(push, "http://files.other/f.bin", table)
    # What a push says for its own server is newer.
    assert has(asked(pushed("http://files/f.bin", OTHER), None, table), OTHER)


def test_what_is_no_header_is_refused_without_being_shown():
    for wrong in ("a\r\nX: b", "a\nb", "a\0b", "\xe4", "x" * 1025, 5, ["a"], {"a": "b"}):
        with raises(OtaError) as caught:
            asked(pushed("http://files/f.bin", wrong))
        assert "authorization is not a valid header" in caught.value.message
        with raises(ConfigError) as caught:
            authorization_header.check({"files": wrong}, ConfigError)
        assert str(caught.value) == "http.authorization: the value for files is not a valid header"
    for wrong in ("Bearer x", ["Bearer x"], 5):
        with raises(ConfigError) as caught:
            authorization_header.check(wrong, ConfigError)
        assert "x" not in str(caught.value).replace("text", "")
    table = {"files": TOKEN, "files:81": OTHER}
    found = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}}
    assert config.check(found)["http"]["authorization"] is None
    found["http"] = {"authorization": table}
    assert config.check(found)["http"]["authorization"] == table


def test_it_is_said_to_nobody_else():
    push = pushed("http://files/f.bin", TOKEN)
    assert push.echo == {}
    assert TOKEN not in tencent.report_progress("done", push.version, echo=push.echo)
