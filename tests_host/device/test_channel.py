"""What a channel's index means to a board, and when the board looks at it."""

import binascii
import json

from clientworld import CONFIG
from webserver import WebNetwork, answer

from ivota import OtaError, config, http_channel, owner_signature, release_index, update_client
from ivota import clock as clock_module
from ivota.config import ConfigError
from ivota.state import load
from support import Clock, patched, raises

LEAST = {
    "product_id": "P",
    "device_name": "d",
    "keys": ["/owner.pub"],
    "channel": {"url": "http://h/c/channel.json"},
}
MD5 = "0123456789abcdef0123456789abcdef"


def release(version="0.2", sequence=2, **more):
    found = {
        "version": version,
        "target": None,
        "sequence": sequence,
        "file": version + ".bin",
        "size": 1000,
        "md5": MD5,
    }
    found.update(more)
    return found


def index(*releases, **more):
    found = {"channel": 1, "product": "P", "serial": 5, "tracks": {"stable": list(releases)}}
    found.update(more)
    return found


class State:
    sequence = 1
    serial = 0
    rejected = []
    failures = []


class Client:
    """What `release_index` needs of a client."""

    version = "0.1"

    def __init__(self, **more):
        self.config = config.check(dict(LEAST, **more))
        self.state = State()


def chosen(found, now=1800000000, **more):
    with Clock(unix_time=now).put_into(clock_module):
        release, later = release_index.choose(found, Client(**more))
    return release and release["version"], later


def test_the_last_release_that_is_due_counts():
    assert chosen(index(release("0.2"), release("0.3", 3))) == ("0.3", False)
    assert chosen(index()) == (None, False)
    # Not what runs, nor what would be a downgrade.
    assert chosen(index(release("0.1", 9))) == (None, False)
    assert chosen(index(release("0.2", 1))) == (None, False)
    due = release("0.3", 3, not_before=1800000000)
    assert chosen(index(release(), due)) == ("0.3", False)
    assert chosen(index(release(), due), now=1799999999) == ("0.2", True)


def test_a_clock_that_was_never_set_installs_nothing_before_its_time():
    due = release("0.3", 3, not_before=1)
    assert chosen(index(release(), due), now=60) == ("0.2", True)


def test_each_target_has_its_own_releases():
    both = index(release("0.2", target="a"), release("0.3", 3, target="b"))
    assert chosen(both) == (None, False)
    assert chosen(both, target="a") == ("0.2", False)
    with raises(OtaError, "the channel has no track beta"):
        chosen(both, channel={"url": "http://h/", "track": "beta"})


def test_a_share_of_the_boards():
    """About that many, each always or never, and every board that a smaller share has."""
    names = ["board-%d" % number for number in range(400)]
    before = set()
    for share in (1, 10, 50, 99, 100):
        part = release(share=share)
        covered = {name for name in names if release_index.is_covered(name, part)}
        assert before <= covered
        assert abs(len(covered) - 4 * share) < 40
        before = covered
    assert len(before) == 400
    # As the host has computed it.
    assert release_index.is_covered("board-1", release(share=18))
    assert not release_index.is_covered("board-1", release(share=17))


def pushed(found, client):
    return json.loads(json.dumps(release_index._push(client, found)))


def test_a_delta_from_what_runs_unless_it_has_failed():
    deltas = [
        {"from": "0.0", "file": "a.bin", "size": 5, "md5": "a" * 32},
        {"from": "0.1", "file": "b.bin", "size": 6, "md5": "b" * 32},
    ]
    client = Client()
    found = release(deltas=deltas)
    assert pushed(found, client) == {
        "type": "update_firmware",
        "version": "0.2",
        "url": "http://h:80/c/b.bin",
        "file_size": 6,
        "md5sum": "b" * 32,
    }
    client.state.failures = ["b" * 32, 1]
    assert pushed(found, client)["url"] == "http://h:80/c/0.2.bin"
    client.state.failures = []
    client.state.rejected = [["b" * 32, "why"]]
    assert pushed(found, client)["md5sum"] == MD5


def test_a_firmware_that_was_rejected_is_not_wanted():
    client = Client()
    client.state.rejected = [[MD5, "why", "0.2"]]
    with Clock().put_into(clock_module):
        assert release_index.choose(index(release()), client) == (None, False)


def signed(found):
    return json.dumps(found).encode() + b"\n" + binascii.b2a_base64(bytes(384))


def read(data, serial=0, now=1800000000):
    trusting = patched(owner_signature, distrust=lambda *_: None)
    with trusting, Clock(unix_time=now).put_into(clock_module):
        return release_index.read(data, Client().config, serial)


def test_an_index_is_this_products_and_neither_old_nor_expired():
    assert read(signed(index())) == index()
    for wrong, why in (
        ({"product": "Q"}, "the channel is for the product Q"),
        ({"channel": 2}, "needs a newer ivota"),
        ({"expires": 1800000000}, "has expired"),
    ):
        with raises(OtaError, why):
            read(signed(index(**wrong)))
    # Without a clock nothing is known of an expiry.
    assert read(signed(index(expires=1)), now=60)
    with raises(OtaError, "is outdated: serial 5, but the board has already read 6"):
        read(signed(index()), serial=6)
    assert read(signed(index()), serial=5)


def test_what_is_no_index():
    for data in (b"", b"{}", b"{}\n", b"{}\nAAAA", b"<html>", b"\xff\xfe\n\xff"):
        with raises(OtaError, "is truncated or invalid"):
            read(data)
    with patched(owner_signature, distrust=lambda *_: ", and /k is not a public key"):
        with raises(OtaError, "not signed by a trusted key, and /k is not a public key"):
            release_index.read(signed(index()), Client().config, 0)


