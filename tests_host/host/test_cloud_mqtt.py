"""The cloud's MQTT side on a real mosquitto: pushes, garbage, restarts, a broker that dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cloud_support import Device
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import BackOff, Cloud, CloudError
from ivota_tools.cloud.mqtt import mosquitto_process
from ivota_tools.cloud.mqtt.cloud_session import Address, MqttSession
from ivota_tools.common.mqtt_disconnect import end
from ivota_tools.sim import Proxy

DATA = os.urandom(200_000)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    path = tmp_path_factory.mktemp("firmware") / "f.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture(scope="module")
def cloud(tmp_path_factory, firmware):
    back_off = BackOff(3600, 3600)
    with Cloud(tmp_path_factory.mktemp("cloud"), back_off=back_off) as running:
        with Client(running.api_url) as client:
            client.upload(firmware, "0.2")
        yield running


def state(api, device):
    return api.device(device.name)["state"]


def test_only_what_was_reported_after_done_is_said_to_be_so(api, device):
    device.hello("0.1")
    api.push(device.name, "0.2")
    device.update(device.expect("update_firmware"))
    number = api.device(device.name)["id"]
    wait_until(lambda: state(api, device) == "done", "done")
    assert api.why(number)["why"] == "updated to 0.2; the device has not reported that version yet"
    device.hello("0.1")
    wait_until(
        lambda: "but the device has since reported 0.1" in api.why(number)["why"], "the report"
    )
    device.hello("0.2")
    wait_until(lambda: api.why(number)["why"] == "it runs 0.2", "the target's version")


def test_a_whole_update(cloud, api, device):
    device.hello("0.1")
    assert state(api, device) == "idle"
    answer = api.push(device.name, "0.2")
    assert answer["device"]["state"] == "waiting"
    push = device.expect("update_firmware")
    assert list(push) == ["type", "version", "url", "file_size", "md5sum", "user_defined"]
    assert push["file_size"] == len(DATA) and isinstance(push["file_size"], int)
    assert push["md5sum"] == push["md5sum"].lower() and push["user_defined"]
    assert len(push["url"]) < 1000
    assert device.update(push) == DATA
    wait_until(lambda: state(api, device) == "done", "done")
    device.hello("0.2")
    device.expect_nothing(cloud)
    found = api.device(device.name)
    assert (found["version"], found["target"], found["percent"]) == ("0.2", "0.2", 100)
    reports = api.reports(found["id"])
    assert [r["state"] or r["kind"] for r in reports if r["percent"] in (None, 0)] == [
        "report_version", "downloading", "burning", "done", "report_version",
    ]  # fmt: skip
    assert [report["id"] for report in reports] == sorted(report["id"] for report in reports)
    assert reports[0]["raw"] == '{"type": "report_version", "report": {"version": "0.1"}}'
    assert not any(message.retain for message in device.raw)
    # The push is worth an acknowledgement, the answer to a report is not.
    kinds = {(json.loads(message.payload)["type"], message.qos) for message in device.raw}
    assert kinds == {("report_version_rsp", 0), ("update_firmware", 1)}


def test_a_push_after_every_report_until_done_and_none_after(cloud, api, device):
    device.hello("0.1")
    device.expect_nothing(cloud)
    api.push(device.name, "0.2")
    urls = {device.expect("update_firmware")["url"]}
    for _ in range(3):
        device.hello("0.1")
        urls.add(device.expect("update_firmware")["url"])
    assert api.device(device.name)["pushes"] == 4
    device.progress("0.2", "done", result_code="0", result_msg="")
    wait_until(lambda: state(api, device) == "done", "done")
    device.hello("0.1")
    device.expect_nothing(cloud)


def test_why_a_push_has_no_effect_is_shown(cloud, api, device):
    device.hello("0.1")
    api.push(device.name, "0.2")
    device.expect("update_firmware")
    device.fail("0.2", -1, "an earlier failure")
    device.expect_later(cloud, "update_firmware")
    known = api.device(device.name)["id"]
    assert "an earlier failure" not in api.why(known)["why"]
    for version, shown in (("0.2", True), (None, True), ("0.3", False)):
        words = f"of {version}"
        report = {"message": words, **({"version": version} if version else {})}
        payload = json.dumps({"type": "report_notice", "report": report}).encode()
        device.publish(payload)
        device.hello("0.1")
        device.expect("update_firmware")
        assert state(api, device) == "pushed" and (words in api.why(known)["why"]) == shown
        last = [each for each in api.reports(known) if each["kind"] == "report_notice"][-1]
        assert (last["version"], last["result_msg"]) == (version, words)


def test_a_device_that_reports_the_target_is_up_to_date(cloud, api, device):
    device.hello("0.2")
    assert api.push(device.name, "0.2")["device"]["state"] == "done"
    device.expect_nothing(cloud)
    device.hello("0.2")
    device.expect_nothing(cloud)


def test_a_failed_download_is_pushed_again_later(cloud, api, device):
    device.hello("0.1")
    api.push(device.name, "0.2")
    device.expect("update_firmware")
    for count, code in enumerate((-1, -2, -3, -1), 1):
        device.fail("0.2", code)
        device.expect_later(cloud, "update_firmware")
        found = api.device(device.name)
        assert (found["state"], found["failures"], found["result_code"]) == ("pushed", count, code)


def test_a_failed_update_stands_after_three(cloud, api, device):
    device.hello("0.1")
    api.push(device.name, "0.2")
    device.expect("update_firmware")
    for code in (-4, -5):
        device.fail("0.2", code, "MD5 <b>[red]")
        device.expect_later(cloud, "update_firmware")
    device.fail("0.2", -4, "MD5 <b>[red]")
    wait_until(lambda: state(api, device) == "failed", "failed")
    device.hello("0.1")
    device.expect_nothing(cloud)
    found = api.device(device.name)
    assert (found["result_code"], found["result_msg"]) == (-4, "MD5 <b>[red]")
    api.push(device.name, "0.2")  # by hand: from the start
    device.expect("update_firmware")
    assert api.device(device.name)["failures"] == 0


def test_the_end_of_a_back_off_is_seen_by_itself(tmp_path, firmware):
    with Cloud(tmp_path / "c", back_off=BackOff(0.2, 0.4)) as cloud, Client(cloud.api_url) as api:
        api.upload(firmware, "0.2")
        with Device(cloud.mqtt_port, "P", "d") as device:
            device.hello("0.1")
            api.push(device.name, "0.2")
            for _ in range(3):
                device.expect("update_firmware")
                device.fail("0.2", -1)


def test_a_device_still_to_come_gets_its_push_when_it_does(cloud, api):
    name = "P/still to come"
    with pytest.raises(ApiError, match="does not exist"):
        api.push(name, "0.2")
    assert api.push(name, "0.2", new=True)["device"]["version"] is None
    with Device(cloud.mqtt_port, *name.split("/", 1)) as device:
        device.hello("0.1")
        device.expect("update_firmware")
        device.expect_nothing(cloud)


@pytest.mark.parametrize(
    "name", ["a/b/c", "//", "sp ace", "ü-Gerät", "[red]x[/red]", "..", "%2e", "?x=1", "$SYS", "😀"]
)
def test_odd_names(cloud, api, name):
    with Device(cloud.mqtt_port, "P", name) as device:
        device.hello("0.1")
        api.push(f"P/{name}", "0.2")
        device.expect("update_firmware")
        found = api.device(f"P/{name}")
        assert found["device_name"] == name
        assert api.reports(found["id"])[0]["version"] == "0.1"


def test_one_report_wakes_only_its_device(cloud, api, device):
    with Device(cloud.mqtt_port, "P", "bystander") as other:
        other.hello("0.1")
        device.hello("0.1")
        api.push(device.name, "0.2")
        device.expect("update_firmware")
        other.expect_nothing(cloud)


def test_mqtt_3_1_is_served(cloud):
    with Device(cloud.mqtt_port, "P", "old", client_id="old", protocol=mqtt.MQTTv31) as device:
        device.hello("0.1")


def test_hostile_messages_are_counted_and_change_nothing(cloud, api, device):
    device.hello("0.1")
    before = api.health()["counters"]
    garbage = [b"", b"\xff" * 100, b"[" * 60_000, b"{}", b"null", b"\0", os.urandom(4000)]
    for version in (b'"\\ud800"', b'"' + b"x" * 1000 + b'"', b"1"):
        garbage.append(b'{"type":"report_version","report":{"version":%b}}' % version)
    for payload in garbage:
        device.publish(payload)
    device.publish(b'{"type":"what"}')
    for topic in ("$ota/report/P", "$ota/report/", "$ota/report//x", "$ota/report/P/" + "n" * 200):
        device.publish(b'{"type":"report_version","report":{"version":"1"}}', topic=topic)
    device.retain(b'{"type":"report_version","report":{"version":"9"}}')
    device.expect("report_version_rsp")  # to a subscriber the retained one comes as any other
    device.retain(b"")

    def grown():
        now = api.health()["counters"]
        return {key: now[key] - before.get(key, 0) for key in ("garbled", "unknown", "stray")}

    # The empty payload that removes the retained message is one more that is no JSON.
    expected = {"garbled": len(garbage) + 1, "unknown": 1, "stray": 4}
    wait_until(lambda: grown() == expected or sum(grown().values()) > 15, "the counting")
    assert grown() == expected
    device.hello("0.1")
    found = api.device(device.name)
    assert found["garbled"] == expected["garbled"] and found["version"] == "0.1"
    assert "[" * 4096 in [report["raw"] for report in api.reports(found["id"])]


def test_junk_is_bounded(cloud, api, device):
    device.hello("0.1")
    for number in range(1500):
        device._client.publish("$ota/report/P", b"%d" % number, 0)
        device._client.publish(f"$ota/report/{device.name}", b"%d" % number, 0)
    device.hello("0.1")
    wait_until(lambda: api.health()["counters"].get("stray", 0) >= 1500, "the last of it")
    reports = api.reports(api.device(device.name)["id"])
    junk = [report for report in reports if report["kind"] == "garbled"]
    assert 400 <= len(junk) <= 1000 and junk[-1]["raw"] == "1499"
    assert len([report for report in reports if report["kind"] == "report_version"]) == 2


def test_qos_0_when_asked_for(tmp_path, firmware):
    with Cloud(tmp_path / "c", push_qos=0) as cloud, Client(cloud.api_url) as client:
        client.upload(firmware, "0.2")
        with Device(cloud.mqtt_port, "P", "d") as device:
            device.hello("0.1")
            client.push("P/d", "0.2")
            device.expect("update_firmware")
            assert [message.qos for message in device.raw] == [0, 0]


def test_the_broker_can_be_someone_elses(cloud, tmp_path, firmware):
    with Cloud(tmp_path / "c", broker=f"127.0.0.1:{cloud.mqtt_port}") as second:
        assert second.mqtt_port == cloud.mqtt_port
        assert not (tmp_path / "c" / "mosquitto").exists()
        with Device(cloud.mqtt_port, "P", "both") as device, Client(second.api_url) as client:
            device.report_version("0.1")
            wait_until(client.devices, "the report")


def test_nobody_at_the_broker(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(CloudError, match=f"cannot reach an MQTT broker at 127.0.0.1:{port}"):
            Cloud(tmp_path / "c", broker=f"127.0.0.1:{port}").start()


def test_a_broker_that_refuses(tmp_path):
    """The connection, or the subscription: a cloud that hears nothing must not seem to run."""
    for answers, words in (
        ((b"\x20\x02\0\x05",), r"rejected the connection \(Not authorized\)"),
        ((b"\x20\x02\0\0", b"\x90\x03\0\x01\x80"), r"rejected the subscription to \$ota/report/"),
    ):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve(server=server, answers=answers):
                with server.accept()[0] as link:
                    for answer in answers:
                        link.recv(1000)
                        link.sendall(answer)
                    link.recv(1000)

            thread = threading.Thread(target=serve)
            thread.start()
            session = MqttSession(Address(*server.getsockname()), "c", lambda message: None)
            with pytest.raises(CloudError, match=words):
                session.start(timeout_s=3600)  # nobody waits for it
            assert not session.connected
            thread.join()


def test_taken_ports(cloud, tmp_path):
    with pytest.raises(CloudError, match="--mqtt-port"):
        Cloud(tmp_path / "c", mqtt_port=cloud.mqtt_port).start()
    with pytest.raises(CloudError, match="--port"):
        Cloud(tmp_path / "c", http_port=cloud.http_port).start()


def test_what_is_kept_is_private(cloud):
    assert (cloud.folder / "ivota.db").stat().st_mode & 0o077 == 0
    assert (cloud.folder / "ivota.db-wal").stat().st_mode & 0o077 == 0
    for folder in ("firmware", "mosquitto"):
        assert (cloud.folder / folder).stat().st_mode & 0o077 == 0


def test_ipv6(tmp_path):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with Cloud(tmp_path, host="::1") as cloud, Client(cloud.api_url) as client:
        assert client.health()["ok"]


def test_reports_of_a_time_without_us_are_not_lost(tmp_path, firmware):
    """The session persists at the broker: what came while the cloud was away comes afterwards."""
    with Cloud(tmp_path / "host") as broker:
        where = f"127.0.0.1:{broker.mqtt_port}"
        with Cloud(tmp_path / "c", broker=where):
            pass
        with Device(broker.mqtt_port, "P", "d") as device:
            for number in range(300):
                device.report_version(f"0.{number}")
        with Cloud(tmp_path / "c", broker=where) as cloud, Client(cloud.api_url) as client:
            wait_until(lambda: client.devices() and client.devices()[0]["version"] == "0.299")
            reports = client.reports(1)
            assert [r["version"] for r in reports] == [f"0.{n}" for n in range(300)]


def test_a_report_is_acknowledged_only_once_it_is_stored(tmp_path, monkeypatch):
    """While the database refuses, the broker keeps the report; then it is stored, once."""
    from sqlalchemy.exc import OperationalError

    from ivota_tools.cloud.mqtt import report_worker

    real = report_worker.take_in
    refusing = True
    refused = []

    def take_in(*arguments, **options):
        if refusing:
            refused.extend(arguments[1])
            raise OperationalError("insert", {}, Exception("disk full"))
        return real(*arguments, **options)

    monkeypatch.setattr(report_worker, "take_in", take_in)
    with Cloud(tmp_path / "host") as broker:
        where = f"127.0.0.1:{broker.mqtt_port}"
        with Cloud(tmp_path / "c", broker=where):
            with Device(broker.mqtt_port, "P", "d") as device:
                device.report_version("0.1")
            wait_until(lambda: refused, "the refusal")
        refusing = False
        with Cloud(tmp_path / "c", broker=where) as cloud, Client(cloud.api_url) as client:
            wait_until(client.devices, "the report")
            assert len(client.reports(1)) == 1


def test_a_broker_that_dies_is_noticed(tmp_path):
    with Cloud(tmp_path / "c") as cloud:
        supervisor = cloud._broker.process._process.pid
        listed = subprocess.run(
            ["ps", "-o", "pid=,comm=", "--ppid", str(supervisor)], capture_output=True, text=True
        ).stdout.split("\n")
        pid = next(int(line.split()[0]) for line in listed if line and "sh" not in line.split()[1])
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(CloudError, match="mosquitto ended by signal 9"):
            cloud.wait(WAIT_S)
        with Client(cloud.api_url) as client:
            health = client.health()
        assert health["ok"] is False and "mosquitto" in health["problem"]


def test_a_free_port_that_another_program_takes_is_replaced(tmp_path, monkeypatch):
    """Before the broker starts, and between the check and mosquitto's own start."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)):
        taken = one.getsockname()[1]
        ports = [taken, taken, 0]
        choose = mosquitto_process._free_port
        monkeypatch.setattr(
            mosquitto_process, "_free_port", lambda host: ports.pop(0) or choose(host)
        )
        checked = mosquitto_process.Broker._refuse_taken_port
        monkeypatch.setattr(
            mosquitto_process.Broker,
            "_refuse_taken_port",
            lambda self, host: ports and checked(self, host),
        )
        with mosquitto_process.Broker(tmp_path, "127.0.0.1", 0, print) as broker:
            assert broker.port != taken and not ports
        with pytest.raises(CloudError, match="cannot listen on MQTT port|did not start"):
            mosquitto_process.Broker(tmp_path, "127.0.0.1", taken, print).start()


