"""Connect by PPP over a serial line, through a modem or directly."""

import time

import machine
import network
from micropython import const

from ivota import describe
from ivota.network_base import Interface

_TRY_S = const(60)  # for a modem to find its network, then to dial
_SILENCE_MS = const(1200)  # around +++, which ends a modem's call
_ANSWER_MS = const(5000)
_DIAL_MS = const(40000)
# Beginnings of ERROR, +CME ERROR, BUSY, NO CARRIER, NO DIALTONE and NO ANSWER.
_REFUSED = (b"ERRO", b"+CME", b"BUSY", b"NO C", b"NO D", b"NO A")
_LINE = const(200)  # bytes of a response that are checked


class Nic(Interface):
    """The connection; a generator talks to the modem, so that no other code has to wait."""

    def __init__(self, config, log):
        super().__init__(config, log)
        self._uart = None
        self._talk = None

    def connected(self):
        if self._talk:
            try:
                for _ in self._talk:
                    return False
            except Exception as error:  # the modem's error, or a driver's
                self.log("warning", "network_refused", why=describe(error))
            self._talk = None
        return super().connected()

    def bring_up(self):
        self.retry.failed(_TRY_S)
        self.log("info", "network_join", by="ppp")
        ppp = self.config["ppp"]
        if self.nic is None:
            pins = {name: ppp[name] for name in ("tx", "rx", "rts", "cts") if ppp[name] >= 0}
            self._uart = machine.UART(
                ppp["uart"], baudrate=ppp["baudrate"], timeout=0, rxbuf=2048, **pins
            )
            self.nic = network.PPP(self._uart)
        self._talk = self._connect(ppp)

    def _connect(self, ppp):
        """Dial if an APN is set, and start PPP; raise OSError if the modem refuses."""
        nic = self.nic
        nic.disconnect()  # left from the previous try
        if ppp["apn"] is not None:
            yield from _pause()
            nic.config(stream=None)  # we read the data now
            self._uart.write(b"+++")
            yield from _pause()
            self._uart.write(b"ATH\r")
            yield from _pause()
            context = 'AT+CGDCONT=1,"IP","%s"' % ppp["apn"]
            for command in ["AT"] + ppp["commands"] + [context]:
                yield from self._say(command, b"OK", _ANSWER_MS)
            yield from self._say("ATD" + ppp["number"], b"CONNECT", _DIAL_MS)
            nic.config(stream=self._uart)
        if ppp["user"] is None:
            nic.connect()
        else:
            secure = network.PPP.SEC_PAP if ppp["auth"] == "pap" else network.PPP.SEC_CHAP
            nic.connect(security=secure, user=ppp["user"], key=ppp["password"] or "")

    def _say(self, command, wanted, limit_ms):
        """Send a command, and read lines until one begins with `wanted`."""
        uart = self._uart
        while uart.any():
            uart.read(uart.any())
        uart.write(command.encode() + b"\r")
        begun = time.ticks_ms()
        said = b""
        while time.ticks_diff(time.ticks_ms(), begun) < limit_ms:
            while uart.any():
                byte = uart.read(1)
                if byte != b"\n":
                    said = (said + byte)[-_LINE:]
                    continue
                said = said.strip()
                if said[: len(wanted)] == wanted:
                    return
                if said[:4] in _REFUSED:
                    raise OSError("the modem answered %s to %s" % (_words(said), _shown(command)))
                said = b""
            yield
        raise OSError("no answer from the modem to " + _shown(command))

    def leave(self):
        self._talk = None
        super().leave()
        if self._uart:
            self._uart.deinit()


def _shown(command):
    """Return a command without the value that it sets, which may be a PIN."""
    return command.partition("=")[0]


def _words(line):
    return "".join([chr(byte) for byte in line if 32 <= byte < 127])


def _pause():
    begun = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begun) < _SILENCE_MS:
        yield
