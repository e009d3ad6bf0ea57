"""What a target and a firmware have is what the docstring of their class lists."""

from signed import firmware
from targets import Slots, push_of
from test_signed_update import Board

from ivota import download_target, once
from ivota import push as push_module
from ivota.push import Push
from support import data_of, tmp_dir


def listed(module, name):
    """The fields in the docstring of a class: in lines of their own, with a colon."""
    found = set()
    with open(module.__file__) as file:
        inside = False
        for line in file:
            if line.startswith("class "):
                inside = line.startswith("class " + name + ":")
            word = line.partition(":")[0]
            if inside and word != line and word[:4] == "    " and " " not in word[4:]:
                found.add(word[4:])
            if inside and line.strip() == '"""':
                break
    return found


def test_a_target():
    push = push_of(data_of(20000))
    found = {"kind", "phase", "slot", "file", "position"}  # what each has from its class
    for name in found:
        getattr(download_target.Target, name)
    with tmp_dir() as path:
        target = download_target.Target()
        download_target.open_target(target, path + "/0.2", push)
        target.file.close()
        found |= set(target.__dict__)
    with Slots() as store:
        target = download_target.Target()
        ota_slots = once("ota_slots")
        ota_slots.find(target, store.path + "/0.2", push)
        assert target.kind is None
        ota_slots.begin(target, push, ())
        found |= set(target.__dict__)
    assert found == listed(download_target, "Target")


def test_a_firmware():
    with Board(firmware("good")) as board:
        made = board.start(on_firmware=board)
        board.push()
        board.spin(20, lambda: board.got)
        push = board.got[0]
        assert set(push.__dict__) == listed(push_module, "Push")
        assert made.state.sequence == 0 and Push.sequence == 0
