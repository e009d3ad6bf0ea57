"""Run Home Assistant without its web pages, in its own environment.

Arguments: a folder for its files, and the port of the MQTT broker. It prints a line of JSON for
each change of an entity, and reads commands from standard input: `install ENTITY`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import Any

from homeassistant import auth, bootstrap, config_entries, core, loader
from homeassistant.setup import async_setup_component

ENTRY = {
    "version": 1,
    "minor_version": 1,
    "entry_id": "ivota",
    "domain": "mqtt",
    "title": "broker",
    "options": {},
    "pref_disable_new_entities": False,
    "pref_disable_polling": False,
    "source": "user",
    "unique_id": None,
    "disabled_by": None,
}


async def main(folder: str, port: int) -> None:
    entry = ENTRY | {"data": {"broker": "127.0.0.1", "port": port, "discovery": True}}
    stored = {"version": 1, "minor_version": 1, "key": "core.config_entries",
              "data": {"entries": [entry]}}  # fmt: skip
    hass = core.HomeAssistant(folder)
    loader.async_setup(hass)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await asyncio.to_thread(_write, f"{folder}/.storage/core.config_entries", stored)
    await asyncio.to_thread(_write, f"{folder}/configuration.yaml", {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    hass.bus.async_listen("state_changed", _changed)
    settings = {"http": {"server_host": "127.0.0.1", "server_port": _free_port()}}
    for domain in ("homeassistant", "http", "mqtt"):
        if not await async_setup_component(hass, domain, settings):
            raise SystemExit(f"cannot set up {domain}")
    await hass.async_start()
    print(json.dumps({"started": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, _, entity = line.strip().partition(" ")
        if word == "install":
            await hass.services.async_call("update", "install", {"entity_id": entity})
    await hass.async_stop(force=True)


def _free_port() -> int:
    """Return a free port: the web server is not used here, but must have a port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _write(path: str, value: Any) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump(value, file)


@core.callback
def _changed(event: Any) -> None:
    new = event.data["new_state"]
    found = {"entity": event.data["entity_id"], "state": new.state if new else None}
    print(json.dumps(found | {"attributes": dict(new.attributes) if new else {}}, default=str),
          flush=True)  # fmt: skip


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
