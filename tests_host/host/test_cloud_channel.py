"""Channels that the cloud serves: what it takes as a mirror, what it fills, and over HTTP."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pages_support import Visitor, let_in
from typer.testing import CliRunner
from waiting import wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.channel.folder import Channel
from ivota_tools.channel.index import NAME, Release, files_of, verify
from ivota_tools.cli.app import app
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.cloud.channel import channel_files, publication
from ivota_tools.cloud.channel.channel_files import ChannelSetting
from ivota_tools.common import atomic_write
from ivota_tools.firmware.release import Signer, make_patch, pack, sign
from ivota_tools.firmware.release import inspect as inspect_release
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private

TOKEN = "0123456789abcdef" * 4


@dataclasses.dataclass(frozen=True)
class Keys:
    folder: Path
    owner: PrivateKey
    online: PrivateKey  # which the cloud may have
    thief: PrivateKey


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("owner", "online", "thief"):
        generate(folder / f"{name}.key", None)
    return Keys(
        folder, *(load_private(folder / f"{n}.key", str) for n in ("owner", "online", "thief"))
    )


@pytest.fixture
def firmware(tmp_path: Path) -> Callable[..., Path]:
    def make(version: str, size: int | None = None) -> Path:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "app.py").write_text(f"def main():\n    pass\n\n\nVERSION = {version!r}\n")
        out = tmp_path / f"{version}.bin"
        pack(source, version, out=out, application="app", pad_to=size)
        return out

    return make


@pytest.fixture
def site(tmp_path: Path, keys: Keys, firmware: Callable[..., Path]) -> Channel:
    """The owner's channel, with two versions and a delta."""
    made = Channel.create(tmp_path / "site", "HOME", keys.owner, 30)
    made.publish(firmware("0.2"))
    made.publish(firmware("0.3"))
    return made


def mirror(keys: Keys) -> ChannelSetting:
    return ChannelSetting("HOME", (keys.owner.public,))


def filled(keys: Keys) -> ChannelSetting:
    return ChannelSetting("HOME", (keys.owner.public,), keys.online)


@pytest.fixture
def cloud(tmp_path: Path, keys: Keys) -> Iterator[Cloud]:
    with Cloud(tmp_path / "cloud", channels=[mirror(keys)]) as running:
        yield running


def get(cloud: Cloud, name: str = NAME, **headers: str) -> httpx.Response:
    return httpx.get(f"{cloud.api_url}/channel/HOME/{name}", headers=headers)


def upload(client: Client, folder: Path) -> dict[str, object]:
    data = (folder / NAME).read_bytes()
    for name in client.missing_in_channel("HOME", data):
        client.upload_to_channel("HOME", folder / name)
    return client.publish_channel("HOME", data)


def refused(client: Client, data: bytes, status: int, why: str) -> None:
    for call in (client.missing_in_channel, client.publish_channel):
        with pytest.raises(ApiError, match=why) as caught:
            call("HOME", data)
        assert caught.value.status == status


def test_a_mirror_serves_what_its_owner_has_signed(cloud: Cloud, site: Channel) -> None:
    assert get(cloud).status_code == 404
    with Client(cloud.api_url) as client:
        data = (site.folder / NAME).read_bytes()
        with pytest.raises(ApiError, match="lacks .*: upload the files first"):
            client.publish_channel("HOME", data)
        found = upload(client, site.folder)
        assert found["serial"] == 3 and not found["fills"] and found["problem"] is None
        assert client.missing_in_channel("HOME", data) == []
        assert upload(client, site.folder) == found  # the same again is no error
        assert [each["action"] for each in client.audit()] == ["channel upload"] * 2
    answer = get(cloud)
    assert answer.content == data and answer.headers["cache-control"] == "public, max-age=60"
    etag = answer.headers["etag"]
    for given in (etag, f'"x", W/{etag}', "*"):
        again = get(cloud, **{"If-None-Match": given})
        assert again.status_code == 304 and not again.content and again.headers["etag"] == etag
        assert len(str(again.headers)) < 400
    assert get(cloud, **{"If-None-Match": '"x"'}).status_code == 200
    (release,) = site.index.tracks["stable"]
    for file in (release, *release.deltas):
        whole = (site.folder / file.file).read_bytes()
        assert get(cloud, file.file).content == whole
        part = get(cloud, file.file, Range=f"bytes={file.size - 5}-")
        assert part.status_code == 206 and part.content == whole[-5:]
        assert "immutable" in part.headers["cache-control"]
        known = get(cloud, file.file, **{"If-None-Match": part.headers["etag"]})
        assert known.status_code == 304
    for path in ("HOME/../../ivota.db", "HOME/%2e%2e%2fivota.db", "P/channel.json", "HOME/x.bin"):
        assert httpx.get(f"{cloud.api_url}/channel/{path}").status_code == 404


