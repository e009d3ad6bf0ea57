"""`vfs`: the mount table."""

from ..filesystem import VfsPosix


def make(world):
    def mount(*args, **kwargs):
        if not args:
            return world.mounts.table()
        return world.mounts.mount(args[0], args[1], **kwargs)

    return {"VfsPosix": VfsPosix, "mount": mount, "umount": world.mounts.umount}
