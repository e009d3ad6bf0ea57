"""Boards that publish their own entity for Home Assistant, on a real broker.

Home Assistant itself is not here: `make soak-ha` runs it, and shows that it understands them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from interpreters import EACH, for_boards

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_workshop.bench.neighbours import ha_recording
from ivota_workshop.bench.neighbours.ha_board_scenario import BASE, NAME, PRODUCT, BoardStage

COMMAND = f"{BASE}/install"
BIRTH = "homeassistant/status"


@pytest.mark.slow
@pytest.mark.parametrize("which", EACH)
def test_the_messages_are_the_recorded_ones(which, monkeypatch):
    """An update, one that crashes in its trial, a power cut, and the removal of the entity."""
    bits = for_boards(which, monkeypatch)
    assert ha_recording.of_board(bits) == json.loads(ha_recording.FILE.read_text())["board"]


def repeat(stage: BoardStage) -> None:
    """Start Home Assistant: the board has handled everything before, and sends it again."""
    stage.messages.clear()
    stage.availability = ""
    stage.publish(BIRTH, "online")
    stage.wait_availability("online")


def payload_install(stage: BoardStage) -> str:
    (config,) = (stage.messages[topic] for topic in stage.topics("config"))
    assert config
    return str(config["payload_install"])


@pytest.mark.slow
def test_only_the_button_of_this_session_starts_only_what_is_on_offer():
    with BoardStage.open() as stage:
        stage.board.power_on()
        stage.wait_availability("online")
        old = payload_install(stage)
        # There is nothing on offer. As a retained message, it comes again in each session.
        assert stage.broker
        stage.broker.publish(COMMAND, old, 1, retain=True).wait_for_publish(60)
        stage.upload("0.2")
        stage.wait_for(latest_version="0.2")
        stage.board.power_cut()
        stage.wait_availability("offline")
        stage.board.power_on()
        stage.wait_availability("online")
        stage.wait_for(latest_version="0.2")
        new = payload_install(stage)
        assert new != old
        push = {"type": "update_firmware", "version": "6.6.6", "url": "http://127.0.0.1:1/f"}
        for payload in (
            b"INSTALL",
            old.encode(),
            new.encode() + b" 6.6.6",
            new.lower().encode(),
            b"\xff\xfe\0",
            b"",
            json.dumps(push).encode(),
            new.encode() + b" " * 5000,
        ):
            stage.broker.publish(COMMAND, payload, 1).wait_for_publish(60)
        stage.broker.publish(BIRTH, b"x" * 5000, 1).wait_for_publish(60)
        repeat(stage)
        state = stage.state()
        assert (state["latest_version"], state["in_progress"]) == ("0.2", False)
        device = stage.api.device(f"{PRODUCT}/{NAME}")
        assert (device["state"], device["version"]) == ("pushed", "0.1")
        assert device["result_msg"] == "waiting for Install in Home Assistant"
        assert "install_pressed" not in "\n".join(stage.board.log)
        stage.press_install()
        stage.wait_for(installed_version="0.2", in_progress=False)
        assert not stage.board.failure


@pytest.mark.slow
def test_an_update_that_has_begun_goes_on_after_a_power_cut():
    """Nobody has to press again; and one that was withdrawn does not begin."""
    with BoardStage.open(report_interval_s=1) as stage:
        stage.board.power_on()
        stage.wait_availability("online")
        stage.upload("0.2")
        stage.wait_for(latest_version="0.2")
        stage.api.cancel_device(stage.api.device(f"{PRODUCT}/{NAME}")["id"])
        stage.wait_for(latest_version="0.1")  # the offer has lapsed
        stage.press_install()
        repeat(stage)
        assert "install_pressed" not in "\n".join(stage.board.log)
        stage.api.push(f"{PRODUCT}/{NAME}", "0.2", new=True)
        stage.wait_for(latest_version="0.2")
        stage.press_install()
        stage.board.wait_log("download offset=0")
        stage.board.power_cut()
        stage.board.power_on()
        stage.board.wait_log("confirmed version=0.2")
        assert "\n".join(stage.board.log).count("install_pressed") == 1


@pytest.mark.slow
def test_a_broker_that_lost_everything_is_told_again(tmp_path: Path):
    """Meanwhile an update needs no broker for Home Assistant: it only shows it."""
    with BoardStage.open(home_assistant={"mode": "view"}) as stage:
        stage.configure(host="127.0.0.1", port=stage.mqtt_port)
        stage.wait_availability("online")
        (config,) = (stage.messages[topic] for topic in stage.topics("config"))
        assert config and "command_topic" not in config
        stage.home_broker.stop()
        stage.board.wait_log("home_assistant_link_lost")
        stage.upload("0.2")
        stage.board.wait_log("confirmed version=0.2")
        stage.messages.clear()
        with Broker(tmp_path / "new", "127.0.0.1", stage.mqtt_port, lambda _: None):
            stage.wait_for(installed_version="0.2", latest_version="0.2", in_progress=False)
            assert len(stage.topics("config")) == 1
