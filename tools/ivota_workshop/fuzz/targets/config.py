"""The board's configuration, from /ivota.json or a bundle."""

import json
from typing import Any

from .. import mutate
from ..target import Mistake, Target

ALL: dict[str, Any] = {
    "product_id": "P",
    "device_name": "d",
    "device_secret": "aHVudGVyMg==",
    "version": "1",
    "dialect": "tencent",
    "mqtt": {
        "host": "h",
        "port": 1883,
        "tls": False,
        "ca": None,
        "user": "u",
        "password": "hunter2",
        "keepalive_s": 30,
        "max_message_bytes": 2048,
    },
    "http": {"ca": "/ca.pem", "timeout_s": 5, "deadline_s": 30.5},
    "home_assistant": {"mode": "install", "host": "home", "user": "u", "password": "hunter2"},
    "network": "wifi",
    "hostname": "n",
    "wifi": {"ssid": "s", "password": "hunter2hunter2"},
    "lan": {"phy_type": "LAN8720", "phy_addr": 1, "mdc": 23, "ref_clk_mode": "in"},
    "ppp": {"uart": 1, "apn": "internet", "commands": ["AT+CPIN=1234"], "user": "u"},
    "ntp_host": "t",
    "topics": {"report": "a/{product_id}", "update": "b/{device_name}"},
    "firmware_dir": "/fw",
    "report_interval_s": 1.5,
    "retry": {"first_s": 0.1, "most_s": 10, "job_tries": 2, "rest_most_s": 60},
    "trial": {"starts": 1, "power_boots": 2, "limit_s": 3, "confirm": "application"},
    "keys": ["/key.pub"],
    "target": "t",
    "one_tls_session": True,
    "watchdog_s": 8,
}
STATIC = {"address": "10.0.0.2/8", "gateway": "10.0.0.1", "dns": "10.0.0.1"}
LEAST: dict[str, Any] = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}}


def _with(**changed: Any) -> bytes:
    return json.dumps({**LEAST, **changed}).encode()


