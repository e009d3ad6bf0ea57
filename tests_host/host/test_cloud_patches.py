"""Deltas and compressed firmware at the cloud: kept beside what they make, chosen, given up."""

import hashlib
import random

import pytest
from cloud_support import Device
from waiting import wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.cloud.mqtt.messages import Report
from ivota_tools.cloud.rollout import assignment_states
from ivota_tools.cloud.rollout.assignment_states import begin, on_progress, on_pushed
from ivota_tools.cloud.store.models import Assignment, Firmware
from ivota_tools.firmware import patch, release

WRONG = "wrong base: the patch is for version 0.1"


class Files:
    """Versions 0.1 and 0.2 of an image, a delta between them, and 0.2 compressed."""

    def __init__(self, folder):
        text = b"words that come again " * 900
        old = b"\xe9" + random.Random(1).randbytes(9_000) + text
        self.new = old[:5000] + random.Random(2).randbytes(300) + old[5300:]
        self.path = self._put(folder / "new.bin", self.new)
        whole = release.inspect(self.path)
        self.delta = release.make_patch(
            whole, self._put(folder / "old.bin", old), out=folder / "d.bin", base_version="0.1"
        )
        self.packed = release.make_patch(whole, None, out=folder / "c.bin")

    def _put(self, path, data):
        path.write_bytes(data)
        return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory, files):
    back_off = BackOff(first_s=0.4, most_s=0.8)
    with Cloud(tmp_path_factory.mktemp("cloud"), back_off=back_off) as running:
        with Client(running.api_url) as api:
            with pytest.raises(ApiError, match="upload the full firmware first"):
                api.upload(files.delta.path, "0.2")
            whole = api.upload(files.path, "0.2")["firmware"]
            for made in (files.packed, files.delta):
                # The version is that of what it makes.
                found = api.upload(made.path)["firmware"]
                assert found["whole_id"] == whole["id"] and found["version"] == "0.2"
                assert found["kind"] == "patch" and found["size"] == made.size
        yield running


def md5(data):
    return hashlib.md5(data).hexdigest()


def test_a_device_is_given_the_smallest_that_it_can_use(api, device, files):
    device.hello("0.1")
    api.push(device.name, "0.2")
    push = device.expect("update_firmware")
    assert (push["file_size"], push["md5sum"]) == (files.delta.size, files.delta.md5)
    assert push["version"] == "0.2"
    assert device.update(push) == files.delta.path.read_bytes()
    wait_until(lambda: api.device(device.name)["state"] == "done", "done")


def test_one_that_runs_something_else_is_given_it_compressed(api, device, files):
    device.hello("0.0")
    api.push(device.name, "0.2")
    push = device.expect("update_firmware")
    assert (push["file_size"], push["md5sum"]) == (files.packed.size, files.packed.md5)
    assert device.update(push) == files.packed.path.read_bytes()


def test_after_a_delta_that_failed_it_is_given_all_of_it(api, device, files):
    device.hello("0.1")
    api.push(device.name, "0.2")
    assert device.expect("update_firmware")["md5sum"] == files.delta.md5
    device.fail("0.2", -5, WRONG)
    push = device.expect("update_firmware")
    assert (push["file_size"], push["md5sum"]) == (len(files.new), md5(files.new))
    # Its own failures count as ever, and it stays with it.
    device.fail("0.2", -5, "it broke")
    assert device.expect("update_firmware")["md5sum"] == md5(files.new)
    assert device.update(push) == files.new
    wait_until(lambda: api.device(device.name)["state"] == "done", "done")


