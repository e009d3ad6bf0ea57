"""Read a state file of any content, with the package and with boot.py."""

import room

from ivota import failure_record, json_file, result_report, state

KINDS = {
    "active": str,
    "previous": str,
    "outbox": str,
    "trial": dict,
    "ended": dict,
    "sums": dict,
    "rejected": list,
    "failures": list,
    "tries": list,
    "sequence": int,
    "starts": int,
    "power_boots": int,
    "worn_until": int,
    "armed": int,
}
MD5 = "0" * 32


def check(data):
    path = room.put("state.json", data)
    whole = json_file.load(path, True)
    found = state.load(path)
    for key in KINDS:
        value = getattr(found, key)
        assert type(value) is KINDS[key] or value is None and KINDS[key] not in (int, list), key
    if room.ram:  # boot.py reads it while the heap is still empty
        import bundlefs

        bundlefs._STATE = path
        started = bundlefs.load()
        if whole is not None:
            started.pop("crc", None)
            assert started == whole
        else:
            assert not isinstance(started, dict) or started == {}
    count = failure_record.count(found, MD5)
    assert type(count) is int
    failure_record.reason(found, MD5, "0.2")
    try:
        result_report.post(found, "{}", MD5, "why")
    except MemoryError:
        return "MemoryError"
    except RuntimeError:  # nested too deeply to be written; no message can cause this
        return "too deep"
    except UnicodeError:  # CPython's, for half a surrogate pair; no message can cause this either
        return "no text"
    assert found.rejected[-1] == [MD5, "why"] and len(found.rejected) <= 4
    with open(path, "rb") as file:
        if b"inf" in file.read():  # no message can bring this so far either
            return "no number"
    # A written file reads and writes identically: all its keys are strings by then.
    again = state.load(path)
    assert again.outbox == "{}" and again.rejected[-1] == [MD5, "why"]
    state.save(again)
    last = state.load(path)
    for key in KINDS:
        assert getattr(last, key) == getattr(again, key), key
    room.inside(path, path + "~")
    return "damaged" if whole is None else "whole"
