"""One MQTT session, on the real umqtt.simple, a scripted broker and a virtual clock."""

import sys

import umqtt.simple as umqtt
from broker import Network, frame, message, text

import ivota
from ivota import guarded_socket
from ivota.mqtt_session import Link
from support import Listener, patched, wait_until

TOPIC = "$ota/update/P/d"
UP = "$ota/report/P/d"


class Owner:
    def __init__(self):
        self.messages = []
        self.skipped = []  # sizes of those that were too long
        self.ups = 0
        self.acks = 0
        self.idles = 0
        self.log = Log()

    def on_message(self, payload):
        self.messages.append(bytes(payload))

    def on_skipped(self, size):
        self.skipped.append(size)

    def on_up(self):
        self.ups += 1

    def on_idle(self):
        self.idles += 1

    def on_acked(self):
        self.acks += 1


class Log:
    def __init__(self):
        self.lines = []

    def __call__(self, level, event, **fields):
        self.lines.append("%s %s %s" % (level, event, sorted(fields.items())))

    def count(self, event):
        return len([line for line in self.lines if line.split()[1] == event])


def make(
    user="user", password="secret", device="d", port=1883, timeout_s=10, topics=TOPIC, **changed
):
    mqtt = {
        "host": "127.0.0.1",
        "port": port,
        "tls": False,
        "ca": None,
        "user": user,
        "password": password,
        "keepalive_s": 120,
        "max_message_bytes": 4096,
    }
    mqtt.update(changed)
    config = {
        "product_id": "P",
        "device_name": device,
        "device_secret": None,
        "mqtt": mqtt,
        "http": {"timeout_s": timeout_s},
        "retry": {"first_s": 1, "most_s": 300},
        "topics": {"update": topics},
    }
    owner = Owner()
    made = Link(config, owner)
    made.owner = owner
    made.log = owner.log
    return made


def settle(link):
    """Step until there is nothing to do at once."""
    for _ in range(5000):
        if not link.step():
            return
    raise AssertionError("it never rests")


def up(**changed):
    link = make(**changed)
    settle(link)
    assert link.up and link.owner.ups == 1
    return link


def run_for(network, link, seconds, slice_ms=100):
    """Step as the client does, for so long or until the link is lost."""
    end = network.clock.now_ms() + seconds * 1000
    while network.clock.now_ms() < end and link.up:
        if not link.step():
            network.clock.advance_ms(slice_ms)


def test_the_bytes_of_a_connection():
    with Network() as network:
        up()
        connect = text("MQTT") + b"\x04\xc2\x00\x78" + text("Pd") + text("user") + text("secret")
        subscribe = b"\0\x01" + text(TOPIC) + b"\x01"
        assert network.sock.received == frame(0x10, connect) + frame(0x82, subscribe)


def test_two_topics():
    other = "other/" + "x" * 130  # with a length that takes two bytes
    with Network() as network:
        network.suback = bytes([1, 1])
        link = make(topics=TOPIC + "\n" + other)
        settle(link)
        subscribe = b"\0\x01" + text(TOPIC) + b"\x01" + text(other) + b"\x01"
        assert network.sock.packets[1] == (0x82, subscribe)
        for topic in (TOPIC, other, "third"):
            network.sock.out += message(topic, topic.encode())
        settle(link)
        assert link.owner.messages == [TOPIC.encode(), other.encode()]


def test_one_of_two_topics_refused():
    with Network() as network:
        network.suback = bytes([1, 0x80])
        link = make(topics=TOPIC + "\nother")
        settle(link)
        assert not link.up
        assert "subscription refused" in link.log.lines[-1]


def test_without_a_user():
    with Network() as network:
        up(user=None, password=None)
        assert network.sock.packets[0][1] == text("MQTT") + b"\x04\x02\x00\x78" + text("Pd")


def test_a_user_without_a_password():
    with Network() as network:
        up(password=None)
        assert network.sock.packets[0][1].endswith(text("Pd") + text("user") + text(""))


def test_names_that_are_not_ascii():
    # umqtt counts characters where MQTT counts bytes.
    with Network() as network:
        up(device="Gerät", user="Größe", password="pässwörd")
        expected = text("PGerät") + text("Größe") + text("pässwörd")
        assert network.sock.packets[0][1].endswith(expected)


