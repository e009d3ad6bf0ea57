"""`os` in MicroPython's shape: no path, no walk, ten numbers from stat."""

import os as host

from ..filesystem import VfsPosix


def make(world):
    mounts = world.mounts

    def remove(path):
        mounts.call("remove", path)

    def listdir(path="."):
        return [entry[0] for entry in mounts.ilistdir(path)]

    def putenv(name, value):
        host.environ[name] = value

    def unsetenv(name):
        host.environ.pop(name, None)

    return {
        "VfsPosix": VfsPosix,
        "chdir": mounts.chdir,
        "getcwd": mounts.getcwd,
        "getenv": lambda name, default=None: host.environ.get(name, default),
        "ilistdir": mounts.ilistdir,
        "listdir": listdir,
        "mkdir": lambda path: mounts.call("mkdir", path),
        "mount": mounts.mount,
        "putenv": putenv,
        "remove": remove,
        "rename": mounts.rename,
        "rmdir": lambda path: mounts.call("rmdir", path),
        "sep": "/",
        "stat": mounts.stat,
        "statvfs": lambda path: mounts.call("statvfs", path),
        "system": host.system,
        "umount": mounts.umount,
        "unlink": remove,
        "unsetenv": unsetenv,
        "urandom": host.urandom,
    }
