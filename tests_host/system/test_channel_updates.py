"""Boards that update from a channel: from real servers, through cuts, and under attack."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board_support import seen, settings, wait_noted
from channel_sites import TOKEN, Site, nginx, python_server
from waiting import wait_until

from ivota_tools.channel.folder import Channel
from ivota_tools.channel.index import NAME, Index
from ivota_tools.firmware.release import pack
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private
from ivota_tools.sim import Board, Proxy
from ivota_tools.sim.link_proxy import Cut

IDLE = "import asyncio\n\n\nasync def main():\n    while True:\n        await asyncio.sleep(1)\n"
CRASHES = 'async def main():\n    raise ValueError("on purpose")\n'
SIZE = 300_000


@dataclasses.dataclass
class Stage:
    """A channel in a folder, its key, and firmware for it."""

    folder: Path
    key: PrivateKey
    other: PrivateKey
    work: Path

    def firmware(self, version: str, app: str = IDLE, size: int | None = SIZE) -> Path:
        source = self.work / f"app-{version}"
        source.mkdir(exist_ok=True)
        (source / "app.py").write_text(app + f"\nVERSION = {version!r}\n")
        out = self.work / f"{version}.bin"
        pack(source, version, out=out, application="app", pad_to=size)
        return out

    def publish(self, version: str, app: str = IDLE, size: int | None = SIZE) -> Channel:
        channel = Channel(self.folder, self.key)
        channel.publish(self.firmware(version, app, size))
        return channel


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrivateKey, PrivateKey]:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("owner", "other"):
        generate(folder / f"{name}.pem", None)
    return load_private(folder / "owner.pem", str), load_private(folder / "other.pem", str)


@pytest.fixture
def stage(tmp_path: Path, keys: tuple[PrivateKey, PrivateKey]) -> Stage:
    made = Stage(tmp_path / "channel", *keys, tmp_path)
    Channel.create(made.folder, "P", made.key, 30)
    return made


@pytest.fixture
def board(tmp_path: Path, stage: Stage, boards: list[Board]) -> Callable[..., Board]:
    """Makes a board of version 0.1 that reads the channel at `url`."""

    def make(url: str, **changes: object) -> Board:
        config = settings("d1", 1, keys=["/owner.pub"], **changes)
        section: Any = config.get("channel", {})
        config["channel"] = {"url": f"{url}/{NAME}", "interval_s": 10, **section}
        made = Board(
            tmp_path / "board",
            mpy=True,
            config=config,
            files={"/owner.pub": stage.key.public.der},
            turns=True,
            blocks=1024,
        )
        boards.append(made)
        made.install()
        made.power_on()
        return made

    return make


def state(board: Board) -> dict[str, object]:
    try:
        return dict(json.loads(seen(board, "/ivota-state.json")))
    except ValueError:
        return {}


def runs(board: Board, version: str) -> None:
    """Waits until a trial of this version is confirmed."""
    board.wait_log(f"confirmed version={version}", 120)


@contextlib.contextmanager
def release_page(folder: Path, _work: Path) -> Iterator[str]:
    with Site(folder, page=True) as site:
        yield site.url


PLACES = {
    "nginx": nginx,
    "python": lambda folder, work: python_server(folder),
    "page": release_page,
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_channel_in_each_place(
    stage: Stage, board: Callable[..., Board], tmp_path: Path, place: str
) -> None:
    """Through cuts of the link and of the power, then by a delta, and back again."""
    stage.publish("0.2")
    with PLACES[place](stage.folder, tmp_path / "server") as url:
        host = url.rpartition("/")[2]
        with contextlib.closing(Proxy("127.0.0.1", int(url.rpartition(":")[2]))) as proxy:
            through = url
            if place != "page":  # its URLs are absolute
                # A server without ranges sends all of it again after a cut.
                every = 65_536 if place == "nginx" else 250_000
                proxy.schedule(itertools.repeat(Cut(every), 4))
                through = f"http://127.0.0.1:{proxy.port}"
            hosts = {"127.0.0.1:" + host.rpartition(":")[2]: TOKEN} if place == "page" else None
            it = board(through, http={"authorization": hosts})
            if place == "nginx":
                wait_until(lambda: len(proxy.cuts) >= 2, "two cuts")
                it.power_cut()
                it.power_on()
            runs(it, "0.2")
            stage.publish("0.3")
            runs(it, "0.3")
            assert [line for line in it.log if "patched" in line or "expand" in line]
            Channel(stage.folder, stage.key).withdraw("0.3")
            start = len(it.log)
            it.wait_log("confirmed version=0.2", 120, start)
            wait_noted(it)
    it.stop()
    found = state(it)
    assert found["serial"] == 4
    assert json.loads(str(found["last"]))["report"]["progress"]["state"] == "done"


ATTACKS: dict[str, tuple[Callable[[Stage, Index], bytes], str]] = {
    "truncated": (
        lambda stage, index: index.signed(stage.key)[:700],
        "the channel's index is incomplete",
    ),
    "another key": (
        lambda stage, index: index.signed(stage.other),
        "signed by none of the trusted keys",
    ),
    "one byte changed": (
        lambda stage, index: index.signed(stage.key).replace(b'"serial":', b'"serial": '),
        "signed by none of the trusted keys",
    ),
    "another product": (
        lambda stage, index: dataclasses.replace(index, product="Q").signed(stage.key),
        "the channel is for the product Q",
    ),
    "expired": (
        lambda stage, index: dataclasses.replace(index, expires=1_700_000_000).signed(stage.key),
        "the channel's index has expired",
    ),
    "another track": (
        lambda stage, index: dataclasses.replace(index, tracks={"beta": ()}).signed(stage.key),
        "the channel has no track stable",
    ),
    "not an index": (lambda stage, index: b"<html>sign in</html>" * 20, "is incomplete"),
    "too long": (lambda stage, index: b" " * 5000, "more than 4096 bytes"),
}


@pytest.mark.slow
def test_what_its_owner_has_not_said_has_no_effect(
    stage: Stage, board: Callable[..., Board]
) -> None:
    index = stage.publish("0.2", size=None).index
    good = (stage.folder / NAME).read_bytes()
    (stage.folder / NAME).unlink()
    with Site(stage.folder) as site:
        it = board(site.url)
        for forge, why in ATTACKS.values():
            (stage.folder / NAME).write_bytes(forge(stage, index))
            it.wait_log(why, 60, len(it.log))
        assert not [line for line in it.log if "ivota: update " in line]
        (stage.folder / NAME).write_bytes(good)
        runs(it, "0.2")


@pytest.mark.slow
def test_an_older_index_and_mixed_files(stage: Stage, board: Callable[..., Board]) -> None:
    """Replayed, an index is refused; with the bytes of another release nothing runs."""
    stage.publish("0.2", size=None)
    old = (stage.folder / NAME).read_bytes()
    with Site(stage.folder) as site:
        it = board(site.url)
        runs(it, "0.2")
        channel = stage.publish("0.3", size=None)
        new = channel.index.tracks["stable"][-1]
        right = (stage.folder / new.file).read_bytes()
        (stage.folder / new.file).write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
        for delta in new.deltas:
            (stage.folder / delta.file).unlink()
        it.wait_log("failed code=-4", 120)
        (stage.folder / new.file).write_bytes(right)
        start = len(it.log)
        (stage.folder / NAME).write_bytes(old)
        it.wait_log("has serial 2, and 3 was read before", 60, start)
        wait_until(lambda: state(it).get("active") == "/firmware/0.2.bin", "0.2 to be active")


@pytest.mark.slow
def test_a_version_that_fails_goes_back_and_is_not_fetched_again(
    stage: Stage, board: Callable[..., Board]
) -> None:
    stage.publish("0.2", size=None)
    with Site(stage.folder) as site:
        it = board(site.url, trial={"starts": 2}, channel={"report_url": f"{site.url}/report"})
        runs(it, "0.2")
        bad = stage.publish("0.3", CRASHES, size=None).index.tracks["stable"][-1]
        wait_until(lambda: any(b'"fail"' in each for each in site.posted), "the report")
        wait_until(lambda: state(it).get("active") == "/firmware/0.2.bin", "0.2 to be active")
        fetched = site.asked(bad.file)
        polls = site.asked(NAME)
        wait_until(lambda: site.asked(NAME) >= polls + 2, "two polls")
        assert site.asked(bad.file) == fetched
        # With nothing for it the board asks whether there is anything new, and no more.
        wait_until(lambda: (f"/{NAME}", 304) in site.requests, "an answer without the index")
        unchanged = [
            size
            for size, (_, status) in zip(site.wire, site.requests, strict=True)
            if status == 304
        ]
        assert max(unchanged) <= 400
        reports = [json.loads(each)["report"]["progress"] for each in site.posted]
        assert [each["state"] for each in reports if each["state"] in ("done", "fail")] == [
            "done",
            "fail",
        ]
