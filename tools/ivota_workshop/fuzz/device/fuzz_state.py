"""The state file: read by the package and by boot.py, whatever is in it."""

import room

from ivota import failure_log, json_file, state, state_writer

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
    if room.ram:  # boot.py does it while the heap is empty yet
        import bundlefs

        bundlefs._STATE = path
        started = bundlefs.load()
        if whole is not None:
            started.pop("crc", None)
            assert started == whole
        else:
            assert not isinstance(started, dict) or started == {}
    count = failure_log.count(found, MD5)
    assert type(count) is int
    failure_log.reason(found, MD5, "0.2")
    try:
        failure_log.post(found, "{}", MD5, "why")
    except MemoryError:
        return "MemoryError"
    except RuntimeError:  # nested too deep to be written, which no message brings about
        return "too deep"
    except UnicodeError:  # CPython's, of half a surrogate pair, which no message brings either
        return "no text"
    assert found.rejected[-1] == [MD5, "why"] and len(found.rejected) <= 4
    with open(path, "rb") as file:
        if b"inf" in file.read():  # which no message brings as far as here either
            return "no number"
    # What was written once is read and written again as it is: only texts are keys by then.
    again = state.load(path)
    assert again.outbox == "{}" and again.rejected[-1] == [MD5, "why"]
    state_writer.save(again)
    last = state.load(path)
    for key in KINDS:
        assert getattr(last, key) == getattr(again, key), key
    room.inside(path, path + "~")
    return "damaged" if whole is None else "whole"