def test_an_index_may_have_keys_of_its_own():
    """Whose owner cannot sign firmware: `keys` alone count for that."""
    asked = []

    def distrust(_data, _signature, keys):
        asked.append(keys)
        return ""

    for section, wanted in (({}, LEAST["keys"]), ({"keys": ["/i"]}, ["/i"])):
        client = Client(channel=dict(section, url="http://h/"))
        with patched(owner_signature, distrust=distrust):
            with raises(OtaError, "not signed by a trusted key"):
                release_index.read(signed(index()), client.config, 0)
        assert asked.pop() == wanted and client.config["keys"] == LEAST["keys"]


def error_of(**more):
    with raises(ConfigError) as caught:
        config.check(dict(LEAST, **more))
    return str(caught.value)


def test_the_section_is_checked():
    found = config.check(LEAST)
    assert found["dialect"] == "http_channel" and found["channel"]["track"] == "stable"
    assert found["report_interval_s"] == 3600
    assert error_of(keys=[]).startswith("keys is missing")
    assert error_of(channel={"url": "ftp://h/"}).startswith("channel.url: the URL is not")
    assert error_of(channel={"url": "https://h/"}).startswith("http.ca is missing")
    assert error_of(channel={"url": "http://h/", "interval_s": 9}).endswith("at least 10")
    assert error_of(channel={"url": "http://h/", "keys": [1]}).endswith("a list of paths")
    assert error_of(channel={"uri": "http://h/"}).startswith("channel.uri is unknown")
    assert error_of(channel={}, dialect="http_channel").startswith("channel.url")
    # Empty it is as if there were none.
    turned_off = dict(LEAST, channel={"url": ""}, mqtt={"host": "h"})
    assert config.check(turned_off)["channel"] is None
    assert config.check(turned_off)["dialect"] == "tencent"


class Owner:
    """A client as `http_channel.Link` sees it; the index is a function of the test's."""

    job = None

    def __init__(self):
        self.queue = ["version"]
        self.state = State()
        self.state.outbox = "outbox"
        self.acked = []
        self.messages = []
        self.log_lines = []

    def on_up(self):
        self.link.publish("version", "0.1", 1)

    def on_acked(self):
        self.acked.append(True)
        self.queue = self.queue[1:]

    def on_message(self, message):
        self.messages.append(message)

    def on_idle(self):
        pass

    def log(self, level, event, **fields):
        self.log_lines.append((event, fields["why"]))


def test_a_look_waits_for_a_connection_that_is_open_and_fails_into_a_wait():
    import ivota

    answers = [OtaError(-1, "down"), OtaError(-1, "down"), "message"]

    class Index:
        @staticmethod
        def fetch(_link, _owner):
            found = answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

    class Job:
        response = "open"
        work = None

    owner = Owner()
    made = dict(config.check(LEAST), retry=CONFIG["retry"])
    fetching = patched(http_channel, once=lambda name: Index)
    with fetching, Clock(ms=1000).put_into(http_channel, ivota) as clock:
        link = owner.link = http_channel.Link(made, owner)
        assert link.step() and link.up and link.waiting
        owner.job = Job()
        assert not link.step() and len(answers) == 3
        owner.job = None
        assert link.step() and not link.up and owner.log_lines == [("channel", "down")]
        first_ms = link.retry.left_ms()
        assert 0 < first_ms <= 1000 and not link.step()
        clock.advance_ms(first_ms)
        assert link.step() and link.step() and link.retry.left_ms() > first_ms // 2
        clock.advance_ms(link.retry.left_ms())
        assert link.step() and link.step()
        assert owner.acked == [True] and owner.messages == ["message"] and link.up
        # The last report of an update stays with the board.
        link.publish("report", "outbox", 1)
        assert link.step() and owner.state.last == "outbox" and owner.acked == [True, True]
        link.publish("report", "progress", 0)
        assert not link.waiting


def test_a_report_needs_any_answer_that_is_no_refusal_for_now():
    made = config.check(dict(LEAST, channel={"url": "http://h/c", "report_url": "http://h/r"}))
    for status, more in (
        ("200 OK", {}),
        ("201 Created", {"Location": "/r/17"}),
        ("201 Created", {"Location": "/" + "r" * 5000}),
        ("303 See Other", {"Location": "/thanks"}),
        ("404 Not Found", {}),
    ):
        with WebNetwork(answer(status, **more)) as network:
            http_channel.post(made, "{}")
            assert network.requests[0][1].startswith(b"POST /r HTTP/1.1"), status
            assert len(network.requests) == 1 and network.sockets[0].closed
    for status in ("429 Too Many Requests", "503 Busy"):
        with WebNetwork(answer(status)), raises(OtaError) as caught:
            http_channel.post(made, "{}")
        assert caught.value.again and caught.value.message == "report_url: HTTP %s" % status[:3]


def test_an_index_from_a_proxy_and_by_any_redirect():
    made = config.check(LEAST)
    network = WebNetwork(
        answer("300 Multiple Choices", Location="/d"),
        answer("203 Non-Authoritative Information", b"index"),
    )
    with network:
        assert release_index._get(http_channel.Link(made, Owner())) == b"index"
    with WebNetwork(answer("302 Found", Location="/" + "d" * 4096)), raises(OtaError) as caught:
        release_index._get(http_channel.Link(made, Owner()))
    assert caught.value.message == "a redirect to a URL of more than 4096 bytes"


def test_a_client_of_a_channel_needs_no_broker():
    made = update_client.Client(LEAST, "0.1", state=load("/nowhere"))
    assert isinstance(made.link, http_channel.Link) and made.dialect is http_channel
