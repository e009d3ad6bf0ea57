"""A board with keys runs what its owner signed for it, and nothing else, whoever asks."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from badserver import BadServer
from board_support import DIES_AFTER_BOOT_PY, MakeBoard, settings
from wire import Message, Wire

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.firmware.release import Signer, pack, sign
from ivota_tools.firmware.signed_file import split
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private
from ivota_tools.sim import Board
from ivota_tools.sim.esp32_image import make_image
from ivota_tools.sim.filesystem import BLOCK

TARGET = "thermometer"
IDLE = "import asyncio\n\n\nasync def main():\n    while True:\n        await asyncio.sleep(1)\n"
CRASHES = 'async def main():\n    raise ValueError("on purpose")\n'


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PrivateKey]:
    folder = tmp_path_factory.mktemp("keys")
    made = {}
    for name in ("owner", "next", "thief"):
        generate(folder / f"{name}.key", None)
        made[name] = load_private(folder / f"{name}.key", str)
    return made


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, PrivateKey]) -> Make:
    return Make(tmp_path_factory.mktemp("releases"), keys)


class Make:
    """Firmware, as its owner and as others would make it."""

    def __init__(self, folder: Path, keys: dict[str, PrivateKey]) -> None:
        self._folder = folder
        self.keys = keys

    def signer(self, sequence: int, key: str = "owner", target: str | None = TARGET) -> Signer:
        return Signer(self.keys[key], sequence, target)

    def __call__(
        self,
        version: str,
        sequence: int = 0,
        app: str = IDLE,
        key: str = "owner",
        target: str | None = TARGET,
        config: dict[str, Any] | None = None,
        files: dict[str, bytes] | None = None,
    ) -> bytes:
        """A bundle; not signed where the number is 0."""
        said = repr((version, app, config, files))
        folder = self._folder / hashlib.sha256(said.encode()).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        (folder / "app.py").write_text(app)
        for name, data in (files or {}).items():
            (folder / name).write_bytes(data)
        if config:
            (folder / "config.json").write_text(json.dumps(config))
        out = self._folder / "out.bin"
        signer = self.signer(sequence, key, target) if sequence else None
        pack(folder, version, out=out, application="app", signer=signer)
        return out.read_bytes()


class Field:
    """A board in the field, its cloud, and who plays with both."""

    def __init__(self, board: Board, wire: Wire, server: BadServer) -> None:
        self.board, self.wire, self.server = board, wire, server
        self._number = 0

    def push(self, version: str, data: bytes) -> Message:
        """Pushes; the last word about it."""
        path = f"/{hashlib.sha256(data).hexdigest()}"
        self.server.add(path, data)
        said = len(self.wire.messages)
        self.wire.push(version, self.server.url(path), data)
        return self.wire.wait(
            lambda message: (
                message.state in ("done", "fail") and message.json["report"]["version"] == version
            ),
            f"the end of {version}",
            after=said,
        )

    def fetched(self, data: bytes) -> int:
        return len(self.server.asked(f"/{hashlib.sha256(data).hexdigest()}"))

    def accepts(self, version: str, data: bytes) -> None:
        message = self.push(version, data)
        assert message.state == "done", message.json
        self.board.wait_log(f"confirmed version={version}")

    def refuses(self, version: str, data: bytes, why: str) -> None:
        """`fail -5` and the reason, nothing left, and not fetched again."""
        said = len(self.wire.messages)
        for times in (1, 2):
            progress = self.push(version, data).json["report"]["progress"]
            assert progress["result_code"] == "-5"
            assert progress["result_msg"].startswith("signature: "), progress
            assert why in progress["result_msg"]
            assert self.fetched(data) == 1, times
        states = [message.state for message in self.wire.messages[said:]]
        assert "burning" not in states and "done" not in states

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.board.read("/ivota-state.json"))
        return found


@pytest.fixture
def field(
    agent: MakeBoard, wire: Wire, server: BadServer, keys: dict[str, PrivateKey]
) -> Iterator[Callable[..., Field]]:
    """Starts a board with the owner's key."""

    def start(**changes: Any) -> Field:
        files = {"/owner.pub": keys["owner"].public.der, **changes.pop("files", {})}
        made = changes.pop("make", agent)
        board = made(files, **{"keys": ["/owner.pub"], "target": TARGET, **changes})
        board.power_on()
        wire.wait_version("0.1")
        return Field(board, wire, server)

    yield start


