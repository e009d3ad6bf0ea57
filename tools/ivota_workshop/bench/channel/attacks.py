"""Attacks on a board that reads a channel. Each attack changes files on the web server.

The attacker controls the server and the network, has copies of everything that was ever published,
and the key of another product. Some attacks assume even more: an index that the owner has signed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.channel.folder import Channel
from ivota_tools.channel.index import NAME, Index, Release
from ivota_tools.firmware.release import pack
from ivota_tools.firmware.signed_file import Signer, split
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private
from ivota_tools.sim import Board, BoardError, Proxy

from .site import nginx

PRODUCT = "P"
SIZE = 100_000  # bytes of each firmware: equal, so that only the content differs
PATIENCE_S = 120.0
_HIGH = 99  # a sequence above all others
_IDLE = b"import asyncio\n\n\nasync def main():\n    while True:\n        await asyncio.sleep(1)\n"


@dataclass
class Published:
    """A channel, and the copies that an attacker has.

    The board runs 0.3 and has read the index that offered it. `before` is the folder when 0.2 was
    the newest version, `after` with 0.4, which the board has not seen yet; `site` is what the web
    server serves. `serial` is that of `after`.
    """

    key: PrivateKey
    thief: PrivateKey
    before: Path
    after: Path
    site: Path
    serial: int

    def serve(self, folder: Path) -> None:
        """Let the web server serve a copy of a folder."""
        for path in list(self.site.iterdir()):
            path.unlink()
        for path in sorted(folder.iterdir(), key=lambda path: path.name == NAME):
            shutil.copy(path, self.site)

    def write(self, data: bytes) -> None:
        (self.site / NAME).write_bytes(data)

    def index(self, folder: Path | None = None) -> Index:
        return Channel(folder or self.after, self.key).index

    def offer(self, data: bytes, version: str = "0.5") -> Path:
        """Serve an index that the owner has signed, which offers these bytes."""
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        file = self.site / f"{md5}.bin"
        file.write_bytes(data)
        release = Release(version, None, _HIGH, file.name, len(data), md5)
        index = Index(PRODUCT, self.serial, tracks={"stable": (release,)})
        self.write(index.signed(self.key))
        return file

    def firmware(self, folder: Path) -> bytes:
        """Return the firmware that a folder offers."""
        return (folder / self.index(folder).tracks["stable"][-1].file).read_bytes()


def _changed(change: Callable[[Published, Index], bytes]) -> Callable[[Published], None]:
    """Return an attack that replaces the index of `after`."""

    def attack(it: Published) -> None:
        it.serve(it.after)
        it.write(change(it, it.index()))

    return attack


def _replay(it: Published) -> None:
    it.serve(it.before)


def _downgrade(it: Published) -> None:
    it.serve(it.before)
    it.write(dataclasses.replace(it.index(it.before), serial=it.serial).signed(it.key))


def _downgrade_hidden(it: Published) -> None:
    it.offer(it.firmware(it.before), "0.2")


def _mixed(it: Published) -> None:
    other = bytearray(it.firmware(it.after))
    file = it.offer(bytes(other[::-1]))
    file.write_bytes(other)


def _truncated_firmware(it: Published) -> None:
    data = Signer(it.key, _HIGH, None).sign(split(it.firmware(it.after))[0], "0.5", "bundle")
    it.offer(data).write_bytes(data[: len(data) // 2])


def _half_published(it: Published) -> None:
    it.offer(b"missing").unlink()


def _another_boards(it: Published) -> None:
    payload = split(it.firmware(it.after))[0]
    it.offer(Signer(it.key, _HIGH, "other").sign(payload, "0.5", "bundle"))


def _anothers_firmware(it: Published) -> None:
    payload = split(it.firmware(it.after))[0]
    it.offer(Signer(it.thief, _HIGH, None).sign(payload, "0.5", "bundle"))


# By name: the attack, and the board's answer, "" if there is none.
ATTACKS: dict[str, tuple[Callable[[Published], None], str]] = {
    "replay": (_replay, "the board has already read"),
    "expired": (
        _changed(lambda it, index: dataclasses.replace(index, expires=10**9).signed(it.key)),
        "the channel's index has expired",
    ),
    "index by another key": (
        _changed(lambda it, index: index.signed(it.thief)),
        "the channel's index is not signed by a trusted key",
    ),
    "index with one byte changed": (
        _changed(lambda it, index: index.signed(it.key).replace(b'"serial":', b'"serial": ')),
        "the channel's index is not signed by a trusted key",
    ),
    "another product's index": (
        _changed(lambda it, index: dataclasses.replace(index, product="Q").signed(it.key)),
        "the channel is for the product Q",
    ),
    "truncated index": (
        _changed(lambda it, index: index.signed(it.key)[:700]),
        "the channel's index is truncated or invalid",
    ),
    "index that is too long": (
        _changed(lambda it, index: index.signed(it.key) + b" " * 4096),
        "more than 4096 bytes",
    ),
    "a page in place of the index": (
        _changed(lambda it, index: b"<html>sign in</html>" * 20),
        "the channel's index is truncated or invalid",
    ),
    "downgrade": (_downgrade, ""),
    "downgrade under a high sequence": (_downgrade_hidden, "failed code=-5"),
    "mix of generations": (_mixed, "failed code=-4"),
    "truncated firmware": (_truncated_firmware, "failed code=-4 why=the server's file has"),
    "half-published": (_half_published, "HTTP 404"),
    "another board's firmware": (_another_boards, "failed code=-5"),
    "firmware by another key": (_anothers_firmware, "failed code=-5"),
}


@contextmanager
def board(folder: Path) -> Iterator[tuple[Published, Board, Proxy]]:
    """Provide a channel, and a board that runs 0.3 from it."""
    for name in ("owner", "thief"):
        generate(folder / f"{name}.key", None)
    key, thief = (load_private(folder / f"{name}.key", str) for name in ("owner", "thief"))
    made = folder / "made"
    channel = Channel.create(made, PRODUCT, key, 30)
    source = folder / "app"
    source.mkdir()
    for version in ("0.2", "0.3", "0.4"):
        (source / "app.py").write_bytes(_IDLE + f"VERSION = {version!r}\n".encode())
        out = folder / f"{version}.bin"
        pack(source, version, out=out, application="app", pad_to=SIZE)
        channel.publish(out, deltas=0)
        shutil.copytree(made, folder / version)
    site = folder / "site"
    site.mkdir()
    it = Published(key, thief, folder / "0.2", folder / "0.4", site, channel.index.serial)
    it.serve(folder / "0.3")
    with nginx(site, folder / "nginx") as port, Proxy("127.0.0.1", port) as proxy:
        config = {
            "product_id": PRODUCT,
            "device_name": "d1",
            "version": "0.1",
            "keys": ["/owner.pub"],
            "channel": {"url": f"http://127.0.0.1:{proxy.port}/{NAME}", "interval_s": 10},
            "retry": {"first_s": 0.5, "most_s": 4},
        }
        files = {"/owner.pub": key.public.der}
        made_board = Board(folder / "board", mpy=True, config=config, files=files, turns=True)
        made_board.install()
        with made_board:
            made_board.power_on()
            made_board.wait_log("confirmed version=0.3", PATIENCE_S)
            yield it, made_board, proxy


def why_not_refused(name: str, it: Published, board: Board, proxy: Proxy) -> str:
    """Attack a board that has just started; return what the board did wrong, or ""."""
    attack, answer = ATTACKS[name]
    board.power_cut()
    attack(it)
    begin = len(board.log)
    opened = len(proxy.connections)
    board.power_on()
    try:
        if answer:
            board.wait_log(answer, PATIENCE_S, begin)
        else:
            _wait_connections(proxy, opened + 2)  # the next check: the first one is over
    except (BoardError, TimeoutError) as error:
        return f"{name}: {error}"
    for line in board.log[begin:]:
        if "ivota: handed_over" in line or "ivota: signed" in line:
            return f"{name}: {line}"
    return ""


def _wait_connections(proxy: Proxy, number: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while len(proxy.connections) < number:
        if time.monotonic() > until:
            raise TimeoutError("the board did not look again")
        time.sleep(0.1)


def try_all(folder: Path) -> list[str]:
    """Try all attacks; return the problems. Afterwards, the owner's next version must run."""
    wrong = []
    with board(folder) as (it, device, proxy):
        for name in ATTACKS:
            why = why_not_refused(name, it, device, proxy)
            if why:
                wrong.append(why)
        device.power_cut()
        it.serve(it.after)
        begin = len(device.log)
        device.power_on()
        device.wait_log("confirmed version=0.4", PATIENCE_S, begin)
        device.power_cut()
        state = json.loads(device.read("/ivota-state.json"))
        if state["active"] != "/firmware/0.4.bin":
            wrong.append(f"in the end {state['active']} is active")
    return wrong
