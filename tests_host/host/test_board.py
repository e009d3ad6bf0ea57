"""`ivota board` on a real MicroPython, through the real mpremote, over a pseudo-terminal."""

import binascii
import inspect
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from interpreters import PREVIEW
from littlefs import LittleFSError
from rawrepl import RawReplBoard
from typer.testing import CliRunner
from waiting import WAIT_S, wait_until

from ivota_tools import toolchain
from ivota_tools.board import (
    file_ownership,
    install,
    install_files,
    on_board,
    serial_output,
    serial_ports,
    status,
)
from ivota_tools.board.config_check import read_config
from ivota_tools.board.errors import BoardError, SilentError
from ivota_tools.board.mpremote import Mpremote
from ivota_tools.cli import board as cli
from ivota_tools.cli import board_views
from ivota_tools.cli.board import app
from ivota_tools.common import project_files
from ivota_tools.firmware import bundle
from ivota_tools.sim.flash import FlashError

ROOT = Path(__file__).parents[2]
STOCK_BOOT = b"# This file is executed on every boot\n#import esp\nimport gc\ngc.collect()\n"
MAIN = b'''"""A stand-in for ivota's main.py: says that it started, then that it runs."""
import time
import ivota.result_codes
print("ivota: start version=0.1")
n = 0
while True:
    n += 1
    print("ivota: progress state=downloading percent=%d url='http://x/a b'" % n)
    time.sleep(0.1)
'''
CONFIG = {"product_id": "P", "device_name": "d1", "version": "0.1", "mqtt": {"host": "127.0.0.1"}}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small checkout: its own starters and package, the real table of the configuration."""
    tree = tmp_path / "checkout"
    package = tree / "lib" / "ivota"
    package.mkdir(parents=True)
    (tree / "boot.py").write_bytes(b'"""A stand-in for ivota\'s boot.py."""\nprint("boot")\n')
    (tree / "main.py").write_bytes(MAIN)
    (tree / "lib" / "bundlefs.py").write_bytes(b"FORMAT = 1\n" * 400)
    for name in (
        "__init__",
        "result_codes",
        "config",
        "network_settings",
    ):
        file = f"{name}.py"
        (package / file).write_bytes((ROOT / "lib" / "ivota" / file).read_bytes())
    monkeypatch.setattr(cli, "root", lambda: tree)
    return tree


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "ivota.json"
    path.write_text(json.dumps(CONFIG))
    return path


@pytest.fixture
def board(tmp_path, request):
    """A board whose flash has the files and options of `@board_with`, and stubs of what firmware
    brings along."""
    marks = getattr(request, "param", {})
    content = {"/lib/umqtt/simple.py": b"", "/boot.py": STOCK_BOOT, **marks.get("files", {})}
    options = {key: value for key, value in marks.items() if key != "files"}
    with RawReplBoard(tmp_path, files=content, **options) as board:
        board.wait_printed(r">>> |progress|running")
        yield board


def board_with(**marks):
    return pytest.mark.parametrize("board", [marks], indirect=True, ids=[""])


# The same once more on MicroPython's preview.
on_each = pytest.mark.parametrize(
    "board", [{}, {"interpreter": PREVIEW}], indirect=True, ids=["64", PREVIEW]
)


def ivota_board(board, command, *arguments, code=0, answer=True):
    """Runs a command; its JSON, or what it printed."""
    flags = ["--json"] if answer else []
    done = CliRunner().invoke(app, [command, "--port", board.port, *flags, *map(str, arguments)])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if answer else done.output


INSTALLED = [
    "/lib/bundlefs.py",
    "/lib/ivota/__init__.mpy",
    "/lib/ivota/config.mpy",
    "/lib/ivota/network_settings.mpy",
    "/lib/ivota/result_codes.mpy",
    "/bundlefs.py",
    "/boot.py",
    "/main.py",
    "/ivota.json",
]


@pytest.mark.slow
@on_each
def test_install_then_install_again(board, tree, config):
    # A package of somebody's own, whose modules are compiled one by one.
    with (tree / "lib" / "ivota" / "result_codes.py").open("a") as changed:
        changed.write("CHANGED = 1\n")
    result = ivota_board(board, "install", "--config", config)
    assert result["copied"] == INSTALLED
    assert result["device"] == "P/d1" and result["reset"] and not result["kept"]
    board.wait_printed("boot\r\nivota: start")
    board.wait_starts("friendly", "raw", "friendly")
    assert board.files() == sorted([*INSTALLED, "/lib/umqtt/simple.py"])
    for path, data in install_files.board_files(tree).items():
        assert board.read(path) == data
    assert board.read("/ivota.json") == config.read_bytes()
    # Only what differs, and the program that was stopped for it runs again.
    again = ivota_board(board, "install", "--config", config)
    assert again["copied"] == [] and again["unchanged"] == len(INSTALLED)
    board.wait_starts(*["friendly", "raw"] * 2, "friendly")
    with (tree / "lib" / "ivota" / "result_codes.py").open("a") as changed:
        changed.write("CHANGED_AGAIN = 1\n")
    assert ivota_board(board, "install")["copied"] == ["/lib/ivota/result_codes.mpy"]
    assert board.read("/ivota.json") == config.read_bytes()


