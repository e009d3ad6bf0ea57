"""Run the unmodified libraries against a hostile server: `bare.py ACTION PORT`.

Prints "right" if nothing went wrong, "wrong …" if the caller was misled; an exception of a library
ends the process with a traceback. A hang is detected from outside.
"""

import os
import sys
import time

HOST = "127.0.0.1"
PORT = int(sys.argv[2])
SIZE = 6000


class Esp32Socket:
    """A socket that behaves as on esp32, esp8266 and rp2: setblocking(True) removes a timeout."""

    def __init__(self, own):
        self._own = own
        self.read = own.read
        self.write = own.write
        self.settimeout = own.settimeout

    def setblocking(self, flag):
        self._own.settimeout(None if flag else 0)


def mqtt(connect=True, **options):
    from umqtt.simple import MQTTClient

    class Ussl:
        """The `ussl` that umqtt 1.3.4 was written for, built on today's `tls`."""

        @staticmethod
        def wrap_socket(sock):
            import tls

            context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
            context.verify_mode = tls.CERT_NONE
            return context.wrap_socket(sock)

    sys.modules["ussl"] = Ussl
    client = MQTTClient(b"bare", HOST, PORT, **options)
    client.heard = []
    client.set_callback(lambda topic, payload: client.heard.append(bytes(payload)))
    if connect:
        client.connect()
    return client


def subscribed(topic=b"t"):
    client = mqtt()
    client.subscribe(topic)
    return client


def listen(client, seconds=1):
    """Check for messages, like an application's loop; right if exactly "good" arrives."""
    start = time.ticks_ms()
    while not client.heard and time.ticks_diff(time.ticks_ms(), start) < seconds * 1000:
        client.check_msg()
        time.sleep_ms(5)
    tell(client.heard == [b"good"], "heard %r" % client.heard)


def tell(right, what):
    print("right" if right else "wrong: " + what)


def connect():
    mqtt()
    print("right")


def connect_tls():
    mqtt(ssl=True)
    print("right")


def subscribe():
    listen(subscribed())


def subscribe_long():
    listen(subscribed(b"t" * 123))


def subscribe_str():
    listen(subscribed("Größe"))


def publish():
    mqtt().publish(b"t", b"x", qos=1)
    print("right")


def publish_late():
    client = mqtt()
    client.pid = 65535
    client.publish(b"t", b"x", qos=1)
    print("right")


def publish_qos2():
    mqtt().publish(b"t", b"x", qos=2)
    print("right")


def publish_much():
    client = mqtt()
    for _ in range(100):
        client.publish(b"t", bytes(100000))
    print("right")


def publish_twice():
    """Stop waiting for an acknowledgement after a timeout, and continue."""
    client = mqtt()
    client.sock.settimeout(0.3)
    try:
        client.pid = 0x3130
        client.publish(b"t", b"x", qos=1)
    except OSError:
        pass
    client.sock.settimeout(None)
    time.sleep(0.5)
    listen(client)


def publish_again():
    """Lose the connection of a report, and reconnect to the session that the broker has kept."""
    client = mqtt(connect=False)
    client.connect(clean_session=False)
    try:
        client.publish(b"t", b"done", qos=1)
    except OSError:
        client.connect(clean_session=False)
    while True:
        client.check_msg()
        time.sleep_ms(5)


def subscribe_late():
    """Stop waiting for a SUBACK after a timeout, and continue."""
    client = mqtt()
    client.sock.settimeout(0.3)
    try:
        client.pid = 0x3130 - 1
        client.subscribe(b"t")
    except OSError:
        pass
    client.sock.settimeout(None)
    time.sleep(0.5)
    listen(client)


def wait():
    client = mqtt()
    client.wait_msg()
    listen(client)


def wait_esp32():
    """Wait with a timeout, on a socket that forgets it."""
    client = mqtt()
    client.sock = Esp32Socket(client.sock)
    client.sock.settimeout(0.3)
    try:
        while True:
            client.wait_msg()
    except OSError:
        print("right")


def ping():
    """Run an application that pings, and checks for messages without blocking."""
    client = mqtt(keepalive=1)
    while True:
        client.ping()
        client.check_msg()
        time.sleep_ms(100)


def idle():
    """Only check for messages: the broker drops an application that sends nothing."""
    client = mqtt(keepalive=1)
    client.subscribe(b"t")
    listen(client)
    for _ in range(300):
        client.check_msg()
        time.sleep_ms(10)


def slow_callback():
    """Work inside the callback, as if it downloaded there."""
    client = mqtt()
    client.set_callback(lambda topic, payload: time.sleep(1))
    client.subscribe(b"t")
    client.wait_msg()
    print("right")


def url(scheme="http"):
    return "%s://%s:%d/f" % (scheme, HOST, PORT)


def body(answer):
    got = answer.content
    tell(len(got) == SIZE, "%d of %d bytes, and no error" % (len(got), SIZE))


def get():
    import requests

    body(requests.get(url()))


def sockets():
    return len(list(os.ilistdir("/proc/self/fd")))


def get_refused():
    """Request a response that the library rejects; it should at least close the socket."""
    import requests

    before = sockets()
    try:
        body(requests.get(url(), timeout=0.4))
    except ValueError as error:
        tell(sockets() == before, "%r, and the socket stays open" % error)


def get_timeout():
    import requests

    body(requests.get(url(), timeout=0.4))


def get_https():
    import requests

    body(requests.get(url("https"), timeout=0.4))


def get_twice():
    """Continue to read after a timeout, in blocks as an updater does."""
    import requests

    raw = requests.get(url(), timeout=0.3, headers={"Range": "bytes=0-"}).raw
    block = bytearray(SIZE)
    got = 0
    while got < SIZE:
        try:
            n = raw.readinto(block)
        except OSError:
            continue
        if not n:
            break
        got += n
    tell(got == SIZE, "%d of %d bytes, the rest was taken and dropped" % (got, SIZE))


globals()[sys.argv[1]]()
