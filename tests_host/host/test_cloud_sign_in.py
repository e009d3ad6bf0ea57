"""Sign-in by the vendor's HMAC, at the front before a real broker."""

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cloud_support import Device
from paho.mqtt.enums import CallbackAPIVersion
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.accounts import token_guess_delay
from ivota_tools.cloud.connection_limit import Room
from ivota_tools.cloud.mqtt import device_sign_in, sign_in_proxy, subscribe_limits
from ivota_tools.cloud.mqtt.device_budget import Budget
from ivota_tools.cloud.store import models

BAD_PASSWORD = 134
SECRET = base64.b64encode(b"the device's secret").decode()


def signed(client_id, secret=SECRET, method="sha256", expiry=None, app="12010126"):
    """(user name, password), made as the vendor's documents say, independent of our code."""
    expiry = int(time.time() + 600) if expiry is None else expiry
    user = f"{client_id};{app};A1b2C;{expiry}"
    digest = hmac.new(base64.b64decode(secret), user.encode(), getattr(hashlib, method))
    return user, f"{digest.hexdigest()};hmac{method}"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    (folder / "f.bin").write_bytes(b"x" * 1000)
    with Cloud(folder / "c", sign_in=True) as running, Client(running.api_url) as api:
        api.upload(folder / "f.bin", "0.2")
        for name in ("PROD/dev", "PROD/other", "PROD/nosecret"):
            number = api.push(name, "0.2", new=True)["device"]["id"]
            if name != "PROD/nosecret":
                api.set_secret(number, SECRET)
        yield running


class Signed(Device):
    """A device that gives a user name and a password, with the client id that belongs to them."""

    def __init__(self, port, name, user, password, **options):
        self._words = user, password
        real = mqtt.Client.connect

        def connect(client, *arguments):
            client.username_pw_set(user, password)
            return real(client, *arguments)

        mqtt.Client.connect, product = connect, "PROD"
        try:
            super().__init__(port, product, name, client_id=product + name, **options)
        finally:
            mqtt.Client.connect = real


@pytest.mark.parametrize("method", ["sha256", "sha1"])
@pytest.mark.parametrize("protocol", [mqtt.MQTTv31, mqtt.MQTTv311])
def test_a_signed_device_is_served(cloud, method, protocol):
    user, password = signed("PRODdev", method=method)
    with Signed(cloud.mqtt_port, "dev", user, password, protocol=protocol) as device:
        device.hello("0.1")
        device.expect("update_firmware")


def answer(port, client_id, user, password, **options):
    """What CONNACK says, in the numbers of MQTT 5; None where the connection is just closed."""
    answers = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, **options)
    if user is not None:
        client.username_pw_set(user, password)
    client.on_connect = lambda _c, _d, _f, reason, _p: answers.append(reason.value)
    client.connect("127.0.0.1", port)
    deadline = time.monotonic() + WAIT_S
    while not answers and client.loop(0.1) == mqtt.MQTT_ERR_SUCCESS:
        assert time.monotonic() < deadline, "neither an answer nor an end"
    return answers[0] if answers else None


def test_who_is_refused(cloud):
    good, other = "PRODdev", base64.b64encode(b"another secret").decode()
    assert answer(cloud.mqtt_port, good, *signed(good)) == 0
    user, password = signed(good)
    for words in (
        (None, None),
        ("", ""),
        (user, ""),
        (user, ("1" if password[0] == "0" else "0") + password[1:]),
        (user, password.replace("sha256", "md5")),
        (user.replace("A1b2C", "A1b2D"), password),
        (user + ";", password),
        signed(good, other),
        signed(good, expiry=int(time.time()) - 1),
        signed(good, expiry="١٢٣"),
        signed("PRODother"),  # somebody else's
    ):
        assert answer(cloud.mqtt_port, good, *words) == BAD_PASSWORD, words
    assert answer(cloud.mqtt_port, "PRODnosecret", *signed("PRODnosecret")) == BAD_PASSWORD
    assert answer(cloud.mqtt_port, "PRODnobody", *signed("PRODnobody")) == BAD_PASSWORD