def test_one_piece_of_work_a_step():
    with Network():
        link = make()
        assert link.step() and not link.up
        assert link.step() and link.up
        assert not link.step()


def test_publish_with_qos_1():
    with Network() as network:
        link = up()
        assert link.publish(UP, '{"a": "ä"}', 1)
        assert network.sock.received.endswith(
            frame(0x32, text(UP) + b"\0\x02" + '{"a": "ä"}'.encode())
        )
        assert link.waiting == 2
        settle(link)
        assert not link.waiting and link.owner.acks == 1


def test_publish_with_qos_0():
    with Network() as network:
        link = up()
        assert link.publish(UP, "x", 0)
        assert network.sock.received.endswith(frame(0x30, text(UP) + b"x"))
        assert not link.waiting
        settle(link)
        assert link.owner.acks == 0


def test_publish_while_down():
    with Network() as network:
        link = make()
        assert not link.publish(UP, "x", 1)
        assert link.step()
        assert not link.publish(UP, "x", 1)  # connected, not subscribed yet
        assert network.published() == [] and not link.log.count("link_lost")


def test_a_packet_may_take_its_time_however_long_the_link_was_quiet():
    with Network() as network:
        link = up()
        run_for(network, link, 30)
        real = network.sock.write
        nothing = [None] * 3  # what the socket takes at first

        def write(data):
            return nothing.pop() if nothing else real(data)

        network.sock.write = write
        assert link.publish(UP, "x", 1) and not nothing
        assert link.up and network.published() == [(1, UP, "x")]


def test_publish_into_a_dead_connection():
    with Network() as network:
        link = up()
        network.reset = True
        assert not link.publish(UP, "x", 1)
        assert not link.up and not link.waiting
        assert network.sock.closed


def test_a_late_puback_never_puts_the_stream_out_of_step():
    with Network() as network:
        network.acks = False
        link = up()
        link.publish(UP, "x", 1)
        sock = network.sock
        sock.out += message(TOPIC, b"one") + message(TOPIC, b"two", 1, 9)
        settle(link)
        network.clock.advance_ms(20000)
        sock.out += b"\x40\x02\0\x02" + message(TOPIC, b"three")
        settle(link)
        assert link.owner.messages == [b"one", b"two", b"three"]
        assert link.owner.acks == 1 and not link.waiting
        assert link.up and len(network.sockets) == 1


def test_an_acknowledgement_in_pieces():
    with Network() as network:
        network.acks = False
        link = up()
        link.publish(UP, "x", 1)
        pieces = [b"\x40", b"\x02", b"\0", b"\x02", b"\x30"]

        class Drip:
            def ipoll(self, ms):
                network.clock.advance_ms(min(ms, 100))
                if pieces and not network.sock.out:
                    network.sock.out += pieces.pop(0)
                return [(None, 1)] if network.sock.out else []

            def modify(self, *_args):
                pass

        link._stream.poll = Drip()
        link.step()
        assert link.owner.acks == 1 and pieces == [b"\x30"]


def test_a_strange_puback_is_ignored():
    with Network() as network:
        network.acks = False
        link = up()
        network.sock.out += b"\x40\x02\0\x02"
        settle(link)
        assert link.up and link.owner.acks == 0
        link.publish(UP, "x", 1)
        network.sock.out += b"\x40\x02\x12\x34"
        settle(link)
        assert link.up and link.waiting and link.owner.acks == 0


def test_a_puback_of_no_number_acknowledges_nothing():
    with Network() as network:
        link = up()
        network.sock.out += b"\x40\x02\0\0"
        settle(link)
        assert link.up and link.owner.acks == 0


def test_a_puback_that_never_comes_ends_the_session():
    with Network() as network:
        network.acks = False
        link = up()
        link.publish(UP, "x", 1)
        start = network.clock.now_ms()
        run_for(network, link, 1000)
        assert not link.up
        assert network.clock.now_ms() - start <= 1.5 * 120000
        assert network.sock.closed


def test_the_time_for_a_puback_begins_with_the_message():
    with Network() as network:
        network.acks = False
        link = up()
        run_for(network, link, 100)
        link.publish(UP, "x", 1)
        run_for(network, link, 55)
        assert link.up
        run_for(network, link, 10)
        assert not link.up


