"""Firmware in an object store: moto behind a server that checks each signature."""

import base64
import hashlib
import json
import random
import shutil
import time
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import object_store
import pytest
from cloud_support import Device
from cryptography.hazmat.primitives import hashes as digests
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner
from waiting import wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cli.app import app
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.ddi.controller_routes import Setting as Ddi
from ivota_tools.cloud.rollout import delta_maker
from ivota_tools.cloud.store import s3_store
from ivota_tools.cloud.store.file_store_settings import StoreSettings
from ivota_tools.firmware.release import pack

EXAMPLE = Path(__file__).parents[2] / "examples" / "thermometer"
URL = f"s3://{object_store.BUCKET}/firmware/main"


@pytest.fixture(scope="module")
def front():
    with object_store.running() as made:
        made.each_works_once = False
        yield made


@pytest.fixture(autouse=True)
def environment(front, monkeypatch, tmp_path):
    for name, value in front.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    front.fault = lambda method, target: None
    front.ask("empty")
    front.answers.clear()


def cloud(folder, **options):
    return Cloud(folder, store=StoreSettings(URL), **options)


def upload(api, folder, version, data):
    path = folder / f"{version}.bin"
    path.write_bytes(data)
    return api.upload(path, version)["firmware"]


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def test_a_device_downloads_from_the_store(front, tmp_path):
    """By a URL of more than 1,300 characters if it accepts one, otherwise through the cloud."""
    data = noise(300_000)
    with cloud(tmp_path / "c") as running, Client(running.api_url) as api:
        found = upload(api, tmp_path, "2", data)
        assert front.keys() == [f"firmware/main/{found['sha256']}.bin", "firmware/main/id"]
        shutil.rmtree(tmp_path / "c" / "store-cache")
        (tmp_path / "c" / "store-cache").mkdir()
        with Device(running.mqtt_port, "P", "plain") as device:
            device.hello("1")
            api.push("P/plain", "2")
            push = device.expect("update_firmware")
            assert push["url"].startswith(running.public_url) and len(push["url"]) < 999
            assert device.update(push) == data
        with Device(running.mqtt_port, "P", "board") as device:
            device.publish(
                b'{"type":"report_version","report":{"version":"1","max_message_bytes":4096}}'
            )
            device.expect("report_version_rsp")
            api.push("P/board", "2")
            push = device.expect("update_firmware")
            assert push["url"].startswith(front.url) and len(push["url"]) > 1300
            assert device.update(push) == data


def test_a_large_upload_is_in_parts_and_whole_or_nothing(front, tmp_path, monkeypatch):
    monkeypatch.setattr(s3_store, "PART", 5 << 20)
    data = noise(12_000_000)
    with cloud(tmp_path / "c") as running, Client(running.api_url) as api:

        def second_part_fails(method, target):
            return (400, "BadDigest") if method == "PUT" and "partNumber=2" in target else None

        front.fault = second_part_fails
        with pytest.raises(ApiError, match="BadDigest") as caught:
            upload(api, tmp_path, "2", data)
        assert caught.value.status == 503
        assert front.uploads() == 0 and front.keys() == ["firmware/main/id"]
        front.fault = lambda method, target: None
        found = upload(api, tmp_path, "2", data)
        assert found["md5"] == hashlib.md5(data).hexdigest() and front.uploads() == 0
        with running._store.local(found["sha256"]) as path:
            assert path.read_bytes() == data
        running._store._cache.drop(found["sha256"])
        with running._store.local(found["sha256"]) as path:
            assert path.read_bytes() == data


def test_an_upload_of_a_killed_process_is_tidied_up(front, tmp_path, monkeypatch):
    monkeypatch.setattr(s3_store, "PART", 5 << 20)
    with cloud(tmp_path / "c") as running:
        store, path = running._store, tmp_path / "x"
        path.write_bytes(noise(6_000_000))

        def dies(method, target):
            if method == "PUT" and "partNumber=2" in target:
                monkeypatch.setattr(store._client, "abort_multipart_upload", None)
                return 400, "BadDigest"
            return None

        front.fault = dies
        with pytest.raises(OSError, match="BadDigest"):
            store.put(path, "0" * 64, "0" * 32)
        front.fault = lambda method, target: None
        monkeypatch.undo()
        assert front.uploads() == 1
        monkeypatch.setattr(s3_store, "STALE_S", float("inf"))
        store._next_tidy = 0.0
        store.tidy()
        assert front.uploads() == 1  # it may still be going on
        monkeypatch.undo()
        store._next_tidy = 0.0
        store.tidy()  # moto says of all uploads that they began in 2010
        assert front.uploads() == 0