def test_a_board_is_asked_while_it_starts(tmp_path):
    board = RawReplBoard(tmp_path, files={"/boot.py": STOCK_BOOT})
    # Its MicroPython starts a second late; until then a ctrl-C would end the process.
    board.interpreter = ["sh", "-c", 'sleep 1; exec "$0" "$@"', *board.interpreter]
    with board:
        assert Mpremote(board.port).run("exec", "print(6 * 7)").split() == ["42"]
        assert board.starts == ["friendly"]


@pytest.mark.slow
@board_with(raw_paste=False, interpreter=32)
def test_install_without_raw_paste_and_says_what_to_look_for(board, tree, config):
    said = ivota_board(board, "install", "--config", config, "--source", answer=False)
    assert "Copied 9 files" in said
    assert "Look for P/d1 in the cloud" in said
    assert f"ivota board watch --port {board.port}" in said
    assert board.read("/lib/ivota/config.py") == (tree / "lib/ivota/config.py").read_bytes()
    # From source to compiled: a .py beside its .mpy would be the one that is imported.
    said = ivota_board(board, "install", answer=False)
    assert "Removed /lib/ivota/config.py" in said
    assert "/lib/ivota/config.py" not in board.files()
    assert "/lib/ivota/config.mpy" in board.files()


@pytest.mark.slow
@board_with(
    files={
        "/lib/ivota/old.py": b"",
        "/lib/ivota/old.py~": b"",
        "/lib/ivota/config.mpy~": b"torn",
        "/bundlefs.mpy": b"",
        "/notes.txt~": b"",
        "/ivota-kept.json": b"{}",
    }
)
def test_install_removes_what_an_older_one_left(board, tree, config):
    result = ivota_board(board, "install", "--config", config)
    # One of the temporaries was overwritten by the copy, and took its place.
    assert result["removed"] == [
        "/bundlefs.mpy",
        "/ivota-kept.json",
        "/lib/ivota/old.py",
        "/lib/ivota/old.py~",
    ]
    assert board.files() == sorted([*INSTALLED, "/lib/umqtt/simple.py", "/notes.txt~"])


@board_with()
def test_ctrl_c_during_install_changes_nothing(board, tree, config):
    (tree / "lib" / "ivota" / "big.py").write_text("DATA = %r\n" % ("x" * 300_000))
    code = "import pathlib; from ivota_tools.cli import board as cli; "
    code += f"cli.root = lambda: pathlib.Path({str(tree)!r}); cli.app()"
    command = [sys.executable, "-c", code, "install", "--port", board.port, "--source"]
    process = subprocess.Popen([*command, "--config", str(config)], stdout=subprocess.PIPE)

    def copying():
        try:
            return "/lib/ivota/big.py~" in board.files()
        except (FlashError, LittleFSError):  # the board wrote while the flash was copied
            return False

    wait_until(copying, "the copy of big.py")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT_S)
    assert process.returncode
    board.wait_starts("friendly", "raw", "friendly")
    assert "/main.py" not in board.files() and board.read("/boot.py") == STOCK_BOOT
    # The next one clears up.
    (tree / "lib" / "ivota" / "big.py").unlink()
    ivota_board(board, "install", "--config", config)
    assert board.files() == sorted([*INSTALLED, "/lib/umqtt/simple.py"])


@pytest.mark.slow
@board_with(files={"/main.py": b"import time\nprint('running')\nwhile 1: time.sleep(1)\n"})
def test_foreign_main_is_refused_then_kept_then_put_back(board, tree, config):
    before = board.files()
    result = ivota_board(board, "install", "--config", config, code=1)
    assert "the board has its own /main.py" in result["error"]
    assert "--force" in result["error"]
    assert board.files() == before
    board.wait_printed("running[^$]*running")  # it was stopped to look, and goes on
    foreign = board.read("/main.py")
    assert ivota_board(board, "install", "--config", config, "--force")["kept"] == ["/main.py.bak"]
    assert board.read("/main.py.bak") == foreign
    assert board.read("/main.py") == MAIN
    assert ivota_board(board, "install", "--force")["kept"] == []
    result = ivota_board(board, "remove", "--yes")
    assert result["back"] == [["/main.py.bak", "/main.py"]]
    assert board.read("/main.py") == foreign
    assert "/main.py.bak" not in board.files()


