"""Connect to the broker and subscribe."""

from sys import modules

from ivota import frozen, guarded_socket, once, own_copy

umqtt = own_copy("umqtt.simple")
# Whether each session has a copy: nothing else uses it, and the next session loads another one.
_disposable = not frozen and modules.get("umqtt.simple") is not umqtt


def dial(config, topics, on_message):
    """Sign in, send the subscription, and return (stream, umqtt's client).

    Raises umqtt's errors.
    """
    mqtt = config["mqtt"]
    client_id = config["product_id"] + config["device_name"]
    user, password = mqtt["user"], mqtt["password"]
    if config["device_secret"]:
        client_id, user, password = once("cloud_sign_in").sign_in(config)
    stream = guarded_socket.Stream(
        mqtt["host"],
        mqtt["port"],
        config["http"]["timeout_s"],
        mqtt["ca"] if mqtt["tls"] else None,
        mqtt["max_message_bytes"],
        mqtt,
    )
    try:
        # umqtt counts characters, but MQTT counts bytes.
        client = umqtt.MQTTClient(
            client_id.encode(),
            mqtt["host"],
            mqtt["port"],
            user and user.encode(),
            (password or "").encode(),
            mqtt["keepalive_s"],
        )
        client.set_callback(on_message)
        if "set_last_will" in mqtt:
            client.set_last_will(*mqtt["set_last_will"])
        guarded_socket.lend(stream, umqtt, client.connect)
        # Subscribe with QoS 1. Up to 1.7.0, umqtt's own function can't encode a length above 127.
        client.pid += 1
        body = client.pid.to_bytes(2, "big")
        for topic in topics:
            body += len(topic).to_bytes(2, "big") + topic + b"\x01"
        size = len(body)
        head = bytes([0x82, size & 0x7F | 0x80, size >> 7]) if size > 127 else bytes([0x82, size])
        stream.begin()
        stream.write(head + body)
    except BaseException:
        stream.close()
        raise
    if _disposable:
        # Free 800 bytes: methods for which a connected session has no use.
        for name in ("__init__", "connect", "subscribe", "set_last_will"):
            setattr(umqtt.MQTTClient, name, None)
        modules.pop(__name__, None)  # this copy can't connect again
    return stream, client
