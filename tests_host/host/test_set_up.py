"""What `make` sets an environment up with: pip's own work shown on a terminal, and no word else.

The pip is the real one, and what it installs are wheels made here, so that no network is needed.
"""

import ast
import os
import pty
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from ivota_workshop import set_up

SCRIPT = Path(set_up.__file__)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """`one`, which needs `two`."""
    folder = tmp_path_factory.mktemp("wheels")
    for name, needs in (("one", "Requires-Dist: two\n"), ("two", "")):
        about = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(
                f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}"
            )
            wheel.writestr(
                f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{about}/RECORD", "")
    return folder


def command(environment, wheels, *what):
    return [sys.executable, SCRIPT, environment, "--no-index", "--find-links", wheels, *what]


def on_a_terminal(words):
    """The exit code, and all that a terminal was given."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    return process.returncode, shown.decode()


def test_an_environment_is_made_and_filled_with_a_line_on_a_terminal(tmp_path, wheels):
    code, shown = on_a_terminal(command(tmp_path / "env", wheels, "one"))
    assert code == 0
    assert "making /" in shown
    assert "collecting packages: " in shown or "installing " in shown
    assert shown.endswith("\r\x1b[K")  # nothing is left of it
    subprocess.run([tmp_path / "env/bin/python", "-c", "import one, two"], check=True)


def test_off_a_terminal_it_says_nothing(tmp_path, wheels):
    done = subprocess.run(
        command(tmp_path / "env", wheels, "one"), capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_ctrl_c_leaves_no_traceback_and_what_can_be_gone_on_from(tmp_path, wheels):
    words = command(tmp_path / "env", wheels, "one")
    with subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True) as process:
        while not (tmp_path / "env").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read().decode()
    assert process.returncode == 130
    assert said == "set-up: stopped; the same command goes on from here\n"
    subprocess.run(words, check=True)
    subprocess.run([tmp_path / "env/bin/python", "-c", "import one, two"], check=True)


def test_half_an_environment_is_made_again_and_a_whole_one_left_alone(tmp_path, wheels):
    env = tmp_path / "env"
    # As an interrupted set-up leaves it: a Python, and no pip yet.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    subprocess.run(command(env, wheels, "two"), check=True)
    made = (env / "pyvenv.cfg").stat().st_mtime_ns
    subprocess.run(command(env, wheels, "one"), check=True)
    assert (env / "pyvenv.cfg").stat().st_mtime_ns == made


def test_what_fails_says_why_and_what_to_do(tmp_path, wheels):
    done = subprocess.run(
        command(tmp_path / "env", wheels, "three"), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "No matching distribution found for three" in done.stderr
    assert "goes on from here" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_python_without_venv_says_what_to_install(tmp_path, wheels):
    # As on Debian without python3-venv: the module fails.
    (tmp_path / "venv.py").write_text("raise SystemExit('ensurepip is not available')")
    done = subprocess.run(
        command(tmp_path / "env", wheels, "one"),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "ensurepip is not available" in done.stderr
    assert "sudo apt install python3-venv" in done.stderr


def test_a_python_that_is_too_old_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(set_up.sys, "version_info", (3, 9, 18, "final", 0))
    with pytest.raises(set_up.Trouble, match=r"is Python 3\.9, it takes 3\.10 or newer: name one"):
        set_up.make(tmp_path / "env")
    # Which must get so far as to say it.
    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))


def test_how_far_it_is():
    assert set_up.how_far([], 0) == "starting pip"
    lines = ["Obtaining file:///x", "Collecting a==1 (from b)", "  Downloading a-1.whl (1 kB)"]
    assert set_up.how_far(lines, 0) == "collecting packages: 1, a==1"
    lines.append("WARNING: Retrying (Retry(total=4)) after connection broken")
    assert "pip tries again" in set_up.how_far(lines, 0)
    lines.append("Installing collected packages: a, b, c, d")
    assert set_up.how_far(lines, 1).endswith(" 1 of 4 packages")
    # What was there in another version is counted twice for a moment.
    assert set_up.how_far(lines, 5).endswith(" 4 of 4 packages")