@board_with(files={"/main.py": b"x = 1\n", "/main.py.bak": b"x = 0\n"})
def test_a_backup_is_never_overwritten(board, tree, config):
    result = ivota_board(board, "install", "--config", config, "--force", code=1)
    assert "the board already has /main.py.bak" in result["error"]
    assert board.read("/main.py") == b"x = 1\n"
    assert board.read("/main.py.bak") == b"x = 0\n"


@pytest.mark.slow
@board_with()
def test_install_as_on_a_serial_port(board, tree, config, tmp_path):
    """mpremote reads what is called /dev/pts/… in another way than what has any other name."""
    board.port = str(tmp_path / "ttyUSB0")
    Path(board.port).symlink_to(board.tty)
    assert ivota_board(board, "install", "--config", config)["copied"] == INSTALLED
    assert ivota_board(board, "status")["package"] == "current"


def test_what_counts_as_stock_and_as_ours():
    assert file_ownership.is_stock(STOCK_BOOT)
    assert file_ownership.is_stock(b"import uos, machine\n#uos.dupterm(None, 1)\nimport gc\n")
    assert not file_ownership.is_stock(b"import app\n")
    assert not file_ownership.is_stock(b"import gc; app()\n")
    assert not file_ownership.is_stock(b"#" * 2048)  # cut off there: the rest is unknown
    assert file_ownership.is_ours(b'"""One line."""\r\nolder', b'"""One line."""\nnewer')
    assert not file_ownership.is_ours(b"import ivota\n", MAIN)


@pytest.mark.parametrize("name", ["boot.py", "main.py"])
def test_the_first_line_of_ours_names_no_one_else(name):
    """It is how `board install` knows its own files of whatever release."""
    first = (ROOT / name).read_text().splitlines()[0]
    assert len(first) > 20
    assert not file_ownership.is_stock(first.encode())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mqttt": {}}, "mqttt is unknown; did you mean mqtt"),
        ({"mqtt": {}}, "mqtt.host is missing"),
        ({"watchdog_s": "8"}, "watchdog_s must be a number"),
        ({"mqtt": {"host": "mqtt://h"}}, "mqtt.host must be a name or an address"),
        ({"mqtt": {"host": "h:1883"}}, "mqtt.host must be a name or an address"),
        ({"device_name": "a+b"}, "device_name must be at most 64 characters"),
        ({"device_name": "a\n"}, "device_name must be at most 64 characters"),
        ({"device_name": "\U0001f600"}, "device_name must be at most 64 characters"),
        ({"wifi": {"ssid": "x" * 33}}, "wifi.ssid must have 1 to 32 bytes"),
        ({"wifi": [{"ssid": "a"}, {"ssid": "b", "password": "abc"}]}, "wifi[1].password must"),
        ({"wifi": {"ssid": "a", "static": {"address": "10.0.0.1"}}}, "wifi.static must be like"),
        ({"lan": {"phy": 1}}, "lan.phy is unknown; did you mean phy_addr"),
        ({"ppp": {"apn": 5}}, "ppp.apn must be a string"),
        ({"network": "cable"}, "network must be one of wifi, lan, ppp, own"),
        ({"hostname": "a_b"}, "hostname must have 1 to 32 letters"),
    ],
)
def test_a_wrong_configuration_never_reaches_the_board(tree, config, change, said):
    config.write_text(json.dumps({**CONFIG, **change}))
    # Before a board is looked for.
    done = CliRunner().invoke(app, ["install", "--port", "/dev/none", "--config", str(config)])
    assert done.exit_code == 1 and said in done.stderr
    assert "ivota" not in sys.modules


def test_a_name_made_of_the_address_is_checked_without_a_board(tree, tmp_path):
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({**CONFIG, "device_name": "pump-{mac}", "hostname": "pump-{mac}"}))
    assert b"{mac}" in read_config(path, tree)
    path.write_text(json.dumps({**CONFIG, "hostname": "x" * 21 + "{mac}"}))
    with pytest.raises(BoardError, match="hostname must have 1 to 32"):
        read_config(path, tree)


def test_a_configuration_that_a_board_could_not_read_or_keep(tree, config):
    """Its parser takes UTF-8 without a byte order mark, no escapes beyond the BMP, and at most 16
    KiB; its copy has more in it."""
    plain = config.read_bytes()
    for encoding in ("utf-8-sig", "utf-16", "utf-16-be"):
        config.write_bytes(plain.decode().encode(encoding))
        assert read_config(config, tree) == plain, encoding
    config.write_text(json.dumps({**CONFIG, "wifi": {"ssid": "\U0001f3e0"}}))
    assert "\U0001f3e0".encode() in read_config(config, tree)
    settings = json.loads(plain)
    size = len(json.dumps({"config": {**settings, "target": ""}}))
    for length, taken in ((16384 - 61 - size, True), (16384 - size, False), (17000, False)):
        config.write_text(json.dumps({**settings, "target": "t" * length}))
        if taken:
            read_config(config, tree)
        else:
            with pytest.raises(BoardError, match="a board reads at most 16,384"):
                read_config(config, tree)


