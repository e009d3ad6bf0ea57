"""Give inputs from a folder to a check, within this interpreter's heap.

micropython -X heapsize=32K run_corpus.py NAME FOLDER FLASH < NAMES

Each line of NAMES is the name of an input: a list of them would need part of the heap. It prints a
line for each with its result. `FLASH` is an empty folder for the check's own files.
"""

import gc
import os
import sys

import room


def main(name, folder, flash):
    room.FOLDER = flash
    check = __import__("fuzz_" + name).check
    known = os.listdir(flash)
    gc.collect()
    for line in sys.stdin:
        file = line.rstrip("\n")
        try:
            with open(folder + "/" + file, "rb") as opened:
                data = opened.read()
            outcome = check(data)
        except MemoryError:
            outcome = "MemoryError"
        data = None
        clear(flash, known)
        gc.collect()
        print("%s: %s" % (file, outcome))


def clear(flash, known):
    """Delete everything that was not there before."""
    for entry in list(os.ilistdir(flash)):
        path = flash + "/" + entry[0]
        if entry[1] & 0x4000:
            clear(path, ())
            os.rmdir(path)
        elif entry[0] not in known:
            os.remove(path)


main(*sys.argv[1:])
