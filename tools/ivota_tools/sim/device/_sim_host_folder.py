"""Use a folder of the host as the board's file system."""

import os

import ffi
import vfs


# VfsPosix with a root builds both paths of a rename in one buffer (seen in 1.26).
class Folder:
    def __init__(self, root):
        self.root = root
        self.system = vfs.VfsPosix(root)

    def __getattr__(self, name):
        return getattr(self.system, name)

    def rename(self, path, name):
        rename = ffi.open(None).func("i", b"rename", "ss")
        if rename(self.path(path), self.path(name)):
            raise OSError(os.errno())

    def path(self, path):
        return self.root + path if path[0] == "/" else path