def test_what_a_mirror_refuses(
    cloud: Cloud, site: Channel, keys: Keys, firmware: Callable[..., Path], tmp_path: Path
) -> None:
    """Whoever may upload brings nothing that the owner has not signed, and nothing older."""
    old = (site.folder / NAME).read_bytes()
    site.publish(firmware("0.4"))
    good = (site.folder / NAME).read_bytes()
    index = site.index
    with Client(cloud.api_url) as client:
        upload(client, site.folder)
        refused(client, old, 409, "has serial 3, but the cloud serves serial 4")
        refused(client, good[:-60], 422, "is incomplete")
        refused(client, b"{}" * 3000, 413, "the maximum is 4096 bytes")
        refused(client, index.signed(keys.thief), 422, "is not signed by a trusted key")
        refused(client, good.replace(b'"0.4"', b'"0.5"'), 422, "is not signed by a trusted key")

        def changed(**values: object) -> bytes:
            values.setdefault("serial", 9)
            return dataclasses.replace(index, **values).signed(keys.owner)  # type: ignore[arg-type]

        refused(client, changed(serial=4, expires=1 << 40), 409, "a different index with serial 4")
        refused(client, changed(product="OTHER"), 422, "of OTHER's channel, not of HOME's")
        refused(client, changed(expires=int(time.time()) - 1), 422, "has expired")
        elsewhere = Release("0.9", None, 9, "../../ivota.db", 9, "0" * 32)
        refused(client, changed(tracks={"stable": (elsewhere,)}), 422, "which must be 0000")
        for wrong in ({"serial": -1}, {"expires": "never"}):
            refused(client, changed(**wrong), 422, "is damaged")
        # Files: signed by the owner, and named after their contents.
        foreign = tmp_path / "foreign.bin"
        sign(firmware("0.9"), Signer(keys.thief, 9), out=foreign)
        named = tmp_path / f"{inspect_release(foreign).md5}.bin"
        foreign.rename(named)
        with pytest.raises(ApiError, match="not signed by a trusted key"):
            client.upload_to_channel("HOME", named)
        (release,) = index.tracks["stable"]
        wrong_name = tmp_path / ("0" * 32 + ".bin")
        wrong_name.write_bytes((site.folder / release.file).read_bytes())
        with pytest.raises(ApiError, match=f"must be named {release.md5}.bin"):
            client.upload_to_channel("HOME", wrong_name)
        with pytest.raises(ApiError, match="is a mirror: either publish with"):
            client.offer_in_channel("HOME", 1)
        with pytest.raises(ApiError, match="serves no channel of 'P'"):
            client.channel("P")
    assert get(cloud).content == good
    folder = cloud.folder / "channel" / "HOME"
    assert {path.name for path in folder.iterdir()} == {
        NAME, *(path.name for path in site.folder.glob("*.bin") if path.name in
                {file.file for file in files_of(index)})
    }  # fmt: skip


def test_who_may_change_a_channel(tmp_path: Path, keys: Keys, site: Channel) -> None:
    with Cloud(tmp_path / "cloud", channels=[mirror(keys)], token=TOKEN) as cloud:
        with Client(cloud.api_url, TOKEN) as owner:
            owner.create_token("admin", "admin")
            viewer = owner.create_token("viewer", "viewer")["token"]
        with Client(cloud.api_url, viewer) as client:
            assert client.channel("HOME")["serial"] is None
            with pytest.raises(ApiError, match="needs operator"):
                upload(client, site.folder)
        with Client(cloud.api_url, "x" * 32) as client, pytest.raises(ApiError):
            client.channels()


