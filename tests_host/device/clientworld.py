"""A `Client` whose cloud, server and clock are a test's: no sockets, no real time."""

import binascii
import hashlib
import json

import ivota

# Before `download_preparation`, which then has the copy that tests patch.
import ivota.firmware_folder
from ivota import (  # noqa: F401
    body_download,
    download_preparation,
    firmware_folder,
    guarded_socket,
    mqtt_session,
    report_queue,
    shutdown,
    slot_or_file,
    trial,
)
from ivota import http_request as transfer_module
from ivota import response_check as response_module
from ivota import update as job_module
from ivota import update_client as client_module
from ivota.state import load
from ivota.update_client import Client
from support import Clock, data_of, installed, patched, remove_tree, tmp_dir

CONFIG = {
    "product_id": "P",
    "device_name": "d",
    "mqtt": {"host": "h", "password": "hunter2"},
    "retry": {"first_s": 1, "most_s": 60, "job_tries": 3, "rest_most_s": 1000},
}


def push_of(data, version="0.2", url="http://h/f", **more):
    push = {
        "type": "update_firmware",
        "version": version,
        "url": url,
        "file_size": len(data),
        "md5sum": binascii.hexlify(hashlib.md5(data).digest()).decode(),
        "user_defined": "x",
    }
    push.update(more)
    return json.dumps(push).encode()


class FakeLink:
    """Stands for `Link`: what it is told to publish is in `sent` as (qos, message), what is
    retained in `kept` as (topic, text)."""

    paused = False

    def __init__(self, config, owner):
        self.owner = owner
        self.up = False
        self.waiting = 0
        self.acks = True
        self.inbox = []
        self.sent = []
        self.kept = []
        self.config = config
        self.errors = []
        self.closed = 0

    def connect(self):
        self.up = True
        self.owner.on_up()

    def drop(self):
        self.up = False
        self.waiting = 0

    def ack(self):
        self.waiting = 0
        self.owner.on_acked()

    def step(self):
        """Whatever is raised in a step of the real one counts as a lost link."""
        try:
            if self.up and self.inbox:
                self.owner.on_message(self.inbox.pop(0))
                return True
            if self.up and self.waiting and self.acks:
                self.ack()
                return True
            if self.up:
                self.owner.on_idle()
        except Exception as error:
            self.errors.append(error)
            self.drop()
        return False

    def wait(self, ms):
        guarded_socket.time.sleep_ms(ms)

    def publish(self, topic, payload, qos, retain=False):
        if not self.up:
            return False
        if retain:
            self.kept.append((topic, payload))
            self.waiting = len(self.kept)
            return True
        assert topic == "$ota/report/P/d"
        assert not (qos and self.waiting)
        self.sent.append((qos, json.loads(payload)))
        if qos:
            self.waiting = len(self.sent)
        return True

    def close(self, politely=False):
        self.closed += 1
        self.drop()


class Source:
    """The bytes of an answer as a socket gives them: `pieces` are bytes, errors, or a number of
    reads that find nothing."""

    def __init__(self, pieces):
        self.pieces = list(pieces)
        self.reads = 0
        self.closed = False

    def readinto(self, buffer, n):
        self.reads += 1
        assert 0 < n <= len(buffer)
        if not self.pieces:
            return 0
        piece = self.pieces.pop(0)
        if isinstance(piece, int):
            if piece > 1:
                self.pieces.insert(0, piece - 1)
            return None
        if isinstance(piece, Exception):
            raise piece
        if len(piece) > n:
            self.pieces.insert(0, piece[n:])
            piece = piece[:n]
        buffer[: len(piece)] = piece
        return len(piece)


