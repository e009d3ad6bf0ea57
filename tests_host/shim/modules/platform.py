"""`platform`."""

import platform as host


def make(world):
    return {"libc_ver": host.libc_ver, "platform": host.platform}
