"""Switch to the other configuration, unnoticed by the application."""

from ivota import guarded_socket, once
from ivota.mqtt_session import Link


def switch(client, path):
    """Leave the cloud, and connect as the configuration at `path` says."""
    client.log("warning", "config", path=path)
    before = client.config
    client.config = config = once("config").check(once("config_backup").read(path, client.log))
    client.dialect = once(config["dialect"])
    client.link.close(True)
    client.link = Link(config, client)
    client.directory = config["firmware_dir"]
    guarded_socket.ntp_host = config["ntp_host"]
    for key in ("network", "wifi", "lan", "ppp", "hostname"):
        if config[key] != before[key]:
            leave = getattr(guarded_socket.online, "leave", None)
            if leave:
                leave()
                guarded_socket.online = guarded_socket.always
            once("startup").join(client)
            break
