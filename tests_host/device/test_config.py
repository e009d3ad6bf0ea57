"""The configuration: each key with its default, and each mistake named."""

from ivota import config
from ivota.config import ConfigError
from support import installed, raises

LEAST = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}}

# Every key of docs/formats.md, with a value that is not its default.
ALL = {
    "hardware": "rev-b",
    "product_id": "PROD",
    "device_name": "dev",
    "device_secret": "c2VjcmV0",
    "version": "1.2",
    "mqtt": {
        "host": "broker",
        "port": 8884,
        "tls": True,
        "ca": "/ca.pem",
        "cert": "/own.pem",
        "key": "/own.key",
        "user": "u",
        "password": "p",
        "keepalive_s": 30,
        "max_message_bytes": 2048,
    },
    "http": {
        "ca": "/ca2.pem",
        "cert": "/own2.pem",
        "key": "/own2.key",
        "timeout_s": 5,
        "deadline_s": 30.5,
    },
    "network": "wifi",
    "hostname": "board-1",
    "wifi": {"ssid": "s", "password": "password"},
    "lan": {
        "phy_type": "LAN8720",
        "phy_addr": 1,
        "mdc": 23,
        "mdio": 18,
        "power": 12,
        "reset": 5,
        "ref_clk": 17,
        "ref_clk_mode": "out",
        "spi": 1,
        "sck": 2,
        "mosi": 3,
        "miso": 4,
        "cs": 6,
        "int": 7,
    },
    "ppp": {
        "uart": 2,
        "baudrate": 9600,
        "tx": 17,
        "rx": 16,
        "rts": 18,
        "cts": 19,
        "apn": "internet",
        "commands": ["AT+CPIN=1234"],
        "number": "*98#",
        "auth": "chap",
        "user": "u",
        "password": "p",
    },
    "ntp_host": "time.example",
    "topics": {"report": "a/{product_id}", "update": "b/{device_name}"},
    "firmware_dir": "/fw",
    "report_interval_s": 1.5,
    "retry": {"first_s": 0.1, "most_s": 10, "job_tries": 2, "rest_most_s": 60},
    "trial": {"starts": 1, "power_boots": 2, "limit_s": 3, "confirm": "application"},
    "keys": ["/key.pub"],
    "target": "board",
    "one_tls_session": True,
    "watchdog_s": 8,
}


def copy(value):
    if isinstance(value, dict):
        return {key: copy(value[key]) for key in value}
    return value


def with_key(path, value):
    """The least configuration with one key more, its path in dots."""
    found = copy(LEAST)
    inner = found
    parts = path.split(".")
    for part in parts[:-1]:
        inner = inner.setdefault(part, {})
    inner[parts[-1]] = value
    return found


def keys(found=ALL, where=""):
    """(path, value) of every key that is not a section."""
    for key in found:
        if isinstance(found[key], dict):
            for pair in keys(found[key], where + key + "."):
                yield pair
        else:
            yield where + key, found[key]


def at(found, path):
    for part in path.split("."):
        found = found[part]
    return found


def error_of(found):
    with raises(ConfigError) as caught:
        config.check(found)
    return str(caught.value)


def test_defaults():
    assert config.check(LEAST) == {
        "product_id": "P",
        "device_name": "d",
        "device_secret": None,
        "version": "0",
        "mqtt": {
            "host": "h",
            "port": 1883,
            "tls": False,
            "ca": None,
            "cert": None,
            "key": None,
            "user": None,
            "password": None,
            "keepalive_s": 120,
            "max_message_bytes": 4096,
        },
        "http": {
            "ca": None,
            "cert": None,
            "key": None,
            "authorization": None,
            "timeout_s": 10,
            "deadline_s": 60,
        },
        "network": None,
        "hostname": None,
        "wifi": None,
        "lan": None,
        "ppp": None,
        "channel": None,
        "home_assistant": None,
        "hardware": None,
        "ntp_host": None,
        "topics": {"report": "$ota/report/P/d", "update": "$ota/update/P/d"},
        "dialect": "tencent",
        "firmware_dir": "/firmware",
        "report_interval_s": 300,
        "retry": {"first_s": 1, "most_s": 300, "job_tries": 8, "rest_most_s": 86400},
        "trial": {"starts": 3, "power_boots": 10, "limit_s": 600, "confirm": "cloud"},
        "keys": [],
        "target": None,
        "one_tls_session": False,
        "watchdog_s": 0,
    }