def test_a_packet_that_was_not_asked_for_ends_the_session():
    with Network() as network:
        link = up()
        network.sock.out += frame(0x50, b"\0\x01\x01")  # otherwise as a SUBACK
        settle(link)
        assert not link.up and link.owner.ups == 1
        assert "unexpected packet 50" in link.log.lines[-1]


def test_a_suback_that_never_comes_ends_the_session():
    with Network() as network:
        network.suback = None
        link = make()
        settle(link)
        assert not link.up
        start = network.clock.now_ms()
        while not network.sock.closed:
            link.step()
            network.clock.advance_ms(100)
        assert network.clock.now_ms() - start <= 1.5 * 120000


def test_a_refused_subscription_ends_the_session():
    with Network() as network:
        network.suback = b"\x80"
        link = make()
        settle(link)
        assert not link.up and link.owner.ups == 0
        assert network.sock.closed
        assert "subscription refused" in link.log.lines[-1]
        assert link.retry.left_ms() > 0


def test_pings_keep_a_quiet_link_up():
    with Network() as network:
        link = up(keepalive_s=60)
        run_for(network, link, 600)
        assert link.up and len(network.sockets) == 1
        pings = network.sock.packets.count((0xC0, b""))
        assert 10 <= pings <= 20


def test_the_owner_is_asked_about_twice_a_second_while_it_is_up():
    with Network() as network:
        network.suback = None
        link = make()
        for _ in range(100):
            link.step()
            network.clock.advance_ms(20)
        assert len(network.sockets) == 1 and link.owner.idles == 0
    with Network() as network:
        link = up()
        run_for(network, link, 10, 20)
        assert 18 <= link.owner.idles <= 21


def test_messages_alone_do_not_stop_the_pings():
    with Network() as network:
        link = up(keepalive_s=60)
        for _ in range(600):
            network.sock.out += message(TOPIC, b"x")
            run_for(network, link, 1)
            link.owner.messages.clear()  # else they lie all over the heap
        assert link.up
        assert network.sock.packets.count((0xC0, b"")) >= 10


def test_a_missing_pingresp_closes_within_one_and_a_half_keepalives():
    for keepalive_s in (10, 120, 3600):
        with Network() as network:
            link = up(keepalive_s=keepalive_s)
            run_for(network, link, keepalive_s * 0.7)
            network.pongs = False
            start = network.clock.now_ms()
            run_for(network, link, keepalive_s * 10, keepalive_s * 5)
            assert not link.up and network.sock.closed
            assert network.clock.now_ms() - start <= 1500 * keepalive_s


def test_steps_that_come_rarely_still_ping():
    # An application may hold the processor between two steps.
    with Network() as network:
        link = up(keepalive_s=60)
        for _ in range(20):
            network.clock.advance_ms(40000)
            link.step()
            settle(link)
        assert link.up and len(network.sockets) == 1


def test_an_oversized_message_is_skipped():
    with Network() as network:
        link = up(max_message_bytes=500)
        network.sock.out += message(TOPIC, b"a" * 20000, 1, 7) + message(TOPIC, b"next")
        settle(link)
        assert link.up and len(network.sockets) == 1
        assert link.owner.skipped == [20000] and link.owner.messages == [b"next"]
        assert max(len(payload) for payload in link.owner.messages) <= 500
        assert (0x40, b"\0\x07") in network.sock.packets  # else it would come again


def test_an_oversized_topic_is_skipped():
    with Network() as network:
        link = up()
        network.sock.out += message("t" * 30000, b"x") + message(TOPIC, b"next")
        settle(link)
        assert link.owner.messages == [b"next"]


def test_an_endless_message_ends_in_time():
    with Network() as network:
        link = up()
        network.sock.out += b"\x30\xff\xff\xff\x7f" + text(TOPIC) + b"x" * 100
        start = network.clock.now_ms()
        settle(link)
        assert not link.up
        assert network.clock.now_ms() - start <= 12000


def test_packet_ids_wrap():
    with Network():
        link = up()
        link._client.pid = 64990
        for _ in range(30):
            assert link.publish(UP, "x", 1)
            settle(link)
            assert 0 < link._client.pid <= 65535
        assert link.owner.acks == 30
        assert link._client.pid < 30


