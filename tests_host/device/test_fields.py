"""What a target and a firmware have is what the docstring of their class lists."""

import io

from signed import firmware
from targets import STORES, push_of
from test_signed_update import Board

from ivota import firmware_offer, target_base
from ivota.firmware_offer import Push
from support import data_of


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
    data = data_of(20000)
    found = []
    for Store in STORES:
        with Store() as store:
            download = store.target()
            download.open(push_of(data))
            target = download.target
            target.receive(io.BytesIO(data), 10)
            fields = {name for name in target.__dict__ if name[0] != "_"} | {"slot", "receiver"}
            for name in fields:
                getattr(target, name)
            found.append(fields)
            target.close()
    fields = {name for name in listed(target_base, "Target") if "(" not in name}
    assert found == [fields | {"file"}, fields]


def test_a_firmware():
    with Board(firmware("good")) as board:
        made = board.start(on_firmware=board)
        board.push()
        board.spin(20, lambda: board.got)
        push = board.got[0]
        assert set(push.__dict__) == listed(firmware_offer, "Push")
        assert made.state.sequence == 0 and Push.sequence == 0
