"""`network` and `machine.UART` as the esp32 port has them, 1.25 to 1.29; each names its source."""


class Interface:
    """What ports/esp32/network_common.c has for each of them: esp_ifconfig, esp_ipconfig."""

    def __init__(self, calls):
        self.calls = calls  # what was asked of the drivers, in order
        self.dhcp = True
        self.address = ("10.0.0.2", "255.255.255.0", "10.0.0.1", "10.0.0.1")
        self.on = False

    def ifconfig(self, value=None):
        if value is None:
            if self.dhcp and not self.isconnected():
                return ("0.0.0.0",) * 4
            return self.address
        address, netmask, gateway, dns = value
        self.calls.append(("static", address))
        self.dhcp = False
        self.address = (address, netmask, gateway, dns)

    def ipconfig(self, key=None, dhcp4=None):
        if key == "dhcp4":
            return self.dhcp
        if dhcp4 is None or key is not None:
            raise ValueError("unexpected key")
        self.calls.append(("dhcp",))
        self.dhcp = dhcp4


class Wlan(Interface):
    """ports/esp32/network_wlan.c, the station: it joins only when it is told to."""

    def __init__(self, calls):
        super().__init__(calls)
        self.air = {}  # SSID -> password of each network that can be heard
        self.joined = None
        self.asked = None
        self.fails = None  # the error of each call, as esp_exceptions_helper raises them

    def active(self, flag=None):
        if flag is not None:
            if self.fails:
                raise self.fails
            self.on = flag
        return self.on

    def isconnected(self):
        return self.joined is not None

    # network_wlan_connect: the host name is read here.
    def connect(self, ssid, password):
        if not self.on:
            raise OSError("Wifi Not Started")
        if self.asked is not None:  # esp_wifi_set_config, while it connects
            raise OSError("Wifi Internal State Error")
        self.calls.append(("join", ssid, password))
        self.asked = ssid
        if ssid in self.air and self.air[ssid] == password:
            self.joined = ssid

    def disconnect(self):
        if not self.on:
            raise OSError("Wifi Not Started")
        self.joined = self.asked = None

    def config(self, key):
        if key == "ssid":
            return self.joined or self.asked or ""
        if key == "mac":
            return b"\x24\x6f\x28\xae\x01\xfc"
        raise ValueError("unknown config param")


class Lan(Interface):
    """ports/esp32/network_lan.c: lan_active, lan_isconnected; `cable` is the link with DHCP."""

    cable = True

    def active(self, flag=None):
        if flag is not None:
            self.calls.append(("active", flag))
            self.on = flag
        return self.on

    def isconnected(self):
        return self.on and self.cable


class Ppp:
    """ports/esp32/network_ppp.c: connect, disconnect, config(stream=…)."""

    SEC_NONE, SEC_PAP, SEC_CHAP = 0, 1, 2

    def __init__(self, calls, stream):
        self.calls = calls
        self.stream = stream
        self.state = "inactive"

    def connect(self, security=0, user=None, key=None):
        if self.state in ("connecting", "connected"):
            raise OSError(120)  # EALREADY
        self.calls.append(("ppp", security, user, key))
        self.state = "connected" if self.stream.peer else "connecting"

    def disconnect(self):
        if self.state in ("connecting", "connected"):
            self.state = "inactive"  # network_ppp_status_cb, which frees the session

    # While it has the stream its interrupt takes what comes in: network_ppp_poll.
    def config(self, stream):
        self.stream = stream

    def isconnected(self):
        return self.state == "connected"

    def ifconfig(self):
        return ("10.64.0.7", "10.64.0.1", "255.255.255.255", "10.64.0.1")


class Uart:
    """A serial line with a modem: what it `answers` to a command, by how that begins."""

    def __init__(self, answers):
        self.answers = answers
        self.peer = False  # whether PPP is spoken at the other end
        self.said = []
        self._line = b""
        self._in = b""

    def any(self):
        return len(self._in)

    def read(self, n):
        found, self._in = self._in[:n], self._in[n:]
        return found or None

    def write(self, data):
        self._line += data
        while b"\r" in self._line:
            line, _, self._line = self._line.partition(b"\r")
            if line[:3] == b"+++":  # it hangs up
                self.peer, line = False, line[3:]
            self.said.append(line.decode())
            known = [start for start in self.answers if self.said[-1][: len(start)] == start]
            if known:
                answer = self.answers[max(known, key=len)]
                self._in += b"\r\n" + answer.encode() + b"\r\n"
                self.peer = answer[:7] == "CONNECT"
        return len(data)

    def deinit(self):
        self.said.append("deinit")


class Network:
    """extmod/modnetwork.c, with ports/esp32/modnetwork_globals.h."""

    STA_IF = 0
    PHY_LAN8720 = 2

    def __init__(self):
        self.calls = []
        self.wlan = Wlan(self.calls)
        self.lan = Lan(self.calls)
        self.arguments = None
        self.PPP = _Ppps(self.calls)

    def WLAN(self, _interface):
        return self.wlan

    # get_lan: phy_addr and phy_type are needed, as is each pin of the chip's bus.
    def LAN(self, **arguments):
        if "phy_addr" not in arguments or "phy_type" not in arguments:
            raise TypeError("'phy_addr' argument required")
        if "mdc" not in arguments and "spi" not in arguments:
            raise ValueError("mdc and mdio must be specified")
        self.arguments = arguments
        return self.lan

    # mod_network_hostname
    def hostname(self, name):
        if len(name) > 32:
            raise ValueError
        self.calls.append(("hostname", name))


class _Ppps:
    """The class `network.PPP`: its constants, and one session for each call."""

    SEC_NONE, SEC_PAP, SEC_CHAP = Ppp.SEC_NONE, Ppp.SEC_PAP, Ppp.SEC_CHAP

    def __init__(self, calls):
        self._calls = calls
        self.made = []

    def __call__(self, stream):
        self.made.append(Ppp(self._calls, stream))
        return self.made[-1]


class Machine:
    """`Pin`, `SPI` and `UART`, which keep what they were told."""

    def __init__(self, answers=None):
        self.uart = Uart(answers or {})
        self.told = None

    class Pin:
        IN, OUT = 1, 3

        def __init__(self, number):
            self.number = number

    class SPI:
        def __init__(self, number, **pins):
            self.number = number
            self.pins = pins

    def UART(self, number, **told):
        self.told = dict(told, number=number)
        return self.uart
