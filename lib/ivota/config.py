"""Check the board's configuration, and set the default of every key (docs/formats.md)."""

import json

from micropython import const

from ivota import once

_MOST = const(500000)  # maximum of a number: ticks measure up to six days

_NAME = const(64)  # characters; a vendor's cloud accepts 48 or fewer
_PLAIN = const(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_OURS = const((b"app", b"lib"))  # folders that an update must never clear

# A default determines the type of a value; null is an optional text. As JSON text, the table takes
# a third of the heap that it would take as code.
_DEFAULTS = const("""{"product_id":"","device_name":"","device_secret":null,"version":"0",
"dialect":"tencent","channel":null,"home_assistant":null,"hardware":null,
"mqtt":{"host":"","port":0,"tls":false,"ca":null,"cert":null,"key":null,"user":null,"password":null,
"keepalive_s":120,"max_message_bytes":4096},
"http":{"ca":null,"cert":null,"key":null,"authorization":null,"timeout_s":10,"deadline_s":60},
"network":null,"hostname":null,"wifi":null,"lan":null,"ppp":null,"ntp_host":null,
"topics":{"report":"$ota/report/{product_id}/{device_name}",
"update":"$ota/update/{product_id}/{device_name}"},
"firmware_dir":"/firmware","report_interval_s":300,
"retry":{"first_s":1,"most_s":300,"job_tries":8,"rest_most_s":86400},
"trial":{"starts":3,"power_boots":10,"limit_s":600,"confirm":"cloud"},
"keys":[],"target":null,"one_tls_session":false,"watchdog_s":0}""")


class ConfigError(ValueError):
    """The configuration is not valid; the text contains the key and what is expected."""


def check(found):
    """Return a copy of the configuration with every key set; in a tuple, later ones override.

    Raises ConfigError with the name of a missing, unknown or mistyped key.
    """
    config = json.loads(_DEFAULTS)
    for part in found if isinstance(found, tuple) else (found,):
        _merge(part, config, "")
    for name in ("network", "hostname", "wifi", "lan", "ppp"):
        if config[name] is not None:
            once("network_settings").check(config, _merge, ConfigError)
            break
    mqtt = config["mqtt"]
    if config["channel"] is not None or config["dialect"] == "http_channel":
        once("http_channel").check(config, _merge, ConfigError)
    for needed, value in (  # bytes do not become names, which stay in the heap
        (b"product_id", config["product_id"]),
        (b"device_name", config["device_name"]),
        (b"mqtt.host", mqtt["host"] or config["channel"]),
    ):
        if not value:
            raise ConfigError(needed.decode() + " is missing in the configuration")
    for name in ("product_id", "device_name"):
        config[name] = _name(config[name], name)
    for name, host in (("mqtt.host", mqtt["host"]), ("ntp_host", config["ntp_host"] or "")):
        # An IPv6 address also contains colons, but never just one.
        if set(host.encode()) - set(_PLAIN + b"_.-:") or host.count(":") == 1:
            raise ConfigError(
                name + " must be a name or an address without scheme, port or spaces"
            )
    if not mqtt["port"]:
        mqtt["port"] = 8883 if mqtt["tls"] else 1883
    if mqtt["tls"] and not mqtt["ca"]:
        raise ConfigError("mqtt.ca is missing: mqtt.tls needs it")
    http = config["http"]
    for name, part in (("mqtt", mqtt), ("http", http)):
        if part["cert"] or part["key"]:
            once("client_certificate").check(name, part, ConfigError)
    if http["authorization"]:
        once("authorization_header").check(http["authorization"], ConfigError)
    for name in ("port", "keepalive_s"):
        if not 1 <= mqtt[name] <= 65535 or type(mqtt[name]) is float:
            raise ConfigError("mqtt.%s must be a whole number from 1 to 65535" % name)
    if config["home_assistant"] is not None:
        once("home_assistant_settings").check(config, _merge, check, ConfigError)
    if config["trial"]["confirm"] not in ("cloud", "broker", "application"):
        raise ConfigError("trial.confirm must be one of cloud, broker, application")
    # Each update clears the folder: there must be nothing else in it.
    top, *folders = config["firmware_dir"].encode().split(b"/")
    named = all([part.strip(b".") for part in folders])
    if top or not folders or not named or folders[0] in _OURS:
        raise ConfigError('firmware_dir must be a folder of its own, such as "/firmware"')
    if not all([type(path) is str and path for path in config["keys"]]):
        raise ConfigError("keys must be a list of paths")
    for path in (  # bytes, as above
        b"http.timeout_s",
        b"http.deadline_s",
        b"retry.first_s",
        b"retry.most_s",
        b"trial.power_boots",
        b"trial.limit_s",
        b"report_interval_s",
    ):
        value = config
        for key in path.decode().split("."):
            value = value[key]
        if not value:
            raise ConfigError(path.decode() + " must be above 0")
    if config["dialect"] != "tencent":
        _set_topics(config, found)
    topics = config["topics"]
    for name in topics:
        topic = topics[name].replace("{product_id}", config["product_id"])
        topics[name] = topic = topic.replace("{device_name}", config["device_name"])
        if set(b"{}") & set(topic.encode()):
            raise ConfigError(
                "topics.%s: only {product_id} and {device_name} are allowed in braces" % name
            )
        # A dialect can have several topics, separated by line ends (aliyun).
        if set(b"+#\0") & set(topic.encode()) or not all(topic.split("\n")):
            raise ConfigError("topics.%s must be a topic without + or #" % name)
    return config


def _set_topics(config, found):
    """Set the topics of the dialect in the checked `config`; those in `found` override them."""
    name = config["dialect"]
    try:
        topics = dict(once(name).TOPICS)
    except (ImportError, AttributeError, ValueError):
        raise ConfigError("dialect %s: the board has no ivota/%s with TOPICS" % (name, name))
    for part in found if isinstance(found, tuple) else (found,):
        given = part.get("topics") or {}
        topics.update({name: given[name] for name in given if given[name] is not None})
    config["topics"] = topics


def _name(text, key):
    """Return a name that is valid in topics, sign-ins and files; replace {mac} with the MAC
    address.
    """
    if "{mac}" in text:
        text = text.replace("{mac}", once("network_settings").mac_address(ConfigError))
    if set(text.encode()) - set(_PLAIN + b"_.-:@") or len(text) > _NAME:
        raise ConfigError(
            "%s must be at most %d characters: letters, digits and _ . - : @" % (key, _NAME)
        )
    return text


def _merge(found, config, where):
    """Replace the defaults with the given values."""
    if not isinstance(found, dict):
        raise ConfigError("%s must be a JSON object" % (where[:-1] or "the configuration"))
    for key, value in found.items():
        key = str(key)  # the parser accepts anything as a key
        name = where + key
        if key not in config:
            raise ConfigError("%s is unknown; did you mean %s?" % (name, _nearest(key, config)))
        default = config[key]
        if value is None:
            continue
        own = ("wifi", "lan", "ppp", "channel", "home_assistant")
        if not where and key in own or key == "authorization":
            config[key] = value  # checked by a module of its own
            continue
        if isinstance(default, dict):
            _merge(value, default, name + ".")
            continue
        kind = str if default is None else type(default)
        # bool is an int in Python; in a configuration it is a mistake.
        fits = type(value) is kind or type(value) is float and key.encode()[-2:] == b"_s"
        if not fits:
            raise ConfigError("%s must be %s" % (name, _kind(kind, key).decode()))
        if kind is int and not 0 <= value <= _MOST:
            raise ConfigError("%s must be from 0 to %d" % (name, _MOST))
        config[key] = value


def _nearest(key, keys):
    """Return the known key that shares the most pairs of adjacent letters."""
    pairs = {key[i : i + 2] for i in range(len(key) - 1)}

    def likeness(other):
        theirs = {other[i : i + 2] for i in range(len(other) - 1)}
        return 2 * len(pairs & theirs) / (len(pairs) + len(theirs) or 1)

    return max(sorted(keys), key=likeness)


def _kind(kind, key):
    # As bytes: short texts would become names, which stay in the heap.
    if kind is int:
        return b"a number" if key.encode()[-2:] == b"_s" else b"a whole number"
    return {str: b"a string", bool: b"true or false", list: b"a list"}[kind]
