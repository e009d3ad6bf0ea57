"""Station mode: joined, joined again when lost, never a wait, never a reset."""

import ivota
from support import Clock, installed

WIFI = {"ssid": "net", "password": "secret-word"}


class Wlan:
    """A radio that joins only when it is told to."""

    def __init__(self):
        self.joined = False
        self.joining = False
        self.asked = []
        self.on = False
        self.refuses = False
        self.fails = False

    def active(self, flag):
        if self.fails:
            raise OSError("out of memory")
        self.on = flag

    def isconnected(self):
        return self.joined

    def connect(self, ssid, password):
        if self.refuses:
            raise OSError("radio")
        if self.joining:  # as esp32 has it
            raise OSError("sta is connecting, cannot set config")
        self.joining = True
        self.asked.append((ssid, password))

    def disconnect(self):
        self.joined = self.joining = False

    def ifconfig(self):
        return ("10.0.0.2", "", "", "")


class Network:
    STA_IF = 0

    def __init__(self):
        self.wlan = Wlan()

    def WLAN(self, _interface):
        return self.wlan


def station():
    """(a Station over a fake radio, that radio, the list of what is logged)"""
    network = Network()
    events = []
    with installed("network", network):
        made = ivota.once("wifi").Station(
            WIFI, lambda level, event, **fields: events.append((event, fields))
        )
    return made, network.wlan, events


def names(events):
    return [event for event, _ in events]


def test_it_joins_once_and_waits_for_nothing():
    with Clock().put_into(ivota) as clock:
        online, radio, events = station()
        begun = clock.now_ms()
        assert not online()
        assert radio.on
        assert not online()
        assert clock.now_ms() == begun
        assert radio.asked == [("net", "secret-word")]
        radio.joined = True
        assert online()
        assert names(events) == ["wifi_join", "wifi_up"]
        assert events[1][1] == {"address": "10.0.0.2"}


def test_it_joins_again_after_a_while_when_the_first_try_fails():
    with Clock().put_into(ivota) as clock:
        online, radio, _ = station()
        for _ in range(100):
            online()
            clock.advance_ms(1000)
        # Back-off from 10 s to 60 s: a handful of tries in 100 s, neither one nor a hundred.
        assert 3 <= len(radio.asked) <= 8


def test_a_lost_network_is_said_and_joined_again_at_once():
    with Clock().put_into(ivota) as clock:
        online, radio, events = station()
        online()
        radio.joined = True
        assert online()
        clock.advance_ms(1000)
        assert online()
        radio.joined = False
        assert not online()
        assert len(radio.asked) == 2
        radio.joined = True
        assert online()
        assert names(events) == ["wifi_join", "wifi_up", "wifi_lost", "wifi_join", "wifi_up"]


def test_a_radio_that_refuses_is_tried_again():
    with Clock().put_into(ivota) as clock:
        online, radio, events = station()
        radio.refuses = True
        assert not online()
        radio.refuses = False
        clock.advance_ms(60 * 1000)
        assert not online()
        assert names(events) == ["wifi_join", "wifi_refused", "wifi_join"]
        assert len(radio.asked) == 1


def test_a_radio_that_does_not_come_up_is_tried_again():
    with Clock().put_into(ivota) as clock:
        online, radio, events = station()
        radio.fails = True
        assert not online()
        radio.fails = False
        clock.advance_ms(60 * 1000)
        assert not online()
        assert radio.on and len(radio.asked) == 1
        assert names(events) == ["wifi_join", "wifi_refused", "wifi_join"]


def test_the_password_is_in_no_event():
    with Clock().put_into(ivota):
        online, radio, events = station()
        radio.refuses = True
        online()
        assert "secret-word" not in repr(events)
