"""`ivota channel`: what each command makes of the folder, and what boards will do with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ivota_tools.channel.folder import Channel
from ivota_tools.channel.index import NAME, ChannelError, verify
from ivota_tools.channel.outlook import outlook
from ivota_tools.cli.app import app
from ivota_tools.cli.board_views import state_rows
from ivota_tools.firmware.release import ReleaseError, Signer, pack, sign
from ivota_tools.firmware.signed_file import verify as verify_firmware
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private

APP = "def main():\n    pass\n"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "owner.pem"
    generate(path, None)
    return path


@pytest.fixture
def key(key_file: Path) -> PrivateKey:
    return load_private(key_file, str)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    def make(version: str, more: str = "") -> Path:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "app.py").write_text(f"{APP}VERSION = {version!r}\n{more}")
        out = tmp_path / f"{version}{len(more)}.bin"
        pack(source, version, out=out, application="app")
        return out

    return make


@pytest.fixture
def channel(tmp_path: Path, key: PrivateKey) -> Channel:
    return Channel.create(tmp_path / "site", "HOME", key, 30)


def steps(channel: Channel) -> dict[tuple[str, int], str | None]:
    found = outlook(channel.index, channel.history)
    return {
        (each.running, each.percent): each.release.version if each.release else None
        for each in found
    }


def test_publish_signs_firmware_and_index(
    channel: Channel, build: Callable[..., Path], key: PrivateKey
) -> None:
    channel.publish(build("0.2"))
    channel.publish(build("0.3"))
    index = verify((channel.folder / NAME).read_bytes(), [key.public])
    (release,) = index.tracks["stable"]
    assert (index.serial, release.version, release.sequence) == (3, "0.3", 2)
    data = (channel.folder / release.file).read_bytes()
    assert verify_firmware(data, [key.public]).header.version == "0.3"
    (delta,) = release.deltas
    assert delta.base == "0.2" and delta.size < 4000 < release.size
    assert steps(channel) == {("0.2", 100): "0.3", ("0.3", 100): None}
    # The same folder, opened again, goes on from there.
    assert Channel(channel.folder, key).index == index


def test_nothing_is_published_twice_or_backwards(
    channel: Channel, build: Callable[..., Path], key: PrivateKey, tmp_path: Path
) -> None:
    channel.publish(build("0.2"), sequence=7)
    before = (channel.folder / NAME).read_bytes()
    for source, why in (
        (build("0.2"), "is already published in stable"),
        (build("0.2", "X = 1\n"), "was published with different contents"),
    ):
        with pytest.raises(ChannelError, match=why):
            channel.publish(source)
    with pytest.raises(ChannelError, match="sequence 7 is not above 7"):
        channel.publish(build("0.3"), sequence=7)
    with pytest.raises(ChannelError, match="1 to 100 percent, not 0"):
        channel.publish(build("0.3"), share=0)
    generate(tmp_path / "thief.pem", None)
    thief = load_private(tmp_path / "thief.pem", str)
    foreign = tmp_path / "foreign.bin"
    sign(build("0.4"), Signer(thief, 9), out=foreign)
    with pytest.raises(ReleaseError, match="not signed by a trusted key"):
        channel.publish(foreign)
    with pytest.raises(ChannelError, match="is not signed by a trusted key"):
        Channel(channel.folder, thief)
    assert (channel.folder / NAME).read_bytes() == before


def test_a_rollout_grows_and_ends(channel: Channel, build: Callable[..., Path]) -> None:
    channel.publish(build("0.2"))
    channel.publish(build("0.3"), share=10)
    assert steps(channel)["0.2", 10] == "0.3" and steps(channel)["0.2", 90] is None
    channel.roll_out("0.3", 40)
    assert steps(channel)["0.2", 40] == "0.3"
    channel.roll_out("0.3", 100)
    (release,) = channel.index.tracks["stable"]
    assert release.version == "0.3" and steps(channel)["0.2", 100] == "0.3"
    with pytest.raises(ChannelError, match=r"does not offer 0.2; it offers 0.3"):
        channel.roll_out("0.2", 50)


def test_withdrawn_boards_return(channel: Channel, build: Callable[..., Path]) -> None:
    """To the release before, whose sequence is now above that of the withdrawn one."""
    channel.publish(build("0.2"))
    channel.publish(build("0.3"), share=10)
    channel.withdraw("0.3")
    (release,) = channel.index.tracks["stable"]
    assert (release.version, release.sequence) == ("0.2", 3)
    assert [delta.base for delta in release.deltas] == ["0.3"]
    assert steps(channel) == {("0.2", 100): None, ("0.3", 100): "0.2"}
    # It must not come back as something else.
    with pytest.raises(ChannelError, match="different contents"):
        channel.publish(build("0.3", "X = 1\n"))
    channel.publish(build("0.4"))
    channel.withdraw("0.4")
    assert channel.index.tracks["stable"][0].version == "0.2"


def test_a_newer_release_outlives_a_share_and_not_a_withdrawal(
    channel: Channel, build: Callable[..., Path]
) -> None:
    said: list[str] = []
    for version in ("0.2", "0.3"):
        channel.publish(build(version))
    channel.publish(build("0.4"), not_before=1 << 40)
    for percent in (50, 100):
        channel.roll_out("0.3", percent)
    assert [each.version for each in channel.index.tracks["stable"]] == ["0.3", "0.4"]
    again = Channel(channel.folder, channel._key, said.append)
    again.withdraw("0.3")
    assert [each.version for each in again.index.tracks["stable"]] == ["0.2"]
    assert said == ["0.4 is also withdrawn: publish it again to offer it"]
    again.publish(build("0.4"), not_before=1 << 40)
    assert [each.version for each in again.index.tracks["stable"]] == ["0.2", "0.4"]


def test_the_only_release_is_withdrawn(channel: Channel, build: Callable[..., Path]) -> None:
    said: list[str] = []
    channel.publish(build("0.2"))
    again = Channel(channel.folder, channel._key, said.append)
    assert again.withdraw("0.2") is None
    assert again.index.tracks["stable"] == () and "no release before 0.2" in said[0]


def test_from_beta_to_stable(channel: Channel, build: Callable[..., Path]) -> None:
    """A release with a lower sequence than the track has had is signed again."""
    channel.publish(build("0.4"), track="beta")
    channel.publish(build("0.2"))
    channel.promote("0.4", source="beta", track="stable")
    (release,) = channel.index.tracks["stable"]
    assert (release.version, release.sequence) == ("0.4", 3)
    assert steps(channel)["0.2", 100] == "0.4"


def test_an_index_that_no_board_could_read_is_not_written(
    channel: Channel, build: Callable[..., Path]
) -> None:
    source = build("0.2")
    serial = 0
    with pytest.raises(ChannelError, match="a board reads at most 4,096"):
        for number in range(40):
            serial = channel.index.serial
            channel.publish(source, target=f"kind-{number}")
    again = Channel(channel.folder, channel._key)
    assert again.index.serial == serial and len(again.history) == serial - 1


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["channel", *map(str, words)])
    return result.exit_code, result.output


def test_the_commands(tmp_path: Path, build: Callable[..., Path], key_file: Path) -> None:
    site, sign_with = tmp_path / "site", ("--key", key_file)
    assert run("init", site, "--product", "HOME", *sign_with)[0] == 0
    assert run("init", site, "--product", "HOME", *sign_with)[0] == 1
    assert run("publish", site, build("0.2"), *sign_with)[0] == 0
    old = tmp_path / "old.json"
    old.write_bytes((site / NAME).read_bytes())
    code, said = run("publish", site, build("0.3"), "--share", 25, *sign_with)
    assert code == 0 and "25 %" in said and "serial 3, expires 20" in said
    code, said = run("diff", site, old, "--json")
    changes = json.loads(said)
    assert {(each["running"], each["percent"], each["version"]) for each in changes} >= {
        ("0.2", 25, "0.3"),
        ("0.2", 75, None),
    }
    assert run("share", site, "0.3", 100, *sign_with)[0] == 0
    assert run("withdraw", site, "0.3", *sign_with)[0] == 0
    assert run("refresh", site, "--above", 40, *sign_with)[0] == 0
    public = key_file.with_suffix(".pub")
    code, said = run("status", site, "--public-key", public, "--json")
    found = json.loads(said)
    assert code == 0 and found["serial"] == 41 and found["problems"] == []
    release = found["tracks"]["stable"][0]
    assert release["version"] == "0.2"
    file = site / release["file"]
    file.write_bytes(file.read_bytes()[:-1])
    code, said = run("status", site)
    assert code == 1 and "is damaged" in said
    (site / NAME).write_text("{}")
    code, said = run("status", site)
    assert code == 1 and "is incomplete" in said


def test_the_status_of_a_board_says_how_its_last_update_ended() -> None:
    report = {"report": {"version": "0.3", "progress": {"state": "fail", "result_msg": "why"}}}
    state = {"serial": 7, "last": json.dumps(report)}
    assert state_rows(state, False) == [("channel", "index 7; last update 0.3 fail: why")]
    assert state_rows({"serial": 7, "last": "{"}, False) == [("channel", "index 7")]
    assert state_rows({}, False) == []