def test_the_broker_does_not_outlive_a_killed_cloud(tmp_path):
    """The next one starts when it has ended, because it deletes its socket, of the same path."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ivota_tools.cloud import Cloud\n"
        "cloud = Cloud(Path(sys.argv[1])); cloud.start()\n"
        "print(cloud.mqtt_port, flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True
    )
    port = int(process.stdout.readline())
    socket.create_connection(("127.0.0.1", port)).close()
    reserved = tmp_path / "c" / "mosquitto" / "reserved"
    assert reserved.stat().st_blocks * 512 >= mosquitto_process.RESERVE
    pid = int((reserved.parent / "mosquitto.pid").read_text())
    os.kill(pid, signal.SIGSTOP)  # it takes its time
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not reserved.exists(), "room for what it has to store")
    threading.Timer(1, os.kill, (pid, signal.SIGCONT)).start()
    with Cloud(tmp_path / "c", mqtt_port=port) as cloud:
        wait_until(lambda: not is_running(pid), "the end of mosquitto")
        with Device(cloud.mqtt_port, "P", "d") as device, Client(cloud.api_url) as client:
            device.report_version("0.1")
            wait_until(client.devices, "the report")
            with socket.socket(socket.AF_UNIX) as local:
                local.connect(str(reserved.parent / "broker.sock"))


def is_running(pid):
    """Whether the process exists, and is not one that has ended without a parent to ask."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_the_session_survives_a_broker_that_restarts(tmp_path, firmware):
    """With a broker of its own, which the cloud only meets again."""
    first = Cloud(tmp_path / "host")
    first.start()
    port = first.mqtt_port
    with Cloud(tmp_path / "c", broker=f"127.0.0.1:{port}") as cloud:
        first.stop()
        with Client(cloud.api_url) as client:
            wait_until(lambda: not client.health()["mqtt_connected"], "the loss")
            assert not client.health()["ok"]
            with Cloud(tmp_path / "host", mqtt_port=port):
                wait_until(lambda: client.health()["mqtt_connected"], "the reconnection")
                with Device(port, "P", "d") as device:
                    device.hello("0.1")
                    wait_until(client.devices, "the report")
                    assert client.device("P/d")["version"] == "0.1"


