"""Sockets and poll over loopback: short counts, None, timeouts, ends, errors."""

import errno
import io
import select
import socket
import struct
import time

from support import Listener, raises, receive, wait_until

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


def arrived(sock, mask=select.POLLIN):
    """Wait until `sock` has something to read, or has come to its end."""
    poll = select.poll()
    poll.register(sock, mask)
    assert poll.poll(5000)


def test_addresses_are_packed_bytes():
    found = socket.getaddrinfo("127.0.0.1", 8080, 0, socket.SOCK_STREAM)
    assert len(found) == 1
    family, kind, _, _, address = found[0]
    assert (family, kind) == (socket.AF_INET, socket.SOCK_STREAM)
    assert address == bytes(address)
    assert bytes(address)[2:8] == b"\x1f\x90\x7f\0\0\1"
    assert socket.sockaddr(address) == (2, b"\x7f\0\0\1", 8080)
    assert len(socket.getaddrinfo("127.0.0.1", 8080)) > 1
    with raises(TypeError):
        socket.socket().connect(("127.0.0.1", 8080))
    with raises(OSError):
        socket.getaddrinfo("", 80)


def test_names_that_sockets_lack():
    sock = socket.socket()
    for name in "recv_into getsockname getpeername shutdown __enter__ detach".split():
        assert not hasattr(sock, name), name
    for name in "create_connection create_server timeout error gaierror IPPROTO_TCP".split():
        assert not hasattr(socket, name), name
    sock.close()


def test_a_non_blocking_socket_has_nothing():
    with Listener() as server:
        _, sock = server.pair()
        buffer = bytearray(8)
        assert sock.readinto(buffer) is None
        assert sock.readinto(buffer, 2) is None
        assert sock.read(4) is None
        assert sock.read() is None
        assert sock.readline() is None
        assert sock.read(0) == b""
        with raises(OSError) as caught:
            sock.recv(4)
        assert caught.value.errno == errno.EAGAIN


def test_a_non_blocking_socket_has_a_part():
    with Listener() as server:
        client, sock = server.pair()
        buffer = bytearray(8)
        assert client.write(b"hello") == 5
        arrived(sock)
        assert sock.readinto(buffer, 2) == 2
        assert buffer == b"he\0\0\0\0\0\0"
        assert sock.readinto(memoryview(buffer)[6:]) == 2
        assert buffer == b"he\0\0\0\0ll"
        assert sock.readinto(buffer) == 1
        assert buffer == b"oe\0\0\0\0ll"
        assert sock.readinto(buffer) is None
        client.write(b"abc")
        arrived(sock)
        assert sock.read(10) == b"abc"
        client.write(b"lin")
        arrived(sock)
        assert sock.readline() == b"lin"
        client.write(b"e\nnext\n")
        arrived(sock)
        assert sock.readline() == b"e\n"
        assert sock.readline(2) == b"ne"
        assert sock.recv(99) == b"xt\n"


def test_write_takes_counts_and_text():
    with Listener() as server:
        client, sock = server.pair()
        assert client.write(b"abcdef", 2) == 2
        assert client.write(b"abcdef", 2, 3) == 3
        assert client.write(memoryview(b"xyz")[1:]) == 2
        assert client.write("é") == 2
        assert client.send(b"!") == 1
        assert receive(sock, 10) == b"abcdeyz\xc3\xa9!"


def test_a_full_non_blocking_socket():
    with Listener() as server:
        client, sock = server.pair()
        client.setblocking(False)
        block = bytes(65536)
        sent = 0
        while True:
            n = client.write(block)
            if n is None:
                break
            sent += n
        assert sent > 0
        assert client.write(b"x") is None
        with raises(OSError) as caught:
            client.send(b"x")
        assert caught.value.errno == errno.EAGAIN
        buffer = bytearray(65536)
        got = 0
        while got < sent:
            got += wait_until(lambda: sock.readinto(buffer), what="the rest")
        assert got == sent


def test_a_timeout():
    with Listener() as server:
        client, sock = server.pair()
        sock.settimeout(0.05)
        start = time.ticks_ms()
        for call in (
            lambda: sock.read(1),
            lambda: sock.readinto(bytearray(1)),
            lambda: sock.readline(),
        ):
            with raises(OSError) as caught:
                call()
            assert caught.value.args == (errno.ETIMEDOUT,)
        assert time.ticks_diff(time.ticks_ms(), start) >= 140
        with raises(OSError) as caught:
            sock.recv(1)
        assert caught.value.errno == errno.EAGAIN


def test_bytes_before_a_timeout_are_lost():
    with Listener() as server:
        client, sock = server.pair()
        sock.settimeout(0.05)
        client.write(b"ab")
        arrived(sock)
        buffer = bytearray(4)
        with raises(OSError) as caught:
            sock.readinto(buffer)
        assert caught.value.errno == errno.ETIMEDOUT
        assert buffer == b"ab\0\0"
        client.write(b"cd")
        arrived(sock)
        with raises(OSError):
            sock.read(4)
        client.write(b"efgh")
        arrived(sock)
        assert sock.read(4) == b"efgh"