def test_every_key_is_taken_as_given():
    expected = copy(ALL)
    expected["topics"] = {"report": "a/PROD", "update": "b/dev"}
    expected["dialect"] = "tencent"
    expected["channel"] = expected["home_assistant"] = None
    expected["http"]["authorization"] = None
    expected["wifi"] = [dict(ALL["wifi"], static=None)]
    expected["lan"]["static"] = None
    assert config.check(ALL) == expected


def test_the_given_one_is_not_changed():
    before = copy(ALL)
    config.check(ALL)
    assert ALL == before


def test_null_means_the_default():
    assert config.check(with_key("version", None))["version"] == "0"
    assert config.check(with_key("http", None))["http"]["timeout_s"] == 10


def with_dialect(name):
    return {"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}, "dialect": name}


def test_another_dialect_has_topics_of_its_own():
    found = with_dialect("aliyun")
    assert config.check(found)["topics"] == {
        "report": "/ota/device/progress/P/d",
        "version": "/ota/device/inform/P/d",
        "ask": "/sys/P/d/thing/ota/firmware/get",
        "update": "/ota/device/upgrade/P/d\n/sys/P/d/thing/ota/firmware/get_reply",
    }
    found["topics"] = {"update": "u/{device_name}"}
    topics = config.check(({}, found))["topics"]
    assert topics["update"] == "u/d" and topics["report"] == "/ota/device/progress/P/d"


def test_a_topic_of_null_is_the_dialects():
    plain = config.check(with_dialect("aliyun"))
    found = with_dialect("aliyun")
    found["topics"] = {"report": None}
    assert config.check(found) == plain


def test_a_dialect_that_is_not_there():
    for name in ("azure", "net", ""):
        assert "dialect " + name in error_of(with_dialect(name))
    assert "dialect must be a string" in error_of(with_dialect(1))


def test_port_follows_tls():
    assert config.check(with_key("mqtt.port", 7))["mqtt"]["port"] == 7
    found = with_key("mqtt.tls", True)
    found["mqtt"]["ca"] = "/ca.pem"
    assert config.check(found)["mqtt"]["port"] == 8883


def test_tls_without_ca_fails_closed():
    assert "mqtt.ca" in error_of(with_key("mqtt.tls", True))


def test_a_certificate_and_its_key_belong_together():
    for part in ("mqtt", "http"):
        for name in ("cert", "key"):
            text = error_of(with_key(part + "." + name, "/own"))
            assert text == "%s.cert and %s.key belong together: set both" % (part, part)


def test_each_required_key_missing():
    for path in ("product_id", "device_name", "mqtt.host"):
        text = error_of(with_key(path, None))
        assert path in text and "missing" in text, text
    for path in ("product_id", "device_name", "mqtt"):
        found = copy(LEAST)
        del found[path]
        assert path in error_of(found)


def test_each_key_mistyped_is_named():
    for path, good in keys():
        if isinstance(good, str):
            wrong = (True, 5, -1, 1.5, [], {"a": 1})
        elif isinstance(good, bool):
            wrong = (0, 1, "true", 1.5, [], {})
        elif isinstance(good, list):
            wrong = (True, 5, "text", 1.5, {})
        else:
            wrong = (True, False, "5", -1, [], {})
            # Only times may have a fraction; keep-alive goes into its packet as whole seconds.
            if not path.endswith("_s") or path == "mqtt.keepalive_s":
                wrong += (1.5,)
        for value in wrong:
            text = error_of(with_key(path, value))
            assert path in text, (path, value, text)


def test_true_is_not_a_number():
    for path in ("mqtt.port", "mqtt.keepalive_s", "report_interval_s", "trial.starts"):
        assert path in error_of(with_key(path, True))


def test_one_is_not_true():
    for path in ("mqtt.tls", "one_tls_session"):
        assert path in error_of(with_key(path, 1))


def test_negative_numbers():
    for path, good in keys():
        if isinstance(good, (int, float)) and not isinstance(good, bool):
            text = error_of(with_key(path, -1))
            assert path in text, text


def test_each_section_must_be_an_object():
    for key in ALL:
        if isinstance(ALL[key], dict):
            for value in (1, 0, "x", "", [], [1], True, False):
                text = error_of(with_key(key, value))
                assert key in text and ("object" in text or value == []), text


def test_not_an_object_at_all():
    for value in ([], "x", 1, None):
        error_of(value)


def test_an_unknown_key_names_the_nearest():
    for path, near in (
        ("verson", "version"),
        ("produkt_id", "product_id"),
        ("devicename", "device_name"),
        ("mqtt.keep_alive", "keepalive_s"),
        ("mqtt.hots", "host"),
        ("mqtt.pasword", "password"),
        ("http.timeout", "timeout_s"),
        ("wifi.sid", "ssid"),
        ("lan.phytype", "phy_type"),
        ("ppp.api", "apn"),
        ("ntp", "ntp_host"),
        ("topics.updates", "update"),
        ("firmwaredir", "firmware_dir"),
        ("report_interval", "report_interval_s"),
        ("retry.max_s", "most_s"),
        ("retry.tries", "job_tries"),
        ("trial.confirmation", "confirm"),
        ("watchdog", "watchdog_s"),
        ("one_tls_sesion", "one_tls_session"),
    ):
        text = error_of(with_key(path, "x"))
        assert path in text and "unknown" in text, text
        assert text.endswith(" " + near + "?"), text


def _plus(found, key):
    found = copy(found)
    found[key] = 1
    return found


def test_odd_unknown_keys():
    for key in ("", "x", "é", "a" * 500):
        assert "unknown" in error_of(with_key(key, 1))


def test_every_key_misspelled_is_an_error():
    for path, value in keys():
        assert path + "_" in error_of(with_key(path + "_", value))


def test_confirm_has_three_values():
    assert "cloud, broker, application" in error_of(with_key("trial.confirm", "server"))
    assert "trial.confirm" in error_of(with_key("trial.confirm", 1))


def test_keepalive_fits_into_the_packet():
    for value in (0, 65536):
        assert "mqtt.keepalive_s" in error_of(with_key("mqtt.keepalive_s", value))
    for value in (1, 65535):
        assert config.check(with_key("mqtt.keepalive_s", value))["mqtt"]["keepalive_s"] == value


def test_ports_are_of_two_bytes():
    for value in (65536, 1 << 63, 10**30):
        assert "mqtt.port" in error_of(with_key("mqtt.port", value))
    assert config.check(with_key("mqtt.port", 65535))["mqtt"]["port"] == 65535


def test_no_number_is_endless():
    # What `1e999` is to a parser; a wait of so many milliseconds can't be counted.
    for path, good in keys():
        if isinstance(good, (int, float)) and not isinstance(good, bool):
            values = [1 << 30, 1 << 63]
            if path.endswith("_s"):
                values += [float("inf"), float("nan"), 1e300]
            for value in values:
                assert path in error_of(with_key(path, value)), (path, value)


def test_no_time_is_longer_than_ticks_can_tell():
    # Their difference is good for 2**29 ms: what is longer would never be over.
    for path, _ in keys():
        if path.endswith("_s") and path != "mqtt.keepalive_s":
            assert path in error_of(with_key(path, 1 << 20)), path
            assert at(config.check(with_key(path, 500000)), path) == 500000


def test_keys_that_are_no_texts():
    # To MicroPython's parser anything may be a key.
    for key in (5, None, True, 1.5):
        assert "unknown" in error_of(_plus(LEAST, key))


def test_topic_templates():
    found = config.check(with_key("topics.report", "x/{product_id}/{device_name}/y"))
    assert found["topics"]["report"] == "x/P/d/y"
    for text in ("{other}", "{0}", "{", "}", "{product_id", "{product_id:9999999999}"):
        assert "topics.report" in error_of(with_key("topics.report", text)), text
    # A broker ends the session of whoever publishes to one of these.
    for text in ("", "a/+", "a/#", "a\0", "a\n", "\na"):
        for key in ("topics.report", "topics.update"):
            assert key in error_of(with_key(key, text)), text


def test_a_folder_that_is_cleared_is_one_of_its_own():
    for folder in ("/fw", "/sd/fw", "/fat/.fw"):
        assert config.check(with_key("firmware_dir", folder))["firmware_dir"] == folder
    # The root has boot.py in it; under another spelling the running bundle would not be known.
    for folder in ("", "/", "//", "/.", "/..", "/fw/", "//fw", "/fw/../", "fw", "/lib", "/app/fw"):
        assert "firmware_dir" in error_of(with_key("firmware_dir", folder)), folder


def test_paths_of_keys():
    assert config.check(with_key("keys", ["/a", "/b"]))["keys"] == ["/a", "/b"]
    for found in ([1], [""], ["/a", None], [["/a"]]):
        assert "keys" in error_of(with_key("keys", found)), found


def test_no_time_and_no_chance_at_all():
    """Without these a board would hammer the broker, or could never try a version."""
    for path in (
        "http.timeout_s",
        "http.deadline_s",
        "retry.first_s",
        "retry.most_s",
        "trial.power_boots",
        "trial.limit_s",
        "report_interval_s",
    ):
        for value in (0, 0.0):
            if type(value) is int or path.endswith("_s"):
                assert error_of(with_key(path, value)) == path + " must be above 0"


def test_secrets_are_in_no_message():
    for path in ("device_secret", "mqtt.password", "wifi.password"):
        for mistake in ("mqtt.x", "wifi.x", "nonsense", "version"):
            found = with_key(path, "hunter2")
            inner = found
            for name in mistake.split(".")[:-1]:
                inner = inner.setdefault(name, {})
            inner[mistake.split(".")[-1]] = 5
            assert "hunter2" not in error_of(found)
        assert "7777" not in error_of(with_key(path, 7777))


# Who a board is


class Machine:
    def __init__(self, address):
        self._address = address

    def unique_id(self):
        return self._address


class Radio:
    """A `network` whose station knows its address once it is active, as cyw43's."""

    STA_IF = 0

    def __init__(self):
        self._active = False

    def WLAN(self, _interface):
        return self

    def active(self, flag):
        self._active = flag

    def config(self, _key):
        return b"\x28\xcd\xc1\x00\x00\x0a" if self._active else bytes(6)


def test_a_name_that_topics_and_sign_ins_can_have():
    for name in ("esp32-1", "A.b_c:d@e", "x" * 64):
        for key in ("product_id", "device_name"):
            assert config.check(with_key(key, name))[key] == name
    for name in ("a+", "#", "a/b", "a b", "a\n", "\0", "\x7f", "\u00e9", "\U0001f600", "x" * 65):
        for key in ("product_id", "device_name"):
            assert key in error_of(with_key(key, name)), name
    for name in ("{mac", "{MAC}", "{device_name}", "mac}"):
        assert "device_name" in error_of(with_key("device_name", name)), name


def test_one_configuration_for_many_boards():
    found = with_key("device_name", "pump-{mac}")
    found["hostname"] = "p{mac}"
    with installed("machine", Machine(b"\x24\x6f\x28\xae\x01\xfc")):
        made = config.check(found)
    assert made["device_name"] == "pump-246f28ae01fc" and made["hostname"] == "p246f28ae01fc"
    assert made["topics"]["update"] == "$ota/update/P/pump-246f28ae01fc"
    # Elsewhere than on esp32 the number of the chip is another one.
    with installed("machine", Machine(b"12345678")), installed("network", Radio()):
        assert config.check(found)["device_name"] == "pump-28cdc100000a"


def test_a_board_without_an_address_has_no_name_made_of_it():
    class NoRadio:
        pass

    for address in (b"", b"12345678"):
        with installed("machine", Machine(address)), installed("network", NoRadio()):
            assert "{mac}" in error_of(with_key("device_name", "{mac}"))
    with installed("machine", Machine(bytes(6))):
        assert "{mac}" in error_of(with_key("device_name", "{mac}"))


def test_the_broker_is_a_name_or_an_address():
    for host in ("h", "10.0.0.1", "broker.example.org", "my_pc", "fe80::1", "::1"):
        assert config.check(with_key("mqtt.host", host))["mqtt"]["host"] == host
    for host in ("mqtt://h", "h:1883", "h/", " h", "h h", "h\n", "h\0", "u@h", "\u00e9"):
        for key in ("mqtt.host", "ntp_host"):
            assert key in error_of(with_key(key, host)), host


# The network


def test_networks_in_order():
    one = {"ssid": "a", "password": "password"}
    made = config.check(with_key("wifi", one))
    assert made["network"] == "wifi"
    assert made["wifi"] == [{"ssid": "a", "password": "password", "static": None}]
    made = config.check(with_key("wifi", [one, {"ssid": "b"}]))
    assert [each["ssid"] for each in made["wifi"]] == ["a", "b"]
    assert made["wifi"][1]["password"] is None
    # The bundle's list is in place of the board's.
    made = config.check((with_key("wifi", one), {"wifi": {"ssid": "c"}}))
    assert [each["ssid"] for each in made["wifi"]] == ["c"]
    assert "wifi[1].ssid" in error_of(with_key("wifi", [one, {}]))
    assert "wifi[1].key" in error_of(with_key("wifi", [one, {"key": "x"}]))
    assert "wifi.ssid" in error_of((with_key("wifi", one), {"wifi": {"password": "password"}}))


def test_names_and_passwords_that_a_radio_takes():
    umlauts = "\u00fc" * 16
    for ssid in ("a", "x" * 32, umlauts, "with a blank"):
        assert config.check(with_key("wifi.ssid", ssid))["wifi"][0]["ssid"] == ssid
    for ssid in ("", "x" * 33, umlauts + "x"):
        assert "wifi.ssid" in error_of(with_key("wifi.ssid", ssid))
    for password in ("12345678", "x" * 63, "0123456789abcdefABCDEF" * 2 + "0" * 20):
        found = {"ssid": "a", "password": password}
        assert config.check(with_key("wifi", found))["wifi"][0]["password"] == password
    for password in ("", "abc", "x" * 7, "x" * 64, "0x" + "0" * 62, "x" * 65):
        text = error_of(with_key("wifi", {"ssid": "a", "password": password}))
        assert "wifi.password" in text and (not password or password not in text), text


def test_an_address_of_its_own():
    static = {"address": "192.168.1.50/24", "gateway": "192.168.1.1", "dns": "9.9.9.9"}
    found = {"ssid": "a", "static": static}
    made = config.check(with_key("wifi", found))["wifi"][0]
    assert made["static"] == ("192.168.1.50", "255.255.255.0", "192.168.1.1", "9.9.9.9")
    assert found["static"] is static
    del static["dns"]
    made = config.check(with_key("lan", {"static": dict(static, address="10.1.2.3/13")}))["lan"]
    assert made["static"] == ("10.1.2.3", "255.248.0.0", "192.168.1.1", "192.168.1.1")
    for key, wrong in (
        ("address", ("10.0.0.1", "10.0.0.1/", "10.0.0.1/0", "10.0.0.1/31", "10.0.0.1/024", "/24")),
        ("address", ("10.0.0/24", "10.0.0.256/24", "10.0.0.01/24", "a.b.c.d/24", "1.1.1.1.1/8")),
        ("address", ("10.0.0.1/24/24", "-1.0.0.1/24", "\u00b2.0.0.1/24", "", 5)),
        ("gateway", ("", "router", "10.0.0.1/24", None)),
        ("dns", ("dns.example", "10.0.0")),
    ):
        for value in wrong:
            text = error_of(
                with_key("wifi", {"ssid": "a", "static": dict(static, **{key: value})})
            )
            assert "wifi.static" in text, (key, value, text)
    assert "wifi.static" in error_of(with_key("wifi", {"ssid": "a", "static": {}}))
    assert "wifi.static.mask" in error_of(with_key("wifi", {"ssid": "a", "static": {"mask": 5}}))


def test_which_network():
    assert config.check(LEAST)["network"] is None
    assert config.check(with_key("lan", {}))["network"] == "lan"
    assert config.check(with_key("ppp", {}))["network"] == "ppp"
    for name in ("lan", "own"):
        assert config.check(with_key("network", name))["network"] == name
    for name in ("wifi", "ppp"):
        assert name + " is missing" in error_of(with_key("network", name))
    for name in ("", "agent", "WIFI", "none"):
        assert "network must be one of wifi, lan, ppp, own" in error_of(with_key("network", name))
    both = with_key("lan", {})
    both["wifi"] = {"ssid": "s"}
    assert "network is missing" in error_of(both)
    both["network"] = "lan"
    assert config.check(both)["network"] == "lan"


def test_what_a_cable_and_a_modem_are_told():
    assert "lan.ref_clk_mode" in error_of(with_key("lan.ref_clk_mode", "both"))
    assert "ppp.auth" in error_of(with_key("ppp.auth", "none"))
    for key in ("apn", "number"):
        assert "ppp." in error_of(with_key("ppp." + key, "a\rAT+CFUN=0"))
    assert "ppp.apn" in error_of(with_key("ppp.apn", 'a"'))
    for commands in ([5], [""], ["AT\n"], [None], [[]]):
        assert "ppp.commands" in error_of(with_key("ppp.commands", commands))


def test_a_host_name():
    for name in ("a", "board-1", "x" * 32, "A1"):
        assert config.check(with_key("hostname", name))["hostname"] == name
    for name in ("", "-a", "a-", "x" * 33, "a.b", "a_b", "a b", "\u00e9", "{name}"):
        assert "hostname" in error_of(with_key("hostname", name)), name


def test_no_time_server_is_an_empty_name():
    assert config.check(with_key("ntp_host", ""))["ntp_host"] == ""
