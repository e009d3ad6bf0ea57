"""How a board comes onto its network: Wi-Fi, a cable, a modem, or by code of its own."""

import sys

from doubles.fakenetwork import Machine, Network

import ivota
from ivota import agent_setup, config_fallback, guarded_socket, update_client
from ivota.config import check
from support import Clock, installed, patched

LEAST = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}}
HOME = {"ssid": "home", "password": "home-password"}
CABIN = {"ssid": "cabin", "password": "cabin-password"}
OPEN = {"ssid": "open"}
JOIN_HOME = ("join", "home", "home-password")
JOIN_CABIN = ("join", "cabin", "cabin-password")


class Client:
    adopt = update_client.Client.adopt

    def __init__(self, config):
        self.config = config
        self.events = []

    def log(self, level, event, **fields):
        self.events.append((event, fields))

    def names(self):
        return [event for event, _ in self.events]


class Board:
    """A board with these keys, on fakes; `step` asks whether it is on the network."""

    def __init__(self, answers=None, **keys):
        self.network = Network()
        self.calls = self.network.calls
        self.machine = Machine(answers)
        self.client = Client(check(dict(LEAST, **keys)))
        self.clock = Clock()

    def __enter__(self):
        self._patches = [
            installed("network", self.network),
            installed("machine", self.machine),
            installed("time", self.clock),  # of what is loaded meanwhile
            patched(guarded_socket.hooks, online=guarded_socket.hooks.online),
            self.clock.put_into(ivota),
        ]
        for patch in self._patches:
            patch.__enter__()
        agent_setup.join(self.client)
        return self

    def __exit__(self, *exc):
        for patch in reversed(self._patches):
            patch.__exit__(*exc)

    def step(self, seconds=0):
        """Ask at each of so many seconds, as the link does; the last answer."""
        for _ in range(seconds):
            guarded_socket.hooks.online()
            self.clock.advance_ms(1000)
        return guarded_socket.hooks.online()

    def joins(self):
        return [call for call in self.calls if call[0] == "join"]


# Wi-Fi


def test_it_joins_once_and_waits_for_nothing():
    with Board(wifi=HOME) as board:
        board.network.wlan.air = {}
        begun = board.clock.now_ms()
        assert not board.step() and not board.step()
        assert board.clock.now_ms() == begun and board.network.wlan.on
        assert board.joins() == [JOIN_HOME]
        board.network.wlan.joined = "home"
        assert board.step()
        assert board.client.names() == ["network_join", "network_up"]
        assert board.client.events[1][1] == {"address": "10.0.0.2"}


def test_it_joins_again_after_a_while_when_the_first_try_fails():
    with Board(wifi=HOME) as board:
        board.step(200)
        # Back-off from 15 s to 60 s: neither one nor a hundred.
        assert 4 <= len(board.joins()) <= 9


def test_a_lost_network_is_said_and_joined_again_at_once():
    with Board(wifi=HOME) as board:
        board.network.wlan.air = {"home": "home-password"}
        board.step()
        assert board.step(2)
        board.network.wlan.joined = None
        assert not board.step()
        assert board.step()
        assert board.client.names() == ["network_join", "network_up", "network_lost"] + [
            "network_join",
            "network_up",
        ]


def test_whatever_a_radio_raises_is_tried_again():
    # What esp_exceptions_helper raises, and a port that lacks the method.
    for error in (OSError("Wifi Internal Error"), RuntimeError("Wifi Unknown Error 0x0101")):
        with Board(wifi=HOME) as board:
            board.network.wlan.fails = error
            assert not board.step() and not board.step()
            board.network.wlan.fails = None
            assert not board.step(60)
            assert board.client.names()[:3] == ["network_join", "network_refused", "network_join"]
            assert len(board.joins()) >= 1
            assert "home-password" not in repr(board.client.events)