def test_on_unix_setblocking_keeps_the_timeout():
    # On esp32, esp8266 and rp2 it removes it: doubles/fakesocket.py stands for those.
    with Listener() as server:
        _, sock = server.pair()
        sock.settimeout(0.05)
        sock.setblocking(True)
        with raises(OSError) as caught:
            sock.read(1)
        assert caught.value.errno == errno.ETIMEDOUT
        sock.settimeout(0)
        assert sock.read(1) is None


def test_accept():
    with Listener() as server:
        assert not server.pending()
        listening = server._sock
        listening.setblocking(False)
        with raises(OSError) as caught:
            listening.accept()
        assert caught.value.errno == errno.EAGAIN
        listening.settimeout(0.02)
        with raises(OSError) as caught:
            listening.accept()
        assert caught.value.errno == errno.ETIMEDOUT
        server.connect()
        sock, address = listening.accept()
        assert bytes(address)[4:8] == b"\x7f\0\0\1"
        sock.close()


def test_connect():
    with Listener() as server:
        address = server.address()
    sock = socket.socket()
    with raises(OSError) as caught:
        sock.connect(address)
    assert caught.value.args == (errno.ECONNREFUSED,)
    sock.close()
    with Listener() as server:
        sock = socket.socket()
        sock.setblocking(False)
        with raises(OSError) as caught:
            sock.connect(server.address())
        assert caught.value.errno == errno.EINPROGRESS
        arrived(sock, select.POLLOUT)
        assert sock.write(b"x") == 1
        sock.close()


def test_the_other_side_closes():
    with Listener() as server:
        client, sock = server.pair()
        client.write(b"last")
        client.close()
        arrived(sock)
        assert wait_until(lambda: sock.read(), what="the end") == b"last"
        assert sock.read(4) == b""
        assert sock.read() == b""
        assert sock.readinto(bytearray(4)) == 0
        assert sock.readline() == b""
        assert sock.recv(4) == b""
        assert sock.write(b"x") == 1  # the answer to this is a RST

        def refused():
            try:
                sock.write(b"x")
            except OSError as error:
                return error.errno

        assert wait_until(refused, what="EPIPE") in (32, errno.ECONNRESET)


def test_the_other_side_resets():
    with Listener() as server:
        client, sock = server.pair()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        arrived(sock)
        with raises(OSError) as caught:
            sock.readinto(bytearray(4))
        assert caught.value.args == (errno.ECONNRESET,)
        assert sock.read(1) == b""


def test_a_closed_socket():
    sock = socket.socket()
    assert sock.close() is None
    assert sock.close() is None
    for call in (
        lambda: sock.read(1),
        lambda: sock.readinto(bytearray(1)),
        lambda: sock.readline(),
        lambda: sock.write(b"x"),
        lambda: sock.recv(1),
        lambda: sock.send(b"x"),
        lambda: sock.settimeout(1),
        lambda: sock.setblocking(True),
    ):
        with raises(OSError) as caught:
            call()
        assert caught.value.args == (errno.EBADF,)


def test_poll():
    with Listener() as server:
        client, sock = server.pair()
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        assert poll.poll(0) == []
        assert list(poll.ipoll(0)) == []
        start = time.ticks_ms()
        assert poll.poll(20) == []
        assert 18 <= time.ticks_diff(time.ticks_ms(), start) < 5000
        client.write(b"x")
        found = poll.poll(5000)
        assert [len(entry) for entry in found] == [2]
        assert found[0][0] is sock
        assert found[0][1] == select.POLLIN
        assert [entry[1] for entry in poll.ipoll(0)] == [select.POLLIN]
        poll.modify(sock, select.POLLIN | select.POLLOUT)
        assert poll.poll(0)[0][1] == select.POLLIN | select.POLLOUT
        poll.register(sock, select.POLLOUT)  # registered again: as modify
        assert poll.poll()[0][1] == select.POLLOUT
        with raises(OSError) as caught:
            poll.modify(client, select.POLLIN)
        assert caught.value.errno == errno.ENOENT
        poll.unregister(sock)
        poll.unregister(sock)
        assert poll.poll(0) == []


def test_poll_sees_the_end():
    with Listener() as server:
        client, sock = server.pair()
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        client.close()
        assert poll.poll(5000)[0][1] & select.POLLIN
        sock.close()
        assert poll.poll(0)[0][1] == 32  # POLLNVAL, which select does not name
        poll.unregister(sock)
        assert poll.poll(0) == []


def test_poll_asks_streams_written_in_python():
    class Stream(io.IOBase):
        def __init__(self):
            self.events = 0
            self.asked = []

        def ioctl(self, request, arg):
            self.asked.append(request)
            return self.events & arg if request == 3 else -1

    stream = Stream()
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    assert poll.poll(0) == []
    assert poll.poll(5) == []
    stream.events = select.POLLIN | select.POLLOUT
    assert poll.poll(0)[0][1] == select.POLLIN
    assert poll.poll(0)[0][0] is stream
    poll.modify(stream, select.POLLOUT)
    assert [entry[1] for entry in poll.ipoll(0)] == [select.POLLOUT]
    assert stream.asked[0] == 10
    assert set(stream.asked[1:]) == {3}

    class NoStream:
        def ioctl(self, request, arg):
            return -1

    with raises(OSError):
        poll.register(NoStream())
