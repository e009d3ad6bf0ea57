"""docs/operate.md tells the truth: its commands are those that there are, and do what it says."""

import configparser
import json
import re
import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path

import postgres_support
import pytest
import typer
from cloud_support import Device
from found import some
from typer.testing import CliRunner
from waiting import wait_until

from ivota_tools import toolchain
from ivota_tools.api_client import Client
from ivota_tools.cli import app
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.store.backup import back_up, restore

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()


def section(title):
    return re.search(rf"^##+ {title}\n(.*?)(?=^##|\Z)", TEXT, re.M | re.S)[1]


def console(text):
    """The commands of all ```console blocks."""
    blocks = "".join(re.findall(r"^```console\n(.*?)^```", text, re.M | re.S))
    return [line[2:] for line in blocks.replace("\\\n", " ").splitlines() if line[:2] == "$ "]


def inline(text):
    """The commands in the sentences, where they have options or arguments."""
    found = re.findall(r"`(ivota [^`]+)`", text.replace("\n", " "))
    return [each.replace("read|operate|admin", "read") for each in found]


def words_of(command):
    """The arguments of a command line of ivota; None of any other."""
    words = shlex.split(command)
    while "=" in words[0]:
        del words[0]
    return words[1:] if words[0] == "ivota" else None


def check(words):
    """That the command line takes these words; nothing is run, and no file is read."""
    if "/etc/ivota/ivota.toml" in words:
        words = [word for word in words if word not in ("--config", "/etc/ivota/ivota.toml")]
    command = typer.main.get_command(app.app)
    context = None
    while hasattr(command, "resolve_command"):
        context = command.make_context("ivota", [], parent=context, resilient_parsing=True)
        _, command, words = command.resolve_command(context, words)
    command.make_context("ivota", words, parent=context)


def test_every_command_is_one():
    whole = [words for each in console(TEXT) if (words := words_of(each)) is not None]
    assert len(whole) > 10
    for words in whole:
        check(words)
    for command in some(inline(TEXT), 10):
        try:
            check(words_of(command))
        except Exception as error:  # a sentence may name a command without what it is for
            assert type(error).__name__ in ("MissingParameter", "Exit"), (command, error)


def test_the_unit_starts_what_there_is(tmp_path):
    """The units of deploy/, one of which the document shows."""
    assert (DEPLOY / "ivota.service").read_text() in TEXT
    for path in some(DEPLOY.glob("*.service"), 2):
        found = configparser.ConfigParser(strict=False, interpolation=None)
        found.read_string(path.read_text())
        for key in ("execstart", "execstartpre"):
            if command := found["Service"].get(key):
                program, *words = shlex.split(command)
                assert program == "/opt/ivota/bin/ivota"
                check(words)
    if shutil.which("systemd-analyze"):
        # Of what it says only the units' own faults count: this machine lacks user and program.
        for path in some([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")], 3):
            (tmp_path / path.name).write_text(path.read_text())
        said = subprocess.run(
            ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())],
            capture_output=True,
            text=True,
        ).stderr
        assert "Unknown" not in said and "Failed to parse" not in said, said


@pytest.fixture
def cloud(tmp_path):
    (tmp_path / "0.3").write_bytes(b"firmware" * 1000)
    with Cloud(tmp_path / "data") as running, Client(running.api_url) as api:
        api.upload(tmp_path / "0.3", "0.3")
        yield running


def test_many_devices(cloud):
    """The section's commands, one after the other, with a device called as there."""
    variables = {"IVOTA_URL": cloud.api_url, "COLUMNS": "200"}
    with Device(cloud.mqtt_port, "PRODUCT", "kitchen") as device:
        device.hello("0.2")
        *commands, watch = console(section("Roll out to many devices"))
        for command in some(commands, 3):
            done = CliRunner(env=variables).invoke(app.app, words_of(command), input="y\n")
            assert done.exit_code == 0, (command, done.output, done.exception)
        device.update(device.expect("update_firmware"))
        done = CliRunner(env=variables).invoke(app.app, words_of(watch))
        assert "1 of 1 done" in done.output and done.exit_code == 0


def on_disk(command, tmp_path):
    for place in ("/var/lib/ivota", "/backup"):
        command = command.replace(place, str(tmp_path) + place)
    return command


