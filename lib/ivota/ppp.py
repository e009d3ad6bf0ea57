"""PPP over a serial line: a modem is dialled, or the other end speaks PPP by itself."""

import time

import machine
import network
from micropython import const

from ivota import describe
from ivota.network_interface import Interface

_TRY_S = const(60)  # a modem looks for its network, then dials
_SILENCE_MS = const(1200)  # around +++, which takes a modem out of a call
_ANSWER_MS = const(5000)
_DIAL_MS = const(40000)
# Beginnings of ERROR, +CME ERROR, BUSY, NO CARRIER, NO DIALTONE and NO ANSWER.
_REFUSED = (b"ERRO", b"+CME", b"BUSY", b"NO C", b"NO D", b"NO A")
_LINE = const(200)  # bytes of an answer that are looked at


class Nic(Interface):
    """The session; the talk with the modem is a generator, so that nobody waits for it."""

    def __init__(self, config, log):
        super().__init__(config, log)
        self._uart = None
        self._talk = None

    def connected(self):
        if self._talk:
            try:
                for _ in self._talk:
                    return False
            except Exception as error:  # the modem's, or whatever a driver raises
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
        """Dial where an APN is named, and begin PPP; raises OSError for what a modem refuses."""
        nic = self.nic
        nic.disconnect()  # what is left of the try before
        if ppp["apn"] is not None:
            yield from _pause()
            nic.config(stream=None)  # what comes in is ours
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
        """Send a command, and read lines until one begins as `wanted`."""
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
                    raise OSError("the modem said %s to %s" % (_words(said), _shown(command)))
                said = b""
            yield
        raise OSError("no answer from the modem to " + _shown(command))

    def leave(self):
        self._talk = None
        super().leave()
        if self._uart:
            self._uart.deinit()


def _shown(command):
    """A command without what it sets, which may be a PIN."""
    return command.partition("=")[0]


def _words(line):
    return "".join([chr(byte) for byte in line if 32 <= byte < 127])


def _pause():
    begun = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begun) < _SILENCE_MS:
        yield