def test_a_download_goes_on_with_the_same_bytes(api, device, files):
    device.hello("0.1")
    api.push(device.name, "0.2")
    assert device.expect("update_firmware")["md5sum"] == files.delta.md5
    device.progress("0.2", "downloading", percent="10")
    device.hello("0.1")
    assert device.expect("update_firmware")["md5sum"] == files.delta.md5
    device.fail("0.2", -1)  # time_out is no fault of the delta
    assert device.expect("update_firmware")["md5sum"] == files.delta.md5
    # What it is for has gone: another version runs.
    device.hello("0.0")
    device.fail("0.2", -1)
    wait_until(
        lambda: device.expect("update_firmware")["md5sum"] == files.packed.md5, "compressed"
    )


def test_a_patch_is_nobodys_target(api, device):
    device.hello("0.1")
    found = {each["size"]: each for each in api.firmware() if each["whole_id"]}
    assert len(found) > 1
    for each in found.values():
        with pytest.raises(ApiError, match="is a patch: push its result, firmware"):
            api.push(device.name, firmware_id=each["id"])
    assert {each["base_version"] for each in found.values()} == {"", "0.1"}


def test_a_damaged_patch_is_not_taken_in(api, files, tmp_path):
    path = tmp_path / "p.bin"
    path.write_bytes(files.delta.path.read_bytes()[:-40])
    with pytest.raises(ApiError, match="patch"):
        api.upload(path, "0.2")
    with pytest.raises(ApiError, match="upload the full firmware first"):
        api.upload(files.delta.path, "0.3")


def test_a_patch_is_not_unpacked_for_a_result_that_nobody_has(api, files, tmp_path, monkeypatch):
    """Four gigabytes in a few: who only uploads must not keep the cloud busy for hours."""
    unpacked = []
    monkeypatch.setattr(patch, "records", lambda data: unpacked.append(data) or iter(()))
    whole = files.delta.path.read_bytes()
    path = tmp_path / "bomb.bin"
    for at, value, words in (
        (32, (1 << 32) - 1, f"produces 4294967295 bytes, but the firmware has {len(files.new)}"),
        (36, 0, "upload the full firmware first"),
    ):
        path.write_bytes(whole[:at] + value.to_bytes(4, "little") + whole[at + 4 :])
        with pytest.raises(ApiError, match=words):
            api.upload(path, "0.2")
    path.write_bytes(whole[:40])
    with pytest.raises(ApiError, match="patch"):
        api.upload(path, "0.2")
    assert not unpacked


def test_the_same_rules_without_a_cloud():
    """A failed patch is given up at once, and counts as no failure of the firmware's."""
    now = 100.0
    back_off = BackOff(10, 100)
    it = Assignment(firmware=Firmware(version="2"), hard_failures=0, soft_failures=0, pushes=0)
    begin(it, "1", now)
    it.patch_id = 7
    on_pushed(it, now)
    on_progress(it, Report("report_progress", "2", "fail", None, -1, "time_out"), now, back_off)
    assert (it.state, it.patch_id, it.soft_failures) == (assignment_states.RETRY, 7, 1)
    on_pushed(it, now)
    for _ in range(2):  # delivered twice
        fail = Report("report_progress", "2", "fail", None, -5, WRONG)
        on_progress(it, fail, now, back_off)
        assert (it.state, it.patch_id, it.whole_only) == (assignment_states.RETRY, None, True)
        assert (it.hard_failures, it.next_push_at, it.result_msg) == (0, now, WRONG)


def test_what_is_no_smaller_is_not_sent(tmp_path):
    """Made by someone else: ours are not even written then."""
    data = b"\xe9" + random.Random(5).randbytes(500)
    whole, small = tmp_path / "w.bin", tmp_path / "s.bin"
    whole.write_bytes(data)
    small.write_bytes(patch.make(b"", data, kind="esp32-image"))
    assert small.stat().st_size > len(data)
    with Cloud(tmp_path / "cloud") as running, Client(running.api_url) as api:
        api.upload(whole, "2")
        api.upload(small)
        with Device(running.mqtt_port, "P", "d") as device:
            device.hello("1")
            api.push("P/d", "2")
            assert device.expect("update_firmware")["md5sum"] == md5(data)
