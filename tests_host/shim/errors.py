"""OSError as MicroPython has it, and the way there from the host's."""

import functools

# The whole of the unix port's errno module: other numbers have no name there.
NAMES = {
    1: "EPERM",
    2: "ENOENT",
    5: "EIO",
    9: "EBADF",
    11: "EAGAIN",
    12: "ENOMEM",
    13: "EACCES",
    17: "EEXIST",
    19: "ENODEV",
    21: "EISDIR",
    22: "EINVAL",
    95: "EOPNOTSUPP",
    98: "EADDRINUSE",
    103: "ECONNABORTED",
    104: "ECONNRESET",
    105: "ENOBUFS",
    107: "ENOTCONN",
    110: "ETIMEDOUT",
    111: "ECONNREFUSED",
    113: "EHOSTUNREACH",
    114: "EALREADY",
    115: "EINPROGRESS",
}
EBADF = 9
EAGAIN = 11
EINVAL = 22
ETIMEDOUT = 110


class DeviceOSError(OSError):
    """What the device's code knows as OSError: `errno` is the first argument, if only one."""

    def __init__(self, *args):
        self.args = args

    @property
    def errno(self):
        return self.args[0] if self.args else None

    value = errno

    def __str__(self):
        if not self.args:
            return ""
        name = NAMES.get(self.args[0]) if len(self.args) < 3 else None
        if name:
            tail = ": %s" % (self.args[1],) if len(self.args) == 2 else ""
            return "[Errno %d] %s%s" % (self.args[0], name, tail)
        return str(self.args[0] if len(self.args) == 1 else self.args)

    def __repr__(self):
        return type(self).__name__ + repr(self.args)


DeviceOSError.__name__ = DeviceOSError.__qualname__ = "OSError"


def mapped(function):
    """Turn the host's OSErrors that leave `function` into the device's."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except DeviceOSError:
            raise
        except OSError as error:
            raise DeviceOSError(error.errno) from error

    return call