def changed(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.matrix
@pytest.mark.slow
def test_a_signed_update(field: Callable[..., Field], make: Make) -> None:
    it = field()
    data = make("0.2", 5)
    it.accepts("0.2", data)
    it.board.wait_log("signed sequence=5")
    it.board.stop()
    assert it.board.read("/firmware/0.2.bin") == data
    assert it.state()["sequence"] == 5
    assert it.wire.states()[:5] == ["version 0.1", "downloading", "burning", "version 0.2", "done"]


REFUSALS: dict[str, tuple[Callable[[Make], bytes], str]] = {
    "unsigned": (lambda make: make("0.2"), "not signed"),
    "another key": (lambda make: make("0.2", 5, key="thief"), "not signed by a trusted key"),
    "a changed byte of the application": (
        lambda make: changed(make("0.2", 5), 3000),
        "does not match the signed SHA-256",
    ),
    "a changed byte of the list": (
        lambda make: changed(make("0.2", 5), 600),
        "does not match the signed SHA-256",
    ),
    "a changed byte of the header": (
        lambda make: changed(make("0.2", 5), -500),
        "not signed by a trusted key",
    ),
    "a changed byte of the signature": (
        lambda make: changed(make("0.2", 5), -100),
        "not signed by a trusted key",
    ),
    "a changed length": (lambda make: changed(make("0.2", 5), -9), "signature block is damaged"),
    "a changed magic": (lambda make: changed(make("0.2", 5), -1), "not signed"),
    "another target": (lambda make: make("0.2", 5, target="kettle"), "for target kettle"),
    "no target": (lambda make: make("0.2", 5, target=None), "for target None"),
    "another version": (lambda make: make("0.1.9", 5), "for version 0.1.9"),
    "more in front": (
        lambda make: make("0.2") + make("0.2", 5),
        "bytes, but the payload has",
    ),
    "another kind": (
        lambda make: make.signer(5).sign(make("0.2"), "0.2", "esp32-image"),
        "not of the signed kind",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal(what: str, field: Callable[..., Field], make: Make) -> None:
    """The reason is said, the old version runs on, and a good one is still welcome."""
    it = field()
    data, why = REFUSALS[what]
    it.refuses("0.2", data(make), why)
    assert it.board.resets == 0
    it.accepts("0.3", make("0.3", 1))
    it.board.stop()
    assert it.board.listdir("/firmware") == ["0.3.bin"]


@pytest.mark.slow
def test_no_way_back_but_by_a_new_number(
    field: Callable[..., Field], make: Make, tmp_path: Path
) -> None:
    it = field()
    old, new = make("0.2", 5), make("0.3", 6)
    it.accepts("0.2", old)
    it.accepts("0.3", new)
    it.refuses("0.2", old, "sequence 5 is not above the confirmed 6: downgrade blocked")
    it.refuses("0.4", make("0.4", 6), "sequence 6 is not above the confirmed 6: downgrade blocked")
    # On purpose, with the number of a new release:
    (tmp_path / "old").write_bytes(old)
    again = sign(tmp_path / "old", make.signer(7), out=tmp_path / "again", again=True)
    assert split(again.path.read_bytes())[0] == split(old)[0]
    it.accepts("0.2", again.path.read_bytes())
    it.board.stop()
    assert it.state()["sequence"] == 7


@pytest.mark.slow
def test_a_trial_that_fails_raises_no_number(field: Callable[..., Field], make: Make) -> None:
    it = field()
    it.accepts("0.2", make("0.2", 5))
    assert it.push("0.3", make("0.3", 9, app=CRASHES)).state == "fail"
    it.accepts("0.4", make("0.4", 6))
    it.board.stop()
    assert it.state()["sequence"] == 6


@pytest.mark.matrix
@pytest.mark.slow
def test_a_key_is_rolled_back_with_its_bundle(field: Callable[..., Field], make: Make) -> None:
    it = field()
    bring = {"next.pub": make.keys["next"].public.der}
    alone = {"keys": ["/app/next.pub"]}
    bad = make("0.2", 5, app=CRASHES, config=alone, files=bring)
    assert it.push("0.2", bad).state == "fail"
    it.refuses("0.3", make("0.3", 6, key="next"), "not signed by a trusted key")
    it.accepts("0.3", make("0.3", 1))


@pytest.mark.slow
def test_a_key_file_that_is_missing_is_the_boards_fault(
    field: Callable[..., Field], make: Make
) -> None:
    """All is refused, but no firmware is held responsible."""
    it = field(keys=["/lost.pub"])
    data = make("0.2", 5)
    for times in (1, 2):
        message = it.push("0.2", data).json["report"]["progress"]["result_msg"]
        assert "/lost.pub is not a public key" in message
        assert it.fetched(data) == times
    it.board.stop()
    assert "rejected" not in it.state()


@pytest.mark.slow
def test_an_application_is_given_the_payload(
    application: MakeBoard, field: Callable[..., Field], make: Make
) -> None:
    it = field(make=application)
    payload = random.Random(3).randbytes(30_000)
    data = make.signer(5).sign(payload, "0.2", "other")
    md5 = hashlib.md5(data).hexdigest()
    assert it.push("0.2", data).state == "done"
    burns = f'app: burns /firmware/0.2.bin {len(data)} {len(payload)} {md5} "0.2"'
    it.board.wait_log(burns)
    # What was reported as done is confirmed.
    it.refuses(
        "0.3",
        make.signer(5).sign(payload, "0.3", "other"),
        "sequence 5 is not above the confirmed 5",
    )
    it.board.wait_log("app: failure -5 signature")
    it.refuses("0.3", payload, "not signed")
    assert len([line for line in it.board.log if "app: burns" in line]) == 1
    it.board.stop()
    assert it.board.listdir("/firmware") == []


@pytest.mark.slow
def test_a_good_firmware_under_a_wrong_name_does_no_harm(
    field: Callable[..., Field], make: Make
) -> None:
    """Whoever can push can't have the owner's firmware refused for ever."""
    it = field()
    good = make("0.3", 5)
    for wrong in ("0.2", "0.2.1", "9"):
        it.server.requests.clear()
        it.refuses(wrong, good, "for version 0.3")
    it.accepts("0.3", good)


@pytest.mark.slow
def test_a_man_in_the_middle(field: Callable[..., Field], make: Make) -> None:
    """Broker, names and storage are his: he pushes whatever he likes, as often as he likes.

    The board never runs a byte that its owner did not sign for it, nor an older version; and when
    the owner is back, the next update goes through.
    """
    # So often that the flash is spared: a download from the first byte then waits a second.
    it = field(retry={"first_s": 0.05, "most_s": 0.2, "rest_most_s": 24})
    older, runs, good = make("0.2", 4), make("0.3", 5), make("0.4", 6)
    it.accepts("0.3", runs)
    evil = make("6.6.6", app="print('EVIL')\n" + IDLE)
    payload, trailer = split(good)[0], good[len(split(good)[0]) :]
    his = make("6.6.6", 9, app="print('EVIL')\n" + IDLE, key="thief")
    bytes_of = {
        "unsigned": evil,
        "signed by himself": his,
        "behind a good trailer": evil + trailer,
        "in front of a good firmware": evil + good,
        "a good payload behind his own": his + payload + trailer,
        "a good payload with his trailer": payload + his[len(evil) :],
        "cut short": good[:-1000],
        "one bit": changed(good, len(payload) // 2),
        "older": older,
        "for another board": make("0.4", 7, target="kettle"),
        "an older one with a newer trailer": split(older)[0] + trailer,
        "empty archive": bytes(10_240),
        "noise": random.Random(1).randbytes(20_000),
        "an image": b"\xe9" + bytes(4000),
        "good, under another name": good,
    }
    names = ["6.6.6", "0.4", "0.2", "0.1", "../../boot", "ivota", "\xe4", ".", "0.3.bin"]
    chance = random.Random(7)
    pushed = 0
    for _ in range(3):
        for what, data in chance.sample(sorted(bytes_of.items()), len(bytes_of)):
            version = chance.choice(names)
            if what.startswith("good") and version == "0.4":
                version = "0.4.1"
            progress = it.push(version, data).json["report"]["progress"]
            assert (progress["state"], progress["result_code"]) == ("fail", "-5"), what
            assert progress["result_msg"].startswith("signature: "), (what, progress)
            pushed += 1
    # And without waiting for an answer, one push upon another.
    for what, data in bytes_of.items():
        it.wire.push("0.5", it.server.add(f"/{what.split()[0]}", data), data)
    assert it.board.resets == 1, "it restarted with his bytes"
    it.accepts("0.4", good)
    it.board.stop()
    assert not [line for line in it.board.log if "EVIL" in line or "Traceback" in line]
    said = {each.json["report"]["version"] for each in it.wire.of("version")}
    assert said == {"0.1", "0.3", "0.4"}
    assert sorted(it.board.listdir("/firmware")) == ["0.3.bin", "0.4.bin"]
    assert it.state()["sequence"] == 6 and it.board.resets == 2
    assert it.board.read("/firmware/0.4.bin") == good
    assert pushed == 45


# --- images, on a simulated ESP32


@pytest.fixture
def esp32(broker: Broker, name: str, tmp_path: Path, boards: list[Board]) -> MakeBoard:
    """Makes a board that runs image 0.1 from the first of its two slots."""

    def start(files: Mapping[str, bytes | Path], **changes: Any) -> Board:
        board = Board(
            tmp_path / "esp32",
            mpy=True,
            files=files,
            config=settings(name, broker.port, **changes),
            slots=40,
            image=make_image("0.1", size=30_000),
        )
        boards.append(board)
        board.install()
        return board

    return start


@pytest.mark.matrix
@pytest.mark.slow
def test_an_image_is_booted_only_when_signed(
    esp32: MakeBoard, field: Callable[..., Field], make: Make
) -> None:
    it = field(make=esp32)
    image = make_image("0.2", size=150_000)
    good = make.signer(5).sign(image, "0.2", "esp32-image")
    flash = it.board.flash
    assert flash
    for data, why in (
        (image, "not signed"),
        (make.signer(5, "thief").sign(image, "0.2", "esp32-image"), "not signed by a trusted key"),
        (changed(good, 100_000), "does not match the signed SHA-256"),
        (make.signer(5).sign(image, "0.2", "bundle"), "not of the signed kind"),
    ):
        it.refuses("0.2", data, why)
        assert flash.slot("ota_1")[:BLOCK] == b"\xff" * BLOCK
    assert it.board.resets == 0
    it.accepts("0.2", good)
    it.refuses(
        "0.3",
        make.signer(5).sign(image, "0.3", "esp32-image"),
        "sequence 5 is not above the confirmed 5",
    )
    it.board.stop()
    assert it.board.booted == "ota_1" and it.state()["sequence"] == 5
    assert flash.slot("ota_1")[: len(good)] == good


@pytest.mark.slow
def test_an_image_that_fails_its_trial_raises_no_number(
    esp32: MakeBoard, field: Callable[..., Field], make: Make
) -> None:
    it = field(make=esp32)
    broken = make_image("0.2", DIES_AFTER_BOOT_PY, size=40_000)
    assert it.push("0.2", make.signer(9).sign(broken, "0.2", "esp32-image")).state == "fail"
    it.accepts("0.3", make.signer(5).sign(make_image("0.3", size=40_000), "0.3", "esp32-image"))
    it.board.stop()
    assert it.state()["sequence"] == 5