class World:
    """`with World() as world:` `answers` are what each request ends in: a list of pieces, an
    `OtaError`, or None for the rest of `data` at full speed. With `esp32`, a `FakeEsp32`, the
    board has OTA slots, and its firmware is installed unless `client` is told otherwise."""

    def __init__(self, size=20000, esp32=None, data=None):
        self.data = data or data_of(size)
        self.esp32 = esp32
        self.answers = []
        self.redirects = []  # where each request is sent on to
        self.requests = []  # (url, offset, etag)
        self.skip = 0
        self.etag = None
        self.got = []  # firmwares that the application was given
        self.failures = []
        self.log = []
        self.faults = False  # whether errors in what the link calls are to be expected

    def __enter__(self):
        self._tmp = tmp_dir()
        self.path = self._tmp.__enter__()
        self.clock = Clock(ms=1000).put_into(
            client_module,
            report_queue,
            slot_or_file,
            job_module,
            shutdown,
            guarded_socket,
            body_download,
            download_preparation,
            ivota,
            response_module,
            trial,
        )
        self._patches = [
            patched(mqtt_session, Link=FakeLink),
            patched(transfer_module, send_request=self.request),
            patched(response_module, read=self.read),
        ]
        if self.esp32:
            self._patches.append(installed("esp32", self.esp32))
        for patch in self._patches:
            patch.__enter__()
        return self

    def __exit__(self, *exc):
        for patch in self._patches:
            patch.__exit__(*exc)
        self.clock.__exit__(*exc)
        self._tmp.__exit__(*exc)
        if exc[0] is None and not self.faults:
            assert self.made.link.errors == []

    def request(self, url, offset, http, etag=None, redirected=False, _push=None):
        self.requests.append((url, offset, etag))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        self.source = Source([self.data[offset:]] if answer is None else answer)
        return FakeStream(self.source)

    def read(self, stream, offset, size, etag=None, longest=0):
        location = self.redirects.pop(0) if self.redirects else None
        return location, self.skip, self.etag

    def client(
        self, version="0.1", config=None, connect=True, on_firmware=None, quiet=False, **more
    ):
        self.state = load(self.path + "/state.json")
        made = Client(
            dict(CONFIG, **(config or {})),
            version,
            on_firmware or (None if self.esp32 else self.got.append),
            self.failures.append,
            log=None if quiet else self._keep,
            firmware_dir=self.path + "/fw",
            state=self.state,
            **more,
        )
        if connect:
            made.link.connect()
        self.made = made
        return made

    def _keep(self, level, event, **fields):
        self.log.append((level, event, fields))

    def push(self, *args, **more):
        self.made.link.inbox.append(push_of(*(args or (self.data,)), **more))

    def answer(self, version="0.1", **more):
        """The cloud answers a report of this version."""
        said = {"type": "report_version_rsp", "result_code": 0, "result_msg": "success"}
        self.made.link.inbox.append(json.dumps(dict(said, version=version, **more)).encode())

    def spin(self, seconds=3, until=None, pace_ms=0):
        """Step as `run` does, for so long or until a condition holds; `pace_ms` is how long the
        application keeps the processor whenever there is nothing to do."""
        end = self.clock.now_ms() + int(seconds * 1000)
        while self.clock.now_ms() < end:
            if until and until():
                return
            if self.made.step():
                self.clock.advance_ms(1)
            else:
                self.clock.advance_ms(max(self.made.next_step_ms(), pace_ms))
        assert not until, "it never came to that"

    # What the cloud saw

    def notices(self):
        """What was said beside the protocol."""
        sent = self.made.link.sent
        return [message["report"] for _, message in sent if message["type"] == "report_notice"]

    def states(self):
        """(state, result_code) of each report but the version's; progress with its percent."""
        found = []
        for _, message in self.made.link.sent:
            if message["type"] == "report_progress":
                progress = message["report"]["progress"]
                found.append((progress["state"], progress.get("percent", progress["result_code"])))
        return found

    def finals(self):
        """(state, result_code, result_msg) of each `done` and `fail`."""
        found = []
        for _, message in self.made.link.sent:
            progress = message["report"].get("progress", {})
            if progress.get("state") in ("done", "fail"):
                found.append((progress["state"], progress["result_code"], progress["result_msg"]))
        return found

    def versions(self):
        return [
            message["report"]["version"]
            for _, message in self.made.link.sent
            if message["type"] == "report_version"
        ]

    def clear(self):
        self.made.link.sent.clear()

    def forget(self):
        """A board with nothing on its flash again."""
        remove_tree(self.path + "/fw")


class FakeStream:
    def __init__(self, source):
        self.raw = source

    def close(self):
        self.raw.closed = True
