"""The HTTP API: uploads, pushes, who may ask, and the stream of events."""

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import threading

import esp32_images
import httpx
import pytest
import sqlalchemy as sa
from cloud_support import Answer, Device, exchange
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.accounts.authorization import check_exposure
from ivota_tools.cloud.api import events
from ivota_tools.cloud.mqtt.cloud_session import Address
from ivota_tools.cloud.store import firmware_store, models
from ivota_tools.firmware import bundle
from ivota_tools.firmware.signed_file import Signer
from ivota_tools.firmware.signing_keys import generate, load_private
from ivota_tools.sim.esp32_image import make_image

S3CRET = "ivota_0123456789abcdefghijklmnopqrstuv"


def make_bundle(version="0.2", application="blinky"):
    return bundle.build({"app.py": os.urandom(5000)}, application, version)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with Cloud(tmp_path_factory.mktemp("cloud"), upload_most=1_000_000) as running:
        yield running


@pytest.fixture
def http(cloud):
    with httpx.Client(base_url=cloud.api_url + "/api/v1", timeout=WAIT_S) as client:
        yield client


def stored(cloud):
    return sorted(path.name for path in (cloud.folder / "firmware").iterdir())


# -- uploads --------------------------------------------------------------------------------


def test_an_upload_is_kept_as_it_came(cloud, api, tmp_path):
    data = make_bundle("u1")
    (tmp_path / "x.bin").write_bytes(data)
    answer = api.upload(tmp_path / "x.bin")
    found = answer["firmware"]
    assert answer["warnings"] == []
    assert (found["version"], found["application"], found["kind"]) == ("u1", "blinky", "bundle")
    assert found["size"] == len(data)
    assert found["md5"] == hashlib.md5(data).hexdigest()
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert (cloud.folder / "firmware" / f"{found['sha256']}.bin").read_bytes() == data
    assert found in api.firmware()
    again = api.upload(tmp_path / "x.bin", "u1")
    assert again["firmware"]["id"] == found["id"]