def test_a_driver_that_always_fails_does_not_fill_the_log():
    def broken(_interface):
        raise RuntimeError("Wifi Unknown Error 0x0101")

    with Board(wifi=HOME) as board:
        board.network.WLAN = broken
        for _ in range(1000):
            board.step()
        assert board.client.names() == ["network_refused"]
        board.step(120)
        assert 3 <= len(board.client.names()) <= 8


def test_networks_are_tried_in_order_each_for_its_time():
    with Board(wifi=[HOME, CABIN, OPEN]) as board:
        board.network.wlan.air = {"office": None}
        board.step(44)
        assert board.joins() == [JOIN_HOME, JOIN_CABIN, ("join", "open", None)]
        # Back-off is between two rounds, not between two networks.
        board.step(600)
        starts = [call for call in board.joins() if call == JOIN_HOME]
        assert 6 <= len(starts) <= 12 and board.network.wlan.joined is None


def test_the_second_one_is_joined_where_only_that_can_be_heard():
    with Board(wifi=[HOME, CABIN]) as board:
        board.network.wlan.air = {"cabin": "cabin-password"}
        assert not board.step()
        assert board.step(16) and board.network.wlan.joined == "cabin"
        # It stays, though the other one can be heard again; after a loss that comes first.
        board.network.wlan.air["home"] = "home-password"
        assert board.step(1000) and board.joins() == [JOIN_HOME, JOIN_CABIN]
        board.network.wlan.joined = None
        board.step()
        assert board.step() and board.network.wlan.joined == "home"


def test_a_network_that_is_not_listed_is_left():
    for joined, stays in (("home", True), ("cabin", True), ("cafe", False)):
        with Board(wifi=[HOME, CABIN]) as board:
            wlan = board.network.wlan
            wlan.on, wlan.joined = True, joined  # by boot.py, or before a soft reset
            assert board.step() == stays
            assert board.joins() == ([] if stays else [JOIN_HOME])


def test_a_port_that_does_not_say_what_is_joined():
    def config(key):
        raise ValueError("unknown config param")

    with Board(wifi=HOME) as board:
        wlan = board.network.wlan
        wlan.on, wlan.joined, wlan.config = True, "home", config
        assert board.step() and not board.joins()


def test_each_network_has_its_own_address_or_dhcp():
    static = {"address": "192.168.1.50/24", "gateway": "192.168.1.1"}
    with Board(wifi=[dict(HOME, static=static), CABIN], hostname="pump") as board:
        board.network.wlan.air = {"cabin": "cabin-password"}
        board.step(16)
        order = [("hostname", "pump"), ("static", "192.168.1.50"), JOIN_HOME, ("dhcp",)]
        assert board.calls == order + [JOIN_CABIN]


def test_a_port_without_ipconfig_uses_dhcp_as_ever():
    with Board(wifi=HOME) as board:

        def absent(*args, **keys):
            raise AttributeError("ipconfig")

        board.network.wlan.ipconfig = absent
        board.step()
        assert board.joins() == [JOIN_HOME]


# A cable


LAN = {"phy_type": "LAN8720", "phy_addr": 0, "mdc": 23, "mdio": 18, "power": 12, "ref_clk": 17}


def test_a_cable_is_brought_up():
    with Board(lan=dict(LAN, ref_clk_mode="out"), hostname="pump") as board:
        assert not board.step()
        told = board.network.arguments
        assert (told["phy_type"], told["phy_addr"]) == (2, 0)
        pins = ("mdc", "mdio", "power", "ref_clk")
        assert [told[name].number for name in pins] == [23, 18, 12, 17]
        assert told["ref_clk_mode"] == Machine.Pin.OUT and len(told) == 7
        assert board.step()
        assert board.calls == [("hostname", "pump"), ("active", True)]
        board.network.lan.cable = False
        assert not board.step(100)
        board.network.lan.cable = True
        assert board.step()
        assert board.calls.count(("active", True)) == 1
        names = board.client.names()
        assert names[:3] == ["network_join", "network_up", "network_lost"]
        assert names[-1] == "network_up" and board.client.events[0][1] == {"by": "lan"}


