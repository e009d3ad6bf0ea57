"""What the `requests` of MicroPython 1.25 to 1.29, and the urequests of 2018, send and accept.

Versions are tuples: (0, 9, 1) is on PyPI, (0, 10, 2) in MicroPython 1.25 to 1.28, (1, 1, 1) in
1.29; Debian builds its unix port with (0, 10, 0).
"""

OLD, NEW = (0, 9, 1), (1, 1, 1)
FOLLOWED = (301, 302, 303, 307, 308)


class Response:
    def __init__(self, f):
        self.raw = f
        self.encoding = "utf-8"
        self._cached = None

    def close(self):
        self._cached = None
        if self.raw:
            self.raw.close()
            self.raw = None

    @property
    def content(self):
        if self._cached is None:
            try:
                self._cached = self.raw.read()
            finally:
                self.raw.close()
                self.raw = None
        return self._cached

    @property
    def text(self):
        return str(self.content, self.encoding)

    def json(self):
        import json

        return json.loads(self.content)


class ClosingResponse(Response):
    """Since 0.11 a `with` closes it."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class BodyStream:
    """The body in 1.x when its length is known (`left`), or None when it comes in chunks.

    Nothing read counts as the end of the connection: on a socket that does not block, that is
    wrong. `readinto` takes no count.
    """

    def __init__(self, sock, left):
        self._sock = sock
        self._chunked = left is None
        self._left = left
        self._ended = False

    def readinto(self, buf):
        if self._chunked and self._left is None and not self._ended:
            self._left = int(self._sock.readline().split(b";")[0], 16)
            if self._left == 0:
                self._ended = True
                while self._sock.readline() not in (b"\r\n", b""):
                    pass
        if self._ended or not self._left:
            return 0
        got = self._sock.readinto(memoryview(buf)[: min(len(buf), self._left)])
        if not got:
            raise ValueError("Connection closed before body complete")
        self._left -= got
        if self._chunked and self._left == 0:
            self._sock.readline()
            self._left = None
        return got

    def read(self, n=-1):
        buf = bytearray(n if n >= 0 else 256)
        if n >= 0:
            return buf[: self.readinto(buf)] or b""
        out = b""
        while True:
            got = self.readinto(buf)
            if not got:
                return out
            out += bytes(buf[:got])

    def close(self):
        self._sock.close()


def split_url(url, version):
    """(whether https, host, port, path)"""
    parts = url.split("/", 3)
    if len(parts) < 3:
        raise ValueError("need more values to unpack")
    scheme, host = parts[0], parts[2]
    path = parts[3] if len(parts) > 3 else ""
    if scheme not in ("http:", "https:"):
        raise ValueError("Unsupported protocol: " + scheme)
    if version >= NEW:
        for mark in "?#":
            if mark in host:
                host, rest = host.split(mark, 1)
                path = mark + rest + path
    port = 443 if scheme == "https:" else 80
    if ":" in host:
        host, port = host.split(":", 1)
        port = int(port)
    return scheme == "https:", host, port, path


def status_of(sock, version):
    line = sock.readline().split(None, 2)
    if len(line) < 2 and version > OLD:
        raise ValueError("HTTP error: BadStatusLine:\n%s" % line)
    return int(line[1]), line[2].rstrip() if len(line) > 2 else ""


def collect(line, fields, parse_headers):
    """What becomes of a header line; the value when it was parsed here."""
    if parse_headers is True:
        name, value = str(line, "utf-8").split(":", 1)
        fields[name] = value.strip()
        return fields[name]
    if parse_headers is not False:
        parse_headers(line, fields)


def send_fields(sock, fields):
    for name, value in fields:
        for piece in (name, b": ", value, b"\r\n"):
            sock.write(piece)


def finish(kind, body, status, reason, fields, parse_headers):
    response = kind(body)
    response.status_code = status
    response.reason = reason
    if parse_headers is not False:
        response.headers = fields
    return response


def make_old(names):
    """`request` of 0.9.1: `usocket` and `ussl`, no timeout, one redirect."""

    def request(
        method,
        url,
        data=None,
        json=None,
        headers={},  # noqa: B006
        stream=None,
        parse_headers=True,
    ):
        redirects = 0
        while True:
            secure, host, port, path = split_url(url, OLD)
            if secure:
                import ussl
            network = names["usocket"]
            found = network.getaddrinfo(host, port, 0, network.SOCK_STREAM)[0]
            fields = {}
            location = None
            sock = network.socket(found[0], found[1], found[2])
            try:
                sock.connect(found[-1])
                if secure:
                    sock = ussl.wrap_socket(sock, server_hostname=host)
                sock.write(("%s /%s HTTP/1.0\r\n" % (method, path)).encode())
                if "Host" not in headers:
                    send_fields(sock, [("Host", host)])
                send_fields(sock, headers.items())
                if json is not None:
                    assert data is None
                    import ujson

                    data = ujson.dumps(json)
                    send_fields(sock, [("Content-Type", "application/json")])
                if data:
                    send_fields(sock, [("Content-Length", str(len(data)))])
                send_fields(sock, [("Connection", "close")])
                sock.write(b"\r\n")
                if data:
                    sock.write(data)
                status, reason = status_of(sock, OLD)
                while True:
                    line = sock.readline()
                    if line in (b"", b"\r\n"):
                        break
                    if line.startswith(b"Transfer-Encoding:"):
                        if b"chunked" in line:
                            raise TypeError("unsupported types for __add__: 'str', 'bytes'")
                    elif line.startswith(b"Location:") and 300 <= status <= 399:
                        if redirects:
                            raise ValueError("Too many redirects")
                        redirects += 1
                        location = line[9:].decode().strip()
                        break  # and the socket stays open
                    collect(line, fields, parse_headers)
            except OSError:
                sock.close()
                raise
            if location is None and status != 300:
                return finish(Response, sock, status, reason, fields, parse_headers)
            url = location or url

    return request


def make(names, version):
    """`request` of 0.10 or 1.1.1; `names` are the globals of its module, where `socket` is."""
    new = version >= NEW

    def send(sock, method, host, path, data, json, headers):
        protocol = "1.1" if new else "1.0"
        sock.write(("%s /%s HTTP/%s\r\n" % (method, path, protocol)).encode())
        if "Host" not in headers:
            headers["Host"] = host
        if json is not None:
            assert data is None
            from json import dumps

            data = dumps(json)
            if "Content-Type" not in headers:
                headers["Content-Type"] = "application/json"
        chunked = data and hasattr(data, "__next__") and not hasattr(data, "__len__")
        if data and not chunked:
            if new and isinstance(data, str):
                data = data.encode()
            if "Content-Length" not in headers:
                headers["Content-Length"] = str(len(data))  # characters, up to 0.10.2
        elif data and "Content-Length" not in headers and "Transfer-Encoding" not in headers:
            headers["Transfer-Encoding"] = "chunked"
        if "Connection" not in headers:
            headers["Connection"] = "close"
        send_fields(sock, headers.items())
        sock.write(b"\r\n")
        if chunked and headers.get("Transfer-Encoding") == "chunked":
            for chunk in data:
                sock.write(b"%x\r\n" % len(chunk))
                sock.write(chunk)
                sock.write(b"\r\n")
            sock.write(b"0\r\n\r\n")
        elif chunked:
            for chunk in data:
                sock.write(chunk)
        elif data:
            sock.write(data)

    def receive(sock, origin, parse_headers):
        """(status, reason, header fields, redirection or None, body stream)"""
        status, reason = status_of(sock, version)
        fields = {}
        location = None
        body = sock
        chunked = False
        while True:
            line = sock.readline()
            if line in (b"", b"\r\n"):
                break
            name = line.lower() if new else line
            if name.startswith(b"transfer-encoding:" if new else b"Transfer-Encoding:"):
                if b"chunked" in line:
                    if not new:
                        raise ValueError("Unsupported " + str(line, "utf-8"))
                    chunked = True
            elif not 200 <= status <= 299 and name.startswith(
                b"location:" if new else b"Location:"
            ):
                if status not in FOLLOWED:
                    raise NotImplementedError("Redirect %d not yet supported" % status)
                location = str(line[10:-2], "utf-8")
                if new and location.startswith("/"):
                    location = origin + location
            value = collect(line, fields, parse_headers)
            # Seen only when requests itself parses the headers.
            if new and value is not None and name.startswith(b"content-length:"):
                body = BodyStream(sock, int(value))
        if chunked:
            body = BodyStream(sock, None)
        return status, reason, fields, location, body

    def request(
        method,
        url,
        data=None,
        json=None,
        headers=None,
        stream=None,
        auth=None,
        timeout=None,
        parse_headers=True,
    ):
        if headers is None:
            headers = {}
        elif version > (0, 10, 0):
            headers = dict(headers)
        if auth is not None:
            import binascii

            text = binascii.b2a_base64(("%s:%s" % tuple(auth)).encode())
            headers["Authorization"] = "Basic " + str(text[:-1], "ascii")
        secure, host, port, path = split_url(url, version)
        network = names["socket"]
        found = network.getaddrinfo(host, port, 0, network.SOCK_STREAM)[0]
        sock = network.socket(found[0], network.SOCK_STREAM, found[2])
        if timeout is not None:
            sock.settimeout(timeout)
        try:
            sock.connect(found[-1])
            if secure:
                import tls

                context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
                context.verify_mode = tls.CERT_NONE  # nothing that a caller says changes it
                sock = context.wrap_socket(sock, server_hostname=host)
            send(sock, method, host, path, data, json, headers)
            origin = "%s://%s:%d" % ("https" if secure else "http", host, port)
            status, reason, fields, location, body = receive(sock, origin, parse_headers)
        except OSError:
            sock.close()
            raise
        if location:
            # Followed without the timeout, the header parser and a limit.
            sock.close()
            if version >= (0, 10, 2):
                headers.pop("Host", None)
            if status in (301, 302, 303):
                method, data, json = "GET", None, None
            return request(method, location, data, json, headers, stream)
        kind = ClosingResponse if new else Response
        return finish(kind, body, status, reason, fields, parse_headers)

    return request


def shortcut(request, method):
    def call(url, **options):
        return request(method, url, **options)

    return call


def add_shortcuts(names):
    for method in "HEAD GET POST PUT PATCH DELETE".split():
        names[method.lower()] = shortcut(names["request"], method)
