"""The sockets in memory: what they share with unix sockets, what with esp32's; and the machine."""

import errno
import sys

from doubles.fakemachine import FakeMachine, Reset
from doubles.fakesocket import CLOSED, POLLHUP, POLLIN, POLLOUT, Hang, Network

from support import WHERE, Clock, Listener, installed, raises, wait_until


def connected(*script, port="unix"):
    network = Network(script, port=port)
    sock = network.socket()
    sock.connect(network.getaddrinfo("host", 80)[0][-1])
    return sock, network


def loopback(*script):
    """A real socket whose peer sends the same; what it sends is all there already."""
    server = Listener()
    client, peer = server.pair()
    client.settimeout(0.05)
    for item in script:
        if item is CLOSED:
            peer.close()
        else:
            peer.write(item)
    client.setblocking(False)
    wait_until(lambda: client.readinto(bytearray(0)) == 0, what="the connection")
    client.settimeout(0.05)
    return client, server


def habits(sock):
    """What a socket does whose peer sent "hello\\nrest" and nothing more; its timeout is 50 ms."""
    seen = []

    def note(call):
        try:
            seen.append(call())
        except OSError as error:
            seen.append(error.errno)

    buffer = bytearray(4)
    note(lambda: sock.read(2))
    note(lambda: sock.readinto(buffer, 2))
    seen.append(bytes(buffer))
    note(sock.readline)
    note(lambda: sock.readinto(memoryview(buffer)[1:3]))
    seen.append(bytes(buffer))
    note(lambda: sock.read(9))  # two bytes are there, and lost
    sock.setblocking(False)
    note(lambda: sock.read(1))
    note(lambda: sock.readinto(buffer))
    note(sock.readline)
    note(sock.read)
    note(lambda: sock.recv(1))
    sock.setblocking(True)
    note(lambda: sock.read(1))
    sock.close()
    note(lambda: sock.read(1))
    note(lambda: sock.write(b"x"))
    return seen


def test_like_a_unix_socket():
    real, server = loopback(b"hello\nrest")
    fake, _ = connected(b"hello\nrest")
    fake.settimeout(0.05)
    late, again, bad = errno.ETIMEDOUT, errno.EAGAIN, errno.EBADF
    expected = [b"he", 2, b"ll\0\0", b"o\n", 2, b"lre\0", late]
    expected += [None, None, None, None, again, late, bad, bad]
    assert habits(fake) == expected
    assert habits(real) == expected
    server.close()


def test_the_end_is_like_a_unix_sockets():
    real, server = loopback(b"abc", CLOSED)
    fake, _ = connected(b"abc", CLOSED)
    for sock in (fake, real):
        assert sock.read(9) == b"abc"
        assert sock.read(9) == b""
        assert sock.readinto(bytearray(4)) == 0
        assert sock.readline() == b""
        assert sock.recv(4) == b""
    server.close()


def test_setblocking_on_esp32_and_on_unix():
    for port, waits in (("unix", False), ("esp32", True)):
        sock, network = connected(port=port)
        sock.settimeout(5)
        sock.setblocking(False)
        assert sock.read(1) is None
        sock.setblocking(True)
        assert sock.waits_for_ever() == waits
        with raises(Hang if waits else OSError):
            sock.read(1)
        sock.settimeout(5)
        with raises(OSError) as caught:
            sock.read(1)
        assert caught.value.errno == network.errno.ETIMEDOUT


def test_timeouts_on_esp32_are_slices_of_a_tenth_of_a_second():
    for timeout_s, waited_ms in ((0.001, 100), (0.05, 100), (0.1, 200), (0.25, 300), (5, 5100)):
        sock, network = connected(port="esp32")
        sock.settimeout(timeout_s)
        if timeout_s < 0.1:
            assert sock.read(1) is None
            with raises(OSError) as caught:
                sock.recv(1)
            assert caught.value.errno == network.errno.EAGAIN
            waited_ms *= 2
        else:
            with raises(OSError) as caught:
                sock.read(1)
            assert caught.value.errno == network.errno.ETIMEDOUT
        assert network.clock.now_ms() == waited_ms, timeout_s
    # What comes within the slice is taken, though the timeout is shorter.
    sock, network = connected(80, b"x", port="esp32")
    sock.settimeout(0.05)
    assert sock.read(1) == b"x"