def seeds() -> dict[str, bytes]:
    whole = json.dumps(ALL).encode()
    return {
        "good": whole,
        "good-least": json.dumps(LEAST).encode(),
        "good-aliyun": _with(dialect="aliyun"),
        "good-aliyun-topics": _with(dialect="aliyun", topics={"report": "x", "update": "y"}),
        "aliyun-topic-null": _with(dialect="aliyun", topics={"report": None}),
        "dialect-unknown": _with(dialect="klingon"),
        "dialect-another-module": _with(dialect="agent"),
        "dialect-empty": _with(dialect=""),
        "dialect-path": _with(dialect="../boot"),
        "dialect-dots": _with(dialect="doubles.pki"),
        "good-nulls": _with(version=None, http=None, wifi={"ssid": None}),
        "good-lan": _with(lan={"static": STATIC}),
        "good-networks": _with(wifi=[{"ssid": "a", "static": STATIC}, {"ssid": "b"}]),
        "good-own": _with(network="own"),
        "good-ppp": _with(ppp={}),
        "networks-none": _with(wifi=[]),
        "networks-of-anything": _with(wifi=[1, None, [], {}]),
        "networks-without-a-choice": _with(wifi={"ssid": "a"}, lan={}),
        "network-another-module": _with(network="agent"),
        "ssid-long": _with(wifi={"ssid": "\u00fc" * 17}),
        "password-short": _with(wifi={"ssid": "a", "password": "hunter2"}),
        "address-wrong": _with(lan={"static": dict(STATIC, address="10.0.0.256/8")}),
        "address-huge": _with(lan={"static": dict(STATIC, address="9" * 2000 + "/8")}),
        "netmask-huge": _with(lan={"static": dict(STATIC, address="1.1.1.1/" + "9" * 999)}),
        "modem-two-lines": _with(ppp={"apn": "a\rATD112"}),
        "modem-commands": _with(ppp={"commands": [1, None, "", []]}),
        "good-home-assistant": _with(home_assistant={}),
        "home-assistant-anything": _with(home_assistant={"mode": 1, "port": "1883"}),
        "home-assistant-a-list": _with(home_assistant=[{}]),
        "host-a-url": _with(mqtt={"host": "mqtt://h:1883/"}),
        "host-with-port": _with(mqtt={"host": "h:1883"}),
        "name-a-topic": _with(device_name="+/#"),
        "name-emoji": _with(device_name="\U0001f600"),
        "name-mac": _with(device_name="{mac}", hostname="{mac}"),
        "infinite": whole.replace(b"30.5", b"1e999"),
        "interval-infinite": _with(report_interval_s=0).replace(b": 0}", b": 1e999}"),
        "number-huge": _with(watchdog_s=10**300),
        "number-negative": _with(watchdog_s=-1),
        "port-huge": _with(mqtt={"host": "h", "port": 2**63}),
        "port-true": _with(mqtt={"host": "h", "port": True}),
        "tls-without-ca": _with(mqtt={"host": "h", "tls": True}),
        "tls-one": _with(one_tls_session=1),
        "keepalive-huge": _with(mqtt={"host": "h", "keepalive_s": 65536}),
        "keepalive-fraction": _with(mqtt={"host": "h", "keepalive_s": 0.5}),
        "no-host": _with(mqtt={}),
        "mqtt-a-list": _with(mqtt=[]),
        "unknown": _with(produkt_id="x"),
        "unknown-inside": _with(mqtt={"host": "h", "hots": "x"}),
        "unknown-empty": _with(**{"": 1}),
        "unknown-long": _with(**{"a" * 2000: 1}),
        "unknown-surrogate": _with(**{"\ud800": 1}),
        "confirm-other": _with(trial={"confirm": "server"}),
        "topic-braces": _with(topics={"report": "{other}"}),
        "topic-attribute": _with(topics={"report": "{product_id.__class__}"}),
        "topic-index": _with(topics={"report": "{0}"}),
        "topic-not-closed": _with(topics={"report": "{"}),
        "topic-width": _with(topics={"report": "{product_id:9999}"}),
        "topic-width-huge": _with(topics={"report": "{product_id:999999999999}"}),
        "topic-conversion": _with(topics={"update": "{product_id!r}"}),
        "topic-nul": _with(topics={"update": "\0"}),
        "keys-of-anything": _with(keys=[1, None, [], {}]),
        "key-twice": whole[:-1] + b', "watchdog_s": "x"}',
        "deep": b'{"mqtt":' * 500,
        "deep-keys": _with(keys=0).replace(b": 0}", b": " + b"[" * 900 + b"]" * 900 + b"}"),
        "a-list": b"[]",
        "null": b"null",
        "not-utf8": b'{"product_id": "\xff"}',
        "nothing": b"",
    }


TARGET = Target(
    about="the configuration",
    code=(
        "lib/ivota/config.py",
        "lib/ivota/network_settings.py",
        "lib/ivota/home_assistant_settings.py",
    ),
    seeds=seeds,
    mutate=mutate.a_json,
    words=tuple(
        f'"{key}": '
        for section in (ALL, ALL["mqtt"], ALL["lan"], ALL["ppp"], STATIC)
        for key in section
    ),
    mistakes=(
        Mistake(
            "accepts true as a number",
            (
                (
                    "lib/ivota/config.py",
                    "type(value) is kind or",
                    "isinstance(value, (kind, bool)) or",
                ),
            ),
        ),
        Mistake(
            "accepts TLS without verification",
            (("lib/ivota/config.py", 'if mqtt["tls"] and not mqtt["ca"]:', "if False:"),),
        ),
        Mistake(
            "accepts a name that subscribes to others",
            (("lib/ivota/config.py", 'set(_PLAIN + b"_.-:@")', 'set(_PLAIN + b"_.-:@+/#")'),),
        ),
        Mistake(
            "accepts a module that is not a network",
            (
                (
                    "lib/ivota/network_settings.py",
                    'if network not in ("wifi", "lan", "ppp", "own"):',
                    "if not network:",
                ),
            ),
        ),
        Mistake(
            "puts a secret into the error",
            (("lib/ivota/config.py", "% (name, _kind(kind, key).decode())", "% (name, found)"),),
        ),
    ),
)
