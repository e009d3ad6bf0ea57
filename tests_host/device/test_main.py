"""main.py: whatever a new version dies of, the old one or the factory package comes back.

The file itself is executed, between a real bundle mounted at /app and a factory package in a
folder; both hold an `ivota` that tells which one ran.
"""

import os
import sys

import vfs
from bundles import bundle, sealed

from ivota import json_file
from support import installed, raises, read_file, tmp_dir, write_file

HERE = __file__.rsplit("/", 1)[0]
MAIN = HERE + "/../../main.py"
BUNDLEFS = HERE + "/../../lib/bundlefs.py"

AGENT = """
import ran
def run():
    ran.names.append(%r)
    %s
"""


class Reset(Exception):
    """The board restarts."""


class FakeMachine:
    def reset(self):
        raise Reset


class Ran:
    def __init__(self):
        self.names = []


def forget():
    for name in list(sys.modules):
        if name.split(".")[0] in ("ivota", "bundlefs"):
            del sys.modules[name]


def agent_of(name, does):
    """The source of one that ends in `does`; None has a syntax error."""
    return b"junk(" if does is None else (AGENT % (name, does)).encode()


def bundle_of(name, does, more=()):
    files = [
        ("app.py", b""),
        ("lib/ivota/__init__.py", b""),
        ("lib/ivota/agent.py", agent_of(name, does)),
        ("lib/ivota/state.py", b"raise ImportError"),  # must not be needed
    ]
    return bundle(sorted(files + list(more)))


def start(
    does="pass",
    trial=None,
    mounted=True,
    factory_does="pass",
    previous=None,
    state=None,
    sum=None,
    more=(),
    frozen=False,
):
    """Execute main.py; which agents ran. `does` is what the bundle's agent ends in.

    `more` are files of the bundle, `previous` is what `does` is for the bundle before, `state` the
    state file's bytes. `frozen`: the firmware has a bundlefs of its own, and the one on flash is
    damaged.
    """
    path = list(sys.path)
    ran = Ran()
    with tmp_dir() as folder:
        os.mkdir(folder + "/ivota")
        write_file(folder + "/ivota/__init__.py", b"")
        write_file(folder + "/ivota/agent.py", agent_of("factory", factory_does))
        write_file(folder + "/a.bin", bundle_of("bundle", does, more))
        kept = {"active": folder + "/a.bin", "trial": trial}
        if previous:
            write_file(folder + "/b.bin", bundle_of("previous", previous))
            kept["previous"] = folder + "/b.bin"
            kept["sums"] = {folder + "/b.bin": sum}
        json_file.save(folder + "/state", kept)
        source = read_file(BUNDLEFS)
        assert source.count(b'"/ivota-state.json"') == 1
        source = source.replace(b'"/ivota-state.json"', repr(folder + "/state").encode())
        write_file(folder + "/bundlefs.py", sealed(source))
        if state is not None:
            write_file(folder + "/state", state)
        sys.path.insert(0, folder)
        forget()
        if mounted:
            from bundlefs import start as mount

            mount(folder + "/a.bin")
        source = read_file(MAIN).decode()
        assert '"/ivota-state.json"' in source
        source = source.replace('"/ivota-state.json"', repr(folder + "/state"))
        if frozen:
            os.mkdir(folder + "/frozen")
            write_file(folder + "/frozen/bundlefs.py", read_file(folder + "/bundlefs.py"))
            write_file(folder + "/bundlefs.py", b"raise SystemExit")
            assert '".frozen"' in source
            source = source.replace('".frozen"', repr(folder + "/frozen"))
        try:
            with installed("machine", FakeMachine()), installed("ran", ran):
                exec(source, {"__name__": "main"})
        except Reset:
            ran.names.append("reset")
        finally:
            ran.trial = (json_file.load(folder + "/state") or {}).get("trial")
            forget()
            if "/app" in sys.path:
                vfs.umount("/app")
            sys.path[:] = path
    Ran.trial = ran.trial
    return ran.names


def test_the_bundles_agent_runs():
    assert start() == ["bundle"]


def test_without_a_bundle_the_factorys():
    assert start(mounted=False) == ["factory"]


def test_a_version_that_dies_in_its_trial_resets_the_board():
    for error in ("ValueError('x')", "ImportError('x')", "MemoryError()", "OSError(5)"):
        assert start("raise " + error, trial={"version": "0.2"}) == ["bundle", "reset"]
        # On record, for boot.py counts no other hard reset as a crash.
        assert Ran.trial["died"].startswith(error.split("(")[0])


def test_the_firmwares_own_bundlefs_comes_first():
    assert start("raise OSError", trial={"version": "0.2"}, frozen=True) == ["bundle", "reset"]
    assert Ran.trial["died"].startswith("OSError")
    assert start("raise OSError", previous="pass", frozen=True) == ["bundle", "previous"]


def test_what_is_on_record_stays():
    start("raise ValueError", trial={"version": "0.2", "died": "KeyError x"})
    assert Ran.trial["died"] == "KeyError x"


def test_an_agent_that_cannot_be_imported_in_its_trial():
    assert start(None, trial={"version": "0.2"}) == ["reset"]
    assert Ran.trial["died"].startswith("SyntaxError")


def test_a_module_of_the_bundle_in_place_of_the_interpreters_own():
    own = [("json.py", b"x = 1")]
    does = "import json; json.loads"
    known = sys.modules.pop("json", None)
    try:
        assert start(does, trial={"version": "0.2"}, more=own) == ["bundle", "reset"]
        assert "loads" in Ran.trial["died"]
        sys.modules.pop("json", None)
        assert start(does, previous="pass", more=own) == ["bundle", "previous"]
    finally:
        sys.modules.pop("json", None)
        if known:
            sys.modules["json"] = known


def test_a_confirmed_version_that_cannot_start_leaves_its_place():
    assert start("raise ImportError('x')") == ["bundle", "factory"]
    assert start(None) == ["factory"]


def test_the_one_before_comes_first():
    assert start(None, previous="pass") == ["previous"]
    assert start("raise OSError(5)", previous="pass") == ["bundle", "previous"]
    assert start(None, previous="raise ImportError('x')") == ["previous", "factory"]


def test_the_one_before_is_damaged():
    assert start(None, previous="pass", sum="5" * 32) == ["factory"]


def test_a_state_that_cannot_be_read():
    for junk in (b"", b"{", b"\xff" * 500, b"[]", b"5", b"[" * 5000):
        assert start(None, state=junk, previous="pass") == ["factory"]


def test_an_error_of_the_factory_package_is_shown():
    with raises(ValueError, "hopeless"):
        start(mounted=False, factory_does="raise ValueError('hopeless')")
    for previous in (None, "raise ImportError('x')"):
        with raises(ValueError, "hopeless"):
            start(None, previous=previous, factory_does="raise ValueError('hopeless')")
