"""The command `ivota` as people and scripts use it: real processes against a real cloud."""

import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timezone

import esp32_images
import pytest
from cloud_support import Device
from pages_support import PASSWORD, Visitor
from rich.console import Console
from typer.testing import CliRunner
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cli import app as cli
from ivota_tools.cli import device_views, devices, progress_bars
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.api.device_schemas import DeviceOut
from ivota_tools.common import project_files
from ivota_tools.demo import command as play
from ivota_tools.firmware import release as releases
from ivota_tools.sim.esp32_image import make_image

IVOTA = [sys.executable, "-m", "ivota_tools"]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """An application that brings its own library: these tests do not depend on lib/."""
    folder = tmp_path_factory.mktemp("apps") / "blinky"
    (folder / "lib" / "ivota").mkdir(parents=True)
    (folder / "lib" / "ivota" / "__init__.py").write_text("")
    (folder / "app.py").write_text("def main():\n    pass\n")
    return folder


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with Cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def environment(cloud=None):
    kept = {k: v for k, v in os.environ.items() if k not in ("IVOTA_URL", "IVOTA_TOKEN")}
    url = cloud.api_url if cloud else "http://127.0.0.1:1"
    return {**kept, "IVOTA_URL": url, "COLUMNS": "150", "NO_COLOR": "1"}


def quick(*arguments, code=0):
    """As `run`, without a process: for what needs none."""
    done = CliRunner(env=environment()).invoke(cli.app, [str(each) for each in arguments])
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done