def test_backup_and_restore(tmp_path):
    """The section's own commands: while it runs, and back into an empty place."""
    data = tmp_path / "var/lib/ivota"
    (tmp_path / "backup").parent.mkdir(exist_ok=True)
    (tmp_path / "f.bin").write_bytes(b"firmware" * 1000)
    nightly, *back = [on_disk(each, tmp_path) for each in console(section("Back up and restore"))]
    assert [each.split()[0] for each in back] == [
        "systemctl", "mkdir", "mv", "ivota", "chown", "systemctl",
    ]  # fmt: skip

    def run(command):
        if words := words_of(command):
            done = CliRunner().invoke(app.app, words)
            assert done.exit_code == 0, (done.output, done.exception)
        else:
            subprocess.run(command, shell=True, check=True)

    with Cloud(data) as cloud, Client(cloud.api_url) as api:
        ports = {"mqtt_port": cloud.mqtt_port, "http_port": cloud.http_port}
        with Device(cloud.mqtt_port, "P", "done") as device:
            device.hello("0.1")
            api.upload(tmp_path / "f.bin", "0.2")
            api.push("P/done", "0.2")
            push = device.expect("update_firmware")
            device.update(push)
            wait_until(lambda: api.device("P/done")["state"] == "done", "done")
            run(nightly)
            device.hello("0.2")  # after the backup: lost with what it is lost with
            run(nightly)
    held = {each.name: each for each in (tmp_path / "backup").iterdir()}
    assert held.keys() == {"ivota.db", "firmware"}
    assert all(each.stat().st_mode & 0o077 == 0 for each in held.values())
    run(back[1])
    run(back[2])
    shutil.rmtree(data)
    run(back[3])
    with Cloud(data, **ports) as cloud, Client(cloud.api_url) as api:
        with Device(cloud.mqtt_port, "P", "done") as device:
            assert api.device("P/done")["version"] == "0.2"
            device.hello("0.2")
            device.expect_nothing(cloud)
            assert api.device("P/done")["state"] == "done"
            # The old URL is good: the secret that signs came back too, and so did the file.
            assert device.update(push) == b"firmware" * 1000


