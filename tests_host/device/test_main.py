"""main.py: whatever a new version dies of, the old one or the factory package comes back.

The file itself is executed, between a real bundle mounted at /app and a factory package in a
folder; both hold an `ivota` that tells which one ran.
"""

import os
import sys

import vfs
from bundles import bundle

import bundlefs
from support import installed, raises, read_file, tmp_dir, write_file

MAIN = __file__.rsplit("/", 1)[0] + "/../../main.py"

AGENT = """
import ran
def run():
    ran.names.append(%r)
    %s
"""
STATE = """
class State:
    trial = %r
def load():
    return State
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
        if name.split(".")[0] == "ivota":
            del sys.modules[name]


def start(does="pass", trial=None, mounted=True, factory_does="pass", broken=False):
    """Execute main.py; which agents ran. `does` is what the bundle's agent ends in."""
    path = list(sys.path)
    ran = Ran()
    files = [
        ("app.py", b""),
        ("lib/ivota/__init__.py", b""),
        ("lib/ivota/agent.py", b"junk(" if broken else (AGENT % ("bundle", does)).encode()),
        ("lib/ivota/state.py", (STATE % (trial,)).encode()),
    ]
    with tmp_dir() as folder:
        os.mkdir(folder + "/ivota")
        write_file(folder + "/ivota/__init__.py", b"")
        write_file(folder + "/ivota/agent.py", (AGENT % ("factory", factory_does)).encode())
        write_file(folder + "/ivota/state.py", (STATE % (trial,)).encode())
        write_file(folder + "/b.bin", bundle(files))
        sys.path.insert(0, folder)
        if mounted:
            vfs.mount(bundlefs.Bundle(folder + "/b.bin"), "/app")
            sys.path[:0] = ["/app", "/app/lib"]
        forget()
        try:
            with installed("machine", FakeMachine()), installed("ran", ran):
                exec(read_file(MAIN).decode(), {"__name__": "main"})
        except Reset:
            ran.names.append("reset")
        finally:
            forget()
            sys.path[:] = path
            if mounted:
                vfs.umount("/app")
    return ran.names


def test_the_bundles_agent_runs():
    assert start() == ["bundle"]


def test_without_a_bundle_the_factorys():
    assert start(mounted=False) == ["factory"]


def test_a_version_that_dies_in_its_trial_resets_the_board():
    for error in ("ValueError('x')", "ImportError('x')", "MemoryError()", "OSError(5)"):
        assert start("raise " + error, trial={"version": "0.2"}) == ["bundle", "reset"]


def test_an_agent_that_cannot_be_imported_in_its_trial():
    assert start(broken=True, trial={"version": "0.2"}) == ["reset"]


def test_a_confirmed_version_that_cannot_start_leaves_its_place():
    assert start("raise ImportError('x')") == ["bundle", "factory"]
    assert start(broken=True) == ["factory"]


def test_an_error_of_the_factory_package_is_shown():
    with raises(ValueError, "hopeless"):
        start(mounted=False, factory_does="raise ValueError('hopeless')")
    with raises(ValueError, "hopeless"):
        start("raise ImportError('x')", factory_does="raise ValueError('hopeless')")