def test_an_upload_that_breaks_off_changes_nothing(
    cloud: Cloud, site: Channel, firmware: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(cloud.api_url) as client:
        upload(client, site.folder)
        before = get(cloud).content
        site.publish(firmware("0.4"))
        data = (site.folder / NAME).read_bytes()
        first, *others = client.missing_in_channel("HOME", data)
        client.upload_to_channel("HOME", site.folder / first)
        # A file that the disk has damaged since is asked for again.
        stored = cloud.folder / "channel" / "HOME" / first
        stored.write_bytes(stored.read_bytes()[:-1] + b"\0")
        for name in others:
            client.upload_to_channel("HOME", site.folder / name)
        with pytest.raises(ApiError, match=f"{first} is damaged in the cloud"):
            client.publish_channel("HOME", data)
        assert client.missing_in_channel("HOME", data) == [first]
        client.upload_to_channel("HOME", site.folder / first)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(atomic_write, "write", full)
            with pytest.raises(ApiError, match="No space left") as caught:
                client.publish_channel("HOME", data)
            assert caught.value.status == 507
        assert get(cloud).content == before
        assert len(client.audit()) == 1
        assert upload(client, site.folder)["serial"] == 4
    assert get(cloud).content == data


def test_an_index_that_has_expired_is_served_no_more(
    cloud: Cloud, site: Channel, keys: Keys
) -> None:
    """A board whose clock was never set would not notice."""
    with Client(cloud.api_url) as client:
        upload(client, site.folder)
        path = cloud.folder / "channel" / "HOME" / NAME
        path.write_bytes(dataclasses.replace(site.index, expires=1).signed(keys.owner))
        assert get(cloud).status_code == 503
        assert client.channel("HOME")["problem"] == "its index has expired"
        path.write_bytes(site.index.signed(keys.thief))
        assert get(cloud).status_code == 503
        assert "is not signed by a trusted key" in client.channel("HOME")["problem"]
        upload(client, site.folder)  # which repairs it
        assert get(cloud).status_code == 200


def test_unused_files_go_a_day_later(
    cloud: Cloud, site: Channel, firmware: Callable[..., Path]
) -> None:
    """Until then a board can finish its download."""
    folder = cloud.folder / "channel" / "HOME"
    with Client(cloud.api_url) as client:
        upload(client, site.folder)
        old = {path.name for path in folder.glob("*.bin")}
        for path in folder.glob("*.bin"):
            os.utime(path, (1, 1))
        for version in ("0.4", "0.5"):
            site.publish(firmware(version))
            upload(client, site.folder)
        named = {file.file for file in files_of(site.index)}
        assert old <= {path.name for path in folder.glob("*.bin")} and not old & named
        for name in old:
            assert get(cloud, name).status_code == 200
            os.utime(folder / name, (1, 1))
        site.refresh()
        upload(client, site.folder)
        assert {path.name for path in folder.glob("*.bin")} & old == set()
        assert named <= {path.name for path in folder.glob("*.bin")}


# Channels that the cloud fills


@pytest.fixture
def filling(tmp_path: Path, keys: Keys) -> Iterator[Cloud]:
    with Cloud(tmp_path / "cloud", channels=[filled(keys)]) as running:
        yield running


def signed(source: Path, key: PrivateKey, sequence: int) -> Path:
    out = source.with_suffix(".signed")
    sign(source, Signer(key, sequence), out=out)
    return out


def test_the_cloud_fills_a_channel_with_what_the_owner_has_signed(
    filling: Cloud, keys: Keys, firmware: Callable[..., Path], tmp_path: Path
) -> None:
    old, new = signed(firmware("0.2"), keys.owner, 2), signed(firmware("0.3"), keys.owner, 3)
    patch = tmp_path / "delta.bin"
    make_patch(
        inspect_release(new), old, out=patch, signer=Signer(keys.owner, 3), base_version="0.2"
    )
    with Client(filling.api_url) as client:
        first = client.upload(old)["firmware"]
        second = client.upload(new)["firmware"]
        client.upload(patch)
        plain = client.upload(firmware("0.4"))["firmware"]
        foreign = client.upload(signed(firmware("0.5"), keys.thief, 5))["firmware"]
        for bad, why in (
            (plain, "the firmware is not signed"),
            (foreign, "not signed by a trusted key"),
        ):
            with pytest.raises(ApiError, match=why):
                client.offer_in_channel("HOME", bad["id"])
        assert get(filling).status_code == 404
        client.offer_in_channel("HOME", first["id"])
        found = client.offer_in_channel("HOME", second["id"], share=10)
        assert [(each["version"], each["share"]) for each in found["tracks"]["stable"]] == [
            ("0.2", 100), ("0.3", 10)]  # fmt: skip
        # An offer of the same firmware keeps what it does not name, through API and command.
        night = int(time.time()) + 3600
        client.offer_in_channel("HOME", second["id"], not_before=night)
        words = ["channel", "cloud", "offer", "HOME", "0.3", "--deltas", "0"]
        env = {"IVOTA_URL": filling.api_url, "IVOTA_TOKEN": local_token(filling.folder)}
        again = CliRunner().invoke(app, words, env=env)
        assert again.exit_code == 0 and "10 % from" in again.output, again.output
        found = client.offer_in_channel("HOME", second["id"])
        newest = found["tracks"]["stable"][-1]
        assert (newest["share"], newest["not_before"]) == (10, night)
        found = client.offer_in_channel("HOME", second["id"], share=100, not_before=0)
        (release,) = found["tracks"]["stable"]
        assert release["version"] == "0.3" and release["sequence"] == 3
        assert [each["base"] for each in release["deltas"]] == ["0.2"]
        with pytest.raises(ApiError, match="boards would reject 0.2 with sequence 2"):
            client.offer_in_channel("HOME", first["id"])
        # Its files are the owner's own bytes; the cloud signs the index alone.
        index = verify(get(filling).content, [keys.online.public])
        for file, source in zip(files_of(index), (new, patch), strict=True):
            assert get(filling, file.file).content == source.read_bytes()
        # What the channel offers is not deleted, by whoever may delete firmware.
        with pytest.raises(ApiError, match="0.3 is in the channel of HOME"):
            client.delete_firmware(second["id"])
        client.delete_firmware(first["id"])
        with pytest.raises(ApiError, match="stable does not offer 0.2"):
            client.end_in_channel("HOME", "0.2")
        assert client.end_in_channel("HOME", "0.3")["tracks"] == {"stable": []}
        client.delete_firmware(second["id"])
        with pytest.raises(ApiError, match="the cloud itself publishes in the channel of HOME"):
            client.missing_in_channel("HOME", get(filling).content)
        assert [each["action"] for each in client.audit() if "channel" in each["action"]] == [
            *["channel offer"] * 6, "channel end"]  # fmt: skip


def test_the_page_of_channels(filling: Cloud, keys: Keys, firmware: Callable[..., Path]) -> None:
    with Client(filling.api_url) as client:
        number = client.upload(signed(firmware("0.9"), keys.owner, 9))["firmware"]["id"]
        plain = client.upload(firmware("0.8"))["firmware"]["id"]
    let_in(filling, "operator", "viewer")
    with Visitor(filling.api_url, "viewer") as viewer:
        assert "/channel/HOME/channel.json" in viewer.get("/channels")
        assert "offers nothing yet" in viewer.text and "Stop offering" not in viewer.text
    with Visitor(filling.api_url, "operator") as visitor:
        visitor.get("/channels")
        place = "/channels/HOME"

        def offer(**given: str) -> str:
            return visitor.post(f"{place}/offer", **{"serial": "0", **given})

        assert "form is not valid" in offer(firmware=str(number), share="5", serial="")
        assert "is not signed" in offer(firmware=str(plain), share="5")
        assert "1 to 100 percent" in offer(firmware=str(number))
        assert "Enter a track" in offer(firmware=str(number), share="5", track="")
        wanted = {"firmware": str(number), "share": "25", "track": "beta"}
        offered = offer(**wanted)
        assert "25 % of the boards in the track beta" in offered and "Stop offering" in offered
        assert "0.9 beta any board 25 %" in offered
        # A form that is submitted twice is one offer; a page from before it decides nothing.
        with Client(filling.api_url, local_token(filling.folder)) as client:
            before = client.channel("HOME"), len(client.audit())
            assert "25 % of the boards in the track beta" in offer(**wanted)
            stale = offer(**{**wanted, "share": "100"})
            assert "has changed since the page was loaded" in stale
            assert (client.channel("HOME"), len(client.audit())) == before
        visitor.get("/channels")
        shown = re.search(r'name="serial" value="(\d+)"', visitor.page.text)
        assert shown and "100 % of" in offer(**{**wanted, "share": "100", "serial": shown[1]})
        ended = visitor.post(f"{place}/end", version="0.9", track="beta")
        assert "no longer offers 0.9" in ended and "offers nothing yet" in ended
        # One that is damaged says so.
        (filling.folder / "channel" / "HOME" / NAME).write_text("{}")
        assert "Boards cannot use this channel" in visitor.get("/channels")


def test_a_page_names_its_own_means_and_a_command_names_options(
    tmp_path: Path, keys: Keys, firmware: Callable[..., Path]
) -> None:
    """The same refusals, where the console and where the API or a command shows them."""
    channels = [filled(keys), dataclasses.replace(mirror(keys), product="OTHER")]
    with Cloud(tmp_path / "cloud", channels=channels, upload_most=100_000) as cloud:
        let_in(cloud, "operator")
        client = Client(cloud.api_url, local_token(cloud.folder))
        page = Visitor(cloud.api_url, "operator")
        with client, page:
            old, new, plain = (
                client.upload(each)["firmware"]["id"]
                for each in (signed(firmware("0.2"), keys.owner, 2),
                             signed(firmware("0.3"), keys.owner, 3), firmware("0.4"))
            )  # fmt: skip
            client.offer_in_channel("HOME", new)
            for product, number, command, words in (
                ("HOME", old, "`ivota release --resign`", "upload 0.2 signed with a higher"),
                ("HOME", plain, "`ivota release --key`", "On the Firmware page, upload a file"),
                ("OTHER", new, "`ivota channel cloud upload`", "only its owner can change what"),
            ):
                with pytest.raises(ApiError, match=command):
                    client.offer_in_channel(product, number)
                page.get("/channels")
                filled_in = {"firmware": str(number), "share": "5", "track": "stable"}
                shown = page.send(f"/channels/{product}/offer", serial="0", **filled_in)
                assert words in shown
                assert not re.search("ivota (release|channel)|--", shown), shown
            (large := tmp_path / "large.bin").write_bytes(b"x" * 100_001)
            with pytest.raises(ApiError, match="--max-upload"):
                client.upload(large, "1")
            page.get("/firmware")
            answer = page.http.post(
                f"{cloud.api_url}/api/v1/firmware?version=1",
                content=large.read_bytes(),
                headers={"X-CSRF-Token": page.csrf},
            )
            detail = answer.json()["detail"]
            assert (answer.status_code, detail) == (
                413, "the firmware is too large: the maximum is 100,000 bytes")  # fmt: skip
    with Cloud(tmp_path / "none") as cloud:
        let_in(cloud, "viewer")
        with Visitor(cloud.api_url, "viewer") as page:
            assert "--" not in page.get("/channels")


def test_the_serial_number_never_falls(
    tmp_path: Path, keys: Keys, firmware: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither with a clock that was set back, nor on a cloud that was restored elsewhere."""
    folder = tmp_path / "cloud"
    now = int(time.time())
    with Cloud(folder, channels=[filled(keys)]) as cloud, Client(cloud.api_url) as client:
        number = client.upload(signed(firmware("0.2"), keys.owner, 2))["firmware"]["id"]
        first = client.offer_in_channel("HOME", number)["serial"]
        assert first >= now
        with monkeypatch.context() as patch:
            patch.setattr(publication.time, "time", lambda: 1000.0)
            assert client.offer_in_channel("HOME", number, share=50)["serial"] == first + 1
    # A backup has the firmware and no channel: an old offer must not come back by itself.
    backup, again = tmp_path / "backup", tmp_path / "restored"
    run = CliRunner().invoke
    assert run(app, ["backup", str(backup), "--data", str(folder)]).exit_code == 0
    assert run(app, ["restore", str(backup), "--data", str(again)]).exit_code == 0
    wait_until(lambda: time.time() >= first + 2, "the next seconds")
    with Cloud(again, channels=[filled(keys)]) as cloud, Client(cloud.api_url) as client:
        assert get(cloud).status_code == 404
        assert client.offer_in_channel("HOME", number)["serial"] > first + 1


def test_an_index_is_signed_again_in_time(
    filling: Cloud, keys: Keys, firmware: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(filling.api_url) as client:
        number = client.upload(signed(firmware("0.2"), keys.owner, 2))["firmware"]["id"]
        client.offer_in_channel("HOME", number)
        before = get(filling).content
        assert get(filling).content == before
        old = verify(before, [keys.online.public])
        path = filling.folder / "channel" / "HOME" / NAME
        soon = dataclasses.replace(old, expires=int(time.time()) + publication.VALID_S // 2 - 1)
        path.write_bytes(soon.signed(keys.online))
        new = verify(get(filling).content, [keys.online.public])
        assert new.serial > old.serial and (new.expires or 0) >= (old.expires or 0)
        assert new.tracks == old.tracks
        assert client.audit()[-1]["action"] == "channel refresh"
        # If that fails, the old one is still good.
        path.write_bytes(soon.signed(keys.online))

        tried: list[int] = []

        def full(*_: object) -> None:
            tried.append(1)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(channel_files.atomic_write, "write", full)
        for _ in range(3):  # and strangers do not make the cloud try each time
            assert get(filling).content == soon.signed(keys.online)
        assert len(tried) == 1


KILLED = """
import os, sys
from pathlib import Path
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.channel.channel_files import ChannelSetting
from ivota_tools.api_client import Client
from ivota_tools.common import atomic_write
from ivota_tools.firmware.signing_keys import load_private, load_public
folder, keys, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
setting = ChannelSetting("HOME", (load_public(keys / "owner.pub"),),
                         load_private(keys / "online.key", str))
atomic_write.write = lambda *_: os._exit(9)
with Cloud(folder, channels=[setting]) as cloud, Client(cloud.api_url) as client:
    client.offer_in_channel("HOME", number)
"""


def test_a_kill_between_files_and_index(
    tmp_path: Path, keys: Keys, firmware: Callable[..., Path]
) -> None:
    folder = tmp_path / "cloud"
    with Cloud(folder, channels=[filled(keys)]) as cloud, Client(cloud.api_url) as client:
        ids = [
            client.upload(signed(firmware(f"0.{n}"), keys.owner, n))["firmware"]["id"]
            for n in (2, 3)
        ]
        client.offer_in_channel("HOME", ids[0])
        before = get(cloud).content
    done = subprocess.run(
        [sys.executable, "-c", KILLED, folder, keys.folder, str(ids[1])], timeout=100
    )
    assert done.returncode == 9
    with Cloud(folder, channels=[filled(keys)]) as cloud, Client(cloud.api_url) as client:
        assert get(cloud).content == before
        assert client.audit()[-1]["subject"] != "0.3"
        (release,) = client.offer_in_channel("HOME", ids[1])["tracks"]["stable"]
        assert release["version"] == "0.3"
        assert get(cloud, release["file"]).status_code == 200


def test_channels_that_cannot_be(
    tmp_path: Path, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CloudError, match="cannot be part of a URL"):
        Cloud(tmp_path / "cloud", channels=[ChannelSetting("../x", (keys.owner.public,))])
    both = ChannelSetting("HOME", (keys.owner.public,), keys.owner)
    with Cloud(tmp_path / "cloud", channels=[both]):
        assert "can also sign firmware" in caplog.text


def test_the_commands(tmp_path: Path, keys: Keys, site: Channel) -> None:
    config = tmp_path / "cloud.toml"
    owner, online = keys.folder / "owner.pub", keys.folder / "online.key"
    config.write_text(f'channel = ["HOME={owner}"]\nchannel_key = ["HOME={online}"]\n')

    def run(*words: object, env: dict[str, str] | None = None) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(map(str, words)), env=env)
        return done.exit_code, done.output

    check = "cloud", "check-config", "--data", tmp_path / "none"
    assert run(*check, "--config", config)[0] == 0
    for given, why in (
        (("--channel", "HOME"), "must be PRODUCT=FILE, not"),
        (("--channel", f"HOME={online}"), "is not a public key"),
        (("--channel-key", f"HOME={online}"), "--channel-key needs --channel"),
        (("--channel", f"HOME={owner}", "--channel-key", f"HOME={owner}"), "not a private key"),
    ):
        code, said = run(*check, *given)
        assert code == 1 and why in said, said
    encrypted = tmp_path / "encrypted.key"
    generate(encrypted, "words")
    both = "--channel", f"HOME={owner}", "--channel-key", f"HOME={encrypted}"
    code, said = run(*check, *both)
    assert code == 1 and "set IVOTA_PASSPHRASE" in said
    assert run(*check, *both, env={"IVOTA_PASSPHRASE": "words"})[0] == 0
    with Cloud(tmp_path / "cloud", channels=[mirror(keys)]) as cloud:
        where = {"IVOTA_URL": cloud.api_url}
        assert (
            "nothing has been published in this channel"
            in run("channel", "cloud", "status", env=where)[1]
        )
        code, said = run("channel", "cloud", "upload", site.folder, env=where)
        assert code == 0 and "serial 3, expires 20" in said and "mirrored by the cloud" in said
        code, said = run("channel", "cloud", "status", "HOME", "--json", env=where)
        assert code == 0 and json.loads(said)[0]["serial"] == 3
        (release,) = site.index.tracks["stable"]
        (cloud.folder / "channel" / "HOME" / release.file).unlink()
        code, said = run("channel", "cloud", "status", env=where)
        assert code == 1 and "is missing or incomplete" in said
        (site.folder / release.file).unlink()
        code, said = run("channel", "cloud", "upload", site.folder, env=where)
        assert code == 1 and release.file in said
