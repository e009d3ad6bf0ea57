"""A campaign over a swarm of a thousand devices; a twentieth fail until they are mended."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.cloud.rollout.assignment_states import ACTIVE
from ivota_tools.firmware import release
from ivota_tools.sim import swarm as swarm_module
from ivota_tools.sim.swarm import Options, Swarm

COUNT, BAD = 1000, 50
DATA = os.urandom(70_000)
APP = """
import time

def main():
    while True:
        time.sleep(1)
"""


class Running:
    """`ivota sim swarm` in a process of its own, and the last that it said."""

    def __init__(self, port, *options):
        command = [sys.executable, "-m", "ivota_tools", "sim", "swarm", "--json"]
        self._status = {}
        self._lines = 0
        self.process = subprocess.Popen(
            [*command, "--broker", f"127.0.0.1:{port}", *map(str, options)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._status = json.loads(line)
            self._lines += 1

    @property
    def status(self):
        """A line comes once a second: what a small swarm does may be over before the first."""
        return wait_until(lambda: self._status, "the first line")

    def mend(self):
        self.process.send_signal(signal.SIGUSR1)
        before = self._lines
        wait_until(lambda: self._lines >= before + 2, "a line of after the signal")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self._reader.join()
        self.process.stdout.close()
        assert self.process.wait(WAIT_S) == 0


@pytest.mark.slow
def test_a_thousand_devices_of_which_some_fail(tmp_path):
    (tmp_path / "f.bin").write_bytes(DATA)
    with (
        Cloud(tmp_path / "c", back_off=BackOff(0.2, 0.4)) as cloud,
        Client(cloud.api_url) as api,
        Running(cloud.mqtt_port, "-n", COUNT, "--failing", BAD / COUNT, "--interval", 5) as swarm,
    ):
        api.upload(tmp_path / "f.bin", "0.2")
        wait_until(lambda: len(api.devices()) == COUNT, "the swarm")
        campaign = api.create_campaign(
            name="all",
            version="0.2",
            query="version<0.2",
            stages=[{"count": 20}, {"percent": 20}, {"percent": 100}],
            soak_s=0,
            stop_on="last",
            success_share=0.8,
            stop_share=0.04,
            stop_least=150,
            active_most=200,
        )["id"]

        def state():
            return api.campaign(campaign)["state"]

        wait_until(lambda: state() != "running", "the stop", 120)
        shown = api.campaign(campaign)
        assert shown["state"] == "stopped" and "failed" in shown["reason"]
        # What was under way when it stopped may end, also as failed; a device that was pushed to
        # twice also reports twice.
        wait_until(lambda: not set(ACTIVE) & set(api.campaign(campaign)["states"]), "the quiet")
        wait_until(lambda: not swarm.status["updating"], "the end of all downloads")
        sent = swarm.status["acknowledged"]
        wait_until(lambda: sum(api.health()["counters"].values()) >= sent, "the last reports")
        shown = api.campaign(campaign)
        assert shown["states"]["failed"] >= 6

        swarm.mend()
        assert api.retry_campaign(campaign)["devices"] == shown["states"]["failed"]
        api.resume_campaign(campaign)
        wait_until(lambda: state() != "running", "the end", 120)
        shown = api.campaign(campaign)
        assert shown["state"] == "finished" and shown["states"] == {"done": COUNT}
        wait_until(lambda: swarm.status["versions"] == {"0.2": COUNT}, "the count")
        assert swarm.status["pushes_after_done"] == 0
        health = api.health()["counters"]
        assert not health.get("dropped") and not health.get("garbled")


@pytest.mark.slow
def test_real_boards_among_a_swarm(tmp_path):
    """MicroPython boards are devices of the campaign as any other, and run the new version."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(APP)
    release.pack(tmp_path / "app", "0.2", out=tmp_path / "f.bin")
    with (
        Cloud(tmp_path / "c") as cloud,
        Client(cloud.api_url) as api,
        Running(cloud.mqtt_port, "-n", 10, "--boards", 2, "--interval", 2) as swarm,
    ):
        api.upload(tmp_path / "f.bin")
        wait_until(lambda: len(api.devices()) == 12, "the swarm", 90)
        campaign = api.create_campaign(
            name="all", version="0.2", query="name:*", stages=[{"percent": 100}]
        )["id"]
        wait_until(lambda: api.campaign(campaign)["state"] == "finished", "the end", 120)
        assert api.campaign(campaign)["states"] == {"done": 12}
        assert {each["version"] for each in api.query("name:board*")} == {"0.2"}
        wait_until(lambda: swarm.status["versions"] == {"0.2": 10}, "the count")
        assert swarm.status["boards"] == 2 and "failures" not in swarm.status


