"""Starts as a board does: flash mounted at /, boot.py, main.py, and then the REPL."""

# Arguments: reset cause, unique id, folder — or, for a flash, image, state file, blocks, the file
# that its operations are written to or "", and for a FAT image, state file, blocks, sector size.
# For an ESP32's flash "+", image, state file, blocks, blocks of a slot, and the rest as before.

import gc
import os
import sys
import time

import machine
import vfs


def _mount(args):
    if args[0] == "+":
        import _sim_boot

        return _sim_boot.mount(args)
    fat = args[4:]
    if fat:
        import _sim_fat  # now: afterwards the board's own file system is all there is
    if len(args) == 1:
        import _sim_host

        machine._libc.func("i", "chdir", "s")(args[0])  # what relative paths start from
        system = _sim_host.Folder(args[0])
    else:
        import _sim_flash

        kind = None
        if args[3]:
            import _sim_record

            kind = _sim_record.Recorder
        flash = _sim_flash.attach(args[0], args[1], int(args[2]), 0, kind)
        if kind:
            flash.record(args[3])
        system = vfs.VfsLfs2(flash)
    vfs.umount("/")
    vfs.mount(system, "/")
    if fat:
        _sim_fat.mount(fat[0], fat[1], int(fat[2]), int(fat[3]))


def _start():
    machine._libc.func("i", "prctl", "ii")(1, 9)  # no board outlives the host that watches over it
    args = sys.argv[1:]
    machine._cause = int(args[0])
    machine._id = args[1].encode()
    try:
        _mount(args[2:])  # noqa: F821 - it is deleted only afterwards
    except OSError as e:
        print("sim: no file system:", e)
        return False
    sys.argv.clear()
    sys.path[:] = "", ".frozen", "/lib"
    return True


# True unless it raised. An exception in boot.py keeps today's ports from running main.py.
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
        machine._libc.func("v", "_exit", "i")(machine.SOFT_RESET + 80)
    except BaseException as e:
        sys.print_exception(e)


mounted = _start()
del _start, _mount  # a board has no such thing in its heap
gc.collect()
print("sim: heap", gc.mem_alloc(), gc.mem_free())
if mounted and _run("/boot.py"):
    _run("/main.py")
print("REPL")
while True:
    time.sleep(1)
