"""What `make dist` makes: the wheel in an environment of its own, the package by a board's mip."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import site
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import WAIT_S

from ivota_tools import toolchain
from ivota_tools.api_client import Client
from ivota_tools.board.install_files import board_files
from ivota_tools.cloud import Cloud
from ivota_tools.common import project_files
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board
from ivota_workshop import distribution

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "thermometer"

# --- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distribution.write_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a fresh environment that has nothing but the wheel.

    What the wheel depends on is borrowed from this environment, file by file of the path: its own
    `.pth` files, one of which leads to the checkout, are not followed there.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run([*command, "--disable-pip-version-check"], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder / "bin"


def run(command: list[object], cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MICROPYPATH")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_commands_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    """Nothing of the checkout is needed: not for a release, a board's files, a cloud, a device."""
    where = run(
        [
            installed / "python",
            "-c",
            "from ivota_tools.common import project_files; print(project_files.root())",
        ],
        tmp_path,
    )
    assert where.strip().endswith("site-packages/ivota_tools/_device")
    said = run([installed / "ivota", "--help"], tmp_path)
    assert "release" in said and "board" in said
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("def main():\n    print('hello')\n")
    words = ["release", "app", "--version", "0.2", "--json"]
    made = json.loads(run([installed / "ivota", *words], tmp_path))
    pack(tmp_path / "app", "0.2", out=tmp_path / "here.bin")
    assert Path(tmp_path, made["path"]).read_bytes() == (tmp_path / "here.bin").read_bytes()
    files = "from ivota_tools.board.install_files import board_files; "
    files += "from ivota_tools.common import project_files; "
    files += "print(len(board_files(project_files.root())))"
    assert run([installed / "python", "-c", files], tmp_path).strip() == str(
        len(board_files(ROOT))
    )


