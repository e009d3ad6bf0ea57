"""Check the configuration's section `home_assistant` (docs/formats.md)."""

import json

# A default determines the type of a value, as in config.py. Without a host, the broker is mqtt's.
_SECTION = """{"mode":"view","host":"","port":0,"tls":false,"ca":null,"cert":null,"key":null,
"user":null,"password":null,"keepalive_s":60}"""
_MODES = ("view", "install", "remove")


def check(config, merge, check_all, error):
    """Set the defaults of `config["home_assistant"]`, and the broker's if it has none of its own.

    `merge` and `check_all` are those of config. Raises `error`.
    """
    section = json.loads(_SECTION)
    merge(config["home_assistant"], section, "home_assistant.")
    mode = section.pop("mode")
    if mode not in _MODES:
        raise error("home_assistant.mode must be one of " + ", ".join(_MODES))
    if not section["host"]:
        if config["device_secret"] or not config["mqtt"]["host"]:
            raise error(
                "home_assistant.host is missing: set it to Home Assistant's broker, or set "
                "mqtt.host to that broker and omit device_secret"
            )
        given = config["home_assistant"]
        broker = dict(config["mqtt"], keepalive_s=section["keepalive_s"])
        broker.update({key: section[key] for key in section if given.get(key) is not None})
        section = broker
    # The same rules as for the section `mqtt`.
    try:
        section = check_all({"product_id": "-", "device_name": "-", "mqtt": section})["mqtt"]
    except error as problem:
        raise error(str(problem).replace("mqtt.", "home_assistant."))
    if section["tls"] and config["one_tls_session"]:
        raise error(
            "home_assistant.tls must be false with one_tls_session: it would be a second session"
        )
    section["mode"] = mode
    config["home_assistant"] = section
