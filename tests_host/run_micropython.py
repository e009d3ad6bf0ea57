"""Runs device tests under MicroPython.

    micropython -X heapsize=8M tests_host/run_micropython.py [file…]

Without files, all of tests_host/device/test_*.py, each with modules of its own. One line a test:
PASS, FAIL (after its traceback) or SKIP with the listed reason; the last line counts them. Exit 1
when one failed. IVOTA_UMQTT names the folder that holds umqtt/simple.py.
"""

import gc
import os
import sys
import time

HERE = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
ROOT = HERE.rsplit("/", 1)[0] if "/" in HERE else HERE + "/.."
DEVICE = HERE + "/device"
# The preview goes by a name of its own: it is built otherwise than the other with 64 bits.
WHERE = "unix64" if sys.maxsize > 1 << 32 else "unix32"
if "preview" in sys.implementation.version:
    WHERE = "preview"


def test_names(module, path):
    """Names of the module's tests, in the order of their lines."""
    names = [name for name in dir(module) if name.startswith("test_")]
    order = {}
    with open(path) as file:
        for number, line in enumerate(file):
            if line.startswith("def test_"):
                order[line[4 : line.index("(")]] = number
    return sorted(names, key=lambda name: (order.get(name, 1 << 20), name))


def reason_to_skip(module, name):
    places, reason = getattr(module, "SKIP_ON", {}).get(name, ("", ""))
    return reason if WHERE in places.split() else None


def run_file(path, counts):
    label = path.rsplit("/", 1)[-1][:-3]
    before = list(sys.modules)
    try:
        module = __import__(label)
        names = test_names(module, path)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        sys.print_exception(error)
        print("FAIL %s::import" % label)
        counts[1] += 1
        return
    for name in names:
        reason = reason_to_skip(module, name)
        if reason is not None:
            print("SKIP %s::%s: %s" % (label, name, reason))
            counts[2] += 1
            continue
        start = time.ticks_ms()
        try:
            getattr(module, name)()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            sys.print_exception(error)
            print("FAIL %s::%s" % (label, name))
            counts[1] += 1
            continue
        took = time.ticks_diff(time.ticks_ms(), start)
        print("PASS %s::%s %d ms" % (label, name, took))
        counts[0] += 1
        gc.collect()
    for name in list(sys.modules):
        if name not in before:
            del sys.modules[name]
    gc.collect()


def main(files):
    sys.path[:] = ["", DEVICE, ROOT + "/lib", ROOT, ".frozen"]
    if os.getenv("IVOTA_UMQTT"):
        sys.path.append(os.getenv("IVOTA_UMQTT"))
    if not files:
        names = sorted(name for name in os.listdir(DEVICE) if name.startswith("test_"))
        files = [DEVICE + "/" + name for name in names if name.endswith(".py")]
    counts = [0, 0, 0]
    for path in files:
        run_file(path, counts)
    print("%d passed, %d failed, %d skipped" % tuple(counts))
    sys.exit(1 if counts[1] else 0)


main(sys.argv[1:])
