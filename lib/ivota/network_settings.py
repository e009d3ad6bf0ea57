"""Check the configuration's sections about the network, and read the MAC address."""

import json
from binascii import hexlify

from micropython import const

_SSID = const(32)  # bytes, of any Wi-Fi network
# A default determines the type of a value, as in config.py; -1 is a pin that is not set.
_SECTIONS = """{"wifi":{"ssid":"","password":null,"static":null},
"lan":{"phy_type":null,"phy_addr":-1,"mdc":-1,"mdio":-1,"power":-1,"reset":-1,"ref_clk":-1,
"ref_clk_mode":null,"spi":-1,"sck":-1,"mosi":-1,"miso":-1,"cs":-1,"int":-1,"static":null},
"ppp":{"uart":1,"baudrate":115200,"tx":-1,"rx":-1,"rts":-1,"cts":-1,"apn":null,
"commands":[],"number":"*99#","auth":"pap","user":null,"password":null}}"""
_STATIC = """{"address":"","gateway":"","dns":null}"""


def check(config, merge, error):
    """Set the defaults in each section, and `network` to the name of the module for it.

    `wifi` becomes a list of networks, `static` the arguments of `ifconfig`. `merge` is config's.
    Raises `error`.
    """
    sections = json.loads(_SECTIONS)
    wifi = config["wifi"]
    if wifi is not None:
        each = wifi if isinstance(wifi, list) else [wifi]
        if not each:
            raise error("wifi is an empty list: omit it if the board joins no network")
        config["wifi"] = []
        for i in range(len(each)):
            where = "wifi[%d]." % i if isinstance(wifi, list) else "wifi."
            network = _section(each[i], sections["wifi"], where, merge, error)
            _wifi(network, where, error)
            config["wifi"].append(network)
    for name in ("lan", "ppp"):
        if config[name] is not None:
            config[name] = _section(config[name], sections[name], name + ".", merge, error)
    if config["ppp"]:
        _ppp(config["ppp"], error)
    if config["lan"] and config["lan"]["ref_clk_mode"] not in (None, "in", "out"):
        raise error("lan.ref_clk_mode must be one of in, out")
    config["network"] = _network(config, error)
    if config["hostname"] is not None:
        config["hostname"] = _hostname(config["hostname"], error)


def _network(config, error):
    network = config["network"]
    there = [name for name in ("wifi", "lan", "ppp") if config[name] is not None]
    if network is None:
        if len(there) > 1:
            raise error("network is missing: set it to one of %s" % ", ".join(there))
        return there[0] if there else None
    if network not in ("wifi", "lan", "ppp", "own"):
        raise error("network must be one of wifi, lan, ppp, own")
    if network in ("wifi", "ppp") and network not in there:
        raise error("%s is missing in the configuration: network needs it" % network)
    return network


def _section(found, defaults, where, merge, error):
    section = dict(defaults)
    static = None
    if isinstance(found, dict) and "static" in defaults and found.get("static") is not None:
        static = json.loads(_STATIC)
        merge(found["static"], static, where + "static.")
        static = _ifconfig(static, where, error)
        found = dict(found)
        del found["static"]
    merge(found, section, where)
    if static:
        section["static"] = static
    return section


def _ifconfig(static, where, error):
    """Return (address, netmask, gateway, DNS server), as for `ifconfig`."""
    address, _, bits = static["address"].partition("/")
    addresses = (address, static["gateway"], static["dns"] or static["gateway"])
    good = all([_is_ipv4(each) for each in addresses]) and 1 <= _number(bits) <= 30
    if not good:
        raise error(
            '%sstatic must be like {"address": "192.168.1.50/24", "gateway": "192.168.1.1"}'
            % where
        )
    mask = (1 << 32) - (1 << 32 - int(bits))
    netmask = ".".join([str(mask >> shift & 255) for shift in (24, 16, 8, 0)])
    return address, netmask, addresses[1], addresses[2]


def _is_ipv4(text):
    parts = text.split(".")
    return len(parts) == 4 and all([0 <= _number(part) <= 255 for part in parts])


def _number(text):
    """Return a whole number of up to three digits without leading zeros; -1 for anything else."""
    plain = 1 <= len(text) <= 3 and not set(text.encode()) - set(b"0123456789")
    return int(text) if plain and str(int(text)) == text else -1


def _wifi(network, where, error):
    if not 1 <= len(network["ssid"].encode()) <= _SSID:
        raise error("%sssid must have 1 to %d bytes" % (where, _SSID))
    password = network["password"]
    if password is None:
        return
    length = len(password.encode())
    is_key = length == 64 and not set(password.encode()) - set(b"0123456789abcdefABCDEF")
    if not (8 <= length <= 63 or is_key):
        raise error(
            "%spassword must have 8 to 63 characters, or 64 hexadecimal digits; leave it out "
            "for an open network" % where
        )


def _ppp(ppp, error):
    if ppp["auth"] not in ("pap", "chap"):
        raise error("ppp.auth must be one of pap, chap")
    for text in ppp["commands"] + [ppp["number"], ppp["apn"] or "-"]:
        if type(text) is not str or not text or min(text.encode()) < 32:
            raise error("ppp.number, ppp.apn and each of ppp.commands must be a one-line string")
    if '"' in (ppp["apn"] or ""):
        raise error("ppp.apn must be a name without quotation marks")


def _hostname(text, error):
    if "{mac}" in text:
        text = text.replace("{mac}", mac_address(error))
    letters = text.encode().lower()
    plain = b"abcdefghijklmnopqrstuvwxyz0123456789-"
    if not 1 <= len(text) <= 32 or set(letters) - set(plain) or 45 in (letters[0], letters[-1]):
        raise error("hostname must have 1 to 32 letters and digits, and - only between them")
    return text


def mac_address(error):
    """Return the board's MAC address as 12 hexadecimal digits; raise `error` if it has none."""
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