def test_a_cable_at_a_chip_on_spi_with_its_own_address():
    chip = {"phy_type": "LAN8720", "phy_addr": 1, "spi": 1, "sck": 12, "mosi": 11, "miso": 13}
    static = {"address": "10.0.0.9/8", "gateway": "10.0.0.1"}
    with Board(lan=dict(chip, cs=10, int=14, static=static)) as board:
        board.step()
        told = board.network.arguments
        assert told["spi"].number == 1 and told["spi"].pins["miso"].number == 13
        assert told["cs"].number == 10 and told["int"].number == 14 and "mdc" not in told
        assert board.calls == [("active", True), ("static", "10.0.0.9")]
        assert board.step() and board.client.events[-1][1] == {"address": "10.0.0.9"}


def test_a_cable_that_the_port_refuses_is_said_and_tried_again():
    for lan in ({}, {"phy_type": "LAN8720"}, dict(LAN, phy_type="NONE"), {"phy_addr": 1}):
        with Board(lan=lan) as board:
            board.step(100)
            names = board.client.names()
            assert 3 <= names.count("network_refused") == names.count("network_join") <= 7


# A modem


MODEM = {"uart": 2, "tx": 17, "rx": 16, "apn": "internet", "commands": ["AT+CPIN=1234"]}
ANSWERS = {"AT": "OK", "ATH": "NO CARRIER", "AT+CGDCONT": "+X: 1\r\nOK", "ATD": "CONNECT 1500"}


def test_a_modem_is_dialled_and_nobody_waits():
    with Board(answers=ANSWERS, ppp=MODEM) as board:
        begun = board.clock.now_ms()
        assert not board.step() and board.clock.now_ms() == begun
        assert board.step(20)
        told = board.machine.told
        assert (told["number"], told["baudrate"], told["tx"], told["rx"]) == (2, 115200, 17, 16)
        assert "rts" not in told
        said = ["ATH", "AT", "AT+CPIN=1234", 'AT+CGDCONT=1,"IP","internet"', "ATD*99#"]
        assert board.machine.uart.said == said
        assert board.calls == [("ppp", 0, None, None)]
        assert board.client.names() == ["network_join", "network_up"]
        assert board.client.events[-1][1] == {"address": "10.64.0.7"}
        # The session is lost, perhaps with the modem in a call: it is dialled once more.
        board.network.PPP.made[0].state = "error"
        assert not board.step()
        assert board.step(20) and board.machine.uart.said == said * 2
        assert len(board.network.PPP.made) == 1


def test_a_modem_that_refuses_or_is_silent_is_said_without_its_pin():
    for changed, why in (
        ({"AT+CPIN": "+CME ERROR: SIM failure"}, "answered +CME ERROR: SIM failure to AT+CPIN"),
        ({"ATD": "NO CARRIER"}, "answered NO CARRIER to ATD*99#"),
        ({"AT": "garbage \x01"}, "no answer from the modem to AT"),
    ):
        with Board(answers=dict(ANSWERS, **changed), ppp=MODEM) as board:
            assert not board.step(59)
            event, fields = board.client.events[1]
            assert event == "network_refused" and why in fields["why"]
            assert "1234" not in fields["why"] and len(board.client.events) == 2
            assert not board.step(120)
            assert board.client.names()[2] == "network_join"


def test_a_line_without_a_modem_speaks_ppp_at_once():
    for auth, security in (("pap", 1), ("chap", 2)):
        with Board(ppp={"user": "u", "password": "secret", "auth": auth}) as board:
            board.machine.uart.peer = True
            board.step()
            assert board.step() and board.machine.uart.said == []
            assert board.calls == [("ppp", security, "u", "secret")]