def test_a_restore_overwrites_nothing(tmp_path, cloud):
    for number in range(4):
        (cloud.folder / "firmware" / f"{number}.bin").write_bytes(bytes(100))
    told = {}
    back_up(
        *(cloud.folder, None, tmp_path / "backup"),
        lambda what, size=None, /: told.setdefault((what, size), []).append,
    )
    (shares,) = (shares for (what, _), shares in told.items() if "firmware files" in what)
    assert len(shares) >= 4 and shares == sorted(shares) and shares[-1] == 1.0
    with pytest.raises(CloudError, match="another ivota cloud is using"):
        restore(tmp_path / "backup", cloud.folder, None)
    cloud.stop()
    with pytest.raises(CloudError, match="already exists"):
        restore(tmp_path / "backup", cloud.folder, None)
    # Of a cloud that was killed the log remains: its frames would be taken for the backup's.
    for name in ("ivota.db-wal", "ivota.db-shm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
        with pytest.raises(CloudError, match=f"{name} already exists"):
            restore(tmp_path / "backup", tmp_path / name, None)
        assert not (tmp_path / name / "ivota.db").exists()
    with pytest.raises(CloudError, match="contains no backup"):
        restore(tmp_path / "elsewhere", tmp_path / "new", None)
    with pytest.raises(CloudError, match="does not exist"):
        back_up(tmp_path / "elsewhere", None, tmp_path / "backup")
    (tmp_path / "a file").touch()
    with pytest.raises(CloudError, match="cannot use"):
        back_up(cloud.folder, None, tmp_path / "a file")


ORDER = {"version": "0.2", "query": "all", "stages": [{"percent": 100}], "stop_share": None}


def start_campaigns(api):
    api.create_campaign(name="now", **ORDER)
    api.create_campaign(name="later", start_at=time.time() + 1e6, **ORDER)


def test_restored_campaigns_wait_for_an_operator(tmp_path):
    """Somebody may have cancelled one since the backup, because its version is bad."""
    (tmp_path / "f.bin").write_bytes(b"x" * 1000)
    with Cloud(tmp_path / "c") as cloud, Client(cloud.api_url) as api:
        with Device(cloud.mqtt_port, "P", "d") as device:
            device.hello("0.1")
        api.upload(tmp_path / "f.bin", "0.2")
        start_campaigns(api)
        back_up(cloud.folder, None, tmp_path / "backup")
        api.act_on_campaign(1, "cancel")
    done = CliRunner().invoke(
        app.app, ["restore", str(tmp_path / "backup"), "--data", str(tmp_path / "new")]
    )
    assert done.exit_code == 0 and "now, later" in done.output
    left = {each.name for each in (tmp_path / "new").iterdir()}
    assert left == {"ivota.db", "firmware", "lock"}
    with Cloud(tmp_path / "new") as cloud, Client(cloud.api_url) as api:
        assert [each["state"] for each in api.campaigns()] == ["paused", "draft"]
        with Device(cloud.mqtt_port, "P", "d") as device:
            device.hello("0.1")
            device.expect_nothing(cloud)
            api.act_on_campaign(1, "resume")
            device.expect("update_firmware")


def test_after_a_restore_only_boards_that_have_reported_get_pushes(tmp_path):
    """The versions in the backup are old: one of the boards has got a newer one since."""
    (tmp_path / "f.bin").write_bytes(b"x" * 1000)
    with Cloud(tmp_path / "c") as cloud, Client(cloud.api_url) as api:
        for name in ("old", "newer"):
            with Device(cloud.mqtt_port, "P", name) as device:
                device.hello("0.1")
        wait_until(lambda: len(api.devices()) == 2, "both devices")
        api.upload(tmp_path / "f.bin", "0.2")
        api.create_campaign(name="later", start_at=time.time() + 1e6, **ORDER)
        back_up(cloud.folder, None, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new", None)
    with Cloud(tmp_path / "new") as cloud, Client(cloud.api_url) as api:
        assert any(
            "2 devices have not reported since a backup was restored" in each
            for each in api.campaign_plan(1)["sentences"]
        )
        with Device(cloud.mqtt_port, "P", "old") as device:
            api.push("P/old", "0.2")
            device.expect_nothing(cloud)
        api.act_on_campaign(1, "start")
        for name in ("old", "newer"):
            wait_until(lambda name=name: api.device(f"P/{name}")["state"] == "waiting", "its turn")
            with Device(cloud.mqtt_port, "P", name) as device:
                device.expect_nothing(cloud)
            assert "a backup was restored" in api.why(api.device(f"P/{name}")["id"])["why"]
        with Device(cloud.mqtt_port, "P", "newer") as device:
            device.hello("0.3")
            wait_until(lambda: api.device("P/newer")["state"] == "skipped", "skipped")
            device.expect_nothing(cloud)
        with Device(cloud.mqtt_port, "P", "old") as device:
            device.hello("0.1")
            device.update(device.expect("update_firmware"))
            wait_until(lambda: api.device("P/old")["state"] == "done", "done")
        assert "database restore" in {each["action"] for each in api.audit()}


@pytest.mark.slow
def test_backup_and_restore_with_postgresql(tmp_path, monkeypatch):
    programs = toolchain.postgresql()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    url = postgres_support.new_database()
    data, backup = tmp_path / "data", tmp_path / "backup"
    (tmp_path / "f.bin").write_bytes(b"x" * 1000)
    with Cloud(data, database=url) as cloud, Client(cloud.api_url) as api:
        api.upload(tmp_path / "f.bin", "0.2")
        api.push("P/d", "0.2", new=True)
        start_campaigns(api)
        assert back_up(data, url, backup).firmware == 1
        api.push("P/later", "0.2", new=True)
    other = postgres_support.new_database()
    for place in (other, url):
        assert restore(backup, tmp_path / "new", place).paused == ("now", "later")
        with Cloud(tmp_path / "new", database=place) as cloud, Client(cloud.api_url) as api:
            assert [each["state"] for each in api.campaigns()] == ["paused", "draft"]
            assert [each["device"] for each in api.devices()] == ["P/d"]
            assert api.firmware()[0]["version"] == "0.2"
    with pytest.raises(CloudError, match="cannot read the database"):
        back_up(data, url + "_none", backup)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CloudError, match="pg_dump is not installed"):
        back_up(data, url, backup)


def test_a_fleet_moves_to_postgresql(tmp_path):
    """The section's own commands; devices, firmware, tokens and updates continue there."""
    url, data = postgres_support.new_database(), tmp_path / "var/lib/ivota"
    stop, *commands, own = console(section("Move from SQLite to PostgreSQL"))
    assert stop.startswith("systemctl stop") and own.startswith("chown")
    (tmp_path / "f.bin").write_bytes(b"firmware" * 1000)
    with Cloud(data) as cloud, Client(cloud.api_url) as api:
        ports = {"mqtt_port": cloud.mqtt_port, "http_port": cloud.http_port}
        with Device(cloud.mqtt_port, "P", "d") as device:
            device.hello("0.1")
            api.upload(tmp_path / "f.bin", "0.2")
            api.push("P/d", "0.2")
            push = device.expect("update_firmware")
        token = api.create_token("script", "admin")["token"]
    for command in some(commands, 2):
        command = on_disk(command, tmp_path).replace("postgresql://ivota:PASSWORD@db/ivota", url)
        done = CliRunner().invoke(app.app, words_of(command), input="y\n")
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert "moved 1 device " in done.output
    with pytest.raises(CloudError, match="was moved to postgresql://"):
        Cloud(data).start()
    with Cloud(data, database=url, **ports) as cloud, Client(cloud.api_url, token) as api:
        with Device(cloud.mqtt_port, "P", "d") as device:
            assert device.update(push) == b"firmware" * 1000
            wait_until(lambda: api.device("P/d")["state"] == "done", "done")


def test_a_fleet_server_says_so_when_its_broker_is_away():
    """The command for many machines, with nobody at its broker: a sentence, no traceback."""
    (command,) = [each for each in console(section("Run several servers")) if "--database" in each]
    words = words_of(command)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{closed.getsockname()[1]}"
        swapped = {
            "mqtt:1883": where,
            "postgresql://ivota:PASSWORD@db/ivota": "postgresql://127.0.0.1:1/x",
        }
        done = CliRunner().invoke(
            app.app, ["cloud", "--port", "0", *(swapped.get(each, each) for each in words[1:])]
        )
    assert done.exit_code == 1 and "cannot open" in done.output
    assert "PASSWORD" not in json.dumps(done.output)