def test_a_configuration_that_is_not_there_or_not_json(tree, tmp_path):
    with pytest.raises(BoardError, match="No such file"):
        read_config(tmp_path / "none.json", tree)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(BoardError, match="is not valid JSON: .*line 1"):
        read_config(tmp_path / "bad.json", tree)


@board_with()
def test_install_refuses_what_could_not_run(board, tree, config):
    assert "specify one with --config" in ivota_board(board, "install", code=1)["error"]
    config.write_text(json.dumps({**CONFIG, "mqtt": {"host": "h", "tls": True, "ca": "/ca.der"}}))
    result = ivota_board(board, "install", "--config", config, code=1)
    assert "mqtt.ca refers to /ca.der, which is not on the board" in result["error"]
    own = {"cert": "/own.pem", "key": "/own.key"}
    named = install._referred({"mqtt": {"host": "h"}, "http": own})
    assert named == {"/own.pem": "http.cert", "/own.key": "http.key"}
    assert "mpremote fs cp FILE :/ca.der" in result["error"]
    assert board.files() == ["/boot.py", "/lib/umqtt/simple.py"]


@pytest.mark.parametrize(
    ("board", "said"),
    [
        ({}, "specify one with --config"),
        ({"files": {"/ivota.json": b'{"mqttt": {}}'}}, "board's configuration: mqttt is unknown"),
    ],
    indirect=["board"],
    ids=["no configuration", "a wrong one"],
)
def test_what_was_stopped_to_look_runs_again_where_nothing_can_be_installed(board, tree, said):
    assert said in ivota_board(board, "install", code=1)["error"]
    board.wait_starts("friendly", "friendly")


@board_with(files={"/lib/umqtt/simple.py": b"raise ImportError\n"})
def test_install_names_the_modules_that_the_firmware_lacks(board, tree, config):
    result = ivota_board(board, "install", "--config", config, code=1)
    assert "mpremote mip install umqtt.simple`" in result["error"]


@board_with(blocks=16)
def test_install_needs_room(board, tree, config):
    (tree / "lib" / "ivota" / "big.py").write_text("DATA = %r\n" % ("x" * 60000))
    result = ivota_board(board, "install", "--config", config, "--source", code=1)
    assert "KiB free, but" in result["error"]
    assert "/lib/ivota/config.py" not in board.files()


@board_with()
def test_bytes_lost_on_the_wire_change_nothing(board, tree, config, monkeypatch):
    copy = install._copy

    def damaging(board, data, progress):
        copy(board, {**data, "/main.py": data["/main.py"][:-5]}, progress)

    monkeypatch.setattr(install, "_copy", damaging)
    result = ivota_board(board, "install", "--config", config, code=1)
    assert "/main.py arrived damaged, so nothing was changed" in result["error"]
    assert [path for path in board.files() if not path.endswith("~")] == [
        "/boot.py",
        "/lib/umqtt/simple.py",
    ]
    assert board.read("/boot.py") == STOCK_BOOT


STATE = {
    "active": "/firmware/0.2.bin",
    "previous": "/firmware/0.1.bin",
    "rejected": [["36eb", "MD5 is wrong"]],
    "failures": ["36eb", 2],
    "sequence": 7,
}


def sealed(value):
    """As ivota.json_file writes it."""
    head = json.dumps(value)[:-1] + ", "
    return f'{head}"crc": "{binascii.crc32(head.encode()):08x}"}}'.encode()


WATCHDOG = {**CONFIG, "watchdog_s": 30}
CALLS = "import machine\nprint(machine.calls)"
AS_ESP32 = """
import sys
class Esp32:
    platform = "esp32"
    def __getattr__(self, name, sys=sys):
        return getattr(sys, name)
sys.modules["sys"] = Esp32()
"""


def with_state(config=CONFIG, **state):
    """A board with a configuration and, where one is given, the agent's state."""
    files = {"/ivota.json": json.dumps(config).encode()}
    if state:
        files["/ivota-state.json"] = sealed({"active": "/firmware/0.2.bin", **state})
    return {"files": files}


