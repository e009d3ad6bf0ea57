"""The mount table: which file system object serves a path, and the host's own one."""

import os

from .errors import DeviceOSError, mapped
from .streams import open_host

ENOENT = 2
EPERM = 1
EINVAL = 22
DIRECTORY = 0x4000
REGULAR = 0x8000


class VfsPosix:
    """The host's files below `root`, with a current directory of its own."""

    def __init__(self, root=""):
        self._root = root.rstrip("/")
        self._cwd = "/"

    def _host(self, path):
        if isinstance(path, bytes):
            path = path.decode()
        elif not isinstance(path, str):
            raise TypeError("can't convert '%s' object to str implicitly" % type(path).__name__)
        if path == "":
            raise DeviceOSError(ENOENT)
        return self._root + (path if path[0] == "/" else self._cwd.rstrip("/") + "/" + path)

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def open(self, path, mode):
        return open_host(self._host(path), mode)

    @mapped
    def stat(self, path):
        st = os.stat(self._host(path))
        times = (int(st.st_atime), int(st.st_mtime), int(st.st_ctime))
        ids = (st.st_mode, st.st_ino, st.st_dev, st.st_nlink, st.st_uid, st.st_gid)
        return ids + (st.st_size,) + times

    @mapped
    def ilistdir(self, path):
        with os.scandir(self._host(path or ".")) as entries:
            found = [
                (e.name, DIRECTORY if e.is_dir(follow_symlinks=False) else REGULAR, e.inode())
                for e in entries
            ]
        return iter(found)

    @mapped
    def statvfs(self, path):
        s = os.statvfs(self._host(path))
        sizes = (s.f_bsize, s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail)
        return sizes + (s.f_files, s.f_ffree, s.f_favail, s.f_flag, s.f_namemax)

    @mapped
    def remove(self, path):
        path = self._host(path)
        if os.path.isdir(path):
            raise DeviceOSError(21)
        os.remove(path)

    @mapped
    def rename(self, old, new):
        os.rename(self._host(old), self._host(new))

    @mapped
    def mkdir(self, path):
        os.mkdir(self._host(path))

    @mapped
    def rmdir(self, path):
        os.rmdir(self._host(path))

    @mapped
    def chdir(self, path):
        path = os.path.normpath(self._host(path))
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        self._cwd = path[len(self._root) :] or "/"

    def getcwd(self):
        return self._cwd


class Mounts:
    """The mount table of one world."""

    def __init__(self):
        root = VfsPosix()
        root.chdir(os.getcwd())
        self._table = [("/", root)]
        self._current = self._table[0]

    def _find(self, path):
        """(mount point, file system, path as that file system is told it)"""
        if isinstance(path, bytes):
            path = path.decode()
        if not isinstance(path, str):
            raise TypeError("can't convert '%s' object to str implicitly" % type(path).__name__)
        if not path.startswith("/"):
            return self._current + (path,)
        for point, vfs in sorted(self._table, key=lambda entry: -len(entry[0])):
            if point == "/":
                return point, vfs, path
            if path == point or path.startswith(point + "/"):
                return point, vfs, path[len(point) :] or "/"
        raise DeviceOSError(19)

    def call(self, name, path, *args):
        """Call method `name` of the file system that serves `path`."""
        _, vfs, rest = self._find(path)
        return getattr(vfs, name)(rest, *args)

    def table(self):
        return [(vfs, point) for point, vfs in self._table]

    def mount(self, vfs, point, readonly=False, mkfs=False):
        if not hasattr(vfs, "mount"):  # then it is taken for a block device
            name = type(vfs).__name__
            raise AttributeError("'%s' object has no attribute 'readblocks'" % name)
        vfs.mount(readonly, mkfs)
        if not point.startswith("/") or any(point == taken for taken, _ in self._table):
            raise DeviceOSError(EPERM)
        self._table.append((point.rstrip("/") or "/", vfs))

    def umount(self, what):
        for entry in self._table:
            if what == entry[0] or what is entry[1]:
                self._table.remove(entry)
                if self._current == entry:
                    self._current = next(e for e in self._table if e[0] == "/")
                entry[1].umount()
                return
        raise DeviceOSError(EINVAL)

    def chdir(self, path):
        point, vfs, rest = self._find(path)
        vfs.chdir(rest)
        self._current = (point, vfs)

    def getcwd(self):
        point, vfs = self._current
        return vfs.getcwd() if point == "/" else (point + vfs.getcwd()).rstrip("/")

    def stat(self, path):
        if path == "/":
            return (DIRECTORY,) + (0,) * 9
        return self.call("stat", path)

    def ilistdir(self, path="."):
        as_bytes = isinstance(path, bytes)
        if path == ".":
            path = ""
        if path == "":
            entries = list(self._current[1].ilistdir(""))
        else:
            entries = list(self.call("ilistdir", path))
        if path == "/":
            entries += [
                (p[1:], DIRECTORY, 0) for p, _ in self._table if p.count("/") == 1 and p[1:]
            ]
        if as_bytes:
            entries = [(e[0].encode(),) + tuple(e[1:]) for e in entries]
        return iter(entries)

    def rename(self, old, new):
        old_point, vfs, old_rest = self._find(old)
        new_point, _, new_rest = self._find(new)
        if old_point != new_point:
            raise DeviceOSError(EPERM)
        vfs.rename(old_rest, new_rest)

    def open(self, path, mode="r", *_, **__):
        return self.call("open", path, mode)
