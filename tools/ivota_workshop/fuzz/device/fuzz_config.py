"""Check /ivota.json: an accepted one has every key, with the right type and range."""

import json

from ivota import config

SHAPE = {
    "product_id": "text",
    "device_name": "text",
    "device_secret": "text?",
    "version": "text",
    "dialect": "text",
    "mqtt.host": "text",
    "mqtt.port": "whole",
    "mqtt.tls": "flag",
    "mqtt.ca": "text?",
    "mqtt.user": "text?",
    "mqtt.password": "text?",
    "mqtt.keepalive_s": "whole",
    "mqtt.max_message_bytes": "whole",
    "http.ca": "text?",
    "http.timeout_s": "number",
    "http.deadline_s": "number",
    "network": "text?",
    "hostname": "text?",
    "ntp_host": "text?",
    "topics.report": "text",
    "topics.update": "text",
    "firmware_dir": "text",
    "report_interval_s": "number",
    "retry.first_s": "number",
    "retry.most_s": "number",
    "retry.job_tries": "whole",
    "retry.rest_most_s": "number",
    "trial.starts": "whole",
    "trial.power_boots": "whole",
    "trial.limit_s": "number",
    "trial.confirm": "text",
    "keys": "list",
    "target": "text?",
    "one_tls_session": "flag",
    "watchdog_s": "number",
}
SECRET = "hunter2"


def check(data):
    try:
        found = json.loads(data)
    except ValueError:
        return "no JSON"
    except MemoryError:
        return "MemoryError"
    try:
        made = config.check(found)
    except config.ConfigError as error:
        # An error may quote a misplaced secret, because the code takes it for another value.
        assert SECRET not in str(error) or data.count(SECRET.encode()) != secrets(found)
        return "refused"
    except UnicodeError:  # CPython's: half a surrogate pair
        return "no text"
    except MemoryError:
        return "MemoryError"
    count = 0
    for path in SHAPE:
        value = made
        for part in path.split("."):
            value = value[part]
        of_kind(SHAPE[path], value, path)
        count += 1
    assert made["product_id"] and made["device_name"] and (made["mqtt"]["host"] or made["channel"])
    assert not made["mqtt"]["tls"] or made["mqtt"]["ca"]
    assert 0 < made["mqtt"]["port"] < 65536, "no port"
    assert 1 <= made["mqtt"]["keepalive_s"] <= 65535
    assert made["trial"]["confirm"] in ("cloud", "application")
    for name in ("product_id", "device_name"):
        assert len(made[name]) <= 64 and not set("+/# {}\n") & set(made[name])
    assert not set("/ \n") & set(made["mqtt"]["host"])
    network(made)
    home = made["home_assistant"]
    assert home is None or home["host"] and home["mode"] in ("view", "install", "remove")
    assert not home or not home["tls"] or home["ca"] and not made["one_tls_session"]
    assert len(made) == 25 and len(made["mqtt"]) == 10 and len(made["http"]) == 6
    return "accepted"


def network(made):
    """Check the resulting network sections, whatever the input."""
    assert made["network"] in (None, "wifi", "lan", "ppp", "own")
    sections = [made["lan"]] if made["lan"] else []
    for each in made["wifi"] or ():
        assert 1 <= len(each["ssid"].encode()) <= 32
        assert each["password"] is None or 8 <= len(each["password"].encode()) <= 64
        sections.append(each)
    for each in sections:
        of_kind("text?", each.get("phy_type"), "phy_type")
        if each["static"]:
            for address in each["static"]:
                parts = [int(part) for part in address.split(".")]
                assert len(parts) == 4 and 0 <= min(parts) and max(parts) <= 255
    if made["ppp"]:
        for text in made["ppp"]["commands"] + [made["ppp"]["number"], made["ppp"]["apn"] or "a"]:
            assert type(text) is str and min(text.encode()) >= 32
    if made["network"] in ("wifi", "ppp"):
        assert made[made["network"]]


def secrets(found):
    """Count the secrets in their proper places."""
    if not isinstance(found, dict):
        return 0
    networks = found.get("wifi")
    sections = [found.get("mqtt"), found.get("ppp")]
    sections += networks if isinstance(networks, list) else [networks]
    passwords = [each.get("password") for each in sections if isinstance(each, dict)]
    return sum(each.count(SECRET) for each in passwords if isinstance(each, str))


def of_kind(kind, value, path):
    if kind == "text?" and value is None:
        return
    if kind[:4] == "text":
        assert type(value) is str, path
    elif kind == "flag":
        assert type(value) is bool, path
    elif kind == "list":
        assert type(value) is list, path
    else:
        assert type(value) is int or kind == "number" and type(value) is float, path
        # A wait must convert to milliseconds as an integer that `ticks` can represent.
        assert 0 <= value <= 500000, "%s is %s" % (path, value)
        assert int(value * 1000) >= 0