@pytest.mark.parametrize(
    "options",
    [
        {"app": "21010406"},  # another SDK of the vendor's
        {"expiry": 2**63 - 1},
        {"expiry": "1e30"},
        {"expiry": "9999999999.5"},
        {"expiry": ""},
        {"expiry": "never"},
    ],
)
def test_other_clients_words_are_taken(cloud, options):
    """The signature is over all of them: what they say is the device's own affair."""
    assert answer(cloud.mqtt_port, "PRODdev", *signed("PRODdev", **options)) == 0


def test_a_device_keeps_to_its_own_topics(cloud):
    """It cannot speak for another, nor listen to what is said to another."""
    name = "PROD/other"
    with Client(cloud.api_url) as api:
        before = len(api.reports(api.device(name)["id"]))
        with Signed(cloud.mqtt_port, "dev", *signed("PRODdev")) as device:
            device._client.subscribe(f"$ota/update/{name}", 1)
            device._client.subscribe("$ota/#", 1)
            report = {"type": "report_version", "report": {"version": "6.6"}}
            device.publish(json.dumps(report).encode(), topic=f"$ota/report/{name}")
            device.hello("0.1")
            with Signed(cloud.mqtt_port, "other", *signed("PRODother")) as other:
                other.hello("0.1")
                other.expect("update_firmware")
            # The broker delivers in order what one client publishes: this last.
            cloud._worker.session.publish("$ota/update/PROD/dev", b'{"type": "the last"}', 1)
            wait_until(lambda: b"the last" in device.raw[-1].payload, "the last message")
            assert {message.topic for message in device.raw} == {"$ota/update/PROD/dev"}
        versions = [r["version"] for r in api.reports(api.device(name)["id"])[before:]]
        assert versions == ["0.1"]


def test_a_secret_must_be_one(cloud):
    with Client(cloud.api_url) as api:
        number = api.device("PROD/dev")["id"]
        with pytest.raises(ApiError, match="base64"):
            api.set_secret(number, "no base64!")
        assert "secret" not in api.device("PROD/dev")
        assert SECRET not in json.dumps(api.audit())


def test_a_will_and_a_large_stream_pass_through(cloud):
    user, password = signed("PRODdev")
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="PRODdev")
    client.username_pw_set(user, password)
    client.will_set(
        "$ota/report/PROD/dev", b'{"type":"report_version","report":{"version":"w"}}', 1
    )
    client.connect("127.0.0.1", cloud.mqtt_port)
    client.loop_start()
    for number in range(200):
        client.publish("$ota/report/PROD/dev", bytes([65 + number % 26]) * 20_000, 1)
    with Client(cloud.api_url) as api:
        wait_until(lambda: api.device("PROD/dev")["garbled"] >= 200, "all of it")
        client._sock_close()  # no DISCONNECT: the broker says what was left with it
        client.loop_stop()
        wait_until(lambda: api.device("PROD/dev")["version"] == "w", "the will")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\x00",
        b"\x10\xff\xff\xff\xff\xff",
        b"\x10\xff\xff\x7f" + b"x" * 100,
        b"\x10\x02\xff\xff",
        b"\x10\x0a\x00\x04MQTT\x04\xc2\x00\x00",
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x05",
        bytes(100),
    ],
)
def test_what_is_no_connect_is_cut(cloud, data):
    with socket.create_connection(("127.0.0.1", cloud.mqtt_port), timeout=WAIT_S) as link:
        link.sendall(data)
        try:
            assert link.recv(100) == b""
        except ConnectionResetError:
            pass
    assert answer(cloud.mqtt_port, "PRODdev", *signed("PRODdev")) == 0


