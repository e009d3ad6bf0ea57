"""The board's file system as a folder of the host."""

import os

import ffi
import vfs


# VfsPosix with a root builds both paths of a rename in one buffer (seen in 1.26).
class Folder:
    def __init__(self, root):
        self._root = root
        self._posix = vfs.VfsPosix(root)

    def __getattr__(self, name):
        return getattr(self._posix, name)

    def rename(self, old, new):
        rename = ffi.open(None).func("i", "rename", "ss")
        if rename(self._path(old), self._path(new)):
            raise OSError(os.errno())

    def _path(self, path):
        return self._root + path if path[0] == "/" else path