def test_incoming_qos_1_is_acknowledged():
    with Network() as network:
        link = up()
        network.sock.out += message(TOPIC, b"x", 1, 0xABCD)
        settle(link)
        assert link.owner.messages == [b"x"]
        assert network.sock.packets[-1] == (0x40, b"\xab\xcd")


def test_retained_messages_arrive_like_others():
    with Network() as network:
        link = up()
        network.sock.out += message(TOPIC, b"old", 0, 1, 1) + message(TOPIC, b"", 0, 1, 1)
        settle(link)
        assert link.owner.messages == [b"old", b""]


def test_other_topics_are_not_passed_on():
    with Network() as network:
        link = up()
        for topic in ("other", "", TOPIC + "x", TOPIC[:-1], b"\xff\xff"):
            network.sock.out += message(topic, b"x")
        settle(link)
        assert link.up and link.owner.messages == []


def test_dots_of_its_topic_may_come_as_slashes():
    """RabbitMQ takes one for the other."""
    with Network() as network:
        link = make(topics="$ota/update/P/a.b/c.d")
        settle(link)
        for end in ("a.b/c.d", "a/b/c/d", "a/b/c.d", "a.b.c.d"):
            network.sock.out += message("$ota/update/P/" + end, end.encode())
        settle(link)
        assert link.owner.messages == [b"a.b/c.d", b"a/b/c/d"]


def test_a_burst_is_taken_one_packet_a_step():
    with Network() as network:
        link = up()
        network.sock.out += message(TOPIC, b"x") * 1000
        for n in range(1000):
            assert link.step()
            assert len(link.owner.messages) == n + 1
        assert not link.step()


def test_a_message_before_the_suback():
    with Network() as network:
        network.suback = None
        link = make()
        settle(link)
        network.sock.out += message(TOPIC, b"early") + b"\x90\x03\0\x01\x01"
        settle(link)
        assert link.up and link.owner.messages == [b"early"]


def test_broken_peers_are_a_lost_link():
    for out in (
        b"",
        b"\x20",
        b"\x20\x02\0\x05",  # bad credentials
        b"\x20\x03\0\0\0",
        b"\x30\x02\0\0",
        b"\xff\xff\xff\xff",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ):
        with Network() as network:
            network.connack = None
            link = make()

            def answer(sock, _head, _body, out=out):
                sock.out += out
                sock.ended = True

            network.answer = answer
            settle(link)
            assert not link.up and network.sock.closed, out
            assert link.log.count("link_lost") == 1
            assert link.retry.left_ms() > 0


def test_every_first_byte_afterwards():
    for head in range(256):
        for body in (b"", b"\0", b"\x02\0\x01", b"\xff\xff\xff\xff\xff", b"\x05\0\x01a\0\0"):
            with Network() as network:
                link = up()
                network.sock.out += bytes([head]) + body
                network.sock.ended = True
                settle(link)
                assert not link.up and network.sock.closed, (head, body)


def test_a_peer_that_says_nothing_after_connecting():
    with Network() as network:
        network.connack = None
        link = make()
        start = network.clock.now_ms()
        assert not link.step()
        assert network.clock.now_ms() - start == 10000
        assert "ETIMEDOUT" in link.log.lines[-1]


def test_waits_grow_until_it_works():
    with Network() as network:
        network.refuse = True
        link = make()
        waits = []
        for _ in range(12):
            link.step()
            waits.append(link.retry.left_ms())
            assert not link.step()  # not due: nothing is tried
            network.clock.advance_ms(waits[-1])
        assert len(network.sockets) == 12
        assert waits[0] <= 1000 and waits[4] >= 8000
        assert 150000 <= waits[-1] <= 300000
        network.refuse = False
        settle(link)
        assert link.up
        run_for(network, link, 310)
        network.reset = True
        assert not link.publish(UP, "x", 1)
        assert link.retry.left_ms() <= 1000  # a session as long as the longest wait has reset it


