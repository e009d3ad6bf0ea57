"""The turnkey agent: network up, update client running, then the application."""

import gc
import json
import sys

import machine

try:
    import network
except ImportError:  # the unix port is on the network already
    network = None

from ivota import jsonfile, net
from ivota.client import Client
from ivota.errors import ConfigError, describe
from ivota.install import Installer
from ivota.state import State

_CONFIG = "/ivota.json"
_APP = "/app/"  # where boot.py mounts the bundle


def run():
    """Run until the board is to be restarted, and restart it."""
    config = load_config(_CONFIG, _APP + "config.json")
    state = State()
    installer = Installer(state)
    client = Client(config, running_version(config), installer, log=log, state=state)
    installer.client = client
    wifi = client.config["wifi"]
    if network and wifi["ssid"]:
        from ivota.wifi import Station

        net.online = Station(wifi, log)
    _watch(client, state)
    log("info", "running", version=client.version, trial=bool(state.trial))
    gc.collect()
    application = _application()
    if application is None:
        client.run()
        _restart(client)
    # In MicroPython an `async def` is a generator function.
    elif isinstance(application, type(_is_async)):
        import asyncio

        asyncio.run(_both(client, application))
        _restart(client)
    else:
        from ivota import runners

        runners.start(client, lambda: _restart(client))
        try:
            application()
        except Exception as error:
            _died(client, error)


def load_config(path, over):
    """The board's configuration, with the keys of the bundle's in place of its own.

    Raises ConfigError when there is none that can be read.
    """
    config = jsonfile.load(path)
    extra = jsonfile.load(over)
    if config is None and extra is None:
        raise ConfigError("%s is missing or is not JSON" % path)
    return _merge(config or {}, extra or {})


def _merge(config, extra):
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _merge(config[key], value)
        else:
            config[key] = value
    return config


def running_version(config):
    """The version that runs: the mounted bundle's, the frozen image's, the configuration's."""
    try:
        with open(_APP + "ivota.json") as file:
            return json.load(file)["version"]
    except OSError:
        pass
    try:
        from ivota_image import VERSION
    except ImportError:
        return config.get("version", "0")
    return VERSION


def log(level, event, **fields):
    """One line on the console."""
    print("ivota:", event, " ".join("%s=%s" % pair for pair in sorted(fields.items())))


def _watch(client, state):
    seconds = client.config["watchdog_s"] or (60 if state.trial else 0)
    if seconds:
        net.feed = machine.WDT(timeout=int(seconds * 1000)).feed


def _is_async():
    yield


def _application():
    """The application's `main`, or None where no bundle runs."""
    if _APP[:-1] not in sys.path:
        return None
    import app

    return app.main


async def _both(client, application):
    import asyncio

    async def guarded():
        try:
            await application()
        except Exception as error:
            _died(client, error)

    task = asyncio.create_task(guarded())
    await client.serve()
    task.cancel()


def _died(client, error):
    """The application ended with an error: its trial has failed; else updates go on without it."""
    sys.print_exception(error)
    log("error", "application_died", why=describe(error))
    if client.state.trial:
        machine.reset()


def _restart(client):
    """Reset the board for a new version, and for a client that ended without being told to."""
    if client.restart or not client.exiting:
        log("info", "restart")
        machine.reset()
