"""The entity for Home Assistant: what it shows, and which push may begin."""

import json

from clientworld import World

from ivota import config, home_assistant
from ivota.config import ConfigError
from support import raises

SECTION = {"mode": "install", "host": "home"}


class HomeWorld(World):
    """`home` is the link of the entity's session."""

    def __enter__(self):
        super().__enter__()
        self.clock.put_into(home_assistant)
        return self

    def start(self, mode="install", **more):
        section = dict(SECTION, mode=mode)
        config = {"home_assistant": section, "report_interval_s": 30}
        made = self.client(config=config, connect=False, **more)
        home_assistant.attach(made)
        made.link.connect()
        self.home = made.link.entity.link
        self.home.connect()
        return made

    def shown(self):
        """The last state."""
        return [json.loads(text) for topic, text in self.home.kept if topic.endswith("/state")][-1]

    def press(self):
        config = [text for topic, text in self.home.kept if topic.endswith("/config")][-1]
        self.home.inbox.append(json.loads(config)["payload_install"].encode())


def test_everything_is_sent_in_each_session_and_the_availability_last():
    with HomeWorld() as world:
        made = world.start()
        world.spin()
        topics = [topic.split("/")[-1] for topic, _ in world.home.kept]
        assert topics == ["config", "state", "status"]
        mqtt = world.home.config["mqtt"]
        assert mqtt["set_last_will"] == (b"ivota/P/d/status", b"offline", True, 1)
        # Topics and messages from the broker are bounded, and the cloud's link has no will.
        assert mqtt["max_message_bytes"] == 256
        assert "set_last_will" not in made.config["mqtt"]
        world.home.inbox.append(b"online")
        world.spin()
        assert len(world.home.kept) == 6
        world.home.drop()
        world.home.connect()
        world.spin()
        first, second = [text for topic, text in world.home.kept if "config" in topic][1:]
        assert json.loads(first)["payload_install"] != json.loads(second)["payload_install"]


def test_a_push_waits_for_the_button_and_the_cloud_is_told():
    with HomeWorld() as world:
        made = world.start()
        world.answer(cloud="ivota")
        world.push()
        world.spin()
        assert not made.job and not made.next and not world.requests
        assert world.notices()[0]["message"] == "waiting for Install in Home Assistant"
        shown = world.shown()
        assert (shown["latest_version"], shown["in_progress"]) == ("0.2", False)
        for junk in (b"INSTALL", b"INSTALL 00000000x", b"\xff", b'{"version": "0.3"}'):
            world.home.inbox.append(junk)
        world.spin()
        reports = len(made.link.sent)
        world.press()
        world.spin()
        # The cloud is asked again: without its push, nothing begins.
        assert made.link.sent[reports][1]["type"] == "report_version"
        assert not made.job and world.shown()["in_progress"]
        world.push()
        world.spin(until=lambda: world.got)
        assert world.got[0].version == "0.2"
        # It pushes the same again after a failure; nobody has to agree twice.
        made.update_progress("fail", -5, "no")
        world.spin()
        world.push()
        world.spin(60, until=lambda: len(world.got) == 2)


def test_another_version_needs_another_press_and_stops_the_first():
    with HomeWorld() as world:
        made = world.start()
        world.answers = [[b"x" * 10000] + [1000000]]
        world.push()
        world.spin()
        world.press()
        world.spin()
        world.push()
        world.spin(until=lambda: made.job and made.job.target)
        world.push(b"other firmware", "0.3")
        world.spin()
        assert not made.job and not made.next
        assert world.shown()["latest_version"] == "0.3"
        # The first one had begun: it goes on if the cloud wants it again, also after a restart.
        made.link.entity._agreed = None
        world.push()
        world.spin(until=lambda: made.job)


def test_an_offer_that_is_not_repeated_lapses():
    with HomeWorld() as world:
        world.start()
        world.push()
        world.spin()
        world.spin(29)
        world.push()
        world.spin(75)
        assert world.shown()["latest_version"] == "0.2"
        world.spin(30)
        assert world.shown()["latest_version"] == "0.1"
        # The cloud has the board report less often.
        world.answer(cloud="ivota", report_interval_s=600)
        world.push()
        world.spin(1200, pace_ms=100)
        assert world.shown()["latest_version"] == "0.2"
        world.spin(900, pace_ms=100)
        assert world.shown()["latest_version"] == "0.1"
        world.press()
        world.spin()
        assert world.shown()["latest_version"] == "0.1"


def test_in_the_mode_view_updates_begin_at_once_and_a_failure_is_shown():
    with HomeWorld() as world:
        world.start("view")
        world.spin()
        assert "command_topic" not in json.loads(world.home.kept[0][1])
        world.push()
        world.spin(until=lambda: world.got)
        states = [text for topic, text in world.home.kept if topic.endswith("/state")]
        percents = [json.loads(text)["update_percentage"] for text in states]
        assert all(each is None or each % 5 == 0 for each in percents)
        world.made.update_progress("fail", -5, "x" * 400)
        world.spin()
        shown = world.shown()
        assert shown["release_summary"].startswith("the update to 0.2 failed: xxx")
        assert len(shown["release_summary"]) == 255
        assert (shown["latest_version"], shown["in_progress"]) == ("0.1", False)


def test_the_mode_remove_sends_empty_messages():
    with HomeWorld() as world:
        world.start("remove")
        world.spin()
        assert [text for _, text in world.home.kept] == ["", "", ""]
        assert "set_last_will" not in world.home.config["mqtt"]


def checked(**changes):
    least = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h", "user": "u"}}
    return config.check(dict(least, **changes))["home_assistant"]


def test_the_configuration():
    assert checked() is None
    found = checked(home_assistant={})
    assert (found["mode"], found["host"], found["port"], found["user"]) == ("view", "h", 1883, "u")
    found = checked(home_assistant={"user": "v", "host": None})
    assert (found["host"], found["user"]) == ("h", "v")
    found = checked(home_assistant={"host": "home", "tls": True, "ca": "/ca.pem"})
    assert (found["port"], found["user"], found["keepalive_s"]) == (8883, None, 60)
    for wrong, part in (
        ({"mode": "on"}, "home_assistant.mode must be one of view, install, remove"),
        ({"hots": "h"}, "home_assistant.hots is unknown"),
        ({"host": "mqtt://h"}, "home_assistant.host must be a name"),
        ({"host": "h", "tls": True}, "home_assistant.ca is missing"),
        ({"host": "h", "keepalive_s": 0}, "home_assistant.keepalive_s must be"),
        ([], "home_assistant must be a JSON object"),
        ("install", "home_assistant must be a JSON object"),
    ):
        with raises(ConfigError, part):
            checked(home_assistant=wrong)
    with raises(ConfigError, "home_assistant.host is missing"):
        checked(home_assistant={}, device_secret="aHVudGVyMg==")
    with raises(ConfigError, "home_assistant.tls must be false"):
        tls = {"host": "home", "tls": True, "ca": "/ca.pem"}
        checked(home_assistant=tls, one_tls_session=True)
