"""Start like a board: mount the file system at /, run boot.py and main.py, then the REPL."""

# Arguments: reset cause, unique id, folder — or those of _sim_mount, for a flash.

import binascii
import gc
import os
import sys
import time

import machine
import vfs


def start():
    machine._libc.func("i", b"prctl", "ii")(1, 9)  # no board outlives its host process
    args = sys.argv[1:]
    machine._cause = int(args[0])
    machine._id = binascii.unhexlify(args[1])
    place = args[2:]
    try:
        if len(place) == 1:
            from _sim_host_folder import Folder

            machine._libc.func("i", b"chdir", "s")(place[0])  # the base of relative paths
            system = Folder(place[0])
            vfs.umount("/")
            vfs.mount(system, "/")
        else:
            import _sim_mount

            _sim_mount.mount(place)
            del sys.modules["_sim_mount"]
    except OSError as e:
        print("sim: no file system:", e)
        return False
    sys.argv.clear()
    sys.path[:] = "", ".frozen", "/lib"
    return True


# True unless it raised. If boot.py raises, today's ports do not run main.py:
# ports/esp32/main.c, mp_task, which also has the words for a soft reset.
def _run(path):
    import __main__

    try:
        os.stat(path)
    except OSError:
        return True
    try:
        execfile(path, __main__.__dict__)  # noqa: F821 - MicroPython's own
        return True
    except SystemExit:
        print("MPY: soft reboot")
        machine._libc.func("v", b"_exit", "i")(machine.SOFT_RESET + 80)
    except BaseException as e:
        sys.print_exception(e)


mount = start()
del start  # a board has no such thing in its heap
gc.collect()
print("sim: heap %d %d" % (gc.mem_alloc(), gc.mem_free()))
if mount and _run("/boot.py"):
    _run("/main.py")
print("REPL")
while True:
    time.sleep(1)