@pytest.mark.parametrize(
    "board",
    (with_state(armed=1), with_state(WATCHDOG, armed=2), with_state(trial={"version": "0.2"})),
    indirect=True,
    ids=("a trial's, confirmed", "the configuration's", "a trial's"),
)
@pytest.mark.parametrize("command", ("install", "status", "remove"))
def test_a_watchdog_that_was_left_armed_is_fed(board, tree, command, monkeypatch):
    remote = Mpremote(board.port)
    calls = []

    def restart(*_args, **_more):
        calls.append(remote.run("exec", CALLS).strip())

    monkeypatch.setattr(Mpremote, "reset", restart)
    monkeypatch.setattr(Mpremote, "go_on", restart)
    in_trial = remote.ask(on_board.load, path="/ivota-state.json").get("trial")
    CliRunner().invoke(app, [command, "--port", board.port, *["--yes"] * (command == "remove")])
    stopped = ", ('deinit',)" if in_trial and command == "status" else ""
    assert calls == [f"[('WDT', 8000), ('Timer', 1000), ('feed',){stopped}]"]


@board_with(**with_state(trial={"version": "0.2"}))
def test_an_esp32_takes_its_longest_watchdog_and_in_a_trial_boot_pys_again(
    board, tree, monkeypatch
):
    remote = Mpremote(board.port)
    remote.run("exec", AS_ESP32)
    calls = []
    monkeypatch.setattr(Mpremote, "go_on", lambda _: calls.append(remote.run("exec", CALLS)))
    CliRunner().invoke(app, ["status", "--port", board.port])
    assert [each.strip() for each in calls] == [f"[('WDT', {1 << 28}), ('WDT', 60000)]"]


@pytest.mark.parametrize("error", (KeyboardInterrupt, SilentError("it is silent")))
@board_with(**with_state(armed=1))
def test_an_interrupted_status_leaves_no_stopped_board_with_a_fed_watchdog(
    board, tree, error, monkeypatch
):
    ask, resets = Mpremote.ask, []

    def interrupted(self, function, **more):
        if function is on_board.describe:
            raise error
        return ask(self, function, **more)

    monkeypatch.setattr(Mpremote, "ask", interrupted)
    monkeypatch.setattr(Mpremote, "reset", lambda *_: resets.append(1))
    CliRunner().invoke(app, ["status", "--port", board.port])
    assert resets == [1]


@pytest.mark.parametrize("command", ("install", "status", "remove"))
@pytest.mark.parametrize(
    "board",
    ({}, with_state(), with_state(WATCHDOG), with_state(armed=0, starts=1)),
    indirect=True,
    ids=("no configuration", "no state", "one that is configured, and never ran", "none"),
)
def test_no_session_arms_a_watchdog_on_a_board_that_had_none(
    board, tree, config, command, monkeypatch
):
    remote = Mpremote(board.port)
    calls = []

    def reset(self, *_args, **_more):
        calls.append(remote.run("exec", CALLS).strip())

    monkeypatch.setattr(Mpremote, "reset", reset)
    arguments = {"install": ("--config", config), "status": (), "remove": ("--yes",)}[command]
    CliRunner().invoke(app, [command, "--port", board.port, *map(str, arguments)])
    calls.append(remote.run("exec", CALLS).strip())
    assert set(calls) == {"[]"}


CHECKPOINT = {"version": "0.3", "md5sum": "ab", "file_size": 1000, "position": 0}
RUNNING = {
    "/boot.py": (ROOT / "boot.py").read_bytes(),
    "/bundlefs.py": (ROOT / "lib" / "bundlefs.py").read_bytes(),
    "/main.py": MAIN,
    "/lib/ivota/result_codes.py": b"",
    "/ivota.json": json.dumps(CONFIG).encode(),
    "/ivota-state.json": sealed(STATE),
    "/firmware/0.1.bin": bundle.build({"app.py": b""}, "app", "0.1"),
    "/firmware/0.2.bin": bundle.build({"app.py": b""}, "app", "0.2"),
    "/firmware/0.3.bin": b"x" * 250,
    "/firmware/0.3.json": json.dumps(CHECKPOINT).encode(),
    "/firmware/notes.json": b'{"of": "the application"}',
}


@board_with()
def test_a_name_made_of_the_address_is_shown_as_the_cloud_sees_it(board, tree, config):
    config.write_text(json.dumps({**CONFIG, "device_name": "d-{mac}"}))
    result = ivota_board(board, "install", "--config", config, "--no-reset")
    assert result["device"] == "P/d-246f28ae01fc"
    assert ivota_board(board, "status")["device"] == "P/d-246f28ae01fc"


