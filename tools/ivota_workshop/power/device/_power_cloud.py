"""The board's cloud in the power-cut proof: bytes of an MQTT broker and of a web server.

For a board that reads a channel, the web server is all there is.

It prints every report, so that the host knows it whatever happens to this process; its earlier
knowledge comes with the plan. The board's flash never affects what the cloud does here.
"""

import json

TARGET = "$ota/update/P/board"
HOST = "cloud"

plan = None  # version, md5sum, file_size
content = None  # the firmware, as a memoryview
index = ""  # a channel's index, if there is one
again = ""  # part of a failure's text after which it pushes again
satisfied = False  # whether it has a final report of that version
noted = None  # values that the host reads: the number of reports, and the bytes received
note = None  # called when they have changed
spoken = None  # called when the board has sent a report


def heard(payload):
    """Receive a report; return the cloud's response."""
    global satisfied
    print("cloud:", payload.decode())
    noted[0] += 1
    note()
    message = json.loads(payload)
    report = message["report"]
    if message["type"] == "report_progress":
        state = report["progress"]["state"]
        final = state in ("done", "fail") and report["version"] == plan["version"]
        if final and not (again and again in report["progress"]["result_msg"]):
            satisfied = True
        return
    version = report["version"]
    yield {"type": "report_version_rsp", "result_code": 0, "result_msg": "success",
           "version": version}  # fmt: skip
    if version != plan["version"] and not satisfied:
        push = {"type": "update_firmware", "url": "http://%s/firmware" % HOST, "user_defined": "-"}
        push.update(plan)
        yield push


class Broker:
    """One MQTT connection (3.1.1, as umqtt speaks it)."""

    def __init__(self, sock):
        self._sock = sock
        self._data = b""

    def take(self, data):
        self._data += data
        while True:
            packet = self._packet()
            if packet is None:
                return
            spoken()
            self._answer(*packet)

    def _packet(self):
        """Return (first byte, content after the length) of a complete packet, or None."""
        data = self._data
        size = shift = 0
        for at in range(1, len(data)):
            size |= (data[at] & 0x7F) << shift
            shift += 7
            if not data[at] & 0x80:
                end = at + 1 + size
                if len(data) < end:
                    return None
                self._data = data[end:]
                return data[0], data[at + 1 : end]
        return None

    def _answer(self, kind, body):
        sock = self._sock
        if kind == 0x10:  # CONNECT
            sock.inbox += b"\x20\x02\0\0"
        elif kind == 0x82:  # SUBSCRIBE
            sock.inbox += b"\x90\x03" + body[:2] + b"\x01"
        elif kind & 0xF0 == 0x30:  # PUBLISH
            at = 2 + (body[0] << 8 | body[1])
            if kind & 6:
                sock.inbox += b"\x40\x02" + body[at : at + 2]
                at += 2
            for message in heard(body[at:]):
                self._publish(json.dumps(message).encode())
        elif kind == 0xC0:  # PINGREQ
            sock.inbox += b"\xd0\0"
        elif kind == 0xE0:  # DISCONNECT
            sock.ended = True
        else:
            raise ValueError("packet %02x" % kind)

    def _publish(self, payload):
        size = 2 + len(TARGET) + len(payload)
        self._sock.inbox += (
            bytes([0x30, size & 0x7F | 0x80, size >> 7] if size > 127 else [0x30, size])
            + len(TARGET).to_bytes(2, "big")
            + TARGET.encode()
            + payload
        )


class Server:
    """One HTTP connection: serves a file with Range, a channel's index, and takes reports."""

    def __init__(self, sock):
        self._sock = sock
        self._data = b""

    def take(self, data):
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.split(b"\r\n")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        if len(body) < int(fields.get(b"content-length", 0)):
            return
        method, path, _ = lines[0].split(b" ")
        if index:
            spoken()
        if method == b"POST":
            for _ in heard(body):
                pass
            self._answer(b"204 No Content")
        elif path == b"/channel.json":
            same = fields.get(b"if-none-match") == b'"1"'
            self._answer(b"304 Not Modified" if same else b"200 OK", b"" if same else index)
        else:
            spans = fields.get(b"range", b"bytes=0-")
            self._send(int(spans.split(b"=")[1].split(b"-")[0]))

    def _answer(self, status, body=b""):
        self._sock.inbox = (
            b'HTTP/1.1 %s\r\nETag: "1"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n'
            % (status, len(body))
        ) + body
        self._sock.ended = True

    def _send(self, first):
        print("server: %d %d" % (first, noted[1]))
        size = len(content)
        noted[1] = first
        note()
        self._sock.inbox = (
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n"
            % (first, size - 1, size, size - first)
        )
        self._sock.body = content[first:]
        self._sock.ended = True

    def sent(self, n):
        noted[1] += n
        note()
