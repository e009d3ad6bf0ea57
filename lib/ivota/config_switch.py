"""Switch to the other configuration, unnoticed by the application."""

from ivota import guarded_socket, once


def switch(client, path):
    """Leave the cloud, and connect as the configuration at `path` says."""
    client.log("warning", "config", path=path)
    before = client.config
    config = once("config").check(once("config_backup").read(path, client.log))
    client.link.close(True)
    client.adopt(config)
    for key in ("network", "wifi", "lan", "ppp", "hostname"):
        if config[key] != before[key]:
            leave = getattr(guarded_socket.online, "leave", None)
            if leave:
                leave()
                guarded_socket.online = guarded_socket.always
            once("startup").join(client)
            break