def run(*arguments, cloud=None, cwd=None, code=0):
    done = subprocess.run(
        [*IVOTA, *map(str, arguments)],
        env=environment(cloud),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def test_a_release_from_folder_to_device(cloud, app, tmp_path):
    made = run("release", app, "--version", "0.2", "--upload", cloud=cloud, cwd=tmp_path)
    assert "app.mpy" in made.stdout and "ivota push 0.2" in made.stdout
    path = tmp_path / "blinky-0.2.bin"
    assert releases.inspect(path).version == "0.2"
    with Device(cloud.mqtt_port, "P", "cli") as device:
        device.hello("0.1")
        listed = run("devices", cloud=cloud).stdout
        assert "P/cli" in listed and "0.1" in listed and "idle" in listed

        def update():
            device.update(device.expect("update_firmware"))
            device.report_version("0.2")

        updating = threading.Thread(target=update)
        updating.start()
        pushed = run("push", "0.2", "--device", "P/cli", "--wait", "--timeout", 30, cloud=cloud)
        updating.join()
        assert "0.2 done" in pushed.stdout  # whether or not it has said by now that it runs it
        shown = wait_until(
            lambda: (
                (d := json.loads(run("devices", "cli", "--json", cloud=cloud).stdout))
                and d["version"] == "0.2"
                and d
            )
        )
        assert [report["state"] for report in shown["reports"]][-3:] == ["burning", "done", None]
        detail = run("devices", "P/cli", cloud=cloud).stdout
        assert "burning" in detail and "done" in detail


@pytest.mark.slow
def test_push_wait_says_why_it_failed(cloud, app, tmp_path):
    run(
        "release", app, "--version", "0.3", "--out", "x.bin", "--upload", cloud=cloud, cwd=tmp_path
    )
    with Device(cloud.mqtt_port, "P", "failing") as device:
        device.hello("0.1")

        def fail():
            for _ in range(3):
                device.expect("update_firmware", timeout_s=WAIT_S)
                device.fail("0.3", -5, "no room [bold]left")

        failing = threading.Thread(target=fail)
        failing.start()
        pushed = run("push", "0.3", "-d", "failing", "--wait", "--timeout", 3, cloud=cloud, code=1)
        assert "retry" in pushed.stdout and "-5 no room [bold]left" in pushed.stdout
        assert "the update continues" in pushed.stderr
        # The back-off of a real cloud is slow for a test: by hand it is at once.
        for _ in range(2):
            run("push", "0.3", "-d", "failing", cloud=cloud)
        failing.join()


def test_push_as_json(cloud, app, tmp_path):
    run(
        "release", app, "--version", "0.4", "--out", "x.bin", "--upload", cloud=cloud, cwd=tmp_path
    )
    done = run("push", "0.4", "-d", "P/j1", "-d", "P/j2", "--new", "--json", cloud=cloud)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["device"] for line in lines] == ["P/j1", "P/j2"]
    assert {line["state"] for line in lines} == {"waiting"}


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_watch_in_a_pipe(cloud, app, tmp_path, as_json):
    version = f"0.5.{int(as_json)}"
    name = f"watched{int(as_json)}"
    run(
        "release",
        app,
        "--version",
        version,
        "--out",
        "x.bin",
        "--upload",
        cloud=cloud,
        cwd=tmp_path,
    )
    with Device(cloud.mqtt_port, "P", name) as device:
        device.hello("0.1")
        watching = subprocess.Popen(
            [*IVOTA, "watch", "--device", name, *(["--json"] if as_json else [])],
            env=environment(cloud),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        first = watching.stdout.readline()
        run("push", version, "-d", name, cloud=cloud)
        device.update(device.expect("update_firmware"))
        lines = [first]
        while "done" not in lines[-1]:
            lines.append(watching.stdout.readline())
            assert lines[-1], watching.stderr.read()
        watching.send_signal(signal.SIGINT)
        rest, errors = watching.communicate(timeout=WAIT_S)
        assert watching.returncode == 0 and errors == ""
    if as_json:
        assert json.loads(lines[-1])["percent"] == 100
    else:
        assert f"P/{name} 0.1 → {version} done" in lines[-1]


def test_lines_give_utc_and_say_when_nobody_requests_the_file(monkeypatch):
    """A pipe's reader may be in another time zone, and sees no page."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    out = io.StringIO()
    device = dict.fromkeys(DeviceOut.model_fields) | {
        "id": 1, "device": "P/d", "version": "0.1", "target": "0.2", "state": "pushed",
        "pushes": 1,
    }  # fmt: skip
    lines = device_views.Lines(Console(file=out))
    try:
        lines.show(device)
        lines.show(device | {"unasked": True})
    finally:
        monkeypatch.undo()
        time.tzset()
    first, second = out.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d UTC P/d 0.1 → 0.2 pushed", first)
    assert "no device has requested the file" in second
    said = datetime.strptime(first[:8], "%H:%M:%S").replace(tzinfo=timezone.utc)
    apart = (datetime.now(timezone.utc) - said).seconds
    assert min(apart, 86400 - apart) < 3600


def test_watch_outlives_the_cloud(monkeypatch):
    """Says so once, not at each try, until the cloud is back; says it again the next time."""
    first, second = ({"revision": n, "id": 1, "device": "P/d", "state": "idle"} for n in (1, 2))
    streams = [[first], [], [], [second], [], KeyboardInterrupt]

    class Restarted(Client):
        def revision(self):
            return 0

        def events(self, after=0):
            stream = streams.pop(0)
            if stream is KeyboardInterrupt:
                raise stream
            yield from stream
            raise ApiError("it is lost")

    monkeypatch.setattr(devices, "Client", Restarted)
    monkeypatch.setattr(devices, "AGAIN_S", 0)
    done = quick("watch", "--json")
    assert [json.loads(line)["revision"] for line in done.stdout.splitlines()] == [1, 2]
    assert done.stderr.count("it is lost; retrying until Ctrl-C") == 2


def test_watch_on_a_terminal(cloud, app, tmp_path):
    """Bars, drawn on a pseudo-terminal."""
    run(
        "release", app, "--version", "0.6", "--out", "x.bin", "--upload", cloud=cloud, cwd=tmp_path
    )
    with Device(cloud.mqtt_port, "P", "[red]bars") as device:
        device.hello("0.1")
        ours, theirs = pty.openpty()
        watching = subprocess.Popen(
            [*IVOTA, "watch"],
            env={**environment(cloud), "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        # Otherwise the update could end before anybody watches.
        wait_until(lambda: cloud._pages.streams._taken, "the event stream")
        run("push", "0.6", "-d", "[red]bars", cloud=cloud)
        device.update(device.expect("update_firmware"))
        shown = b""
        finished = re.compile(r"P/\[red\]bars 0\.1 → 0\.6 .*━.* 100 %.* done")
        while not finished.search(shown.decode(errors="replace")):
            shown += os.read(ours, 4096)
        watching.send_signal(signal.SIGINT)
        while watching.poll() is None:  # a terminal that nobody reads would hold it up
            try:
                os.read(ours, 4096)
            except OSError:
                break
        assert watching.wait(WAIT_S) == 0
        os.close(ours)


def test_inspect(app, tmp_path):
    path = tmp_path / "x.bin"
    quick("release", app, "--version", "1", "--out", path, "--pad-to", 20000)
    found = json.loads(quick("inspect", path, "--json").stdout)
    assert (found["kind"], found["size"], found["version"]) == ("bundle", 20000, "1")
    text = quick("inspect", path).stdout
    for part in (found["md5"], found["sha256"], "20,000 bytes", "lib/ivota/__init__.mpy"):
        assert part in text


def test_a_release_for_boards_that_keep_their_updater(app, tmp_path):
    path = tmp_path / "x.bin"
    alone = quick("release", app, "--version", "1", "--out", path, "--updater", "keep", code=1)
    assert "an updater of its own" in alone.stderr
    app = tmp_path / "alone"
    app.mkdir()
    (app / "app.py").write_text("def main():\n    pass\n")
    keep = ("release", app, "--version", "1", "--out", path, "--overwrite", "--updater", "keep")
    for more, least in ((), project_files.version()), (("--updater-min", "0.2"), "0.2"):
        said = quick(*keep, *more).stdout
        assert f"the board's own, version {least} or newer" in said
        found = json.loads(quick("inspect", path, "--json").stdout)
        assert found["updater_min"] == least
        assert not any(file["path"].startswith("lib/") for file in found["files"])
    assert "must consist of numbers" in quick(*keep, "--updater-min", "x", code=1).stderr
    assert "needs a folder" in quick("release", path, "--updater", "keep", code=1).stderr
    kept = quick("release", app, "--version", "1", "--updater-min", "1", code=1).stderr
    assert "needs --updater keep" in kept


def test_errors_say_what_to_do(app, tmp_path):
    out = ["--out", tmp_path / "x.bin"]

    def wrong(*arguments, code=1):
        done = quick(*arguments, code=code)
        assert done.stdout == ""
        return done.stderr

    for command in (["devices"], ["push", "1", "-d", "x"], ["watch"]):
        assert "start one with `ivota cloud`" in wrong(*command)
    assert "cannot read" in wrong("inspect", tmp_path / "none")
    assert "does not exist" in wrong("release", tmp_path / "none", "--version", "1")
    assert "1 to 32" in wrong("release", app, "--version", "x" * 33)
    assert "cannot pad the file" in wrong("release", app, "--version", "1", "--pad-to", 10, *out)
    (tmp_path / "image.bin").write_bytes(b"\xe9" + bytes(100))
    assert "--upload" in wrong("release", tmp_path / "image.bin", "--version", "1")
    assert "a device or --where" in wrong("push", "1")
    (tmp_path / "folder").mkdir()
    for nowhere in tmp_path / "folder", tmp_path / "image.bin" / "x.bin":
        said = wrong("release", app, "--version", "1", "--out", nowhere)
        assert f"cannot write {nowhere}" in said and "another file with --out" in said
    for option, least, most in ("--port", 0, 65535), ("--mqtt-port", 0, 65535):
        for number in least - 1, most + 1:
            assert option in wrong("cloud", option, number, code=2)
    for option in "--url-ttl", "--max-upload", "--max-connected":
        assert option in wrong("cloud", option, 0, code=2)
    assert "use 0% to 100%" in wrong("campaign", "create", "1", "-q", "all", "--success", "120%")
    assert "--version is missing" in wrong("release", app, *out)
    unasked = quick("keygen", tmp_path / "owner.key", code=1).stderr
    assert "set IVOTA_PASSPHRASE" in unasked
    assert "warning" in quick("release", app, "--version", "x" * 21, *out).stderr


def test_a_wrong_address_of_the_cloud_says_what_to_do(cloud):
    def wrong(url):
        done = CliRunner(env={**environment(), "IVOTA_URL": url}).invoke(cli.app, ["devices"])
        assert (done.exit_code, done.stdout) == (1, "")
        return done.stderr

    assert "must start with http://" in wrong("127.0.0.1:8123")
    assert "must start with http://" in wrong("mqtt://127.0.0.1")
    assert "has no host" in wrong("http://")
    assert "is not an ivota cloud" in wrong(f"http://127.0.0.1:{cloud.http_port}/elsewhere")
    assert "not the MQTT port" in wrong(f"http://127.0.0.1:{cloud.mqtt_port}")


def test_a_token_that_can_be_none_says_what_to_do():
    done = CliRunner(env={**environment(), "IVOTA_TOKEN": "wörd"}).invoke(cli.app, ["devices"])
    assert done.exit_code == 1 and "copy it again" in done.stderr


INTERRUPTED = """
import sys
from ivota_tools.__main__ import main
class Interrupted:
    def find_spec(self, *_):
        raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
main()
"""


def test_ctrl_c_while_a_command_loads_is_no_traceback():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, timeout=WAIT_S)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("options, keep", [([], False), (["--keep"], True)])
def test_the_demo_is_kept_on_where_that_is_asked_for(monkeypatch, options, keep):
    played = []
    monkeypatch.setattr(play, "main", lambda **given: played.append(given) or 3)
    quick("demo", *options, code=3)
    assert played == [{"keep": keep, "console": None}]


def test_long_work_has_lines_with_rate_and_time_left_off_a_terminal(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: now[0])
    said = io.StringIO()
    with progress_bars.bars(Console(file=said, width=20)) as begin:
        at = begin("uploading [b]x[/b]\x1b[2J", 4_000_000)
        for seconds, share in ((1, 0.1), (8, 0.25), (1, 0.3), (10, 0.5), (20, 1.0)):
            now[0] += seconds
            at(share)
        begin("no work")(1.0)
    assert said.getvalue().splitlines() == [
        r"uploading [b]x[/b]\x1b[2J: 25%, 111.1 kB/s, 0:00:27 left",
        r"uploading [b]x[/b]\x1b[2J: 50%, 100.0 kB/s, 0:00:20 left",
    ]


def test_an_upload_says_how_far_it_is(cloud, tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(b"\xe9" + bytes(200_000))
    shares = []
    with Client(cloud.api_url) as client:
        client.upload(path, "slow", progress=shares.append)
    assert shares == sorted(shares) and len(shares) > 3 and shares[-1] == 1.0


def test_the_application_is_cut_out_of_a_whole_flash(cloud, tmp_path):
    application = make_image("1.1", chip=5, size=20_000)
    (tmp_path / "board.bin").write_bytes(esp32_images.combined(application, 5))
    whole = quick("inspect", tmp_path / "board.bin").stdout
    for part in ("esp32-flash", "boot loader, partition table", "esp32c3", "project   ivota 1.1"):
        assert part in whole
    done = run(
        *("release", tmp_path / "board.bin", "--version", "cut", "--upload", "--json"), cloud=cloud
    )
    assert "an update needs only its application" in done.stderr
    found = json.loads(done.stdout)
    assert (found["kind"], found["size"], found["image"]["chip"]) == (
        *("esp32-image", 20_000, "esp32c3"),
    )
    assert (tmp_path / "board-app.bin").read_bytes() == application
    quick("release", tmp_path / "board.bin", "--out", tmp_path / "y.bin")
    assert (tmp_path / "y.bin").read_bytes() == application


def test_an_image_is_uploaded_as_it_is(cloud, tmp_path):
    (tmp_path / "image.bin").write_bytes(b"\xe9" + bytes(100))
    done = run(
        "release", tmp_path / "image.bin", "--version", "i1", "--upload", "--json", cloud=cloud
    )
    found = json.loads(done.stdout)
    assert found["kind"] == "esp32-image" and found["firmware_id"] > 0


def test_the_cloud_as_a_command(tmp_path):
    process = subprocess.Popen(
        [*IVOTA, "cloud", "--port", "0", "--mqtt-port", "0", "--data", str(tmp_path), "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = json.loads(process.stdout.readline())
    assert started["data"] == str(tmp_path)
    done = subprocess.run(
        [*IVOTA, "devices"],
        env={**environment(), "IVOTA_URL": started["api_url"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(
        "no device has reported yet: set up a board with `ivota board install`"
    )
    process.terminate()
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0 and "Traceback" not in errors
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", started["mqtt_port"]), timeout=1)


@contextmanager
def printed_by_the_cloud(folder, *options):
    """What it says before it waits, by the first word of each line."""
    with subprocess.Popen(
        [*IVOTA, "cloud", "--port", "0", "--mqtt-port", "0", "--data", str(folder), *options],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        said = {}
        for line in process.stdout:
            word, _, rest = line.strip().partition(" ")
            said[word] = rest.strip()
            if word == "Ctrl-C":
                break
        try:
            yield said
        finally:
            process.terminate()


def test_the_first_start_prints_the_setup_link_and_no_later_one(tmp_path):
    """It is good for an admin, once; the next start prints the address alone."""
    with printed_by_the_cloud(tmp_path) as said:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/set-up/[\w-]{32}", said["console"])
        assert said["(one-time"].startswith("link")
        with Visitor(said["console"].partition("/set-up/")[0]) as visitor:
            visitor.get(said["console"])
            form = {"name": "maria", "password": PASSWORD, "again": PASSWORD}
            assert "Welcome, maria" in visitor.post(visitor.page.url.path, **form)
            assert "People and tokens" in visitor.get("/people")
    with printed_by_the_cloud(tmp_path) as said:
        assert (
            re.fullmatch(r"http://127\.0\.0\.1:\d+", said["console"]) and "(one-time" not in said
        )


def test_a_url_is_printed_as_it_is(tmp_path):
    """Brackets are no markup, and what is copied has no line break in it."""
    public = f"http://[fd00::1]:8123/{'a' * 140}"
    with printed_by_the_cloud(tmp_path, "--public-url", public) as said:
        assert said["HTTP"].endswith(f", for devices {public}")


@pytest.mark.slow
def test_a_cloud_that_cannot_start(cloud, tmp_path):
    where = ["--data", tmp_path, "--mqtt-port", "0"]
    assert "--port" in run("cloud", "--port", cloud.http_port, *where, code=1).stderr
    assert "--public-url" in run("cloud", "--host", "0.0.0.0", *where, code=1).stderr
    without = run("cloud", "--port", 0, "--broker", "127.0.0.1:1", *where, code=1).stderr
    assert "cannot reach an MQTT broker" in without and "--broker HOST:PORT" in without
    (tmp_path / "file").write_text("")
    nowhere = ["--data", tmp_path / "file" / "data", "--mqtt-port", "0", "--port", "0"]
    assert "choose another data directory" in run("cloud", *nowhere, code=1).stderr


def refusal(*arguments):
    return quick(*arguments, code=1).stderr


def test_patches_from_the_command_line(app, tmp_path):
    def made(*args):
        return json.loads(quick("release", app, *args, "--json").stdout)

    old = tmp_path / "thermo-1.bin"
    quick("release", app, "--version", "1", "--out", old)
    (app / "app.py").write_text("def main():\n    return 1\n")
    (app / "data.txt").write_text("0123456789" * 500)
    two = made("--version", "2", "--out", tmp_path / "thermo-2.bin", "--from", "1", "--compress")
    assert [each["path"].rpartition("/")[2] for each in two["patches"]] == [
        "thermo-2-from-1.bin",
        "thermo-2-compressed.bin",
    ]
    assert two["patches"][0]["size"] < two["patches"][1]["size"] < two["size"]
    assert two["patches"][0]["patch"]["base_version"] == "1"
    shown = quick("inspect", tmp_path / "thermo-2-from-1.bin").stdout
    assert "version 1 of" in shown and "16-bit words" in shown
    # By path, by VERSION=FILE, and for a file that is ready.
    again = quick(
        "release", tmp_path / "thermo-2.bin", "--from", old, "--from", f"1={old}", "--json"
    )
    assert len(json.loads(again.stdout)["patches"]) == 2
    assert "next to" in refusal("release", tmp_path / "thermo-2.bin", "--from", "0.9")
    assert "not a file" in refusal("release", tmp_path / "thermo-2.bin", "--from", "1=none.bin")


def test_a_signed_patch_and_what_it_makes(app, tmp_path):
    key = tmp_path / "owner.key"
    public = tmp_path / "owner.pub"
    quick("keygen", key, "--no-passphrase")
    (app / "data.txt").write_text("0123456789" * 500)
    quick("release", app, "--version", "1", "--out", tmp_path / "t-1.bin")
    signed = ("--key", key, "--sequence", 7, "--from", "1", "--compress")
    quick("release", app, "--version", "2", "--out", tmp_path / "t-2.bin", *signed)
    patch, base = tmp_path / "t-2-from-1.bin", tmp_path / "t-1.bin"
    assert "was not verified" in quick("verify", patch, "--key", public).stdout
    assert (
        "the resulting firmware is signed by a trusted key"
        in quick("verify", patch, "--key", public, "--base", base).stdout
    )
    packed = tmp_path / "t-2-compressed.bin"
    assert (
        "the resulting firmware is signed by a trusted key"
        in quick("verify", packed, "--key", public).stdout
    )
    found = json.loads(quick("inspect", patch, "--json").stdout)
    assert found["signed"]["kind"] == "patch" and found["version"] == "2"
    why = refusal("verify", patch, "--key", public, "--base", tmp_path / "t-2.bin")
    assert "wrong base" in why
    missing = refusal("verify", patch, "--key", public, "--base", tmp_path / "none")
    assert "cannot read" in missing
    assert "is not a delta" in refusal(
        "verify", tmp_path / "t-2.bin", "--key", public, "--base", base
    )
    # A board with keys takes no patch that is not signed, whatever it makes.
    assert "--key" in refusal("release", tmp_path / "t-2.bin", "--from", "1")