def test_a_small_swarm_with_slow_ones(tmp_path):
    (tmp_path / "f.bin").write_bytes(DATA)
    with Cloud(tmp_path / "c") as cloud, Client(cloud.api_url) as api:
        with Running(cloud.mqtt_port, "-n", 10, "--slow", 0.2) as swarm:
            api.upload(tmp_path / "f.bin", "0.2")
            wait_until(lambda: len(api.devices()) == 10, "the swarm")
            campaign = api.create_campaign(
                name="all", version="0.2", query="all", stages=[{"percent": 100}]
            )["id"]
            wait_until(lambda: api.campaign(campaign)["state"] == "finished", "the end", 120)
            assert api.campaign(campaign)["states"] == {"done": 10}
            wait_until(lambda: swarm.status["versions"] == {"0.2": 10}, "the count")
            cloud._broker.process.stop()  # links that are lost end nothing
            wait_until(lambda: swarm.status["connected"] == 0, "the loss")


def test_a_swarm_ends_however_its_devices_take_it():
    """A cancellation that is lost, as `wait_for` may lose it before Python 3.12, comes again."""
    begun, cancelled = [], []

    async def deaf(*_):
        begun.append(1)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(1)
                if len(cancelled) > 4:
                    raise

    async def run():
        swarm = Swarm(Options(3))
        for device in swarm.devices:
            device.live = deaf
        task = asyncio.ensure_future(swarm.run())
        while len(begun) < 3:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())
    assert len(cancelled) >= 5


def test_a_device_reports_at_the_interval_that_an_ivota_cloud_sets(monkeypatch):
    monkeypatch.setattr(swarm_module, "INTERVAL_LEAST_S", 1)
    answer = {"type": "report_version_rsp", "version": "0.1", "cloud": "ivota"}

    async def reports(**more):
        """The first reports of a device whose own interval is an hour."""
        found = []

        class Stub:
            closed = asyncio.get_running_loop().create_future()

            async def publish(self, _topic, payload, _qos):
                found.append(json.loads(payload)["report"])
                received = device._received
                self.closed.get_loop().call_soon(received, "", json.dumps(answer | more).encode())
                if len(found) == 3:
                    self.closed.set_result(None)

        (device,) = Swarm(Options(1)).devices
        device.link = Stub()
        served = device._serve(device.link, Options(1, interval_s=3600))
        await asyncio.wait_for(served, WAIT_S)
        return found

    own = {"version": "0.1", "max_message_bytes": 4096}
    assert asyncio.run(reports(report_interval_s=1)) == [{"version": "0.1"}, own, own]


def test_who_finds_no_broker_is_not_connected():
    command = [sys.executable, "-m", "ivota_tools", "sim", "swarm", "--json", "-n", "3"]
    command += ["--broker", "127.0.0.1:1", "--seconds", "1"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(said.splitlines()[-1])["connected"] == 0


def test_a_swarm_does_not_hide_an_error():
    async def broken(*_):
        raise KeyError("ours")

    async def run():
        swarm = Swarm(Options(2))
        swarm.devices[0].live = broken
        await swarm.run()

    with pytest.raises(KeyError, match="ours"):
        asyncio.run(run())