@board_with(files=RUNNING)
def test_status_and_clear(board, tree):
    found = ivota_board(board, "status")
    assert found["port"] == board.port
    assert found["board"]["version"] and found["board"]["file_system"] == "VfsLfs2"
    assert found["board"]["size"] == 512 * 4096 > found["board"]["free"] > 1_500_000
    assert (found["version"], found["version_from"]) == ("0.2", "bundle")
    assert found["device"] == "P/d1" and found["broker"] == "127.0.0.1"
    assert found["package"] == "other"
    assert found["state"] == STATE
    assert found["boot"] == {"formats": [2], "version": project_files.version()}
    assert found["frozen"] is None
    assert found["checkpoints"] == [{**CHECKPOINT, "position": 250}]
    assert found["partitions"] == []
    # Looking runs no boot.py; then the board starts again.
    board.wait_starts("friendly", "friendly")
    said = ivota_board(board, "status", "--clear", answer=False)
    assert "runs       0.2 (from the bundle)" in said
    assert f"boot files version {project_files.version()}, for bundles of format 2" in said
    assert "download   0.3: 250 of 1000 bytes (25 %)" in said
    assert "rejected   none (list cleared)" in said
    left = json.loads(board.read("/ivota-state.json"))
    assert left.pop("crc")
    assert left == {key: STATE[key] for key in ("active", "previous", "sequence")}
    assert board.read("/ivota-state.json") == sealed(left), "boot.py would not take it"


def test_the_updater_in_a_boards_firmware_is_found():
    """Without a trace in the program that runs, which may go on."""
    code = [
        inspect.getsource(on_board.frozen_updater).replace(" -> str | None", ""),
        "import sys",
        "sys.modules['ivota'] = sys.modules['ivota.agent'] = 1",
        f"print(frozen_updater(), frozen_updater({str(ROOT / 'lib')!r}))",
        "print(sys.modules['ivota'], sys.modules['ivota.agent'])",
        "print(len([name for name in sys.modules if 'ivota' in name]), '.frozen' in sys.path)",
    ]
    said = subprocess.check_output([*toolchain.micropython(32), "-c", "\n".join(code)], text=True)
    assert said.split() == ["None", project_files.version(), "1", "1", "2", "True"]


@board_with(files={**RUNNING, "/ivota-state.json": b'{"trial": {"version": "0.2"}, "starts": 1}'})
def test_status_during_a_trial_costs_no_start(board, tree):
    board.wait_printed("progress")
    seen = len(board.printed)
    said = ivota_board(board, "status", answer=False)
    assert "on trial   0.2: 1 starts after a crash, 0 other starts" in said
    board.wait_starts("friendly")
    board.wait_printed("ivota: start", start=seen)


@board_with(
    files={
        **RUNNING,
        "/ivota-state.json": b'{"trial": {"version": "0.2"}, "starts": 1}',
        "/main.py": b"import sys\nsys.modules['ivota.thread_runner'] = 1\n" + MAIN,
    }
)
def test_status_resets_where_a_thread_of_the_client_would_go_on_beside_a_second_one(board, tree):
    board.wait_printed("progress")
    ivota_board(board, "status")
    board.wait_starts("friendly", "friendly")


@board_with(files=RUNNING)
def test_a_status_that_nobody_understood_lets_the_program_run_again(board, tree, monkeypatch):
    ask = Mpremote.ask

    def garbled(self, *function, **arguments):
        ask(self, *function, **arguments)
        raise BoardError("was not understood")

    monkeypatch.setattr(Mpremote, "ask", garbled)
    assert ivota_board(board, "status", code=1)["error"] == "was not understood"
    board.wait_starts("friendly", "raw", "friendly")


def test_a_silent_board_is_asked_once(tree, monkeypatch):
    asked = []

    def silent(self, function, **arguments):
        asked.append(function)
        raise SilentError("has not answered")

    monkeypatch.setattr(Mpremote, "ask", silent)
    with pytest.raises(SilentError):
        status.status(Mpremote("/dev/ttyUSB0"), root=tree)
    assert asked == [on_board.feed_watchdog]


ESP32 = b"""
class Partition:
    RUNNING, BOOT, TYPE_APP = 1, 2, 0
    def __init__(self, which):
        self.which = which
    def info(self):
        label = "ota_0" if self.which == self.RUNNING else self.which
        label = "ota_1" if label == self.BOOT else label
        return (0, 16, 65536, 1572864, label, False)
    @classmethod
    def find(cls, kind):
        return [cls("ota_0"), cls("ota_1")]
"""


@board_with(files={"/lib/esp32.py": ESP32, "/lib/ivota_image.py": b"VERSION = '1.4'\n"})
def test_status_of_an_esp32_without_ivota(board, tree):
    found = ivota_board(board, "status")
    assert found["partitions"] == [
        {"label": "ota_0", "size": 1572864, "ota": True, "running": True, "boot": False},
        {"label": "ota_1", "size": 1572864, "ota": True, "running": False, "boot": True},
    ]
    assert found["package"] == "none" and found["device"] is None
    assert (found["version"], found["version_from"]) == ("1.4", "image")
    assert "partition  ota_0 1536 KiB running" in ivota_board(board, "status", answer=False)


PLAIN_ESP32 = (
    (ROOT / "tests_host/device/doubles/fakeesp32.py").read_bytes()
    + b"""
Partition = FakeEsp32(layout=PLAIN).Partition
Partition.find = lambda kind: [Partition("factory")]
"""
)