def test_a_long_version_is_warned_of(api, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x")
    assert "21 characters" in api.upload(tmp_path / "x.bin", "v" * 21)["warnings"][0]


ONE_DEVICES = bundle.build({"app.py": b"", "config.json": b'{"device_name": "d"}'}, "a", "0.2")


@pytest.mark.parametrize(
    "data, version, status, words",
    [
        (b"", "1", 422, "empty"),
        (b"image", None, 422, "does not contain its version"),
        (b"image", "", 422, "1 to 32"),
        (b"image", "x" * 33, 422, "1 to 32"),
        (b"image", "a\nb", 422, "control"),
        (make_bundle("0.2"), "0.3", 422, "'0.2'"),
        (make_bundle("0.2")[:-1500], "0.2", 422, "damaged"),
        (ONE_DEVICES, None, 422, "config.json sets device_name"),
        (b"x" * 1_000_001, "1", 413, "the maximum is 1000000 bytes"),
        (b"\x1f\x8b" + bytes(100), "1", 422, ".gz file: unpack it"),
        (b"PK\x03\x04" + bytes(100), "1", 422, ".zip file: unpack it"),
        (esp32_images.combined(make_image("1")), "1", 422, "only the application"),
        (make_image("1", size=9_000)[:-100], "1", 422, "truncated"),
    ],
)
def test_refused_uploads_leave_nothing(cloud, http, data, version, status, words):
    before = stored(cloud)
    params = {} if version is None else {"version": version}
    answer = http.post("/firmware", params=params, content=data)
    assert answer.status_code == status and words in answer.json()["detail"]
    assert stored(cloud) == before


def test_an_upload_without_a_length_is_limited_too(cloud, http):
    before = stored(cloud)
    answer = http.post(
        "/firmware", params={"version": "1"}, content=(b"x" * 65536 for _ in range(30))
    )
    assert answer.status_code == 413
    assert stored(cloud) == before


def test_an_upload_that_breaks_off_leaves_nothing(cloud):
    before = stored(cloud)
    with socket.create_connection(("127.0.0.1", cloud.http_port)) as link:
        link.sendall(
            b"POST /api/v1/firmware?version=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000
        )
        wait_until(lambda: stored(cloud) != before, "the beginning")
    wait_until(lambda: stored(cloud) == before, "the tidying up")


@pytest.mark.parametrize("size", [100, 100_000])
def test_an_upload_for_which_the_disk_is_too_full_leaves_nothing(cloud, http, monkeypatch, size):
    """Also a small one, which is only written when it is whole."""
    before = stored(cloud)

    class Upload(firmware_store.Upload):
        def __enter__(self):
            self._file.close()
            self._file = open("/dev/full", "wb")
            return super().__enter__()

    monkeypatch.setattr(firmware_store, "Upload", Upload)
    answer = http.post("/firmware", params={"version": "1"}, content=bytes(size))
    assert answer.status_code == 507 and "No space left" in answer.json()["detail"]
    assert stored(cloud) == before


# -- pushes ---------------------------------------------------------------------------------


def test_what_cannot_be_pushed(cloud, api, http, tmp_path):
    with Device(cloud.mqtt_port, "P", "pushed") as device:
        device.hello("0.1")
        with pytest.raises(ApiError, match="firmware 'none' does not exist") as caught:
            api.push("P/pushed", "none")
        assert caught.value.status == 404
        (tmp_path / "x.bin").write_bytes(b"x")
        api.upload(tmp_path / "x.bin", "p1")
        for name in ("P/nobody", "nobody", "", "/"):
            with pytest.raises(ApiError, match="does not exist: .* --new sets a target"):
                api.push(name, "p1")
            with pytest.raises(ApiError, match="does not exist: list the devices .*devices`$"):
                api.device(name)
        with pytest.raises(ApiError, match="'p1' of the application 'other'"):
            api.push("P/pushed", "p1", application="other")
        for name in ("nobody", "P/", "/d", "P/a+b", "P/#", "P/\x00", "P/" + "x" * 129):
            with pytest.raises(ApiError) as caught:
                api.push(name, "p1", new=True)
            assert caught.value.status == 422, name
    for order in (b"", b"{", b"[]", b'{"device":"P/pushed"}', b'{"device":1,"version":"p1"}',
                  b'{"device":"P/pushed","version":"p1","firmware_id":1}',
                  b'{"device":"P/pushed","firmware_id":99999999999999999999}',
                  b'{"device":"P/pushed","version":"p1","typo":1}'):  # fmt: skip
        answer = http.post("/push", content=order, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, order


def test_a_name_that_only_one_product_has_is_enough(cloud, api):
    with Device(cloud.mqtt_port, "A", "same") as one, Device(cloud.mqtt_port, "B", "same") as two:
        one.hello("1")
        assert api.device("same")["device"] == "A/same"
        two.hello("1")
        with pytest.raises(ApiError, match="A/same, B/same"):
            api.device("same")


def test_another_content_under_a_version_is_refused(cloud, api, tmp_path):
    path = tmp_path / "x.bin"
    image = make_image("1", size=9_000)
    for first, other, version in (
        (make_bundle("t1"), make_bundle("t1"), None),
        (image, make_image("1", size=9_000, like="2"), "t2"),
        (b"a model", b"another", "t3"),
    ):
        path.write_bytes(first)
        found = api.upload(path, version)["firmware"]["id"]
        before = stored(cloud)
        path.write_bytes(other)
        with pytest.raises(
            ApiError, match=f"different contents .firmware {found}.*new version"
        ) as caught:
            api.upload(path, version)
        assert caught.value.status == 409 and stored(cloud) == before
        path.write_bytes(first)
        assert api.upload(path, version)["firmware"]["id"] == found
    path.write_bytes(image)
    assert api.upload(path, "t3", "another")["firmware"]["id"] > found


def test_an_image_without_a_description_is_warned_of(api, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"\xe9" + bytes(1000))
    assert "no application description" in api.upload(tmp_path / "x.bin", "w1")["warnings"][0]


def test_an_image_is_not_pushed_to_a_device_of_another_chip(cloud, api, tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(make_image("c", chip=5, size=9_000))
    api.upload(path, "c3")
    path.write_bytes(make_bundle("c-bundle"))
    api.upload(path)
    campaign = {"name": "c", "version": "c3", "query": "name:chips", "only_outdated": False}
    with Device(cloud.mqtt_port, "P", "chips") as device:
        device.hello("0.1")
        number = api.device("P/chips")["id"]

        def reports(chip_id, name):
            report = {"version": "0.1", "chip_id": chip_id}
            device.publish(json.dumps({"type": "report_version", "report": report}).encode())
            device.expect("report_version_rsp")
            assert api.device("P/chips")["chip"] == name

        def refuses(words):
            for anyway in (False, True):
                with pytest.raises(ApiError, match=words) as refused:
                    api.push("P/chips", "c3", include_mismatched=anyway)
                assert refused.value.status == 409
            assert api.plan_campaign(**campaign)["devices"] == 0

        def is_known_as(chip):
            names = "esp32", "esp32c3", "esp32s3"
            assert [name for name in names if api.query(f"name:chips chip:{name}")] == [chip]

        assert api.plan_campaign(**campaign)["devices"] == 1  # not known: the board decides
        reports(0, "esp32")
        is_known_as("esp32")
        refuses("the image is for esp32c3, but the device reports that it is esp32 ")
        plan = api.plan_campaign(**campaign)
        assert plan["left_out"] == {"have another chip (esp32)": 1}
        assert "Left out: 1 device that has another chip (esp32)." in plan["sentences"]
        # An operator's tag counts more, whatever the board reports.
        api.tag(number, ["esp32", "chip-esp32s3"])  # the first says nothing
        is_known_as("esp32s3")
        reports(5, "esp32c3")
        refuses("the image is for esp32c3, but the device has the tag chip-esp32s3")
        device.expect_nothing(cloud)
        api.push("P/chips", "c-bundle")  # a bundle is for any chip
        assert device.expect("update_firmware")["version"] == "c-bundle"
        api.cancel_device(number)
        api.tag(number, ["chip-esp32c3"], ["chip-esp32s3"])
        reports(9, "esp32s3")
        is_known_as("esp32c3")
        assert api.plan_campaign(**campaign)["devices"] == 1
        api.push("P/chips", "c3")
        assert device.expect("update_firmware")["version"] == "c3"
        # The target may be older than what is known of the chip.
        api.cancel_device(number)
        api.tag(number, [], ["chip-esp32c3"])
        api.retry_device(number)
        wait_until(lambda: api.device("P/chips")["state"] == "failed", "the refusal")
        found = api.device("P/chips")
        assert found["result_code"] == -5 and "reports that it is esp32s3" in found["result_msg"]
        device.expect_nothing(cloud)


def test_the_newest_upload_of_a_version_is_meant(cloud, api, tmp_path):
    path = tmp_path / "x.bin"
    generate(tmp_path / "owner.key", None)
    key = load_private(tmp_path / "owner.key", lambda: "")
    ids = []
    data = make_bundle("n1")
    for sequence in (1, 2):  # signed again, it is the same content
        path.write_bytes(Signer(key, sequence).sign(data, "n1", "bundle"))
        ids.append(api.upload(path)["firmware"]["id"])
    with Device(cloud.mqtt_port, "P", "newest") as device:
        device.hello("0.1")
        assert api.push("P/newest", "n1")["firmware"]["id"] == ids[1]
        first = device.expect("update_firmware")["md5sum"]
        assert api.push("P/newest", firmware_id=ids[0])["firmware"]["id"] == ids[0]
        assert device.expect("update_firmware")["md5sum"] != first
        path.write_bytes(make_bundle("n1", "other"))
        api.upload(path)
        with pytest.raises(ApiError, match="--application") as caught:
            api.push("P/newest", "n1")
        assert caught.value.status == 409
        assert api.push("P/newest", "n1", application="blinky")["firmware"]["id"] == ids[1]


def test_unknown_devices(http):
    for path in ("/devices/99999", "/devices/0", "/devices/-1", "/devices/99999999999999999999",
                 "/devices/99999/reports"):  # fmt: skip
        assert http.get(path).status_code == 404, path
    assert http.get("/devices/x").status_code == 422
    assert http.get("/devices/1/reports?limit=0").status_code == 422


def test_pages(cloud, api, http):
    with Device(cloud.mqtt_port, "P", "paged") as device:
        for number in range(5):
            device.hello(str(number))
        found = api.device("P/paged")
        path = f"/devices/{found['id']}/reports"
        first = http.get(path, params={"limit": 2}).json()
        assert [report["version"] for report in first] == ["0", "1"]
        rest = http.get(path, params={"after": first[-1]["id"]}).json()
        assert [report["version"] for report in rest] == ["2", "3", "4"]
    assert http.get("/devices", params={"after": found["id"]}).json() == []


# -- ten thousand devices -------------------------------------------------------------------


@contextlib.contextmanager
def asked(cloud):
    """The statements that requests make: what goes on besides them is left out."""
    found = []

    def note(_connection, _cursor, statement, parameters, *_):
        if threading.current_thread().name.startswith("AnyIO"):
            found.append((statement, parameters))

    sa.event.listen(cloud.database._engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(cloud.database._engine, "before_cursor_execute", note)


def test_a_list_of_devices_takes_the_same_statements_however_many_they_are(cloud, api, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x")
    api.upload(tmp_path / "x.bin", "many")
    counts = []
    for product, size in (("few", 2), ("many", 40)):
        with cloud.database.writing() as session:
            session.add_all(
                models.Device(product_id=product, device_name=f"m{n}", version="0.1")
                for n in range(size)
            )
        text = f"product:{product}"
        rules = {"version": "many", "query": text, "active_most": 1,
                 "stages": [{"percent": 100}], "only_outdated": False}  # fmt: skip
        campaign = api.create_campaign(name=product, **rules)["id"]
        wait_until(lambda c=campaign: "queued" not in api.campaign(c)["states"], "all targets")
        group = api.put_group(product, text)["id"]
        for path in (
            f"/campaigns/{campaign}/devices",
            f"/groups/{group}/devices",
            f"/query?text={text}",
        ):
            with asked(cloud) as statements:
                found = httpx.get(f"{cloud.api_url}/api/v1{path}", timeout=WAIT_S).json()
            assert [each["target"] for each in found] == ["many"] * size
            counts.append(len(statements))
        api.cancel_campaign(campaign)
    assert counts[:3] == counts[3:]


def test_the_reports_of_an_attempt_are_found_without_reading_all(cloud, api, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x")
    api.upload(tmp_path / "x.bin", "plan")
    with Device(cloud.mqtt_port, "P", "planned") as device:
        device.hello("0.1")
        api.push("P/planned", "plan")
        device.expect("update_firmware")
        device.hello("0.1")
    (attempt,) = api.attempts(api.device("P/planned")["id"])
    with asked(cloud) as statements:
        assert [each["version"] for each in api.attempt_reports(attempt["id"])] == ["0.1"]
    (query,) = [each for each in statements if "FROM reports" in each[0]]
    with cloud.database.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query[0]}", query[1]).all()
    assert [step[3].split(" USING ")[0] for step in plan] == ["SEARCH reports"]


# -- who may ask ----------------------------------------------------------------------------


def test_without_a_token_only_this_machine_may_ask(cloud):
    url = f"{cloud.api_url}/api/v1/devices"

    def status(*lines):
        return Answer(exchange(url, *lines, "Connection: close")).status

    assert status(f"Host: 127.0.0.1:{cloud.http_port}") == 200
    assert status("Host: localhost") == 200
    assert status("Host: [::1]:80") == 200
    assert status("Host: 127.0.0.1", "Origin: http://127.0.0.1:8000") == 200
    # A page in this machine's browser: another site's script, or a name that leads here.
    assert status("Host: 127.0.0.1", "Origin: https://evil.example") == 403
    assert status("Host: 127.0.0.1", "Origin: null") == 403
    assert status("Host: evil.example") == 403
    assert status("Host: [") == 403
    assert status("Host:") == 403


def test_with_a_token_nothing_else_counts(tmp_path):
    with Cloud(tmp_path / "c", token=S3CRET) as cloud:
        with pytest.raises(ApiError, match="IVOTA_TOKEN") as caught:
            Client(cloud.api_url, token="wrong").devices()
        assert caught.value.status == 401
        with pytest.raises(ApiError):
            Client(cloud.api_url).devices()
        assert Client(cloud.api_url, token=S3CRET).devices() == []
        answer = httpx.get(
            f"{cloud.api_url}/api/v1/devices",
            headers={"Authorization": f"Bearer {S3CRET}", "Host": "ota.example"},
            timeout=WAIT_S,
        )
        assert answer.status_code == 200


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_none(tmp_path, token):
    """As from `--token "$UNSET"`: whoever sends none would be let in as its owner."""
    with pytest.raises(CloudError, match="the token is empty"):
        Cloud(tmp_path, token=token)


def test_what_listening_elsewhere_needs():
    assert check_exposure("127.0.0.1", None, None, own_broker=True) == []
    assert check_exposure("localhost", None, None, own_broker=True) == []
    with pytest.raises(CloudError, match="--public-url"):
        check_exposure("0.0.0.0", None, None, own_broker=True)
    with pytest.raises(CloudError, match="--token"):
        check_exposure("192.168.1.5", None, None, own_broker=True)
    assert len(check_exposure("0.0.0.0", "http://a:1", None, own_broker=True)) == 1
    assert check_exposure("0.0.0.0", "http://a:1", None, own_broker=False) == []


def test_public_urls(tmp_path):
    cloud = Cloud(tmp_path, public_url="https://ota.example/x/")
    assert cloud.public_url == "https://ota.example/x"
    for wrong in ("", "ota.example", "ftp://x", "http://", "http://a b", "http://" + "x" * 800,
                  "http://ü", "http://x?y=1"):  # fmt: skip
        with pytest.raises(CloudError):
            cloud.public_url = wrong
    assert Cloud(tmp_path, host="0.0.0.0", http_port=80).public_url == "http://127.0.0.1"
    assert Cloud(tmp_path, host="::1", http_port=80).public_url == "http://[::1]"


@pytest.mark.parametrize(
    "text, found",
    [
        ("host", ("host", 1883, None, None, False)),
        ("host:7", ("host", 7, None, None, False)),
        ("user@host", ("host", 1883, "user", None, False)),
        ("mqtt://user:p:a@s@host:7", ("host", 7, "user", "p:a@s", False)),
        ("mqtts://host", ("host", 8883, None, None, True)),
        ("mqtts://[::1]", ("::1", 8883, None, None, True)),
        ("[::1]:7", ("::1", 7, None, None, False)),
    ],
)
def test_where_a_broker_is(text, found):
    address = Address.read(text)
    assert dataclasses.astuple(address) == (*found, None)


@pytest.mark.parametrize("text", ["", "host:", "host:x", "host:0", "host:65536", "http://host"])
def test_where_no_broker_is(text, tmp_path):
    with pytest.raises(CloudError, match="MQTT broker"):
        Cloud(tmp_path, broker=text)


def test_what_a_crash_left_of_uploads_is_removed(tmp_path):
    """A day later: a younger one may be another process's, which shares the folder."""
    folder = tmp_path / "firmware"
    folder.mkdir()
    for name in ("old", "young"):
        (folder / f"upload-{name}.part").write_bytes(b"x")
    os.utime(folder / "upload-old.part", (0, 0))
    with Cloud(tmp_path):
        assert [path.name for path in folder.iterdir()] == ["upload-young.part"]


def test_the_public_url_begins_every_firmware_url(cloud, api, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x")
    api.upload(tmp_path / "x.bin", "pub")
    with Device(cloud.mqtt_port, "P", "public") as device:
        device.hello("0.1")
        cloud.public_url = "http://10.0.0.1:99/ota"
        try:
            api.push("P/public", "pub")
            url = device.expect("update_firmware")["url"]
        finally:
            cloud.public_url = cloud.api_url
    assert url.startswith("http://10.0.0.1:99/ota/files/")


# -- events ---------------------------------------------------------------------------------


def test_events_tell_each_change_and_go_on_where_one_stopped(cloud, api, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"firmware" * 1000)
    api.upload(tmp_path / "x.bin", "ev")
    seen = []

    def watch():
        with Client(cloud.api_url) as client:
            for device in client.events():
                if device["device"] == "P/watched":
                    seen.append(device)
                    if device["state"] == "done":
                        return

    watcher = threading.Thread(target=watch)
    watcher.start()
    with Device(cloud.mqtt_port, "P", "watched") as device:
        device.hello("0.1")
        wait_until(lambda: seen, "the first event")
        api.push("P/watched", "ev")
        device.update(device.expect("update_firmware"))
    watcher.join(WAIT_S)
    assert not watcher.is_alive()
    assert (seen[0]["state"], seen[0]["version"]) == ("idle", "0.1")
    assert (seen[-1]["state"], seen[-1]["percent"]) == ("done", 100)
    revisions = [device["revision"] for device in seen]
    assert revisions == sorted(set(revisions))
    with Client(cloud.api_url) as client:
        newer = next(device for device in client.events(revisions[-1] - 1))
        assert newer["revision"] >= revisions[-1]


def test_events_as_they_are_on_the_wire(cloud, api):
    with Device(cloud.mqtt_port, "P", "wire") as device:
        device.hello("0.1")
    revision = api.device("P/wire")["revision"]
    with httpx.stream(
        "GET",
        f"{cloud.api_url}/api/v1/events",
        headers={"Last-Event-ID": str(revision - 1)},
        timeout=WAIT_S,
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            if line.startswith("data: "):
                break
    assert lines[-3:-1] == [f"id: {revision}", "event: device"]
    assert json.loads(lines[-1][6:])["device"] == "P/wire"


def test_events_end_for_whom_they_are_no_longer_for(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "CHECK_S", 0.2)
    with Cloud(tmp_path / "c", token=S3CRET) as cloud, Client(cloud.api_url, S3CRET) as api:
        made = api.create_token("eyes", "admin")
        header = {"Authorization": f"Bearer {made['token']}"}
        with httpx.stream(
            "GET", f"{cloud.api_url}/api/v1/events", headers=header, timeout=WAIT_S
        ) as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": devices follow"
            api.remove_token(made["id"])
            assert list(lines) == [""]


# -- the client -----------------------------------------------------------------------------


def test_what_the_client_says_of_a_cloud_that_is_not_there(monkeypatch):
    with pytest.raises(ApiError, match="start one with `ivota cloud`"):
        Client("http://127.0.0.1:1").devices()
    monkeypatch.setenv("IVOTA_URL", "http://[")
    with pytest.raises(ApiError, match="IVOTA_URL"):
        Client().devices()


def test_the_api_describes_itself(cloud):
    answer = httpx.get(f"{cloud.api_url}/api/v1/openapi.json", timeout=WAIT_S).json()
    assert {"/api/v1/devices", "/api/v1/push", "/api/v1/firmware"} <= set(answer["paths"])