def test_deleted_firmware_leaves_the_bucket_and_the_cache(front, tmp_path):
    with cloud(tmp_path / "c") as running, Client(running.api_url) as api:
        found = upload(api, tmp_path, "2", b"x" * 1000)
        assert list((tmp_path / "c" / "store-cache").glob("*.bin"))
        api.delete_firmware(found["id"])
        assert front.keys() == ["firmware/main/id"]
        assert not list((tmp_path / "c" / "store-cache").iterdir())


def test_a_damaged_file_is_not_served(front, tmp_path):
    with cloud(tmp_path / "c") as running, Client(running.api_url) as api:
        found = upload(api, tmp_path, "2", b"x" * 1000)
        running._store._cache.drop(found["sha256"])
        (tmp_path / "other").write_bytes(b"y" * 1000)
        front.ask("put", str(tmp_path / "other"), f"firmware/main/{found['sha256']}.bin")
        with pytest.raises(OSError, match="damaged"), running._store.local(found["sha256"]):
            pass
        assert not list((tmp_path / "c" / "store-cache").iterdir())


@pytest.mark.parametrize(
    "fault, words",
    [
        (
            (403, "AccessDenied"),
            "access to s3://fleet/firmware/main is denied; allow s3:Get",
        ),
        ((403, "InvalidAccessKeyId"), "does not accept the credentials"),
        ((404, "NoSuchBucket"), "the bucket fleet does not exist"),
    ],
)
def test_a_store_that_cannot_work_is_refused_at_the_start(front, tmp_path, fault, words):
    front.fault = lambda method, target: fault
    with pytest.raises(CloudError, match=words):
        cloud(tmp_path / "c").start()