@board_with(files={"/lib/esp32.py": PLAIN_ESP32})
def test_status_of_an_esp32_without_ota_slots(board, tree):
    """The variant that most people flash: nothing there names the partition that boots."""
    assert ivota_board(board, "status")["partitions"] == [
        {"label": "factory", "size": 65536, "ota": False, "running": True, "boot": True},
    ]


@pytest.mark.slow
@board_with(files={"/lib/umqtt/robust.py": b"", "/data.txt": b"mine"})
def test_remove_takes_only_its_own(board, tree, config):
    mine = board.files()
    ivota_board(board, "install", "--config", config)
    assert ivota_board(board, "status")["package"] == "current"
    said = CliRunner().invoke(app, ["remove", "--port", board.port], input="n\n")
    assert said.exit_code == 1 and "/lib/ivota/config.mpy" in said.output
    assert set(INSTALLED) <= set(board.files())
    result = ivota_board(board, "remove", "--yes", "--keep-config")
    assert set(result["removed"]) == {*INSTALLED, "/lib/ivota"} - {"/ivota.json"}
    assert board.files() == sorted({*mine, "/ivota.json"} - {"/boot.py"})
    result = ivota_board(board, "remove", "--yes")
    assert result["removed"] == ["/ivota.json"]
    # Nothing to delete, so there is nothing to ask, either.
    said = ivota_board(board, "remove", answer=False)
    assert "ivota is not installed on the board" in said and "Delete these" not in said


@board_with(files={**RUNNING, "/firmware/app.bin": b"the application's own"})
def test_remove_in_a_shared_firmware_folder(board, tree):
    assert ivota_board(board, "install", "--force")["active"] == "/firmware/0.2.bin"
    ivota_board(board, "remove", "--yes")
    left = ["/boot.py", "/firmware/app.bin", "/firmware/notes.json", "/lib/umqtt/simple.py"]
    assert board.files() == left


MADE = {
    "/firmware/0.4.new": b"what runs",
    "/firmware/0.4.bin": b"the patch that made it",
    "/ivota-state.json": sealed({"active": "/firmware/0.4.new", "trial": {"version": "0.4"}}),
}


@board_with(files=MADE)
def test_remove_takes_what_a_patch_made_and_the_patch(board, tree):
    result = ivota_board(board, "remove", "--yes")
    assert {*MADE, "/firmware"} <= set(result["removed"])


def watching(board, *flags):
    """`ivota board watch` in a process of its own, for a minute and a half at most."""
    code = "from ivota_tools.cli.board import app; app()"
    command = [sys.executable, "-c", code, "watch", "--port", board.port, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = threading.Timer(90, process.kill)
    end.daemon = True
    end.start()
    return process


@board_with(files=RUNNING)
def test_watch_sends_nothing_and_ends_with_ctrl_c(board, tree):
    process = watching(board)
    shown = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "progress         state=downloading percent=" in shown[-1]
    assert "url=http://x/a b" in shown[-1]
    assert board.received == b"" and board.starts == ["friendly"]
    board.wait_printed("progress", start=len(board.printed))  # it has not been interrupted


@board_with(files=RUNNING)
def test_watch_from_the_start_as_json(board, tree):
    before = round(time.time(), 3)
    process = watching(board, "--reset", "--json")
    event = next(event for event in map(json.loads, process.stdout) if "percent" in event)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT_S)
    assert event["url"] == "http://x/a b" and before <= event["time"] <= time.time()
    board.wait_starts("friendly", "friendly")


@board_with()
def test_watch_says_once_that_nothing_comes(board, capsys):
    lines = serial_output.lines(board.port, silence_s=0.1)
    assert next(lines) is None
    board_views.show_line(None, as_json=False)
    assert "If the board waits at a prompt, use --reset" in capsys.readouterr().err
    Path(board.tty).write_bytes(b"\r")  # and it answers with a prompt
    assert next(lines) == ""
    lines.close()


def test_parsing_of_the_boards_lines():
    event = serial_output.parse('ivota: fail code=-4 message="the MD5 is \\"x\\"" version=0.2')
    assert event.name == "fail"
    assert event.fields == {"code": "-4", "message": 'the MD5 is \\"x\\"', "version": "0.2"}
    assert serial_output.parse("ivota: start").fields == {}
    assert serial_output.parse("ivota: wifi ssid=my net channel=1").fields["ssid"] == "my net"
    assert serial_output.parse("Traceback (most recent call last):") is None
    assert serial_output.printable("a\x1b[31m\tü") == "a\\x1b[31m\\x09ü"


