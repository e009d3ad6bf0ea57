"""Firmware in an object store: moto behind a server that checks each signature."""

import hashlib
import random
import shutil

import httpx
import object_store
import pytest
from cloud_support import Device

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.store import s3_store
from ivota_tools.cloud.store.store_settings import StoreSettings

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
        assert "does not answer" in api.health()["store_problem"]
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
