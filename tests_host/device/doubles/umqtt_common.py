"""What the umqtt.simple of MicroPython 1.25 to 1.29 put on the wire, and how they fail.

Versions are (major, minor): 1.6 in MicroPython 1.25 and 1.26, 1.7 in 1.27 and 1.28, 1.8 in 1.29.
"""

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x30, 0x40, 0x82, 0x90
UNSUBSCRIBE, UNSUBACK, PINGRESP = 0xA2, 0xB0, b"\xd0"


def variable_length(n):
    """MQTT's length: seven bits a byte, the low ones first."""
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def two_bytes(n):
    return (n & 0xFFFF).to_bytes(2, "big")


def size_of(text):
    # Characters, not bytes: the length of a str that is not ASCII is wrong on the wire.
    return 2 + len(text)


class MQTTException(Exception):
    pass


def make(names, version):
    """The MQTTClient of `version`; `names` are the globals of its module, where `socket` is."""

    class MQTTClient:
        def __init__(
            self,
            client_id,
            server,
            port=0,
            user=None,
            password=None,
            keepalive=0,
            ssl=None,
            ssl_params={},  # noqa: B006
        ):
            self.client_id = client_id
            self.server = server
            self.port = port or (8883 if ssl else 1883)
            self.user = user
            self.pswd = password
            self.keepalive = keepalive
            self.ssl = ssl
            self.ssl_params = ssl_params
            self.sock = None
            self.pid = 0
            self.cb = None
            self.lw_topic = None
            self.lw_msg = None
            self.lw_qos = 0
            self.lw_retain = False

        def set_callback(self, f):
            self.cb = f

        def set_last_will(self, topic, msg, retain=False, qos=0):
            assert qos in (0, 1, 2)
            assert topic
            self.lw_topic, self.lw_msg = topic, msg
            self.lw_retain, self.lw_qos = retain, qos

        def _text(self, text):
            self.sock.write(two_bytes(len(text)))
            self.sock.write(text)

        def connect(self, clean_session=True, timeout=None):
            if version >= (1, 8) and self.sock:
                self.sock.close()
            network = names["socket"]
            self.sock = network.socket()
            self.sock.settimeout(timeout)
            self.sock.connect(network.getaddrinfo(self.server, self.port)[0][-1])
            if self.ssl is True:
                import ssl

                self.sock = ssl.wrap_socket(self.sock, **self.ssl_params)
            elif self.ssl:
                self.sock = self.ssl.wrap_socket(self.sock, server_hostname=self.server)
            assert self.keepalive < 65536
            flags = clean_session << 1
            texts = [self.client_id]
            if self.lw_topic:
                flags |= 4 | self.lw_qos << 3 | self.lw_retain << 5
                texts += [self.lw_topic, self.lw_msg]
            if self.user:
                flags |= 0xC0
                texts += [self.user, self.pswd]
            size = 10 + sum([size_of(text) for text in texts])
            self.sock.write(bytes([CONNECT]) + variable_length(size))
            self.sock.write(b"\0\4MQTT\4" + bytes([flags]) + two_bytes(self.keepalive))
            for text in texts:
                self._text(text)
            answer = self.sock.read(4)  # b"" from a peer that closes: an IndexError
            assert answer[0] == 0x20 and answer[1] == 2
            if answer[3]:
                raise MQTTException(answer[3])
            return answer[2] & 1

        def disconnect(self):
            self.sock.write(b"\xe0\0")
            self.sock.close()

        def ping(self):
            self.sock.write(b"\xc0\0")

        def publish(self, topic, msg, retain=False, qos=0):
            size = size_of(topic) + len(msg) + (2 if qos else 0)
            assert size < 1 << 21
            self.sock.write(bytes([PUBLISH | qos << 1 | retain]) + variable_length(size))
            self._text(topic)
            if qos:
                self.pid += 1
                pid = self.pid
                self.sock.write(two_bytes(pid))
            self.sock.write(msg)
            assert qos < 2
            while qos:  # for as long as it takes; a number past 65535 is never acknowledged
                if self.wait_msg() == PUBACK:
                    assert self.sock.read(1) == b"\2"
                    if self._number() == pid:
                        return

        def _ask(self, kind, topic, tail, answer_kind):
            self.pid += 1
            pid = self.pid
            size = 2 + size_of(topic) + len(tail)
            # One byte for the length up to 1.7: wrong from 128 on, a topic of 123 bytes.
            length = variable_length(size) if version >= (1, 8) else bytes([size & 0xFF])
            self.sock.write(bytes([kind]) + length + two_bytes(pid))
            self._text(topic)
            if tail:
                self.sock.write(tail)
            while self.wait_msg() != answer_kind:
                pass
            answer = self.sock.read(3 + len(tail))
            if version < (1, 8):
                pid &= 0xFFFF
            assert answer[1] << 8 | answer[2] == pid
            if tail and answer[3] == 0x80:
                raise MQTTException(answer[3])

        def subscribe(self, topic, qos=0):
            assert self.cb is not None, "Subscribe callback is not set"
            self._ask(SUBSCRIBE, topic, bytes([qos]), SUBACK)

        def wait_msg(self):
            first = self.sock.read(1)
            self.sock.setblocking(True)
            if first is None:
                return None
            if first == b"":
                raise OSError(-1)
            if first == PINGRESP:
                assert self.sock.read(1)[0] == 0
                return None
            op = first[0]
            if op & 0xF0 != PUBLISH:
                return op  # and its body stays unread
            size = shift = 0
            while True:
                byte = self.sock.read(1)[0]
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            topic_size = self._number()
            topic = self.sock.read(topic_size)
            size -= 2 + topic_size
            qos = op >> 1 & 3
            if qos:
                pid = self._number()
                size -= 2
            self.cb(topic, self.sock.read(size))
            if qos == 1:
                self.sock.write(b"\x40\2" + two_bytes(pid))
            assert qos != 2
            return op

        def _number(self):
            data = self.sock.read(2)
            return data[0] << 8 | data[1]

        def check_msg(self):
            self.sock.setblocking(False)
            return self.wait_msg()

    if version < (1, 7):
        return MQTTClient

    class WithUnsubscribe(MQTTClient):
        def unsubscribe(self, topic):
            self._ask(UNSUBSCRIBE, topic, b"", UNSUBACK)

    return WithUnsubscribe
