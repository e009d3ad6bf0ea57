"""The board's side of rawrepl.py: MicroPython's raw REPL, spoken by unix MicroPython itself.

Run as `micropython rawrepl_board.py IMAGE BLOCKS MODE PASTE CAUSE STATE SLOTS READY`; standard
input and output are the serial line. The file system is the littlefs in IMAGE, mounted in place of
the host's. MODE is "friendly" (boot.py, main.py, then the prompt) or "raw" (as after a soft reset
out of the raw REPL: boot.py, not main.py). PASTE is 1 where raw-paste mode is offered, 0 where it
is refused. CAUSE is the reset cause. With SLOTS the flash is an ESP32's with the state file STATE,
as the simulator has it. READY is a file that is no longer empty once a ctrl-C can be taken. The
network is the host's.

The process ends with one of the EXIT codes; rawrepl.py starts the next one. What a board's
terminal driver does with ctrl-C, rawrepl.py does with SIGINT. The protocol is described in
"The MicroPython interactive interpreter mode" of MicroPython's documentation.
"""

import array
import os
import sys

import ffi
import vfs

EXIT_HARD, EXIT_SOFT_RAW, EXIT_SOFT_FRIENDLY = 90, 91, 92

RAW_BANNER = "raw REPL; CTRL-B to exit\r\n"
WINDOW = 128  # half of the 256 bytes of input that a board buffers


# A littlefs' blocks in one file of the host. writeblocks without an offset erases first.
class Image:
    def __init__(self, path, blocks):
        self.file = open(path, "r+b")
        self.blocks = blocks

    def readblocks(self, number, buffer, offset=0):
        self.file.seek(number * 4096 + offset)
        self.file.readinto(buffer)

    def writeblocks(self, number, buffer, offset=0):
        self.file.seek(number * 4096 + offset)
        self.file.write(buffer)

    def ioctl(self, operation, argument):
        if operation == 4:
            return self.blocks
        if operation == 5:
            return 4096
        if operation == 6:
            return 0


# A board's `machine`, as far as boot.py, main.py and `ivota board` use it.
class Machine:
    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

    def __init__(self, leave, cause):
        self.calls = []
        self._leave = leave
        self._cause = cause
        self._libc = ffi.open(None)  # for the simulator's boot loader, too
        self._setitimer = self._libc.func("i", "setitimer", "ipp")

    def reset(self):
        self._leave(EXIT_HARD)

    def soft_reset(self):
        self._leave(EXIT_SOFT_FRIENDLY)

    def reset_cause(self):
        return self._cause

    def unique_id(self):
        return b"\x24\x6f\x28\xae\x01\xfc"

    # `machine.calls` shows watchdogs and timers to a test. A watchdog bites: it is the process's
    # alarm. A timer is called once; one that feeds a watchdog ends the alarm, as if for ever.
    def WDT(self, id=0, timeout=5000):
        self.calls.append(("WDT", timeout))
        self._timeout = timeout
        self._alarm(timeout)
        return self

    def feed(self):
        if self.calls[-1:] != [("feed",)]:
            self.calls.append(("feed",))
        self._alarm(self._timeout)

    def Timer(self, id=-1, period=0, callback=None):
        self.calls.append(("Timer", period))
        callback(None)
        self._alarm(0)
        return self

    def deinit(self):
        self.calls.append(("deinit",))

    def _alarm(self, ms):
        # struct itimerval: no interval, then seconds and microseconds
        times = array.array("l", (0, 0, ms // 1000, ms % 1000 * 1000))
        self._setitimer(0, times, None)


def leave_function():
    # No finaliser may run: a board that resets writes nothing any more.
    return ffi.open(None).func("v", "_exit", "i")


class Repl:
    def __init__(self, leave, paste):
        self.leave = leave
        self.paste = paste
        self.names = {"__name__": "__main__"}
        self.byte = bytearray(1)

    # One byte of input; a ctrl-C comes as the exception that SIGINT raises. The line's end is
    # the end of the board.
    def get(self):
        if not sys.stdin.buffer.readinto(self.byte):
            self.leave(0)
        return self.byte[0]

    def put(self, text):
        sys.stdout.write(text)

    def run_file(self, path):
        try:
            if path[1:] in os.listdir("/"):
                execfile(path)  # noqa: F821
        except SystemExit:
            self.leave(EXIT_SOFT_FRIENDLY)
        except BaseException as error:
            sys.print_exception(error)

    def friendly(self):
        while True:
            try:
                self.put("\r\nMicroPython on the raw REPL test board\r\n>>> ")
                while True:
                    char = self.get()
                    if char == 1:
                        return self.raw()
                    if char == 2:
                        break
                    if char == 4:
                        self.put("\r\nMPY: soft reboot\r\n")
                        self.leave(EXIT_SOFT_FRIENDLY)
                    if char == 13:
                        self.put("\r\n>>> ")
            except KeyboardInterrupt:
                pass

    def raw(self):
        prompt = RAW_BANNER + ">"
        while True:
            try:
                self.put(prompt)
                prompt = ">"
                line = self.line()
                if line is None:
                    self.put("\r\n")
                    return self.friendly()
                if line == b"":
                    self.put("OK\r\nMPY: soft reboot\r\n")
                    self.leave(EXIT_SOFT_RAW)
                self.execute(line)
            except KeyboardInterrupt:
                pass

    # What was typed before ctrl-D; None for ctrl-B.
    def line(self):
        line = bytearray()
        while True:
            try:
                char = self.get()
                if char == 1:
                    if bytes(line) == b"\x05A":
                        if self.paste:
                            return self.pasted()
                        self.put("R\0")
                    elif not line or line[0] != 5:
                        self.put(RAW_BANNER + ">")
                    line = bytearray()
                elif char == 2:
                    return None
                elif char == 4:
                    self.put("OK")
                    return bytes(line)
                else:
                    line.append(char)
            except KeyboardInterrupt:
                line = bytearray()

    # Raw-paste mode: two windows are free at first, and one more each time one has been read.
    def pasted(self):
        sys.stdout.buffer.write(bytes((82, 1, WINDOW, 0, 1)))
        code = bytearray()
        while True:
            char = self.get()
            if char == 4:
                self.put("\x04")
                return bytes(code) or b"\n"
            code.append(char)
            if len(code) % WINDOW == 0:
                self.put("\x01")

    # Output, ctrl-D, traceback, ctrl-D.
    def execute(self, code):
        try:
            exec(compile(code, "<stdin>", "exec"), self.names)
            self.put("\x04")
        except SystemExit:
            self.put("\x04\x04MPY: soft reboot\r\n")
            self.leave(EXIT_SOFT_RAW)
        except BaseException as error:
            self.put("\x04")
            sys.print_exception(error)
        self.put("\x04")


def main(image, blocks, mode, paste, cause, state, slots, ready):
    leave = leave_function()
    ready = open(ready, "wb")  # while the host's files are still mounted
    repl = Repl(leave, paste == "1")
    sys.modules["machine"] = Machine(leave, int(cause))
    if int(slots):
        import _sim_boot_loader

        _sim_boot_loader.mount(["+", image, state, blocks, slots, ""])
    else:
        flash = Image(image, int(blocks))
        vfs.umount("/")
        vfs.mount(vfs.VfsLfs2(flash), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    ready.write(b"x")
    ready.close()
    repl.run_file("/boot.py")
    if mode == "raw":
        repl.raw()
    repl.run_file("/main.py")
    repl.friendly()


main(*sys.argv[1:])
