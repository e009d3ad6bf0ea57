"""Return a board's MAC address, for a name that one configuration gives to many boards."""

from binascii import hexlify


def mac(error):
    """Return the address as 12 hexadecimal digits; raise `error` on a board without one."""
    address = b""
    try:
        import machine

        address = machine.unique_id()  # an ESP32's is its MAC address
        if len(address) != 6:
            import network

            station = network.WLAN(network.STA_IF)
            station.active(True)  # some radios return zeros before that
            address = station.config("mac")
    except (ImportError, AttributeError, OSError):
        pass
    if len(address) != 6 or not any(address):
        raise error("{mac} cannot be used: this board has no MAC address")
    return hexlify(address).decode()
