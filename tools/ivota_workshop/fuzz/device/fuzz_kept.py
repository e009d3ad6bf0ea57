"""Read /ivota.json and its kept copy, in any state of the flash: one is used, or none.

The input is the first file, a line of dashes, and the second.
"""

import room

from ivota import config, config_fallback


def check(data):
    mine, mark, copy = data.partition(b"\n---\n")
    paths = (room.FOLDER + "/ivota.json", room.FOLDER + "/ivota-kept.json")
    names = ("ivota.json", "ivota-kept.json")
    if mine:
        room.put(names[0], mine)
    if mark:
        room.put(names[1], copy)
    config_fallback.GIVEN, config_fallback.KEPT = paths
    config_fallback.BUNDLE = room.FOLDER + "/none.json"
    said = []
    try:
        found, watch = config_fallback.usable(lambda level, event, **fields: said.append(event))
    except ValueError:
        # A complete and valid file is never discarded.
        assert not usable(paths[0])
        return "none"
    except MemoryError:
        return "MemoryError"
    assert found and all(path in paths for path in found)
    if watch is None and len(found) == 1 and not said:
        # The copy is of this very file, which was valid when the copy was made.
        return "used"
    for path in found:
        assert config.check(config_fallback.read(path))["product_id"]
    if watch:
        assert 0 <= watch[1]
    room.inside(*paths)
    return "used"


def usable(path):
    try:
        return config.check(config_fallback.read(path))
    except ValueError:
        return None