def test_a_session_ends_with_its_configuration():
    with Board(ppp={"user": "u", "password": "secret", "auth": "pap"}) as board:
        board.machine.uart.peer = True
        board.step()
        assert board.step() and board.network.PPP.made[0].isconnected()
        switched(board)
        assert board.network.PPP.made[0].state == "inactive"
        assert board.machine.uart.said == ["deinit"]


# Code of the board's own


class Own:
    """What /own_network.py may be."""

    def __init__(self, up=False):
        self.up = up
        self.asked = 0

    def online(self):
        self.asked += 1
        if isinstance(self.up, Exception):
            raise self.up
        return self.up


def test_a_module_of_the_boards_own_is_asked_once_a_second():
    own = Own()
    with installed("own_network", own), Board(network="own") as board:
        for _ in range(100):
            assert not board.step()
            board.clock.advance_ms(100)
        assert 9 <= own.asked <= 11
        own.up = True
        assert board.step(2) is True
        assert board.client.events == [("network_up", {"by": "own_network"})]
        own.up = None
        assert board.step() is False
        assert board.client.names()[1:] == ["network_lost"]
        own.up = RuntimeError("no modem")
        asked = own.asked
        board.step(60)
        assert own.asked - asked <= 5
        assert board.client.events[-1] == ("network_refused", {"why": "RuntimeError no modem"})


def test_a_module_that_is_not_there():
    with Board(network="own") as board:
        assert not board.step(60)
        event, fields = board.client.events[0]
        assert event == "network_refused" and "own_network" in fields["why"]
        with installed("own_network", Own(True)):
            assert board.step(60)


def test_it_needs_no_network_module():
    """The unix port has none, as long as the board's is not installed."""
    own = Own(True)
    for keys in ({}, {"hostname": "pump"}):
        client = Board(network="own", **keys).client
        with patched(guarded_socket.hooks, online=None), installed("own_network", own):
            agent_setup.join(client)
            assert guarded_socket.hooks.online()


# None, and another one


def test_only_what_is_used_is_loaded():
    kinds = "lan network_settings network_base ppp wifi"
    modules = ["ivota." + name for name in ["custom_network"] + kinds.split()]
    for keys, wanted in (({}, []), ({"wifi": HOME}, ["ivota.network_base"])):
        for name in modules:
            sys.modules.pop(name, None)
        with Board(**keys):
            assert [name for name in modules if name in sys.modules] == wanted


def test_nothing_is_joined_where_no_network_is_configured():
    for keys in ({}, {"hostname": "pump"}):
        with Board(**keys) as board:
            assert guarded_socket.hooks.online is guarded_socket.always and board.step()
            assert board.calls == [("hostname", "pump")] * len(keys)


def switched(board, **keys):
    """The board goes on with another configuration, as in its trial."""

    def read(path, log):
        return dict(LEAST, **keys)

    class Link:
        def close(self, politely):
            pass

    board.client.link = Link()
    with patched(config_fallback, read=read):
        config_fallback.switch(board.client, "path")


def test_another_configuration_brings_its_own_network():
    with installed("own_network", Own(True)), Board(wifi=HOME, ntp_host="a") as board:
        wlan = board.network.wlan
        wlan.air = {"home": "home-password", "cabin": "cabin-password"}
        board.step()
        assert board.step()
        online = guarded_socket.hooks.online
        switched(board, wifi=HOME, mqtt={"host": "other"}, ntp_host="b")
        assert guarded_socket.hooks.online is online and guarded_socket.hooks.ntp_host == "b"
        switched(board, wifi=CABIN)
        assert not board.step() and board.step() and wlan.joined == "cabin"
        switched(board, lan=LAN)
        assert wlan.joined is None and not board.step() and board.step()
        switched(board, ppp=MODEM)
        assert not board.network.lan.on and not board.step()
        switched(board, network="own")
        assert board.machine.uart.said == ["deinit"] and board.step()
        switched(board)
        assert guarded_socket.hooks.online is guarded_socket.always
