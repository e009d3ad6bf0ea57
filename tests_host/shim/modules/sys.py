"""`sys`: the world's path and modules, and the host's streams."""

import atexit
import sys as host
import traceback


class Out:
    """The host's standard output or error of the moment, so that pytest can catch it."""

    def __init__(self, name):
        self._name = name

    def write(self, data, *args):
        text = data if isinstance(data, str) else bytes(data).decode()
        getattr(host, self._name).write(text)
        return len(data)

    def flush(self):
        getattr(host, self._name).flush()

    def isatty(self):
        return False


def make(world):
    def print_exception(error, file=None):
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        if file is None:
            print(text, end="")
        else:
            file.write(text)

    def exit(code=None):
        raise SystemExit() if code is None else SystemExit(code)

    def at_exit(function):
        if function is not None:
            atexit.register(function)

    return {
        "argv": [""],
        "atexit": at_exit,
        "byteorder": host.byteorder,
        "exc_info": host.exc_info,
        "executable": host.executable,
        "exit": exit,
        "implementation": host.implementation,
        "maxsize": host.maxsize,
        "modules": world.modules,
        "path": world.path,
        "platform": host.platform,
        "print_exception": print_exception,
        "stderr": Out("stderr"),
        "stdin": host.stdin,
        "stdout": Out("stdout"),
        "version": host.version,
        "version_info": (3, 4, 0),
    }
