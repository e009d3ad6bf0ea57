"""The board's configuration: every key, its kind and default (docs/formats.md)."""

from ivota.errors import ConfigError

_REQUIRED = object()
_NUMBER = (int, float)
_KEYS = {
    "product_id": (str, _REQUIRED),
    "device_name": (str, _REQUIRED),
    "device_secret": (str, None),
    "version": (str, "0"),
    "mqtt": {
        "host": (str, _REQUIRED),
        "port": (int, None),
        "tls": (bool, False),
        "ca": (str, None),
        "user": (str, None),
        "password": (str, None),
        "keepalive_s": (int, 120),
        "max_message_bytes": (int, 4096),
    },
    "http": {
        "ca": (str, None),
        "timeout_s": (_NUMBER, 10),
        "deadline_s": (_NUMBER, 60),
    },
    "wifi": {"ssid": (str, None), "password": (str, None)},
    "topics": {
        "report": (str, "$ota/report/{product_id}/{device_name}"),
        "update": (str, "$ota/update/{product_id}/{device_name}"),
    },
    "firmware_dir": (str, "/firmware"),
    "report_interval_s": (_NUMBER, 300),
    "retry": {
        "first_s": (_NUMBER, 1),
        "most_s": (_NUMBER, 300),
        "job_tries": (int, 8),
        "rest_most_s": (_NUMBER, 86400),
    },
    "trial": {
        "starts": (int, 3),
        "power_boots": (int, 10),
        "limit_s": (_NUMBER, 600),
        "confirm": (("cloud", "application"), "cloud"),
    },
    "keys": (list, ()),
    "target": (str, None),
    "one_tls_session": (bool, False),
    "watchdog_s": (_NUMBER, 0),
}


def check(found):
    """A copy of the configuration with every key set.

    Raises ConfigError that names the key which is missing, unknown or mistyped.
    """
    config = _check(found, _KEYS, "")
    mqtt = config["mqtt"]
    if mqtt["port"] is None:
        mqtt["port"] = 8883 if mqtt["tls"] else 1883
    if mqtt["tls"] and not mqtt["ca"]:
        raise ConfigError("mqtt.ca is missing: with mqtt.tls the broker is verified against it")
    if not 1 <= mqtt["keepalive_s"] <= 65535:
        raise ConfigError("mqtt.keepalive_s must be from 1 to 65535")
    for name in ("report", "update"):
        topics = config["topics"]
        try:
            topics[name] = topics[name].format(
                product_id=config["product_id"], device_name=config["device_name"]
            )
        except (KeyError, IndexError, ValueError):
            raise ConfigError(
                "topics.%s: only {product_id} and {device_name} can stand in braces" % name
            )
    return config


def _check(found, keys, where):
    if not isinstance(found, dict):
        raise ConfigError("%s must be an object with keys" % (where[:-1] or "the configuration"))
    for key in found:
        if key not in keys:
            raise ConfigError(
                "%s%s is unknown; the nearest known key is %s" % (where, key, _nearest(key, keys))
            )
    return {key: _value(found.get(key), keys[key], where + key) for key in keys}


def _value(value, rule, name):
    if isinstance(rule, dict):
        return _check({} if value is None else value, rule, name + ".")
    kind, default = rule
    if value is None:
        if default is _REQUIRED:
            raise ConfigError("%s is missing in the configuration" % name)
        return default
    if isinstance(kind, tuple) and isinstance(kind[0], str):
        if value not in kind:
            raise ConfigError("%s must be one of %s" % (name, ", ".join(kind)))
        return value
    # bool is an int in Python; in a configuration it is a mistake.
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError("%s must be %s" % (name, _KINDS[kind]))
    if kind in (int, _NUMBER) and value < 0:
        raise ConfigError("%s must not be negative" % name)
    return value


_KINDS = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    _NUMBER: "a number",
}


def _nearest(key, keys):
    """The known key that shares most pairs of neighbouring letters."""
    pairs = {key[i : i + 2] for i in range(len(key) - 1)}

    def likeness(other):
        theirs = {other[i : i + 2] for i in range(len(other) - 1)}
        return 2 * len(pairs & theirs) / (len(pairs) + len(theirs) or 1)

    return max(sorted(keys), key=likeness)
