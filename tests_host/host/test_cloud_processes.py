"""Several processes on one PostgreSQL: one takes in reports, another goes on when it is killed."""

import json
import os
import signal
import subprocess
import sys

import postgres_support
import pytest
from cloud_support import Device
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud, CloudError


class Process:
    """`ivota cloud` in a process of its own."""

    def __init__(self, url, broker, data):
        command = [sys.executable, "-m", "ivota_tools", "cloud", "--json", "--port", "0"]
        environment = {**os.environ, "IVOTA_DATABASE": url}
        self.process = subprocess.Popen(
            [*command, "--broker", broker, "--data", str(data)],
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.api = Client(json.loads(self.process.stdout.readline())["api_url"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill(signal.SIGTERM)

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(WAIT_S)
        self.process.stdout.close()


@pytest.mark.slow
def test_another_takes_over_when_the_first_is_killed(tmp_path):
    url = postgres_support.new_database()
    (tmp_path / "f.bin").write_bytes(b"x" * 1000)
    with Cloud(tmp_path / "broker") as broker:
        where = f"127.0.0.1:{broker.mqtt_port}"
        first = Process(url, where, tmp_path / "data")
        with Process(url, where, tmp_path / "data") as second:
            assert not first.api.health()["standby"] and first.api.health()["mqtt_connected"]
            standby = second.api.health()
            assert standby["standby"] and standby["ok"] and not standby["mqtt_connected"]
            with Device(broker.mqtt_port, "P", "d") as device:
                device.report_version("0.0")
                # Both serve all of HTTP: what is asked of the second, the first carries out.
                second.api.upload(tmp_path / "f.bin", "0.2")
                wait_until(lambda: second.api.devices(), "the report")
                second.api.push("P/d", "0.2")
                wait_until(lambda: second.api.device("P/d")["state"] == "pushed", "the push")
                for number in range(1, 400):
                    device.report_version(f"0.0.{number}")
                    if number == 200:
                        first.kill()
                wait_until(lambda: not second.api.health()["standby"], "the takeover")

                def stored():
                    found = second.api.reports(second.api.device("P/d")["id"])
                    return [each["version"] for each in found]

                wait_until(lambda: stored()[-1] == "0.0.399", "the last report", 90)
                # Each at least once, in order: what was not acknowledged came again.
                seen = list(dict.fromkeys(stored()))
                assert seen == ["0.0", *(f"0.0.{number}" for number in range(1, 400))]
            # And when it comes back, it stands by.
            with Process(url, where, tmp_path / "data") as third:
                assert third.api.health()["standby"]


def test_a_second_without_the_broker_of_the_first_is_refused(tmp_path):
    url = postgres_support.new_database()
    with Cloud(tmp_path / "a", database=url):
        with pytest.raises(CloudError, match="same --broker"):
            Cloud(tmp_path / "a", database=url).start()
    with Cloud(tmp_path / "a", database=url) as alone, Client(alone.api_url) as api:
        assert api.health()["ok"]


def test_one_cloud_at_a_time_in_a_folder_with_sqlite(tmp_path):
    with Cloud(tmp_path / "a") as first, Client(first.api_url) as api:
        with pytest.raises(CloudError, match="another ivota cloud is using"):
            Cloud(tmp_path / "a").start()
        assert api.health()["ok"]
    with Cloud(tmp_path / "a"):
        pass


def test_who_loses_its_database_lets_go_and_comes_back(tmp_path):
    import psycopg

    url = postgres_support.new_database()
    with Cloud(tmp_path / "a", database=url) as cloud, Client(cloud.api_url) as api:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with Device(cloud.mqtt_port, "P", "d") as device:
            device.hello("0.1")
        wait_until(lambda: api.health()["mqtt_connected"], "its return")
        wait_until(lambda: api.devices(), "the report")
        with Device(cloud.mqtt_port, "P", "e") as device:
            device.hello("0.1")
