"""What the agent does once: configuration, version, network, watchdog, application."""

import sys

try:
    import network
except ImportError:  # the unix port is on the network already
    network = None

from ivota import net, once
from ivota.client import Client

_CONFIG = "/ivota.json"
_APP = "/app/"  # where boot.py mounts the bundle


def start(log):
    """(client, the application's `main` or None where no bundle runs)."""
    state = once("state").load()
    client = Client(load_config(), running_version(), log=log, state=state)
    if network and client.config["wifi"]["ssid"]:
        from ivota.wifi import Station

        net.online = Station(client.config["wifi"], log)
    seconds = client.config["watchdog_s"] or (60 if state.trial else 0)
    if seconds:
        import machine

        net.feed = machine.WDT(timeout=int(seconds * 1000)).feed
    log("info", "running", version=client.version, trial=bool(state.trial))
    return client, _application()


def load_config():
    """The board's configuration, and the bundle's, whose keys override it.

    Raises ConfigError when there is none that can be read.
    """
    load = once("jsonfile").load
    both = [load(path) for path in (_CONFIG, _APP + "config.json")]
    found = tuple(config for config in both if config is not None)
    if not found:
        raise once("config").ConfigError("%s is missing or is not JSON" % _CONFIG)
    return found


def running_version():
    """The mounted bundle's version, else the frozen image's, else None: the configuration's."""
    try:
        with open(_APP + "ivota.json", "rb") as file:
            for entry in once("filelist").entries(file, 1 << 20):
                version = entry.get("version")
            return version
    except OSError:
        pass
    try:
        from ivota_image import VERSION
    except ImportError:
        return None
    return VERSION


def _application():
    if _APP[:-1] not in sys.path:
        return None
    import app

    return app.main