@pytest.mark.slow
def test_a_shared_broker_knows_consoles_apart(tmp_path):
    """Two with one client id would throw each other out, and connect again for each answer."""
    with Cloud(tmp_path / "a") as first, Proxy("127.0.0.1", first.mqtt_port) as proxy:
        with Cloud(tmp_path / "b", broker=f"127.0.0.1:{proxy.port}") as second:
            with Device(first.mqtt_port, "P", "dev") as device:
                for version in ("0.1", "0.2", "0.3"):
                    device.report_version(version)
                    for _ in (first, second):
                        assert device.expect("report_version_rsp")["version"] == version
            assert len(proxy.connections) == 1
            for running in (first, second):
                with Client(running.api_url) as client:
                    assert client.health()["ok"]


@pytest.mark.slow
def test_a_flood_is_taken_in_whole(cloud, api, device):
    """QoS 1 beyond the default limits of mosquitto: none is dropped."""
    count = 3000
    device.hello("0.1")
    for number in range(count):
        report = {"type": "report_version", "report": {"version": f"1.{number}"}}
        device._client.publish(f"$ota/report/{device.name}", json.dumps(report), 1)
    wait_until(lambda: api.device(device.name)["version"] == f"1.{count - 1}", "all")
    reports = api.reports(api.device(device.name)["id"])
    assert [r["version"] for r in reports[1:]] == [f"1.{n}" for n in range(count)]


def test_a_client_whose_thread_ends_first_is_ended_too(cloud, monkeypatch):
    """On a busy machine the thread of a client that has left ends while it is looked for."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    may_end = threading.Event()
    client.on_disconnect = lambda *_: may_end.wait(WAIT_S)  # in the thread that is to end
    client.connect("127.0.0.1", cloud.mqtt_port)
    client.loop_start()
    me, current = threading.get_ident(), threading.current_thread
    looked = []

    def late():
        # Between paho's look for its thread and its join.
        if threading.get_ident() == me:
            may_end.set()
            looked.append(wait_until(lambda: client._thread is None, "the end of the thread"))
        return current()

    monkeypatch.setattr(threading, "current_thread", late)
    end(client)
    assert looked and client._thread is None