@pytest.mark.slow
def test_a_cloud_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    """Its database, pages and API are all there."""
    words = ["cloud", "--port", "0", "--mqtt-port", "0", "--data", tmp_path / "data", "--json"]
    process = subprocess.Popen(
        [str(word) for word in (installed / "ivota", *words)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert process.stdout
        url = json.loads(process.stdout.readline())["api_url"]
        with Client(url) as api:
            assert api.devices() == []
    finally:
        process.terminate()
        assert process.wait(WAIT_S) == 0


@pytest.mark.slow
def test_an_application_is_type_checked(installed: Path, tmp_path: Path) -> None:
    """The wheel's stubs: what is right passes, what no client has is an error."""
    right = (ROOT / "examples" / "without_slots" / "main.py").read_text()
    right = right.replace(
        "def on_firmware(firmware):", "def on_firmware(firmware: Firmware) -> None:"
    )
    right = right.replace("import Client", "import Client, Firmware, agent")
    right += "agent.client.step()\n"
    wrong = right.replace("firmware.version", "firmware.versoin").replace("step()", "setp()")
    (tmp_path / "right.py").write_text(right)
    (tmp_path / "wrong.py").write_text(wrong)
    command = [sys.executable, "-m", "mypy", "--no-strict-optional", "--cache-dir", os.devnull]
    command += ["--python-executable", installed / "python"]
    run([*command, "right.py"], tmp_path)
    done = subprocess.run(
        [str(word) for word in (*command, "wrong.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert '"Firmware" has no attribute "versoin"' in done.stdout
    assert '"Client" has no attribute "setp"' in done.stdout


def test_the_wheel_says_the_one_version(wheel: Path) -> None:
    assert wheel.name == f"ivota-{project_files.version()}-py3-none-any.whl"
    assert json.loads((ROOT / "package.json").read_text())["version"] == project_files.version()
    assert not re.search(r'^version = "', (ROOT / "pyproject.toml").read_text(), re.M)


# --- mip


@pytest.fixture(scope="module")
def mip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of what `make dist` writes for mip, with whole URLs."""
    folder = tmp_path_factory.mktemp("mip")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        base = f"http://127.0.0.1:{server.server_port}/"
        distribution.write_mip(folder, base)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield base
        server.shutdown()
        thread.join()


def install(mip: str, folder: Path, *names: str) -> Path:
    """lib/ as a 32-bit board's own mip leaves it."""
    lib = folder / "lib"
    lib.mkdir(parents=True)
    code = "import mip\n" + "".join(f"mip.install('{mip}{name}.json')\n" for name in names)
    command = ["env", f"MICROPYPATH=.frozen:{lib}", *toolchain.micropython(32), "-c", code]
    said = run(list(command), folder)
    assert said.count("Done") == len(names), said
    return lib


def board(lib: Path, folder: Path, port: int, **more: object) -> Board:
    config = {
        "product_id": "P",
        "device_name": "d",
        "mqtt": {"host": "127.0.0.1", "port": port},
        "retry": {"first_s": 0.1, "most_s": 1},
    }
    config.update(more.pop("config", {}))  # type: ignore[call-overload]
    simple = Path(toolchain.umqtt(), "umqtt", "simple.py")
    files = {"/lib": lib, "/lib/umqtt/simple.py": simple, **more}
    return Board(folder / "b", config=config, files=files, factory=False)  # type: ignore[arg-type]


def starters() -> dict[str, Path]:
    files = {f"/{name}": ROOT / name for name in ("boot.py", "main.py")}
    return {**files, "/bundlefs.py": ROOT / "lib" / "bundlefs.py"}


def test_every_file_is_in_one_list() -> None:
    lists = distribution.contents()
    assert set(lists) == {"package", *distribution.EXTRAS}
    assert sorted(sum(lists.values(), [])) == project_files.library_files(ROOT)
    for extra, names in distribution.EXTRAS.items():
        for name in names:
            assert f"ivota/{name}.py" in lists[extra]


@pytest.mark.slow
def test_a_client_needs_the_first_list_alone(mip: str, tmp_path: Path) -> None:
    lib = install(mip, tmp_path, "package")
    main = (ROOT / "examples" / "without_slots" / "main.py").read_bytes()
    model = tmp_path / "model.bin"
    model.write_bytes(os.urandom(20_000))
    with (
        Cloud(tmp_path / "cloud") as cloud,
        Client(cloud.api_url) as api,
        board(lib, tmp_path, cloud.mqtt_port, **{"/main.py": main}) as made,
    ):
        made.install()
        made.power_on()
        made.wait_log("connected")
        api.upload(model, "2")
        device = api.push("P/d", "2", new=True)["device"]
        *_, device = api.wait(device["id"], WAIT_S)
        assert device["state"] == "done"
        assert made.read("/model.bin") == model.read_bytes()


@pytest.mark.slow
def test_with_the_agent_bundles_are_installed(mip: str, tmp_path: Path) -> None:
    lib = install(mip, tmp_path, "package", "agent")
    with (
        Cloud(tmp_path / "cloud") as cloud,
        Client(cloud.api_url) as api,
        board(lib, tmp_path, cloud.mqtt_port, **starters()) as made,
    ):
        made.install()
        made.power_on()
        made.wait_log("connected")
        for version in ("0.2", "0.3"):
            out = tmp_path / f"{version}.bin"
            pack(EXAMPLE, version, out=out, application="thermometer")
            api.upload(out)
            device = api.push("P/d", version, new=True)["device"]
            *_, device = api.wait(device["id"], WAIT_S)
            assert (device["state"], device["version"]) == ("done", version)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "said"),
    (
        ({"dialect": "aliyun"}, "dialect aliyun: the board has no ivota/aliyun"),
        ({"keys": ["/owner.pub"]}, "ImportError no module named 'ivota.owner_signature'"),
    ),
    ids=("aliyun", "signatures"),
)
def test_what_is_not_there_is_said(
    mip: str, tmp_path: Path, config: dict[str, object], said: str
) -> None:
    """Nothing that was to be signed is taken without the code that would look."""
    lib = install(mip, tmp_path, "package", "agent")
    with (
        Cloud(tmp_path / "cloud") as cloud,
        Client(cloud.api_url) as api,
        board(lib, tmp_path, cloud.mqtt_port, config=config, **starters()) as made,
    ):
        made.install()
        made.power_on()
        if "keys" in config:
            made.wait_log("connected")
            out = tmp_path / "0.2.bin"
            pack(EXAMPLE, "0.2", out=out, application="thermometer")
            api.upload(out)
            api.push("P/d", "0.2", new=True)
        made.wait_log(re.escape(said))
        made.stop()
        fetched = made.listdir("/firmware") if "firmware" in made.listdir("/") else []
        assert fetched == []


@pytest.mark.parametrize("extra", sorted(distribution.EXTRAS))
def test_an_extra_is_what_it_says(mip: str, tmp_path: Path, extra: str) -> None:
    lib = install(mip, tmp_path, extra)
    names = {path.stem for path in (lib / "ivota").glob("*.mpy")}
    assert names == set(distribution.EXTRAS[extra])
