"""What the cloud tells Home Assistant, compared with recorded messages.

Home Assistant itself is not here: `make soak-ha` runs it, and shows that it understands them.
"""

import json

import paho.mqtt.client as mqtt
import pytest
from cloud_support import Device
from paho.mqtt.enums import CallbackAPIVersion
from waiting import wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.common.mqtt_disconnect import end
from ivota_workshop.bench.neighbours import ha_recording
from ivota_workshop.bench.neighbours.ha_scenario import Stage


def test_the_messages_are_the_recorded_ones():
    assert ha_recording.of_cloud() == json.loads(ha_recording.FILE.read_text())["cloud"]


def test_a_viewer_cannot_install_and_what_the_broker_lost_is_sent_again():
    with Stage.open("view") as stage:
        stage.report("report_version", version="0.1")
        stage.upload("0.2")
        stage.wait_for(latest_version="0.2")
        config = next(topic for topic in stage.topics("config") if "/update/" in topic)
        assert "command_topic" not in stage.messages[config]
        node = config.split("/")[2]
        stage.publish(f"{stage.base}/{node}/install", "INSTALL")
        # Home Assistant has started: everything comes again.
        stage.messages.clear()
        stage.publish("homeassistant/status", "online")
        state = stage.wait_for(latest_version="0.2")
        assert not state["in_progress"]
        assert stage.api.device("HOME/kitchen")["state"] == "idle"


def test_a_broker_that_lost_everything_is_told_again(tmp_path):
    def listen(port, want):
        """Return the messages that a client finds there, once `want` holds for them."""
        found = {}
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, one: found.update({one.topic: one.payload})
        client.connect("127.0.0.1", port)
        client.subscribe([("homeassistant/#", 1), ("ivota/#", 1), ("+/+/state", 1)])
        client.loop_start()
        try:
            wait_until(lambda: want(found), f"messages beyond {sorted(found)}")
        finally:
            end(client)
        return found

    def complete(found):
        return any("/update/" in topic for topic in found) and any(
            topic.endswith("/state") and b"0.1" in payload for topic, payload in found.items()
        )

    with Cloud(tmp_path / "first") as first:
        port = first.mqtt_port
        with Cloud(
            tmp_path / "c", broker=f"127.0.0.1:{port}", home_assistant="view", make_deltas=False
        ) as cloud:
            with Device(port, "HOME", "kitchen") as device:
                device.hello("0.1")
            before = listen(port, complete)
            first.stop()
            with Client(cloud.api_url) as api:
                wait_until(lambda: not api.health()["mqtt_connected"], "the loss")
            with Cloud(tmp_path / "second", mqtt_port=port):
                assert listen(port, complete).keys() >= before.keys()


def test_commands_that_nobody_gave_are_ignored():
    with Stage.open() as stage:
        stage.report("report_version", version="0.1")
        stage.upload("0.2")
        stage.wait_for(latest_version="0.2")
        config = next(topic for topic in stage.topics("config") if "/update/" in topic)
        node = config.split("/")[2]
        for topic, payload in (
            (f"{stage.base}/{node}/install", "install"),
            (f"{stage.base}/{node}x/install", "INSTALL"),
            (f"{stage.base}/install", "INSTALL"),
        ):
            stage.publish(topic, payload)
        # The entity of a device that an earlier process has left is removed.
        left = f"homeassistant/update/{stage.base}_gone/config"
        assert stage.broker
        stage.broker.publish(left, "{}", 1, retain=True).wait_for_publish(60)
        stage.hear(lambda found: left in found and found[left] is None, "removal")
        wait_until(lambda: stage.api.device("HOME/kitchen")["state"] == "idle", "no push")


def test_the_option_needs_a_broker_that_both_can_use(tmp_path):
    with pytest.raises(CloudError, match="view, install or remove"):
        Cloud(tmp_path, home_assistant="yes")
    with pytest.raises(CloudError, match="only devices can use the built-in broker"):
        Cloud(tmp_path, home_assistant="view", sign_in=True)