def test_a_refused_connection_on_esp32_and_on_unix():
    for port, seen, unasked, number in (
        ("unix", POLLOUT | 8 | POLLHUP, POLLOUT | 8 | POLLHUP, errno.ECONNREFUSED),
        ("esp32", POLLOUT | POLLHUP, POLLOUT, errno.ECONNRESET),
    ):
        network = Network(OSError(errno.ECONNREFUSED), port=port)
        sock = network.socket()
        sock.setblocking(False)
        with raises(OSError) as caught:
            sock.connect(("host", 80))
        assert caught.value.errno == network.errno.EINPROGRESS
        poll = network.poll()
        poll.register(sock, POLLOUT)
        assert poll.poll(0) == [(sock, unasked)]
        poll.modify(sock, POLLOUT | POLLHUP)
        assert poll.poll(0) == [(sock, seen)]
        for call, argument in ((sock.write, b"x"), (sock.read, 1)):
            with raises(OSError) as caught:
                call(argument)
            assert caught.value.errno == number
        if port == "unix":
            sock.close()
        else:
            with raises(OSError):
                sock.close()
        assert sock.closed


def test_unix_polls_a_refused_connection_so():
    with Listener() as server:
        address = server.address()
    import select
    import socket

    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.connect(address)
    except OSError as error:
        assert error.errno == errno.EINPROGRESS
    poll = select.poll()
    poll.register(sock, POLLOUT)
    assert [event for _, event in poll.poll(1000)] == [POLLOUT | 8 | POLLHUP]
    with raises(OSError) as caught:
        sock.read(1)
    assert caught.value.errno == errno.ECONNREFUSED
    sock.close()


def test_the_numbers_of_errors_on_esp32():
    numbers = Network(port="esp32").errno
    if WHERE == "cpython":
        assert (numbers.ETIMEDOUT, numbers.EINPROGRESS, numbers.ENOTCONN) == (116, 119, 128)
        assert numbers.errorcode[118] == "EHOSTUNREACH"
    else:
        assert numbers is errno


def test_time_passes_while_waiting():
    sock, network = connected(b"now", 700, b"later", 10**6, b"never")
    sock.settimeout(2)
    assert sock.read(8) == b"nowlater"
    assert network.clock.now_ms() == 700
    with raises(OSError):
        sock.read(1)
    assert network.clock.now_ms() == 2700
    sock.settimeout(None)
    assert sock.read(5) == b"never"
    assert network.clock.now_ms() == 1000700


def test_errors_by_script():
    sock, _ = connected(b"abc", OSError(errno.ECONNRESET))
    assert sock.read(3) == b"abc"
    for _ in range(2):
        with raises(OSError) as caught:
            sock.read(1)
        assert caught.value.errno == errno.ECONNRESET
    network = Network(OSError(errno.ECONNREFUSED))
    with raises(OSError) as caught:
        network.socket().connect(("host", 80))
    assert caught.value.errno == errno.ECONNREFUSED


def test_what_was_sent_and_asked():
    sock, network = connected()
    assert sock.write(b"abcdef", 2) == 2
    assert sock.write("é") == 2
    assert sock.write(bytearray(b"x")) == 1
    assert network.sent() == b"ab\xc3\xa9x"
    assert network.lookups == [("host", 80)]
    assert sock.address == ("host", 80)
    sock.push(b"more")
    assert sock.read(4) == b"more"
    assert sock.reads == [4]


def test_poll():
    clock = Clock()
    network = Network([500, b"x"], [], clock=clock)
    sock, other = network.socket(), network.socket()
    poll = network.poll()
    poll.register(sock, POLLIN | POLLOUT)
    assert poll.poll(0) == [(sock, POLLOUT | POLLHUP)]  # not connected
    sock.setblocking(False)
    with raises(OSError) as caught:
        sock.connect(("host", 80))
    assert caught.value.errno == errno.EINPROGRESS
    assert poll.poll(0) == [(sock, POLLOUT)]
    poll.modify(sock, POLLIN)
    assert poll.poll(0) == []
    assert poll.poll(200) == []
    assert clock.now_ms() == 200
    assert list(poll.ipoll(1000)) == [(sock, POLLIN)]
    assert clock.now_ms() == 500
    assert sock.read(1) == b"x"
    with raises(Hang):
        poll.poll()
    with raises(OSError):
        poll.modify(other, POLLIN)
    sock.close()
    assert poll.poll(0) == [(sock, 32)]
    poll.unregister(sock)
    assert poll.poll(0) == []


def test_the_machine():
    with installed("machine", FakeMachine(cause=3)) as fake:
        import machine

        assert machine is fake
        assert machine.reset_cause() == machine.WDT_RESET
        with raises(Reset):
            machine.reset()
        machine.WDT(timeout=8000).feed()
        assert (fake.resets, fake.watchdogs[0].timeout, fake.watchdogs[0].fed) == (1, 8000, 1)
    assert sys.modules.get("machine") is not fake
