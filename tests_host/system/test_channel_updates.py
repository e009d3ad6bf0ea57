"""Boards that update from a channel: from real servers, through cuts, and under attack."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import mosquittos
import object_store
import pytest
from board_support import seen, settings, wait_noted
from channel_sites import TOKEN, Site, python_server
from mosquittos import password_line
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.channel.folder import Channel
from ivota_tools.channel.index import NAME, Release, verify
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.channel.channel_files import ChannelSetting
from ivota_tools.common import project_files
from ivota_tools.firmware.release import Signer, inspect, make_patch, pack, sign
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private
from ivota_tools.sim import Board, Proxy
from ivota_tools.sim.link_proxy import Cut
from ivota_workshop.bench.channel import attacks
from ivota_workshop.bench.channel.site import nginx
from ivota_workshop.bench.neighbours.ha_scenario import Listener

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

    def firmware(
        self,
        version: str,
        app: str = IDLE,
        size: int | None = SIZE,
        config: Mapping[str, object] | None = None,
    ) -> Path:
        source = self.work / f"app-{version}"
        source.mkdir(exist_ok=True)
        (source / "app.py").write_text(app + f"\nVERSION = {version!r}\n")
        if config:
            (source / "config.json").write_text(json.dumps(config))
            (source / "owner.pub").write_bytes(self.key.public.der)
        out = self.work / f"{version}.bin"
        pack(source, version, out=out, application="app", pad_to=size)
        return out

    def publish(
        self,
        version: str,
        app: str = IDLE,
        size: int | None = SIZE,
        config: Mapping[str, object] | None = None,
    ) -> Channel:
        channel = Channel(self.folder, self.key)
        channel.publish(self.firmware(version, app, size, config))
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

    def make(url: str, files: Mapping[str, bytes] | None = None, **changes: object) -> Board:
        config = settings("d1", 1, keys=["/owner.pub"], **changes)
        section: Any = config.get("channel", {})
        config["channel"] = {"url": f"{url}/{NAME}", "interval_s": 10, **section}
        made = Board(
            tmp_path / "board",
            mpy=True,
            config=config,
            files={"/owner.pub": stage.key.public.der, **(files or {})},
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


@dataclasses.dataclass
class Place:
    """Where a channel's files lie: a server's port, and the path that leads to them.

    `every`: bytes after which the link is cut; a server without ranges sends all of it again.
    `reached` tells the place the URL at which boards reach it, `published` brings what was
    published there.
    """

    port: int
    path: str = ""
    token: str | None = None
    every: int = 65_536
    reached: Callable[[str], object] = lambda url: None
    published: Callable[[], object] = lambda: None


@contextlib.contextmanager
def web_space(folder: Path, work: Path) -> Iterator[Place]:
    with nginx(folder, work) as port:
        yield Place(port)


@contextlib.contextmanager
def plain_server(folder: Path, _work: Path) -> Iterator[Place]:
    with python_server(folder) as port:
        yield Place(port, every=250_000)


@contextlib.contextmanager
def release_page(folder: Path, _work: Path) -> Iterator[Place]:
    with Site(folder, page=True) as site:
        yield Place(site.server_address[1], token=TOKEN)


@contextlib.contextmanager
def private_store(folder: Path, _work: Path) -> Iterator[Place]:
    """Of whose signed URLs each works once."""
    with object_store.running() as front:
        front.fill(folder)
        yield Place(
            front.server_address[1],
            "/page",
            object_store.TOKEN,
            reached=front.lead_to,
            published=lambda: front.fill(folder),
        )
        ended = {status for path, status in front.answers if path.startswith("/fleet/")}
        assert ended <= {200, 206, 304}


PLACES = {
    "nginx": web_space,
    "python": plain_server,
    "page": release_page,
    "store": private_store,
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_channel_in_each_place(
    stage: Stage, board: Callable[..., Board], tmp_path: Path, place: str
) -> None:
    """Through cuts of the link and of the power, then by a delta, and back again."""
    stage.publish("0.2")
    with PLACES[place](stage.folder, tmp_path / "server") as at:
        with contextlib.closing(Proxy("127.0.0.1", at.port)) as proxy:
            proxy.schedule(itertools.repeat(Cut(at.every), 4))
            host = f"127.0.0.1:{proxy.port}"
            at.reached(f"http://{host}")
            tokens = {host: at.token} if at.token else None
            it = board(f"http://{host}{at.path}", http={"authorization": tokens})
            wait_until(lambda: len(proxy.cuts) >= 2, "two cuts")
            it.power_cut()
            it.power_on()
            runs(it, "0.2")
            stage.publish("0.3")
            at.published()
            runs(it, "0.3")
            assert [line for line in it.log if "patched" in line or "expand" in line]
            Channel(stage.folder, stage.key).withdraw("0.3")
            at.published()
            start = len(it.log)
            it.wait_log("confirmed version=0.2", 120, start)
            wait_noted(it)
    it.stop()
    found = state(it)
    assert found["serial"] == 4
    assert json.loads(str(found["last"]))["report"]["progress"]["state"] == "done"


def test_an_object_store_takes_only_what_is_signed() -> None:
    """The judge of the test above: a URL signed by botocore, and the same one changed."""
    with object_store.running() as front:
        url = front.ask("sign", "channel.json")
    target = url.removeprefix(front.url)
    host = {"host": url.split("/")[2]}
    late = time.time() + 601

    def refused(target: str, fields: dict[str, str] = host, now: float = 0) -> str:
        return object_store.refusal("GET", target, fields, b"", now)

    assert len(url) > 900 and not refused(target)
    assert refused(target, now=late) == "it has expired"
    assert refused(target.partition("?")[0]) == "it is not signed"
    assert refused(target.replace("channel", "another")) == "its signature is wrong"
    assert refused(target.replace("Expires=600", "Expires=6000")) == "its signature is wrong"
    assert refused(target, {"host": "elsewhere"}) == "its signature is wrong"
    assert refused(target, {**host, "authorization": TOKEN}) == "it has two signatures"


@pytest.mark.slow
def test_each_attack_is_refused(tmp_path: Path) -> None:
    assert attacks.try_all(tmp_path) == []


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


@pytest.mark.slow
def test_a_move_to_a_channel_that_is_not_there(
    stage: Stage, tmp_path: Path, boards: list[Board]
) -> None:
    """It does not strand the board: the cloud hears why it came back."""
    with Cloud(tmp_path / "cloud") as cloud, Client(cloud.api_url) as api:
        config = settings("d1", cloud.mqtt_port)
        it = Board(tmp_path / "board", mpy=True, config=config, turns=True, blocks=1024)
        boards.append(it)
        it.install()
        it.power_on()
        nowhere = {"url": f"{cloud.api_url}/channel/P/{NAME}", "interval_s": 10}
        to_channel = {"keys": ["/app/owner.pub"], "channel": nowhere, "trial": {"limit_s": 3}}
        api.upload(stage.firmware("0.2", size=None, config=to_channel))
        device = api.push("P/d1", "0.2", new=True)["device"]
        *_, device = api.wait(device["id"], WAIT_S)
        assert device["state"] == "failed" and "not confirmed" in device["result_msg"]


@pytest.mark.slow
def test_a_channel_that_the_cloud_fills(
    stage: Stage, board: Callable[..., Board], tmp_path: Path
) -> None:
    """By a delta, too; and whoever has the key of its index makes no board run anything."""
    owner, online = stage.key, stage.other
    channels = [ChannelSetting("P", (owner.public,), online)]
    folder = tmp_path / "cloud"
    with Cloud(folder, channels=channels) as cloud, Client(cloud.api_url) as api:

        def upload(version: str, key: PrivateKey, sequence: int) -> tuple[Path, int]:
            out = tmp_path / f"{version}.signed"
            sign(stage.firmware(version), Signer(key, sequence), out=out)
            return out, api.upload(out)["firmware"]["id"]

        old, number = upload("0.2", owner, 2)
        api.offer_in_channel("P", number)
        it = board(
            f"{cloud.api_url}/channel/P",
            files={"/index.pub": online.public.der},
            channel={"keys": ["/index.pub"]},
        )
        runs(it, "0.2")
        new, number = upload("0.3", owner, 3)
        delta = tmp_path / "delta.bin"
        signer = Signer(owner, 3)
        make_patch(inspect(new), old, out=delta, signer=signer, base_version="0.2")
        api.upload(delta)
        api.offer_in_channel("P", number)
        runs(it, "0.3")
        assert [line for line in it.log if "expand base=0.2" in line]
        wait_noted(it)
        # An attacker who controls the cloud, with its key.
        place = folder / "channel" / "P"
        index = verify((place / NAME).read_bytes(), [online.public])
        bad, _ = upload("0.4", online, 4)
        data = bad.read_bytes()
        md5 = hashlib.md5(data).hexdigest()
        (place / f"{md5}.bin").write_bytes(data)
        release = Release("0.4", None, 4, f"{md5}.bin", len(data), md5)
        evil = dataclasses.replace(index, serial=index.serial + 1, tracks={"stable": (release,)})
        (place / NAME).write_bytes(evil.signed(online))
        it.wait_log("failed code=-5 .*signature", 120)
        assert str(state(it)["active"]).startswith("/firmware/0.3.")
        # The owner's next version is offered and runs.
        _, number = upload("0.5", owner, 5)
        api.offer_in_channel("P", number)
        runs(it, "0.5")


@pytest.mark.slow
def test_an_install_button_for_a_channel(
    stage: Stage, board: Callable[..., Board], tmp_path: Path
) -> None:
    """The broker lets the board in as docs/home-assistant.md says, and nobody else."""
    users = tmp_path / "users"
    users.write_text(password_line("board", "hunter22") + password_line("homeassistant", "h"))
    rules = tmp_path / "rules"
    page = (project_files.CHECKOUT / "docs" / "home-assistant.md").read_text()
    blocks = re.findall(r"^ {4}user homeassistant\n(?: {4}.*\n|\n(?= {4}))+", page, re.M)
    (documented,) = (block for block in blocks if "user board" in block)
    rules.write_text("\n".join(line.strip() for line in documented.splitlines()) + "\n")
    heard = Listener(tmp_path, 0)
    with (
        Site(stage.folder) as site,
        mosquittos.running(tmp_path, f"password_file {users}", f"acl_file {rules}") as broker,
    ):
        heard.mqtt_port = broker.port
        stage.publish("0.2")
        it = board(
            site.url,
            home_assistant={
                **{"mode": "install", "host": "127.0.0.1", "port": broker.port},
                **{"user": "board", "password": "hunter22"},
            },
        )
        with heard.listening("homeassistant/#", "ivota/#", user="homeassistant", password="h"):
            heard.wait_for(installed_version="0.1", latest_version="0.2", in_progress=False)
            assert not site.asked(".bin")
            Channel(stage.folder, stage.key).withdraw("0.2")
            stage.publish("0.3")
            heard.wait_for(latest_version="0.3", in_progress=False)
            heard.press_install()
            runs(it, "0.3")
            heard.wait_for(installed_version="0.3", latest_version="0.3", in_progress=False)