@pytest.mark.slow
@board_with(interpreter=32)
def test_this_checkout_on_a_board(board, config):
    """The real package, on an interpreter with a real board's sizes: it starts and says so."""
    ivota_board(board, "install", "--config", config, "--no-reset")
    umqtt = toolchain.umqtt() / "umqtt" / "simple.py"
    Mpremote(board.port).run("fs", "cp", str(umqtt), ":/lib/umqtt/simple.py")
    process = watching(board, "--reset", "--json")
    events = map(json.loads, process.stdout)
    event = next(event for event in events if event.get("event") == "running")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT_S)
    assert event["version"] == "0.1"
    found = ivota_board(board, "status")
    assert found["package"] == "current"
    assert (found["version"], found["version_from"]) == ("0.1", "configuration")
    ivota_board(board, "remove", "--yes")
    assert board.files() == ["/lib/umqtt/simple.py"]


# What a user can have done wrong


def test_no_such_port(tree):
    with pytest.raises(
        BoardError, match="/dev/ttyNONE does not exist. Check that the board is plugged in"
    ):
        Mpremote("/dev/ttyNONE").run("exec", "1")


def test_no_board_and_several_boards(monkeypatch):
    class Info:
        def __init__(self, device):
            self.device, self.vid, self.description = device, 1, "CP2102"

        def __lt__(self, other):
            return self.device < other.device

    from serial.tools import list_ports

    found = []
    monkeypatch.setattr(list_ports, "comports", lambda: found)
    with pytest.raises(BoardError, match="no board found on USB.*cable"):
        serial_ports.find_port(None)
    found.append(Info("/dev/ttyUSB1"))
    assert serial_ports.find_port(None) == "/dev/ttyUSB1"
    with pytest.raises(BoardError, match="--port is empty"):
        serial_ports.find_port("")
    found.append(Info("/dev/ttyUSB0"))
    with pytest.raises(BoardError, match=r"ttyUSB0 \(CP2102\), /dev/ttyUSB1.*--port"):
        serial_ports.find_port(None)
    assert serial_ports.find_port("COM3") == "COM3"


@board_with()
def test_no_permission(board, monkeypatch):
    monkeypatch.setattr(serial_ports.os, "access", lambda *_: False)
    with pytest.raises(BoardError, match=r"no permission.*sudo usermod -aG \w+ \$USER"):
        Mpremote(board.port).run("exec", "1")


@board_with(files=RUNNING)
def test_port_in_use(board, tree):
    process = watching(board)
    process.stdout.readline()
    try:
        result = ivota_board(board, "status", code=1)
        assert f"{board.port} is in use by " in result["error"]
        assert f"(process {process.pid})" in result["error"]
        second = watching(board)
        assert f"(process {process.pid})" in " ".join(
            second.communicate(timeout=WAIT_S)[1].split()
        )
        assert second.returncode == 1
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT_S)


def test_mpremote_missing(monkeypatch):
    monkeypatch.setattr(serial_ports.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BoardError, match="python -m pip install mpremote"):
        serial_ports.find_port("/dev/ttyUSB0")


@board_with(files={"/main.py": b"import time\ntry:\n print('running')\n"
                   b" while 1: time.sleep(1)\nexcept KeyboardInterrupt:\n"
                   b" while 1: time.sleep_ms(1) or None\n"})  # fmt: skip
def test_a_board_that_does_not_answer(board, tree):
    # Two ctrl-C would stop it; mpremote sends one, and then waits without limit on such a port.
    with pytest.raises(BoardError, match="has not answered for 2 s. Press its reset button"):
        Mpremote(board.port, quiet_s=2).run("exec", "1")


def test_what_mpremote_complains_of_is_said_with_what_to_do():
    error = Mpremote("/dev/ttyUSB0")._error("", "…TransportError: could not enter raw repl\n")
    assert "no MicroPython responds at" in str(error)
    error = Mpremote("/dev/ttyUSB0")._error("", "OSError: [Errno 5] Input/output error\n")
    assert "lost the connection to the board" in str(error)


@board_with()
def test_the_boards_own_error_is_passed_on(board):
    with pytest.raises(BoardError, match="mpremote failed: ZeroDivisionError"):
        Mpremote(board.port).run("exec", "1/0")


def noisy(text):
    """What an application's thread or a driver does to an answer: in front of it, or into it."""
    print(text, end="")
    return [1, 2]


@board_with()
def test_an_answer_amid_other_output(board, monkeypatch):
    monkeypatch.setattr(on_board, "noisy", noisy, raising=False)
    remote = Mpremote(board.port)
    assert remote.ask(on_board.load, path="/none") is None
    for text in ("noise\n", "noise", "noise\nnoise "):
        assert remote.ask(noisy, text=text) == [1, 2]
    with pytest.raises(
        BoardError, match="invalid response: .*printed into the response: try again"
    ):
        remote.ask(noisy, text="ivota-answer: [1, noi\n")
    # What the application has called `json` is not in the way.
    remote.run("exec", "json = None")
    assert remote.ask(on_board.is_bundle, path="/boot.py") is False