def test_a_bucket_in_another_region(monkeypatch, tmp_path):
    """Signed URLs would not work there, although everything else does."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with pytest.raises(CloudError, match="in the region us-east-1, .* set AWS_DEF"):
        cloud(tmp_path / "c").start()


def test_credentials_that_are_missing(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(CloudError, match="no credentials for s3://fleet/firmware/main"):
        cloud(tmp_path / "c").start()


def test_a_store_that_fails_later_is_told_and_stops_no_report(front, tmp_path):
    with cloud(tmp_path / "c") as running, Client(running.api_url) as api:
        assert api.health()["store_problem"] is None
        front.fault = lambda method, target: (403, "AccessDenied")
        running._store._look()
        health = api.health()
        assert health["ok"] and "is denied" in health["store_problem"]
        assert "is denied" in httpx.get(f"{running.api_url}/readyz").json()["store"]
        assert "\nivota_store_ready 0.0" in httpx.get(f"{running.api_url}/metrics").text
        with pytest.raises(ApiError, match="is denied"):
            upload(api, tmp_path, "2", b"x")
        with Device(running.mqtt_port, "P", "d") as device:
            device.hello("1")
        front.fault = lambda method, target: None
        running._store._look()
        assert api.health()["store_problem"] is None
        upload(api, tmp_path, "2", b"x")


def test_a_store_that_does_not_answer_does_not_stop_the_cloud(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with cloud(tmp_path / "c") as running, Client(running.api_url) as api:
        assert "the request to the store failed" in api.health()["store_problem"]
        with Device(running.mqtt_port, "P", "d") as device:
            device.hello("1")


def test_a_prefix_belongs_to_one_database(front, tmp_path):
    with cloud(tmp_path / "one") as running, Client(running.api_url) as api:
        upload(api, tmp_path, "2", b"x" * 1000)
    with pytest.raises(CloudError, match="belongs to another database"):
        cloud(tmp_path / "two").start()
    with cloud(tmp_path / "one"):
        pass
    # Without its files it does not start elsewhere either, and nothing is lost by the attempt.
    with pytest.raises(CloudError, match="lacks 1 of the 1 firmware files"):
        Cloud(tmp_path / "one").start()
    front.ask("empty")
    with cloud(tmp_path / "one"):  # reports do not need the firmware
        assert front.keys() == ["firmware/main/id"]


def test_devices_that_poll_are_redirected(front, tmp_path):
    """Their token stays here: the store refuses a request that is signed in two ways."""
    data = noise(100_000)
    with cloud(tmp_path / "c", ddi=Ddi("fleet")) as running, Client(running.api_url) as api:
        upload(api, tmp_path, "2", data)
        word = api.create_ddi_token("gateway")["token"]
        base = f"{running.api_url}/fleet/controller/v1/d"
        with httpx.Client(headers={"Authorization": f"GatewayToken {word}"}) as http:
            http.get(base)
            api.push("fleet/d", "2")
            order = http.get(http.get(base).json()["_links"]["deploymentBase"]["href"]).json()
            links = order["deployment"]["chunks"][0]["artifacts"][0]["_links"]
            answer = http.get(links["download-http"]["href"])
            assert answer.status_code == 302 and len(answer.headers["location"]) > 1300
            assert http.head(links["download-http"]["href"]).status_code == 200
            assert http.get(answer.headers["location"]).status_code == 403
        assert httpx.get(answer.headers["location"]).content == data


@pytest.mark.parametrize("signed", [True, False])
def test_a_cdn_in_front_of_the_store(tmp_path, signed):
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    words = {"key_id": "K2JC", "key": pem} if signed else {}
    store = StoreSettings(URL, cdn="https://cdn.example/main/", **words)
    with Cloud(tmp_path / "c", store=store) as running, Client(running.api_url) as api:
        found = upload(api, tmp_path, "2", b"x")
        with Device(running.mqtt_port, "P", "d") as device:
            device.hello("1")
            api.push("P/d", "2")
            url = device.expect("update_firmware")["url"]
        place, _, query = url.partition("?")
        assert place == f"https://cdn.example/main/{found['sha256']}.bin" and len(url) < 999
        assert bool(query) is signed
        if signed:  # as CloudFront checks it: the policy that follows from the URL and its expiry
            values = dict(parse_qsl(query))
            policy = json.dumps(
                {
                    "Statement": [
                        {
                            "Resource": place,
                            "Condition": {
                                "DateLessThan": {"AWS:EpochTime": int(values["Expires"])}
                            },
                        }
                    ]
                },
                separators=(",", ":"),
            )
            sign = base64.b64decode(values["Signature"].translate(str.maketrans("-_~", "+=/")))
            key.public_key().verify(sign, policy.encode(), padding.PKCS1v15(), digests.SHA1())
            assert values["Key-Pair-Id"] == "K2JC" and int(values["Expires"]) > time.time()


def test_downloads_through_the_cloud(front, tmp_path):
    """For devices that cannot reach the store."""
    store = StoreSettings(URL, proxy=True)
    with Cloud(tmp_path / "c", store=store) as running, Client(running.api_url) as api:
        data = noise(200_000)
        upload(api, tmp_path, "2", data)
        with Device(running.mqtt_port, "P", "d") as device:
            device.publish(
                b'{"type":"report_version","report":{"version":"1","max_message_bytes":4096}}'
            )
            device.expect("report_version_rsp")
            api.push("P/d", "2")
            push = device.expect("update_firmware")
            assert push["url"].startswith(running.public_url)
            assert device.update(push) == data


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def test_moving_to_a_bucket_and_back(front, tmp_path):
    """Interrupted, repeated, verified; the cloud starts where all of its files are."""
    data = tmp_path / "c"
    with Cloud(data) as running, Client(running.api_url) as api:
        hashes = [upload(api, tmp_path, f"{n}", noise(50_000, n))["sha256"] for n in range(1, 5)]
    with pytest.raises(CloudError, match="lacks 4 of the 4 firmware files .* `ivota store copy`"):
        cloud(data).start()
    puts = []

    def third_fails(method, target):
        puts.append(target)
        return (403, "AccessDenied") if method == "PUT" and len(set(puts)) > 4 else None

    front.fault = third_fails
    code, said = run("store", "copy", data / "firmware", URL)
    assert code == 1 and "is denied" in said
    begun = len([key for key in front.keys() if key.endswith(".bin")])
    assert 0 < begun < 4
    front.fault = lambda method, target: None
    code, said = run("store", "copy", data / "firmware", URL, "--verify")
    assert (code, f"copied {4 - begun} files; {begun} were already" in said) == (0, True)
    with cloud(data) as running, Client(running.api_url) as api:
        hashes.append(upload(api, tmp_path, "5", noise(50_000, 5))["sha256"])
    with pytest.raises(CloudError, match="lacks 1 of the 5 firmware files"):
        Cloud(data).start()
    assert run("store", "copy", URL, data / "firmware", "--verify")[0] == 0
    with Cloud(data) as running:
        for sha256 in hashes:
            with running._store.local(sha256) as path:
                assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    # A file that is not what its name says is copied nowhere.
    (data / "firmware" / f"{hashes[0]}.bin").write_bytes(b"x")
    code, said = run("store", "copy", data / "firmware", URL)
    assert code == 1 and "has a damaged file" in said


def test_backup_and_restore(front, tmp_path):
    with cloud(tmp_path / "c") as running, Client(running.api_url) as api:
        found = upload(api, tmp_path, "2", noise(50_000))
    options = "--data", tmp_path / "c"
    code, said = run("backup", tmp_path / "short", *options)
    assert code == 0 and f"this backup has no firmware: the firmware is in {URL}" in said
    assert not list((tmp_path / "short").rglob("*.bin"))
    assert run("backup", tmp_path / "b", *options, "--store", URL)[0] == 0
    assert [path.stem for path in (tmp_path / "b").rglob("*.bin")] == [found["sha256"]]
    front.ask("empty")
    options = "--data", tmp_path / "new", "--store", URL
    assert run("restore", tmp_path / "b", *options)[0] == 0
    with cloud(tmp_path / "new") as running, Client(running.api_url) as api:
        with running._store.local(found["sha256"]) as path:
            assert path.stat().st_size == 50_000
        assert [each["version"] for each in api.firmware()] == ["2"]


def test_check_and_doctor_say_what_is_wrong(front, monkeypatch):
    code, said = run("store", "check", URL)
    assert code == 0 and "works; signed URLs have 1" in said and front.keys() == []
    monkeypatch.setenv("IVOTA_STORE", URL)
    assert f"{URL}, 0 files" in run("doctor", "--json")[1]
    # Devices need the URL; everything else works.
    front.fault = lambda method, target: (
        (403, "AccessDenied") if object_store.SIGNED in target else None
    )
    code, said = run("store", "check", URL)
    assert code == 1 and "devices cannot download from" in said and front.keys() == []
    front.fault = lambda method, target: (403, "AccessDenied")
    assert "is denied" in run("doctor", "--json")[1]
    front.fault = lambda method, target: None
    for wrong in ("http://bucket", "s3://", "s3://UPPER/x", "s3://fleet/../x", "s3://fleet/a b"):
        code, said = run("store", "check", wrong)
        assert code == 1 and "use s3://BUCKET/PREFIX" in said


def test_a_delta_is_made_from_and_into_the_store(front, tmp_path, monkeypatch):
    monkeypatch.setattr(delta_maker, "LOOK_S", 0.2)
    with cloud(tmp_path / "c") as running, Client(running.api_url) as api:
        for version in ("1", "2"):
            api.upload(pack(EXAMPLE, version, out=tmp_path / version, application="t").path)
        for path in (tmp_path / "c" / "store-cache").glob("*.bin"):
            path.unlink()
        with Device(running.mqtt_port, "P", "d") as device:
            device.hello("1")
            api.create_campaign(name="c", version="2", query="version:1")
            wait_until(lambda: len(api.firmware()) == 3, "the delta")
        made = next(each for each in api.firmware() if each["kind"] == "patch")
        assert f"firmware/main/{made['sha256']}.bin" in front.keys()