def test_mqtt_5_is_told_so(cloud):
    with socket.create_connection(("127.0.0.1", cloud.mqtt_port), timeout=WAIT_S) as link:
        link.sendall(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00")
        assert link.recv(10) == b"\x20\x02\x00\x01"


def test_a_signature_is_good_until_its_expiry():
    user, password = signed("PRODdev", expiry=2000000000)
    digest, _, method = password.partition(";")
    for words in (password, f"{digest.upper()};{method}"):
        assert device_sign_in.is_signed("PRODdev", user, words, SECRET, 1999999999.9)
    assert not device_sign_in.is_signed("PRODdev", user, password, SECRET, 2000000000)


def test_a_flood_costs_its_sender_alone(tmp_path, caplog):
    """Of what others were told is taken, nothing is lost; what the flood may not send never
    reaches the broker.
    """
    few = Budget(packets_per_s=50, packets_burst=50)
    with Cloud(tmp_path, sign_in=True, budget=few) as cloud, Client(cloud.api_url) as api:
        for name in ("PROD/dev", "PROD/other"):
            api.set_secret(add(cloud, name), SECRET)
        flood = threading.Thread(target=send_flood, args=(cloud.mqtt_port, 30_000))
        flood.start()
        with Signed(cloud.mqtt_port, "other", *signed("PRODother")) as other:
            for number in range(20):
                other.report_version(f"0.{number}")
        flood.join()
        other, dev = api.device("PROD/other"), api.device("PROD/dev")
        wait_until(lambda: len(api.reports(other["id"])) == 20, "all that was acknowledged")
        wait_until(lambda: api.device("PROD/dev")["flooded_at"], "the mark of the flood")
        assert api.device("PROD/other")["flooded_at"] is None
        assert len(api.reports(dev["id"])) < 30_000 / 2
    assert sum("exceeds its rate limit" in line for line in caplog.messages) == 1


def add(cloud, name):
    with Client(cloud.api_url) as api:
        if not api.firmware():
            (cloud.folder / "f").write_bytes(b"x")
            api.upload(cloud.folder / "f", "0.2")
        number = api.push(name, "0.2", new=True)["device"]["id"]
        with contextlib.suppress(ApiError):
            api.cancel_device(number)
        return number


def send_flood(port, count):
    """That many reports with QoS 0 of PROD/dev, over a plain socket."""
    user, password = (word.encode() for word in signed("PRODdev"))
    body = b"\0\4MQTT\4\xc2\0\x3c"
    for word in (b"PRODdev", user, password):
        body += len(word).to_bytes(2, "big") + word
    topic = b"$ota/report/PROD/dev"
    text = b'{"type":"report_version","report":{"version":"6"}}'
    one = b"\x30" + bytes([2 + len(topic) + len(text)])
    one += len(topic).to_bytes(2, "big") + topic + text
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as link:
        link.sendall(b"\x10" + bytes([0x80 | len(body) & 0x7F, len(body) >> 7]) + body)
        assert link.recv(4) == b"\x20\2\0\0"
        for _ in range(count // 1000):
            link.sendall(1000 * one)
        link.sendall(b"\xe0\0")
        while link.recv(100):
            pass


def test_silent_connections_give_way(tmp_path):
    """To whoever signs in; and those of devices that have are kept."""
    with Cloud(tmp_path, sign_in=True, room=Room(16, 16)) as cloud, Client(cloud.api_url) as api:
        for name in ("PROD/dev", "PROD/other"):
            api.set_secret(add(cloud, name), SECRET)
        with Signed(cloud.mqtt_port, "dev", *signed("PRODdev")) as device:
            with contextlib.ExitStack() as stack:
                for _ in range(200):
                    address = "127.0.0.1", cloud.mqtt_port
                    stack.enter_context(socket.create_connection(address, timeout=WAIT_S))
                assert answer(cloud.mqtt_port, "PRODother", *signed("PRODother")) == 0
                assert len(cloud._broker.front.table) <= 16
                device.hello("0.1")


def test_another_secret_cuts_the_connection(cloud):
    name, number = "PROD/cut", add(cloud, "PROD/cut")
    with Client(cloud.api_url) as api:
        api.set_secret(number, SECRET)
        for secret in (base64.b64encode(b"one that is another").decode(), None):
            with Signed(cloud.mqtt_port, "cut", *signed("PRODcut")) as device:
                device.hello("0.1")
                device._client.reconnect_delay_set(600)
                gone = threading.Event()
                device._client.on_disconnect = lambda *_, gone=gone: gone.set()
                if secret:
                    api.set_secret(number, secret)
                else:
                    api.remove_secret(number)
                assert gone.wait(WAIT_S), name
            api.set_secret(number, SECRET)


def test_there_is_no_other_door(cloud):
    """The broker behind listens on a Unix socket, in a folder that is its owner's alone."""
    broker = cloud._broker.process
    assert broker.host is None and broker.path.is_socket()
    assert broker.path.parent.stat().st_mode & 0o077 == 0
    pid = broker._process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    inodes = {
        link[8:-1]
        for child in (pid, *children)
        for fd in Path(f"/proc/{child}/fd").iterdir()
        if (link := str(fd.readlink())).startswith("socket:")
    }
    assert inodes, "not even the Unix socket"
    tables = "".join(Path("/proc/net", name).read_text() for name in ("tcp", "tcp6"))
    listening = {row[9] for line in tables.splitlines() if (row := line.split())[3] == "0A"}
    assert listening and not listening & inodes


def test_devices_that_are_written_alike_have_their_own_sessions(cloud):
    """`ab/c` and `a/bc` have one client id in the vendor's rule: neither cuts the other.

    No two such devices can be made any more; a database may have them from before.
    """
    with cloud.database.writing() as session:
        for product, name in (("ab", "c"), ("a", "bc")):
            secret = base64.b64encode(f"the secret of {product}/{name}".encode()).decode()
            session.add(models.Device(product_id=product, device_name=name, secret=secret))
    first = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="abc")
    first.username_pw_set(*signed("abc", base64.b64encode(b"the secret of ab/c").decode()))
    lost = []
    first.on_disconnect = lambda *_: lost.append(1)
    first.connect("127.0.0.1", cloud.mqtt_port)
    first.loop_start()
    wait_until(first.is_connected, "the first")
    words = signed("abc", base64.b64encode(b"the secret of a/bc").decode())
    assert answer(cloud.mqtt_port, "abc", *words) == 0
    wait_until(lambda: len(cloud._broker.front.table) == 1, "the end of the second")
    assert first.is_connected() and not lost
    first.disconnect()
    first.loop_stop()


@pytest.mark.parametrize(
    "name, secret, words",
    [
        ("PROD/dev", "AA==", "16 to 192 bytes"),
        ("PROD/dev", base64.b64encode(bytes(15)).decode(), "16 to 192 bytes"),
        ("PROD/a;b", SECRET, "semicolon"),
    ],
)
def test_secrets_that_cannot_be(cloud, name, secret, words):
    number = add(cloud, name) if ";" not in name else None
    with Client(cloud.api_url) as api:
        if number is None:
            with pytest.raises(ApiError, match=words):
                add(cloud, name)
        else:
            with pytest.raises(ApiError, match=words):
                api.set_secret(number, secret)


def test_a_refused_sign_in_leaves_a_trace(tmp_path, monkeypatch):
    monkeypatch.setattr(token_guess_delay, "NOTE_S", 1e9)  # the minute may pass on a busy machine
    with Cloud(tmp_path, sign_in=True) as cloud, Client(cloud.api_url) as api:

        def traces():
            return [a for a in api.audit() if a["action"] == "device sign-in refused"]

        assert answer(cloud.mqtt_port, "PRODdev", "PRODdev;1;2;3", "guess") == BAD_PASSWORD
        assert wait_until(traces, "a trace")[0]["subject"] == "127.0.0.1"
        # However many there are, it is one line a minute.
        for _ in range(3):
            answer(cloud.mqtt_port, "PRODdev", "PRODdev;1;2;3", "guess")
        assert len(traces()) == 1


def test_our_broker_only(tmp_path):
    with pytest.raises(CloudError, match="--sign-in"):
        Cloud(tmp_path, broker="127.0.0.1:1", sign_in=True)


def raw_connect(port, name="PROD/dev", will=b"", clean=True):
    """A signed-in connection, and what the broker answered."""
    client_id = name.replace("/", "", 1)
    user, password = signed(client_id)
    words = [client_id.encode(), user.encode(), password.encode()]
    if will:
        words[1:1] = [f"$ota/report/{name}".encode(), will]
    flags = 0xC0 | (2 if clean else 0) | (0x0C if will else 0)
    body = b"\0\4MQTT\4" + bytes([flags]) + b"\0\x3c"
    body += b"".join(len(word).to_bytes(2, "big") + word for word in words)
    link = socket.create_connection(("127.0.0.1", port), timeout=20)
    link.sendall(b"\x10" + bytes([0x80 | len(body) & 0x7F, len(body) >> 7]) + body)
    return link, link.recv(4)


def subscribe(link, filters):
    body = b"\0\1" + b"".join(len(f).to_bytes(2, "big") + f.encode() + b"\1" for f in filters)
    link.sendall(b"\x82" + bytes([0x80 | len(body) & 0x7F, len(body) >> 7]) + body)
    with contextlib.suppress(ConnectionError):
        return link.recv(400)
    return b""


def test_a_device_cannot_fill_the_broker_with_subscriptions(tmp_path):
    """The broker stores filters that it delivers nothing for, and keeps them in its file."""
    filters = [f"filter/{number}" for number in range(99)]
    with Cloud(tmp_path, sign_in=True) as cloud, Client(cloud.api_url) as api:
        api.set_secret(add(cloud, "PROD/dev"), SECRET)
        link, connack = raw_connect(cloud.mqtt_port, clean=False)
        with link:
            assert connack == b"\x20\2\0\0"
            suback = subscribe(link, [*filters, "$ota/update/PROD/+"])
            assert suback[2:] == b"\0\1" + 100 * b"\1"
            cloud._worker.session.publish("$ota/update/PROD/dev", b"heard", 1)
            assert b"heard" in link.recv(400)
            assert subscribe(link, [*filters, "one", "two"]) == b""
    stored = (tmp_path / "mosquitto" / "mosquitto.db").read_bytes()
    assert b"$ota/update/PROD/dev" in stored and b"filter/" not in stored


@pytest.mark.parametrize("rest", [b"", b"\0", b"\0\5a\1", b"\0\1\xff\1", b"\0\1a"])
def test_a_broken_subscribe_is_no_subscribe(rest):
    whole = b"\0\1\0\1a\0" + rest
    data = bytes([subscribe_limits.SUBSCRIBE, len(whole)]) + whole
    if rest:
        with pytest.raises(subscribe_limits.SubscribeError):
            subscribe_limits.only_own(data, "$ota/update/P/d")
    else:
        assert subscribe_limits.only_own(data, "a") == data


def test_wills_are_within_the_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(sign_in_proxy, "CONNECT_S", 0.5)
    will = b'{"type":"report_version","report":{"version":"w"}}'
    few = Budget(packets_per_s=0.001, packets_burst=3)
    with Cloud(tmp_path, sign_in=True, budget=few) as cloud, Client(cloud.api_url) as api:
        number = add(cloud, "PROD/dev")
        api.set_secret(number, SECRET)
        answers = []
        for _ in range(5):
            link, connack = raw_connect(cloud.mqtt_port, will=will)
            answers.append(connack[3:])
            link.close()
        assert answers == 3 * [b"\0"] + 2 * [b""]
        wait_until(lambda: len(api.reports(number)) == 3, "the wills that it was let leave")
        wait_until(lambda: api.device("PROD/dev")["flooded_at"], "the mark of the flood")


def test_a_device_that_stops_reading_is_cut(tmp_path, monkeypatch):
    """Else the broker keeps all that it has for it."""
    monkeypatch.setattr(sign_in_proxy, "STALLED_S", 0.5)
    with Cloud(tmp_path, sign_in=True) as cloud, Client(cloud.api_url) as api:
        api.set_secret(add(cloud, "PROD/dev"), SECRET)
        link, _ = raw_connect(cloud.mqtt_port)
        with link:
            assert subscribe(link, ["$ota/update/PROD/dev"])
            assert len(cloud._broker.front.table) == 1
            for _ in range(200):
                cloud._worker.session.publish("$ota/update/PROD/dev", bytes(60_000), 0)
            wait_until(lambda: not len(cloud._broker.front.table), "the end of the connection")