def test_waits_grow_while_sessions_are_short():
    """As of two boards with one name: each takes the other's place."""
    with Network() as network:
        link = make()
        waits = []
        for _ in range(12):
            settle(link)
            run_for(network, link, min(150, waits[-1] // 1000 if waits else 1))
            network.sock.ended = True
            settle(link)
            assert not link.up
            waits.append(link.retry.left_ms())
            network.clock.advance_ms(waits[-1])
        assert link.owner.ups == 12 and waits[-1] >= 150000
        lost = [line for line in link.log.lines if "link_lost" in line]
        assert "the broker ended the session" in lost[0] and "another" not in lost[0]
        assert "does another client have the same product_id" in lost[-1]


def test_each_refusal_has_words():
    for code, words in (
        (1, "MQTT 3.1.1"),
        (2, "client id"),
        (3, "not available"),
        (4, "wrong user name"),
        (5, "does not authorize this board"),
        (9, "MQTTException 9"),
    ):
        with Network() as network:
            network.connack = bytes([0x20, 2, 0, code])
            link = make()
            settle(link)
            line = link.log.lines[-1]
            assert not link.up and words in line and "MQTTException %d" % code in line, line


def test_a_broker_that_takes_no_long_keepalive():
    """It says that the client id is rejected; mosquitto with max_keepalive does."""
    with Network() as network:
        asked = []

        def answer(sock, head, body):
            if head == 0x10:
                asked.append(body[8] << 8 | body[9])
                sock.out += bytes([0x20, 2, 0, 2 if asked[-1] > 40 else 0])
                sock.ended = asked[-1] > 40
            else:
                real(sock, head, body)

        real = network.answer
        network.answer = answer
        link = make()
        for _ in range(3):
            settle(link)
            network.clock.advance_ms(link.retry.left_ms())
        settle(link)
        assert link.up and asked == [120, 60, 30]
        run_for(network, link, 100)
        assert link.up and network.sock.packets.count((0xC0, b"")) >= 6
    for keepalive_s, least in ((120, 15), (10, 10)):
        with Network() as network:
            network.connack = b"\x20\x02\0\x02"
            link = make(keepalive_s=keepalive_s)
            for _ in range(8):
                settle(link)
                network.clock.advance_ms(link.retry.left_ms())
            assert network.sock.packets[0][1][8:10] == bytes([0, least])


def test_a_subscription_that_fails_each_time_waits_longer_each_time():
    with Network() as network:
        network.suback = b"\x80"
        link = make()
        for _ in range(8):
            settle(link)
            network.clock.advance_ms(link.retry.left_ms())
        assert link.owner.ups == 0
        settle(link)
        assert link.retry.left_ms() > 60000


def test_reconnects_subscribe_again():
    with Network() as network:
        link = up()
        for n in range(5):
            network.sock.ended = True
            settle(link)
            assert not link.up
            network.clock.advance_ms(link.retry.left_ms())
            settle(link)
            assert link.up and link.owner.ups == n + 2
        assert len(network.sockets) == 6
        assert [sock.closed for sock in network.sockets] == [True] * 5 + [False]
        assert {sock.packets[1] for sock in network.sockets} == {network.sock.packets[1]}


def test_waiting_ends_with_the_connection():
    with Network() as network:
        network.acks = False
        link = up()
        link.publish(UP, "x", 1)
        network.sock.ended = True
        settle(link)
        assert not link.waiting
        network.clock.advance_ms(2000)
        settle(link)
        # An acknowledgement from before must not be taken for one of now.
        network.sock.out += b"\x40\x02\0\x02"
        settle(link)
        assert link.up and link.owner.acks == 0


def test_ticks_may_come_round():
    with Network(ms=(1 << 30) - 90000) as network:
        link = up()
        run_for(network, link, 600)
        assert link.up and len(network.sockets) == 1


def test_leaving_politely():
    with Network() as network:
        link = up()
        link.close(True)
        link.close(True)
        assert network.sock.received.endswith(b"\xe0\0")
        assert network.sock.packets.count((0xE0, b"")) == 1
        assert network.sock.closed and not link.up


def test_leaving_without_a_word():
    with Network() as network:
        link = up()
        link.close()
        assert network.sock.packets.count((0xE0, b"")) == 0
        assert network.sock.closed and not link.up


def test_leaving_a_dead_connection():
    with Network() as network:
        link = up()
        network.reset = True
        link.close(True)
        assert network.sock.closed


def test_whatever_the_library_raises_is_a_lost_link():
    for error in (MemoryError("x"), ValueError("x"), IndexError("x"), AssertionError("x")):
        with Network() as network:
            link = up()

            def check_msg(error=error):
                raise error

            link._client.check_msg = check_msg
            network.sock.out += b"\x30"
            link.step()
            assert not link.up


def test_a_library_with_a_socket_of_its_own_is_refused():
    class Client(umqtt.MQTTClient):
        def connect(self, clean_session=True):
            return 0

    with Network() as network, patched(umqtt, MQTTClient=Client):
        link = make()
        settle(link)
        assert not link.up and network.sock.closed
        assert network.sock.received == b""


def test_a_session_has_a_umqtt_of_its_own_and_keeps_what_it_needs():
    """Of one that the application has loaded nothing is missing afterwards."""
    names = ("umqtt.simple", "umqtt", "ivota.session_setup")
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    try:
        with Network() as network:
            link = up()
            first = type(link._client)
            assert first is not umqtt.MQTTClient and "umqtt.simple" not in sys.modules
            assert not first.connect and not first.subscribe
            assert link.publish("t", "x", 1)
            network.sock.out += b"\x40\x02" + link.waiting.to_bytes(2, "big")
            network.sock.out += message(TOPIC, b"{}") + b"\xd0\0"
            settle(link)
            assert link.owner.acks == 1 and link.owner.messages == [b"{}"]
            run_for(network, link, 70)
            assert network.sock.packets[-1][0] == 0xC0
            link.close()
            sys.modules.pop("ivota.session_setup", None)
            settle(link)
            assert link.up and type(link._client) is not first
            link.close()
            with patched(ivota, frozen=True):  # the module stays, and with it a whole copy
                settle(link)
                setup = sys.modules["ivota.session_setup"]
                whole = setup.umqtt.MQTTClient
                assert link.up and type(link._client) is whole and whole.connect
                assert whole is not umqtt.MQTTClient and "umqtt.simple" not in sys.modules
                link.close()
                settle(link)
                assert link.up and type(link._client) is whole
                assert sys.modules.pop("ivota.session_setup") is setup
                link.close()
            import umqtt.simple as application

            sys.modules.pop("ivota.session_setup", None)
            settle(link)
            assert link.up and isinstance(link._client, application.MQTTClient)
            assert application.MQTTClient.connect
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def test_secrets_are_not_logged():
    with Network() as network:
        link = make(password="hunter2")
        for connack in (b"\x20\x02\0\x05", b"", b"\x20\x02\0\0"):
            network.connack = connack
            settle(link)
            network.clock.advance_ms(20000)
        assert link.log.count("link_lost") and link.log.count("connecting")
        assert not [line for line in link.log.lines if "hunter2" in line]


# Over loopback, with the port's own sockets


class Pump:
    """A broker's side that works while the device waits: put into `net.feed`."""

    def __init__(self, server):
        self._server = server
        self.sock = None
        self.received = b""

    def __call__(self):
        if self.sock is None:
            if not self._server.pending():
                return
            self.sock = self._server.accept()
        data = self.sock.read(4096)
        if data:
            self.received += data
            if data[:1] == b"\x10":
                self.sock.write(b"\x20\x02\0\0")


def test_on_real_sockets():
    with Listener() as server:
        pump = Pump(server)
        link = make(port=server.port)
        with patched(guarded_socket.hooks, feed=pump):
            assert link.step()
        pump.sock.write(b"\x90\x03\0\x01\x01" + message(TOPIC, b"hello", 1, 5))
        wait_until(lambda: link.step() and link.owner.messages)
        assert link.up and link.owner.messages == [b"hello"]
        link.publish(UP, "x" * 3000, 1)
        publish = frame(0x32, text(UP) + b"\0\x02" + b"x" * 3000)

        def arrived():
            pump()
            return pump.received.endswith(b"\x40\x02\0\x05" + publish)

        wait_until(arrived)
        link.close()


def test_nobody_listens():
    with Listener() as server:
        port = server.port
    link = make(port=port)
    link.step()
    assert "ECONNREFUSED" in link.log.lines[-1]
    assert link.retry.left_ms() > 0
